//! The process is killed at every boundary of the journal; whoever takes the run up loses nothing and does nothing twice.
//!
//! The test runs its own binary again ([`child`]), which drives a run and aborts where it is told; the parent then recovers.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headroom::clients::command;
use headroom::clients::mail::Mailer;
use headroom::db::Db;
use headroom::models::{OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::{Boundary, Context, Witness, execute, recover};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::sync::watch;

use super::lab::{Gear, KINDS, Lab, Planned, context, counts, id};
use crate::support::postgres::Postgres;
use crate::support::wait;

const URL: &str = "HEADROOM_TEST_CRASH_URL";
const RUN: &str = "HEADROOM_TEST_CRASH_RUN";
const AT: &str = "HEADROOM_TEST_CRASH_AT";
const FOLDER: &str = "HEADROOM_TEST_CRASH_FOLDER";
const GEAR: &str = "HEADROOM_TEST_CRASH_GEAR";
const GUARDED: &str = "HEADROOM_TEST_CRASH_GUARDED";
/// A boundary that is never met.
pub const NEVER: usize = usize::MAX;

/// Aborts the process at the n-th boundary.
struct Killer {
    at: usize,
    met: AtomicUsize,
}

impl Witness for Killer {
    fn at(&self, boundary: Boundary) {
        if self.met.fetch_add(1, Ordering::SeqCst) == self.at {
            eprintln!("killed at {boundary:?}");
            std::process::abort();
        }
    }
}

/// The killed process; does nothing in an ordinary test run.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let number = |name| std::env::var(name).unwrap().parse::<usize>().unwrap();
    let db = Db::connect_only(&url).unwrap();
    let (_stop, stopped) = watch::channel(false);
    let folder = std::env::var(FOLDER).unwrap();
    let mailer = Mailer::new(None, None).unwrap();
    let mut ctx = context(Path::new(&folder), &db, "doomed", mailer, stopped);
    let gear: Gear = serde_json::from_str(&std::env::var(GEAR).unwrap()).unwrap();
    ctx.tools = Arc::new(gear.tools(&db, Path::new(&folder)));
    ctx.witness = Arc::new(Killer {
        at: number(AT),
        met: AtomicUsize::new(0),
    });
    execute::drive(&ctx, RunId(i64::try_from(number(RUN)).unwrap()))
        .await
        .unwrap();
}

/// A process in the middle of a script; does nothing in an ordinary test run.
#[tokio::test]
async fn guarded_child() {
    let Ok(file) = std::env::var(GUARDED) else {
        return;
    };
    let script = format!("echo $$ >{file}.new; mv {file}.new {file}; sleep 60");
    let script = command::Command::new("/bin/sh", &["-c", &script]).guarded();
    script.run().await.unwrap();
}

#[test]
fn a_script_on_this_host_does_not_outlive_the_process_that_ran_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runs::crash::guarded_child"])
        .env(GUARDED, &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let limit = Duration::from_secs(20);
    let script = wait::until("the script to begin", limit, || {
        std::fs::read_to_string(&file).ok()
    });
    let process = format!("/proc/{}", script.trim());
    assert!(Path::new(&process).exists());
    // SIGKILL: it has no chance to stop anything itself.
    child.kill().unwrap();
    child.wait().unwrap();
    wait::until("the script to end too", limit, || {
        (!Path::new(&process).exists()).then_some(())
    });
}

/// The process that drives a run and dies at a boundary.
pub fn command(lab: &Lab, url: &str, run: RunId, at: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "runs::crash::child", "--nocapture"])
        .env(URL, url)
        .env(RUN, run.to_string())
        .env(AT, at.to_string())
        .env(FOLDER, lab.folder.path())
        .env(GEAR, json!(lab.gear).to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Drives a run in a process that dies at a boundary; says which, or nothing when the run ended before it.
pub fn die(lab: &Lab, url: &str, run: RunId, at: usize) -> Option<String> {
    let output = command(lab, url, run, at).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return None;
    }
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("killed at "));
    Some(
        line.unwrap_or_else(|| panic!("the child died otherwise: {text}"))
            .to_owned(),
    )
}

impl Lab {
    /// Where its database is.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path("headroom.db").display())
    }

    /// Another process, after the claim of a dead one has lapsed.
    pub fn late_worker(&self, name: &str) -> Context {
        let clock = Arc::clone(&self.ctx.clock);
        Context {
            worker: name.into(),
            clock: Arc::new(move || clock() + 60_000),
            ..self.ctx.clone()
        }
    }

    /// Drives on after the claim of the dead process has lapsed, as the sweep does.
    pub async fn recover(&self, run: RunId) -> RunState {
        let ctx = self.late_worker("worker-b");
        let open = recover::open_runs(&self.db, (ctx.clock)()).await.unwrap();
        assert_eq!(
            open,
            if self.run(run).state.is_over() {
                vec![]
            } else {
                vec![run]
            }
        );
        execute::drive(&ctx, run).await.unwrap();
        self.run(run).state
    }

    fn scripts(&self, repeatable: bool) -> RunId {
        let step = |name: &'static str| {
            let script = format!("echo {name} >> {}", self.path("log").display());
            Planned::new(
                name,
                "LocalScript",
                json!({"script": script, "repeatable": repeatable}),
            )
        };
        self.plan(OnFailure::Stop, &[step("one"), step("two")])
    }
}

/// The boundaries of a run of two steps that succeeds, each of which must have been met by a kill.
const BOUNDARIES: usize = 11;

#[tokio::test]
async fn killed_at_every_boundary_no_script_runs_twice_and_none_is_lost() {
    let mut met = Vec::new();
    for at in 0.. {
        let lab = Lab::new();
        let run = lab.scripts(false);
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            break;
        };
        let state = lab.recover(run).await;
        let lines = lab.lines("log");
        assert!(
            counts(&lines).values().all(|count| *count == 1),
            "{boundary}: {lines:?}"
        );
        let unknown = boundary.starts_with("Started") || boundary.starts_with("Effected");
        assert_eq!(
            state,
            if unknown {
                RunState::Stuck
            } else {
                RunState::Succeeded
            },
            "{boundary}"
        );
        if unknown {
            decide(&lab, run, &boundary).await;
        }
        assert_eq!(lab.lines("log"), ["one", "two"], "{boundary}");
        assert_eq!(lab.states(run), [StepState::Succeeded; 2], "{boundary}");
        met.push(boundary);
    }
    assert_eq!(met.len(), BOUNDARIES, "{met:?}");
}

/// A person looks on the target: what had no effect is retried, what had is marked done.
async fn decide(lab: &Lab, run: RunId, boundary: &str) {
    let steps = lab.steps(run);
    let step = steps
        .iter()
        .find(|step| step.state == StepState::Started)
        .unwrap();
    let error = step.error.clone().unwrap();
    assert!(
        error.contains("it is not known whether it had its effect"),
        "{error}"
    );
    assert!(error.contains("mark the step done or retry it"), "{error}");
    let happened = lab.lines("log").contains(&step.name);
    assert_eq!(happened, boundary.starts_with("Effected"), "{boundary}");
    let verb = if happened {
        control::mark_done
    } else {
        control::retry_step
    };
    lab.write(|conn| {
        verb(
            conn,
            run,
            id(step),
            &Decision::new("ann", Via::Cli, "looked", 1),
        )
    });
    assert_eq!(lab.drive(run).await, RunState::Succeeded, "{boundary}");
}

#[tokio::test]
async fn a_repeatable_script_is_repeated_without_asking() {
    for at in 0.. {
        let lab = Lab::new();
        let run = lab.scripts(true);
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            break;
        };
        assert_eq!(lab.recover(run).await, RunState::Succeeded, "{boundary}");
        let lines = lab.lines("log");
        let twice = counts(&lines).values().filter(|count| **count == 2).count();
        assert_eq!(
            twice,
            usize::from(boundary.starts_with("Effected")),
            "{boundary}: {lines:?}"
        );
        assert_eq!(counts(&lines).len(), 2, "{boundary}: {lines:?}");
    }
}

/// What can be looked up by its token is never made twice, and what is taken back is gone: nothing leaks at any boundary.
#[tokio::test]
async fn killed_at_every_boundary_nothing_leaks_and_nothing_is_made_twice() {
    let mut met = 0;
    for at in 0.. {
        let lab = Lab::new();
        let folder = lab.folder.path().display().to_string();
        let probe =
            |name, mode| Planned::new(name, "Probe", json!({"folder": folder, "mode": mode}));
        let run = lab.plan(
            OnFailure::Undo,
            &[
                probe("a", "look"),
                probe("b", "repeat"),
                Planned::script("bad", "exit 1").within(5),
            ],
        );
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            break;
        };
        met += 1;
        let mut state = lab.recover(run).await;
        if state == RunState::Stuck {
            // The script is asked about; it failed, so its being done or not makes no difference to what is undone.
            let bad = lab.step(run, "bad");
            assert_eq!(bad.state, StepState::Started, "{boundary}");
            lab.write(|conn| {
                control::retry_step(
                    conn,
                    run,
                    id(&bad),
                    &Decision {
                        kinds: KINDS,
                        ..Decision::new("ann", Via::Cli, "looked", 1)
                    },
                )
            });
            state = lab.drive(run).await;
        }
        assert_eq!(state, RunState::Undone, "{boundary}");
        assert_eq!(things(lab.folder.path()), 0, "{boundary}: leaked");
        assert!(
            counts(&lab.lines("made")).values().all(|count| *count == 1),
            "{boundary}: made twice"
        );
        assert_eq!(lab.lines("made").len(), 2, "{boundary}");
    }
    assert!(met >= 18, "only {met} boundaries");
}

fn things(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("thing-"))
        .count()
}

#[tokio::test]
async fn killed_in_the_middle_of_the_second_step_the_first_is_not_repeated() {
    let lab = Lab::new();
    let folder = lab.folder.path().display();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("one", format!("echo one >> {folder}/log")),
            Planned::script("two", format!("echo two >> {folder}/log; exec sleep 5")),
        ],
    );
    let mut child = command(&lab, &lab.url(), run, NEVER).spawn().unwrap();
    let path = lab.path("log");
    wait::until("the second step", Duration::from_secs(10), || {
        std::fs::read_to_string(&path)
            .ok()
            .filter(|text| text.contains("two"))
    });
    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    child.wait().unwrap();
    assert_eq!(lab.recover(run).await, RunState::Stuck);
    assert_eq!(lab.states(run), [StepState::Succeeded, StepState::Started]);
    assert_eq!(lab.lines("log"), ["one", "two"]);
    assert!(
        lab.log(run)
            .contains(&"stuck: a person must decide about a step".to_owned())
    );
}

#[tokio::test]
async fn an_effect_that_kills_its_process_is_not_repeated_for_ever() {
    let lab = Lab::new();
    let run = lab.scripts(true);
    // Boundary 2 follows the announcement of the first step, before its effect; a process that takes the run up claims it first.
    assert!(
        die(&lab, &lab.url(), run, 2)
            .unwrap()
            .starts_with("Started")
    );
    lab.write(|conn| {
        use diesel::prelude::*;
        use headroom::schema::step_runs;
        diesel::update(step_runs::table)
            .filter(step_runs::position.eq(1))
            .set(step_runs::attempt.eq(5))
            .execute(conn)?;
        Ok(())
    });
    assert_eq!(lab.recover(run).await, RunState::Stuck);
    assert!(
        lab.error(run, "one")
            .starts_with("it was begun 5 times and Headroom stopped each time")
    );
    assert!(lab.lines("log").is_empty());
}

#[tokio::test]
async fn what_a_person_has_tried_again_is_not_taken_for_a_crash() {
    let lab = Lab::new();
    let run = lab.scripts(true);
    // As if it had failed and been tried again until its fourth attempt failed.
    lab.write(|conn| {
        use diesel::prelude::*;
        use headroom::schema::{runs, step_runs};
        diesel::update(step_runs::table)
            .filter(step_runs::position.eq(1))
            .set((
                step_runs::attempt.eq(4),
                step_runs::state.eq(StepState::Failed),
                step_runs::error.eq("no route to host"),
            ))
            .execute(conn)?;
        diesel::update(runs::table)
            .set(runs::state.eq(RunState::Failed))
            .execute(conn)?;
        Ok(())
    });
    let ann = Decision::new("ann", Via::Cli, "the route is back", 1);
    let one = id(&lab.step(run, "one"));
    lab.write(|conn| control::retry_step(conn, run, one, &ann));
    let tried = lab.step(run, "one").tried().unwrap();
    let told: Vec<_> = tried
        .iter()
        .map(|it| (it.attempt, it.error.as_str()))
        .collect();
    assert_eq!(told, [(4, "no route to host")], "it stays in the journal");
    let boundary = die(&lab, &lab.url(), run, 2).unwrap();
    assert!(boundary.starts_with("Started"), "{boundary}");
    assert_eq!(
        lab.recover(run).await,
        RunState::Succeeded,
        "{}",
        lab.error(run, "one")
    );
    assert_eq!(lab.lines("log"), ["one", "two"]);
}

#[tokio::test]
async fn on_postgres_two_workers_and_a_dead_one_do_everything_once() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::on(folder, &server.url(), Mailer::new(None, None).unwrap());
    let run = lab.scripts(false);
    // Boundary 5 follows the first step's outcome: the second is still to come.
    let boundary = die(&lab, &server.url(), run, 5).unwrap();
    let (b, c) = (lab.late_worker("b"), lab.late_worker("c"));
    let (one, two) = tokio::join!(execute::drive(&b, run), execute::drive(&c, run));
    one.unwrap();
    two.unwrap();
    assert_eq!(lab.run(run).state, RunState::Succeeded, "{boundary}");
    assert_eq!(lab.lines("log"), ["one", "two"]);
}
