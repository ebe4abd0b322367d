//! What a person can do about a run: cancel it, and decide about a step that no worker can decide about.

use actix_web::web::{Form, Path};
use serde::Deserialize;

use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{RunId, RunState, StepRunId, StepState};
use crate::web::commands::{self, StepVerb};
use crate::web::error::Answer;
use crate::web::pages::Visit;

/// Which buttons a step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Choices {
    /// Begin it anew.
    pub retry: bool,
    /// Take a person's word that it happened.
    pub done: bool,
    /// Take it back.
    pub undo: bool,
    /// Let it begin, or not: it waits for approval.
    pub approve: bool,
    /// The run waits for this.
    pub urgent: bool,
    /// Its effect failed, as opposed to not being known.
    pub failed: bool,
    /// It could not be taken back.
    pub undo_failed: bool,
}

impl Choices {
    /// What may be decided about a step of a run; the command asks the same again.
    pub fn of(run: &Run, step: &StepRun, steps: &[StepRun], has_undo: bool) -> Self {
        let waits = matches!(run.state, RunState::Stuck | RunState::Failed);
        let over = !matches!(
            run.state,
            RunState::Queued | RunState::Running | RunState::Waiting
        );
        let taken_back = steps.iter().any(|other| {
            matches!(
                other.state,
                StepState::Undoing | StepState::Undone | StepState::UndoFailed
            )
        });
        let unknown = matches!(step.state, StepState::Started | StepState::Failed);
        let undo_failed = step.state == StepState::UndoFailed;
        let done = waits && (unknown || undo_failed);
        Self {
            retry: waits && unknown && !taken_back,
            done,
            undo: over
                && has_undo
                && (unknown || undo_failed || step.state == StepState::Succeeded),
            approve: !over && run.cancel_requested_by.is_none() && step.waits_until_ms().is_some(),
            urgent: run.state == RunState::Stuck && done,
            failed: step.state == StepState::Failed,
            undo_failed,
        }
    }

    /// Whether there is anything to decide.
    pub fn any(&self) -> bool {
        self.retry || self.done || self.undo
    }
}

/// A button with a reason.
#[derive(Deserialize)]
pub struct Because {
    #[serde(default)]
    reason: String,
}

impl Because {
    /// The reason, if one was given.
    pub fn given(self) -> Option<String> {
        Some(self.reason).filter(|reason| !reason.trim().is_empty())
    }
}

/// `POST /runs/{id}/cancellation`.
///
/// # Errors
/// There is no such run, or the database fails.
pub async fn cancel(visit: Visit, id: Path<i64>, form: Form<Because>) -> Answer {
    let id = RunId(id.into_inner());
    let reason = form.into_inner().given();
    let outcome = commands::cancel(&visit.app, &visit.caller, id, reason).await;
    visit.changed().await;
    let said = |run: Run| match run.state {
        RunState::Cancelled => format!("Run {id} is cancelled."),
        _ => format!("Run {id} is being cancelled: what runs is stopped, nothing new begins."),
    };
    visit.went(&format!("/runs/{id}"), outcome.map(said))
}

/// `POST /runs/{id}/steps/{step}/retry`.
///
/// # Errors
/// There is no such step, or the database fails.
pub async fn retry(visit: Visit, path: Path<(i64, i64)>, form: Form<Because>) -> Answer {
    let said = "The step is tried again.";
    decide(visit, path, form, StepVerb::Retry, said).await
}

/// `POST /runs/{id}/steps/{step}/done`.
///
/// # Errors
/// There is no such step, or the database fails.
pub async fn mark_done(visit: Visit, path: Path<(i64, i64)>, form: Form<Because>) -> Answer {
    let said = "Your word is taken; the run goes on from there.";
    decide(visit, path, form, StepVerb::Done, said).await
}

/// `POST /runs/{id}/steps/{step}/undo`.
///
/// # Errors
/// There is no such step, or the database fails.
pub async fn undo(visit: Visit, path: Path<(i64, i64)>, form: Form<Because>) -> Answer {
    let said = "The step is being undone.";
    decide(visit, path, form, StepVerb::Undo, said).await
}

/// `POST /runs/{id}/steps/{step}/approve`.
///
/// # Errors
/// There is no such step, or the database fails.
pub async fn approve(visit: Visit, path: Path<(i64, i64)>, form: Form<Because>) -> Answer {
    let said = "The step is approved; the run goes on with it.";
    decide(visit, path, form, StepVerb::Approve, said).await
}

/// `POST /runs/{id}/steps/{step}/refuse`.
///
/// # Errors
/// There is no such step, or the database fails.
pub async fn refuse(visit: Visit, path: Path<(i64, i64)>, form: Form<Because>) -> Answer {
    let said = "The step is refused; the run does what it does after a failure.";
    decide(visit, path, form, StepVerb::Refuse, said).await
}

async fn decide(
    visit: Visit,
    path: Path<(i64, i64)>,
    form: Form<Because>,
    verb: StepVerb,
    said: &str,
) -> Answer {
    let (run, step) = path.into_inner();
    let (run, step) = (RunId(run), StepRunId(step));
    let reason = form.into_inner().given();
    let outcome = commands::decide_step(&visit.app, &visit.caller, run, step, verb, reason).await;
    visit.changed().await;
    let back = format!("/runs/{run}#step-{step}");
    visit.went(&back, outcome.map(|_| said.to_owned()))
}
