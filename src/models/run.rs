//! One execution of a trigger's steps or of a single action.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::uses::OPEN;
use crate::models::{ClusterId, OnFailure, Origin, RunId, RunState, StepTarget, TriggerId};
use crate::schema::{runs, step_runs};

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
    /// Whether a step adds nodes to the cluster or takes nodes from it, even if it comes to the same number in the end.
    pub changes_capacity: bool,
    /// The worker that drives it.
    pub claimed_by: Option<String>,
    /// Until when the claim holds without renewal, ms; of a waiting run, until when nobody need look at it.
    pub claimed_until_ms: Option<i64>,
    /// Who asked to cancel it.
    pub cancel_requested_by: Option<String>,
    /// Made at, ms.
    pub created_ms: i64,
    /// First claimed at, ms.
    pub started_ms: Option<i64>,
    /// Reached its end at, ms.
    pub finished_ms: Option<i64>,
    /// Whether its launches count for the breaker of its cluster; none until it is over for the first time.
    pub launch_counted: Option<bool>,
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
    /// See [`Run::changes_capacity`].
    pub changes_capacity: bool,
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
    /// The run of an id.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub fn find(conn: &mut Connection, id: RunId) -> Result<Self> {
        let row = runs::table.find(id).first(conn).optional()?;
        row.ok_or_else(|| Error::NotFound(format!("run {id}")))
    }

    /// Runs before `before`, the latest first; with states, those in one of them.
    ///
    /// # Errors
    /// The database fails.
    pub fn page(
        conn: &mut Connection,
        states: &[RunState],
        before: Option<RunId>,
        limit: i64,
    ) -> Result<Vec<Self>> {
        let mut query = runs::table.into_boxed();
        if !states.is_empty() {
            query = query.filter(runs::state.eq_any(states.to_vec()));
        }
        if let Some(before) = before {
            query = query.filter(runs::id.lt(before));
        }
        Ok(query.order(runs::id.desc()).limit(limit).load(conn)?)
    }

    /// The runs of a trigger, the latest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_trigger(conn: &mut Connection, trigger: TriggerId, limit: i64) -> Result<Vec<Self>> {
        Ok(runs::table
            .filter(runs::trigger_id.eq(trigger))
            .order(runs::id.desc())
            .limit(limit)
            .load(conn)?)
    }

    /// The runs about some clusters that were asked for between two instants, the latest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_clusters(
        conn: &mut Connection,
        clusters: &[ClusterId],
        from_ms: i64,
        to_ms: i64,
        limit: i64,
    ) -> Result<Vec<Self>> {
        Ok(runs::table
            .filter(runs::cluster_id.eq_any(clusters.to_vec()))
            .filter(runs::created_ms.between(from_ms, to_ms))
            .order(runs::id.desc())
            .limit(limit)
            .load(conn)?)
    }

    /// The runs with a step on a node of this name, the latest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_node(conn: &mut Connection, node: &str, limit: i64) -> Result<Vec<Self>> {
        let touched = step_runs::table
            .filter(step_runs::target_name.eq(node))
            .filter(step_runs::target.eq_any([StepTarget::Node, StepTarget::LastNode]))
            .select(step_runs::run_id);
        Ok(runs::table
            .filter(runs::id.eq_any(touched))
            .order(runs::id.desc())
            .limit(limit)
            .load(conn)?)
    }

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

    /// Adds a run.
    ///
    /// # Errors
    /// A reference dangles, or the database fails.
    pub fn insert(conn: &mut Connection, new: &NewRun) -> Result<Self> {
        Ok(diesel::insert_into(runs::table)
            .values(new)
            .returning(runs::all_columns)
            .get_result(conn)?)
    }

    /// The runs of a trigger that may still act.
    ///
    /// # Errors
    /// The database fails.
    pub fn open_of_trigger(conn: &mut Connection, trigger: TriggerId) -> Result<Vec<Self>> {
        Ok(runs::table
            .filter(runs::trigger_id.eq(trigger))
            .filter(runs::state.eq_any(OPEN))
            .order(runs::id)
            .load(conn)?)
    }

    /// The runs that may still add nodes to a cluster or take nodes from it.
    ///
    /// # Errors
    /// The database fails.
    pub fn open_capacity_changes(conn: &mut Connection, cluster: ClusterId) -> Result<Vec<Self>> {
        Ok(runs::table
            .filter(runs::cluster_id.eq(cluster))
            .filter(runs::changes_capacity.eq(true))
            .filter(runs::state.eq_any(OPEN))
            .order(runs::id)
            .load(conn)?)
    }
}

/// Which runs to find.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// In this state.
    pub state: Option<RunState>,
    /// Of a trigger that was called so.
    pub trigger: Option<String>,
    /// About a cluster that was called so.
    pub cluster: Option<String>,
    /// Before this one.
    pub before: Option<RunId>,
}

impl Run {
    /// The runs that are searched for, the latest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn search(conn: &mut Connection, search: &Search, limit: i64) -> Result<Vec<Self>> {
        let mut query = runs::table.into_boxed();
        if let Some(state) = search.state {
            query = query.filter(runs::state.eq(state));
        }
        if let Some(trigger) = &search.trigger {
            query = query.filter(runs::trigger_name.eq(trigger));
        }
        if let Some(cluster) = &search.cluster {
            query = query.filter(runs::cluster_name.eq(cluster));
        }
        if let Some(before) = search.before {
            query = query.filter(runs::id.lt(before));
        }
        Ok(query.order(runs::id.desc()).limit(limit).load(conn)?)
    }
}
