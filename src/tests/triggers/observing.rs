//! What a batch of readings does to the store.

use headroom::collectors::Reading;
use headroom::models::counter::Counter;
use headroom::samples::{Breach, SeriesState};
use headroom::triggers::evaluate::{Breaches, Rules};

use super::site::{MINUTE, Site, WEB, at};

async fn state(site: &Site, reading: &Reading) -> SeriesState {
    let mut states = site.store.states(&[reading.key]).await.unwrap();
    states.remove(0).unwrap()
}

fn breach(since: i64, count: u32, last: i64) -> Option<Breach> {
    Some(Breach {
        since_ms: at(since),
        count,
        last_ms: at(last),
    })
}

#[tokio::test]
async fn readings_move_the_breach_of_their_series_and_are_kept() {
    let site = Site::sqlite(WEB);
    for (minute, each, expected) in [
        (0, "0X", breach(0, 1, 0)),
        (1, "0X", breach(0, 2, 1)),
        (2, "0-", breach(0, 2, 1)),
        (3, "0X", breach(0, 3, 3)),
        (4, "00", None),
    ] {
        let readings = site.readings(minute, "load1", each);
        site.observe(&readings).await;
        assert_eq!(
            state(&site, &readings[1]).await.breach,
            expected,
            "minute {minute}"
        );
        assert_eq!(state(&site, &readings[0]).await.breach, None);
    }
    let state = state(&site, &site.readings(4, "load1", "00")[1]).await;
    assert_eq!(
        (state.tick_ms, state.measured_ms, state.took_ms),
        (at(4), at(4) + 120, 80)
    );
}

#[tokio::test]
async fn the_same_batch_twice_counts_once() {
    let site = Site::sqlite(WEB);
    let readings = site.readings(0, "load1", "XX");
    site.observe(&readings).await;
    site.observe(&readings).await;
    assert_eq!(state(&site, &readings[0]).await.breach, breach(0, 1, 0));
}

#[tokio::test]
async fn a_number_that_is_none_counts_as_an_error() {
    let site = Site::sqlite(&WEB.replace("threshold: 4", "threshold: 4, missing: breach"));
    let mut readings = site.readings(0, "load1", "0 ");
    readings[0].outcome = Ok(f64::NAN);
    site.observe(&readings).await;
    let state = state(&site, &readings[0]).await;
    assert_eq!((state.last, state.breach), (None, breach(0, 1, 0)));
    assert!(state.error.is_some());
}

#[tokio::test]
async fn a_reading_of_a_counter_that_is_gone_is_dropped() {
    let site = Site::sqlite(&WEB.replace("counters: [load1],", "counters: [],"));
    let readings = site.readings(0, "load1", "0X");
    site.conn(|conn| {
        let counter = Counter::by_name(conn, "load1")?;
        Counter::delete(conn, counter.id)
    });
    site.observe(&readings).await;
    assert_eq!(site.store.states(&[readings[1].key]).await.unwrap(), [None]);
}

#[tokio::test]
async fn breaches_are_read_back_only_when_somebody_else_may_have_written_them() {
    let site = Site::sqlite(WEB);
    let rules = site.conn(|conn| Rules::load(conn, MINUTE));
    let mut breaches = Breaches::default();
    let mut observe = async |minute: i64, members: &[&str], revision| {
        let members = members.iter().map(ToString::to_string).collect();
        breaches.begin(at(minute), MINUTE, members, revision);
        let readings = site.readings(minute, "load1", "0X");
        // What the process does not remember is gone.
        let keys: Vec<_> = readings.iter().map(|reading| reading.key).collect();
        site.store.forget(&keys).await.unwrap();
        let moved = breaches.observe(&rules, &site.store, &readings).await;
        let breaching = moved.unwrap().into_iter().filter_map(|(_, breach)| breach);
        assert_eq!(breaching.count(), 1);
        state(&site, &readings[1]).await.breach.unwrap().count
    };
    assert_eq!(observe(0, &["a"], 1).await, 1);
    assert_eq!(observe(1, &["a"], 1).await, 2);
    assert_eq!(observe(2, &["a"], 1).await, 3);
    assert_eq!(
        observe(3, &["a", "b"], 1).await,
        1,
        "another shared the tick"
    );
    assert_eq!(observe(4, &["a", "b"], 1).await, 2);
    assert_eq!(observe(6, &["a", "b"], 1).await, 1, "a tick was missed");
    assert_eq!(observe(7, &["a", "b"], 2).await, 1, "the fleet changed");
}
