//! What the ledger tells: stretches, gaps, holds, the clock.

use headroom::models::hold::{self, Request};
use headroom::models::{HoldScope, Outcome, Via};

use super::site::{MINUTE, Site, WEB, at, detail, on_both};

on_both! {
    equal_outcomes_in_a_row_are_one_row_with_the_newest_sentence
    a_gap_in_the_evaluations_begins_a_new_row
    a_clock_set_back_an_hour_fires_nothing_says_so_and_heals_by_itself
    holds_stop_what_they_name_and_nothing_else
}

async fn equal_outcomes_in_a_row_are_one_row_with_the_newest_sentence(site: Site) {
    site.ticks(0, &["00", "00", "00", "0X", "0X", "0X", "00", "X0"])
        .await;
    assert_eq!(
        site.told("web-hot"),
        [
            "quiet 0-2 x3: all 2 series are within their thresholds",
            "pending 3-5 x3: load1 on web02 has breached 2 of 5 min",
            "quiet 6-6 x1: all 2 series are within their thresholds",
            "pending 7-7 x1: load1 on web01 has breached 0 of 5 min",
        ]
    );
    let pending = detail(&site.ledger("web-hot")[1]);
    assert_eq!(pending.due_in_ms, Some(3 * MINUTE));
    assert_eq!(pending.inputs[0].node.as_deref(), Some("web02"));
    assert_eq!(pending.inputs[0].age_ms, Some(0));
}

async fn a_gap_in_the_evaluations_begins_a_new_row(site: Site) {
    site.ticks(0, &["00", "00"]).await;
    site.tick(4, "00").await;
    site.tick(8, "00").await;
    let calm = "all 2 series are within their thresholds";
    assert_eq!(
        site.told("web-hot"),
        [
            format!("quiet 0-4 x3: {calm}"),
            format!("quiet 8-8 x1: {calm}")
        ]
    );
}

async fn a_clock_set_back_an_hour_fires_nothing_says_so_and_heals_by_itself(site: Site) {
    site.ticks(60, &["0X"; 6]).await;
    site.end_runs();
    assert_eq!(site.trigger("web-hot").last_fired_ms, Some(at(65)));

    // 11:06 is 10:06 again. web01 does not answer any more, so that its last sample stays ahead of the clock.
    assert_eq!(site.tick(6, "-X").await, []);
    let told = site.told("web-hot");
    let said = told.last().unwrap();
    assert!(
        said.starts_with("pending 6-6 x1: load1 on web02 has breached 0 of 5 min"),
        "{said}"
    );
    assert!(
        said.contains("its last firing is recorded for 11:05 UTC, 59 min ahead of the clock"),
        "{said}"
    );
    assert!(
        said.ends_with(
            "the clock went back by 59 min since the last decision, so breaches are counted anew"
        ),
        "{said}"
    );
    assert_eq!(
        site.trigger("web-hot").last_fired_ms,
        Some(at(6)),
        "the firing counts as of now"
    );

    assert_eq!(site.ticks(7, &["-X", "-X", "-X", "-X", "-X"]).await, []);
    let told = site.told("web-hot");
    assert_eq!(
        told.last().unwrap(),
        "pending 7-11 x5: load1 on web02 has breached 4 of 5 min since it last fired"
    );
    assert_eq!(site.tick(12, "-X").await.len(), 1);
}

async fn holds_stop_what_they_name_and_nothing_else(site: Site) {
    let other = "
  - name: db
    min_nodes: 0
    nodes: [{ name: db01, address: 10.0.1.1, ssh_profile: ops }]
actions:";
    let other_trigger = "  - { name: db-hot, cluster: db, counters: [load1], timing: 0, steps: [{ action: tell, target: none }] }\n";
    let file = WEB
        .replace("timing: 5m", "timing: 0")
        .replace("\nactions:", other);
    site.bench.apply(&format!("{file}{other_trigger}"));

    let cases = [
        (HoldScope::Everything, None, "", "everything"),
        (HoldScope::Cluster, Some("web"), "db-hot", "cluster web"),
        (
            HoldScope::Trigger,
            Some("db-hot"),
            "web-hot",
            "trigger db-hot",
        ),
    ];
    for (minute, (scope, name, fires, what)) in (0..).zip(cases) {
        // Nodes in order: db01, web01, web02.
        site.end_runs();
        let hold = site.conn(|conn| {
            hold::begin(
                conn,
                &request(scope, name, at(minute + 30)),
                Via::Cli,
                at(minute),
            )
        });
        site.tick(minute, "XX0").await;
        let fired: Vec<_> = site
            .runs()
            .into_iter()
            .filter_map(|run| run.trigger_name)
            .collect();
        assert_eq!(fired.join(" "), fires, "{what}");
        let held = if fires == "web-hot" {
            "db-hot"
        } else {
            "web-hot"
        };
        let told = site.told(held);
        let minutes = 30 + minute;
        assert_eq!(
            told.last().unwrap().split_once(", but ").unwrap().1,
            format!("{what} is held until 10:{minutes} UTC by alice: release")
        );
        site.conn(|conn| hold::lift(conn, hold.id, "bob", Via::Page, at(minute)));
    }

    site.end_runs();
    let node = request(HoldScope::Node, Some("web01"), at(30));
    site.conn(|conn| hold::begin(conn, &node, Via::Cli, at(4)));
    site.tick(4, "0X0").await;
    assert_eq!(site.runs(), [], "a held node's series do not count");
    let ledger = site.ledger("web-hot");
    assert_eq!(ledger.last().unwrap().outcome, Outcome::Quiet);
    assert_eq!(detail(ledger.last().unwrap()).nodes.held, 1);
    site.tick(30, "0X0").await;
    assert_eq!(site.runs().len(), 1, "the hold is over by itself");
}

fn request(scope: HoldScope, name: Option<&str>, expires_ms: i64) -> Request {
    Request {
        scope,
        scope_name: name.map(str::to_owned),
        reason: "release".into(),
        author: "alice".into(),
        expires_ms,
    }
}

#[tokio::test]
async fn a_stale_breach_is_told_and_never_fires() {
    let site = Site::sqlite(WEB);
    site.ticks(0, &["0X", "0X", "0X", "0-", "0-", "0-", "0-"])
        .await;
    assert_eq!(site.runs(), []);
    assert_eq!(
        site.told("web-hot").last().unwrap(),
        "quiet 6-6 x1: load1 on web02 breached, but its last sample is 4 min old: stale, it does not count"
    );
    let ledger = site.ledger("web-hot");
    let inputs = detail(ledger.last().unwrap()).inputs;
    assert_eq!(inputs[0].error.as_deref(), Some("exit status 1"));
}

#[tokio::test]
async fn every_jvm_of_a_node_is_a_series_of_its_own() {
    let jvms = "
jvm_profiles:
  - { name: tomcat, port: 9010 }
  - { name: queue, port: 9011 }
counters:
  - { name: heap, kind: jmx, mbean: \"java.lang:type=Memory\", attribute: HeapMemoryUsage, key: used, comparison: \">\", threshold: 4 }";
    let file = WEB
        .replace("\ncounters:", jvms)
        .replace("10.0.0.11,", "10.0.0.11, jvm_profiles: [tomcat, queue],")
        .replace("counters: [load1]", "counters: [load1, heap]");
    let site = Site::sqlite(&file);
    for minute in 0..3 {
        site.observe(&site.readings(minute, "load1", "00")).await;
        site.observe(&site.readings(minute, "heap", "0X")).await;
        site.evaluate(minute).await;
    }
    assert_eq!(
        site.told("web-hot"),
        ["pending 0-2 x3: heap on web01/queue has breached 2 of 5 min"]
    );
    let detail = detail(&site.ledger("web-hot")[0]);
    assert_eq!(detail.inputs.len(), 4);
    assert_eq!(detail.nodes.fresh, 2);
}

#[tokio::test]
async fn a_counter_that_is_read_less_often_grows_stale_later() {
    let site = Site::sqlite(
        &WEB.replace("threshold: 4", "threshold: 4, every: 5m")
            .replace("timing: 5m", "timing: 10m"),
    );
    site.tick(0, "0X").await;
    site.tick(5, "0X").await;
    for minute in 6..10 {
        site.evaluate(minute).await;
    }
    assert_eq!(
        site.told("web-hot").last().unwrap(),
        "pending 5-9 x5: load1 on web02 has breached 5 of 10 min"
    );
    assert_eq!(site.tick(10, "0X").await.len(), 1);
}

#[tokio::test]
async fn the_mean_over_fresh_nodes_has_its_own_breach() {
    let site = Site::sqlite(&WEB.replace("timing: 5m", "timing: 2m, when: average"));
    // 9 and 1 make 5, which is over 4; 9 alone is 9.
    assert_eq!(site.ticks(0, &["0X", "0X"]).await, []);
    assert_eq!(
        site.told("web-hot"),
        ["pending 0-1 x2: the mean of load1 over web has breached 1 of 2 min",]
    );
    let fired = site.tick(2, "-X").await;
    assert_eq!(fired.len(), 1);
    assert_eq!(
        site.told("web-hot").last().unwrap(),
        "fired 2-2 x1: the mean of load1 over web has been > 4 for 2 min (now 5)",
        "a sample that is still fresh counts"
    );
    site.end_runs();
    site.ticks(3, &["--", "--", "00"]).await;
    assert_eq!(
        site.told("web-hot").last().unwrap(),
        "quiet 5-5 x1: the mean of load1 over web is 1, within its threshold"
    );
    let mean = headroom::samples::SeriesKey::Average {
        trigger: site.trigger("web-hot").id,
        counter: site.readings(0, "load1", "00")[0].counter,
    };
    let kept = site.store.range(&[mean], at(0), at(5)).await.unwrap();
    let kept: Vec<_> = kept[0]
        .iter()
        .map(|sample| ((sample.tick_ms - at(0)) / MINUTE, sample.value))
        .collect();
    assert_eq!(kept, [(0, 5.0), (1, 5.0), (2, 5.0), (5, 1.0)]);
}
