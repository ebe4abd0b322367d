//! The last outcome of every periodic task.

use std::sync::Barrier;
use std::thread;

use headroom::db::Db;
use headroom::models::task::Task;

use super::on_both;

const MINUTE_MS: i64 = 60_000;
const PROCESSES: usize = 6;

fn begin(db: &Db, at_ms: i64) -> bool {
    db.write_blocking(|conn| Task::begin(conn, "collect", at_ms, MINUTE_MS))
        .unwrap()
}

fn only(db: &Db) -> Task {
    let mut all = Task::all(&mut db.connection().unwrap()).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_task_tells_how_it_began_and_ended() {
    on_both(|db| {
        assert!(begin(db, MINUTE_MS));
        let running = only(db);
        assert_eq!(running.started_ms, Some(MINUTE_MS));
        assert_eq!((running.finished_ms, running.succeeded), (None, None));

        for (at_ms, outcome, succeeded) in [
            (61_000, Ok("read 40 counters"), true),
            (62_000, Err("the store does not answer"), false),
        ] {
            db.write_blocking(|conn| Task::finish(conn, "collect", at_ms, outcome))
                .unwrap();
            let task = only(db);
            assert_eq!(task.finished_ms, Some(at_ms));
            assert_eq!(task.succeeded, Some(succeeded));
            assert_eq!(task.result, outcome.unwrap_or_else(|text| text));
        }
    });
}

#[test]
fn one_tick_is_begun_once_and_the_next_again() {
    on_both(|db| {
        assert!(begin(db, 5 * MINUTE_MS));
        assert!(!begin(db, 5 * MINUTE_MS), "the same tick");
        assert!(!begin(db, 4 * MINUTE_MS), "a late process");
        assert!(begin(db, 6 * MINUTE_MS));
    });
}

#[test]
fn a_clock_set_back_by_an_hour_does_not_stop_the_task_for_an_hour() {
    on_both(|db| {
        assert!(begin(db, 100 * MINUTE_MS));
        assert!(begin(db, 40 * MINUTE_MS));
        assert!(!begin(db, 40 * MINUTE_MS));
        assert!(begin(db, 41 * MINUTE_MS));
    });
}

#[test]
fn of_many_processes_that_begin_the_same_tick_one_wins() {
    on_both(|db| {
        // The first tick of all is the hard one: there is no row yet to compare and set.
        for tick in 1..=20 {
            let ready = Barrier::new(PROCESSES);
            let wins = thread::scope(|scope| {
                let process = || {
                    ready.wait();
                    begin(db, tick * MINUTE_MS)
                };
                let processes: Vec<_> = (0..PROCESSES).map(|_| scope.spawn(process)).collect();
                let outcomes = processes.into_iter().map(|process| process.join().unwrap());
                outcomes.filter(|won| *won).count()
            });
            assert_eq!(wins, 1, "tick {tick}");
        }
        assert_eq!(only(db).started_ms, Some(20 * MINUTE_MS));
    });
}

#[test]
fn skipped_ticks_are_counted_even_before_the_first_start() {
    on_both(|db| {
        for times in [1, 3] {
            db.write_blocking(|conn| Task::skip(conn, "collect", times))
                .unwrap();
        }
        assert_eq!(only(db).skipped, 4);
        assert_eq!(only(db).started_ms, None);
        assert!(begin(db, MINUTE_MS));
        assert_eq!(only(db).skipped, 4);
    });
}
