//! The database falls silent, as when its host is lost: nothing is refused, nothing answers.

use std::fs;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use diesel::sql_types::Text;
use headroom::db::Db;
use headroom::models::decision::Decision;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::cable::{Cable, Cut};
use crate::support::postgres::Postgres;
use crate::support::process::Headroom;
use crate::support::wait;

/// Far more than it takes, for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
const TOLD: &str = "the database has not answered for 8 s";

#[test]
fn a_silent_database_is_told_of_within_seconds_and_ticks_go_on_when_it_answers_again() {
    let postgres = Postgres::start();
    let runtime = Runtime::new().unwrap();
    let cable = runtime.block_on(Cable::to(postgres.port(), Cut::ByHand));
    let url = format!(
        "postgres://headroom@127.0.0.1:{}/postgres?connect_timeout=4",
        cable.port()
    );
    let mut headroom = Headroom::new(&[("DATABASE_URL", &url), ("HEADROOM_TICK", "1s")]);
    headroom.serve();
    let began_ms = until_ticked_after(&headroom, 0);
    let (trials_ms, connections) = keepalive_ms(cable.port());
    assert!(connections > 0, "a connection is tried while it waits");
    assert!(
        trials_ms <= 10_000,
        "one is tried only after {trials_ms} ms"
    );

    cable.silence(true);
    let asked = Instant::now();
    let answer = headroom.ready();
    assert_eq!(answer.status, 503);
    assert!(
        answer.body.contains("database: does not answer"),
        "{}",
        answer.body
    );
    assert!(asked.elapsed() < LIMIT / 4, "{:?}", asked.elapsed());
    // Each tick that is tried says so for itself; between them some are skipped.
    let told = |log: &str| {
        let lines = log.lines().filter(|line| line.contains("\"tick\""));
        lines.filter(|line| line.contains(TOLD)).count()
    };
    wait::until("two ticks to be given up", LIMIT, || {
        (told(&headroom.log()) >= 2).then_some(())
    });

    cable.silence(false);
    wait::until("the database to answer", LIMIT, || {
        (headroom.ready().status == 200).then_some(())
    });
    let again_ms = until_ticked_after(&headroom, began_ms);
    until_ticked_after(&headroom, again_ms);
    headroom.stop();
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    value: String,
}

/// A process that stands still in a transaction must not keep the others from its rows.
#[test]
fn the_server_ends_a_transaction_that_stands_still_after_half_a_minute_or_as_the_url_says() {
    let postgres = Postgres::start();
    let url = format!("postgres://headroom@127.0.0.1:{}/postgres", postgres.port());
    let own = format!("{url}?options=-c%20idle_in_transaction_session_timeout%3D500ms");
    for (url, limit) in [(url, "30s"), (own.clone(), "500ms")] {
        let db = Db::open(&url).unwrap();
        let conn = &mut *db.connection().unwrap();
        let ask = "SELECT current_setting('idle_in_transaction_session_timeout') AS value";
        let set: Setting = diesel::sql_query(ask).get_result(conn).unwrap();
        assert_eq!(set.value, limit);
    }

    let (stuck, other) = (Db::open(&own).unwrap(), Db::open(&own).unwrap());
    let (holds, held) = std::sync::mpsc::channel();
    let (lets_go, let_go) = std::sync::mpsc::channel::<()>();
    let standstill = std::thread::spawn(move || {
        stuck.write_blocking(|conn| {
            Decision::lock_ledger(conn)?;
            holds.send(()).unwrap();
            let_go.recv().unwrap();
            Ok(())
        })
    });
    held.recv().unwrap();
    let asked = Instant::now();
    other.write_blocking(Decision::lock_ledger).unwrap();
    assert!(asked.elapsed() < LIMIT / 4, "{:?}", asked.elapsed());
    lets_go.send(()).unwrap();
    let ended = format!("{:?}", standstill.join().unwrap().unwrap_err());
    // The server's last words are lost where libpq is in the middle of sending.
    let said = ["idle-in-transaction timeout", "closed the connection"];
    assert!(said.iter().any(|said| ended.contains(said)), "{ended}");
}

/// Waits for a tick that ended well.
fn until_ticked_after(headroom: &Headroom, after_ms: i64) -> i64 {
    wait::until("a tick that ends well", LIMIT, || {
        let tasks = headroom.get("/tasks");
        let tick = tasks["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|task| task["name"] == "tick")?;
        let at: chrono::DateTime<chrono::Utc> = tick["finished"].as_str()?.parse().unwrap();
        let at_ms = at.timestamp_millis();
        (tick["succeeded"] == Value::Bool(true) && at_ms > after_ms).then_some(at_ms)
    })
}

/// When the connections to a port are tried the next time, the latest of them, and how many there are.
fn keepalive_ms(port: u16) -> (u64, usize) {
    const ESTABLISHED: &str = "01";
    const KEEPALIVE: &str = "02";
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let to = format!(":{port:04X}");
    let waits = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (timer, hundredths) = words[5].split_once(':')?;
        let ours = words[2].ends_with(&to) && words[3] == ESTABLISHED && timer == KEEPALIVE;
        ours.then(|| u64::from_str_radix(hundredths, 16).unwrap() * 10)
    });
    let waits: Vec<u64> = waits.collect();
    (waits.iter().copied().max().unwrap_or_default(), waits.len())
}
