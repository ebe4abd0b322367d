//! `headroom runs`, `decisions`, `status` and `backtest`: what the pages show, for scripts and for a terminal.

use std::process::ExitCode;

use chrono::Utc;
use serde_json::{Value, json};

use super::args::{Backtest, Decisions, Runs};
use super::output::{self, time};
use crate::app::App;
use crate::models::decision::Decision;
use crate::models::hold::Hold;
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::task::Task;
use crate::models::trigger::Trigger;
use crate::models::worker::Worker;
use crate::models::{Outcome, RunId, RunState, to_ms};
use crate::triggers::backtest::Stretch;
use crate::triggers::evaluate;

/// Runs that a person should look at.
const WRONG: [RunState; 3] = [RunState::Stuck, RunState::Waiting, RunState::Failed];

pub(super) async fn runs(app: &App, args: Runs) -> anyhow::Result<ExitCode> {
    if let Some(id) = args.id {
        return one_run(app, RunId(id), args.json).await;
    }
    let states: Vec<_> = args.state.into_iter().collect();
    let rows = app
        .db
        .read(move |conn| Run::page(conn, &states, None, args.limit))
        .await?;
    if args.json {
        output::json(&rows.iter().map(run_json).collect::<Vec<_>>())?;
    } else {
        let cells: Vec<_> = rows.iter().map(run_cells).collect();
        output::table(
            &["id", "state", "what", "cluster", "by", "created", "reason"],
            &cells,
            "no runs",
        );
    }
    Ok(ExitCode::SUCCESS)
}

async fn one_run(app: &App, id: RunId, as_json: bool) -> anyhow::Result<ExitCode> {
    let (run, steps) = app
        .db
        .read(move |conn| Ok((Run::find(conn, id)?, StepRun::of_runs(conn, &[id])?)))
        .await?;
    if as_json {
        let mut value = run_json(&run);
        if let Some(map) = value.as_object_mut() {
            map.insert("steps".into(), steps.iter().map(step_json).collect());
        }
        output::json(&value)?;
    } else {
        output::table(
            &["id", "state", "what", "cluster", "by", "created", "reason"],
            &[run_cells(&run)],
            "",
        );
        println!();
        let cells: Vec<_> = steps.iter().map(step_cells).collect();
        output::table(
            &["step", "state", "action", "target", "error"],
            &cells,
            "no steps",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn what(run: &Run) -> String {
    run.trigger_name
        .clone()
        .unwrap_or_else(|| run.origin.to_string())
}

fn run_cells(run: &Run) -> Vec<String> {
    vec![
        run.id.to_string(),
        run.state.to_string(),
        what(run),
        run.cluster_name.clone().unwrap_or_default(),
        run.requested_by.clone(),
        time(run.created_ms),
        run.reason.clone(),
    ]
}

fn run_json(run: &Run) -> Value {
    json!({
        "id": run.id, "state": run.state, "trigger": run.trigger_name, "cluster": run.cluster_name, "origin": run.origin,
        "requested_by": run.requested_by, "reason": run.reason, "created": time(run.created_ms),
        "started": run.started_ms.map(time), "finished": run.finished_ms.map(time),
    })
}

fn step_cells(step: &StepRun) -> Vec<String> {
    vec![
        format!("{} {}", step.position, step.name),
        step.state.to_string(),
        step.action_name.clone(),
        step.target_name
            .clone()
            .unwrap_or_else(|| step.target.to_string()),
        step.error.clone().unwrap_or_default(),
    ]
}

fn step_json(step: &StepRun) -> Value {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
    json!({
        "id": step.id, "order": step.position, "name": step.name, "action": step.action_name, "kind": step.kind,
        "state": step.state, "target": step.target_name, "attempt": step.attempt, "error": step.error,
        "attempts": parsed(&step.attempts), "retries": step.retries, "retry_at": step.retry_at_ms.map(time),
        "waits_until": step.waits_until_ms().map(time), "approved_by": step.approved_by,
        "outputs": parsed(&step.outputs), "report": parsed(&step.report),
        "started": step.started_ms.map(time), "finished": step.finished_ms.map(time),
    })
}

pub(super) async fn decisions(app: &App, args: Decisions) -> anyhow::Result<ExitCode> {
    let rows = app
        .db
        .read(move |conn| {
            let trigger = Trigger::by_name(conn, &args.trigger)?;
            Decision::page(conn, Some(trigger.id), None, args.limit)
        })
        .await?;
    if args.json {
        output::json(&rows.iter().map(decision_json).collect::<Vec<_>>())?;
    } else {
        let cells: Vec<_> = rows.iter().map(decision_cells).collect();
        output::table(
            &["from", "to", "ticks", "outcome", "reason"],
            &cells,
            "no decisions yet",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn decision_cells(row: &Decision) -> Vec<String> {
    vec![
        time(row.first_ms),
        time(row.last_ms),
        row.count.to_string(),
        row.outcome.to_string(),
        row.reason.clone(),
    ]
}

fn decision_json(row: &Decision) -> Value {
    json!({
        "outcome": row.outcome, "reason": row.reason, "first": time(row.first_ms), "last": time(row.last_ms), "count": row.count,
        "run": row.run_id, "detail": serde_json::from_str::<Value>(&row.detail).unwrap_or(Value::Null),
    })
}

/// What `status` looks at.
struct Status {
    wrong: Vec<Run>,
    tasks: Vec<Task>,
    workers: Vec<Worker>,
    holds: Vec<Hold>,
    pending: Vec<(String, Decision)>,
    recent: Vec<Run>,
}

pub(super) async fn status(app: &App, as_json: bool) -> anyhow::Result<ExitCode> {
    let now_ms = to_ms(Utc::now());
    let status = app.db.read(move |conn| load(conn, now_ms)).await?;
    if as_json {
        output::json(&status_json(&status))?
    } else {
        print_status(&status, now_ms)
    }
    Ok(ExitCode::SUCCESS)
}

fn load(conn: &mut crate::db::Connection, now_ms: i64) -> crate::error::Result<Status> {
    let names: std::collections::BTreeMap<_, _> = Trigger::all(conn)?
        .into_iter()
        .map(|trigger| (trigger.id, trigger.name))
        .collect();
    let latest = Decision::latest(conn)?.into_iter();
    let pending = latest
        .filter_map(|(trigger, decision)| Some((names.get(&trigger)?.clone(), decision?)))
        .filter(|(_, decision)| matches!(decision.outcome, Outcome::Pending | Outcome::Refused));
    Ok(Status {
        wrong: Run::page(conn, &WRONG, None, 10)?,
        tasks: Task::all(conn)?,
        workers: Worker::all(conn)?,
        holds: Hold::active(conn, now_ms)?,
        pending: pending.collect(),
        recent: Run::page(conn, &[], None, 5)?,
    })
}

fn print_status(status: &Status, now_ms: i64) {
    let dead =
        |worker: &&Worker| now_ms - worker.seen_ms > crate::jobs::schedule::WORKER_DEAD_AFTER_MS;
    for worker in status.workers.iter().filter(dead) {
        println!(
            "DEAD      process {} ({}), last seen {}",
            worker.name,
            worker.roles,
            time(worker.seen_ms)
        );
    }
    if status.workers.is_empty() {
        println!("DEAD      no process is running: start `headroom serve`");
    }
    for run in &status.wrong {
        println!(
            "{:<9} run {} of {}",
            run.state.to_string().to_uppercase(),
            run.id,
            what(run)
        );
    }
    for (trigger, decision) in &status.pending {
        println!("{:<9} {trigger}: {}", decision.outcome, decision.reason);
    }
    for hold in &status.holds {
        println!(
            "hold      {} until {}: {}",
            hold.subject(),
            time(hold.expires_ms),
            hold.reason
        );
    }
    for task in &status.tasks {
        println!(
            "task      {}: {} ({} skipped)",
            task.name, task.result, task.skipped
        );
    }
    for run in &status.recent {
        println!(
            "recent    run {} of {}: {}, {}",
            run.id,
            what(run),
            run.state,
            time(run.created_ms)
        );
    }
}

fn status_json(status: &Status) -> Value {
    json!({
        "wrong": status.wrong.iter().map(run_json).collect::<Vec<_>>(),
        "pending": status.pending.iter().map(|(trigger, decision)| json!({ "trigger": trigger, "decision": decision_json(decision) })).collect::<Vec<_>>(),
        "holds": status.holds.iter().map(|hold| json!({ "id": hold.id, "holds": hold.subject(), "expires": time(hold.expires_ms), "reason": hold.reason })).collect::<Vec<_>>(),
        "workers": status.workers.iter().map(|worker| json!({ "name": worker.name, "roles": worker.roles, "seen": time(worker.seen_ms) })).collect::<Vec<_>>(),
        "tasks": status.tasks.iter().map(|task| json!({ "name": task.name, "result": task.result, "succeeded": task.succeeded, "skipped": task.skipped })).collect::<Vec<_>>(),
        "recent": status.recent.iter().map(run_json).collect::<Vec<_>>(),
    })
}

pub(super) async fn backtest(app: &App, args: Backtest) -> anyhow::Result<ExitCode> {
    let to = args.to.unwrap_or_else(Utc::now);
    let from = args
        .from
        .unwrap_or_else(|| to - app.config.sampling.retention);
    let tick_length_ms = app.config.sampling.tick_secs() * 1_000;
    let name = args.trigger;
    let test = app
        .db
        .read(move |conn| evaluate::Backtest::load(conn, &name, tick_length_ms))
        .await?;
    let report = test.replay(&app.store, to_ms(from), to_ms(to)).await?;
    if args.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} ticks, {} firings", report.ticks, report.firings.len());
    let cells: Vec<_> = report.stretches.iter().map(stretch_cells).collect();
    output::table(
        &["from", "to", "ticks", "outcome", "reason"],
        &cells,
        "no tick lies between these times",
    );
    Ok(ExitCode::SUCCESS)
}

fn stretch_cells(stretch: &Stretch) -> Vec<String> {
    vec![
        time(stretch.first_ms),
        time(stretch.last_ms),
        stretch.count.to_string(),
        Outcome::from(stretch.outcome).to_string(),
        stretch.reason.clone(),
    ]
}
