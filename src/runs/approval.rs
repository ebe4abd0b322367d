//! Steps that wait for a person's approval: asked when their turn comes, with an end to the waiting.
//!
//! A run that nothing else can go on in is laid to rest: no worker holds it, and it is looked at again when somebody has decided
//! ([`approve`], [`refuse`]) or the time for that is over.

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::run::Run;
use crate::models::run_event::RunEvent;
use crate::models::step_run::{StepChange, StepRun};
use crate::models::{RunId, RunState, StepRunId, StepState};
use crate::runs::Boundary;
use crate::runs::control::{self, Decision};
use crate::runs::execute::Drive;
use crate::runs::graph::Approval;
use crate::runs::journal::{self, lost, transition};

/// How a step stands with its approval.
pub(super) fn of(step: &StepRun, now_ms: i64) -> Approval {
    match (
        step.approval_secs,
        &step.approved_by,
        step.approval_until_ms,
    ) {
        (None, _, _) | (_, Some(_), _) => Approval::Free,
        (Some(_), None, None) => Approval::Unasked,
        (Some(_), None, Some(until_ms)) if now_ms < until_ms => Approval::Awaited,
        (Some(_), None, Some(_)) => Approval::Expired,
    }
}

impl Drive {
    /// Asks for approval of these steps.
    pub(super) async fn ask(&mut self, positions: &[i32]) -> Result<()> {
        for position in positions {
            let step = self.step(|step| step.position == *position)?;
            let secs = step.approval_secs.unwrap_or_default();
            let until_ms = self
                .claim
                .ctx
                .now_ms()
                .saturating_add(secs.saturating_mul(1000));
            let change = StepChange {
                approval_until_ms: Some(Some(until_ms)),
                ..StepChange::default()
            };
            let line = format!(
                "{}: waits for approval, for {} at most",
                step.name,
                journal::span(secs)
            );
            self.change(&step, change, line).await?;
            self.claim.ctx.witness.at(Boundary::Asked(step.id));
        }
        Ok(())
    }

    /// Nobody approved these steps in time: they have failed, without having begun.
    pub(super) async fn expire(&mut self, positions: &[i32]) -> Result<()> {
        for position in positions {
            let step = self.step(|step| step.position == *position)?;
            let within = journal::span(step.approval_secs.unwrap_or_default());
            let text = format!("nobody approved it within {within}");
            let line = format!("{}: not begun: {text}", step.name);
            let change = StepChange {
                error: Some(Some(text)),
                finished_ms: Some(Some(self.claim.ctx.now_ms())),
                ..StepChange::to(StepState::Failed)
            };
            if !self.fail_unapproved(&step, change, line).await? {
                self.journal = self.claim.load().await?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// False when somebody has decided since the journal was read, which was in time then.
    async fn fail_unapproved(
        &mut self,
        step: &StepRun,
        change: StepChange,
        line: String,
    ) -> Result<bool> {
        let (run, id, written) = (self.claim.run, step.id, change.clone());
        let fail = move |conn: &mut Connection, now_ms| {
            let now = StepRun::find(conn, run, id)?;
            if now.state != StepState::Planned || of(&now, now_ms) != Approval::Expired {
                return Ok(false);
            }
            transition(conn, run, id, now.state, &written, now_ms, &line)?;
            Ok(true)
        };
        let failed = self.claim.write(fail).await?;
        if failed {
            self.journal.follow(id, change);
        }
        Ok(failed)
    }

    /// Lays the run to rest; false when somebody has decided meanwhile.
    pub(super) async fn rest(&mut self) -> Result<bool> {
        let (run, name) = (self.claim.run, self.claim.name.clone());
        let known: Vec<StepRun> = self.journal.steps.clone();
        let rest = move |conn: &mut Connection| {
            let now = Run::lock(conn, run)?;
            let steps = StepRun::of_run(conn, run)?;
            if steps != known || now.cancel_requested_by.is_some() {
                return Ok(false);
            }
            let waits = steps.iter().filter_map(StepRun::waits_until_ms).min();
            if !Run::rest(conn, run, &name, waits.unwrap_or_default())? {
                return Err(lost(run));
            }
            Ok(true)
        };
        let rested = self.claim.ctx.tools.db.write(rest).await?;
        if !rested {
            self.journal = self.claim.load().await?;
        }
        Ok(rested)
    }
}

/// Approves a step; the run goes on with it. Of two who approve one counts.
///
/// # Errors
/// `Conflict` when the step does not wait for approval (any more); the message says what became of it.
pub fn approve(
    conn: &mut Connection,
    id: RunId,
    step: StepRunId,
    decision: &Decision<'_>,
) -> Result<Run> {
    let (run, step) = awaited(conn, id, step, decision.now_ms)?;
    if !StepRun::approve(conn, step.id, decision.actor, decision.now_ms)? {
        return Err(not_awaited(&step, decision.now_ms));
    }
    let line = format!("{}: approved by {}", step.name, decision.because());
    RunEvent::record(conn, id, Some(step.id), decision.now_ms, &line)?;
    let object = format!("run {id} step {}", step.name);
    control::audit(conn, decision, "approve", object, "waiting", "approved")?;
    wake(conn, &run)
}

/// Refuses a step: it has failed without having begun, and the run does what it does after a failure.
///
/// # Errors
/// `Conflict` when the step does not wait for approval (any more); `Invalid` without a reason.
pub fn refuse(
    conn: &mut Connection,
    id: RunId,
    step: StepRunId,
    decision: &Decision<'_>,
) -> Result<Run> {
    decision.needs_reason()?;
    let (run, step) = awaited(conn, id, step, decision.now_ms)?;
    let change = StepChange {
        error: Some(Some(format!("refused by {}", decision.because()))),
        finished_ms: Some(Some(decision.now_ms)),
        ..StepChange::to(StepState::Failed)
    };
    let line = format!("{}: refused by {}", step.name, decision.because());
    let (from, now_ms) = (StepState::Planned, decision.now_ms);
    transition(conn, id, step.id, from, &change, now_ms, &line)?;
    let object = format!("run {id} step {}", step.name);
    control::audit(conn, decision, "refuse", object, "waiting", "failed")?;
    wake(conn, &run)
}

/// The run, locked, and a step of it that waits for approval.
fn awaited(
    conn: &mut Connection,
    id: RunId,
    step: StepRunId,
    now_ms: i64,
) -> Result<(Run, StepRun)> {
    let run = Run::lock(conn, id)?;
    let step = StepRun::find(conn, id, step)?;
    if run.state.is_over() || run.cancel_requested_by.is_some() {
        return Err(Error::Conflict(format!(
            "run {id} is {}, so nothing of it is to be approved",
            if run.state.is_over() {
                run.state.as_str()
            } else {
                "being cancelled"
            }
        )));
    }
    if step
        .waits_until_ms()
        .is_none_or(|until_ms| until_ms <= now_ms)
    {
        return Err(not_awaited(&step, now_ms));
    }
    Ok((run, step))
}

fn not_awaited(step: &StepRun, now_ms: i64) -> Error {
    let name = &step.name;
    Error::Conflict(match (&step.approved_by, step.waits_until_ms()) {
        (Some(by), _) => format!("step \"{name}\" was approved by {by} already"),
        (None, Some(until_ms)) if until_ms <= now_ms => {
            format!("step \"{name}\" is not approved any more: the time for it is over")
        }
        _ if step.approval_secs.is_none() => format!("step \"{name}\" needs no approval"),
        _ => format!(
            "step \"{name}\" is {}, it does not wait for approval",
            step.state
        ),
    })
}

/// A run that rests goes to the workers; one that is being driven sees the decision at its next beat.
fn wake(conn: &mut Connection, run: &Run) -> Result<Run> {
    if run.state == RunState::Waiting && !Run::requeue(conn, run.id, &[RunState::Waiting])? {
        return Err(Error::Conflict(format!(
            "run {} has moved on meanwhile",
            run.id
        )));
    }
    Run::find(conn, run.id)
}
