//! Order, outputs, failures, undo, time limits, cancellation and claims.

use std::time::{Duration, Instant};

use headroom::error::Error;
use headroom::models::run::Run;
use headroom::models::trigger::Trigger;
use headroom::models::{OnFailure, RunState, StepState, StepTarget, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::{execute, recover};
use serde_json::json;

use super::lab::{Lab, Planned};
use crate::support::wait;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn steps_run_in_their_order_and_hand_on_their_outputs() {
    let lab = Lab::new();
    let file = lab.path("log");
    let log = file.display();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("one", format!("echo one >> {log}; echo a \"b\"")),
            Planned::script("two", format!("echo two {{{{ steps.one.output }}}} {{{{ cluster.name }}}} {{{{ trigger.name }}}} {{{{ node.name }}}} {{{{ run.reason }}}} >> {log}")),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(
        lab.lines("log"),
        ["one", "two a b web hot-0 n1 load is high"]
    );
    let run_row = lab.run(run);
    assert!(run_row.finished_ms.is_some() && run_row.claimed_by.is_none());
    assert_eq!(lab.step(run, "one").target_name.as_deref(), Some("n1"));
    assert_eq!(
        lab.log(run),
        [
            "taken up by worker-a",
            "one: started on n1",
            "one: succeeded",
            "two: started on n1",
            "two: succeeded",
            "the run has succeeded"
        ]
    );
}

#[tokio::test]
async fn steps_that_do_not_wait_for_each_other_run_at_the_same_time() {
    let lab = Lab::new();
    // Each waits for the other to have begun: one after the other they would never end.
    let meet = |own: &str, other: &str| {
        let folder = lab.folder.path().display();
        format!("touch {folder}/{own}; until [ -e {folder}/{other} ]; do sleep 0.01; done")
    };
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("a", meet("a", "b")).within(20),
            Planned::script("b", meet("b", "a")).within(20).after(&[]),
            Planned::script("last", "true").after(&["a", "b"]),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
}

#[tokio::test]
async fn a_node_made_by_a_step_is_the_last_node_of_the_next() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::new("add", "Probe", json!({"folder": folder, "mode": "adds n2"})),
            Planned::script("greet", "echo {{ node.name }}"),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.output(run, "greet", "output"), "n2");
    assert_eq!(lab.step(run, "greet").target_name.as_deref(), Some("n2"));
}

#[tokio::test]
async fn a_name_without_a_value_fails_the_step_before_its_effect() {
    let lab = Lab::new();
    for (script, message) in [
        (
            "touch x {{ steps.one.exit }}",
            "the step \"one\" has no output \"exit\"",
        ),
        (
            "touch x {{ steps.on.status }}",
            "there is no step \"on\" in this run; did you mean \"one\"?",
        ),
    ] {
        let script = format!("cd {}; {script}", lab.folder.path().display());
        let run = lab.plan(
            OnFailure::Stop,
            &[
                Planned::script("one", "true"),
                Planned::script("two", script),
            ],
        );
        assert_eq!(lab.drive(run).await, RunState::Failed);
        let step = lab.step(run, "two");
        assert_eq!((step.state, step.attempt), (StepState::Failed, 0));
        assert!(lab.error(run, "two").contains(message), "{:?}", step.error);
        assert!(!lab.path("x").exists());
    }
}

#[tokio::test]
async fn an_output_of_a_step_that_has_not_succeeded_is_refused() {
    let lab = Lab::new();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("slow", "sleep 0.3"),
            Planned::script("early", "echo {{ steps.slow.status }}").after(&[]),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(
        lab.error(run, "early")
            .contains("has not succeeded yet, so it has no outputs; name it in depends_on")
    );
    assert_eq!(
        lab.step(run, "slow").state,
        StepState::Succeeded,
        "what runs finishes"
    );
}

#[tokio::test]
async fn after_a_failure_the_rest_is_skipped() {
    let lab = Lab::new();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("bad", "echo no >&2; exit 3"),
            Planned::script("never", "true"),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert_eq!(lab.states(run), [StepState::Failed, StepState::Skipped]);
    assert_eq!(
        lab.error(run, "bad"),
        "the script failed on 1 of 1 host: n1: exit status 3"
    );
    assert_eq!(lab.report(run, "bad").0[0].stderr, "no\n");
}

#[tokio::test]
async fn after_a_failure_finished_steps_are_taken_back_in_reverse() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let probe = |name, fails| {
        Planned::new(
            name,
            "Probe",
            json!({"folder": folder, "mode": "look", "fails": fails}),
        )
    };
    let run = lab.plan(
        OnFailure::Undo,
        &[
            probe("a", false),
            Planned::script("between", "true"),
            probe("b", false),
            probe("c", true),
            Planned::script("never", "true"),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Undone);
    use StepState::{Skipped, Succeeded, Undone};
    assert_eq!(
        lab.states(run),
        [Undone, Succeeded, Undone, Undone, Skipped],
        "a script cannot be undone, and c had made something"
    );
    assert_eq!(
        lab.error(run, "c"),
        "the thing broke",
        "why it failed is still to be read"
    );
    let (made, mut undone) = (lab.lines("made"), lab.lines("undone"));
    undone.reverse();
    assert_eq!(made, undone);
    assert!(
        lab.log(run)
            .contains(&"the run has failed, and its steps were taken back".to_owned())
    );
}

#[tokio::test]
async fn what_cannot_be_taken_back_leaves_the_run_stuck_with_the_reason() {
    let lab = Lab::new();
    let folder = lab.folder.path().display().to_string();
    let run = lab.plan(
        OnFailure::Undo,
        &[
            Planned::new("a", "Probe", json!({"folder": folder, "mode": "look"})),
            Planned::new(
                "b",
                "Probe",
                json!({"folder": folder, "mode": "look", "undo_fails": true}),
            ),
            Planned::script("bad", "exit 1"),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Stuck);
    assert_eq!(
        lab.states(run),
        [StepState::Undone, StepState::UndoFailed, StepState::Failed]
    );
    assert_eq!(lab.error(run, "b"), "the thing is protected");
    assert!(lab.run(run).finished_ms.is_none());
}

#[tokio::test]
async fn a_script_is_stopped_at_its_time_limit() {
    let lab = Lab::new();
    let pid = lab.path("pid").display().to_string();
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("slow", format!("echo $$ > {pid}; sleep 60")).within(1)],
    );
    let begin = Instant::now();
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(begin.elapsed() < SOON);
    assert!(
        lab.error(run, "slow")
            .contains("was stopped at its time limit"),
        "{}",
        lab.error(run, "slow")
    );
    assert!(
        !std::path::Path::new(&format!("/proc/{}", lab.lines("pid")[0])).exists(),
        "the script goes on"
    );
}

#[tokio::test]
async fn a_cancelled_run_stops_its_script_and_begins_nothing_more() {
    let lab = Lab::new();
    let begun = lab.path("begun").display().to_string();
    let run = lab.plan(
        OnFailure::Undo,
        &[
            Planned::script("long", format!("echo $$ > {begun}; sleep 60")),
            Planned::script("never", "true"),
        ],
    );
    let (ctx, begin) = (lab.ctx.clone(), Instant::now());
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    tokio::task::spawn_blocking({
        let path = lab.path("begun");
        move || {
            wait::until("the script to begin", SOON, || {
                std::fs::read_to_string(&path)
                    .ok()
                    .filter(|text| !text.is_empty())
            })
        }
    })
    .await
    .unwrap();
    lab.write(|conn| {
        control::cancel(
            conn,
            run,
            &Decision::new("ann", Via::Page, "wrong cluster", 9),
        )
    });
    driven.await.unwrap().unwrap();
    assert!(begin.elapsed() < SOON);
    assert_eq!(lab.run(run).state, RunState::Cancelled);
    assert_eq!(lab.states(run), [StepState::Failed, StepState::Skipped]);
    assert!(lab.error(run, "long").contains("cancelled"));
    let log = lab.log(run);
    assert!(
        log.contains(&"cancellation asked for by ann: wrong cluster".into()),
        "{log:?}"
    );
    assert!(
        log.contains(&"cancelled by ann: what is running is told to stop".into()),
        "{log:?}"
    );
    let pid = &lab.lines("begun")[0];
    tokio::task::spawn_blocking({
        let proc = format!("/proc/{pid}/stat");
        move || {
            wait::until("the script to end", SOON, || {
                let stat = std::fs::read_to_string(&proc).unwrap_or_default();
                (stat.is_empty() || stat.contains(") Z ")).then_some(())
            });
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn two_workers_and_two_messages_drive_a_run_once() {
    let lab = Lab::new();
    let log = lab.path("log").display().to_string();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("one", format!("echo one >> {log}; sleep 0.2")),
            Planned::script("two", format!("echo two >> {log}; sleep 0.2")),
        ],
    );
    let other = lab.other_worker();
    let drives = [&lab.ctx, &lab.ctx, &other, &other].map(|ctx| execute::drive(ctx, run));
    for result in futures::future::join_all(drives).await {
        result.unwrap();
    }
    assert_eq!(lab.run(run).state, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "two"]);
    execute::drive(&other, run).await.unwrap();
    assert_eq!(
        lab.lines("log"),
        ["one", "two"],
        "a message that comes after the end does nothing"
    );
}

#[tokio::test]
async fn a_run_outlives_its_trigger() {
    let lab = Lab::new();
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("one", "echo {{ trigger.name }}")],
    );
    lab.write(|conn| {
        let trigger = Trigger::by_name(conn, "hot-0")?;
        Trigger::delete(conn, trigger.id)
    });
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.output(run, "one", "output"), "hot-0");
    let row = lab.run(run);
    assert_eq!(
        (row.trigger_id, row.trigger_name.as_deref()),
        (None, Some("hot-0"))
    );
}

#[tokio::test]
async fn an_empty_cluster_is_a_clear_error() {
    let lab = Lab::new();
    lab.write(|conn| {
        let node = headroom::models::node::Node::by_name(conn, "n1")?;
        headroom::models::node::Node::delete(conn, node.id)
    });
    let run = lab.plan(OnFailure::Stop, &[Planned::script("one", "true")]);
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert_eq!(
        lab.error(run, "one"),
        "the cluster \"web\" has no node, so there is no last one"
    );
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("one", "true").on(StepTarget::Cluster)],
    );
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(
        lab.error(run, "one")
            .contains("the cluster \"web\" has no node in service")
    );
}

#[tokio::test]
async fn a_run_that_another_worker_holds_is_left_alone_until_its_claim_lapses() {
    let lab = Lab::new();
    let run = lab.plan(OnFailure::Stop, &[Planned::script("one", "true")]);
    let now_ms = (lab.ctx.clock)();
    assert!(lab.write(|conn| Run::claim(conn, run, "gone/1", now_ms, now_ms + 5_000)));
    let open = |at_ms| recover::open_runs(&lab.db, at_ms);
    assert!(open(now_ms + 4_999).await.unwrap().is_empty());
    assert_eq!(lab.drive(run).await, RunState::Running);
    assert_eq!(lab.step(run, "one").state, StepState::Planned);
    assert_eq!(open(now_ms + 5_000).await.unwrap(), [run]);
    // The clock was set back an hour: the claim must not hold the run for an hour.
    assert_eq!(open(now_ms - 3_600_000).await.unwrap(), [run]);
    let mut later = lab.other_worker();
    later.clock = std::sync::Arc::new(move || now_ms + 5_000);
    execute::drive(&later, run).await.unwrap();
    assert_eq!(lab.run(run).state, RunState::Succeeded);
}

#[tokio::test]
async fn a_worker_that_lost_its_claim_stops_and_reports_late() {
    let mut lab = Lab::new();
    lab.ctx.lease = Duration::from_millis(60);
    let begun = lab.path("begun");
    let script = format!("touch {}; sleep 60", begun.display());
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("long", script),
            Planned::script("never", "true"),
        ],
    );
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    tokio::task::spawn_blocking(move || {
        wait::until("the script to begin", SOON, || begun.exists().then_some(()))
    })
    .await
    .unwrap();
    // As if this process had been frozen and another had taken the run.
    lab.write(|conn| {
        use diesel::prelude::*;
        use headroom::schema::runs;
        diesel::update(runs::table)
            .set(runs::claimed_by.eq("thief/1"))
            .execute(conn)?;
        Ok(())
    });
    let fault = driven.await.unwrap().unwrap_err();
    assert!(
        matches!(&fault, Error::Conflict(text) if text.contains("was lost to another worker")),
        "{fault}"
    );
    assert_eq!(
        lab.states(run),
        [StepState::Started, StepState::Planned],
        "the journal belongs to the other"
    );
    let last = lab.log(run).pop().unwrap();
    assert!(
        last.starts_with("reported late by worker-a: long: failed: "),
        "{last}"
    );
}

#[tokio::test]
async fn a_process_that_shuts_down_finishes_its_step_and_gives_the_run_back() {
    let lab = Lab::new();
    let log = lab.path("log").display().to_string();
    let script = |word| format!("echo {word} >> {log}; sleep 0.5");
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("one", script("one")),
            Planned::script("two", script("two")),
        ],
    );
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let path = lab.path("log");
    tokio::task::spawn_blocking(move || {
        wait::until("the first step to begin", SOON, || {
            path.exists().then_some(())
        })
    })
    .await
    .unwrap();
    lab.stop.send_replace(true);
    driven.await.unwrap().unwrap();
    assert_eq!(lab.states(run), [StepState::Succeeded, StepState::Planned]);
    assert_eq!(
        recover::open_runs(&lab.db, (lab.ctx.clock)())
            .await
            .unwrap(),
        [run],
        "at once, not after the lease"
    );
    lab.stop.send_replace(false);
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "two"]);
}

#[tokio::test]
async fn an_outcome_waits_for_a_database_that_is_locked() {
    let lab = Lab::new();
    let begun = lab.path("begun");
    let script = format!("touch {}; sleep 0.3", begun.display());
    let run = lab.plan(OnFailure::Stop, &[Planned::script("one", script)]);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let db = lab.db.clone();
    let locked = tokio::task::spawn_blocking(move || {
        wait::until("the script to begin", SOON, || begun.exists().then_some(()));
        // Longer than a statement waits for the lock.
        db.write_blocking(|_| {
            std::thread::sleep(Duration::from_secs(7));
            Ok(())
        })
        .unwrap();
    });
    locked.await.unwrap();
    driven.await.unwrap().unwrap();
    assert_eq!(lab.run(run).state, RunState::Succeeded);
}

#[tokio::test]
async fn a_script_writes_nothing_that_a_value_says() {
    let lab = Lab::new();
    let evil = "$(touch owned)'; touch owned; \"`touch owned`";
    let folder = lab.folder.path().display();
    let run = lab.plan(
        OnFailure::Stop,
        &[
            Planned::script("find", format!("cat <<'END'\n{evil}\nEND")),
            Planned::script("use", format!("cd {folder}; printf '%s\\n' {{{{ steps.find.output }}}} \"{{{{ steps.find.output }}}}\"")),
        ],
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.output(run, "use", "output"), format!("{evil}\n{evil}"));
    assert!(!lab.path("owned").exists());
}
