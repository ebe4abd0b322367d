//! What a person or a program may ask for, by page or by API alike: one place for the checks, the audit event and the wake-up.

use chrono::Utc;

use crate::actions::ec2::adopting;
use crate::actions::ec2::inspect::inspect;
use crate::actions::ec2::settle::{self, Settler};
use crate::actions::plan::{self, Plan, RunTarget};
use crate::app::App;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::fleet;
use crate::jobs::schedule::INSPECT;
use crate::models::action::Action;
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::decision::Decision as Ledger;
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::task::Task;
use crate::models::trigger::Trigger;
use crate::models::{FindingId, Origin, RunId, StepRunId, to_ms};
use crate::runs::approval;
use crate::runs::control::{self, Decision};
use crate::web::auth::Caller;
use crate::web::stops;

/// What stands as the reason of a run when nobody gave one.
const NO_REASON: &str = "started by hand";
/// The longest reason.
const MAX_REASON: usize = 500;

/// Who changes the fleet, when, and what the change is held against.
pub fn context(app: &App, caller: &Caller) -> fleet::Context {
    app.fleet_context(caller.name.clone(), caller.via, Utc::now())
}

/// Starts a run of a trigger's steps, as a firing does.
///
/// # Errors
/// The trigger does not exist or has no steps, a run of it or of its cluster stands in the way, or the database fails.
pub async fn run_trigger(
    app: &App,
    caller: &Caller,
    name: String,
    reason: Option<String>,
) -> Result<(Run, Vec<StepRun>)> {
    let reason = reason_of(reason)?;
    start(
        app,
        caller,
        format!("trigger {name}"),
        move |conn, by, now_ms| {
            let trigger = Trigger::by_name(conn, &name)?;
            if let Some(open) = Run::open_of_trigger(conn, trigger.id)?.first() {
                return Err(busy(open, &format!("of the trigger \"{name}\"")));
            }
            plan::plan_trigger(conn, &trigger, Origin::Trigger, by, &reason, now_ms)
        },
    )
    .await
}

/// Starts a run of a single action.
///
/// # Errors
/// The action or its target does not exist or do not fit each other, a run of the cluster stands in the way, or the database fails.
pub async fn run_action(
    app: &App,
    caller: &Caller,
    name: String,
    target: RunTarget,
    reason: Option<String>,
) -> Result<(Run, Vec<StepRun>)> {
    let reason = reason_of(reason)?;
    start(
        app,
        caller,
        format!("action {name}"),
        move |conn, by, now_ms| {
            let action = Action::by_name(conn, &name)?;
            plan::plan_action(conn, &action, &target, by, &reason, now_ms)
        },
    )
    .await
}

/// What a person decides about a step that a worker cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepVerb {
    /// Begin it anew.
    Retry,
    /// Its effect did happen.
    Done,
    /// Take it back.
    Undo,
    /// Let it begin.
    Approve,
    /// Never let it begin.
    Refuse,
}

/// Cancels a run.
///
/// # Errors
/// The run does not exist, is over or is being cancelled already, or the database fails.
pub async fn cancel(app: &App, caller: &Caller, run: RunId, reason: Option<String>) -> Result<Run> {
    decide(app, caller, run, reason, control::cancel).await
}

/// Decides about a step; the run goes on from there.
///
/// # Errors
/// Run or step do not exist or are in no state for it, no reason is given, or the database fails.
pub async fn decide_step(
    app: &App,
    caller: &Caller,
    run: RunId,
    step: StepRunId,
    verb: StepVerb,
    reason: Option<String>,
) -> Result<Run> {
    decide(
        app,
        caller,
        run,
        reason,
        move |conn, run, decision| match verb {
            StepVerb::Retry => control::retry_step(conn, run, step, decision),
            StepVerb::Done => control::mark_done(conn, run, step, decision),
            StepVerb::Undo => control::undo_step(conn, run, step, decision),
            StepVerb::Approve => approval::approve(conn, run, step, decision),
            StepVerb::Refuse => approval::refuse(conn, run, step, decision),
        },
    )
    .await
}

/// Holds the nodes against EC2's instances now; says what came of it.
///
/// # Errors
/// The database fails, or an account cannot be asked.
pub async fn look(app: &App) -> Result<String> {
    let look = inspect(&app.db, &app.tools.cloud, to_ms(Utc::now())).await?;
    let faults = look.faults.join("; ");
    let (instances, findings) = (look.instances, look.findings);
    let said = format!("{instances} instances were looked at; {findings} disagree with the nodes.");
    let outcome = if faults.is_empty() {
        Ok(said)
    } else {
        Err(faults)
    };
    let noted = outcome.clone();
    // As after a look of its own, the page says when it was and what came of it.
    let note = move |conn: &mut Connection| {
        let outcome = noted.as_deref().map_err(String::as_str);
        Task::note(conn, INSPECT.name, to_ms(Utc::now()), outcome)
    };
    app.db.write(note).await?;
    outcome.map_err(|what| Error::Upstream {
        what,
        retryable: true,
    })
}

/// Has a node stand for the instance of a finding, at the address that EC2 tells now; gives the node's name.
///
/// # Errors
/// There is no such finding, nothing to adopt, EC2 cannot be asked, or the database fails.
pub async fn adopt(app: &App, caller: &Caller, id: FindingId) -> Result<String> {
    adopting::adopt(&app.db, &app.tools.cloud, id, settler(caller)).await
}

/// Takes the row of a node away that no instance stands behind; gives the node's name.
///
/// # Errors
/// There is no such finding, an instance is there, or the database fails.
pub async fn forget(app: &App, caller: &Caller, id: FindingId) -> Result<String> {
    let settler = settler(caller);
    app.db
        .write(move |conn| settle::forget(conn, id, &settler))
        .await
}

/// Starts the run that terminates the instance of a finding.
///
/// # Errors
/// There is no such finding or no instance, a run is at it already, all acting is stopped, or the database fails.
pub async fn reap(app: &App, caller: &Caller, id: FindingId) -> Result<Run> {
    let settler = settler(caller);
    let begin = move |conn: &mut Connection| {
        Ledger::lock_ledger(conn)?;
        stops::refuse_any(conn, settler.now_ms)?;
        Ok(settle::reap(conn, id, &settler)?.insert(conn)?.0)
    };
    let run = app.db.write(begin).await?;
    wake(app, run.id).await;
    Ok(run)
}

fn settler(caller: &Caller) -> Settler {
    Settler {
        actor: caller.name.clone(),
        via: caller.via,
        now_ms: to_ms(Utc::now()),
    }
}

async fn decide(
    app: &App,
    caller: &Caller,
    run: RunId,
    reason: Option<String>,
    work: impl FnOnce(&mut Connection, RunId, &Decision<'_>) -> Result<Run> + Send + 'static,
) -> Result<Run> {
    let reason = bounded(reason)?;
    let caller = caller.clone();
    let now_ms = to_ms(Utc::now());
    let run = app
        .db
        .write(move |conn| {
            let decision = Decision::new(&caller.name, caller.via, &reason, now_ms);
            work(conn, run, &decision)
        })
        .await?;
    wake(app, run.id).await;
    Ok(run)
}

/// Plans, checks, inserts and audits in one transaction; then wakes a worker.
async fn start(
    app: &App,
    caller: &Caller,
    object: String,
    plan: impl FnOnce(&mut Connection, &str, i64) -> Result<Plan> + Send + 'static,
) -> Result<(Run, Vec<StepRun>)> {
    let now_ms = to_ms(Utc::now());
    let caller = caller.clone();
    let (run, steps) = app
        .db
        .write(move |conn| {
            // What is looked at here stays true until the run is there: others who would start one wait.
            Ledger::lock_ledger(conn)?;
            stops::refuse_any(conn, now_ms)?;
            let plan = plan(conn, &caller.name, now_ms)?;
            refuse_second_capacity_change(conn, &plan)?;
            stops::refuse_launch(conn, &plan, now_ms)?;
            let (run, steps) = plan.insert(conn)?;
            audit(conn, &caller, "run", object, &run, now_ms)?;
            Ok((run, steps))
        })
        .await?;
    wake(app, run.id).await;
    Ok((run, steps))
}

/// Two runs that add nodes to a cluster or take nodes from it would each count without the other.
fn refuse_second_capacity_change(conn: &mut Connection, plan: &Plan) -> Result<()> {
    let (Some(cluster), true) = (plan.run.cluster_id, plan.run.changes_capacity) else {
        return Ok(());
    };
    match Run::open_capacity_changes(conn, cluster)?.first() {
        Some(open) => Err(busy(open, "that changes the nodes of this cluster")),
        None => Ok(()),
    }
}

fn busy(open: &Run, which: &str) -> Error {
    Error::Conflict(format!(
        "Run {} {which} is {} already; wait for its end or cancel it. Nothing was started.",
        open.id, open.state
    ))
}

fn audit(
    conn: &mut Connection,
    caller: &Caller,
    verb: &str,
    object: String,
    run: &Run,
    at_ms: i64,
) -> Result<()> {
    AuditEvent::record(
        conn,
        &NewAuditEvent {
            at_ms,
            actor: caller.name.clone(),
            via: caller.via,
            verb: verb.to_owned(),
            object,
            before: None,
            after: Some(serde_json::json!({"run": run.id, "reason": run.reason}).to_string()),
        },
    )
}

/// The row is the truth and a sweep finds it; a wake-up that is lost costs seconds, not the run.
pub async fn wake(app: &App, run: RunId) {
    if let Err(cause) = app.queue.wake(run.0).await {
        tracing::warn!(run.id = run.0, %cause, "no worker could be woken; the sweep will find the run");
    }
}

fn reason_of(given: Option<String>) -> Result<String> {
    let text = bounded(given)?;
    Ok(if text.is_empty() {
        NO_REASON.to_owned()
    } else {
        text
    })
}

/// A reason, trimmed and not too long.
pub(super) fn bounded(reason: Option<String>) -> Result<String> {
    let text = reason.unwrap_or_default().trim().to_owned();
    if text.chars().count() > MAX_REASON {
        let message = format!("must have {MAX_REASON} characters at most");
        return Err(Error::invalid("reason", message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_always_has_a_reason_of_bounded_length() {
        assert_eq!(reason_of(None).unwrap(), "started by hand");
        assert_eq!(reason_of(Some("  ".into())).unwrap(), "started by hand");
        assert_eq!(reason_of(Some(" disk full ".into())).unwrap(), "disk full");
        assert!(reason_of(Some("x".repeat(501))).is_err());
    }
}
