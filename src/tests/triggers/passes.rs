//! Passes over a tick while its readings come: who is decided when, and never twice.

use headroom::models::RunId;
use headroom::triggers::evaluate::{Evaluated, evaluate_pass};

use super::site::{MINUTE, Site, WEB, at};

const DB: &str = "
  - name: db
    min_nodes: 0
    nodes: [{ name: a-db, address: 10.0.1.1, ssh_profile: ops }]
actions:";
const DB_HOT: &str = "  - { name: db-hot, cluster: db, counters: [load1], timing: 0, steps: [{ action: tell, target: none }] }\n";

/// Three nodes of `web` and one of `db` (first by name); the trigger of `web` combines its nodes by `when` and has no timing.
fn site(when: &str) -> Site {
    timed_site(when, "0")
}

fn timed_site(when: &str, timing: &str) -> Site {
    let third = "      - { name: web03, address: 10.0.0.13, ssh_profile: ops }\nactions:";
    let file = WEB
        .replace("timing: 5m", &format!("timing: {timing}, {when}"))
        .replace("\nactions:", &format!("\n{third}"))
        .replace("\nactions:", DB);
    Site::sqlite(&format!("{file}{DB_HOT}"))
}

async fn pass(site: &Site, minute: i64, is_last: bool) -> (usize, Vec<RunId>) {
    let (db, store) = (&site.bench.db, &site.store);
    let Evaluated { runs, waiting, .. } = evaluate_pass(db, store, at(minute), MINUTE, is_last)
        .await
        .unwrap();
    (waiting, runs)
}

/// Reads what is no blank, nodes by name: `a-db`, `web01`, `web02`, `web03`.
async fn read(site: &Site, minute: i64, each: &str) {
    site.observe(&site.readings(minute, "load1", each)).await;
}

#[tokio::test]
async fn a_trigger_does_not_wait_for_nodes_of_other_clusters() {
    let site = site("when: all");
    read(&site, 0, "X0  ").await;
    let (waiting, runs) = pass(&site, 0, false).await;
    assert_eq!((waiting, runs.len()), (1, 1));
    assert_eq!(site.told("web-hot"), [""; 0]);
    assert!(site.told("db-hot")[0].starts_with("fired 0-0 x1"));
    read(&site, 0, "  00").await;
    assert_eq!(pass(&site, 0, false).await, (0, vec![]));
    assert_eq!(
        site.told("web-hot"),
        ["quiet 0-0 x1: all 3 series are within their thresholds"]
    );
    assert_eq!(pass(&site, 0, true).await, (0, vec![]));
    assert_eq!(
        site.ledger("db-hot").len() + site.ledger("web-hot").len(),
        2,
        "once a tick"
    );
}

#[tokio::test]
async fn any_fires_as_soon_as_one_series_qualifies_and_says_no_when_all_are_read() {
    let site = site("when: any");
    read(&site, 0, "00  ").await;
    assert_eq!(pass(&site, 0, false).await, (1, vec![]));
    read(&site, 0, "  X ").await;
    let (waiting, runs) = pass(&site, 0, false).await;
    assert_eq!((waiting, runs.len()), (0, 1));
    read(&site, 0, "   X").await;
    assert_eq!(
        pass(&site, 0, true).await,
        (0, vec![]),
        "it has fired in this tick"
    );

    site.end_runs();
    read(&site, 1, "00  ").await;
    assert_eq!(pass(&site, 1, false).await, (1, vec![]));
    read(&site, 1, "  -0").await;
    let (waiting, runs) = pass(&site, 1, false).await;
    assert_eq!(
        (waiting, runs.len()),
        (0, 0),
        "an error is a reading: nothing is waited for"
    );
}

#[tokio::test]
async fn what_a_late_node_was_read_as_before_decides_nothing_early() {
    let site = timed_site("when: any", "2m");
    for minute in 0..3 {
        read(&site, minute, "000X").await;
    }
    read(&site, 3, "000 ").await;
    assert_eq!(pass(&site, 3, false).await, (1, vec![]));
    let (waiting, runs) = pass(&site, 3, true).await;
    assert_eq!(
        (waiting, runs.len()),
        (0, 1),
        "its last sample is fresh, so it counts in the end"
    );
}

#[tokio::test]
async fn a_percentage_is_reached_by_those_that_were_read_or_not_yet() {
    let site = site("when: { percent: 60 }");
    read(&site, 0, "0X  ").await;
    assert_eq!(pass(&site, 0, false).await, (1, vec![]), "33 % of three");
    read(&site, 0, "  X ").await;
    assert_eq!(
        pass(&site, 0, false).await.1.len(),
        1,
        "67 %, whatever web03 is"
    );
}

#[tokio::test]
async fn all_and_average_wait_for_every_node() {
    for when in ["when: all", "when: average"] {
        let site = site(when);
        read(&site, 0, "0XX ").await;
        assert_eq!(pass(&site, 0, false).await, (1, vec![]), "{when}");
        read(&site, 0, "   X").await;
        assert_eq!(pass(&site, 0, false).await.1.len(), 1, "{when}");
    }
}

#[tokio::test]
async fn the_last_pass_decides_by_what_is_there() {
    let site = site("when: all");
    read(&site, 0, "0XX ").await;
    assert_eq!(pass(&site, 0, false).await, (1, vec![]));
    let (waiting, runs) = pass(&site, 0, true).await;
    assert_eq!((waiting, runs.len()), (0, 1), "every fresh node has one");
}

#[tokio::test]
async fn a_counter_that_is_not_due_is_not_waited_for() {
    let site = Site::sqlite(&WEB.replace("threshold: 4", "threshold: 4, every: 5m"));
    read(&site, 0, "00").await;
    assert_eq!(pass(&site, 0, false).await.0, 0);
    assert_eq!(pass(&site, 1, false).await.0, 0);
    assert_eq!(pass(&site, 5, false).await.0, 1);
    assert_eq!(
        site.told("web-hot"),
        ["quiet 0-1 x2: all 2 series are within their thresholds"]
    );
}

#[tokio::test]
async fn a_removal_waits_for_its_quorum_of_this_very_tick() {
    let shrink = "  - { name: shrink, kind: RemoveEc2Node }\ntriggers:";
    let steps = "cluster: web, counters: [load1], timing: 1m, steps: [{ action: shrink, target: cluster }] }";
    let file = WEB.replace("triggers:", shrink).replace(
        "      - { name: web02",
        "      - { name: web00, address: 10.0.0.10, ssh_profile: ops }\n      - { name: web02",
    );
    let (head, _) = file.split_once("  - { name: web-hot").unwrap();
    let site = Site::sqlite(&format!("{head}  - {{ name: web-hot, {steps}\n"));
    let quorum = |text: &str| site.told("web-hot").last().unwrap().contains(text);

    // Those of the last tick are fresh, but they have not answered yet.
    read(&site, 0, "0X0").await;
    pass(&site, 0, true).await;
    read(&site, 1, " X ").await;
    assert_eq!(pass(&site, 1, false).await, (1, vec![]));
    read(&site, 1, "-  ").await;
    assert_eq!(pass(&site, 1, true).await, (0, vec![]));
    assert!(quorum("refused 1-1 x1") && quorum("1 of 3 nodes answer, 80 % needed for a removal"));

    read(&site, 2, "0X ").await;
    assert_eq!(pass(&site, 2, false).await, (1, vec![]), "67 % so far");
    read(&site, 2, "  0").await;
    assert_eq!(pass(&site, 2, false).await.1.len(), 1);
    assert!(quorum("fired 2-2 x1"));
}
