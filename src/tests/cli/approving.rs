//! `run approve` and `run refuse`, with a server that is killed while a run waits.

use std::time::Duration;

use serde_json::Value;

use super::shown;
use crate::support::process::Headroom;
use crate::support::wait;

const SOON: Duration = Duration::from_secs(30);

fn fleet(log: &str) -> String {
    format!(
        "
clusters: [{{ name: web, nodes: [{{ name: web01, address: localhost }}] }}]
actions:
  - {{ name: look, kind: LocalScript, script: echo look >> {log} }}
  - {{ name: act, kind: LocalScript, script: echo act >> {log} }}
triggers:
  - name: careful
    cluster: web
    steps: [{{ action: look, target: cluster }}, {{ action: act, target: cluster, approve: true, approve_within: 2h }}]
"
    )
}

/// Waits until a run is in a state; what is told of it then.
fn run_in(headroom: &Headroom, id: &str, state: &str) -> Value {
    wait::until("the run", SOON, || {
        let told: Value = serde_json::from_str(&headroom.say(&["runs", id, "--json"])).unwrap();
        (told["state"] == state).then_some(told)
    })
}

#[test]
fn a_run_waits_for_its_approval_over_a_kill_and_a_restart() {
    let mut headroom = Headroom::new(&[]);
    let log = headroom.file("acts");
    headroom.apply(&fleet(&log.display().to_string()));
    headroom.serve();
    let id = headroom
        .say(&["run", "trigger", "careful"])
        .trim()
        .to_owned();
    let waiting = run_in(&headroom, &id, "waiting");
    assert!(
        waiting["steps"][1]["waits_until"].is_string(),
        "{waiting:#}"
    );
    headroom.kill();
    headroom.serve();
    run_in(&headroom, &id, "waiting");
    let silent = headroom.call(&["run", "refuse", &id]);
    assert_eq!(silent.status.code(), Some(2), "{}", shown(&silent));
    let told = headroom.say(&["run", "approve", &id, "--reason", "looks right", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["step"], &told["decision"]),
        (&"act".into(), &"approved".into())
    );
    let done = run_in(&headroom, &id, "succeeded");
    assert!(done["steps"][1]["approved_by"].is_string(), "{done:#}");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "look\nact\n");
    let again = headroom.call(&["run", "approve", &id]);
    assert_eq!(again.status.code(), Some(1));
    let why = format!("no step of run {id} waits for approval");
    assert!(shown(&again).contains(&why), "{}", shown(&again));

    let id = headroom
        .say(&["run", "trigger", "careful"])
        .trim()
        .to_owned();
    run_in(&headroom, &id, "waiting");
    headroom.say(&[
        "run",
        "refuse",
        &id,
        "--step",
        "act",
        "--reason",
        "not today",
    ]);
    let failed = run_in(&headroom, &id, "failed");
    let error = failed["steps"][1]["error"].as_str().unwrap();
    assert!(
        error.starts_with("refused by ") && error.ends_with(": not today"),
        "{error}"
    );
    headroom.stop();
}

#[test]
fn a_stop_outlives_a_kill_keeps_runs_from_going_on_and_is_lifted() {
    let mut headroom = Headroom::new(&[]);
    let log = headroom.file("acts");
    headroom.apply(&fleet(&log.display().to_string()));
    headroom.serve();
    let id = headroom
        .say(&["run", "trigger", "careful"])
        .trim()
        .to_owned();
    run_in(&headroom, &id, "waiting");
    let told = headroom.say(&["stop", "--reason", "wrong machines"]);
    assert!(told.starts_with("all acting is stopped by "), "{told}");
    headroom.say(&["run", "approve", &id]);
    headroom.kill();
    headroom.serve();
    let told = headroom.say(&["stop", "--json"]);
    assert!(told.contains("wrong machines"), "{told}");
    let refused = headroom.call(&["run", "action", "act", "--target", "node:web01"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        shown(&refused).contains("Nothing was started"),
        "{}",
        shown(&refused)
    );
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        "look\n",
        "approved, and not begun"
    );
    headroom.say(&["stop", "--lift"]);
    run_in(&headroom, &id, "succeeded");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "look\nact\n");
    assert_eq!(headroom.say(&["stop"]).trim(), "nothing is stopped");
    headroom.stop();
}
