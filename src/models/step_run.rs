//! One step of a run: the journal.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::{ClusterId, RunId, StepRunId, StepState, StepTarget};
use crate::schema::{runs, step_runs};

pub use crate::models::step_change::StepChange;

/// One step of a run: the journal.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = step_runs)]
pub struct StepRun {
    /// Row id.
    pub id: StepRunId,
    /// Its run.
    pub run_id: RunId,
    /// Its order, from 1.
    pub position: i32,
    /// Unique name.
    pub name: String,
    /// The action's name when the run began.
    pub action_name: String,
    /// The action kind's name.
    pub kind: String,
    /// The action's settings when the run began, JSON.
    pub settings: String,
    /// What it acts on.
    pub target: StepTarget,
    /// The cluster or node it was resolved to.
    pub target_name: Option<String>,
    /// Positions of the steps it waits for, JSON list.
    pub depends_on: String,
    /// Time limit of the effect.
    pub timeout_secs: i64,
    /// Where it is.
    pub state: StepState,
    /// Idempotency token of the present attempt.
    pub token: Option<String>,
    /// How often its effect was begun.
    pub attempt: i32,
    /// Named outputs, JSON object.
    pub outputs: String,
    /// What came back, per host, JSON; bounded.
    pub report: String,
    /// Why it failed, for a person.
    pub error: Option<String>,
    /// Effect begun at, ms.
    pub started_ms: Option<i64>,
    /// Effect over at, ms.
    pub finished_ms: Option<i64>,
    /// When it is tried again after a fault that may pass, ms; nothing of it is under way until then.
    pub retry_at_ms: Option<i64>,
    /// The attempts before the present one, JSON list of [`Tried`].
    pub attempts: String,
    /// How often it is tried again after a fault that may pass; none = as often as the time limit allows.
    pub retries: Option<i32>,
    /// How often its undo was begun.
    pub undo_attempt: i32,
    /// When its undo was begun first, ms; its time limit counts from then.
    pub undo_started_ms: Option<i64>,
    /// How long a person has to approve it; none = it needs no approval.
    pub approval_secs: Option<i64>,
    /// Until when it waits for its approval, ms; none = nobody was asked yet.
    pub approval_until_ms: Option<i64>,
    /// Who approved it.
    pub approved_by: Option<String>,
}

/// An attempt at a step, or at taking it back, that failed and was followed by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Tried {
    /// Which one, from 1.
    pub attempt: i32,
    /// When it failed, ms since 1970.
    pub failed_ms: i64,
    /// Why.
    pub error: String,
    /// Whether it was one at taking the step back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undo: bool,
}

impl StepRun {
    /// Until when it waits for a person, ms; none when it does not.
    pub fn waits_until_ms(&self) -> Option<i64> {
        let waits = self.state == StepState::Planned && self.approved_by.is_none();
        self.approval_until_ms.filter(|_| waits)
    }

    /// The attempts before the present one, the first one first; those at taking it back after those at the step itself.
    ///
    /// # Errors
    /// The row is damaged.
    pub fn tried(&self) -> Result<Vec<Tried>> {
        serde_json::from_str(&self.attempts).map_err(|cause| {
            let what = format!("the attempts at step \"{}\" are damaged", self.name);
            Error::internal(what, cause)
        })
    }

    /// The attempts before the present one and this one, as they are stored.
    ///
    /// # Errors
    /// The row is damaged.
    pub fn tried_and_failed(&self, failed_ms: i64, error: &str) -> Result<String> {
        let undo = self.state == StepState::Undoing;
        let mut tried = self.tried()?;
        tried.push(Tried {
            attempt: if undo {
                self.undo_attempt
            } else {
                self.attempt
            },
            failed_ms,
            error: error.to_owned(),
            undo,
        });
        serde_json::to_string(&tried).map_err(|cause| Error::internal("attempts as JSON", cause))
    }
}

/// What is written of a [`StepRun`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = step_runs, treat_none_as_null = true)]
pub struct NewStepRun {
    /// See [`StepRun::run_id`].
    pub run_id: RunId,
    /// See [`StepRun::position`].
    pub position: i32,
    /// See [`StepRun::name`].
    pub name: String,
    /// See [`StepRun::action_name`].
    pub action_name: String,
    /// See [`StepRun::kind`].
    pub kind: String,
    /// See [`StepRun::settings`].
    pub settings: String,
    /// See [`StepRun::target`].
    pub target: StepTarget,
    /// See [`StepRun::target_name`].
    pub target_name: Option<String>,
    /// See [`StepRun::depends_on`].
    pub depends_on: String,
    /// See [`StepRun::timeout_secs`].
    pub timeout_secs: i64,
    /// See [`StepRun::state`].
    pub state: StepState,
    /// See [`StepRun::token`].
    pub token: Option<String>,
    /// See [`StepRun::attempt`].
    pub attempt: i32,
    /// See [`StepRun::outputs`].
    pub outputs: String,
    /// See [`StepRun::report`].
    pub report: String,
    /// See [`StepRun::error`].
    pub error: Option<String>,
    /// See [`StepRun::started_ms`].
    pub started_ms: Option<i64>,
    /// See [`StepRun::finished_ms`].
    pub finished_ms: Option<i64>,
    /// See [`StepRun::retries`].
    pub retries: Option<i32>,
    /// See [`StepRun::approval_secs`].
    pub approval_secs: Option<i64>,
}

impl StepRun {
    /// The steps of some runs, by run and order.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_runs(conn: &mut Connection, runs: &[RunId]) -> Result<Vec<Self>> {
        Ok(step_runs::table
            .filter(step_runs::run_id.eq_any(runs.to_vec()))
            .order((step_runs::run_id, step_runs::position))
            .load(conn)?)
    }
}

impl StepRun {
    /// The last steps of some kinds that succeeded in a cluster, the latest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn succeeded_in_cluster(
        conn: &mut Connection,
        cluster: ClusterId,
        kinds: &[&str],
        limit: i64,
    ) -> Result<Vec<Self>> {
        let in_cluster = runs::table
            .filter(runs::cluster_id.eq(cluster))
            .select(runs::id);
        Ok(step_runs::table
            .filter(step_runs::run_id.eq_any(in_cluster))
            .filter(step_runs::kind.eq_any(kinds.to_vec()))
            .filter(step_runs::state.eq(StepState::Succeeded))
            .order(step_runs::id.desc())
            .limit(limit)
            .load(conn)?)
    }
}

impl StepRun {
    /// The steps of some kinds that were begun since an instant: their clusters, when, and which; the earliest first.
    ///
    /// # Errors
    /// The database fails.
    pub fn begun_since(
        conn: &mut Connection,
        kinds: &[&str],
        since_ms: i64,
    ) -> Result<Vec<(ClusterId, i64, StepRunId)>> {
        let rows: Vec<(Option<ClusterId>, Option<i64>, StepRunId)> = step_runs::table
            .inner_join(runs::table)
            .filter(step_runs::kind.eq_any(kinds.to_vec()))
            .filter(step_runs::started_ms.gt(since_ms))
            .order((step_runs::started_ms, step_runs::id))
            .select((runs::cluster_id, step_runs::started_ms, step_runs::id))
            .load(conn)?;
        let known = rows.into_iter();
        Ok(known
            .filter_map(|(cluster, at_ms, step)| Some((cluster?, at_ms?, step)))
            .collect())
    }

    /// When the last run was made with a step whose action is called so, ms.
    ///
    /// # Errors
    /// The database fails.
    pub fn last_asked_ms(conn: &mut Connection, action: &str) -> Result<Option<i64>> {
        Ok(step_runs::table
            .inner_join(runs::table)
            .filter(step_runs::action_name.eq(action))
            .order(runs::id.desc())
            .select(runs::created_ms)
            .first(conn)
            .optional()?)
    }

    /// Whether the journal has a step with this token.
    ///
    /// # Errors
    /// The database fails.
    pub fn has_token(conn: &mut Connection, token: &str) -> Result<bool> {
        let found: Option<StepRunId> = step_runs::table
            .filter(step_runs::token.eq(token))
            .select(step_runs::id)
            .first(conn)
            .optional()?;
        Ok(found.is_some())
    }

    /// Adds a step.
    ///
    /// # Errors
    /// The position is taken, or the database fails.
    pub fn insert(conn: &mut Connection, new: &NewStepRun) -> Result<Self> {
        Ok(diesel::insert_into(step_runs::table)
            .values(new)
            .returning(step_runs::all_columns)
            .get_result(conn)?)
    }

    /// The step of an id, if it is one of the run's.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub fn find(conn: &mut Connection, run: RunId, id: StepRunId) -> Result<Self> {
        let row = step_runs::table
            .find(id)
            .filter(step_runs::run_id.eq(run))
            .first(conn)
            .optional()?;
        row.ok_or_else(|| Error::NotFound(format!("step {id} of run {run}")))
    }

    /// The steps of a run, in their order.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_run(conn: &mut Connection, run: RunId) -> Result<Vec<Self>> {
        Ok(step_runs::table
            .filter(step_runs::run_id.eq(run))
            .order(step_runs::position)
            .load(conn)?)
    }

    /// Writes down what the step under way with this token is about to do; false when there is none.
    ///
    /// # Errors
    /// The database fails.
    pub fn note(conn: &mut Connection, token: &str, outputs: &str) -> Result<bool> {
        let changed = diesel::update(step_runs::table)
            .filter(step_runs::token.eq(token))
            .filter(step_runs::state.eq(StepState::Started))
            .set(step_runs::outputs.eq(outputs))
            .execute(conn)?;
        Ok(changed == 1)
    }

    /// Takes an approval of a step that waits for one; false when it does not (any more), so that of two approvals one counts.
    ///
    /// # Errors
    /// The database fails.
    pub fn approve(conn: &mut Connection, id: StepRunId, by: &str, now_ms: i64) -> Result<bool> {
        let changed = diesel::update(step_runs::table.find(id))
            .filter(step_runs::state.eq(StepState::Planned))
            .filter(step_runs::approved_by.is_null())
            .filter(step_runs::approval_until_ms.gt(now_ms))
            .set(step_runs::approved_by.eq(by))
            .execute(conn)?;
        Ok(changed == 1)
    }

    /// Writes a transition if the step is in one of `from`; false when it is not.
    ///
    /// # Errors
    /// The database fails.
    pub fn change(
        conn: &mut Connection,
        id: StepRunId,
        from: &[StepState],
        change: &StepChange,
    ) -> Result<bool> {
        let changed = diesel::update(step_runs::table.find(id))
            .filter(step_runs::state.eq_any(from.to_vec()))
            .set(change)
            .execute(conn)?;
        Ok(changed == 1)
    }
}
