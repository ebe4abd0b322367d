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

named_queries!(Counter, NewCounter, CounterId, counters, "counter");
