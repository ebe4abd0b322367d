//! Steps that a person must approve: who decides, what waits, how it ends, and what a crash leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use headroom::clients::mail::Mailer;
use headroom::error::{Error, Result};
use headroom::models::audit::AuditEvent;
use headroom::models::run::Run;
use headroom::models::{OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::{Context, approval, execute, recover};
use serde_json::json;

use super::crash::die;
use super::lab::{Lab, Planned};
use crate::support::postgres::Postgres;
use crate::support::wait;

const SOON: Duration = Duration::from_secs(10);
const HOUR_SECS: i64 = 3_600;

impl Lab {
    /// A script that writes its name, and one more that needs approval for it.
    fn with_approval(&self) -> RunId {
        let step = |name: &'static str| {
            let script = format!("echo {name} >> {}", self.path("log").display());
            Planned::new(
                name,
                "LocalScript",
                json!({"script": script, "repeatable": true}),
            )
        };
        let steps = [
            step("one"),
            step("two").approved_within(HOUR_SECS),
            step("three"),
        ];
        self.plan(OnFailure::Stop, &steps)
    }

    fn approve(&self, run: RunId, step: &str, actor: &str) -> Result<Run> {
        let (id, now_ms) = (self.step(run, step).id, (self.ctx.clock)());
        self.db.write_blocking(|conn| {
            let decision = Decision::new(actor, Via::Page, "looks right", now_ms);
            approval::approve(conn, run, id, &decision)
        })
    }

    fn refuse(&self, run: RunId, step: &str, reason: &str) -> Result<Run> {
        let (id, now_ms) = (self.step(run, step).id, (self.ctx.clock)());
        self.db.write_blocking(|conn| {
            let decision = Decision::new("ann", Via::Api, reason, now_ms);
            approval::refuse(conn, run, id, &decision)
        })
    }

    /// Another worker, so much later.
    fn later(&self, secs: i64) -> Context {
        let clock = Arc::clone(&self.ctx.clock);
        let mut ctx = self.other_worker();
        ctx.clock = Arc::new(move || clock() + secs * 1000);
        ctx
    }

    async fn open_in(&self, secs: i64) -> Vec<RunId> {
        let at_ms = (self.ctx.clock)() + secs * 1000;
        recover::open_runs(&self.db, at_ms).await.unwrap()
    }
}

#[tokio::test]
async fn a_step_waits_for_its_approval_without_a_worker_and_begins_with_it() {
    let lab = Lab::new();
    let run = lab.with_approval();
    assert_eq!(lab.drive(run).await, RunState::Waiting);
    assert_eq!(lab.lines("log"), ["one"]);
    use StepState::{Planned as Plan, Succeeded};
    assert_eq!(lab.states(run), [Succeeded, Plan, Plan]);
    assert_eq!(lab.run(run).claimed_by, None, "no worker holds it");
    assert_eq!(lab.open_in(0).await, [], "and the sweep leaves it alone");
    assert_eq!(lab.open_in(HOUR_SECS - 60).await, []);
    let before = lab.log(run).len();
    lab.drive(run).await;
    assert_eq!(lab.log(run).len(), before, "a late message does nothing");
    assert_eq!(
        lab.step(run, "two").started_ms,
        None,
        "its limit is not running"
    );

    let row = lab.approve(run, "two", "ann").unwrap();
    assert_eq!(row.state, RunState::Queued);
    assert_eq!(lab.open_in(0).await, [run]);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "two", "three"]);
    assert_eq!(lab.step(run, "two").approved_by.as_deref(), Some("ann"));
    let log = lab.log(run);
    let at = |line: &str| log.iter().position(|each| each == line).expect(line);
    assert!(
        at("one: succeeded") < at("two: waits for approval, for 1 h at most")
            && at("two: approved by ann: looks right") < at("two: started on n1"),
        "{log:?}"
    );
    let events = lab.write(|conn| AuditEvent::page(conn, None, Some("run 1 step two"), 9));
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.actor.as_str(), event.verb.as_str()))
        .collect();
    assert_eq!(told, [("ann", "approve")]);
}

#[tokio::test]
async fn a_refused_step_has_failed_and_what_was_done_before_it_is_taken_back() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let probe = Planned::new("make", "Probe", json!({"folder": folder, "mode": "look"}));
    let log = lab.path("log").display().to_string();
    let steps = [
        probe,
        Planned::script("go", format!("echo go >> {log}")).approved_within(HOUR_SECS),
    ];
    let run = lab.plan(OnFailure::Undo, &steps);
    assert_eq!(lab.drive(run).await, RunState::Waiting);
    let silent = lab.refuse(run, "go", " ").unwrap_err().to_string();
    assert_eq!(silent, "reason: is required: say what you saw");
    lab.refuse(run, "go", "not on a Friday").unwrap();
    assert_eq!(lab.drive(run).await, RunState::Undone);
    assert_eq!(lab.states(run), [StepState::Undone, StepState::Failed]);
    assert_eq!(lab.error(run, "go"), "refused by ann: not on a Friday");
    assert_eq!(lab.step(run, "go").attempt, 0);
    assert!(lab.lines("log").is_empty());
    let late = lab.approve(run, "go", "bob").unwrap_err();
    let told = "run 1 is undone, so nothing of it is to be approved";
    assert_eq!(late.to_string(), told);
}

#[tokio::test]
async fn nobody_in_time_is_a_failure_with_that_reason() {
    let lab = Lab::new();
    let run = lab.with_approval();
    assert_eq!(lab.drive(run).await, RunState::Waiting);
    assert_eq!(
        lab.open_in(HOUR_SECS + 1).await,
        [run],
        "the sweep finds it"
    );
    execute::drive(&lab.later(HOUR_SECS + 1), run)
        .await
        .unwrap();
    assert_eq!(lab.run(run).state, RunState::Failed);
    assert_eq!(lab.error(run, "two"), "nobody approved it within 1 h");
    use StepState::{Failed, Skipped, Succeeded};
    assert_eq!(lab.states(run), [Succeeded, Failed, Skipped]);
    // A person who wants it after all has it asked for anew.
    let step = lab.step(run, "two").id;
    let retry = Decision::new("ann", Via::Cli, "I was asleep", (lab.ctx.clock)());
    lab.write(|conn| control::retry_step(conn, run, step, &retry));
    assert_eq!(lab.drive(run).await, RunState::Waiting);
    lab.approve(run, "two", "ann").unwrap();
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "two", "three"]);
}

#[tokio::test]
async fn after_its_time_an_approval_does_not_count() {
    let lab = Lab::new();
    let run = lab.with_approval();
    lab.drive(run).await;
    let step = lab.step(run, "two").id;
    let late_ms = (lab.ctx.clock)() + (HOUR_SECS + 1) * 1000;
    let decision = Decision::new("ann", Via::Page, "", late_ms);
    let fault = lab
        .db
        .write_blocking(|conn| approval::approve(conn, run, step, &decision))
        .unwrap_err();
    assert_eq!(
        fault.to_string(),
        "step \"two\" is not approved any more: the time for it is over"
    );
    let other = lab.approve(run, "three", "ann").unwrap_err();
    assert_eq!(other.to_string(), "step \"three\" needs no approval");
}

/// Two people at the same moment, each in a transaction of their own.
fn approve_twice(lab: &Lab, run: RunId) {
    let results: Vec<_> = std::thread::scope(|scope| {
        let people = ["ann", "bob"].map(|name| scope.spawn(move || lab.approve(run, "two", name)));
        people.map(|person| person.join().unwrap()).into()
    });
    let (good, bad): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (1, 1));
    let by = lab.step(run, "two").approved_by.unwrap();
    let fault = bad.into_iter().next().unwrap().unwrap_err();
    assert!(
        matches!(&fault, Error::Conflict(text) if *text == format!("step \"two\" was approved by {by} already")),
        "{fault}"
    );
}

#[tokio::test]
async fn of_two_approvals_at_once_one_counts() {
    let lab = Lab::new();
    let run = lab.with_approval();
    lab.drive(run).await;
    approve_twice(&lab, run);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "two", "three"]);
}

#[tokio::test]
async fn of_two_approvals_at_once_on_postgres_one_counts_and_one_worker_goes_on() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::on(folder, &server.url(), Mailer::new(None, None).unwrap());
    let run = lab.with_approval();
    assert_eq!(lab.drive(run).await, RunState::Waiting);
    approve_twice(&lab, run);
    let other = lab.other_worker();
    let (one, two) = tokio::join!(execute::drive(&lab.ctx, run), execute::drive(&other, run));
    one.unwrap();
    two.unwrap();
    assert_eq!(lab.run(run).state, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "two", "three"]);
}

#[tokio::test]
async fn another_branch_goes_on_and_sees_the_approval_while_it_does() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let steps = [
        Planned::script("careful", format!("touch {folder}/approved")).approved_within(HOUR_SECS),
        // It ends only when the other step was approved and ran.
        Planned::script(
            "busy",
            format!("until [ -e {folder}/approved ]; do sleep 0.01; done"),
        )
        .after(&[])
        .within(20),
    ];
    let run = lab.plan(OnFailure::Stop, &steps);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let db = lab.db.clone();
    tokio::task::spawn_blocking(move || {
        wait::until("both steps", SOON, || {
            let conn = &mut *db.connection().unwrap();
            let steps = headroom::models::step_run::StepRun::of_run(conn, run).unwrap();
            let asked = steps[0].waits_until_ms().is_some();
            (asked && steps[1].state == StepState::Started).then_some(())
        })
    })
    .await
    .unwrap();
    assert_eq!(lab.run(run).state, RunState::Running);
    lab.approve(run, "careful", "ann").unwrap();
    driven.await.unwrap().unwrap();
    assert_eq!(lab.run(run).state, RunState::Succeeded);
}

/// What was decided in time counts, also when the time is over before the worker that drives another branch sees it.
#[tokio::test]
async fn a_decision_at_the_last_moment_is_not_overtaken_by_the_end_of_the_time_for_it() {
    for approved in [true, false] {
        let mut lab = Lab::new();
        let ahead_ms = Arc::new(AtomicI64::new(0));
        let (clock, ahead) = (Arc::clone(&lab.ctx.clock), Arc::clone(&ahead_ms));
        lab.ctx.clock = Arc::new(move || clock() + ahead.load(Ordering::SeqCst));
        // The journal is not read again while the other branch runs.
        lab.ctx.beat = Duration::from_secs(60);
        let folder = lab.folder.path().display().to_string();
        let busy = format!("touch {folder}/begun; until [ -e {folder}/go ]; do sleep 0.01; done");
        let steps = [
            Planned::script("careful", format!("touch {folder}/approved"))
                .approved_within(HOUR_SECS),
            Planned::script("busy", busy).after(&[]).within(20),
        ];
        let run = lab.plan(OnFailure::Stop, &steps);
        let ctx = lab.ctx.clone();
        let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
        let begun = lab.path("begun");
        let met = move || wait::until("the other branch", SOON, || begun.exists().then_some(()));
        tokio::task::spawn_blocking(met).await.unwrap();
        // The first beat comes at once, and must be over.
        tokio::time::sleep(Duration::from_millis(300)).await;
        if approved {
            lab.approve(run, "careful", "ann").unwrap();
        } else {
            lab.refuse(run, "careful", "not today").unwrap();
        }
        ahead_ms.store((HOUR_SECS + 1) * 1000, Ordering::SeqCst);
        std::fs::write(lab.path("go"), "").unwrap();
        driven.await.unwrap().unwrap();
        let step = lab.step(run, "careful");
        let error = step.error.as_deref();
        if approved {
            assert_eq!((step.state, error), (StepState::Succeeded, None));
            assert_eq!(lab.run(run).state, RunState::Succeeded);
        } else {
            let refused = Some("refused by ann: not today");
            assert_eq!((step.state, error), (StepState::Failed, refused));
            assert_eq!(lab.run(run).state, RunState::Failed);
        }
    }
}

#[tokio::test]
async fn a_waiting_run_is_cancelled_at_once() {
    let lab = Lab::new();
    let run = lab.with_approval();
    lab.drive(run).await;
    let row = lab.write(|conn| control::cancel(conn, run, &Decision::new("ann", Via::Page, "", 9)));
    assert_eq!(row.state, RunState::Cancelled);
    assert_eq!(lab.states(run)[1], StepState::Skipped);
    let fault = lab.approve(run, "two", "bob").unwrap_err().to_string();
    assert_eq!(
        fault,
        "run 1 is cancelled, so nothing of it is to be approved"
    );
    assert_eq!(lab.open_in(HOUR_SECS * 2).await, []);
}

#[tokio::test]
async fn killed_at_every_boundary_before_and_after_the_approval_it_is_asked_once_and_done_once() {
    let mut met = Vec::new();
    for at in 0.. {
        let lab = Lab::new();
        let run = lab.with_approval();
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            break;
        };
        execute::drive(&lab.later(60), run).await.unwrap();
        let log = lab.log(run);
        assert_eq!(lab.run(run).state, RunState::Waiting, "{boundary}: {log:?}");
        let asked = log.iter().filter(|line| line.contains("waits for"));
        assert_eq!(asked.count(), 1, "{boundary}: {log:?}");
        lab.approve(run, "two", "ann").unwrap();
        assert_eq!(lab.drive(run).await, RunState::Succeeded, "{boundary}");
        met.push(boundary);
    }
    assert!(met.iter().any(|at| at.starts_with("Asked")), "{met:?}");
    for at in 0.. {
        let lab = Lab::new();
        let run = lab.with_approval();
        lab.drive(run).await;
        lab.approve(run, "two", "ann").unwrap();
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            break;
        };
        assert_eq!(lab.recover(run).await, RunState::Succeeded, "{boundary}");
        let twos = lab
            .lines("log")
            .iter()
            .filter(|line| *line == "two")
            .count();
        assert_eq!(
            twos,
            1 + usize::from(boundary.starts_with("Effected") && lab.step(run, "two").attempt == 2),
            "{boundary}"
        );
        met.push(boundary);
    }
    assert!(met.len() >= 14, "{met:?}");
}
