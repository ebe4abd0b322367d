//! The recorded outcome of evaluations that came to the same.

use diesel::prelude::*;

use crate::models::{DecisionId, Outcome, RunId, TriggerId};
use crate::schema::decisions;

/// The recorded outcome of evaluations that came to the same.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = decisions)]
pub struct Decision {
    /// Row id.
    pub id: DecisionId,
    /// The trigger that was evaluated.
    pub trigger_id: TriggerId,
    /// What it came to.
    pub outcome: Outcome,
    /// In a sentence.
    pub reason: String,
    /// Equal for outcomes that are one row.
    pub fingerprint: String,
    /// Inputs with their age and every gate, JSON.
    pub detail: String,
    /// First tick of the stretch, ms.
    pub first_ms: i64,
    /// Last tick of the stretch, ms.
    pub last_ms: i64,
    /// Ticks in the stretch.
    pub count: i64,
    /// The run it started.
    pub run_id: Option<RunId>,
}

/// What is written of a [`Decision`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = decisions, treat_none_as_null = true)]
pub struct NewDecision {
    /// See [`Decision::trigger_id`].
    pub trigger_id: TriggerId,
    /// See [`Decision::outcome`].
    pub outcome: Outcome,
    /// See [`Decision::reason`].
    pub reason: String,
    /// See [`Decision::fingerprint`].
    pub fingerprint: String,
    /// See [`Decision::detail`].
    pub detail: String,
    /// See [`Decision::first_ms`].
    pub first_ms: i64,
    /// See [`Decision::last_ms`].
    pub last_ms: i64,
    /// See [`Decision::count`].
    pub count: i64,
    /// See [`Decision::run_id`].
    pub run_id: Option<RunId>,
}
