//! The definitions of one tick, loaded with the same number of queries however many triggers, nodes and counters there are.

use std::collections::HashMap;
use std::sync::Arc;

use super::rules;
use crate::actions::{self, breaker};
use crate::db::Connection;
use crate::error::Result;
use crate::models::action::Action;
use crate::models::cluster::Cluster;
use crate::models::counter::Counter;
use crate::models::decision::Decision;
use crate::models::hold::Hold;
use crate::models::jvm_profile::JvmProfile;
use crate::models::node::{Node, jvm_profiles_of_nodes};
use crate::models::run::Run;
use crate::models::step::Step;
use crate::models::trigger::{Trigger, counters_of_triggers};
use crate::models::{
    ClusterId, CounterId, HoldScope, JvmProfileId, NodeId, NodeState, TriggerId, When,
};
use crate::samples::SeriesKey;
use crate::triggers::breach::Policy;

/// All that the triggers of one tick look at, but the samples.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Triggers, by name.
    pub watched: Vec<Watched>,
    /// Every series that a trigger looks at, once.
    pub keys: Vec<SeriesKey>,
}

/// One trigger with all that it looks at.
#[derive(Debug)]
pub(super) struct Watched {
    pub trigger: Trigger,
    pub cluster: Arc<ClusterView>,
    /// Its counters, in their order.
    pub counters: Vec<CounterView>,
    /// Nodes that each step adds or removes.
    pub changes: Vec<i32>,
    /// Whether a step may take capacity away.
    pub may_shrink: bool,
    /// Holds on everything, its cluster or itself: in words, and as it stands.
    pub holds: Vec<(String, Hold)>,
    pub open_run: Option<Run>,
    pub open_capacity_run: Option<Run>,
    /// Why no run may launch in its cluster.
    pub launch_refusal: Option<String>,
    /// Tick of its latest decision.
    pub previous_ms: Option<i64>,
}

/// A counter of a trigger.
#[derive(Debug)]
pub(super) struct CounterView {
    pub row: Arc<Counter>,
    pub policy: Policy,
    /// How often it is read.
    pub period_ms: i64,
    /// Its series over the cluster's nodes.
    pub series: Arc<[Entry]>,
    /// For `average`: place of the mean's series in [`Snapshot::keys`].
    pub mean: Option<usize>,
}

/// A series of a counter on a node.
#[derive(Debug)]
pub(super) struct Entry {
    /// Place of its node in [`ClusterView::nodes`].
    pub node: usize,
    /// The JVM profile it is read from.
    pub jvm: Option<Arc<str>>,
    /// Its place in [`Snapshot::keys`].
    pub key: usize,
}

/// A cluster with its nodes in service.
#[derive(Debug)]
pub(super) struct ClusterView {
    pub row: Cluster,
    /// In service and being launched.
    pub size: i32,
    pub nodes: Vec<NodeView>,
}

/// A node in service.
#[derive(Debug)]
pub(super) struct NodeView {
    pub row: Node,
    pub held: bool,
}

/// The rows that a snapshot is put together from.
struct Rows {
    nodes: Vec<Node>,
    jvms: HashMap<NodeId, Vec<JvmProfileId>>,
    jvm_names: HashMap<JvmProfileId, Arc<str>>,
    counters: HashMap<CounterId, Arc<Counter>>,
    holds: Vec<Hold>,
    runs: Vec<Run>,
}

impl Snapshot {
    /// Loads the definitions of the triggers for which `is_wanted` holds, given the tick of their latest decision.
    pub fn load(
        conn: &mut Connection,
        is_wanted: impl Fn(&Trigger, Option<i64>) -> bool,
        tick_ms: i64,
        tick_length_ms: i64,
    ) -> Result<Self> {
        let rows = Rows::load(conn, tick_ms)?;
        let mut counters_of = grouped(counters_of_triggers(conn)?);
        let mut changes_of = grouped(capacity_changes(conn)?);
        let previous: HashMap<_, _> = Decision::last_ticks(conn)?.into_iter().collect();
        let previous_ms = |id: TriggerId| previous.get(&id).copied().flatten();
        let all = Cluster::all(conn)?;
        let known: Vec<&Cluster> = all.iter().collect();
        let refusals = breaker::refusals(conn, actions::KINDS, &known, &rows.runs, tick_ms)?;
        let clusters = rows.clusters(all);
        let mut triggers = Trigger::all(conn)?;
        triggers.retain(|trigger| is_wanted(trigger, previous_ms(trigger.id)));

        let mut snapshot = Self::default();
        let mut known = HashMap::new();
        for trigger in triggers {
            // Rows are read one query after the other: a cluster made in between is there at the next tick.
            let Some(cluster) = clusters.get(&trigger.cluster_id) else {
                continue;
            };
            let mut counters = Vec::new();
            for id in counters_of.remove(&trigger.id).unwrap_or_default() {
                if let Some(counter) = rows.counters.get(&id) {
                    let series = known
                        .entry((trigger.cluster_id, id))
                        .or_insert_with(|| snapshot.series(&rows, cluster, counter));
                    counters.push(CounterView {
                        policy: rules::policy(counter, tick_length_ms),
                        period_ms: counter.period_ms(tick_length_ms),
                        series: Arc::clone(series),
                        mean: snapshot.mean(&trigger, counter),
                        row: Arc::clone(counter),
                    });
                }
            }
            let changes = changes_of.remove(&trigger.id).unwrap_or_default();
            snapshot.watched.push(Watched {
                counters,
                changes: changes.iter().map(|step| step.nodes).collect(),
                may_shrink: changes.iter().any(|step| step.may_shrink),
                holds: rows.holds_on(&trigger, cluster),
                open_run: rows.open_run(|run| run.trigger_id == Some(trigger.id)),
                open_capacity_run: rows.open_run(|run| {
                    run.cluster_id == Some(trigger.cluster_id) && run.changes_capacity
                }),
                launch_refusal: refusals.get(&trigger.cluster_id).cloned(),
                previous_ms: previous_ms(trigger.id),
                cluster: Arc::clone(cluster),
                trigger,
            });
        }
        Ok(snapshot)
    }

    /// The series of a counter over a cluster, in the order of its nodes.
    fn series(&mut self, rows: &Rows, cluster: &ClusterView, counter: &Counter) -> Arc<[Entry]> {
        let mut entries = Vec::with_capacity(cluster.nodes.len());
        for (node, view) in cluster.nodes.iter().enumerate() {
            let jvms = rows
                .jvms
                .get(&view.row.id)
                .map(Vec::as_slice)
                .unwrap_or_default();
            for key in SeriesKey::of(counter, &view.row, jvms) {
                let jvm = match key {
                    SeriesKey::Jmx { jvm, .. } => rows.jvm_names.get(&jvm).cloned(),
                    _ => None,
                };
                let key = self.key(key);
                entries.push(Entry { node, jvm, key });
            }
        }
        entries.into()
    }

    fn mean(&mut self, trigger: &Trigger, counter: &Counter) -> Option<usize> {
        (trigger.when_rule == When::Average).then(|| {
            self.key(SeriesKey::Average {
                trigger: trigger.id,
                counter: counter.id,
            })
        })
    }

    fn key(&mut self, key: SeriesKey) -> usize {
        self.keys.push(key);
        self.keys.len() - 1
    }
}

impl Rows {
    fn load(conn: &mut Connection, tick_ms: i64) -> Result<Self> {
        let jvm_names = JvmProfile::all(conn)?
            .into_iter()
            .map(|profile| (profile.id, profile.name.into()));
        let counters = Counter::all(conn)?
            .into_iter()
            .map(|counter| (counter.id, Arc::new(counter)));
        Ok(Self {
            nodes: Node::all(conn)?,
            jvms: grouped(jvm_profiles_of_nodes(conn)?),
            jvm_names: jvm_names.collect(),
            counters: counters.collect(),
            holds: Hold::active(conn, tick_ms)?,
            runs: Run::open(conn)?,
        })
    }

    fn clusters(&self, rows: Vec<Cluster>) -> HashMap<ClusterId, Arc<ClusterView>> {
        let mut views: HashMap<_, _> = rows
            .into_iter()
            .map(|row| {
                let view = ClusterView {
                    row,
                    size: 0,
                    nodes: Vec::new(),
                };
                (view.row.id, view)
            })
            .collect();
        for node in &self.nodes {
            let Some(view) = views.get_mut(&node.cluster_id) else {
                continue;
            };
            match node.state {
                NodeState::Provisioning => view.size += 1,
                NodeState::Draining => {}
                NodeState::InService => {
                    view.size += 1;
                    view.nodes.push(NodeView {
                        held: self.is_held(HoldScope::Node, &node.name),
                        row: node.clone(),
                    });
                }
            }
        }
        views
            .into_iter()
            .map(|(id, view)| (id, Arc::new(view)))
            .collect()
    }

    fn is_held(&self, scope: HoldScope, name: &str) -> bool {
        self.holds
            .iter()
            .any(|hold| hold.scope == scope && hold.scope_name.as_deref() == Some(name))
    }

    fn holds_on(&self, trigger: &Trigger, cluster: &ClusterView) -> Vec<(String, Hold)> {
        self.holds
            .iter()
            .filter(|hold| {
                let name = hold.scope_name.as_deref();
                match hold.scope {
                    HoldScope::Everything | HoldScope::Stop => true,
                    HoldScope::Cluster => name == Some(&cluster.row.name),
                    HoldScope::Trigger => name == Some(&trigger.name),
                    HoldScope::Node => false,
                }
            })
            .map(|hold| (hold.subject(), hold.clone()))
            .collect()
    }

    fn open_run(&self, is_meant: impl Fn(&Run) -> bool) -> Option<Run> {
        self.runs.iter().find(|run| is_meant(run)).cloned()
    }
}

/// What a step does to capacity.
#[derive(Debug, Clone, Copy)]
struct Change {
    /// Nodes that it adds or removes.
    nodes: i32,
    may_shrink: bool,
}

/// What each step of every trigger does to capacity.
fn capacity_changes(conn: &mut Connection) -> Result<Vec<(TriggerId, Change)>> {
    let changes: HashMap<_, _> = Action::all(conn)?
        .into_iter()
        .map(|action| {
            let change = Change {
                nodes: actions::capacity_change(&action.kind),
                may_shrink: actions::may_shrink(&action.kind, &action.settings),
            };
            (action.id, change)
        })
        .collect();
    let steps = Step::all(conn)?.into_iter();
    Ok(steps
        .filter_map(|step| Some((step.trigger_id, *changes.get(&step.action_id)?)))
        .collect())
}

fn grouped<K: Eq + std::hash::Hash, V>(pairs: Vec<(K, V)>) -> HashMap<K, Vec<V>> {
    let mut groups: HashMap<K, Vec<V>> = HashMap::new();
    for (key, value) in pairs {
        groups.entry(key).or_default().push(value);
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use diesel::connection::{Connection as _, InstrumentationEvent};

    use super::super::testing::Home;
    use super::*;
    use crate::models::node::NewNode;

    fn load(home: &Home, only: Option<TriggerId>) -> (Snapshot, usize) {
        let conn = &mut *home.db.connection().unwrap();
        let queries = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&queries);
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if matches!(event, InstrumentationEvent::StartQuery { .. }) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let snapshot = Snapshot::load(
            conn,
            |trigger, _| only.is_none_or(|id| id == trigger.id),
            0,
            60_000,
        )
        .unwrap();
        (snapshot, queries.load(Ordering::Relaxed))
    }

    #[test]
    fn the_number_of_queries_does_not_grow_with_the_fleet() {
        let home = Home::new();
        let (small, queries) = load(&home, None);
        for number in 2..30 {
            home.add_trigger(&format!("trigger{number}"));
            home.add_node(&format!("web{number}"));
        }
        let (large, more) = load(&home, None);
        assert_eq!((small.watched.len(), large.watched.len()), (1, 29));
        assert!(queries > 5, "counted {queries} queries");
        assert_eq!(queries, more);
    }

    #[test]
    fn a_series_that_several_triggers_look_at_is_read_once() {
        let home = Home::new();
        home.add_trigger("other");
        let (snapshot, _) = load(&home, None);
        assert_eq!(snapshot.keys.len(), 1);
        assert_eq!(snapshot.watched[1].counters[0].series.len(), 1);
    }

    #[test]
    fn one_trigger_is_loaded_alone() {
        let home = Home::new();
        let other = home.add_trigger("other");
        let (snapshot, _) = load(&home, Some(other.id));
        let names: Vec<_> = snapshot.watched.iter().map(|w| &w.trigger.name).collect();
        assert_eq!(names, ["other"]);
    }

    #[test]
    fn nodes_being_launched_count_as_capacity_and_nodes_being_drained_do_not() {
        let home = Home::new();
        for (name, state) in [
            ("new", NodeState::Provisioning),
            ("old", NodeState::Draining),
        ] {
            let node = home.add_node(name);
            let changed = NewNode {
                state,
                ..node.as_new()
            };
            Node::update(&mut home.db.connection().unwrap(), node.id, &changed).unwrap();
        }
        let (snapshot, _) = load(&home, None);
        let cluster = &snapshot.watched[0].cluster;
        assert_eq!((cluster.size, cluster.nodes.len()), (2, 1));
    }
}
