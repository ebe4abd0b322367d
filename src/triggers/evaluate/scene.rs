//! A snapshot together with its samples: the facts of every trigger, gathered with the same number of round trips to the store
//! however many series there are.

use std::collections::HashMap;

use super::awaited::Awaited;
use super::ledger::Tick;
use super::snapshot::{CounterView, Snapshot, Watched};
use super::view::timing_ms;
use crate::collectors::is_due;
use crate::error::Error;
use crate::models::When;
use crate::samples::{Sample, SeriesKey, SeriesState, Store, Write};
use crate::triggers::breach::{self, Breach, advance};
use crate::triggers::decide::{Decision, Outcome, decide};
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
    pub(super) firsts: HashMap<(usize, usize), i64>,
    /// Which series are due and have not been read yet, in the order of [`Snapshot::keys`]; none in the last pass over a tick.
    awaited: Vec<bool>,
    /// Why the samples could not be read; nothing fires then.
    pub(super) unreadable: Option<String>,
    /// The first thing that went wrong.
    pub fault: Option<Error>,
    pub tick_ms: i64,
    pub tick_length_ms: i64,
}

impl Scene {
    /// Reads the samples, and keeps the means of the triggers that ask for them. In the last pass over a tick no reading is waited for.
    pub async fn read(snapshot: Snapshot, store: &Store, tick: Tick, is_last: bool) -> Self {
        let states = store.states(&snapshot.keys).await;
        let mut scene = Self {
            states: vec![None; snapshot.keys.len()],
            awaited: vec![false; snapshot.keys.len()],
            snapshot,
            firsts: HashMap::new(),
            unreadable: None,
            fault: None,
            tick_ms: tick.at_ms,
            tick_length_ms: tick.length_ms,
        };
        match states {
            Ok(states) => scene.states = states,
            Err(cause) => {
                scene.unreadable = Some(cause.to_string());
                scene.fault = Some(cause);
                return scene;
            }
        }
        if !is_last {
            scene.await_readings();
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

    /// Decides every trigger, in the order of the snapshot; none for one that has to wait for its readings.
    pub fn decide(&self) -> Vec<Option<Decision>> {
        let watched = self.snapshot.watched.iter().enumerate();
        watched
            .map(|(at, watched)| match self.waits(watched) {
                false => Some(self.ask(at, watched, decide)),
                true => self.decide_early(at, watched),
            })
            .collect()
    }

    /// Enough series may qualify whatever the others will be read as. Those do not count until then (see [`Self::counted_breach`]), so
    /// that more readings could only add to what is found here.
    fn decide_early(&self, at: usize, watched: &Watched) -> Option<Decision> {
        if !may_fire_early(watched) {
            return None;
        }
        let decision = self.ask(at, watched, decide);
        (decision.outcome == Outcome::Fired).then_some(decision)
    }

    fn await_readings(&mut self) {
        let mut awaited = std::mem::take(&mut self.awaited);
        for counter in self.snapshot.watched.iter().flat_map(|it| &it.counters) {
            if !is_due(counter.row.every_secs, self.tick_ms) {
                continue;
            }
            for entry in counter.series.iter() {
                let is_read = self
                    .state(entry.key)
                    .is_some_and(|state| state.tick_ms >= self.tick_ms);
                if let Some(awaited) = awaited.get_mut(entry.key) {
                    *awaited = !is_read;
                }
            }
        }
        self.awaited = awaited;
    }

    fn is_awaited(&self, key: usize) -> bool {
        self.awaited.get(key).copied().unwrap_or(false)
    }

    /// Whether a reading of any of its series is still to come.
    fn waits(&self, watched: &Watched) -> bool {
        let series = watched.counters.iter().flat_map(|it| it.series.iter());
        let mut keys = series.map(|entry| entry.key);
        keys.any(|key| self.is_awaited(key))
    }

    /// Notes what a trigger that is not decided waits for.
    pub(super) fn await_more(&self, watched: &Watched, awaited: &mut Awaited) {
        let series = watched.counters.iter().flat_map(|it| it.series.iter());
        let keys = series
            .filter(|entry| self.is_awaited(entry.key))
            .filter_map(|entry| self.snapshot.keys.get(entry.key).copied());
        let timing_ms = timing_ms(watched).filter(|_| may_fire_early(watched));
        awaited.add(keys, timing_ms);
    }

    async fn keep_means(&mut self, store: &Store) -> Result<(), Error> {
        let means: Vec<_> = self
            .snapshot
            .watched
            .iter()
            .filter(|watched| !self.waits(watched))
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

    pub(super) fn state(&self, key: usize) -> Option<&SeriesState> {
        self.states.get(key)?.as_ref()
    }

    /// The breach of a series as far as it counts now: one that is still to be read has none.
    pub(super) fn counted_breach(&self, key: usize) -> Option<Breach> {
        self.breach(key).filter(|_| !self.is_awaited(key))
    }

    pub(super) fn breach(&self, key: usize) -> Option<Breach> {
        self.state(key)?.breach.map(Breach::from)
    }
}

/// Whether some of its series may be enough, whatever the others are.
fn may_fire_early(watched: &Watched) -> bool {
    matches!(watched.trigger.when_rule, When::Any | When::Percent)
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
