//! One line per cluster, as the dashboard and the list of clusters show it.

use std::collections::BTreeMap;

use crate::models::cluster::Cluster;
use crate::models::{ClusterId, HoldScope, NodeId, NodeState};
use crate::web::pages::now::Gathered;
use crate::web::pages::standing;
use crate::web::view::{Badge, Cell, Status, Strip};

/// A cluster in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterLine {
    /// Its row.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// The worst of its nodes and triggers.
    pub badge: Badge,
    /// Nodes in service.
    pub in_service: usize,
    /// Nodes that come or go.
    pub changing: usize,
    /// `2 to 10`, or `2 or more`.
    pub bounds: String,
    /// Its nodes at a glance.
    pub strip: Strip,
    /// Its triggers.
    pub triggers: usize,
}

/// Every cluster, the worst first, then by name.
pub fn clusters(gathered: &Gathered, badges: &BTreeMap<NodeId, Badge>) -> Vec<ClusterLine> {
    let mut lines: Vec<ClusterLine> = gathered
        .inventory
        .clusters
        .iter()
        .map(|cluster| line(gathered, cluster, badges))
        .collect();
    lines.sort_by(|one, other| {
        let badness = other.badge.status.cmp(&one.badge.status);
        badness.then_with(|| one.name.cmp(&other.name))
    });
    lines
}

fn line(gathered: &Gathered, cluster: &Cluster, badges: &BTreeMap<NodeId, Badge>) -> ClusterLine {
    let inventory = &gathered.inventory;
    let nodes: Vec<_> = inventory.nodes_of(cluster.id).collect();
    let cells: Vec<Cell> = nodes
        .iter()
        .map(|node| Cell {
            name: node.name.clone(),
            status: badges.get(&node.id).map_or(Status::NoData, |it| it.status),
        })
        .collect();
    let triggers: Vec<Status> = inventory
        .triggers_of(cluster.id)
        .map(|trigger| {
            let latest = gathered.latest.get(&trigger.id);
            standing::trigger(trigger, latest, gathered.tick_ms, gathered.now_ms)
        })
        // A trigger that is switched off or manual says nothing about the cluster.
        .map(|standing| standing.badge.status)
        .filter(|status| matches!(status, Status::Firing | Status::Pending | Status::Cooldown))
        .collect();
    let in_service = nodes
        .iter()
        .filter(|node| node.state == NodeState::InService)
        .count();
    let worst = Status::worst(cells.iter().map(|cell| cell.status).chain(triggers));
    let held = !inventory
        .holds_on(HoldScope::Cluster, &cluster.name, &cluster.name)
        .is_empty();
    ClusterLine {
        id: cluster.id,
        name: cluster.name.clone(),
        badge: badge(cluster, worst, held, in_service),
        in_service,
        changing: nodes.len() - in_service,
        bounds: bounds(cluster),
        triggers: inventory.triggers_of(cluster.id).count(),
        strip: Strip::new(cells),
    }
}

fn badge(cluster: &Cluster, worst: Status, held: bool, in_service: usize) -> Badge {
    match worst {
        _ if held => Status::Paused.says("held"),
        _ if is_short(cluster, in_service) => Status::Firing.says("too few nodes"),
        _ if in_service == 0 => Status::Paused.says("no nodes"),
        worst => worst.badge(),
    }
}

/// Whether a cluster has fewer nodes in service than it must have.
pub fn is_short(cluster: &Cluster, in_service: usize) -> bool {
    i32::try_from(in_service).is_ok_and(|in_service| in_service < cluster.min_nodes)
}

/// How many nodes a cluster may have, in words.
pub fn bounds(cluster: &Cluster) -> String {
    match cluster.max_nodes {
        Some(max) => format!("{} to {max}", cluster.min_nodes),
        None => format!("{} or more", cluster.min_nodes),
    }
}
