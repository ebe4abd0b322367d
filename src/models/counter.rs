//! One number to read.

use diesel::prelude::*;

use crate::models::named::named_queries;
use crate::models::{Comparison, CounterId, CounterKind, Missing};
use crate::schema::counters;

/// One number to read.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = counters)]
pub struct Counter {
    /// Row id.
    pub id: CounterId,
    /// Unique name.
    pub name: String,
    /// What reads it.
    pub kind: CounterKind,
    /// The kind's own settings, JSON.
    pub settings: String,
    /// How a sample is held against the threshold.
    pub comparison: Comparison,
    /// The bound.
    pub threshold: f64,
    /// Shown beside the number.
    pub unit: Option<String>,
    /// Period, a multiple of the tick; none = every tick.
    pub every_secs: Option<i64>,
    /// Time limit of one reading.
    pub timeout_secs: i64,
    /// What an error reading does to a breach.
    pub missing: Missing,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`Counter`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = counters, treat_none_as_null = true)]
pub struct NewCounter {
    /// See [`Counter::name`].
    pub name: String,
    /// See [`Counter::kind`].
    pub kind: CounterKind,
    /// See [`Counter::settings`].
    pub settings: String,
    /// See [`Counter::comparison`].
    pub comparison: Comparison,
    /// See [`Counter::threshold`].
    pub threshold: f64,
    /// See [`Counter::unit`].
    pub unit: Option<String>,
    /// See [`Counter::every_secs`].
    pub every_secs: Option<i64>,
    /// See [`Counter::timeout_secs`].
    pub timeout_secs: i64,
    /// See [`Counter::missing`].
    pub missing: Missing,
    /// See [`Counter::updated_ms`].
    pub updated_ms: i64,
}

/// Periods of a counter without a sample after which its series is stale.
const STALE_AFTER_PERIODS: i64 = 3;

impl Counter {
    /// How often it is read: at the ticks that its own period falls on, which is every period unless the tick was changed since.
    pub fn period_ms(&self, tick_length_ms: i64) -> i64 {
        let own_ms = self
            .every_secs
            .map_or(tick_length_ms, |secs| secs.saturating_mul(1_000))
            .max(1);
        let (mut shared_ms, mut rest_ms) = (own_ms, tick_length_ms.max(1));
        while rest_ms != 0 {
            (shared_ms, rest_ms) = (rest_ms, shared_ms % rest_ms);
        }
        (own_ms / shared_ms).saturating_mul(tick_length_ms.max(1))
    }

    /// How old a last sample may be before its series is stale.
    pub fn stale_after_ms(&self, tick_length_ms: i64) -> i64 {
        self.period_ms(tick_length_ms)
            .saturating_mul(STALE_AFTER_PERIODS)
    }
}

named_queries!(Counter, NewCounter, CounterId, counters, "counter");
