//! `apply`, `export`, `sample`, `status`, `decisions`, `backtest`, `hold`, `user` and `token`.

use serde_json::Value;

use super::shown;
use crate::support::process::Headroom;

const FLEET: &str = "
counters: [{ name: seven, kind: local, script: echo 7, threshold: 5 }, { name: words, kind: local, script: echo many, threshold: 5 }]
clusters: [{ name: web, nodes: [{ name: web01, address: localhost }] }]
triggers: [{ name: hot, cluster: web, counters: [seven], timing: 5m }]
";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|cause| panic!("{cause}: {text}"))
}

#[test]
fn a_wrong_fleet_file_ends_with_2_and_every_fault_and_writes_nothing() {
    let headroom = Headroom::new(&[]);
    let file = headroom.file("wrong.yaml");
    std::fs::write(
        &file,
        "counters: [{ name: a, kind: ssh, treshold: x }]\nclusters: [{ nodes: 3 }]\n",
    )
    .unwrap();
    let refused = headroom.call(&["apply", "-f", file.to_str().unwrap()]);
    let told = shown(&refused);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.starts_with("refused, nothing was written:"), "{told}");
    for part in [
        "counters[0].treshold",
        "threshold",
        "clusters[0].name",
        "clusters[0].nodes",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    assert!(!headroom.say(&["export"]).contains("name: a"));
}

#[test]
fn a_counter_is_read_on_the_spot_and_an_error_reading_ends_with_1() {
    let headroom = Headroom::new(&[]);
    headroom.apply(FLEET);
    let read = headroom.say(&["sample", "--node", "web01", "--counter", "seven", "--json"]);
    assert_eq!(json(&read)[0]["value"], 7.0, "{read}");
    let failed = headroom.call(&["sample", "--node", "web01", "--counter", "words"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        shown(&failed).contains("many"),
        "what it printed: {}",
        shown(&failed)
    );
    let unknown = headroom.call(&["sample", "--node", "web07", "--counter", "seven"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(shown(&unknown).contains("web07"), "{}", shown(&unknown));
}

#[test]
fn listings_of_a_young_headroom_are_empty_and_say_so() {
    let headroom = Headroom::new(&[]);
    headroom.apply(FLEET);
    assert_eq!(headroom.say(&["runs"]), "no runs\n");
    assert_eq!(json(&headroom.say(&["runs", "--json"])), json("[]"));
    assert_eq!(
        json(&headroom.say(&["decisions", "--trigger", "hot", "--json"])),
        json("[]")
    );
    let status = json(&headroom.say(&["status", "--json"]));
    assert!(status.is_object(), "{status}");
    let unknown = headroom.call(&["decisions", "--trigger", "cold"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(shown(&unknown).contains("cold"), "{}", shown(&unknown));
}

#[test]
fn a_hold_is_begun_listed_and_lifted() {
    let headroom = Headroom::new(&[]);
    headroom.apply(FLEET);
    let begun = headroom.say(&[
        "hold",
        "add",
        "trigger",
        "hot",
        "--for",
        "30m",
        "--reason",
        "deployment",
    ]);
    assert!(begun.starts_with("hold 1 on trigger hot until"), "{begun}");
    let listed = json(&headroom.say(&["hold", "list", "--json"]));
    assert_eq!(listed[0]["reason"], "deployment", "{listed}");
    headroom.say(&["hold", "lift", "1"]);
    assert_eq!(json(&headroom.say(&["hold", "list", "--json"])), json("[]"));
    let never = headroom.call(&[
        "hold",
        "add",
        "everything",
        "--for",
        "soon",
        "--reason",
        "x",
    ]);
    assert_eq!(never.status.code(), Some(2), "{}", shown(&never));
    assert!(
        shown(&never).contains("--for: \"soon\" is not a duration"),
        "{}",
        shown(&never)
    );
}

#[test]
fn a_token_is_printed_once_and_bad_durations_are_refused() {
    let headroom = Headroom::new(&[]);
    let token = headroom.say(&["token", "create", "--role", "viewer", "--expires", "90d"]);
    assert_eq!(
        token.lines().count(),
        1,
        "nothing but the token, for scripts"
    );
    let refused = headroom.call(&["token", "create", "--role", "viewer", "--expires", "never"]);
    assert_eq!(refused.status.code(), Some(2), "{}", shown(&refused));
    assert!(shown(&refused).contains("--expires"), "{}", shown(&refused));
}
