//! The processes of Headroom and their signs of life.

use headroom::db::Db;
use headroom::models::worker::{NewWorker, Worker};

use super::on_both;

fn seen(db: &Db, name: &str, roles: &str, seen_ms: i64) {
    let worker = NewWorker {
        name: name.to_owned(),
        roles: roles.to_owned(),
        version: "0.1.0".to_owned(),
        started_ms: 1_000,
        seen_ms,
    };
    db.write_blocking(|conn| Worker::seen(conn, &worker))
        .unwrap();
}

fn all(db: &Db) -> Vec<(String, String, i64)> {
    let rows = Worker::all(&mut db.connection().unwrap()).unwrap();
    let told = |row: Worker| (row.name, row.roles, row.seen_ms);
    rows.into_iter().map(told).collect()
}

fn row(name: &str, roles: &str, seen_ms: i64) -> (String, String, i64) {
    (name.to_owned(), roles.to_owned(), seen_ms)
}

#[test]
fn a_sign_of_life_adds_a_process_or_renews_it() {
    on_both(|db| {
        seen(db, "b", "web", 2_000);
        seen(db, "a", "collect,run", 3_000);
        seen(db, "b", "web,evaluate", 4_000);
        let expected = [
            row("a", "collect,run", 3_000),
            row("b", "web,evaluate", 4_000),
        ];
        assert_eq!(all(db), expected);
    });
}

#[test]
fn processes_that_ended_or_fell_silent_are_forgotten_alone() {
    on_both(|db| {
        for (name, seen_ms) in [("ended", 9_000), ("silent", 4_999), ("quiet", 5_000)] {
            seen(db, name, "run", seen_ms);
        }
        db.write_blocking(|conn| {
            Worker::forget(conn, "ended")?;
            Worker::forget(conn, "never there")?;
            Worker::forget_before(conn, 5_000)
        })
        .unwrap();
        assert_eq!(all(db), [row("quiet", "run", 5_000)]);
    });
}
