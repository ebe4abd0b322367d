//! Half of the nodes vanish at once, and come back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::lab::Lab;
use crate::support::wait;

const NODES: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);
const LOST: &str = "10 nodes fell silent together, 10 answer";
const BACK: &str = "most nodes answer again";

#[test]
fn half_of_the_nodes_vanish_and_the_others_are_read_on_time() {
    let mut lab = Lab::new(NODES, &[]);
    lab.headroom.apply(&lab.fleet(
        json!([{"name": "tell", "kind": "Email", "address": "a@example.org", "title": "t", "content": "c"}]),
        json!([{
            "name": "hot", "cluster": "web", "counters": ["load"], "timing": "5m",
            "steps": [{"action": "tell", "target": "none"}],
        }]),
    ));
    lab.headroom.serve();
    until_fresh(&lab, "20 nodes", |fresh| fresh == NODES);

    lab.stop_server(1);
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
    lab.headroom.stop();
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
