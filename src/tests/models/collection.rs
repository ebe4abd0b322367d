//! Who shares a tick, and the number that says whether the fleet changed.

use std::sync::Barrier;
use std::thread;

use headroom::db::{Connection, Db};
use headroom::error::{Error, Result};
use headroom::models::cluster::{Cluster, NewCluster};
use headroom::models::trigger::{NewTrigger, Trigger};
use headroom::models::{collection, revision};

use super::on_both;

const TICK_MS: i64 = 60_000;

fn begin(db: &Db, worker: &str, tick: i64) -> Option<Vec<String>> {
    db.write_blocking(|conn| collection::begin(conn, worker, tick * TICK_MS, TICK_MS))
        .unwrap()
}

fn is_over(db: &Db, tick: i64) -> bool {
    collection::is_over(&mut db.connection().unwrap(), tick * TICK_MS).unwrap()
}

fn finish(db: &Db, worker: &str, tick: i64) {
    db.write_blocking(|conn| collection::finish(conn, worker, tick * TICK_MS))
        .unwrap();
}

#[track_caller]
fn shared(db: &Db, worker: &str, tick: i64, among: &[&str]) {
    assert_eq!(
        begin(db, worker, tick).unwrap(),
        among,
        "{worker} at {tick}"
    );
}

#[test]
fn the_first_to_begin_a_tick_decides_among_whom_it_is_shared() {
    on_both(|db| {
        shared(db, "a", 10, &["a"]);
        shared(db, "b", 10, &["a"]);
        assert_eq!(begin(db, "a", 10), None, "nobody begins a tick twice");
        shared(db, "b", 11, &["a", "b"]);
        shared(db, "a", 11, &["a", "b"]);
    });
}

#[test]
fn one_that_dies_is_missed_for_two_more_ticks_and_one_that_leaves_for_none() {
    on_both(|db| {
        for tick in 10..=12 {
            for worker in ["a", "b", "c"] {
                begin(db, worker, tick);
            }
        }
        db.write_blocking(|conn| collection::leave(conn, "c"))
            .unwrap();
        shared(db, "a", 13, &["a", "b"]);
        shared(db, "a", 14, &["a", "b"]);
        shared(db, "a", 15, &["a"]);
        shared(db, "b", 15, &["a"]);
        shared(db, "b", 16, &["a", "b"]);
    });
}

#[test]
fn a_clock_that_was_set_back_counts_on_nobody_from_the_future() {
    on_both(|db| {
        shared(db, "a", 100, &["a"]);
        shared(db, "b", 40, &["b"]);
        shared(db, "b", 41, &["b"]);
    });
}

#[test]
fn a_tick_is_over_when_everybody_who_shares_it_is_done_or_gone() {
    on_both(|db| {
        assert!(!is_over(db, 10), "nobody began it");
        begin(db, "a", 10);
        assert!(!is_over(db, 10));
        finish(db, "a", 10);
        assert!(is_over(db, 10));

        begin(db, "b", 10);
        begin(db, "b", 11);
        assert!(!is_over(db, 11));
        finish(db, "b", 11);
        assert!(!is_over(db, 11), "a has not even begun");
        begin(db, "a", 11);
        finish(db, "a", 11);
        assert!(is_over(db, 11));

        begin(db, "a", 12);
        finish(db, "a", 12);
        db.write_blocking(|conn| collection::leave(conn, "b"))
            .unwrap();
        assert!(is_over(db, 12), "b has left");
    });
}

#[test]
fn processes_that_begin_at_the_same_time_go_by_one_list() {
    on_both(|db| {
        for tick in 10..20 {
            let start = Barrier::new(4);
            let lists: Vec<_> = thread::scope(|scope| {
                let begin = |name: &'static str| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        begin(db, name, tick).unwrap()
                    })
                };
                let workers = ["a", "b", "c", "d"].map(begin);
                workers.into_iter().map(|it| it.join().unwrap()).collect()
            });
            assert!(!lists[0].is_empty());
            assert!(
                lists.iter().all(|list| *list == lists[0]),
                "{tick}: {lists:?}"
            );
        }
    });
}

fn now(db: &Db) -> i64 {
    revision::current(&mut db.connection().unwrap()).unwrap()
}

#[test]
fn the_revision_grows_with_every_change_of_the_fleet_that_is_committed() {
    on_both(|db| {
        let first = now(db);
        let web = db
            .write_blocking(|conn| {
                Cluster::insert(conn, &NewCluster::named("web", 0))?;
                Cluster::insert(conn, &NewCluster::named("db", 0))
            })
            .unwrap();
        let second = now(db);
        assert!(second > first);
        db.write_blocking(|conn| Cluster::update(conn, web.id, &NewCluster::named("cache", 0)))
            .unwrap();
        let third = now(db);
        assert!(third > second);

        let failed: Result<()> = db.write_blocking(|conn| {
            Cluster::insert(conn, &NewCluster::named("gone", 0))?;
            Err(Error::Conflict("taken back".into()))
        });
        assert!(failed.is_err());
        assert_eq!(now(db), third, "what was taken back changed nothing");

        let trigger = NewTrigger::named("hot", web.id, 0);
        let trigger = db
            .write_blocking(|conn| Trigger::insert(conn, &trigger))
            .unwrap();
        let fourth = now(db);
        assert!(fourth > third);
        let fire = |conn: &mut Connection| Trigger::fire(conn, trigger.id, None, 5);
        assert!(db.write_blocking(fire).unwrap());
        assert_eq!(now(db), fourth, "a firing is no definition");
        db.write_blocking(|conn| Trigger::delete(conn, trigger.id))
            .unwrap();
        assert!(now(db) > fourth);
    });
}
