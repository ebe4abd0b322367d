//! The file of the embedded store: its tables, its connections, and the look-ups that both sides need.
//!
//! `chunks` is ordered by time first and series second, both in one number: a tick then appends to a few neighbouring pages, where an
//! order by series would touch a page for each series, and old chunks go a quarter of an hour at a time. The price is a look-up
//! for each series and quarter when reading.

use std::collections::HashMap;
use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::{ConnectionError, sql_query};

use crate::samples::SeriesKey;

/// How long a statement waits for another process that writes the file.
const BUSY_TIMEOUT_MS: u32 = 2_000;
/// How many values stand in one `IN (…)`.
pub(super) const BATCH: usize = 500;
/// The layout of the file, kept in its `user_version`.
pub(super) const LAYOUT: i64 = 1;

// AUTOINCREMENT: an id is never given twice, so a remembered id of a series that is gone finds nothing instead of another series.
pub(super) const CREATE: &str = "
    CREATE TABLE series (
        id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
        key TEXT NOT NULL UNIQUE,
        tick_ms BIGINT NOT NULL DEFAULT 0,
        measured_ms BIGINT NOT NULL DEFAULT 0,
        took_ms BIGINT NOT NULL DEFAULT 0,
        last_ms BIGINT,
        last_value DOUBLE,
        breach_since_ms BIGINT,
        breach_count BIGINT,
        breach_last_ms BIGINT,
        fault TEXT
    );
    CREATE TABLE chunks (
        key INTEGER PRIMARY KEY NOT NULL,
        data BLOB NOT NULL
    );
    PRAGMA user_version = 1;";

diesel::table! {
    series (id) {
        id -> BigInt,
        key -> Text,
        tick_ms -> BigInt,
        measured_ms -> BigInt,
        took_ms -> BigInt,
        last_ms -> Nullable<BigInt>,
        last_value -> Nullable<Double>,
        breach_since_ms -> Nullable<BigInt>,
        breach_count -> Nullable<BigInt>,
        breach_last_ms -> Nullable<BigInt>,
        fault -> Nullable<Text>,
    }
}

diesel::table! {
    chunks (key) {
        key -> BigInt,
        data -> Binary,
    }
}

/// The key of a chunk: the slot in the upper half, the series in the lower.
pub(super) const fn chunk_key(slot: i64, series_id: i64) -> i64 {
    slot.saturating_mul(1 << 32).saturating_add(series_id)
}

/// Slot and series of a key.
pub(super) const fn slot_and_series(key: i64) -> (i64, i64) {
    (key.div_euclid(1 << 32), key.rem_euclid(1 << 32))
}

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It could not be opened.
    #[error("{0}")]
    Open(#[from] ConnectionError),
    /// A statement failed.
    #[error("{0}")]
    Query(#[from] diesel::result::Error),
    /// A newer Headroom wrote it.
    #[error(
        "its layout is number {0} and this Headroom knows {LAYOUT}; start the newer Headroom, or move the file away"
    )]
    Layout(i64),
}

impl Failure {
    /// Whether the same attempt may succeed later: a full disk or a lock passes, a file that is something else stays so.
    pub fn passes(&self) -> bool {
        let text = self.to_string();
        !matches!(self, Self::Layout(_))
            && !text.contains("not a database")
            && !text.contains("malformed")
    }
}

pub(super) type Result<T> = std::result::Result<T, Failure>;

/// What a connection keeps of the file, KiB. Who reads goes through it once, and the operating system has its pages too.
pub(super) const CACHE: usize = 2 * 1024;

/// A connection that is fit for use.
pub(super) fn connect(path: &Path) -> Result<SqliteConnection> {
    let mut conn = SqliteConnection::establish(&path.to_string_lossy())?;
    // NORMAL: the file stays whole whatever happens, and only a power cut can cost the last ticks. The limit gives back what
    // one large batch left in the log.
    conn.batch_execute(&format!(
        "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         PRAGMA journal_size_limit = 33554432; PRAGMA cache_size = -{CACHE};"
    ))?;
    Ok(conn)
}

/// The ids of the series that exist.
pub(super) fn ids_of(
    conn: &mut SqliteConnection,
    keys: &[SeriesKey],
) -> Result<HashMap<SeriesKey, i64>> {
    let mut ids = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(BATCH) {
        let names: Vec<String> = keys.iter().map(SeriesKey::to_string).collect();
        let rows = series::table
            .filter(series::key.eq_any(&names))
            .select((series::key, series::id))
            .load::<(String, i64)>(conn)?;
        // A name that does not parse cannot have been asked for.
        ids.extend(
            rows.into_iter()
                .filter_map(|(key, id)| Some((key.parse().ok()?, id))),
        );
    }
    Ok(ids)
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// The one number of a query, named `number`.
pub(super) fn number(conn: &mut SqliteConnection, query: &str) -> Result<i64> {
    Ok(sql_query(query).get_result::<Number>(conn)?.number)
}

/// The oldest slot that has chunks, from `slot` on.
pub(super) fn next_slot(conn: &mut SqliteConnection, slot: i64) -> Result<Option<i64>> {
    let key = chunks::table
        .filter(chunks::key.ge(chunk_key(slot, 0)))
        .order(chunks::key)
        .select(chunks::key)
        .first(conn)
        .optional()?;
    Ok(key.map(|key| slot_and_series(key).0))
}

/// The slots that have chunks at all, found by hopping from one to the next: a range may well ask for all of time.
pub(super) fn slots_between(conn: &mut SqliteConnection, from: i64, to: i64) -> Result<Vec<i64>> {
    let mut slots = Vec::new();
    let mut from = from;
    while let Some(slot) = next_slot(conn, from)?.filter(|slot| *slot <= to) {
        slots.push(slot);
        from = slot.saturating_add(1);
    }
    Ok(slots)
}
