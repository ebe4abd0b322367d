//! The definitions that most pages need, loaded together in a constant number of queries, and the series that follow from them.

use std::collections::{BTreeMap, BTreeSet};

use crate::db::Connection;
use crate::error::Result;
use crate::models::cluster::Cluster;
use crate::models::counter::Counter;
use crate::models::hold::Hold;
use crate::models::jvm_profile::JvmProfile;
use crate::models::node::{Node, jvm_profiles_of_nodes};
use crate::models::trigger::{Trigger, counters_of_triggers};
use crate::models::{ClusterId, CounterId, HoldScope, JvmProfileId, NodeId, NodeState, TriggerId};
use crate::samples::{SeriesKey, SeriesState};
use crate::web::pages::standing::{self, Standing};

/// Clusters, nodes, counters, triggers and holds, and how they hang together.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// By name.
    pub clusters: Vec<Cluster>,
    /// By name.
    pub nodes: Vec<Node>,
    /// By name.
    pub counters: Vec<Counter>,
    /// By name.
    pub triggers: Vec<Trigger>,
    /// Holds that stop something now.
    pub holds: Vec<Hold>,
    used: Vec<(TriggerId, CounterId)>,
    jvms: BTreeMap<NodeId, Vec<JvmProfileId>>,
    jvm_names: BTreeMap<JvmProfileId, String>,
}

/// One thing that is read: a counter on a node, or on one of the node's JVMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// Its name in the store.
    pub key: SeriesKey,
    /// Where.
    pub node: NodeId,
    /// What.
    pub counter: CounterId,
    /// `web01`, or `web01/tomcat`.
    pub label: String,
}

impl Inventory {
    /// Everything, for pages about the whole.
    ///
    /// # Errors
    /// The database fails.
    pub fn load(conn: &mut Connection, now_ms: i64) -> Result<Self> {
        let mut jvms: BTreeMap<NodeId, Vec<JvmProfileId>> = BTreeMap::new();
        for (node, jvm) in jvm_profiles_of_nodes(conn)? {
            jvms.entry(node).or_default().push(jvm);
        }
        let profiles = JvmProfile::all(conn)?;
        Ok(Self {
            clusters: Cluster::all(conn)?,
            nodes: Node::all(conn)?,
            counters: Counter::all(conn)?,
            triggers: Trigger::all(conn)?,
            holds: Hold::active(conn, now_ms)?,
            used: counters_of_triggers(conn)?,
            jvms,
            jvm_names: profiles.into_iter().map(|it| (it.id, it.name)).collect(),
        })
    }

    /// The cluster of an id.
    pub fn cluster(&self, id: ClusterId) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.id == id)
    }

    /// The name of a cluster, empty when it has just been removed.
    pub fn cluster_name(&self, id: ClusterId) -> &str {
        self.cluster(id).map_or("", |cluster| &cluster.name)
    }

    /// The counter of an id.
    pub fn counter(&self, id: CounterId) -> Option<&Counter> {
        self.counters.iter().find(|counter| counter.id == id)
    }

    /// The nodes of a cluster, by name.
    pub fn nodes_of(&self, cluster: ClusterId) -> impl Iterator<Item = &Node> {
        self.nodes
            .iter()
            .filter(move |node| node.cluster_id == cluster)
    }

    /// The JVM profiles of a node, in its order.
    pub fn jvms_of(&self, node: NodeId) -> impl Iterator<Item = &str> {
        let jvms = self.jvms.get(&node).map_or(&[][..], Vec::as_slice);
        let names = jvms.iter().filter_map(|jvm| self.jvm_names.get(jvm));
        names.map(String::as_str)
    }

    /// The triggers of a cluster, by name.
    pub fn triggers_of(&self, cluster: ClusterId) -> impl Iterator<Item = &Trigger> {
        self.triggers
            .iter()
            .filter(move |trigger| trigger.cluster_id == cluster)
    }

    /// The triggers that use a counter, by name.
    pub fn triggers_with(&self, counter: CounterId) -> impl Iterator<Item = &Trigger> {
        self.triggers
            .iter()
            .filter(move |trigger| self.used.contains(&(trigger.id, counter)))
    }

    /// The counters of a trigger, in its order.
    pub fn counters_of(&self, trigger: TriggerId) -> impl Iterator<Item = &Counter> {
        self.used
            .iter()
            .filter(move |(user, _)| *user == trigger)
            .filter_map(|(_, counter)| self.counter(*counter))
    }

    /// The counters that triggers of a cluster use: what is read there, by name.
    pub fn counters_read(&self, cluster: ClusterId) -> Vec<&Counter> {
        let triggers: BTreeSet<TriggerId> = self.triggers_of(cluster).map(|it| it.id).collect();
        let used: BTreeSet<CounterId> = self
            .used
            .iter()
            .filter(|(trigger, _)| triggers.contains(trigger))
            .map(|(_, counter)| *counter)
            .collect();
        let read = |counter: &&Counter| used.contains(&counter.id);
        self.counters.iter().filter(read).collect()
    }

    /// The shortest timing among the triggers of a cluster that use a counter, ms.
    pub fn timing_ms(&self, cluster: ClusterId, counter: CounterId) -> Option<i64> {
        self.triggers_with(counter)
            .filter(|trigger| trigger.cluster_id == cluster && trigger.enabled)
            .filter_map(|trigger| trigger.timing_secs)
            .min()
            .map(|secs| secs.saturating_mul(1000))
    }

    /// How often each series is read and how long it may breach.
    pub fn rhythms(&self, tick_ms: i64) -> Rhythms {
        let clusters = self.nodes.iter().map(|node| (node.id, node.cluster_id));
        let mut known = BTreeMap::new();
        for cluster in &self.clusters {
            for counter in self.counters_read(cluster.id) {
                let rhythm = Rhythm {
                    period_ms: period_ms(counter, tick_ms),
                    timing_ms: self.timing_ms(cluster.id, counter.id),
                };
                known.insert((cluster.id, counter.id), rhythm);
            }
        }
        Rhythms {
            clusters: clusters.collect(),
            known,
            tick_ms,
        }
    }

    /// What is read on the given nodes, by node and counter.
    pub fn series<'a>(&self, nodes: impl IntoIterator<Item = &'a Node>) -> Vec<Series> {
        let mut read: BTreeMap<ClusterId, Vec<&Counter>> = BTreeMap::new();
        let mut found = Vec::new();
        for node in nodes {
            if node.state != NodeState::InService {
                continue;
            }
            let counters = read
                .entry(node.cluster_id)
                .or_insert_with(|| self.counters_read(node.cluster_id));
            for counter in counters {
                self.series_of(node, counter, &mut found);
            }
        }
        found
    }

    fn series_of(&self, node: &Node, counter: &Counter, found: &mut Vec<Series>) {
        let jvms = self.jvms.get(&node.id).map_or(&[][..], Vec::as_slice);
        found.extend(SeriesKey::of(counter, node, jvms).map(|key| Series {
            key,
            node: node.id,
            counter: counter.id,
            label: self.label(node, key),
        }));
    }

    /// `web01`, or `web01/tomcat`.
    pub fn label(&self, node: &Node, key: SeriesKey) -> String {
        match key {
            SeriesKey::Jmx { jvm, .. } => {
                let jvm = self.jvm_names.get(&jvm).map_or("", String::as_str);
                format!("{}/{jvm}", node.name)
            }
            _ => node.name.clone(),
        }
    }

    /// The active holds on a thing, also those on what it belongs to.
    pub fn holds_on(&self, scope: HoldScope, name: &str, cluster: &str) -> Vec<&Hold> {
        let covers = |hold: &&Hold| {
            let of = |wanted: &str| hold.scope_name.as_deref() == Some(wanted);
            match hold.scope {
                HoldScope::Everything | HoldScope::Stop => true,
                HoldScope::Cluster => of(cluster),
                other => other == scope && of(name),
            }
        };
        self.holds.iter().filter(covers).collect()
    }

    /// The active holds on a cluster, and on its triggers and nodes.
    pub fn holds_within(&self, cluster: &Cluster) -> Vec<&Hold> {
        let is_in = |hold: &&Hold| {
            let named = |name: &str| hold.scope_name.as_deref() == Some(name);
            match hold.scope {
                HoldScope::Everything | HoldScope::Stop => true,
                HoldScope::Cluster => named(&cluster.name),
                HoldScope::Trigger => self.triggers_of(cluster.id).any(|it| named(&it.name)),
                HoldScope::Node => self.nodes_of(cluster.id).any(|it| named(&it.name)),
            }
        };
        self.holds.iter().filter(is_in).collect()
    }

    /// Whether the node itself is held.
    pub fn is_held(&self, node: &Node) -> bool {
        self.holds.iter().any(|hold| {
            hold.scope == HoldScope::Node && hold.scope_name.as_deref() == Some(&node.name)
        })
    }
}

/// How often a series is read, and how long it may breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// From one reading to the next, ms.
    pub period_ms: i64,
    /// The shortest timing among the triggers that watch it, ms.
    pub timing_ms: Option<i64>,
}

/// The rhythm of every series, looked up quickly.
#[derive(Debug, Clone)]
pub struct Rhythms {
    clusters: BTreeMap<NodeId, ClusterId>,
    known: BTreeMap<(ClusterId, CounterId), Rhythm>,
    tick_ms: i64,
}

impl Rhythms {
    /// The rhythm of a series.
    pub fn of(&self, series: &Series) -> Rhythm {
        let cluster = self.clusters.get(&series.node);
        let known = cluster.and_then(|cluster| self.known.get(&(*cluster, series.counter)));
        known.copied().unwrap_or(Rhythm {
            period_ms: self.tick_ms,
            timing_ms: None,
        })
    }

    /// How a series stands.
    pub fn standing(&self, series: &Series, state: Option<&SeriesState>, now_ms: i64) -> Standing {
        let rhythm = self.of(series);
        standing::series(state, rhythm.period_ms, rhythm.timing_ms, now_ms)
    }
}

/// How often a counter is read, ms.
pub fn period_ms(counter: &Counter, tick_ms: i64) -> i64 {
    counter
        .every_secs
        .map_or(tick_ms, |secs| secs.saturating_mul(1000))
        .max(tick_ms)
}
