//! From a counter over its threshold to a script on every node and a mail, once.

use std::time::{Duration, Instant};

use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::lab::{Lab, WHO};
use crate::support::postgres::Postgres;
use crate::support::redis::RedisServer;
use crate::support::wait;

const NODES: usize = 20;
/// Timing of 5 s, a tick of 1 s, and a second to decide and to write it down.
const FIRES_WITHIN: Duration = Duration::from_secs(7);

#[test]
fn a_node_over_its_threshold_fires_one_run_within_seconds_with_the_embedded_store() {
    watch_fire_and_calm_down(Lab::new(NODES, &[]));
}

#[test]
fn a_node_over_its_threshold_fires_one_run_within_seconds_with_redis_and_postgresql() {
    let (redis, postgres) = (RedisServer::start(), Postgres::start());
    let lab = Lab::new(
        NODES,
        &[
            ("REDIS_URL", &redis.url()),
            ("DATABASE_URL", &postgres.url()),
        ],
    );
    watch_fire_and_calm_down(lab);
}

fn watch_fire_and_calm_down(mut lab: Lab) {
    lab.headroom.apply(&definitions(&lab));
    lab.headroom.serve();
    wait::until("every node to be read", Duration::from_secs(40), || {
        (series(&lab).len() == NODES).then_some(())
    });
    assert_eq!(
        lab.runs(),
        Vec::<Value>::new(),
        "nothing is wrong, nothing runs"
    );

    let begin = Instant::now();
    lab.set_load(6, 99);
    let run = wait::until("the run", FIRES_WITHIN, || lab.runs().first().cloned());
    let took = begin.elapsed();
    assert!(
        took > Duration::from_secs(4),
        "timing is five seconds, it fired after {took:?}"
    );

    check_run(
        &lab,
        &lab.run_in(&run["id"], &["succeeded", "failed", "stuck", "undone"]),
    );
    check_mail(&lab);
    check_decision(&lab, &run["id"]);

    lab.set_load(6, 1);
    let calm = wait::until("the breach to end", Duration::from_secs(20), || {
        let decision = lab.decision("web-hot");
        (decision["outcome"] == "quiet").then_some(decision)
    });
    assert_eq!(calm["run"], Value::Null);
    assert_eq!(lab.runs().len(), 1, "one breach, one run: {:?}", lab.runs());
    lab.headroom.stop();
}

fn definitions(lab: &Lab) -> String {
    lab.fleet(
        json!([
            {"name": "say-who", "kind": "LocalScript", "script": format!("{WHO}; echo \"acted on $who\"")},
            {"name": "tell", "kind": "Email", "address": "ops@example.org",
             "title": "{{ trigger.name }} fired", "content": "Acted on {{ cluster.name }}."},
        ]),
        json!([{
            "name": "web-hot", "cluster": "web", "counters": ["load"], "timing": "5s", "cooldown": "10m",
            "steps": [{"action": "say-who", "target": "cluster"}, {"action": "tell", "target": "none"}],
        }]),
    )
}

/// The series that have a value.
fn series(lab: &Lab) -> Vec<Value> {
    let from = (Utc::now() - TimeDelta::minutes(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let all = lab
        .headroom
        .get(&format!("/series?cluster=web&counter=load&from={from}"));
    let has_value = |series: &&Value| {
        series["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|point| !point[1].is_null())
    };
    all.as_array()
        .unwrap()
        .iter()
        .filter(has_value)
        .cloned()
        .collect()
}

fn check_run(lab: &Lab, run: &Value) {
    assert_eq!(run["state"], "succeeded", "{run:#}");
    let steps = run["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    let report = steps[0].to_string();
    for place in lab.places() {
        let line = format!("acted on {}", place.name);
        assert!(report.contains(&line), "{line} is missing in {report}");
    }
}

fn check_mail(lab: &Lab) {
    let mailbox = lab.mail.mailbox();
    assert_eq!(mailbox.len(), 1, "{mailbox:#?}");
    assert_eq!(mailbox[0]["subject"], "web-hot fired");
    assert_eq!(mailbox[0]["to"], json!(["ops@example.org"]));
    assert!(
        mailbox[0]["text"]
            .as_str()
            .unwrap()
            .contains("Acted on web."),
        "{mailbox:#?}"
    );
}

fn check_decision(lab: &Lab, run: &Value) {
    let all = lab.headroom.get("/decisions?trigger=web-hot");
    let items = all["items"].as_array().unwrap();
    let fired = items.iter().find(|decision| decision["run"] == *run);
    let fired = fired.unwrap_or_else(|| panic!("no decision explains run {run}: {items:#?}"));
    assert_eq!(fired["outcome"], "fired");
    let reason = fired["reason"].as_str().unwrap();
    assert!(
        reason.contains("load") && reason.contains("node07"),
        "{reason}"
    );
}
