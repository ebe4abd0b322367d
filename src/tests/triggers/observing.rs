//! What a batch of readings does to the store.

use headroom::collectors::Reading;
use headroom::models::counter::Counter;
use headroom::samples::{Breach, SeriesState};

use super::site::{Site, WEB, at};

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
