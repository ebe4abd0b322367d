//! Nodes that answer one after the other: what that costs whoever decides.

use std::time::Duration;

use serde_json::{Value, json};

use super::lab::{Lab, WHO};
use crate::support::http::Request;
use crate::support::wait;

const NODES: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);
const TICKS: u64 = 2;

#[test]
fn nodes_that_trickle_in_do_not_have_the_triggers_gone_over_for_each_of_them() {
    let mut lab = Lab::new(NODES, &[("HEADROOM_TICK", "10s")]);
    let trigger = |name, counter| {
        json!({
            "name": name, "cluster": "web", "counters": [counter], "timing": "5m",
            "steps": [{"action": "tell", "target": "none"}],
        })
    };
    let fleet = lab.fleet(
        json!([{"name": "tell", "kind": "Email", "address": "a@example.org", "title": "t", "content": "c"}]),
        json!([trigger("one", "load"), trigger("other", "load")]),
    );
    let mut fleet: Value = serde_json::from_str(&fleet).unwrap();
    let script = format!(
        "{WHO}; n=$(cat {}/$who); sleep $((n / 10)).$((n % 10)); echo 99",
        lab.shared().display()
    );
    fleet["counters"] = json!([{
        "name": "load", "kind": "ssh", "script": script, "comparison": ">", "threshold": 10,
    }]);
    // Every node breaches and answers a third of a second after the one before, so that each is a batch of its own.
    for index in 0..NODES {
        lab.set_load(index, u32::try_from(index * 3).unwrap());
    }
    lab.headroom.apply(&fleet.to_string());
    lab.headroom.serve();
    wait::until("every node to be read", LIMIT, || {
        let decision = lab.decision("one");
        (decision["detail"]["nodes"]["fresh"] == NODES).then_some(())
    });

    let (ticks, passes) = counts(&lab);
    let (more_ticks, more_passes) = wait::until("more ticks", LIMIT, || {
        let now = counts(&lab);
        (now.0 >= ticks + TICKS).then_some(now)
    });
    // With the first batch, with the last one, and at the end; a tick may be under way at either end.
    let most = (more_ticks - ticks + 1) * 3;
    let passes = more_passes - passes;
    assert!((TICKS..=most).contains(&passes), "{passes} passes");
    lab.headroom.stop();
}

/// Ticks and passes so far.
fn counts(lab: &Lab) -> (u64, u64) {
    let text = lab.headroom.api(Request::new("GET", "/metrics")).body;
    let count = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    (
        count("headroom_ticks_total "),
        count("headroom_passes_total "),
    )
}
