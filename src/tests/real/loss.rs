//! Half of the nodes vanish at once, and come back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::lab::Lab;
use crate::support::wait;

const NODES: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);
/// Neither hot nor idle.
const BUSY: u32 = 5;
const REFUSAL: &str = "10 of 20 nodes answer, 80 % needed for a removal";
const LOST: &str = "10 nodes fell silent together, 10 answer";
const BACK: &str = "most nodes answer again";

#[test]
fn half_of_the_nodes_vanish_and_the_others_are_read_on_time_and_kept() {
    let mut lab = Lab::new(NODES, &[]);
    lab.headroom.apply(&definitions(&lab));
    for index in 0..NODES {
        lab.set_load(index, BUSY);
    }
    lab.headroom.serve();
    until_fresh(&lab, "20 nodes", |fresh| fresh == NODES);

    // What is left falls idle in the very moment in which the others vanish, between two ticks.
    wait::until("a quiet moment", LIMIT, || {
        (500..700)
            .contains(&(Utc::now().timestamp_millis() % 1_000))
            .then_some(())
    });
    lab.stop_server(1);
    for index in 0..NODES / 2 {
        lab.set_load(index, 1);
    }
    let refusal = wait::until("a removal to be refused", LIMIT, || {
        let decision = lab.decision("shrink");
        (decision["outcome"] != "quiet").then_some(decision)
    });
    assert_eq!(refusal["outcome"], "refused", "{refusal:#}");
    let reason = refusal["reason"].as_str().unwrap();
    assert!(reason.contains(REFUSAL), "{reason}");
    wait::until("the loss to be told", LIMIT, || {
        lab.headroom.log().contains(LOST).then_some(())
    });
    // A node's last sample is three ticks old at most while it counts as fresh: the others stay so, tick for tick.
    until_fresh(&lab, "10 nodes", |fresh| fresh == NODES / 2);
    let skipped_before = skipped(&lab.headroom.get("/tasks"));
    let first_ms = last_ms(&lab.decision("hot"));
    wait::until("ten ticks of the other half", LIMIT, || {
        let decision = lab.decision("hot");
        assert_eq!(fresh(&decision), NODES / 2, "{decision:#}");
        (last_ms(&decision) >= first_ms + 10_000).then_some(())
    });
    assert_eq!(lab.runs(), Vec::<Value>::new(), "capacity was removed");
    assert_eq!(
        lab.headroom.log().matches(LOST).count(),
        1,
        "it is told once"
    );
    // One may be this machine's fault.
    assert!(skipped(&lab.headroom.get("/tasks")) <= skipped_before + 1);

    lab.restart_server(1);
    wait::until("the end of it to be told", LIMIT, || {
        lab.headroom.log().contains(BACK).then_some(())
    });
    until_fresh(&lab, "all nodes again", |fresh| fresh == NODES);
    assert_eq!(lab.headroom.log().matches(BACK).count(), 1);
    // So it was the quorum alone that kept the nodes.
    wait::until("the removal to begin", LIMIT, || {
        let runs = lab.runs();
        runs.first()
            .map(|run| assert_eq!(run["trigger"], "shrink", "{run:#}"))
    });
    lab.headroom.stop();
}

/// A trigger that only looks on, and one that removes a node as soon as one is idle.
fn definitions(lab: &Lab) -> String {
    let fleet = lab.fleet(
        json!([
            {"name": "tell", "kind": "Email", "address": "a@example.org", "title": "t", "content": "c"},
            {"name": "remove", "kind": "RemoveEc2Node"},
        ]),
        json!([
            {
                "name": "hot", "cluster": "web", "counters": ["load"], "timing": "5m",
                "steps": [{"action": "tell", "target": "none"}],
            },
            {
                "name": "shrink", "cluster": "web", "counters": ["idle"], "timing": "0s", "cooldown": "10m",
                "steps": [{"action": "remove", "target": "cluster"}],
            },
        ]),
    );
    let mut fleet: Value = serde_json::from_str(&fleet).unwrap();
    let mut idle = fleet["counters"][0].clone();
    idle["name"] = json!("idle");
    idle["comparison"] = json!("<");
    idle["threshold"] = json!(3);
    fleet["counters"].as_array_mut().unwrap().push(idle);
    fleet.to_string()
}

fn fresh(decision: &Value) -> usize {
    let fresh = &decision["detail"]["nodes"]["fresh"];
    usize::try_from(fresh.as_u64().unwrap_or(0)).unwrap()
}

fn until_fresh(lab: &Lab, what: &str, enough: impl Fn(usize) -> bool) {
    wait::until(what, LIMIT, || {
        enough(fresh(&lab.decision("hot"))).then_some(())
    });
}

fn last_ms(decision: &Value) -> i64 {
    let last: DateTime<Utc> = decision["last"].as_str().unwrap().parse().unwrap();
    last.timestamp_millis()
}

fn skipped(tasks: &Value) -> i64 {
    let tasks = tasks["tasks"].as_array().unwrap();
    let tick = tasks.iter().find(|task| task["name"] == "tick").unwrap();
    tick["skipped"].as_i64().unwrap()
}
