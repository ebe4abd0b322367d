//! One effect, from its preparation to its outcome.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::actions::{
    self, Action, Attempt, Effect, Fence, Found, Kind, Outcome, Outputs, Recovery, Scope,
};
use crate::error::{Error, Result};
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{StepRunId, StepState};
use crate::runs::journal::Claim;
use crate::runs::{Boundary, Context, scope};

/// What an effect gets beyond its time limit to stop and say what happened.
const GRACE: Duration = Duration::from_secs(10);
/// How long a look-up may take.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(60);

/// What an effect came to.
#[derive(Debug)]
pub(super) enum Ending {
    /// It is known.
    Known(Outcome),
    /// It is not known, and a person must find out; why.
    Unclear(String),
}

/// An effect that is over.
pub(super) struct Finished {
    pub step: StepRunId,
    pub ending: Ending,
}

/// A step that can be begun.
pub(super) struct Prepared {
    pub action: Box<dyn Action>,
    pub effect: Box<dyn Effect>,
    /// What an earlier attempt wrote down before it acted.
    pub noted: Outputs,
    /// What it acts on, once resolved.
    pub target_name: Option<String>,
}

/// Reads a step's settings and what it acts on, without touching anything.
pub(super) async fn prepare(
    ctx: &Context,
    run: &Run,
    steps: &[StepRun],
    step: &StepRun,
) -> Result<Prepared> {
    let action = actions::parse(ctx.kinds, &step.kind, &step.settings)?;
    let on_own_host =
        actions::find(ctx.kinds, &step.kind).is_some_and(|kind| kind.facts.on_own_host);
    if on_own_host && !ctx.tools.tooling.allow_local {
        return Err(Error::Conflict(format!(
            "a {} starts programs on Headroom's own host, which is refused while it listens beyond loopback; HEADROOM_ALLOW_LOCAL=true allows it",
            step.kind
        )));
    }
    let (run, steps, known) = (run.clone(), steps.to_vec(), step.clone());
    let read = move |conn: &mut _| scope::load(conn, &run, &steps, &known);
    let scope: Scope = ctx.tools.db.read(read).await?;
    let effect = action.prepare(&scope)?;
    let target_name = Some(scope.target_name).filter(|name| !name.is_empty());
    Ok(Prepared {
        action,
        effect,
        noted: scope::outputs(step)?,
        target_name,
    })
}

/// A new token: unique wherever two Headrooms might use one account.
pub(super) fn new_token() -> String {
    format!("headroom-{:032x}", rand::random::<u128>())
}

/// One attempt at a step's effect.
pub(super) fn attempt(
    claim: &Claim,
    step: &StepRun,
    prepared: &Prepared,
    token: &str,
    cancelled: &watch::Receiver<bool>,
) -> Attempt {
    let limit = Duration::from_secs(u64::try_from(step.timeout_secs).unwrap_or_default());
    Attempt {
        tools: Arc::clone(&claim.ctx.tools),
        token: token.to_owned(),
        noted: prepared.noted.clone(),
        deadline: Instant::now() + limit,
        cancelled: cancelled.clone(),
        fence: Fence {
            run: claim.run,
            claim: claim.name.clone(),
            lost: claim.lost.subscribe(),
        },
    }
}

/// Performs an effect; where it overstays its limit, its outcome is found out as far as the kind allows.
pub(super) async fn perform(
    ctx: Context,
    step: StepRun,
    prepared: Prepared,
    attempt: Attempt,
) -> Finished {
    let performed = timeout_at(attempt.deadline + GRACE, prepared.effect.perform(&attempt)).await;
    let ending = match performed {
        Ok(outcome) => Ending::Known(outcome),
        Err(_) => overdue(&step, &prepared, &attempt).await,
    };
    ctx.witness.at(Boundary::Effected(step.id));
    Finished {
        step: step.id,
        ending,
    }
}

/// Another attempt at a step whose last one failed: what came of that is looked up first.
pub(super) async fn look_and_perform(
    ctx: Context,
    step: StepRun,
    prepared: Prepared,
    attempt: Attempt,
) -> Finished {
    let limit = attempt.deadline.min(Instant::now() + LOOK_UP_LIMIT);
    let looked = timeout_at(limit, prepared.effect.look_up(&attempt)).await;
    let ending = match looked {
        Ok(Ok(Found::NotDone | Found::Begun(_))) => {
            return perform(ctx, step, prepared, attempt).await;
        }
        Ok(Ok(Found::Done(outcome))) => Ending::Known(outcome),
        Ok(Ok(Found::Unclear(reason))) => Ending::Unclear(reason),
        // Nothing new was begun, so the last attempt's failure still stands.
        Ok(Err(cause)) => Ending::Known(Outcome {
            outputs: attempt.noted,
            ..Outcome::failed(cause)
        }),
        Err(_) => Ending::Known(Outcome {
            outputs: attempt.noted,
            ..Outcome::failed(too_late(&step))
        }),
    };
    Finished {
        step: step.id,
        ending,
    }
}

/// Goes on with a step whose effect may have happened before a crash, and that its kind can repeat or look up. With `begin` false, the run
/// is being ended: what has not happened is left so.
pub(super) async fn resume(
    ctx: Context,
    step: StepRun,
    prepared: Prepared,
    attempt: Attempt,
    begin: bool,
) -> Finished {
    let found = match prepared.action.recovery() {
        Recovery::Repeat if begin => Found::NotDone,
        Recovery::LookUp => look_up(&prepared, &attempt).await,
        Recovery::Repeat | Recovery::AskAPerson => Found::Unclear(why_ask(&step)),
    };
    let ending = match found {
        Found::NotDone | Found::Begun(_) if begin => {
            return perform(ctx, step, prepared, attempt).await;
        }
        Found::NotDone => Ending::Known(Outcome::failed(Error::Conflict(
            "it had not happened when Headroom stopped, and the run is being ended".into(),
        ))),
        Found::Done(outcome) | Found::Begun(outcome) => Ending::Known(outcome),
        Found::Unclear(reason) => Ending::Unclear(reason),
    };
    Finished {
        step: step.id,
        ending,
    }
}

/// Takes a step back.
pub(super) async fn undo(
    ctx: Context,
    step: StepRun,
    prepared: Prepared,
    attempt: Attempt,
    outputs: Outputs,
) -> Finished {
    let undone = timeout_at(
        attempt.deadline + GRACE,
        prepared.effect.undo(&attempt, &outputs),
    )
    .await;
    let mut outcome = undone.unwrap_or_else(|_| Outcome::failed(too_late(&step)));
    // What the step itself gave out is what a person needs who must finish the undo by hand.
    outcome.outputs = outputs;
    ctx.witness.at(Boundary::Reverted(step.id));
    Finished {
        step: step.id,
        ending: Ending::Known(outcome),
    }
}

/// Whether there is something to take back: it succeeded, or failed after it had given something out.
pub(super) fn undoable(kinds: &'static [Kind], step: &StepRun) -> bool {
    let can = actions::find(kinds, &step.kind).is_some_and(|kind| kind.facts.undo.is_some());
    can && match step.state {
        StepState::Succeeded => true,
        StepState::Failed => step.outputs != "{}",
        _ => false,
    }
}

async fn overdue(step: &StepRun, prepared: &Prepared, attempt: &Attempt) -> Ending {
    match prepared.action.recovery() {
        Recovery::Repeat => Ending::Known(Outcome::failed(too_late(step))),
        Recovery::AskAPerson => Ending::Unclear(format!(
            "{}; it may have had its effect, or still have it",
            too_late(step)
        )),
        Recovery::LookUp => match look_up(prepared, attempt).await {
            Found::Done(outcome) | Found::Begun(outcome) => Ending::Known(outcome),
            Found::NotDone => Ending::Known(Outcome::failed(too_late(step))),
            Found::Unclear(reason) => Ending::Unclear(reason),
        },
    }
}

async fn look_up(prepared: &Prepared, attempt: &Attempt) -> Found {
    let limit = Instant::now() + LOOK_UP_LIMIT;
    match timeout_at(limit, prepared.effect.look_up(attempt)).await {
        Ok(Ok(found)) => found,
        Ok(Err(cause)) => Found::Unclear(format!("its outcome could not be looked up: {cause}")),
        Err(_) => Found::Unclear("its outcome could not be looked up in time".into()),
    }
}

/// What a person is told who must find out what came of a step.
pub(super) fn why_ask(step: &StepRun) -> String {
    format!(
        "Headroom stopped while this step was running, so it is not known whether it had its effect, and it is not repeated by itself: \
         the action \"{}\" does not say `repeatable: true`, or the run is being ended. Look on the target, then mark the step done or retry it.",
        step.action_name
    )
}

fn too_late(step: &StepRun) -> Error {
    Error::Upstream {
        what: format!(
            "did not end within its time limit of {} s",
            step.timeout_secs
        ),
        retryable: false,
    }
}
