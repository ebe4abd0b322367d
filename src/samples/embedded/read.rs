//! What is asked of the file; blocking, each call inside one read transaction.

use std::collections::HashMap;

use diesel::dsl::max;
use diesel::prelude::*;

use super::tables::{
    BATCH, Result, chunk_key, chunks, ids_of, number, series, slot_and_series, slots_between,
};
use crate::samples::chunk::{self, Place};
use crate::samples::{Breach, ReadingFault, Sample, SeriesKey, SeriesState};

/// From how many series on it is quicker to read them all than to look each one up: it is nearly all of them then.
const MANY: usize = 5_000;
/// Of fewer, up to how many times the wanted ones it is.
const IN_PASSING: i64 = 2;
/// Series listed at once.
const LISTED: i64 = 1_000;

#[derive(Queryable)]
struct SeriesRow {
    _id: i64,
    key: String,
    tick_ms: i64,
    measured_ms: i64,
    took_ms: i64,
    last_ms: Option<i64>,
    last_value: Option<f64>,
    breach_since_ms: Option<i64>,
    breach_count: Option<i64>,
    breach_last_ms: Option<i64>,
    fault: Option<String>,
}

impl From<SeriesRow> for SeriesState {
    fn from(row: SeriesRow) -> Self {
        let tick_ms = row.tick_ms;
        let breach = row
            .breach_since_ms
            .zip(row.breach_count)
            .zip(row.breach_last_ms);
        Self {
            last: row
                .last_ms
                .zip(row.last_value)
                .map(|(tick_ms, value)| Sample { tick_ms, value }),
            breach: breach.map(|((since_ms, count), last_ms)| Breach {
                since_ms,
                count: u32::try_from(count).unwrap_or(u32::MAX),
                last_ms,
            }),
            error: row.fault.map(|message| ReadingFault { tick_ms, message }),
            measured_ms: row.measured_ms,
            took_ms: row.took_ms,
            tick_ms,
        }
    }
}

/// See [`crate::samples::Store::states`].
pub(super) fn states(
    conn: &mut SqliteConnection,
    keys: &[SeriesKey],
) -> Result<Vec<Option<SeriesState>>> {
    let mut found: HashMap<String, SeriesState> = HashMap::with_capacity(keys.len());
    let keep = |mut row: SeriesRow| (std::mem::take(&mut row.key), row.into());
    let names: Vec<String> = keys.iter().map(SeriesKey::to_string).collect();
    // Ids are never given twice: there are no more series than this, though fewer where nodes have come and gone.
    let most: Option<i64> = series::table.select(max(series::id)).first(conn)?;
    let wanted = i64::try_from(keys.len()).unwrap_or(i64::MAX);
    if keys.len() > MANY || most.unwrap_or(0) <= wanted.saturating_mul(IN_PASSING) {
        let rows = series::table.load::<SeriesRow>(conn)?;
        found.extend(rows.into_iter().map(keep));
    } else {
        for names in names.chunks(BATCH) {
            let rows = series::table
                .filter(series::key.eq_any(names))
                .load::<SeriesRow>(conn)?;
            found.extend(rows.into_iter().map(keep));
        }
    }
    // Cloned, not taken: nothing says that a caller asks for a series only once.
    Ok(names.iter().map(|name| found.get(name).cloned()).collect())
}

/// See [`crate::samples::Store::range`].
pub(super) fn range(
    conn: &mut SqliteConnection,
    keys: &[SeriesKey],
    from_ms: i64,
    to_ms: i64,
) -> Result<Vec<Vec<Sample>>> {
    let slots = slots_between(conn, Place::of(from_ms).slot, Place::of(to_ms).slot)?;
    let ids = ids_of(conn, keys)?;
    let mut samples: HashMap<i64, Vec<Sample>> = HashMap::new();
    let of_slot = |slot: &i64| {
        let slot = *slot;
        ids.values().map(move |id| chunk_key(slot, *id))
    };
    let wanted: Vec<i64> = slots.iter().flat_map(of_slot).collect();
    // Slot after slot: each series gets its samples in order.
    for batch in wanted.chunks(BATCH) {
        let rows = chunks::table
            .filter(chunks::key.eq_any(batch))
            .order(chunks::key)
            .load::<(i64, Vec<u8>)>(conn)?;
        for (key, data) in rows {
            let (slot, id) = slot_and_series(key);
            let wanted = chunk::samples(slot, &data)
                .filter(|sample| (from_ms..=to_ms).contains(&sample.tick_ms));
            samples.entry(id).or_default().extend(wanted);
        }
    }
    let of_key = |key| samples.get(ids.get(key)?).cloned();
    Ok(keys
        .iter()
        .map(|key| of_key(key).unwrap_or_default())
        .collect())
}

/// See [`crate::samples::Store::first_after`].
pub(super) fn first_after(
    conn: &mut SqliteConnection,
    after: &[(SeriesKey, i64)],
) -> Result<Vec<Option<i64>>> {
    let keys: Vec<SeriesKey> = after.iter().map(|(key, _)| *key).collect();
    let ids = ids_of(conn, &keys)?;
    let earliest = after.iter().map(|(_, after_ms)| *after_ms).min();
    let from = Place::of(earliest.unwrap_or(i64::MAX)).slot;
    let slots = slots_between(conn, from, i64::MAX)?;
    after
        .iter()
        .map(|(key, after_ms)| match ids.get(key) {
            Some(id) => first_of_series(conn, *id, *after_ms, &slots),
            None => Ok(None),
        })
        .collect()
}

fn first_of_series(
    conn: &mut SqliteConnection,
    id: i64,
    after_ms: i64,
    slots: &[i64],
) -> Result<Option<i64>> {
    let from = Place::of(after_ms).slot;
    for slot in slots.iter().filter(|slot| **slot >= from) {
        let data: Option<Vec<u8>> = chunks::table
            .find(chunk_key(*slot, id))
            .select(chunks::data)
            .first(conn)
            .optional()?;
        let first = chunk::samples(*slot, &data.unwrap_or_default())
            .map(|sample| sample.tick_ms)
            .find(|tick_ms| *tick_ms > after_ms);
        if first.is_some() {
            return Ok(first);
        }
    }
    Ok(None)
}

/// See [`crate::samples::Store::list`]. The cursor is the id of the last series listed.
pub(super) fn list(conn: &mut SqliteConnection, cursor: u64) -> Result<(Vec<SeriesKey>, u64)> {
    let rows: Vec<(i64, String)> = series::table
        .filter(series::id.gt(i64::try_from(cursor).unwrap_or(i64::MAX)))
        .order(series::id)
        .limit(LISTED)
        .select((series::id, series::key))
        .load(conn)?;
    let next = match rows.last() {
        Some((id, _)) if rows.len() as i64 == LISTED => u64::try_from(*id).unwrap_or(0),
        _ => 0,
    };
    let keys = rows.into_iter().filter_map(|(_, key)| key.parse().ok());
    Ok((keys.collect(), next))
}

/// See [`crate::samples::Store::ping`].
pub(super) fn ping(conn: &mut SqliteConnection) -> Result<()> {
    // From a table, so that a file that is something else does not pass.
    number(
        conn,
        "SELECT count(*) AS number FROM (SELECT 1 FROM series LIMIT 1)",
    )
    .map(drop)
}
