//! The store for several processes: Redis.
//!
//! For each series, under the prefix:
//! - `<series>`: the breach count, as the reference design has it, for people and scripts to look at;
//! - `<series>:samples`: a hash of chunks (see [`super::chunk`]), one field for each quarter of an hour. Not one long string: Redis doubles
//!   the space of a string that is appended to, and could not drop its beginning;
//! - `<series>:state`: a hash of words for the latest reading, last value, breach and error.
//!
//! All three expire, so that a series nobody writes leaves nothing behind.

mod link;
mod script;
mod text;

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, pipe};

use self::link::Link;
use self::script::Scripts;
use super::chunk::{self, Place};
use super::{Sample, SeriesKey, SeriesState, Write};
use crate::error::Result;

/// How much longer than the retention a key lives after its last write.
const SLACK: Duration = Duration::from_hours(1);
/// Readings in one pipeline: far more than a batch usually has, few enough to be answered well within the time limit.
const WRITE_BATCH: usize = 10_000;
/// Series in one pipeline that asks little of each.
const SERIES_BATCH: usize = 5_000;
/// Series in one pipeline that asks for samples: a day of one series is up to a megabyte.
const RANGE_BATCH: usize = 200;
/// From how many chunks on a range takes all that there are instead of naming each.
const MANY_SLOTS: i64 = 400;

/// Samples in Redis.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    scripts: Scripts,
    prefix: String,
    ttl_secs: u64,
}

/// Chunks with their slots, in order.
type Chunks = Vec<(i64, Vec<u8>)>;

impl Redis {
    /// See [`super::Store::redis`].
    pub(super) fn new(url: &str, prefix: &str, retention: Duration) -> Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                link: Link::new(url)?,
                scripts: Scripts::default(),
                prefix: prefix.to_owned(),
                ttl_secs: (retention + SLACK).as_secs(),
            }),
        })
    }

    /// See [`super::Store::write`].
    pub(super) async fn write(&self, writes: &[Write]) -> Result<()> {
        for writes in writes.chunks(WRITE_BATCH) {
            let mut pipeline = self.shared.scripts.write.pipeline(writes.len());
            for write in writes {
                self.add_write(&mut pipeline, write);
            }
            self.call::<()>("write samples to", &pipeline).await?;
        }
        Ok(())
    }

    fn add_write(&self, pipeline: &mut Pipeline, write: &Write) {
        let keys = self.keys_of(&write.key.to_string());
        self.shared.scripts.write.add(pipeline, &keys);
        pipeline
            .arg(self.shared.ttl_secs)
            .arg(write.breach.map_or(0, |breach| breach.count))
            .arg(text::reading(write))
            .arg(text::breach(write.breach));
        match write.kept() {
            Ok(value) => {
                let place = Place::of(write.tick_ms);
                pipeline
                    .arg(text::last(write.tick_ms, value))
                    .arg(place.slot)
                    .arg(&chunk::record(place.second, value))
            }
            Err(message) => pipeline.arg(message.as_ref()).arg("").arg(""),
        }
        .ignore();
    }

    /// See [`super::Store::states`].
    pub(super) async fn states(&self, keys: &[SeriesKey]) -> Result<Vec<Option<SeriesState>>> {
        let mut states = Vec::with_capacity(keys.len());
        for keys in keys.chunks(SERIES_BATCH) {
            let mut pipeline = Pipeline::with_capacity(keys.len());
            for key in keys {
                let [_, _, state] = self.keys_of(&key.to_string());
                pipeline.cmd("HMGET").arg(state).arg(text::FIELDS);
            }
            let found: Vec<text::Fields> = self.call("read states from", &pipeline).await?;
            states.extend(found.iter().map(text::state));
        }
        Ok(states)
    }

    /// See [`super::Store::range`].
    pub(super) async fn range(
        &self,
        keys: &[SeriesKey],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Vec<Sample>>> {
        if from_ms > to_ms {
            return Ok(vec![Vec::new(); keys.len()]);
        }
        let (from, to) = (Place::of(from_ms).slot, Place::of(to_ms).slot);
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(RANGE_BATCH) {
            for chunks in self.chunks(keys, from, to).await? {
                let samples = chunks
                    .iter()
                    .flat_map(|(slot, data)| chunk::samples(*slot, data))
                    .filter(|sample| (from_ms..=to_ms).contains(&sample.tick_ms));
                all.push(samples.collect());
            }
        }
        Ok(all)
    }

    /// At least the chunks of each series from one slot to another that exist.
    async fn chunks(&self, keys: &[SeriesKey], from: i64, to: i64) -> Result<Vec<Chunks>> {
        let named = to.saturating_sub(from) < MANY_SLOTS;
        let slots: Vec<i64> = if named {
            (from..=to).collect()
        } else {
            Vec::new()
        };
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            let [_, samples, _] = self.keys_of(&key.to_string());
            if named {
                pipeline.cmd("HMGET").arg(samples).arg(&slots);
            } else {
                pipeline.cmd("HGETALL").arg(samples);
            }
        }
        if !named {
            let mut found: Vec<Chunks> = self.call("read samples from", &pipeline).await?;
            for chunks in &mut found {
                chunks.sort_unstable_by_key(|(slot, _)| *slot);
            }
            return Ok(found);
        }
        let found: Vec<Vec<Option<Vec<u8>>>> = self.call("read samples from", &pipeline).await?;
        let pair = |chunks: Vec<Option<Vec<u8>>>| {
            let pairs = slots.iter().zip(chunks);
            pairs
                .filter_map(|(slot, data)| Some((*slot, data?)))
                .collect()
        };
        Ok(found.into_iter().map(pair).collect())
    }

    /// See [`super::Store::first_after`].
    pub(super) async fn first_after(&self, after: &[(SeriesKey, i64)]) -> Result<Vec<Option<i64>>> {
        let script = &self.shared.scripts.first_after;
        let mut firsts = Vec::with_capacity(after.len());
        for after in after.chunks(SERIES_BATCH) {
            let mut pipeline = script.pipeline(after.len());
            for (key, after_ms) in after {
                let [_, samples, _] = self.keys_of(&key.to_string());
                let place = Place::of(*after_ms);
                script.add(&mut pipeline, &[samples]);
                pipeline.arg(place.slot).arg(place.second);
            }
            let found: Vec<Option<(i64, u16)>> = self.call("read samples from", &pipeline).await?;
            let tick_ms = |(slot, second)| Place { slot, second }.tick_ms();
            firsts.extend(found.into_iter().map(|place| place.map(tick_ms)));
        }
        Ok(firsts)
    }

    /// See [`super::Store::prune`].
    pub(super) async fn prune(&self, before_ms: i64) -> Result<()> {
        let slot = Place::of(before_ms).slot;
        let mut cursor = 0;
        loop {
            let (series, next) = self.list(cursor).await?;
            self.prune_series(&series, slot).await?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    async fn prune_series(&self, series: &[SeriesKey], slot: i64) -> Result<()> {
        let script = &self.shared.scripts.prune;
        let mut pipeline = script.pipeline(series.len());
        for key in series {
            script.add(&mut pipeline, &self.keys_of(&key.to_string()));
            pipeline.arg(slot).arg(chunk::start_ms(slot)).ignore();
        }
        self.call("prune samples in", &pipeline).await
    }

    /// See [`super::Store::list`].
    pub(super) async fn list(&self, cursor: u64) -> Result<(Vec<SeriesKey>, u64)> {
        let pattern = format!("{}*:state", script::literal(&self.shared.prefix));
        let mut scan = pipe();
        scan.cmd("SCAN").arg(cursor).arg("MATCH").arg(&pattern);
        scan.arg("COUNT").arg(1_000);
        let ((next, keys),): ((u64, Vec<String>),) = self.call("list series in", &scan).await?;
        // Only what parses is ours; another program may well have keys under the prefix.
        let series = keys.iter().filter_map(|key| {
            let key = key.strip_prefix(&self.shared.prefix)?;
            key.strip_suffix(":state")?.parse().ok()
        });
        Ok((series.collect(), next))
    }

    /// See [`super::Store::forget`].
    pub(super) async fn forget(&self, keys: &[SeriesKey]) -> Result<()> {
        for keys in keys.chunks(SERIES_BATCH) {
            let mut pipeline = Pipeline::with_capacity(keys.len());
            for key in keys {
                let keys = self.keys_of(&key.to_string());
                pipeline.cmd("UNLINK").arg(&keys).ignore();
            }
            self.call::<()>("forget series in", &pipeline).await?;
        }
        Ok(())
    }

    /// See [`super::Store::ping`].
    pub(super) async fn ping(&self) -> Result<()> {
        self.call("reach", pipe().cmd("PING").ignore()).await
    }

    async fn call<T: redis::FromRedisValue>(&self, what: &str, pipeline: &Pipeline) -> Result<T> {
        self.shared.link.call(what, pipeline).await
    }

    /// The series, its samples, its state.
    fn keys_of(&self, series: &str) -> [String; 3] {
        let prefix = &self.shared.prefix;
        [
            format!("{prefix}{series}"),
            format!("{prefix}{series}:samples"),
            format!("{prefix}{series}:state"),
        ]
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("address", &self.shared.link.address())
            .field("prefix", &self.shared.prefix)
            .finish_non_exhaustive()
    }
}
