//! What a collection hands in: every reading moves the breach of its series and is kept with it.

use super::rules::Rules;
use crate::collectors::Reading;
use crate::error::Result;
use crate::samples::{SeriesKey, SeriesState, Store, Write};
use crate::triggers::breach::{Policy, advance};

/// Moves the breaches of a batch of readings and keeps both, in one read and one write of the store. The same batch twice
/// changes nothing more. A reading of a counter that was deleted meanwhile is dropped. Answers with the number of series that breach.
///
/// # Errors
/// The store does not answer; the readings are then lost, which shows as a gap and grows stale.
pub async fn observe(rules: &Rules, store: &Store, readings: &[Reading]) -> Result<usize> {
    let known: Vec<_> = readings
        .iter()
        .filter_map(|reading| Some((reading, rules.get(reading.counter)?)))
        .collect();
    let keys: Vec<SeriesKey> = known.iter().map(|(reading, _)| reading.key).collect();
    let states = store.states(&keys).await?;
    let writes: Vec<Write> = known
        .into_iter()
        .zip(&states)
        .map(|((reading, policy), state)| moved(reading, policy, state.as_ref()))
        .collect();
    store.write(&writes).await?;
    Ok(writes.iter().filter(|write| write.breach.is_some()).count())
}

fn moved(reading: &Reading, policy: &Policy, state: Option<&SeriesState>) -> Write {
    let before = state.and_then(|state| state.breach).map(Into::into);
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
