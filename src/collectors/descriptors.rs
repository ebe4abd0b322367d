//! How many files the connections of a fleet take, held against how many may be open.

use std::collections::HashSet;

use crate::db::Connection;
use crate::error::Result;
use crate::models::node::{Node, jvm_profiles_of_nodes};
use crate::models::ssh_profile::SshProfile;
use crate::models::{NodeId, NodeState};

/// Descriptors that are used beside connections to nodes: databases, queue, pages, mail.
const OWN: u64 = 256;

/// What a fleet needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// Nodes in service.
    pub nodes: u64,
    /// Open files in all: one for each connection to a node or to one of its JVMs, two where it leads through a jump host.
    pub needed: u64,
}

impl Descriptors {
    /// What the fleet needs as it is now.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_fleet(conn: &mut Connection) -> Result<Self> {
        let behind: HashSet<_> = SshProfile::all(conn)?
            .into_iter()
            .filter(|profile| profile.proxy_jump.is_some())
            .map(|profile| profile.id)
            .collect();
        let nodes = Node::all(conn)?.into_iter();
        let nodes: Vec<Node> = nodes
            .filter(|node| node.state == NodeState::InService)
            .collect();
        let serving: HashSet<NodeId> = nodes.iter().map(|node| node.id).collect();
        let ssh: u64 = nodes
            .iter()
            .filter_map(|node| node.ssh_profile_id)
            .map(|profile| if behind.contains(&profile) { 2_u64 } else { 1 })
            .sum();
        let jvms = jvm_profiles_of_nodes(conn)?;
        let jvms = jvms.iter().filter(|(node, _)| serving.contains(node));
        Ok(Self {
            nodes: nodes.len() as u64,
            needed: ssh + jvms.count() as u64 + OWN,
        })
    }

    /// What is wrong with a limit, and what to do.
    pub fn shortage(&self, limit: u64) -> Option<String> {
        let Self { nodes, needed } = self;
        (limit < *needed).then(|| {
            format!(
                "{nodes} nodes need {needed} open files, the limit is {limit}: raise it with LimitNOFILE= or ulimit -n, and start \
                 Headroom again; until then some nodes cannot be reached"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_just_met_is_enough_and_one_below_is_told_with_the_number_needed() {
        let fleet = Descriptors {
            nodes: 1_000,
            needed: 1_256,
        };
        assert_eq!(fleet.shortage(1_256), None);
        let told = fleet.shortage(1_255).unwrap();
        let expected =
            "1000 nodes need 1256 open files, the limit is 1255: raise it with LimitNOFILE=";
        assert!(told.starts_with(expected), "{told}");
    }
}
