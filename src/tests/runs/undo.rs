//! Taking steps back when that fails for a moment: tried again within the time limit, by whoever drives the run, until it is done or a person is asked.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use headroom::config::Tooling;
use headroom::models::{OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::{Pauses, execute};
use serde_json::json;

use super::crash::die;
use super::lab::{KINDS, Lab, Planned, counts, id};
use super::retry::wait_for_pause;
use crate::support::docker::{Docker, compose_v2};

/// A run that makes a thing and then fails; taking it back fails so many times before it succeeds.
fn flaky(lab: &Lab, times: i64, timeout_secs: i64) -> RunId {
    let folder = lab.folder.path().display().to_string();
    let make = json!({"folder": folder, "mode": "look", "undo_flaky": times});
    let fails = json!({"script": "exit 1", "repeatable": true});
    lab.plan(
        OnFailure::Undo,
        &[
            Planned::new("make", "Probe", make).within(timeout_secs),
            Planned::new("bad", "LocalScript", fails),
        ],
    )
}

fn things(lab: &Lab) -> usize {
    let entries = fs::read_dir(lab.folder.path()).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("thing-")).count()
}

fn ann(reason: &str) -> Decision<'_> {
    Decision {
        kinds: KINDS,
        ..Decision::new("ann", Via::Page, reason, 99)
    }
}

#[tokio::test]
async fn an_undo_that_fails_for_a_moment_is_tried_again_and_every_attempt_is_told() {
    let lab = Lab::new();
    let run = flaky(&lab, 3, 60);
    assert_eq!(lab.drive(run).await, RunState::Undone);
    assert_eq!(things(&lab), 0);
    assert_eq!(lab.lines("undone").len(), 4);
    let step = lab.step(run, "make");
    assert_eq!((step.attempt, step.undo_attempt), (1, 4));
    assert_eq!((step.error.as_deref(), step.retry_at_ms), (None, None));
    let tried = step.tried().unwrap();
    let told: Vec<_> = tried
        .iter()
        .map(|it| (it.undo, it.attempt, it.error.as_str()))
        .collect();
    let reason = "the maker is busy";
    assert_eq!(
        told,
        [(true, 1, reason), (true, 2, reason), (true, 3, reason)]
    );
    let log = lab.log(run);
    let of_undo: Vec<_> = log.iter().filter(|line| line.contains("undo ")).collect();
    assert_eq!(of_undo[0], "make: undo attempt 1 begins");
    assert!(
        of_undo[1].starts_with(
            "make: undo attempt 1 failed and is followed by another in 0.0 s: the maker is busy"
        ),
        "{log:?}"
    );
    assert_eq!(of_undo[2], "make: undo attempt 2 begins");
}

#[tokio::test]
async fn an_undo_that_goes_on_failing_is_left_to_a_person_who_may_have_it_tried_anew() {
    let lab = Lab::new();
    // Attempts end after the twentieth, long before the time limit.
    let run = flaky(&lab, 21, 60);
    assert_eq!(lab.drive(run).await, RunState::Stuck);
    let step = lab.step(run, "make");
    assert_eq!((step.state, step.undo_attempt), (StepState::UndoFailed, 20));
    assert_eq!(
        step.error.as_deref(),
        Some("the maker is busy; 20 attempts were made within the time limit of 60 s")
    );
    lab.write(|conn| control::undo_step(conn, run, id(&step), &ann("it is less busy")));
    assert_eq!(lab.drive(run).await, RunState::Undone);
    let step = lab.step(run, "make");
    assert_eq!(step.undo_attempt, 2, "counted anew");
    assert_eq!(things(&lab), 0);
}

#[tokio::test]
async fn attempts_at_an_undo_end_with_the_time_limit() {
    let mut lab = Lab::new();
    lab.ctx.pauses = Pauses {
        first: Duration::from_millis(20),
        longest: Duration::from_millis(400),
    };
    let run = flaky(&lab, 100, 4);
    assert_eq!(lab.drive(run).await, RunState::Stuck);
    let step = lab.step(run, "make");
    assert!((3..20).contains(&step.undo_attempt), "{step:?}");
    assert_eq!(
        step.error.unwrap(),
        format!(
            "the maker is busy; {} attempts were made within the time limit of 4 s",
            step.undo_attempt
        )
    );
}

#[tokio::test]
async fn whoever_takes_over_an_undo_that_waits_goes_on_with_it_whatever_time_has_passed() {
    let mut lab = Lab::new();
    lab.ctx.pauses = Pauses {
        first: Duration::from_secs(2),
        longest: Duration::from_secs(2),
    };
    let run = flaky(&lab, 1, 20);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    wait_for_pause(&lab, run).await;
    // A cancelled run takes back what it has begun to take back.
    lab.write(|conn| control::cancel(conn, run, &ann("")));
    lab.stop.send_replace(true);
    driven.await.unwrap().unwrap();
    assert_eq!(lab.states(run), [StepState::Undoing, StepState::Failed]);
    assert_eq!(lab.run(run).claimed_by, None);
    lab.stop.send_replace(false);
    // A minute later, which is longer than the time limit.
    assert_eq!(lab.recover(run).await, RunState::Undone);
    assert_eq!(lab.step(run, "make").undo_attempt, 2);
    let line = "make: was being taken back when an earlier worker stopped".to_owned();
    assert!(lab.log(run).contains(&line), "{:?}", lab.log(run));
}

/// A crash between two attempts at an undo, before and after each write, leaves nothing behind.
#[tokio::test]
async fn killed_at_every_boundary_of_an_undo_that_is_tried_again_nothing_is_left() {
    let mut met = Vec::new();
    for at in 0.. {
        let lab = Lab::new();
        let run = flaky(&lab, 2, 30);
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            break;
        };
        let state = lab.recover(run).await;
        assert_eq!(state, RunState::Undone, "{boundary}: {:?}", lab.log(run));
        assert_eq!(things(&lab), 0, "{boundary}: leaked");
        assert!(
            counts(&lab.lines("made")).values().all(|count| *count == 1),
            "{boundary}: made twice"
        );
        met.push(boundary);
    }
    for (name, times) in [
        ("Undoing", 3),
        ("Reverted", 3),
        ("PutOff", 2),
        ("Undone", 1),
    ] {
        let of_name = met.iter().filter(|at| at.starts_with(name));
        assert_eq!(of_name.count(), times, "{name}: {met:?}");
    }
}

#[tokio::test]
async fn an_undo_that_ends_its_process_each_time_is_not_begun_for_ever() {
    let lab = Lab::new();
    let run = flaky(&lab, 1, 30);
    let mut boundaries = (0..).map(|at| (at, flaky(&lab, 1, 30)));
    let at = boundaries.find_map(|(at, other)| {
        let boundary = die(&lab, &lab.url(), other, at).unwrap();
        boundary.starts_with("Undoing").then_some(at)
    });
    die(&lab, &lab.url(), run, at.unwrap()).unwrap();
    lab.write(|conn| {
        use diesel::prelude::*;
        use headroom::schema::step_runs;
        diesel::update(step_runs::table)
            .filter(step_runs::run_id.eq(run))
            .filter(step_runs::position.eq(1))
            .set(step_runs::undo_attempt.eq(20))
            .execute(conn)?;
        Ok(())
    });
    execute::drive(&lab.late_worker("worker-b"), run)
        .await
        .unwrap();
    assert_eq!(lab.run(run).state, RunState::Stuck);
    let error = lab.error(run, "make");
    assert!(
        error
            .starts_with("taking it back was begun 20 times, and Headroom stopped before it ended"),
        "{error}"
    );
}

/// The engine cannot be reached when the step is to be taken back, and can a moment later.
#[tokio::test]
async fn a_scaling_is_taken_back_once_the_engine_answers_again() {
    let docker = Docker::start();
    let file = docker.compose_file("");
    let lab = Lab::new();
    let tooling = Tooling {
        docker_compose: Some(compose_v2()),
        ..Tooling::new(&lab.path("data"))
    };
    let mut lab = lab.with_tooling(true, tooling);
    lab.ctx.pauses = Pauses {
        first: Duration::from_millis(500),
        longest: Duration::from_secs(2),
    };
    let (engine, link) = (docker.file("socket"), lab.path("engine"));
    symlink(&engine, &link).unwrap();
    let scale = json!({
        "driver": "compose", "project": "back", "file": [file], "service": "worker", "by": 2,
        "host": format!("unix://{}", link.display()),
    });
    let run = lab.plan(
        OnFailure::Undo,
        &[
            Planned::new("scale", "DockerScale", scale),
            Planned::script("away", format!("rm {}; exit 1", link.display())),
        ],
    );
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    wait_for_pause(&lab, run).await;
    assert_eq!(docker.running("worker"), 2);
    symlink(&engine, &link).unwrap();
    driven.await.unwrap().unwrap();
    let step = lab.step(run, "scale");
    assert_eq!(lab.run(run).state, RunState::Undone, "{step:#?}");
    assert_eq!(docker.running("worker"), 0);
    let tried = step.tried().unwrap();
    assert!(
        tried[0].undo
            && tried[0]
                .error
                .contains("Cannot connect to the Docker daemon"),
        "{tried:?}"
    );
}
