//! What happens to a step of a run: the change of its row.

use diesel::prelude::*;

use crate::models::StepState;
use crate::models::step_run::StepRun;
use crate::schema::step_runs;

/// What a transition writes beside the state; none = stays as it is.
#[derive(Debug, Clone, Default, PartialEq, AsChangeset)]
#[diesel(table_name = step_runs)]
pub struct StepChange {
    /// See [`StepRun::target_name`].
    pub target_name: Option<String>,
    /// See [`StepRun::state`].
    pub state: Option<StepState>,
    /// See [`StepRun::token`]; the inner none takes it away.
    pub token: Option<Option<String>>,
    /// See [`StepRun::attempt`].
    pub attempt: Option<i32>,
    /// See [`StepRun::outputs`].
    pub outputs: Option<String>,
    /// See [`StepRun::report`].
    pub report: Option<String>,
    /// See [`StepRun::error`]; the inner none takes it away.
    pub error: Option<Option<String>>,
    /// See [`StepRun::started_ms`]; the inner none takes it away.
    pub started_ms: Option<Option<i64>>,
    /// See [`StepRun::finished_ms`]; the inner none takes it away.
    pub finished_ms: Option<Option<i64>>,
    /// See [`StepRun::retry_at_ms`]; the inner none takes it away.
    pub retry_at_ms: Option<Option<i64>>,
    /// See [`StepRun::attempts`].
    pub attempts: Option<String>,
    /// See [`StepRun::undo_attempt`].
    pub undo_attempt: Option<i32>,
    /// See [`StepRun::undo_started_ms`]; the inner none takes it away.
    pub undo_started_ms: Option<Option<i64>>,
    /// See [`StepRun::approval_until_ms`]; the inner none takes it away.
    pub approval_until_ms: Option<Option<i64>>,
}

impl StepChange {
    /// The step as it is once the change is written.
    pub fn apply(self, step: &mut StepRun) {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut step.target_name, self.target_name.map(Some));
        set(&mut step.state, self.state);
        set(&mut step.token, self.token);
        set(&mut step.attempt, self.attempt);
        set(&mut step.outputs, self.outputs);
        set(&mut step.report, self.report);
        set(&mut step.error, self.error);
        set(&mut step.started_ms, self.started_ms);
        set(&mut step.finished_ms, self.finished_ms);
        set(&mut step.retry_at_ms, self.retry_at_ms);
        set(&mut step.attempts, self.attempts);
        set(&mut step.undo_attempt, self.undo_attempt);
        set(&mut step.undo_started_ms, self.undo_started_ms);
        set(&mut step.approval_until_ms, self.approval_until_ms);
    }

    /// The beginning of an undo that was not tried yet.
    pub fn undoing() -> Self {
        Self {
            retry_at_ms: Some(None),
            undo_attempt: Some(0),
            undo_started_ms: Some(None),
            ..Self::to(StepState::Undoing)
        }
    }

    /// A change of state alone.
    pub fn to(state: StepState) -> Self {
        Self {
            state: Some(state),
            ..Self::default()
        }
    }
}
