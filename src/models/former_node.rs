//! Launched nodes that are gone: what they were, and which step took them away.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::cluster::Cluster;
use crate::models::node::Node;
use crate::schema::former_nodes;

/// A launched node that is gone.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = former_nodes)]
pub struct FormerNode {
    /// Row id.
    pub id: i64,
    /// What it was called.
    pub name: String,
    /// What its cluster was called.
    pub cluster_name: String,
    /// Its last address.
    pub address: String,
    /// Its instance.
    pub instance_id: Option<String>,
    /// Token of the step that took it away.
    pub token: Option<String>,
    /// Why it is gone.
    pub reason: String,
    /// Made at, ms.
    pub created_ms: i64,
    /// Gone at, ms.
    pub gone_ms: i64,
}

impl FormerNode {
    /// The node that the step of a token took away.
    ///
    /// # Errors
    /// The database fails.
    pub fn by_token(conn: &mut Connection, token: &str) -> Result<Option<Self>> {
        Ok(former_nodes::table
            .filter(former_nodes::token.eq(token))
            .order(former_nodes::id.desc())
            .first(conn)
            .optional()?)
    }

    /// The nodes that a cluster had, those gone last before the others.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_cluster(conn: &mut Connection, cluster: &str, limit: i64) -> Result<Vec<Self>> {
        Ok(former_nodes::table
            .filter(former_nodes::cluster_name.eq(cluster))
            .order(former_nodes::id.desc())
            .limit(limit)
            .load(conn)?)
    }

    /// Takes a node's row away and keeps what it was; call it in a write transaction.
    ///
    /// # Errors
    /// The database fails.
    pub fn keep(
        conn: &mut Connection,
        node: &Node,
        token: Option<&str>,
        reason: &str,
        now_ms: i64,
    ) -> Result<()> {
        let cluster = Cluster::find(conn, node.cluster_id)?;
        diesel::insert_into(former_nodes::table)
            .values((
                former_nodes::name.eq(&node.name),
                former_nodes::cluster_name.eq(cluster.name),
                former_nodes::address.eq(&node.address),
                former_nodes::instance_id.eq(&node.instance_id),
                former_nodes::token.eq(token),
                former_nodes::reason.eq(reason),
                former_nodes::created_ms.eq(node.created_ms),
                former_nodes::gone_ms.eq(now_ms),
            ))
            .execute(conn)?;
        Node::delete(conn, node.id)
    }
}
