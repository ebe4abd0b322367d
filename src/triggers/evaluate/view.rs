//! The facts of one trigger, drawn from a scene: rows and states in the pure part's words, borrowed.

use std::ops::Range;

use super::rules;
use super::scene::Scene;
use super::snapshot::{CounterView, Entry, Watched};
use crate::models::run::Run;
use crate::models::{HoldScope, Mode};
use crate::triggers::breach;
use crate::triggers::facts::{
    ClusterFacts, CounterFacts, Facts, HoldFacts, NodeFacts, RunFacts, SeriesFacts, TriggerFacts,
};

impl Scene {
    /// Puts a question about a trigger's facts.
    pub(super) fn ask<T>(
        &self,
        at: usize,
        watched: &Watched,
        question: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        let counters: Vec<_> = watched.counters.iter().map(counter_facts).collect();
        let (series, bounds) = self.series_by_node(at, watched);
        let views = watched.cluster.nodes.iter().zip(bounds);
        let nodes: Vec<_> = views
            .map(|(view, bounds)| NodeFacts {
                name: &view.row.name,
                held: view.held,
                series: series.get(bounds).unwrap_or_default(),
            })
            .collect();
        let with_mean = watched.counters.iter().enumerate();
        let averages: Vec<_> = with_mean
            .filter_map(|(counter_at, counter)| {
                let key = counter.mean?;
                Some(self.series(at, watched, counter_at, counter, key, None))
            })
            .collect();
        let holds: Vec<_> = watched
            .holds
            .iter()
            .map(|(what, hold)| HoldFacts {
                what,
                reason: &hold.reason,
                author: &hold.author,
                expires_ms: hold.expires_ms,
                stops_all: hold.scope == HoldScope::Stop,
            })
            .collect();
        question(&Facts {
            now_ms: self.tick_ms,
            tick_length_ms: self.tick_length_ms,
            trigger: trigger_facts(watched),
            cluster: cluster_facts(watched),
            counters: &counters,
            nodes: &nodes,
            averages: &averages,
            holds: &holds,
            open_run: watched.open_run.as_ref().map(run_facts),
            open_capacity_run: watched.open_capacity_run.as_ref().map(run_facts),
            launch_refusal: watched.launch_refusal.as_deref(),
            previous_ms: watched.previous_ms,
            unreadable: self.unreadable.as_deref(),
        })
    }

    /// All series of a trigger with those of one node side by side, and where each node's begin and end.
    fn series_by_node<'a>(
        &'a self,
        at: usize,
        watched: &'a Watched,
    ) -> (Vec<SeriesFacts<'a>>, Vec<Range<usize>>) {
        let total = watched.counters.iter().map(|c| c.series.len()).sum();
        let mut series = Vec::with_capacity(total);
        let mut bounds = Vec::with_capacity(watched.cluster.nodes.len());
        let mut rests: Vec<&[Entry]> = watched.counters.iter().map(|c| &*c.series).collect();
        for node in 0..watched.cluster.nodes.len() {
            let begin = series.len();
            for ((counter_at, counter), rest) in watched.counters.iter().enumerate().zip(&mut rests)
            {
                while let [entry, others @ ..] = rest
                    && entry.node == node
                {
                    let jvm = entry.jvm.as_deref();
                    series.push(self.series(at, watched, counter_at, counter, entry.key, jvm));
                    *rest = others;
                }
            }
            bounds.push(begin..series.len());
        }
        (series, bounds)
    }

    fn series<'a>(
        &'a self,
        at: usize,
        watched: &Watched,
        counter_at: usize,
        counter: &CounterView,
        key: usize,
        jvm: Option<&'a str>,
    ) -> SeriesFacts<'a> {
        let state = self.state(key);
        let breach = self.counted_breach(key);
        let start_ms = breach.and_then(|breach| {
            let first_ms = self.firsts.get(&(at, key)).copied();
            let stale_after_ms = counter.policy.stale_after_ms;
            breach::start(
                breach,
                watched.trigger.last_fired_ms,
                stale_after_ms,
                first_ms,
            )
        });
        SeriesFacts {
            counter: counter_at,
            jvm,
            last: state
                .and_then(|state| state.last)
                .map(|last| (last.tick_ms, last.value)),
            breach,
            start_ms,
            error: state
                .and_then(|state| state.error.as_ref())
                .map(|fault| fault.message.as_str()),
        }
    }
}

pub(super) fn timing_ms(watched: &Watched) -> Option<i64> {
    let timing_secs = watched.trigger.timing_secs?;
    Some(timing_secs.saturating_mul(1_000))
}

pub(super) fn trigger_facts(watched: &Watched) -> TriggerFacts<'_> {
    let trigger = &watched.trigger;
    TriggerFacts {
        timing_ms: timing_ms(watched),
        when: rules::when(trigger.when_rule, trigger.when_percent),
        cooldown_ms: trigger.cooldown_secs.saturating_mul(1_000),
        quorum_percent: rules::percent_of(trigger.quorum_percent),
        enabled: trigger.enabled,
        dry_run: trigger.mode == Mode::DryRun,
        last_fired_ms: trigger.last_fired_ms,
        changes: &watched.changes,
        may_shrink: watched.may_shrink,
    }
}

pub(super) fn cluster_facts(watched: &Watched) -> ClusterFacts<'_> {
    let cluster = &watched.cluster;
    ClusterFacts {
        name: &cluster.row.name,
        min_nodes: cluster.row.min_nodes,
        max_nodes: cluster.row.max_nodes,
        size: cluster.size,
    }
}

fn counter_facts(counter: &CounterView) -> CounterFacts<'_> {
    CounterFacts {
        name: &counter.row.name,
        unit: counter.row.unit.as_deref(),
        rule: counter.policy.rule,
        stale_after_ms: counter.policy.stale_after_ms,
        period_ms: counter.period_ms,
    }
}

fn run_facts(run: &Run) -> RunFacts<'_> {
    RunFacts {
        id: run.id.0,
        origin: run.trigger_name.as_deref().unwrap_or(&run.requested_by),
        state: run.state.as_str(),
    }
}
