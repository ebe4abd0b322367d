//! A backtest says what production did.

use headroom::error::Error;
use headroom::triggers::evaluate::Backtest;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::site::{MINUTE, Site, WEB, at};

async fn firings(site: &Site, from: i64, to: i64) -> Vec<i64> {
    let backtest = site.conn(|conn| Backtest::load(conn, "web-hot", MINUTE));
    let report = backtest
        .replay(&site.store, at(from), at(to))
        .await
        .unwrap();
    assert_eq!(i64::from(report.ticks), to - from + 1);
    let minutes = report
        .firings
        .iter()
        .map(|firing| (firing.at_ms - at(0)) / MINUTE);
    minutes.collect()
}

/// Plays `each` minute in production, every run over before the next tick; the minutes that fired.
async fn produce(site: &Site, each: &[&str]) -> Vec<i64> {
    let mut fired = Vec::new();
    for (minute, each) in (0..).zip(each) {
        if !site.tick(minute, each).await.is_empty() {
            fired.push(minute);
            site.end_runs();
        }
    }
    fired
}

#[test]
fn a_backtest_fires_exactly_when_production_did() {
    let minute = prop_oneof![6 => Just("0X"), 3 => Just("XX"), 1 => Just("00"), 1 => Just("0-"), 1 => Just("--")];
    let minutes = proptest::collection::vec(minute, 30);
    let settings = (
        0..4_i64,
        prop_oneof![Just("any"), Just("all"), Just("average")],
        0..8_i64,
        0..3_usize,
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut runner = TestRunner::new(Config::with_cases(12));
    let fired = std::cell::Cell::new(0);
    runner
        .run(
            &(minutes, settings),
            |(minutes, (timing, when, cooldown, missing))| {
                let missing = ["hold", "breach", "reset"][missing];
                let file = WEB
                    .replace(
                        "timing: 5m",
                        &format!("timing: {timing}m, when: {when}, cooldown: {cooldown}m"),
                    )
                    .replace("threshold: 4", &format!("threshold: 4, missing: {missing}"));
                runtime.block_on(async {
                    let site = Site::sqlite(&file);
                    let mut each = vec!["00"];
                    each.extend(minutes);
                    let produced = produce(&site, &each).await;
                    prop_assert_eq!(firings(&site, 0, 30).await, produced.clone());
                    fired.set(fired.get() + produced.len());
                    Ok(())
                })
            },
        )
        .unwrap();
    assert!(fired.get() > 0, "no case ever fired");
}

#[tokio::test]
async fn a_breach_from_before_the_first_tick_counts_in_full() {
    let site = Site::sqlite(WEB);
    for minute in 0..20 {
        site.observe(&site.readings(minute, "load1", "0X")).await;
    }
    assert_eq!(firings(&site, 0, 19).await, [5, 11, 17]);
    assert_eq!(firings(&site, 10, 19).await, [10, 16]);
}

#[tokio::test]
async fn an_edited_trigger_is_tried_without_being_saved() {
    let site = Site::sqlite(WEB);
    for minute in 0..10 {
        site.observe(&site.readings(minute, "load1", "0X")).await;
    }
    let edited = WEB.replace("timing: 5m", "timing: 2m");
    let rolled_back = site.bench.db.rehearse_blocking(|conn| {
        let options = headroom::fleet::Options::default();
        headroom::fleet::apply_text(conn, &site.bench.context, &edited, options)?;
        Backtest::load(conn, "web-hot", MINUTE)
    });
    let report = rolled_back
        .unwrap()
        .replay(&site.store, at(0), at(9))
        .await
        .unwrap();
    let fired: Vec<_> = report.firings.iter().map(|firing| firing.at_ms).collect();
    assert_eq!(fired, [at(2), at(5), at(8)]);
    assert_eq!(
        report.stretches[0].reason,
        "load1 on web02 has breached 1 of 2 min"
    );
    assert_eq!(
        site.trigger("web-hot").timing_secs,
        Some(300),
        "nothing was saved"
    );
}

#[tokio::test]
async fn a_backtest_refuses_what_it_cannot_replay() {
    let site = Site::sqlite(WEB);
    let conn = &mut *site.bench.db.connection().unwrap();
    let unknown = Backtest::load(conn, "nobody", MINUTE).unwrap_err();
    assert_eq!(unknown.to_string(), "trigger \"nobody\" does not exist");
    for (from, to) in [(at(1), at(0)), (0, at(0))] {
        let backtest = Backtest::load(conn, "web-hot", MINUTE).unwrap();
        let refused = backtest.replay(&site.store, from, to).await.unwrap_err();
        assert!(matches!(refused, Error::Invalid(_)), "{refused:?}");
    }
}
