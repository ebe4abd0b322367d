//! What a person may do to a run, and what is refused.

use std::sync::{Arc, Barrier};

use headroom::clients::mail::Mailer;
use headroom::db::Db;
use headroom::error::Error;
use headroom::models::audit::AuditEvent;
use headroom::models::run::Run;
use headroom::models::{OnFailure, RunId, RunState, StepRunId, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::{Boundary, Witness};
use serde_json::json;

use super::lab::{KINDS, Lab, Planned, id};
use crate::support::postgres::Postgres;

fn decision(reason: &str) -> Decision<'_> {
    Decision {
        kinds: KINDS,
        ..Decision::new("ann", Via::Page, reason, 99)
    }
}

type Verb = fn(
    &mut headroom::db::Connection,
    RunId,
    StepRunId,
    &Decision<'_>,
) -> headroom::error::Result<Run>;

impl Lab {
    fn decide(&self, verb: Verb, run: RunId, step: &str, reason: &str) -> Result<Run, Error> {
        let step = id(&self.step(run, step));
        self.db
            .write_blocking(|conn| verb(conn, run, step, &decision(reason)))
    }

    fn refused(&self, verb: Verb, run: RunId, step: &str, reason: &str) -> String {
        self.decide(verb, run, step, reason)
            .unwrap_err()
            .to_string()
    }

    /// A run whose first step fails while `blocked` exists.
    fn blocked(&self) -> RunId {
        std::fs::write(self.path("blocked"), "").unwrap();
        let folder = self.folder.path().display();
        self.plan(
            OnFailure::Stop,
            &[
                Planned::script(
                    "one",
                    format!("cd {folder}; echo one >> log; ! [ -e blocked ]"),
                ),
                Planned::script("two", format!("cd {folder}; echo two >> log")),
            ],
        )
    }
}

#[tokio::test]
async fn a_failed_step_is_retried_and_the_skipped_ones_follow() {
    let lab = Lab::new();
    let run = lab.blocked();
    assert_eq!(lab.drive(run).await, RunState::Failed);
    let token = lab.step(run, "one").token;
    std::fs::remove_file(lab.path("blocked")).unwrap();
    let after = lab
        .decide(control::retry_step, run, "one", "disk freed")
        .unwrap();
    assert_eq!(after.state, RunState::Queued);
    assert_eq!(lab.states(run), [StepState::Planned, StepState::Planned]);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "one", "two"]);
    let step = lab.step(run, "one");
    assert_eq!((step.attempt, step.error), (2, None));
    assert_ne!(
        step.token, token,
        "a new attempt must not be taken for the old one"
    );
    assert!(
        lab.log(run)
            .contains(&"one: retry, decided by ann: disk freed".to_owned())
    );
}

#[tokio::test]
async fn a_step_marked_done_is_not_run_again() {
    let lab = Lab::new();
    let run = lab.blocked();
    assert_eq!(lab.drive(run).await, RunState::Failed);
    lab.decide(control::mark_done, run, "one", "did it by hand")
        .unwrap();
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "two"]);
    assert_eq!(lab.step(run, "one").error, None);
    let events = lab.write(|conn| AuditEvent::page(conn, None, None, 10));
    let event = &events[0];
    assert_eq!(
        (event.actor.as_str(), event.verb.as_str(), event.via),
        ("ann", "mark done", Via::Page)
    );
    assert_eq!(event.object, format!("run {run} step one"));
    assert_eq!(
        event.after.as_deref(),
        Some(r#"{"reason":"did it by hand","state":"succeeded"}"#)
    );
}

#[tokio::test]
async fn two_failed_steps_want_two_decisions() {
    let lab = Lab::new();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("a", "sleep 0.2; exit 1"),
            Planned::script("b", "sleep 0.2; exit 1").after(&[]),
            Planned::script("c", "true").after(&["a", "b"]),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert_eq!(
        lab.decide(control::mark_done, run, "a", "fine")
            .unwrap()
            .state,
        RunState::Failed
    );
    assert!(
        lab.log(run)
            .contains(&"waits for a decision about b as well".to_owned())
    );
    assert_eq!(
        lab.decide(control::mark_done, run, "b", "fine")
            .unwrap()
            .state,
        RunState::Queued
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.states(run), [StepState::Succeeded; 3]);
}

#[tokio::test]
async fn a_person_has_a_step_taken_back() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::new("make", "Probe", json!({"folder": folder, "mode": "look"})),
            Planned::script("use", "true"),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(
        lab.refused(control::undo_step, run, "use", "x"),
        "an action of kind LocalScript cannot be undone; what it did must be put right by hand"
    );
    lab.decide(control::undo_step, run, "make", "not needed")
        .unwrap();
    assert_eq!(lab.drive(run).await, RunState::Undone);
    assert_eq!(lab.lines("made"), lab.lines("undone"));
    assert_eq!(
        lab.refused(control::undo_step, run, "make", "x"),
        "step \"make\" is undone, not started or succeeded or failed or undo_failed"
    );
}

#[tokio::test]
async fn an_undo_that_failed_is_done_by_hand_and_closed() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let run = lab.plan(
        OnFailure::Undo,
        &[
            Planned::new(
                "make",
                "Probe",
                json!({"folder": folder, "mode": "look", "undo_fails": true}),
            ),
            Planned::script("bad", "exit 1"),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Stuck);
    assert_eq!(
        lab.refused(control::retry_step, run, "bad", "x"),
        format!("steps of run {run} were taken back already, so it cannot go on; run it anew")
    );
    lab.decide(control::undo_step, run, "make", "protection lifted")
        .unwrap();
    assert_eq!(lab.drive(run).await, RunState::Stuck, "it fails again");
    lab.decide(control::mark_done, run, "make", "removed in the console")
        .unwrap();
    assert_eq!(lab.drive(run).await, RunState::Undone);
}

#[tokio::test]
async fn a_queued_run_is_cancelled_at_once_and_an_ended_one_not_at_all() {
    let lab = Lab::new();
    let run = lab.blocked();
    let cancel = || {
        lab.db
            .write_blocking(|conn| control::cancel(conn, run, &decision("")))
    };
    let after = cancel().unwrap();
    assert_eq!(
        (after.state, after.cancel_requested_by.as_deref()),
        (RunState::Cancelled, Some("ann"))
    );
    assert!(after.finished_ms.is_some());
    assert_eq!(lab.states(run), [StepState::Skipped, StepState::Skipped]);
    assert_eq!(
        cancel().unwrap_err().to_string(),
        format!("run {run} cannot be cancelled: it is cancelled already")
    );
    assert_eq!(
        lab.drive(run).await,
        RunState::Cancelled,
        "a late message begins nothing"
    );
    assert!(lab.lines("log").is_empty());
    assert_eq!(
        lab.refused(control::retry_step, run, "one", "x"),
        format!("run {run} is cancelled; a step is decided about when the run is stuck or failed")
    );
}

/// Cancels the run at the last moment before a step is announced.
struct AtTheLastMoment(Db, RunId);

impl Witness for AtTheLastMoment {
    fn at(&self, boundary: Boundary) {
        if matches!(boundary, Boundary::Planned(_)) {
            let cancel = |conn: &mut _| control::cancel(conn, self.1, &decision(""));
            self.0.write_blocking(cancel).unwrap();
        }
    }
}

#[tokio::test]
async fn a_cancellation_at_the_last_moment_keeps_the_step_from_beginning() {
    let mut lab = Lab::new();
    let made = lab.path("made").display().to_string();
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("one", format!("touch {made}"))],
    );
    lab.ctx.witness = Arc::new(AtTheLastMoment(lab.db.clone(), run));
    assert_eq!(lab.drive(run).await, RunState::Cancelled);
    assert_eq!(lab.states(run), [StepState::Skipped]);
    assert!(!lab.path("made").exists());
}

#[tokio::test]
async fn a_decision_needs_a_reason_and_a_step_of_the_run() {
    let lab = Lab::new();
    let (run, other) = (lab.blocked(), lab.blocked());
    assert_eq!(lab.drive(run).await, RunState::Failed);
    for verb in [
        control::retry_step as Verb,
        control::mark_done,
        control::undo_step,
    ] {
        assert_eq!(
            lab.refused(verb, run, "one", "  "),
            "reason: is required: say what you saw"
        );
        let foreign = id(&lab.step(other, "one"));
        let fault = lab
            .db
            .write_blocking(|conn| verb(conn, run, foreign, &decision("x")))
            .unwrap_err();
        assert!(matches!(fault, Error::NotFound(_)), "{fault}");
    }
}

#[tokio::test]
async fn a_failed_run_does_not_go_on_beside_another_that_changes_the_same_cluster() {
    let lab = Lab::new();
    let (failed, other) = (lab.blocked(), lab.blocked());
    assert_eq!(lab.drive(failed).await, RunState::Failed);
    changes_capacity(&lab);
    let message = lab.refused(control::retry_step, failed, "one", "x");
    assert_eq!(
        message,
        format!("run {other} changes the capacity of the same cluster; wait for its end")
    );
}

#[tokio::test]
async fn an_undo_that_was_cancelled_can_be_asked_for_again() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let settings = json!({"folder": folder, "mode": "look"});
    let run = lab.plan(OnFailure::Stop, &[Planned::new("make", "Probe", settings)]);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    lab.decide(control::undo_step, run, "make", "not needed")
        .unwrap();
    lab.write(|conn| control::cancel(conn, run, &decision("")));
    assert_eq!(lab.run(run).state, RunState::Cancelled);
    assert_eq!(lab.states(run), [StepState::UndoFailed]);
    assert_eq!(
        lab.error(run, "make"),
        "its undo was not finished; the run was cancelled by ann"
    );
    lab.decide(control::undo_step, run, "make", "after all")
        .unwrap();
    assert_eq!(lab.drive(run).await, RunState::Undone);
    assert_eq!(lab.lines("made"), lab.lines("undone"));
}

/// On a database whose transactions run side by side, of two decisions that each let a run change a cluster one is refused.
#[tokio::test]
async fn on_postgres_of_two_runs_of_a_cluster_that_are_retried_at_once_one_goes_on() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::on(folder, &server.url(), Mailer::new(None, None).unwrap());
    for _ in 0..5 {
        let runs = [lab.blocked(), lab.blocked()];
        for run in runs {
            assert_eq!(lab.drive(run).await, RunState::Failed);
        }
        changes_capacity(&lab);
        let barrier = Barrier::new(2);
        let retry = |run: RunId| {
            let step = id(&lab.step(run, "one"));
            barrier.wait();
            let retry = |conn: &mut _| control::retry_step(conn, run, step, &decision("x"));
            lab.db
                .write_blocking(retry)
                .map_err(|fault| fault.to_string())
        };
        let answers = std::thread::scope(|scope| {
            let threads = runs.map(|run| scope.spawn(move || retry(run)));
            threads.map(|thread| thread.join().unwrap())
        });
        let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        assert_eq!((good.len(), bad.len()), (1, 1), "{good:?} {bad:?}");
        let queued = good[0].as_ref().unwrap().id;
        assert_eq!(
            bad[0].as_ref().unwrap_err(),
            &format!("run {queued} changes the capacity of the same cluster; wait for its end")
        );
        lab.write(|conn| control::cancel(conn, queued, &decision("")));
    }
}

fn changes_capacity(lab: &Lab) {
    lab.write(|conn| {
        use diesel::prelude::*;
        use headroom::schema::runs;
        diesel::update(runs::table)
            .set(runs::changes_capacity.eq(true))
            .execute(conn)?;
        Ok(())
    });
}
