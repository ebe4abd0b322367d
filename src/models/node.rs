//! One machine.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::named::named_queries;
use crate::models::{ClusterId, Ec2ProfileId, JvmProfileId, NodeId, NodeState, SshProfileId};
use crate::schema::{node_jvm_profiles, nodes};

/// One machine.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = nodes)]
pub struct Node {
    /// Row id.
    pub id: NodeId,
    /// Unique name.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster_id: ClusterId,
    /// Host name or address; `localhost` without a profile is Headroom's own host.
    pub address: String,
    /// How to log in.
    pub ssh_profile_id: Option<SshProfileId>,
    /// What it was launched from.
    pub ec2_profile_id: Option<Ec2ProfileId>,
    /// The EC2 instance.
    pub instance_id: Option<String>,
    /// Where it is in its life.
    pub state: NodeState,
    /// Made at, ms.
    pub created_ms: i64,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`Node`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = nodes, treat_none_as_null = true)]
pub struct NewNode {
    /// See [`Node::name`].
    pub name: String,
    /// See [`Node::cluster_id`].
    pub cluster_id: ClusterId,
    /// See [`Node::address`].
    pub address: String,
    /// See [`Node::ssh_profile_id`].
    pub ssh_profile_id: Option<SshProfileId>,
    /// See [`Node::ec2_profile_id`].
    pub ec2_profile_id: Option<Ec2ProfileId>,
    /// See [`Node::instance_id`].
    pub instance_id: Option<String>,
    /// See [`Node::state`].
    pub state: NodeState,
    /// See [`Node::created_ms`].
    pub created_ms: i64,
    /// See [`Node::updated_ms`].
    pub updated_ms: i64,
}

impl NewNode {
    /// One in service, with an address alone.
    pub fn in_service(
        name: impl Into<String>,
        cluster: ClusterId,
        address: impl Into<String>,
        now_ms: i64,
    ) -> Self {
        Self {
            name: name.into(),
            cluster_id: cluster,
            address: address.into(),
            ssh_profile_id: None,
            ec2_profile_id: None,
            instance_id: None,
            state: NodeState::InService,
            created_ms: now_ms,
            updated_ms: now_ms,
        }
    }
}

named_queries!(Node, NewNode, NodeId, nodes, "node");

/// The address of Headroom's own host.
pub const OWN_HOST: &str = "localhost";

impl Node {
    /// Whether it is Headroom's own host, where scripts run without SSH.
    pub fn is_own_host(&self) -> bool {
        self.ssh_profile_id.is_none() && self.address == OWN_HOST
    }

    /// Its row as it would be written.
    pub fn as_new(&self) -> NewNode {
        NewNode {
            name: self.name.clone(),
            cluster_id: self.cluster_id,
            address: self.address.clone(),
            ssh_profile_id: self.ssh_profile_id,
            ec2_profile_id: self.ec2_profile_id,
            instance_id: self.instance_id.clone(),
            state: self.state,
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
        }
    }

    /// The nodes of a cluster, by name.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_cluster(conn: &mut Connection, cluster: ClusterId) -> Result<Vec<Self>> {
        Ok(nodes::table
            .filter(nodes::cluster_id.eq(cluster))
            .order(nodes::name)
            .load(conn)?)
    }
}

/// The JVM profiles of every node, by node and position.
///
/// # Errors
/// The database fails.
pub fn jvm_profiles_of_nodes(conn: &mut Connection) -> Result<Vec<(NodeId, JvmProfileId)>> {
    Ok(node_jvm_profiles::table
        .order((node_jvm_profiles::node_id, node_jvm_profiles::position))
        .select((
            node_jvm_profiles::node_id,
            node_jvm_profiles::jvm_profile_id,
        ))
        .load(conn)?)
}

/// Replaces the JVM profiles of a node.
///
/// # Errors
/// A profile does not exist, or the database fails.
pub fn set_jvm_profiles(
    conn: &mut Connection,
    node: NodeId,
    profiles: &[JvmProfileId],
) -> Result<()> {
    diesel::delete(node_jvm_profiles::table.filter(node_jvm_profiles::node_id.eq(node)))
        .execute(conn)?;
    for (position, profile) in (1_i32..).zip(profiles) {
        diesel::insert_into(node_jvm_profiles::table)
            .values((
                node_jvm_profiles::node_id.eq(node),
                node_jvm_profiles::jvm_profile_id.eq(profile),
                node_jvm_profiles::position.eq(position),
            ))
            .execute(conn)?;
    }
    Ok(())
}
