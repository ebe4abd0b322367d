//! One execution of a trigger's steps or of a single action.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::uses::OPEN;
use crate::models::{ClusterId, OnFailure, Origin, RunId, RunState, TriggerId};
use crate::schema::runs;

/// One execution of a trigger's steps or of a single action.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = runs)]
pub struct Run {
    /// Row id.
    pub id: RunId,
    /// The trigger, while it exists.
    pub trigger_id: Option<TriggerId>,
    /// The trigger's name when the run began.
    pub trigger_name: Option<String>,
    /// The cluster, while it exists.
    pub cluster_id: Option<ClusterId>,
    /// The cluster's name when the run began.
    pub cluster_name: Option<String>,
    /// Why it exists.
    pub origin: Origin,
    /// Who asked for it.
    pub requested_by: String,
    /// The decision's or the person's reason.
    pub reason: String,
    /// Where it is.
    pub state: RunState,
    /// What happens after a failed step.
    pub on_failure: OnFailure,
    /// Nodes it adds (positive) or removes (negative).
    pub capacity_change: i32,
    /// The worker that drives it.
    pub claimed_by: Option<String>,
    /// Until when the claim holds without renewal, ms.
    pub claimed_until_ms: Option<i64>,
    /// Who asked to cancel it.
    pub cancel_requested_by: Option<String>,
    /// Made at, ms.
    pub created_ms: i64,
    /// First claimed at, ms.
    pub started_ms: Option<i64>,
    /// Reached its end at, ms.
    pub finished_ms: Option<i64>,
}

/// What is written of a [`Run`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = runs, treat_none_as_null = true)]
pub struct NewRun {
    /// See [`Run::trigger_id`].
    pub trigger_id: Option<TriggerId>,
    /// See [`Run::trigger_name`].
    pub trigger_name: Option<String>,
    /// See [`Run::cluster_id`].
    pub cluster_id: Option<ClusterId>,
    /// See [`Run::cluster_name`].
    pub cluster_name: Option<String>,
    /// See [`Run::origin`].
    pub origin: Origin,
    /// See [`Run::requested_by`].
    pub requested_by: String,
    /// See [`Run::reason`].
    pub reason: String,
    /// See [`Run::state`].
    pub state: RunState,
    /// See [`Run::on_failure`].
    pub on_failure: OnFailure,
    /// See [`Run::capacity_change`].
    pub capacity_change: i32,
    /// See [`Run::claimed_by`].
    pub claimed_by: Option<String>,
    /// See [`Run::claimed_until_ms`].
    pub claimed_until_ms: Option<i64>,
    /// See [`Run::cancel_requested_by`].
    pub cancel_requested_by: Option<String>,
    /// See [`Run::created_ms`].
    pub created_ms: i64,
    /// See [`Run::started_ms`].
    pub started_ms: Option<i64>,
    /// See [`Run::finished_ms`].
    pub finished_ms: Option<i64>,
}

impl Run {
    /// How many runs there are in each state that has any.
    ///
    /// # Errors
    /// The database fails.
    pub fn count_by_state(conn: &mut Connection) -> Result<Vec<(RunState, i64)>> {
        Ok(runs::table
            .group_by(runs::state)
            .select((runs::state, diesel::dsl::count_star()))
            .load(conn)?)
    }

    /// The runs that are not over, the oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn open(conn: &mut Connection) -> Result<Vec<Self>> {
        Ok(runs::table
            .filter(runs::state.eq_any(OPEN))
            .order(runs::id)
            .load(conn)?)
    }
}
