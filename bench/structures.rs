//! How much room a sample takes in Redis, by the structure that it is kept in: `REDIS_URL=… cargo run --release --example structures [series]`.
//!
//! A day of one-minute samples for each series, written minute by minute as a collector does, under a prefix that is removed again. The
//! numbers are what `used_memory` grows by, so use a server that does nothing else.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Duration, Utc};
use redis::{Connection, Pipeline, pipe};

const MINUTES: i64 = 1_440;
/// Minutes in a chunk of the store.
const CHUNK: i64 = 15;
/// 2025-11-21 00:00:00 UTC.
const BEGIN_SECS: i64 = 1_763_683_200;

/// One sample on its way: the key of its series, its time and its value.
struct Sample {
    key: String,
    secs: i64,
    value: f64,
}

/// A way to keep samples.
struct Structure {
    name: &'static str,
    /// Adds the write of one sample.
    write: fn(&mut Pipeline, &Sample),
}

const STRUCTURES: [Structure; 6] = [
    Structure {
        name: "a key for each sample (SET series.YYYYMMDDHHMM value)",
        write: |pipe, sample| {
            let time = DateTime::<Utc>::UNIX_EPOCH + Duration::seconds(sample.secs);
            let key = format!("{}.{}", sample.key, time.format("%Y%m%d%H%M"));
            pipe.set(key, sample.value.to_string()).ignore();
        },
    },
    Structure {
        name: "a sorted set for each series (ZADD series time time:value)",
        write: |pipe, sample| {
            let member = format!("{}:{}", sample.secs, sample.value);
            pipe.zadd(&sample.key, member, sample.secs).ignore();
        },
    },
    Structure {
        name: "a hash for each series (HSET series time value)",
        write: |pipe, sample| {
            pipe.hset(&sample.key, sample.secs, sample.value.to_string())
                .ignore();
        },
    },
    Structure {
        name: "a list for each series (RPUSH series time:value)",
        write: |pipe, sample| {
            let member = format!("{}:{}", sample.secs, sample.value);
            pipe.rpush(&sample.key, member).ignore();
        },
    },
    Structure {
        name: "one string for each series (APPEND series record)",
        write: |pipe, sample| {
            pipe.append(&sample.key, record(sample).as_slice()).ignore();
        },
    },
    Structure {
        name: "a hash of chunks for each series (HSET series quarter records), as Headroom does",
        write: |pipe, sample| {
            // The chunk as it is after this sample; the product's script appends to what is there.
            let minute = (sample.secs - BEGIN_SECS) / 60;
            let chunk = minute / CHUNK;
            let times = usize::try_from(minute % CHUNK + 1).unwrap_or(0);
            let field = BEGIN_SECS / 900 + chunk;
            pipe.hset(&sample.key, field, record(sample).repeat(times))
                .ignore();
        },
    },
];

fn main() -> Result<()> {
    let series: i64 = std::env::args()
        .nth(1)
        .map_or(Ok(200), |text| text.parse())?;
    let url = std::env::var("REDIS_URL").context("REDIS_URL names the server to measure")?;
    let mut redis = redis::Client::open(url)?.get_connection()?;
    println!("{series} series, a day of one-minute samples\n");
    println!("| structure | bytes a sample | us a sample to write |\n|---|---|---|");
    for structure in STRUCTURES {
        let (bytes, us) = measure(&mut redis, &structure, series)?;
        println!("| {} | {bytes:.1} | {us:.1} |", structure.name);
    }
    Ok(())
}

fn measure(redis: &mut Connection, structure: &Structure, series: i64) -> Result<(f64, f64)> {
    let prefix = format!("headroom-bench-{}:", std::process::id());
    let before = memory(redis)?;
    let begin = Instant::now();
    for minute in 0..MINUTES {
        let mut pipe = pipe();
        for number in 1..=series {
            let sample = Sample {
                key: format!("{prefix}ssh_sshcounter.{number}.1"),
                secs: BEGIN_SECS + minute * 60,
                value: (number * 31 + minute) as f64 / 8.0,
            };
            (structure.write)(&mut pipe, &sample);
        }
        pipe.exec(redis)?;
    }
    let samples = (series * MINUTES) as f64;
    let us = begin.elapsed().as_secs_f64() * 1e6 / samples;
    let bytes = memory(redis)?.saturating_sub(before) as f64 / samples;
    remove(redis, &prefix)?;
    Ok((bytes, us))
}

fn remove(redis: &mut Connection, prefix: &str) -> Result<()> {
    let mut cursor = 0_u64;
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*"));
        let (next, keys): (u64, Vec<String>) = scan.arg("COUNT").arg(10_000).query(redis)?;
        if !keys.is_empty() {
            redis::cmd("DEL").arg(keys).exec(redis)?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}

/// Ten bytes: the second of the quarter, the value.
fn record(sample: &Sample) -> [u8; 10] {
    let mut bytes = [0; 10];
    let (head, tail) = bytes.split_at_mut(2);
    let second = u16::try_from(sample.secs % 900).unwrap_or(0);
    head.copy_from_slice(&second.to_be_bytes());
    tail.copy_from_slice(&sample.value.to_be_bytes());
    bytes
}

fn memory(redis: &mut Connection) -> Result<u64> {
    let info: String = redis::cmd("INFO").arg("memory").query(redis)?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let bytes = line.context("no used_memory in INFO")?.trim().parse()?;
    ensure!(bytes > 0, "Redis uses no memory");
    Ok(bytes)
}
