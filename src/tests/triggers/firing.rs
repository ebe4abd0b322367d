//! From readings over the threshold to exactly one run.

use std::collections::BTreeSet;

use headroom::db::Db;
use headroom::error::Error;
use headroom::models::step_run::StepRun;
use headroom::models::{Origin, Outcome, RunState};
use headroom::samples::Store;
use headroom::triggers::evaluate::{evaluate_all, evaluate_trigger};

use super::site::{MINUTE, Site, WEB, at, detail, on_both};

on_both! {
    a_breach_that_lasts_fires_once_and_the_decision_carries_the_run
    two_evaluators_of_one_tick_start_one_run
    of_many_processes_one_starts_the_run
    the_same_tick_again_changes_nothing
    after_the_run_the_timing_counts_from_the_firing_on
    a_rehearsal_plans_the_run_and_starts_nothing
}

const BREACH: [&str; 6] = ["0X", "0X", "0X", "0X", "0X", "0X"];

async fn a_breach_that_lasts_fires_once_and_the_decision_carries_the_run(site: Site) {
    assert_eq!(site.ticks(0, &BREACH[..5]).await, []);
    let fired = site.tick(5, "0X").await;
    assert_eq!(fired.len(), 1);
    assert_eq!(site.tick(6, "0X").await, [], "its run is open");

    let run = site.runs().remove(0);
    let reason = "load1 on web02 has been > 4 for 5 min (now 9)";
    assert_eq!(run.id, fired[0]);
    assert_eq!((run.origin, run.state), (Origin::Firing, RunState::Queued));
    assert_eq!(run.requested_by, "trigger web-hot");
    assert_eq!((run.reason.as_str(), run.created_ms), (reason, at(5)));
    let steps = site.conn(|conn| StepRun::of_run(conn, run.id));
    assert_eq!(steps.len(), 1);

    assert_eq!(site.trigger("web-hot").last_fired_ms, Some(at(5)));
    let ledger = site.ledger("web-hot");
    let firing = ledger.iter().find(|row| row.outcome == Outcome::Fired);
    let firing = firing.unwrap();
    assert_eq!(firing.run_id, Some(run.id));
    assert_eq!(firing.reason, reason);
    assert_eq!((firing.first_ms, firing.count), (at(5), 1));
    assert_eq!(detail(firing).steps, ["1 tell (Email) on none"]);
    assert!(detail(firing).gates.iter().all(|gate| gate.passed));
}

async fn two_evaluators_of_one_tick_start_one_run(site: Site) {
    let other_db = Db::connect_only(&site.bench.url).unwrap();
    let other_store = site.other_store();
    site.ticks(0, &BREACH[..5]).await;
    for round in 0..5_i64 {
        let minute = 5 + round * 10;
        for minute in minute - 5..=minute {
            site.observe(&site.readings(minute, "load1", "0X")).await;
        }
        let (one, two) = tokio::join!(
            evaluate_all(&site.bench.db, &site.store, at(minute), MINUTE),
            evaluate_all(&other_db, &other_store, at(minute), MINUTE),
        );
        let started = one.unwrap().len() + two.unwrap().len();
        assert_eq!((started, site.runs().len()), (1, 1), "round {round}");
        let of_tick = site.ledger("web-hot");
        let of_tick = of_tick.iter().filter(|row| row.last_ms == at(minute));
        assert_eq!(of_tick.count(), 1, "one decision a tick");
        site.end_runs();
    }
}

async fn of_many_processes_one_starts_the_run(site: Site) {
    for minute in 0..6 {
        site.observe(&site.readings(minute, "load1", "XX")).await;
    }
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            (
                Db::connect_only(&site.bench.url).unwrap(),
                site.other_store(),
            )
        })
        .map(|(db, store)| {
            tokio::spawn(async move { evaluate_all(&db, &store, at(5), MINUTE).await.unwrap() })
        })
        .collect();
    let mut started = BTreeSet::new();
    for task in tasks {
        started.extend(task.await.unwrap());
    }
    assert_eq!(started.len(), 1);
    assert_eq!(site.runs().len(), 1);
    assert_eq!(site.ledger("web-hot").len(), 1, "one decision a tick");
}

async fn the_same_tick_again_changes_nothing(site: Site) {
    site.ticks(0, &BREACH).await;
    let before = site.ledger("web-hot");
    assert_eq!(site.tick(5, "0X").await, []);
    assert_eq!(site.evaluate(4).await, [], "nor does one that comes late");
    assert_eq!(site.ledger("web-hot"), before);
    assert_eq!(site.runs().len(), 1);
}

async fn after_the_run_the_timing_counts_from_the_firing_on(site: Site) {
    site.ticks(0, &BREACH).await;
    site.end_runs();
    assert_eq!(site.ticks(6, &["0X", "0-", "0X", "0X", "0X"]).await, []);
    let told = site.told("web-hot");
    assert_eq!(
        told.last().unwrap(),
        "pending 6-10 x5: load1 on web02 has breached 4 of 5 min since it last fired"
    );
    assert_eq!(site.tick(11, "0X").await.len(), 1);
}

async fn a_rehearsal_plans_the_run_and_starts_nothing(site: Site) {
    site.bench
        .apply(&WEB.replace("timing: 5m", "timing: 5m, mode: dry_run"));
    assert_eq!(site.ticks(0, &BREACH).await, []);
    assert_eq!(site.ticks(6, &BREACH).await, []);
    assert_eq!(site.runs(), []);
    assert_eq!(site.trigger("web-hot").last_fired_ms, None, "no cooldown");
    let ledger = site.ledger("web-hot");
    let rehearsed = ledger.last().unwrap();
    assert_eq!((rehearsed.outcome, rehearsed.count), (Outcome::DryRun, 7));
    assert_eq!(detail(rehearsed).steps, ["1 tell (Email) on none"]);
}

#[tokio::test]
async fn a_cooldown_keeps_it_silent_and_is_told_in_one_row() {
    let site = Site::sqlite(&WEB.replace("timing: 5m", "timing: 0, cooldown: 10m"));
    assert_eq!(site.tick(0, "0X").await.len(), 1);
    site.end_runs();
    assert_eq!(site.ticks(1, &["0X"; 9]).await, []);
    assert_eq!(
        site.told("web-hot").last().unwrap(),
        "refused 1-9 x9: load1 on web02 is > 4 (now 9), but it cools down until 10:10 UTC after firing at 10:00 UTC"
    );
    assert_eq!(site.tick(10, "0X").await.len(), 1);
}

#[tokio::test]
async fn a_stuck_run_is_open_until_a_person_decides() {
    use diesel::prelude::*;
    use headroom::schema::runs;
    let site = Site::sqlite(&WEB.replace("timing: 5m", "timing: 0"));
    site.tick(0, "0X").await;
    site.conn(|conn| {
        let stuck = runs::state.eq(RunState::Stuck);
        Ok(diesel::update(runs::table).set(stuck).execute(conn)?)
    });
    assert_eq!(site.tick(1, "0X").await, []);
    let told = site.told("web-hot");
    assert!(
        told.last()
            .unwrap()
            .ends_with("but its run 1 is still stuck"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_trigger_without_steps_is_refused_and_says_why() {
    let site = Site::sqlite(&WEB.replace("steps: [{ action: tell, target: none }]", "steps: []"));
    assert_eq!(site.ticks(0, &BREACH).await, []);
    let told = site.told("web-hot");
    assert!(
        told.last().unwrap().starts_with("refused 5-5 x1"),
        "{told:?}"
    );
    assert!(
        told.last()
            .unwrap()
            .contains("but its run cannot be planned: the trigger \"web-hot\" has no steps")
    );
    assert_eq!(site.trigger("web-hot").last_fired_ms, None);
}

#[tokio::test]
async fn triggers_that_share_a_counter_each_fire() {
    let second = "  - { name: web-warm, cluster: web, counters: [load1], timing: 2m, steps: [{ action: tell, target: none }] }\n";
    let site = Site::sqlite(&format!("{WEB}{second}"));
    assert_eq!(site.ticks(0, &BREACH).await.len(), 2);
    assert_eq!(site.trigger("web-warm").last_fired_ms, Some(at(2)));
    assert_eq!(site.trigger("web-hot").last_fired_ms, Some(at(5)));
    let state = site
        .store
        .states(&[site.readings(5, "load1", "XX")[1].key])
        .await;
    let breach = state.unwrap()[0].as_ref().unwrap().breach.unwrap();
    assert_eq!(breach.count, 6, "a firing takes nothing from the breach");
}

#[tokio::test]
async fn one_trigger_alone_can_be_decided() {
    let second = "  - { name: other, cluster: web, counters: [load1], timing: 0, steps: [{ action: tell, target: none }] }\n";
    let site = Site::sqlite(&format!("{WEB}{second}"));
    site.observe(&site.readings(0, "load1", "0X")).await;
    let id = site.trigger("other").id;
    let run = evaluate_trigger(&site.bench.db, &site.store, id, at(0), MINUTE).await;
    assert!(run.unwrap().is_some());
    assert_eq!(site.ledger("web-hot"), []);
}

#[tokio::test]
async fn a_deleted_trigger_leaves_its_run_and_is_not_decided() {
    let site = Site::sqlite(WEB);
    site.ticks(0, &BREACH).await;
    let id = site.trigger("web-hot").id;
    site.conn(|conn| headroom::models::trigger::Trigger::delete(conn, id));
    assert_eq!(site.tick(6, "0X").await, []);
    let run = site.runs().remove(0);
    assert_eq!(
        (run.trigger_id, run.trigger_name.as_deref()),
        (None, Some("web-hot"))
    );
}

#[tokio::test]
async fn nothing_fires_on_samples_that_cannot_be_read_and_the_decision_says_so() {
    let site = Site::sqlite(WEB);
    site.ticks(0, &BREACH[..5]).await;
    let port = crate::support::ports::free();
    let day = std::time::Duration::from_hours(24);
    let gone = Store::redis(&format!("redis://127.0.0.1:{port}"), "headroom:", day).unwrap();
    let fault = evaluate_all(&site.bench.db, &gone, at(5), MINUTE)
        .await
        .unwrap_err();
    assert!(matches!(fault, Error::Upstream { .. }), "{fault:?}");
    let told = site.told("web-hot");
    assert!(
        told.last().unwrap().starts_with(
            "quiet 5-5 x1: the samples could not be read, and nothing fires without them: "
        ),
        "{told:?}"
    );
    assert_eq!(
        site.tick(6, "0X").await.len(),
        1,
        "the store is back and the breach still fresh"
    );
}
