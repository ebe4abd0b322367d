//! What a collection hands in: every reading moves the breach of its series and is kept with it.

use std::collections::HashMap;

use super::rules::Rules;
use crate::collectors::Reading;
use crate::error::Result;
use crate::samples::{SeriesKey, Store, Write};
use crate::triggers::breach::{Breach, Policy, advance};

/// A series that was read, and its breach after that.
pub type Moved = (SeriesKey, Option<Breach>);

/// The breaches as this process left them in the store, so that it need not read them back at every tick.
///
/// They are what the store holds as long as nobody else writes these series: from one tick to the next that is shared among the same
/// processes. After anything else (a tick that was missed, another list, a write that failed) they are read again; also after a change of the
/// fleet, so that series that are gone do not pile up.
#[derive(Debug, Default)]
pub struct Breaches {
    known: HashMap<SeriesKey, Option<Breach>>,
    members: Vec<String>,
    revision: i64,
    tick_ms: i64,
}

impl Breaches {
    /// Begins a tick that is shared among `members`; what is known is kept if it is the next one and all else is the same.
    pub fn begin(&mut self, tick_ms: i64, period_ms: i64, members: Vec<String>, revision: i64) {
        let is_next = tick_ms.saturating_sub(self.tick_ms) == period_ms;
        if !is_next || self.members != members || self.revision != revision {
            self.known.clear();
        }
        self.members = members;
        self.revision = revision;
        self.tick_ms = tick_ms;
    }

    /// Moves the breaches of a batch of readings and keeps both, in one write of the store. The same batch twice changes nothing
    /// more. A reading of a counter that was deleted meanwhile is dropped. Answers with what was kept.
    ///
    /// # Errors
    /// The store does not answer; the readings are then lost, which shows as a gap and grows stale.
    pub async fn observe(
        &mut self,
        rules: &Rules,
        store: &Store,
        readings: &[Reading],
    ) -> Result<Vec<Moved>> {
        let known: Vec<_> = readings
            .iter()
            .filter_map(|reading| Some((reading, rules.get(reading.counter)?)))
            .collect();
        self.look_up(store, &known).await?;
        let mut writes = Vec::with_capacity(known.len());
        for (reading, policy) in known {
            // One after the other: a series may be in a batch twice.
            let before = self.known.get(&reading.key).copied().flatten();
            let write = moved(reading, policy, before);
            self.known.insert(reading.key, write.breach.map(Into::into));
            writes.push(write);
        }
        if let Err(cause) = store.write(&writes).await {
            // Some of it may be kept.
            self.known.clear();
            return Err(cause);
        }
        let moved = writes.into_iter();
        Ok(moved
            .map(|write| (write.key, write.breach.map(Into::into)))
            .collect())
    }

    async fn look_up(&mut self, store: &Store, readings: &[(&Reading, &Policy)]) -> Result<()> {
        let unknown: Vec<SeriesKey> = readings
            .iter()
            .map(|(reading, _)| reading.key)
            .filter(|key| !self.known.contains_key(key))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let states = store.states(&unknown).await?;
        for (key, state) in unknown.into_iter().zip(states) {
            let breach = state.and_then(|state| state.breach);
            self.known.insert(key, breach.map(Into::into));
        }
        Ok(())
    }
}

/// [`Breaches::observe`] for a batch by itself; answers with the number of series that breach.
///
/// # Errors
/// As there.
pub async fn observe(rules: &Rules, store: &Store, readings: &[Reading]) -> Result<usize> {
    let mut breaches = Breaches::default();
    let moved = breaches.observe(rules, store, readings).await?;
    Ok(moved.iter().filter(|(_, breach)| breach.is_some()).count())
}

fn moved(reading: &Reading, policy: &Policy, before: Option<Breach>) -> Write {
    let value = reading
        .outcome
        .as_ref()
        .ok()
        .copied()
        .filter(|value| value.is_finite());
    Write {
        key: reading.key,
        tick_ms: reading.tick_ms,
        measured_ms: reading.measured_ms,
        took_ms: reading.took_ms,
        outcome: reading.outcome.clone(),
        breach: advance(before, reading.tick_ms, value, policy).map(Into::into),
    }
}
