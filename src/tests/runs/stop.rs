//! All acting is stopped: what is under way finishes, nothing begins, and everything goes on when the stop is lifted.

use std::sync::Arc;
use std::time::Duration;

use headroom::db::Db;
use headroom::models::hold::{self, Hold, NEVER_MS, Request};
use headroom::models::{HoldScope, OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::{Boundary, Pauses, Witness, execute, recover};
use serde_json::json;

use super::lab::{Lab, Planned};
use crate::support::wait;

const SOON: Duration = Duration::from_secs(10);

fn stop(db: &Db, expires_ms: i64) -> Hold {
    let request = Request {
        scope: HoldScope::Stop,
        scope_name: None,
        reason: "wrong machines are going".into(),
        author: "ann".into(),
        expires_ms,
    };
    db.write_blocking(|conn| hold::begin(conn, &request, Via::Cli, 1))
        .unwrap()
}

impl Lab {
    fn lift(&self, stop: &Hold) {
        self.write(|conn| hold::lift(conn, stop.id, "ann", Via::Cli, 2));
    }

    async fn open_runs(&self) -> Vec<RunId> {
        recover::open_runs(&self.db, (self.ctx.clock)())
            .await
            .unwrap()
    }

    /// Waits in another thread for a file.
    async fn met(&self, name: &str) {
        let path = self.path(name);
        tokio::task::spawn_blocking(move || {
            wait::until("the script", SOON, || path.exists().then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn what_runs_finishes_nothing_begins_and_the_run_goes_on_when_the_stop_is_lifted() {
    let lab = Lab::new();
    let folder = lab.folder.path().display();
    let first = format!("touch {folder}/begun; until [ -e {folder}/go ]; do sleep 0.01; done");
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("first", first),
            Planned::script("second", format!("touch {folder}/second")),
        ],
    );
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    lab.met("begun").await;
    let stop = stop(&lab.db, NEVER_MS);
    std::fs::write(lab.path("go"), "").unwrap();
    driven.await.unwrap().unwrap();
    assert_eq!(lab.states(run), [StepState::Succeeded, StepState::Planned]);
    assert!(!lab.path("second").exists());
    let row = lab.run(run);
    assert_eq!((row.state, row.claimed_by), (RunState::Running, None));
    assert_eq!(
        lab.log(run).pop().unwrap(),
        "all acting is stopped by ann: wrong machines are going: worker-a gives the run back"
    );
    assert_eq!(lab.open_runs().await, [], "nobody takes it up meanwhile");
    let lines = lab.log(run).len();
    assert_eq!(lab.drive(run).await, RunState::Running);
    assert_eq!(lab.log(run).len(), lines, "a wake-up does nothing");
    lab.lift(&stop);
    assert_eq!(lab.open_runs().await, [run]);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
}

#[tokio::test]
async fn a_queued_run_does_not_begin_and_can_be_cancelled() {
    let lab = Lab::new();
    let steps = [Planned::script("one", "true")];
    let (first, second) = (
        lab.plan(OnFailure::Stop, &steps),
        lab.plan(OnFailure::Stop, &steps),
    );
    stop(&lab.db, NEVER_MS);
    assert_eq!(lab.drive(first).await, RunState::Queued);
    let cancel = Decision::new("ann", Via::Page, "", 9);
    lab.write(|conn| control::cancel(conn, first, &cancel));
    assert_eq!(lab.run(first).state, RunState::Cancelled);
    // One that had begun is ended by a worker, without an effect.
    lab.write(|conn| {
        use diesel::prelude::*;
        use headroom::schema::runs;
        diesel::update(runs::table.find(second))
            .set(runs::state.eq(RunState::Running))
            .execute(conn)?;
        control::cancel(conn, second, &cancel)
    });
    assert_eq!(lab.open_runs().await, [second]);
    assert_eq!(lab.drive(second).await, RunState::Cancelled);
}

/// Stops all acting at the last moment before a step is announced.
struct AtTheLastMoment(Db);

impl Witness for AtTheLastMoment {
    fn at(&self, boundary: Boundary) {
        if matches!(boundary, Boundary::Planned(_)) {
            stop(&self.0, NEVER_MS);
        }
    }
}

#[tokio::test]
async fn a_stop_at_the_last_moment_keeps_the_step_from_beginning() {
    let mut lab = Lab::new();
    lab.ctx.witness = Arc::new(AtTheLastMoment(lab.db.clone()));
    let made = lab.path("made").display().to_string();
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("one", format!("touch {made}"))],
    );
    assert_eq!(lab.drive(run).await, RunState::Running);
    assert_eq!(lab.states(run), [StepState::Planned]);
    assert!(!lab.path("made").exists());
}

#[tokio::test]
async fn nothing_is_taken_back_or_tried_again_while_all_acting_is_stopped() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let fails =
        format!("touch {folder}/begun; until [ -e {folder}/go ]; do sleep 0.01; done; exit 1");
    let run = lab.plan(
        OnFailure::Undo,
        &[
            Planned::new("make", "Probe", json!({"folder": folder, "mode": "look"})),
            Planned::script("bad", fails),
        ],
    );
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    lab.met("begun").await;
    let stopped = stop(&lab.db, NEVER_MS);
    // The driver must have seen the stop, not only the journal.
    tokio::time::sleep(lab.ctx.beat * 3).await;
    std::fs::write(lab.path("go"), "").unwrap();
    driven.await.unwrap().unwrap();
    assert_eq!(lab.states(run), [StepState::Succeeded, StepState::Failed]);
    assert!(lab.lines("undone").is_empty());
    lab.lift(&stopped);
    assert_eq!(lab.drive(run).await, RunState::Undone);
    assert_eq!(lab.lines("undone").len(), 1);

    let mut lab = Lab::new();
    lab.ctx.pauses = Pauses {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(1),
    };
    let folder = lab.folder.path().display().to_string();
    let probe = json!({"folder": folder, "mode": "repeat", "flaky": 1});
    let run = lab.plan(OnFailure::Stop, &[Planned::new("make", "Probe", probe)]);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    lab.met("asked").await;
    let stopped = stop(&lab.db, NEVER_MS);
    driven.await.unwrap().unwrap();
    assert_eq!(lab.lines("asked").len(), 1, "{:?}", lab.log(run));
    lab.lift(&stopped);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.lines("asked").len(), 2);
}

#[tokio::test]
async fn a_stop_with_an_end_ends_by_itself() {
    let lab = Lab::new();
    let run = lab.plan(OnFailure::Stop, &[Planned::script("one", "true")]);
    let now_ms = (lab.ctx.clock)();
    stop(&lab.db, now_ms + 60_000);
    assert_eq!(lab.drive(run).await, RunState::Queued);
    let mut later = lab.other_worker();
    later.clock = Arc::new(move || now_ms + 60_001);
    execute::drive(&later, run).await.unwrap();
    assert_eq!(lab.run(run).state, RunState::Succeeded);
}
