//! A small fleet from which facts are drawn: `X` breaches, `0` does not, `-` is an error, a blank is no reading.

use crate::triggers::breach::{self, Breach, Missing, Policy};
use crate::triggers::decide::{Decision, decide};
use crate::triggers::facts::{
    ClusterFacts, CounterFacts, Facts, HoldFacts, NodeFacts, RunFacts, SeriesFacts, TriggerFacts,
    When,
};
use crate::triggers::gates::{Gate, GateName};
use crate::triggers::rule::{Comparison, Rule};

pub const MINUTE: i64 = 60_000;
/// 2026-11-18 10:00 UTC.
pub const TEN: i64 = 1_794_996_000_000;

/// `minutes` after ten.
pub const fn at(minutes: i64) -> i64 {
    TEN + minutes * MINUTE
}

#[derive(Debug, Clone)]
pub struct Series {
    pub counter: usize,
    pub jvm: Option<&'static str>,
    pub last: Option<(i64, f64)>,
    pub breach: Option<Breach>,
    pub start_ms: Option<i64>,
    pub error: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub name: String,
    pub held: bool,
    pub series: Vec<Series>,
}

#[derive(Debug, Clone)]
pub struct World {
    pub now_ms: i64,
    pub timing_ms: Option<i64>,
    pub when: When,
    pub cooldown_ms: i64,
    pub quorum_percent: u32,
    pub enabled: bool,
    pub dry_run: bool,
    pub last_fired_ms: Option<i64>,
    pub changes: Vec<i32>,
    /// Whether a step takes something else than nodes away.
    pub shrinks: bool,
    pub min_nodes: i32,
    pub max_nodes: Option<i32>,
    pub launching: i32,
    pub missing: Missing,
    pub counters: Vec<&'static str>,
    /// How often each counter is read, in minutes; the others every minute.
    pub every: Vec<i64>,
    pub nodes: Vec<Node>,
    pub means: Vec<Series>,
    pub holds: Vec<HoldFacts<'static>>,
    pub open_run: Option<RunFacts<'static>>,
    pub open_capacity_run: Option<RunFacts<'static>>,
    pub launch_refusal: Option<&'static str>,
    pub previous_ms: Option<i64>,
    pub unreadable: Option<&'static str>,
}

/// One counter `load1 > 4`, timing 5 min, no node yet, nothing in the way.
pub fn world() -> World {
    World {
        now_ms: TEN,
        timing_ms: Some(5 * MINUTE),
        when: When::Any,
        cooldown_ms: 0,
        quorum_percent: 80,
        enabled: true,
        dry_run: false,
        last_fired_ms: None,
        changes: vec![0],
        shrinks: false,
        min_nodes: 0,
        max_nodes: None,
        launching: 0,
        missing: Missing::Hold,
        counters: vec!["load1"],
        every: Vec::new(),
        nodes: Vec::new(),
        means: Vec::new(),
        holds: Vec::new(),
        open_run: None,
        open_capacity_run: None,
        launch_refusal: None,
        previous_ms: None,
        unreadable: None,
    }
}

impl World {
    fn policy(&self) -> Policy {
        Policy {
            rule: RULE,
            missing: self.missing,
            stale_after_ms: 3 * MINUTE,
        }
    }

    fn period_ms(&self, counter: usize) -> i64 {
        self.every.get(counter).copied().unwrap_or(1) * MINUTE
    }

    /// Reads `readings` one a minute from ten o'clock on.
    pub fn series(&self, counter: usize, readings: &str) -> Series {
        let (mut breach, mut last, mut error, mut ticks) = (None, None, None, Vec::new());
        for (minute, reading) in (0..).zip(readings.chars()) {
            let value = match reading {
                'X' => Some(9.0),
                '0' => Some(1.0),
                '-' => None,
                _ => continue,
            };
            breach = breach::advance(breach, at(minute), value, &self.policy());
            error = value.is_none().then_some("exit status 1");
            if let Some(value) = value {
                last = Some((at(minute), value));
                ticks.push(at(minute));
            }
        }
        let start_ms = breach.and_then(|breach| {
            let mut ticks = ticks.iter().copied();
            let first_after = self
                .last_fired_ms
                .and_then(|fired_ms| ticks.find(|tick| *tick > fired_ms));
            breach::start(breach, self.last_fired_ms, 3 * MINUTE, first_after)
        });
        Series {
            counter,
            jvm: None,
            last,
            breach,
            start_ms,
            error,
        }
    }

    /// Adds a node whose counters read so; the clock moves to its last reading.
    pub fn node(mut self, name: &str, readings: &[&str]) -> Self {
        let series = (0..)
            .zip(readings)
            .map(|(counter, readings)| self.series(counter, readings))
            .collect();
        if let Some(longest) = readings.iter().map(|r| r.chars().count()).max() {
            self.now_ms = self.now_ms.max(at(longest as i64 - 1));
        }
        self.nodes.push(Node {
            name: name.to_owned(),
            held: false,
            series,
        });
        self
    }

    /// Adds `web01`, `web02` … with one counter each.
    pub fn nodes(self, readings: &[&str]) -> Self {
        (1..).zip(readings).fold(self, |world, (number, readings)| {
            world.node(&format!("web{number:02}"), &[readings])
        })
    }

    /// Adds the series of the mean and makes the trigger ask for it.
    pub fn mean(mut self, readings: &str) -> Self {
        self.when = When::Average;
        let mean = self.series(0, readings);
        self.means.push(mean);
        self
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn ask<T>(&self, question: impl FnOnce(&Facts<'_>) -> T) -> T {
        let counters: Vec<_> = self
            .counters
            .iter()
            .enumerate()
            .map(|(counter, name)| CounterFacts {
                name,
                unit: None,
                rule: RULE,
                stale_after_ms: 3 * self.period_ms(counter),
                period_ms: self.period_ms(counter),
            })
            .collect();
        let series: Vec<Vec<_>> = self
            .nodes
            .iter()
            .map(|node| node.series.iter().map(Series::facts).collect())
            .collect();
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .zip(&series)
            .map(|(node, series)| NodeFacts {
                name: &node.name,
                held: node.held,
                series,
            })
            .collect();
        let averages: Vec<_> = self.means.iter().map(Series::facts).collect();
        question(&Facts {
            now_ms: self.now_ms,
            tick_length_ms: MINUTE,
            trigger: TriggerFacts {
                timing_ms: self.timing_ms,
                when: self.when,
                cooldown_ms: self.cooldown_ms,
                quorum_percent: self.quorum_percent,
                enabled: self.enabled,
                dry_run: self.dry_run,
                last_fired_ms: self.last_fired_ms,
                changes: &self.changes,
                may_shrink: self.shrinks || self.changes.iter().any(|change| *change < 0),
            },
            cluster: ClusterFacts {
                name: "web",
                min_nodes: self.min_nodes,
                max_nodes: self.max_nodes,
                size: self.nodes.len() as i32 + self.launching,
            },
            counters: &counters,
            nodes: &nodes,
            averages: &averages,
            holds: &self.holds,
            open_run: self.open_run,
            open_capacity_run: self.open_capacity_run,
            launch_refusal: self.launch_refusal,
            previous_ms: self.previous_ms,
            unreadable: self.unreadable,
        })
    }

    pub fn decide(&self) -> Decision {
        self.ask(decide)
    }

    pub fn gate(&self, name: GateName) -> Gate {
        let gates = self.decide().detail.gates;
        gates.into_iter().find(|gate| gate.name == name).unwrap()
    }
}

impl Series {
    fn facts(&self) -> SeriesFacts<'_> {
        SeriesFacts {
            counter: self.counter,
            jvm: self.jvm,
            last: self.last,
            breach: self.breach,
            start_ms: self.start_ms,
            error: self.error,
        }
    }
}

pub const RULE: Rule = Rule {
    comparison: Comparison::Greater,
    threshold: 4.0,
};
