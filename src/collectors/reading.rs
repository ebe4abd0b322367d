//! What one collection of one counter on one node came to.

use crate::models::{CounterId, NodeId};
use crate::samples::SeriesKey;

/// The outcome of one collection: a value, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The series it belongs to.
    pub key: SeriesKey,
    /// Where it was read.
    pub node: NodeId,
    /// What was read.
    pub counter: CounterId,
    /// The tick it belongs to, ms; jitter never shifts a breach.
    pub tick_ms: i64,
    /// When it was really made, ms.
    pub measured_ms: i64,
    /// How long it took, ms.
    pub took_ms: i64,
    /// The value, or what went wrong in a sentence.
    pub outcome: Result<f64, String>,
}
