//! A snapshot together with its samples: the facts of every trigger, gathered with the same number of round trips to the store
//! however many series there are.

use std::collections::HashMap;

use super::rules;
use super::snapshot::{CounterView, Entry, Snapshot, Watched};
use crate::error::Error;
use crate::models::run::Run;
use crate::models::{Mode, RunState};
use crate::samples::{Sample, SeriesKey, SeriesState, Store, Write};
use crate::triggers::breach::{self, Breach, advance};
use crate::triggers::decide::{Decision, decide};
use crate::triggers::facts::{
    ClusterFacts, CounterFacts, Facts, HoldFacts, NodeFacts, RunFacts, SeriesFacts, TriggerFacts,
};
use crate::triggers::mean::Mean;

/// Breaches older than a firing whose first sample after it is looked up at one tick. Beyond, only those are looked up for which
/// it decides; the others are taken to count from the latest possible sample, which is a few ticks late.
const MAX_LOOKUPS: usize = 5_000;

/// One tick as its triggers see it.
pub(super) struct Scene {
    pub snapshot: Snapshot,
    /// In the order of [`Snapshot::keys`].
    states: Vec<Option<SeriesState>>,
    /// First samples after a trigger's last firing, by trigger's and series' place.
    firsts: HashMap<(usize, usize), i64>,
    /// Why the samples could not be read; nothing fires then.
    unreadable: Option<String>,
    /// The first thing that went wrong.
    pub fault: Option<Error>,
    pub tick_ms: i64,
    pub tick_length_ms: i64,
}

impl Scene {
    /// Reads the samples, and keeps the means of the triggers that ask for them.
    pub async fn read(
        snapshot: Snapshot,
        store: &Store,
        tick_ms: i64,
        tick_length_ms: i64,
    ) -> Self {
        let states = store.states(&snapshot.keys).await;
        let mut scene = Self {
            states: vec![None; snapshot.keys.len()],
            snapshot,
            firsts: HashMap::new(),
            unreadable: None,
            fault: None,
            tick_ms,
            tick_length_ms,
        };
        match states {
            Ok(states) => scene.states = states,
            Err(cause) => {
                scene.unreadable = Some(cause.to_string());
                scene.fault = Some(cause);
                return scene;
            }
        }
        // A mean that was not kept grows stale and a first sample that was not found is taken to be late: both are careful.
        if let Err(cause) = scene.keep_means(store).await {
            scene.fault = Some(cause);
        }
        if let Err(cause) = scene.find_firsts(store).await {
            scene.fault = Some(cause);
        }
        scene
    }

    /// Decides every trigger, in the order of the snapshot.
    pub fn decide(&self) -> Vec<Decision> {
        let watched = self.snapshot.watched.iter().enumerate();
        watched
            .map(|(at, watched)| self.ask(at, watched, decide))
            .collect()
    }

    async fn keep_means(&mut self, store: &Store) -> Result<(), Error> {
        let means: Vec<_> = self
            .snapshot
            .watched
            .iter()
            .flat_map(|watched| {
                watched
                    .counters
                    .iter()
                    .map(move |counter| (watched, counter))
            })
            .filter_map(|(watched, counter)| self.mean(watched, counter))
            .collect();
        if means.is_empty() {
            return Ok(());
        }
        let writes: Vec<_> = means.iter().map(|(_, write)| write.clone()).collect();
        store.write(&writes).await?;
        for (at, write) in means {
            if let Some(state) = self.states.get_mut(at) {
                *state = Some(after(&write, state.as_ref()));
            }
        }
        Ok(())
    }

    /// The mean of a counter at this tick, if it was due.
    fn mean(&self, watched: &Watched, counter: &CounterView) -> Option<(usize, Write)> {
        let at = counter.mean?;
        let key = self.snapshot.keys.get(at).copied()?;
        let mut mean = Mean::at(self.tick_ms, counter.policy.stale_after_ms);
        for entry in counter.series.iter() {
            let node = watched.cluster.nodes.get(entry.node);
            let state = self.state(entry.key);
            if let (Some(state), Some(false)) = (state, node.map(|node| node.held)) {
                let last = state.last.map(|last| (last.tick_ms, last.value));
                mean.take(state.tick_ms, last);
            }
        }
        let outcome = mean.reading()?;
        let value = outcome.as_ref().ok().copied();
        let breach = advance(self.breach(at), self.tick_ms, value, &counter.policy);
        Some((at, write(key, self.tick_ms, outcome, breach)))
    }

    async fn find_firsts(&mut self, store: &Store) -> Result<(), Error> {
        let mut wanted = self.wanted_firsts();
        if wanted.len() > MAX_LOOKUPS {
            wanted.retain(|first| first.decides);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let after: Vec<_> = wanted
            .iter()
            .map(|first| (first.key, first.fired_ms))
            .collect();
        let found = store.first_after(&after).await?;
        let found = wanted.iter().zip(found);
        self.firsts = found
            .filter_map(|(first, tick_ms)| Some((first.place, tick_ms?)))
            .collect();
        Ok(())
    }

    fn wanted_firsts(&self) -> Vec<First> {
        let mut wanted = Vec::new();
        for (at, watched) in self.snapshot.watched.iter().enumerate() {
            let Some(fired_ms) = watched.trigger.last_fired_ms else {
                continue;
            };
            for counter in &watched.counters {
                let series = counter.series.iter().map(|entry| entry.key);
                for key_at in series.chain(counter.mean) {
                    let breach = self.breach(key_at).filter(|breach| {
                        breach::began_before(*breach, fired_ms)
                            && breach.last_ms > fired_ms
                            && breach.last_ms <= self.tick_ms
                    });
                    if let (Some(breach), Some(key)) = (breach, self.snapshot.keys.get(key_at)) {
                        let longest_ms = breach.last_ms - fired_ms;
                        let timing_ms = timing_ms(watched).unwrap_or(i64::MAX);
                        let shortest_ms = longest_ms - counter.policy.stale_after_ms;
                        wanted.push(First {
                            key: *key,
                            fired_ms,
                            place: (at, key_at),
                            decides: longest_ms >= timing_ms && shortest_ms < timing_ms,
                        });
                    }
                }
            }
        }
        wanted
    }

    /// Puts a question about a trigger's facts.
    fn ask<T>(&self, at: usize, watched: &Watched, question: impl FnOnce(&Facts<'_>) -> T) -> T {
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
            previous_ms: watched.previous_ms,
            unreadable: self.unreadable.as_deref(),
        })
    }

    /// All series of a trigger with those of one node side by side, and where each node's begin and end.
    fn series_by_node<'a>(
        &'a self,
        at: usize,
        watched: &'a Watched,
    ) -> (Vec<SeriesFacts<'a>>, Vec<std::ops::Range<usize>>) {
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
        let breach = self.breach(key);
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

    fn state(&self, key: usize) -> Option<&SeriesState> {
        self.states.get(key)?.as_ref()
    }

    fn breach(&self, key: usize) -> Option<Breach> {
        self.state(key)?.breach.map(Breach::from)
    }
}

/// A first sample after a firing that is to be looked up.
struct First {
    key: SeriesKey,
    fired_ms: i64,
    place: (usize, usize),
    /// Whether firing or not depends on it.
    decides: bool,
}

fn write(
    key: SeriesKey,
    tick_ms: i64,
    outcome: Result<f64, String>,
    breach: Option<Breach>,
) -> Write {
    Write {
        key,
        tick_ms,
        measured_ms: tick_ms,
        took_ms: 0,
        outcome,
        breach: breach.map(Into::into),
    }
}

/// The state of a mean's series after a write, so that it need not be read again.
fn after(write: &Write, before: Option<&SeriesState>) -> SeriesState {
    let last = match write.outcome {
        Ok(value) => Some(Sample {
            tick_ms: write.tick_ms,
            value,
        }),
        Err(_) => before.and_then(|state| state.last),
    };
    SeriesState {
        last,
        breach: write.breach,
        error: None,
        measured_ms: write.measured_ms,
        took_ms: write.took_ms,
        tick_ms: write.tick_ms,
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
    }
}

fn run_facts(run: &Run) -> RunFacts<'_> {
    RunFacts {
        id: run.id.0,
        origin: run.trigger_name.as_deref().unwrap_or(&run.requested_by),
        state: RunState::as_str(run.state),
    }
}
