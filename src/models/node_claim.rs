//! Which step of a run launches or removes a node, by the step's token.

use std::collections::BTreeMap;

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::node::Node;
use crate::models::{NodeId, NodeState};
use crate::schema::{node_claims, nodes};

/// The node that the step of a token launched or removes; none when there is none, or it is gone.
///
/// # Errors
/// The database fails.
pub fn node_of(conn: &mut Connection, token: &str) -> Result<Option<Node>> {
    Ok(node_claims::table
        .inner_join(nodes::table)
        .filter(node_claims::token.eq(token))
        .select(nodes::all_columns)
        .first(conn)
        .optional()?)
}

/// The tokens of the steps that launched a node or remove it.
///
/// # Errors
/// The database fails.
pub fn of_node(conn: &mut Connection, node: NodeId) -> Result<Vec<String>> {
    Ok(node_claims::table
        .filter(node_claims::node_id.eq(node))
        .order(node_claims::id)
        .select(node_claims::token)
        .load(conn)?)
}

/// The nodes that are being removed by steps which began before the one of a token.
///
/// # Errors
/// The database fails.
pub fn leaving_before(conn: &mut Connection, token: &str) -> Result<Vec<Node>> {
    let claims: Vec<(i64, String, Node)> = node_claims::table
        .inner_join(nodes::table)
        .filter(nodes::state.eq(NodeState::Draining))
        .order(node_claims::id)
        .select((node_claims::id, node_claims::token, nodes::all_columns))
        .load(conn)?;
    let own = claims.iter().find(|(_, of, _)| of == token);
    let Some(own) = own.map(|(id, _, _)| *id) else {
        return Ok(Vec::new());
    };
    // The last claim on a node that leaves is that of its removal; the one before is that of its launch.
    let last: BTreeMap<NodeId, (i64, Node)> = claims
        .into_iter()
        .map(|(id, _, node)| (node.id, (id, node)))
        .collect();
    let before = last.into_values().filter(|(id, _)| *id < own);
    Ok(before.map(|(_, node)| node).collect())
}

/// Every token and its node's row.
///
/// # Errors
/// The database fails.
pub fn all(conn: &mut Connection) -> Result<Vec<(String, NodeId)>> {
    Ok(node_claims::table
        .select((node_claims::token, node_claims::node_id))
        .load(conn)?)
}

/// Notes that the step of a token works on a node.
///
/// # Errors
/// The token is in use, or the database fails.
pub fn insert(conn: &mut Connection, node: NodeId, token: &str) -> Result<()> {
    diesel::insert_into(node_claims::table)
        .values((node_claims::token.eq(token), node_claims::node_id.eq(node)))
        .execute(conn)?;
    Ok(())
}

/// The step of a token has left its node as it was.
///
/// # Errors
/// The database fails.
pub fn delete(conn: &mut Connection, token: &str) -> Result<()> {
    diesel::delete(node_claims::table.filter(node_claims::token.eq(token))).execute(conn)?;
    Ok(())
}
