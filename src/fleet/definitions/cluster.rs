//! Nodes that do the same work.

use serde::Serialize;

use super::{Node, Secs};
use crate::fleet::reader::Object;
use crate::models::cluster::{
    BREAKER_COOLDOWN_SECS, Cluster as Row, MAX_FAILED_LAUNCHES, NewCluster,
};

const BREAKER_COOLDOWN: Secs = Secs(BREAKER_COOLDOWN_SECS);

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
    /// Launches in a row that may fail before the breaker opens; 3 by default, 0 = it never does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_failed_launches: Option<i32>,
    /// How long an open breaker refuses every launch, before one is let through on trial; 30m by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub breaker_cooldown: Option<Secs>,
    /// Launches that may begin within an hour; none = no bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_launches_per_hour: Option<i32>,
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
            max_failed_launches: object
                .small("max_failed_launches", 0..=1_000)
                .filter(|most| *most != MAX_FAILED_LAUNCHES),
            breaker_cooldown: object
                .duration("breaker_cooldown", 1)
                .map(Secs)
                .filter(|cooldown| *cooldown != BREAKER_COOLDOWN),
            max_launches_per_hour: object.small("max_launches_per_hour", 1..=100_000),
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
            max_failed_launches: Some(row.max_failed_launches)
                .filter(|most| *most != MAX_FAILED_LAUNCHES),
            breaker_cooldown: Some(Secs(row.breaker_cooldown_secs))
                .filter(|cooldown| *cooldown != BREAKER_COOLDOWN),
            max_launches_per_hour: row.max_launches_per_hour,
            nodes: Vec::new(),
        }
    }

    pub(in crate::fleet) fn row(&self, now_ms: i64) -> NewCluster {
        NewCluster {
            name: self.name.clone(),
            min_nodes: self.min_nodes,
            max_nodes: self.max_nodes,
            max_failed_launches: self.max_failed_launches.unwrap_or(MAX_FAILED_LAUNCHES),
            breaker_cooldown_secs: self.breaker_cooldown.unwrap_or(BREAKER_COOLDOWN).0,
            max_launches_per_hour: self.max_launches_per_hour,
            updated_ms: now_ms,
        }
    }
}
