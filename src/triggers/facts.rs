//! What a decision is made from: everything is looked up beforehand and borrowed here, so that deciding is pure and a backtest can ask the same.

use super::breach::Breach;
use super::rule::Rule;

/// One question: should this trigger fire at this tick?
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The tick that is decided.
    pub now_ms: i64,
    /// Length of a tick; what lies ahead of the clock by more than three of them says that the clock was set back.
    pub tick_length_ms: i64,
    /// The trigger.
    pub trigger: TriggerFacts<'a>,
    /// Its cluster.
    pub cluster: ClusterFacts<'a>,
    /// Its counters; series refer to them by place.
    pub counters: &'a [CounterFacts<'a>],
    /// The cluster's nodes in service, each with its series of these counters.
    pub nodes: &'a [NodeFacts<'a>],
    /// For `average`: the mean's own series, one per counter that has one.
    pub averages: &'a [SeriesFacts<'a>],
    /// Holds on everything, the cluster or the trigger that are active now.
    pub holds: &'a [HoldFacts<'a>],
    /// An open run of this trigger.
    pub open_run: Option<RunFacts<'a>>,
    /// An open run that changes the cluster's capacity.
    pub open_capacity_run: Option<RunFacts<'a>>,
    /// Why no run may launch in the cluster, if so: its breaker is open, or it has launched as often as it may.
    pub launch_refusal: Option<&'a str>,
    /// The tick of the decision before this one.
    pub previous_ms: Option<i64>,
    /// Why the samples could not be read, if so: every series is then without a sample.
    pub unreadable: Option<&'a str>,
}

impl<'a> Facts<'a> {
    /// The series of a place.
    pub fn series(&self, place: Place) -> Option<&'a SeriesFacts<'a>> {
        match place.node {
            Some(at) => self.nodes.get(at)?.series.get(place.series),
            None => self.averages.get(place.series),
        }
    }

    /// The counter of a series.
    pub fn counter(&self, series: &SeriesFacts<'_>) -> Option<&'a CounterFacts<'a>> {
        self.counters.get(series.counter)
    }
}

/// A series by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Place of the node in [`Facts::nodes`]; none for a mean.
    pub node: Option<usize>,
    /// Place of the series at the node, or in [`Facts::averages`].
    pub series: usize,
}

/// How the series of a trigger combine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// One series is enough.
    Any,
    /// Every fresh node has one.
    All,
    /// At least so many percent of the nodes in service have one.
    Percent(u32),
    /// The mean over the fresh nodes.
    Average,
}

/// The trigger's own settings and memory.
#[derive(Debug, Clone, Copy)]
pub struct TriggerFacts<'a> {
    /// How long a breach must last; none = by hand only.
    pub timing_ms: Option<i64>,
    /// How series combine.
    pub when: When,
    /// Silence after a firing.
    pub cooldown_ms: i64,
    /// Fresh nodes that a removal needs.
    pub quorum_percent: u32,
    /// Whether it may fire by itself.
    pub enabled: bool,
    /// Whether a firing is only rehearsed.
    pub dry_run: bool,
    /// Tick of its last firing.
    pub last_fired_ms: Option<i64>,
    /// Nodes that each step adds or removes, in order.
    pub changes: &'a [i32],
    /// Whether a step may take capacity away, a node or another.
    pub may_shrink: bool,
}

impl TriggerFacts<'_> {
    /// Whether a step adds a node: such a trigger is refused by an open breaker.
    pub fn adds_capacity(&self) -> bool {
        self.changes.iter().any(|change| *change > 0)
    }
}

/// The cluster's bounds and size.
#[derive(Debug, Clone, Copy)]
pub struct ClusterFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Never fewer nodes than this.
    pub min_nodes: i32,
    /// Never more nodes than this; none = no bound.
    pub max_nodes: Option<i32>,
    /// Nodes in service and nodes still being launched.
    pub size: i32,
}

/// A counter of the trigger.
#[derive(Debug, Clone, Copy)]
pub struct CounterFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Shown beside its values.
    pub unit: Option<&'a str>,
    /// When a value breaches.
    pub rule: Rule,
    /// From this age on, a sample counts for nothing.
    pub stale_after_ms: i64,
    /// How often it is read, at multiples of it.
    pub period_ms: i64,
}

/// A node in service.
#[derive(Debug, Clone, Copy)]
pub struct NodeFacts<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether a hold takes it out of the count.
    pub held: bool,
    /// Its series of the trigger's counters.
    pub series: &'a [SeriesFacts<'a>],
}

/// One series as it stands.
#[derive(Debug, Clone, Copy)]
pub struct SeriesFacts<'a> {
    /// Place of its counter in [`Facts::counters`].
    pub counter: usize,
    /// The JVM profile it was read from.
    pub jvm: Option<&'a str>,
    /// Its latest sample: tick and value.
    pub last: Option<(i64, f64)>,
    /// Its breach.
    pub breach: Option<Breach>,
    /// From when the breach counts for this trigger; none when no sample of it came after the last firing.
    pub start_ms: Option<i64>,
    /// Why its latest reading gave no value.
    pub error: Option<&'a str>,
}

/// A hold that is active.
#[derive(Debug, Clone, Copy)]
pub struct HoldFacts<'a> {
    /// What it stops, in words: `everything`, `cluster web`, `trigger web-hot`.
    pub what: &'a str,
    /// Why.
    pub reason: &'a str,
    /// Who.
    pub author: &'a str,
    /// Ends by itself at.
    pub expires_ms: i64,
    /// Whether it stops runs too, until somebody lifts it.
    pub stops_all: bool,
}

/// A run that is not over.
#[derive(Debug, Clone, Copy)]
pub struct RunFacts<'a> {
    /// Its id.
    pub id: i64,
    /// What started it: its trigger's name, or who asked for it.
    pub origin: &'a str,
    /// Its state in a word.
    pub state: &'a str,
}
