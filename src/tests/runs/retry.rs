//! Faults that may pass: tried again within the time limit, never where the effect may have happened, and safe from a crash between two attempts.
//! Of taking steps back likewise: [`super::undo`].

use std::time::{Duration, Instant};

use headroom::models::{OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::{Pauses, execute};
use serde_json::{Value, json};

use super::crash::die;
use super::lab::{KINDS, Lab, Planned, counts, id};
use crate::support::wait;

const SOON: Duration = Duration::from_secs(10);

/// A run of one step that fails so many times before it does anything.
fn flaky(lab: &Lab, mut settings: Value, timeout_secs: i64) -> RunId {
    settings["folder"] = lab.folder.path().display().to_string().into();
    let step = Planned::new("add", "Probe", settings).within(timeout_secs);
    lab.plan(OnFailure::Undo, &[step])
}

#[tokio::test]
async fn a_fault_that_passes_is_tried_again_and_every_attempt_is_told_with_its_reason() {
    let lab = Lab::new();
    let run = flaky(&lab, json!({"mode": "repeat", "flaky": 2}), 60);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    let step = lab.step(run, "add");
    assert_eq!((step.attempt, step.error.clone()), (3, None));
    assert_eq!(step.retry_at_ms, None);
    let tried = step.tried().unwrap();
    let told: Vec<_> = tried
        .iter()
        .map(|it| (it.attempt, it.error.as_str()))
        .collect();
    let reason = "the maker is busy";
    assert_eq!(told, [(1, reason), (2, reason)]);
    let log = lab.log(run);
    assert!(
        log[2].starts_with("add: attempt 1 failed and is followed by another in 0.0 s: the maker"),
        "{log:?}"
    );
    assert_eq!(log[3], "add: attempt 2 begins");
    assert_eq!(log.last().unwrap(), "the run has succeeded");
    let asked = lab.lines("asked");
    assert_eq!(asked.len(), 3);
    assert_eq!(counts(&asked).len(), 1, "the same token: {asked:?}");
    assert_eq!(lab.lines("made").len(), 1);
}

#[tokio::test]
async fn a_failure_after_the_effect_is_looked_up_and_not_repeated() {
    let lab = Lab::new();
    let run = flaky(&lab, json!({"mode": "look", "flaky": 1, "after": true}), 60);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.step(run, "add").attempt, 2);
    assert_eq!(lab.lines("asked").len(), 1, "found, not asked for again");
    assert_eq!(lab.lines("made").len(), 1);
}

#[tokio::test]
async fn what_cannot_be_looked_up_is_tried_again_only_where_nothing_can_have_happened() {
    let lab = Lab::new();
    let run = flaky(&lab, json!({"mode": "ask", "flaky": 1}), 60);
    assert_eq!(lab.drive(run).await, RunState::Failed);
    let step = lab.step(run, "add");
    assert_eq!(
        (step.attempt, step.error.as_deref()),
        (1, Some("the maker is busy"))
    );
    let lab = Lab::new();
    let settings = json!({"mode": "ask", "flaky": 1, "harmless": true});
    let run = flaky(&lab, settings, 60);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    let asked = lab.lines("asked");
    assert_eq!(
        counts(&asked).len(),
        2,
        "a token that was refused is spent: {asked:?}"
    );
}

#[tokio::test]
async fn attempts_end_with_the_time_limit_and_the_run_does_what_it_does_after_a_failure() {
    let mut lab = Lab::new();
    // So few attempts fit into the time limit that their number does not end them.
    lab.ctx.pauses = Pauses {
        first: Duration::from_millis(20),
        longest: Duration::from_millis(400),
    };
    let folder = lab.folder.path().display().to_string();
    let probe = |name, settings: Value| Planned::new(name, "Probe", settings);
    let run = lab.plan(
        OnFailure::Undo,
        &[
            probe("first", json!({"folder": folder, "mode": "look"})),
            probe(
                "add",
                json!({"folder": folder, "mode": "repeat", "flaky": 100}),
            )
            .within(4),
        ],
    );
    let begin = Instant::now();
    assert_eq!(lab.drive(run).await, RunState::Undone);
    assert!(begin.elapsed() < 2 * SOON);
    let step = lab.step(run, "add");
    assert!((3..20).contains(&step.attempt), "{}", step.attempt);
    assert_eq!(
        step.error.unwrap(),
        format!(
            "the maker is busy; {} attempts were made within the time limit of 4 s",
            step.attempt
        )
    );
    assert_eq!(lab.step(run, "first").state, StepState::Undone);
}

#[tokio::test]
async fn a_run_that_is_cancelled_between_two_attempts_ends_at_once_with_the_last_reason() {
    let mut lab = Lab::new();
    lab.ctx.pauses = Pauses {
        first: Duration::from_secs(30),
        longest: Duration::from_secs(30),
    };
    let run = flaky(&lab, json!({"mode": "look", "flaky": 9}), 600);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    wait_for_pause(&lab, run).await;
    lab.write(|conn| control::cancel(conn, run, &Decision::new("ann", Via::Page, "", 9)));
    driven.await.unwrap().unwrap();
    assert_eq!(lab.run(run).state, RunState::Cancelled);
    assert_eq!(lab.states(run), [StepState::Failed]);
    assert_eq!(
        lab.error(run, "add"),
        "the maker is busy; it is not tried again, since the run is being ended"
    );
}

#[tokio::test]
async fn a_process_that_shuts_down_between_two_attempts_gives_the_run_back_at_once() {
    let mut lab = Lab::new();
    lab.ctx.pauses = Pauses {
        first: Duration::from_secs(30),
        longest: Duration::from_secs(30),
    };
    let run = flaky(&lab, json!({"mode": "look", "flaky": 1}), 600);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    wait_for_pause(&lab, run).await;
    lab.stop.send_replace(true);
    driven.await.unwrap().unwrap();
    assert_eq!(lab.run(run).claimed_by, None);
    lab.stop.send_replace(false);
    assert_eq!(lab.recover(run).await, RunState::Succeeded);
    assert_eq!(lab.step(run, "add").attempt, 2);
}

pub async fn wait_for_pause(lab: &Lab, run: RunId) {
    let db = lab.db.clone();
    let waits = move || {
        let conn = &mut *db.connection().unwrap();
        let steps = headroom::models::step_run::StepRun::of_run(conn, run).unwrap();
        steps[0].retry_at_ms
    };
    tokio::task::spawn_blocking(move || wait::until("the first attempt to fail", 6 * SOON, waits))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_action_says_how_often_it_is_tried_again_and_a_person_begins_it_anew() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let step = |flaky: i64| {
        let settings = json!({"folder": folder, "mode": "repeat", "flaky": flaky});
        Planned::new("add", "Probe", settings)
    };
    let never = lab.plan(OnFailure::Stop, &[step(1).retried(0)]);
    assert_eq!(lab.drive(never).await, RunState::Failed);
    let row = lab.step(never, "add");
    assert_eq!((row.attempt, row.attempts.as_str()), (1, "[]"));
    assert_eq!(row.error.unwrap(), "the maker is busy");

    std::fs::remove_file(lab.path("asked")).unwrap();
    let twice = lab.plan(OnFailure::Stop, &[step(5).retried(2)]);
    assert_eq!(lab.drive(twice).await, RunState::Failed);
    let three = "the maker is busy; 3 attempts were made within the time limit of 60 s";
    assert_eq!(lab.error(twice, "add"), three);
    assert_eq!(lab.step(twice, "add").attempt, 3);
    let ann = Decision {
        kinds: KINDS,
        ..Decision::new("ann", Via::Page, "it is less busy", 9)
    };
    let failed = id(&lab.step(twice, "add"));
    lab.write(|conn| control::retry_step(conn, twice, failed, &ann));
    assert_eq!(lab.drive(twice).await, RunState::Succeeded);
    assert_eq!(lab.step(twice, "add").attempt, 6);
}

#[tokio::test]
async fn an_attempt_that_was_due_after_the_time_limit_does_not_begin_and_the_last_reason_stands() {
    for mode in ["look", "repeat"] {
        let lab = Lab::new();
        let run = flaky(&lab, json!({"mode": mode, "flaky": 9}), 30);
        // It dies once the first attempt has failed, and is taken up a minute later.
        let boundary = die(&lab, &lab.url(), run, 4).unwrap();
        assert!(boundary.starts_with("PutOff"), "{boundary}");
        assert_eq!(lab.recover(run).await, RunState::Failed);
        let why = "its time limit of 30 s is over";
        assert_eq!(
            lab.error(run, "add"),
            format!("the maker is busy; it is not tried again, since {why}")
        );
        assert_eq!(lab.lines("asked").len(), 1, "nothing was begun");
        let line = format!("add: failed: it is not tried again, since {why}");
        assert!(lab.log(run).contains(&line), "{:?}", lab.log(run));
        assert_eq!(lab.step(run, "add").retry_at_ms, None);
    }
}

/// A crash between two attempts, before and after each write, repeats nothing and forgets nothing.
#[tokio::test]
async fn killed_at_every_boundary_of_a_step_that_is_tried_again_it_is_done_once() {
    for (mode, boundaries) in [("look", 10), ("ask", 10)] {
        let mut met = Vec::new();
        for at in 0.. {
            let lab = Lab::new();
            // A failed attempt of a kind that asks a person is followed by another only where it did nothing.
            let settings = json!({"mode": mode, "flaky": 1, "harmless": mode == "ask"});
            let run = flaky(&lab, settings, 600);
            let Some(boundary) = die(&lab, &lab.url(), run, at) else {
                break;
            };
            let state = lab.recover(run).await;
            let unknown = mode == "ask"
                && (boundary.starts_with("Started") || boundary.starts_with("Effected"));
            let expected = if unknown {
                RunState::Stuck
            } else {
                RunState::Succeeded
            };
            assert_eq!(state, expected, "{mode} {boundary}: {:?}", lab.log(run));
            let made = lab.lines("made").len();
            assert!(made <= 1, "{mode} {boundary}: made {made} times");
            assert!(unknown || made == 1, "{mode} {boundary}: never made");
            met.push(boundary);
        }
        assert!(met.iter().any(|at| at.starts_with("PutOff")), "{met:?}");
        assert!(met.len() >= boundaries, "{mode}: {met:?}");
    }
}
