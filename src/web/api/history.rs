//! What happened in a run, one thing after the other.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::models::run_event::RunEvent;
use crate::models::step_run::Tried;
use crate::models::{StepRunId, from_ms};

/// An attempt at a step, or at taking it back, that failed and was followed by another.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Attempt {
    /// Which one, from 1.
    number: i32,
    /// When it failed.
    failed: DateTime<Utc>,
    /// Why.
    error: String,
    /// Whether it was one at taking the step back.
    undo: bool,
}

/// A line of a run's log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LogLine {
    /// When.
    at: DateTime<Utc>,
    /// The step it is about.
    #[schema(value_type = Option<i64>)]
    step: Option<StepRunId>,
    /// What happened.
    message: String,
}

impl From<Tried> for Attempt {
    fn from(tried: Tried) -> Self {
        Self {
            number: tried.attempt,
            failed: from_ms(tried.failed_ms),
            error: tried.error,
            undo: tried.undo,
        }
    }
}

impl From<RunEvent> for LogLine {
    fn from(row: RunEvent) -> Self {
        Self {
            at: from_ms(row.at_ms),
            step: row.step_run_id,
            message: row.message,
        }
    }
}
