//! What a person may do to a run: cancel it, and decide about a step. Each is one compare-and-set with a reason, in the log and the audit.
//!
//! Nothing here has an effect on a machine: the run's row is changed, and where there is something to do it is `queued` again; whoever
//! called wakes the queue then.

use serde_json::json;

use crate::actions::{self, KINDS, Kind, Recovery};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::decision::Decision as Ledger;
use crate::models::run::Run;
use crate::models::run_event::RunEvent;
use crate::models::step_run::{StepChange, StepRun};
use crate::models::{RunId, RunState, StepRunId, StepState, Via};
use crate::runs::journal::transition;

/// Who decides, and why.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// The person.
    pub actor: &'a str,
    /// By which way.
    pub via: Via,
    /// Why; must say something, except for a cancellation.
    pub reason: &'a str,
    /// Now, ms.
    pub now_ms: i64,
    /// The action kinds.
    pub kinds: &'static [Kind],
}

impl<'a> Decision<'a> {
    /// A decision about runs of the real kinds.
    pub fn new(actor: &'a str, via: Via, reason: &'a str, now_ms: i64) -> Self {
        Self {
            actor,
            via,
            reason: reason.trim(),
            now_ms,
            kinds: KINDS,
        }
    }

    pub(super) fn needs_reason(&self) -> Result<()> {
        if self.reason.is_empty() {
            return Err(Error::invalid("reason", "is required: say what you saw"));
        }
        Ok(())
    }

    pub(super) fn because(&self) -> String {
        if self.reason.is_empty() {
            self.actor.to_owned()
        } else {
            format!("{}: {}", self.actor, self.reason)
        }
    }
}

/// Cancels a run: at once when nobody drives it, otherwise its worker is told, which stops what is running and begins nothing more. Nothing
/// is taken back by itself.
///
/// # Errors
/// `Conflict` when the run is over or somebody has cancelled it already.
pub fn cancel(conn: &mut Connection, id: RunId, decision: &Decision<'_>) -> Result<Run> {
    let before = Run::find(conn, id)?;
    let idle = [RunState::Queued, RunState::Waiting, RunState::Stuck];
    if idle.contains(&before.state)
        && Run::change_state(conn, id, &idle, RunState::Cancelled, Some(decision.now_ms))?
    {
        close_steps(conn, id, decision)?;
        Run::note_canceller(conn, id, decision.actor)?;
    } else if !Run::request_cancel(conn, id, decision.actor)? {
        let now = Run::find(conn, id)?;
        return Err(Error::Conflict(match now.cancel_requested_by {
            Some(by) if !now.state.is_over() => {
                format!("run {id} is being cancelled already, by {by}")
            }
            _ => format!("run {id} cannot be cancelled: it is {} already", now.state),
        }));
    }
    let line = format!("cancellation asked for by {}", decision.because());
    RunEvent::record(conn, id, None, decision.now_ms, &line)?;
    let after = Run::find(conn, id)?;
    audit(
        conn,
        decision,
        "cancel",
        format!("run {id}"),
        before.state.as_str(),
        after.state.as_str(),
    )?;
    Ok(after)
}

/// What was not begun is skipped; what nobody knows the outcome of has failed, for all that the run is concerned, and an undo that was not
/// finished can be asked for again.
fn close_steps(conn: &mut Connection, id: RunId, decision: &Decision<'_>) -> Result<()> {
    for step in StepRun::of_run(conn, id)? {
        let change = match step.state {
            StepState::Planned => StepChange::to(StepState::Skipped),
            StepState::Started => StepChange {
                error: Some(Some(format!(
                    "its outcome was never known; the run was cancelled by {}",
                    decision.because()
                ))),
                finished_ms: Some(Some(decision.now_ms)),
                ..StepChange::to(StepState::Failed)
            },
            StepState::Undoing => StepChange {
                error: Some(Some(format!(
                    "its undo was not finished; the run was cancelled by {}",
                    decision.because()
                ))),
                ..StepChange::to(StepState::UndoFailed)
            },
            _ => continue,
        };
        StepRun::change(conn, step.id, &[step.state], &change)?;
    }
    Ok(())
}

/// Has a step begun anew whose effect failed, or is not known and did not happen. What was skipped because of it is planned again.
///
/// # Errors
/// `Conflict` when the run or the step is in no state for it; the message says what is.
pub fn retry_step(
    conn: &mut Connection,
    id: RunId,
    step: StepRunId,
    decision: &Decision<'_>,
) -> Result<Run> {
    decision.needs_reason()?;
    let (run, step, steps) = undecided(conn, id, step, &[StepState::Started, StepState::Failed])?;
    let taken_back = [StepState::Undoing, StepState::Undone, StepState::UndoFailed];
    if steps.iter().any(|other| taken_back.contains(&other.state)) {
        return Err(Error::Conflict(format!(
            "steps of run {id} were taken back already, so it cannot go on; run it anew"
        )));
    }
    // What can be looked up by its token is looked up before it is done: the last attempt may have had its effect, or a part of it.
    let found = actions::parse(decision.kinds, &step.kind, &step.settings)
        .is_ok_and(|action| action.recovery() == Recovery::LookUp);
    let error = step.error.as_deref().unwrap_or_default();
    let attempts = (step.attempt > 0).then(|| step.tried_and_failed(decision.now_ms, error));
    let change = StepChange {
        token: (!found).then_some(None),
        attempts: attempts.transpose()?,
        error: Some(None),
        started_ms: Some(None),
        finished_ms: Some(None),
        retry_at_ms: Some(None),
        // Refused or overdue: whoever wants it done after all has it asked for anew.
        approval_until_ms: step.approved_by.is_none().then_some(None),
        ..StepChange::to(StepState::Planned)
    };
    decide(conn, &run, &step, &change, "retry", decision)?;
    Run::may_speak(conn, id)?;
    go_on(
        conn,
        &run,
        &step,
        &[StepState::Started, StepState::Failed],
        &steps,
        decision,
    )
}

/// Takes a person's word that the effect of a step happened (or, of a step that could not be taken back, that it is undone).
///
/// # Errors
/// `Conflict` when the run or the step is in no state for it.
pub fn mark_done(
    conn: &mut Connection,
    id: RunId,
    step: StepRunId,
    decision: &Decision<'_>,
) -> Result<Run> {
    decision.needs_reason()?;
    let states = [StepState::Started, StepState::Failed, StepState::UndoFailed];
    let (run, step, steps) = undecided(conn, id, step, &states)?;
    let undone = step.state == StepState::UndoFailed;
    let change = StepChange {
        error: (!undone).then_some(None),
        finished_ms: Some(Some(decision.now_ms)),
        ..StepChange::to(if undone {
            StepState::Undone
        } else {
            StepState::Succeeded
        })
    };
    decide(conn, &run, &step, &change, "mark done", decision)?;
    let others_failed = steps
        .iter()
        .any(|other| other.id != step.id && other.state == StepState::Failed);
    let open: &[StepState] = if undone || (run.state == RunState::Stuck && others_failed) {
        // What the run does about a failed or undone step is its own policy; only what is not known wants a person.
        &[StepState::Started]
    } else {
        &[StepState::Started, StepState::Failed]
    };
    go_on(conn, &run, &step, open, &steps, decision)
}

/// Has a step taken back.
///
/// # Errors
/// `Conflict` when its kind has no undo, or the run or the step is in no state for it.
pub fn undo_step(
    conn: &mut Connection,
    id: RunId,
    step: StepRunId,
    decision: &Decision<'_>,
) -> Result<Run> {
    decision.needs_reason()?;
    Ledger::lock_ledger(conn)?;
    let run = Run::find(conn, id)?;
    let step = StepRun::find(conn, id, step)?;
    let idle = [
        RunState::Succeeded,
        RunState::Failed,
        RunState::Undone,
        RunState::Stuck,
        RunState::Cancelled,
    ];
    if !idle.contains(&run.state) {
        return Err(Error::Conflict(format!(
            "run {id} is {}; cancel it first, or wait for its end",
            run.state
        )));
    }
    if actions::find(decision.kinds, &step.kind).is_none_or(|kind| kind.facts.undo.is_none()) {
        return Err(Error::Conflict(format!(
            "an action of kind {} cannot be undone; what it did must be put right by hand",
            step.kind
        )));
    }
    let states = [
        StepState::Started,
        StepState::Succeeded,
        StepState::Failed,
        StepState::UndoFailed,
    ];
    refuse_state(&step, &states)?;
    crate::runs::serving::refuse_serving(conn, &run, &step)?;
    one_capacity_change(conn, &run)?;
    decide(conn, &run, &step, &StepChange::undoing(), "undo", decision)?;
    requeue(conn, &run)
}

/// The run, the step and all steps, when the run waits for a decision about such a step.
fn undecided(
    conn: &mut Connection,
    id: RunId,
    step: StepRunId,
    states: &[StepState],
) -> Result<(Run, StepRun, Vec<StepRun>)> {
    Ledger::lock_ledger(conn)?;
    let run = Run::find(conn, id)?;
    let step = StepRun::find(conn, id, step)?;
    if ![RunState::Stuck, RunState::Failed].contains(&run.state) {
        return Err(Error::Conflict(format!(
            "run {id} is {}; a step is decided about when the run is stuck or failed",
            run.state
        )));
    }
    refuse_state(&step, states)?;
    one_capacity_change(conn, &run)?;
    let steps = StepRun::of_run(conn, id)?;
    Ok((run, step, steps))
}

fn refuse_state(step: &StepRun, states: &[StepState]) -> Result<()> {
    if states.contains(&step.state) {
        return Ok(());
    }
    let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    Err(Error::Conflict(format!(
        "step \"{}\" is {}, not {}",
        step.name,
        step.state,
        words.join(" or ")
    )))
}

/// A run that is over lets others change the cluster's capacity; it must not go on beside one of those.
fn one_capacity_change(conn: &mut Connection, run: &Run) -> Result<()> {
    let (Some(cluster), true) = (run.cluster_id, run.changes_capacity) else {
        return Ok(());
    };
    let others = Run::open_capacity_changes(conn, cluster)?;
    match others.iter().find(|other| other.id != run.id) {
        Some(other) => Err(Error::Conflict(format!(
            "run {} changes the capacity of the same cluster; wait for its end",
            other.id
        ))),
        None => Ok(()),
    }
}

fn decide(
    conn: &mut Connection,
    run: &Run,
    step: &StepRun,
    change: &StepChange,
    verb: &str,
    decision: &Decision<'_>,
) -> Result<()> {
    let line = format!("{}: {verb}, decided by {}", step.name, decision.because());
    transition(
        conn,
        run.id,
        step.id,
        step.state,
        change,
        decision.now_ms,
        &line,
    )?;
    let after = change.state.unwrap_or(step.state);
    let object = format!("run {} step {}", run.id, step.name);
    audit(
        conn,
        decision,
        verb,
        object,
        step.state.as_str(),
        after.as_str(),
    )
}

/// Hands the run to the workers, with what was skipped planned again; unless another step is in one of `open` states, which wants a
/// decision first.
fn go_on(
    conn: &mut Connection,
    run: &Run,
    decided: &StepRun,
    open: &[StepState],
    steps: &[StepRun],
    decision: &Decision<'_>,
) -> Result<Run> {
    let others = || steps.iter().filter(|step| step.id != decided.id);
    if let Some(step) = others().find(|step| open.contains(&step.state)) {
        let line = format!("waits for a decision about {} as well", step.name);
        RunEvent::record(conn, run.id, Some(step.id), decision.now_ms, &line)?;
        return Run::find(conn, run.id);
    }
    if !others().any(|step| step.state == StepState::Failed) {
        for step in others().filter(|step| step.state == StepState::Skipped) {
            let change = StepChange {
                // Whoever was asked before the run ended is asked anew.
                approval_until_ms: step.approved_by.is_none().then_some(None),
                ..StepChange::to(StepState::Planned)
            };
            StepRun::change(conn, step.id, &[StepState::Skipped], &change)?;
        }
    }
    requeue(conn, run)
}

fn requeue(conn: &mut Connection, run: &Run) -> Result<Run> {
    if !Run::requeue(conn, run.id, &[run.state])? {
        return Err(Error::Conflict(format!(
            "run {} has moved on meanwhile",
            run.id
        )));
    }
    Run::find(conn, run.id)
}

pub(super) fn audit(
    conn: &mut Connection,
    decision: &Decision<'_>,
    verb: &str,
    object: String,
    before: &str,
    after: &str,
) -> Result<()> {
    AuditEvent::record(
        conn,
        &NewAuditEvent {
            at_ms: decision.now_ms,
            actor: decision.actor.to_owned(),
            via: decision.via,
            verb: verb.to_owned(),
            object,
            before: Some(json!({ "state": before }).to_string()),
            after: Some(json!({ "state": after, "reason": decision.reason }).to_string()),
        },
    )
}
