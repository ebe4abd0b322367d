//! What changes the file; blocking, on one connection.

use std::collections::HashMap;
use std::path::Path;

use diesel::connection::SimpleConnection as _;
use diesel::insert_or_ignore_into;
use diesel::prelude::*;

use super::statements::{AppendSample, UpdateState};
use super::tables::{
    BATCH, CACHE, CREATE, Failure, LAYOUT, Result, chunk_key, chunks, connect, ids_of, next_slot,
    number, series, slots_between,
};
use crate::samples::chunk::{self, Place};
use crate::samples::{SeriesKey, Write};

/// What the writer keeps of the file for each series, bytes: each tick returns to the page of its state and to that of its last chunk.
const CACHE_EACH: usize = 200;
/// What it keeps at most, KiB.
const MOST_CACHE: usize = 8 * 1024;

/// The one connection that writes, and the ids that it has seen.
pub(super) struct Writer {
    conn: SqliteConnection,
    ids: HashMap<SeriesKey, i64>,
    /// What the connection keeps of the file, KiB.
    cache: usize,
}

impl Writer {
    /// Opens the file and makes its tables.
    pub fn open(path: &Path) -> Result<Self> {
        let mut conn = connect(path)?;
        immediate(&mut conn, |conn| {
            let layout = "SELECT user_version AS number FROM pragma_user_version";
            match number(conn, layout)? {
                LAYOUT => Ok(()),
                0 => Ok(conn.batch_execute(CREATE)?),
                other => Err(Failure::Layout(other)),
            }
        })?;
        Ok(Self {
            conn,
            ids: HashMap::new(),
            cache: CACHE,
        })
    }

    /// Keeps a batch, all or nothing. After a failure the caller drops the writer: its ids may be of a transaction that never was.
    pub fn write(&mut self, writes: &[Write]) -> Result<()> {
        self.fit_cache()?;
        let Self { conn, ids, .. } = self;
        immediate(conn, |conn| {
            for write in writes {
                write_one(conn, ids, write)?;
            }
            Ok(())
        })
    }

    /// Lets the cache grow with the fleet: a small one needs little of the file at each tick, and what is not needed would only fill up.
    fn fit_cache(&mut self) -> Result<()> {
        let wanted = (self.ids.len() * CACHE_EACH / 1024).min(MOST_CACHE);
        if wanted > self.cache {
            self.conn
                .batch_execute(&format!("PRAGMA cache_size = -{wanted}"))?;
            self.cache = wanted;
        }
        Ok(())
    }

    /// Forgets the oldest quarter of an hour, if it is older than `slot`; whether there was one.
    pub fn prune_oldest(&mut self, slot: i64) -> Result<bool> {
        immediate(&mut self.conn, |conn| {
            let Some(oldest) = next_slot(conn, i64::MIN)?.filter(|oldest| *oldest < slot) else {
                return Ok(false);
            };
            let end = chunk_key(oldest.saturating_add(1), 0);
            diesel::delete(chunks::table.filter(chunks::key.lt(end))).execute(conn)?;
            Ok(true)
        })
    }

    /// Forgets the series that were not read since `slot` began.
    pub fn prune_series(&mut self, slot: i64) -> Result<()> {
        let dead = series::table.filter(series::tick_ms.lt(chunk::start_ms(slot)));
        immediate(&mut self.conn, |conn| {
            let gone = dead.select(series::id).load(conn)?;
            delete_series(conn, &gone)
        })
    }

    /// Forgets series.
    pub fn forget(&mut self, keys: &[SeriesKey]) -> Result<()> {
        let Self { conn, ids, .. } = self;
        immediate(conn, |conn| {
            let gone: Vec<i64> = ids_of(conn, keys)?.into_values().collect();
            delete_series(conn, &gone)
        })?;
        ids.retain(|key, _| !keys.contains(key));
        Ok(())
    }
}

/// A transaction that takes the write lock at once. After a failure the caller throws the connection away, and what it began with it:
/// Diesel's own would answer with the failure of a rollback that SQLite has already done, as it does when a disk is full.
fn immediate<T>(
    conn: &mut SqliteConnection,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T> {
    conn.batch_execute("BEGIN IMMEDIATE")?;
    let value = work(conn)?;
    conn.batch_execute("COMMIT")?;
    Ok(value)
}

fn write_one(
    conn: &mut SqliteConnection,
    ids: &mut HashMap<SeriesKey, i64>,
    write: &Write,
) -> Result<()> {
    let mut id = match ids.get(&write.key) {
        Some(id) => *id,
        None => id_of(conn, ids, write.key)?,
    };
    if UpdateState::new(id, write).execute(conn)? == 0 {
        // Pruned or forgotten since, perhaps by another process: it begins anew.
        id = id_of(conn, ids, write.key)?;
        UpdateState::new(id, write).execute(conn)?;
    }
    if let Ok(value) = write.kept() {
        put_sample(conn, id, Place::of(write.tick_ms), value)?;
    }
    Ok(())
}

fn id_of(
    conn: &mut SqliteConnection,
    ids: &mut HashMap<SeriesKey, i64>,
    key: SeriesKey,
) -> Result<i64> {
    let name = key.to_string();
    insert_or_ignore_into(series::table)
        .values(series::key.eq(&name))
        .execute(conn)?;
    let id = series::table
        .filter(series::key.eq(&name))
        .select(series::id)
        .first(conn)?;
    ids.insert(key, id);
    Ok(id)
}

/// Appends where the sample is the latest of its chunk, as nearly always; puts it in its place otherwise.
fn put_sample(
    conn: &mut SqliteConnection,
    series_id: i64,
    place: Place,
    value: f64,
) -> QueryResult<()> {
    let key = chunk_key(place.slot, series_id);
    let append = AppendSample {
        key,
        record: chunk::record(place.second, value),
    };
    if append.execute(conn)? == 0 {
        let rows = chunks::table.find(key);
        let mut data: Vec<u8> = rows.select(chunks::data).first(conn)?;
        chunk::put(&mut data, place.second, value);
        diesel::update(rows)
            .set(chunks::data.eq(data))
            .execute(conn)?;
    }
    Ok(())
}

fn delete_series(conn: &mut SqliteConnection, gone: &[i64]) -> Result<()> {
    let slots = slots_between(conn, i64::MIN, i64::MAX)?;
    for ids in gone.chunks(BATCH) {
        diesel::delete(series::table.filter(series::id.eq_any(ids))).execute(conn)?;
        for slot in &slots {
            let keys = ids.iter().map(|id| chunk_key(*slot, *id));
            diesel::delete(chunks::table.filter(chunks::key.eq_any(keys))).execute(conn)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;
    use crate::models::{CounterId, NodeId};

    fn writes(nodes: std::ops::Range<i64>) -> Vec<Write> {
        let write = |node| Write {
            key: SeriesKey::Ssh {
                node: NodeId(node),
                counter: CounterId(1),
            },
            tick_ms: 0,
            measured_ms: 0,
            took_ms: 0,
            outcome: Ok(1.0),
            breach: None,
        };
        nodes.map(write).collect()
    }

    #[test]
    fn a_full_file_keeps_nothing_of_the_batch_and_the_next_writer_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.db");
        let mut writer = Writer::open(&path).unwrap();
        writer.write(&writes(0..1)).unwrap();
        writer
            .conn
            .batch_execute("PRAGMA max_page_count = 20")
            .unwrap();
        let failure = writer.write(&writes(1..5_000)).unwrap_err();
        assert_eq!(failure.to_string(), "database or disk is full");
        assert!(failure.passes());
        drop(writer);

        let mut writer = Writer::open(&path).unwrap();
        writer.write(&writes(3..4)).unwrap();
        let keys: Vec<_> = writes(0..5).iter().map(|write| write.key).collect();
        let states = read::states(&mut writer.conn, &keys).unwrap();
        let known: Vec<_> = states.iter().map(Option::is_some).collect();
        assert_eq!(known, [true, false, false, true, false]);
    }

    #[test]
    fn the_cache_grows_with_the_fleet() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(&folder.path().join("samples.db")).unwrap();
        let mut kept_after = |nodes| {
            writer.write(&writes(0..nodes)).unwrap();
            writer.write(&writes(0..1)).unwrap();
            let kept = "SELECT cache_size AS number FROM pragma_cache_size";
            -number(&mut writer.conn, kept).unwrap()
        };
        assert_eq!(kept_after(1_000), 2 * 1024);
        assert_eq!(kept_after(20_000), 3_906);
        assert_eq!(kept_after(50_000), 8 * 1024);
    }

    #[test]
    fn an_id_of_a_series_that_another_writer_forgot_is_not_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.db");
        let (mut first, mut second) = (Writer::open(&path).unwrap(), Writer::open(&path).unwrap());
        first.write(&writes(1..2)).unwrap();
        second.forget(&[writes(1..2)[0].key]).unwrap();
        second.write(&writes(2..3)).unwrap();
        first.write(&writes(1..2)).unwrap();
        let ids: Vec<i64> = series::table
            .order(series::id)
            .select(series::id)
            .load(&mut first.conn)
            .unwrap();
        assert_eq!(ids, [2, 3]);
    }
}
