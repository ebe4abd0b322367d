//! `kill -9` in the middle of a run, and what the next start makes of it.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::lab::Lab;
use crate::support::wait;

const BEGINS_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_run_killed_in_its_second_step_is_stuck_until_a_person_says_what_happened() {
    let mut lab = killed_in_the_second_step(false);
    let run = lab.headroom.get("/runs")["items"][0]["id"].clone();
    let stuck = lab.run_in(&run, &["stuck", "succeeded", "failed"]);
    assert_eq!(
        stuck["state"], "stuck",
        "a script is not repeated blindly: {stuck:#}"
    );
    assert_eq!(states(&stuck), ["succeeded", "started", "planned"]);
    assert_eq!(lines(&lab, "first"), 1);
    assert_eq!(lines(&lab, "second"), 1, "not repeated");

    let step = &stuck["steps"][1]["id"];
    lab.headroom.post(
        &format!("/runs/{run}/steps/{step}/done"),
        &json!({"reason": "looked at the node"}),
    );
    let ended = lab.run_in(&run, &["succeeded", "failed"]);
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(
        ["first", "second", "third"].map(|name| lines(&lab, name)),
        [1, 1, 1]
    );
    lab.headroom.stop();
}

#[test]
fn a_run_killed_in_a_repeatable_step_repeats_that_step_alone_and_ends() {
    let mut lab = killed_in_the_second_step(true);
    fs::write(lab.shared().join("go"), "").unwrap();
    let run = lab.headroom.get("/runs")["items"][0]["id"].clone();
    let ended = lab.run_in(&run, &["stuck", "succeeded", "failed"]);
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    assert_eq!(
        ["first", "second", "third"].map(|name| lines(&lab, name)),
        [1, 2, 1]
    );
    lab.headroom.stop();
}

/// Three steps on one node; the second says that it has begun and waits. Killed there, and started again.
fn killed_in_the_second_step(repeatable: bool) -> Lab {
    let mut lab = Lab::new(1, &[]);
    lab.headroom.apply(&definitions(&lab, repeatable));
    lab.headroom.serve();
    lab.headroom.post("/triggers/three-steps/runs", &json!({}));
    wait::until("the second step to begin", BEGINS_WITHIN, || {
        (lines(&lab, "second") == 1).then_some(())
    });
    lab.headroom.kill();
    lab.headroom.serve();
    lab
}

fn definitions(lab: &Lab, repeatable: bool) -> String {
    let shared = lab.shared();
    let shared = shared.display();
    let note = |name: &str| format!("echo done >> {shared}/{name}");
    let waiting = format!(
        "{}; while [ -d {shared} ] && [ ! -e {shared}/go ]; do sleep 0.1; done",
        note("second")
    );
    let steps =
        ["first", "second", "third"].map(|name| json!({"action": name, "target": "lastnode"}));
    lab.fleet(
        json!([
            {"name": "first", "kind": "LocalScript", "script": note("first")},
            {"name": "second", "kind": "LocalScript", "script": waiting, "repeatable": repeatable},
            {"name": "third", "kind": "LocalScript", "script": note("third")},
        ]),
        json!([{
            "name": "three-steps", "cluster": "web",
            "steps": steps,
        }]),
    )
}

/// How often a step had its effect.
fn lines(lab: &Lab, name: &str) -> usize {
    fs::read_to_string(lab.shared().join(name))
        .unwrap_or_default()
        .lines()
        .count()
}

fn states(run: &Value) -> Vec<&str> {
    let steps = run["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| step["state"].as_str().unwrap())
        .collect()
}
