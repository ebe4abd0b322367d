//! Nodes that do the same work.

use serde::Serialize;

use super::Node;
use crate::fleet::reader::Object;
use crate::models::cluster::{Cluster as Row, NewCluster};

/// Nodes that do the same work, and how many of them there may be.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Cluster {
    /// Unique name.
    pub name: String,
    /// Never fewer nodes than this; 0 by default.
    pub min_nodes: i32,
    /// Never more nodes than this; none = no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_nodes: Option<i32>,
    /// Its machines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
}

impl Cluster {
    pub(in crate::fleet) fn read(object: &mut Object<'_>) -> Self {
        let cluster = Self {
            name: object.required_name("name"),
            min_nodes: object.small("min_nodes", 0..=100_000).unwrap_or(0),
            max_nodes: object.small("max_nodes", 0..=100_000),
            nodes: object.list("nodes", Node::read),
        };
        if let Some(max) = cluster.max_nodes.filter(|max| *max < cluster.min_nodes) {
            object.fault(
                "max_nodes",
                format!("is {max}, less than min_nodes ({})", cluster.min_nodes),
            );
        }
        cluster
    }

    pub(in crate::fleet) fn from_row(row: Row) -> Self {
        Self {
            name: row.name,
            min_nodes: row.min_nodes,
            max_nodes: row.max_nodes,
            nodes: Vec::new(),
        }
    }

    pub(in crate::fleet) fn row(&self, now_ms: i64) -> NewCluster {
        NewCluster {
            name: self.name.clone(),
            min_nodes: self.min_nodes,
            max_nodes: self.max_nodes,
            updated_ms: now_ms,
        }
    }
}
