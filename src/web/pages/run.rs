//! `/runs/{id}`: the steps of a run with what came back, its journal, and what a person can do about it.

use std::collections::BTreeMap;

use actix_web::web::Path;
use askama::Template;

use crate::actions;
use crate::actions::{Entry, Report};
use crate::error::Result;
use crate::models::decision::Decision;
use crate::models::run::Run;
use crate::models::run_event::RunEvent;
use crate::models::step_run::{StepRun, Tried};
use crate::models::{OnFailure, Origin, RunId, RunState, StepRunId, StepState};
use crate::runs::serving;
use crate::web::error::Answer;
use crate::web::pages::decide::Choices;
use crate::web::pages::runs::RunLine;
use crate::web::pages::trigger::on;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Badge, Moment, Status, clock_secs, duration};

/// A step with what came back.
struct StepLine {
    id: StepRunId,
    position: i32,
    name: String,
    action: String,
    kind: String,
    on: String,
    badge: Badge,
    took: String,
    attempt: i32,
    tried: Vec<(Tried, String)>,
    approval: String,
    until: Option<Moment>,
    again: Option<Moment>,
    timeout: String,
    retries: Option<i32>,
    undoing: bool,
    waits: String,
    summary: String,
    error: Option<String>,
    entries: Vec<EntryLine>,
    outputs: Vec<(String, String)>,
    undo: Option<&'static str>,
    choices: Choices,
}

/// What came back from one host.
struct EntryLine {
    entry: Entry,
    badge: Badge,
    took: String,
    /// Failures are open at once.
    open: bool,
}

/// A line of the journal.
struct EventLine {
    at: String,
    exact: String,
    message: String,
}

#[derive(Template)]
#[template(path = "run.html")]
struct RunPage {
    layout: Layout,
    run: Run,
    line: RunLine,
    origin: String,
    on_failure: &'static str,
    steps: Vec<StepLine>,
    events: Vec<EventLine>,
    decision: Option<Decision>,
    started: Option<Moment>,
    finished: Option<Moment>,
    open: bool,
}

/// `GET /runs/{id}`.
///
/// # Errors
/// There is no such run, or the database fails.
pub async fn show(visit: Visit, id: Path<i64>) -> Answer {
    let id = RunId(id.into_inner());
    let layout = visit.layout(Nav::Runs, format!("Run {id}")).await?;
    let (run, steps, undoable, events, decision) = visit
        .app
        .db
        .read(move |conn| {
            let (run, steps) = (Run::find(conn, id)?, StepRun::of_runs(conn, &[id])?);
            let undoable = steps.iter().map(|step| {
                let has_undo = actions::undo(&step.kind).is_some();
                Ok(has_undo && serving::serves(conn, &run, step)?.is_none())
            });
            let undoable = undoable.collect::<Result<Vec<_>>>()?;
            Ok((
                run,
                steps,
                undoable,
                RunEvent::of_run(conn, id)?,
                Decision::of_run(conn, id)?,
            ))
        })
        .await?;
    let choices: Vec<Choices> = steps
        .iter()
        .zip(undoable)
        .map(|(step, undoable)| Choices::of(&run, step, &steps, undoable))
        .collect();
    let names: BTreeMap<i32, String> = steps
        .iter()
        .map(|step| (step.position, step.name.clone()))
        .collect();
    visit.show(&RunPage {
        line: RunLine::of(&run, visit.now_ms),
        origin: origin(&run),
        on_failure: match run.on_failure {
            OnFailure::Undo => "finished steps are undone, in reverse order",
            OnFailure::Stop => "everything stays as it is",
        },
        steps: steps
            .into_iter()
            .zip(choices)
            .map(|(step, choices)| step_line(step, &names, choices, visit.now_ms))
            .collect(),
        events: events.into_iter().map(event_line).collect(),
        started: run.started_ms.map(|at_ms| visit.moment(at_ms)),
        finished: run.finished_ms.map(|at_ms| visit.moment(at_ms)),
        open: matches!(
            run.state,
            RunState::Queued | RunState::Running | RunState::Waiting | RunState::Stuck
        ),
        decision,
        run,
        layout,
    })
}

fn origin(run: &Run) -> String {
    match run.origin {
        Origin::Firing => "the trigger fired".to_owned(),
        Origin::Trigger => format!("{} pressed Run now on the trigger", run.requested_by),
        Origin::Action => format!("{} ran a single action", run.requested_by),
    }
}

fn event_line(event: RunEvent) -> EventLine {
    EventLine {
        at: clock_secs(event.at_ms),
        exact: crate::web::view::exact(event.at_ms),
        message: event.message,
    }
}

fn step_line(
    step: StepRun,
    names: &BTreeMap<i32, String>,
    choices: Choices,
    now_ms: i64,
) -> StepLine {
    // Damage to this list costs the list, not the page.
    let tried = step.tried().unwrap_or_default().into_iter();
    let took = step.started_ms.map_or_else(String::new, |started_ms| {
        duration(
            step.finished_ms
                .unwrap_or(now_ms)
                .saturating_sub(started_ms)
                / 1000,
        )
    });
    let undo = actions::undo(&step.kind);
    StepLine {
        on: on(step.target, step.target_name.as_deref()),
        badge: if choices.approve {
            Status::Pending.says("waits for approval")
        } else {
            step.state.into()
        },
        approval: approval(&step),
        until: step
            .waits_until_ms()
            .map(|at_ms| Moment::new(at_ms, now_ms)),
        waits: waits(&step, names),
        summary: actions::summary(&step.kind, &step.settings),
        entries: Report::parse(&step.report)
            .0
            .into_iter()
            .map(entry_line)
            .collect(),
        outputs: outputs(&step.outputs),
        choices,
        timeout: duration(step.timeout_secs),
        retries: step.retries,
        undoing: step.state == StepState::Undoing,
        id: step.id,
        position: step.position,
        name: step.name,
        action: step.action_name,
        kind: step.kind,
        attempt: step.attempt,
        error: step.error,
        tried: tried
            .map(|it| (it.clone(), clock_secs(it.failed_ms)))
            .collect(),
        again: step.retry_at_ms.map(|at_ms| Moment::new(at_ms, now_ms)),
        undo,
        took,
    }
}

/// Who must approve the step, or did.
fn approval(step: &StepRun) -> String {
    match (&step.approved_by, step.approval_secs) {
        (Some(by), _) => format!("approved by {by}"),
        (None, Some(secs)) => format!("needs approval within {}", duration(secs)),
        (None, None) => String::new(),
    }
}

/// The names of the steps that this one waited for.
fn waits(step: &StepRun, names: &BTreeMap<i32, String>) -> String {
    let positions: Vec<i32> = serde_json::from_str(&step.depends_on).unwrap_or_default();
    let names: Vec<&str> = positions
        .iter()
        .filter_map(|position| names.get(position).map(String::as_str))
        .collect();
    names.join(", ")
}

fn outputs(json: &str) -> Vec<(String, String)> {
    let outputs: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    outputs
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect()
}

fn entry_line(entry: Entry) -> EntryLine {
    let badge = match (entry.succeeded, entry.status) {
        (true, _) => Status::Ok.badge(),
        (false, Some(status)) => Badge {
            status: Status::Firing,
            word: format!("exit status {status}").into(),
        },
        (false, None) => Status::Firing.says("failed"),
    };
    EntryLine {
        badge,
        took: if entry.took_ms < 10_000 {
            format!("{} ms", entry.took_ms)
        } else {
            duration(entry.took_ms / 1000)
        },
        open: !entry.succeeded,
        entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_out_whatever_their_kind() {
        assert_eq!(
            outputs(r#"{"count": 3, "instance": "i-1"}"#),
            [
                ("count".to_owned(), "3".to_owned()),
                ("instance".to_owned(), "i-1".to_owned())
            ]
        );
        assert!(outputs("damaged").is_empty());
    }

    #[test]
    fn an_entry_says_its_exit_status() {
        let line = entry_line(Entry {
            status: Some(3),
            took_ms: 12,
            ..Entry::default()
        });
        assert_eq!(
            (line.badge.word.as_ref(), line.open),
            ("exit status 3", true)
        );
        assert_eq!(line.took, "12 ms");
    }
}
