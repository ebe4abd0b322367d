//! Both stores of samples: the same stories told to each, and what is particular to one.

mod contract;
mod embedded;
mod model;
mod redis;
mod tidy;

use headroom::models::{CounterId, NodeId};
use headroom::samples::{Breach, Sample, SeriesKey, Write};

/// 2025-11-21 00:00:00 UTC, the beginning of a quarter of an hour.
const DAY_MS: i64 = 1_763_683_200_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn key(node: i64) -> SeriesKey {
    SeriesKey::Ssh {
        node: NodeId(node),
        counter: CounterId(1),
    }
}

/// The tick of so many minutes after the day began.
fn minute(number: i64) -> i64 {
    DAY_MS + number * MINUTE_MS
}

fn sample(tick_ms: i64, value: f64) -> Sample {
    Sample { tick_ms, value }
}

fn value(key: SeriesKey, tick_ms: i64, value: f64) -> Write {
    Write {
        key,
        tick_ms,
        measured_ms: tick_ms + 250,
        took_ms: 40,
        outcome: Ok(value),
        breach: None,
    }
}

fn fault(key: SeriesKey, tick_ms: i64, message: &str) -> Write {
    Write {
        outcome: Err(message.to_owned()),
        ..value(key, tick_ms, 0.0)
    }
}

fn breach(since_ms: i64, count: u32, last_ms: i64) -> Option<Breach> {
    Some(Breach {
        since_ms,
        count,
        last_ms,
    })
}
