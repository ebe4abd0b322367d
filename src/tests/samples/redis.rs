//! The Redis store: the contract, the keys that others may look at, and what can happen to a server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ::redis::{Commands as _, cmd};
use headroom::error::Error;
use headroom::samples::Store;

use super::contract::{Backend, contract};
use super::*;
use crate::support::cable::{Cable, Cut};
use crate::support::redis::RedisServer;

const PREFIX: &str = "headroom:";
const DAY: Duration = Duration::from_hours(24);
const HOUR_SECS: i64 = 3_600;
/// One way through a long cable, there or back.
const FAR: Duration = Duration::from_millis(500);

impl Backend for RedisServer {
    fn start() -> Self {
        Self::start()
    }

    fn open(&self) -> Store {
        Store::redis(&self.url(), PREFIX, DAY).unwrap()
    }
}

contract!(RedisServer);

fn upstream(error: Error) -> (String, bool) {
    match error {
        Error::Upstream { what, retryable } => (what, retryable),
        other => panic!("{other:?} is not of the outside"),
    }
}

#[tokio::test]
async fn the_keys_are_those_of_the_reference_design_and_all_of_them_expire() {
    let server = RedisServer::start();
    let store = server.open();
    let mut breaching = value(key(7), minute(16), 9.5);
    breaching.breach = breach(minute(12), 5, minute(16));
    let batch = [breaching, fault(key(8), minute(16), "no route to host")];
    store.write(&batch).await.unwrap();

    let mut redis = server.connection();
    let mut keys: Vec<String> = redis.keys("*").unwrap();
    keys.sort();
    let expected = [
        "headroom:ssh_sshcounter.7.1",
        "headroom:ssh_sshcounter.7.1:samples",
        "headroom:ssh_sshcounter.7.1:state",
        "headroom:ssh_sshcounter.8.1",
        "headroom:ssh_sshcounter.8.1:state",
    ];
    assert_eq!(keys, expected);
    for key in &keys {
        let secs: i64 = redis.ttl(key).unwrap();
        assert!(
            (24 * HOUR_SECS..=25 * HOUR_SECS).contains(&secs),
            "{key}: {secs} s"
        );
    }
    let counts: (String, String) = redis.mget(&[&keys[0], &keys[3]]).unwrap();
    assert_eq!(counts, ("5".into(), "0".into()));
    let error: String = redis.hget(&keys[4], "error").unwrap();
    assert_eq!(error, "no route to host");
}

#[tokio::test]
async fn a_day_of_samples_takes_at_most_sixteen_bytes_each() {
    let server = RedisServer::start();
    let store = server.open();
    for hour in 0..24 {
        let ticks = hour * 60..hour * 60 + 60;
        let batch: Vec<_> = ticks.map(|at| value(key(1), minute(at), 0.1)).collect();
        store.write(&batch).await.unwrap();
    }
    let mut bytes = 0;
    for kind in ["", ":samples", ":state"] {
        let name = format!("{PREFIX}{}{kind}", key(1));
        let mut usage = cmd("MEMORY");
        usage.arg("USAGE").arg(name).arg("SAMPLES").arg(0);
        bytes += usage.query::<i64>(&mut server.connection()).unwrap();
    }
    let per_sample = bytes / (24 * 60);
    assert!(per_sample <= 16, "{per_sample} bytes a sample");
}

#[tokio::test]
async fn a_batch_of_two_thousand_readings_takes_one_round_trip() {
    let server = RedisServer::start();
    let near: SocketAddr = server.address().parse().unwrap();
    let cable = Cable::to(near.port(), Cut::ByHand).await;
    let url = format!("redis://127.0.0.1:{}/", cable.port());
    let store = Store::redis(&url, PREFIX, DAY).unwrap();
    let batch = |at: i64| -> Vec<Write> {
        let nodes = 0..2_000;
        nodes
            .map(|node| value(key(node), minute(at), 1.0))
            .collect()
    };
    // Connects while the way is short: only what a batch costs is to be measured.
    store.write(&batch(0)).await.unwrap();
    let batch = batch(1);

    cable.delay(FAR);
    let begin = Instant::now();
    store.write(&batch).await.unwrap();
    let took = begin.elapsed();
    assert!(took >= 2 * FAR, "{took:?}: the cable is not long");
    assert!(took < 4 * FAR, "{took:?}: more than one round trip");
    cable.delay(Duration::ZERO);
    let keys: Vec<SeriesKey> = (0..2_000).map(key).collect();
    let states = store.states(&keys).await.unwrap();
    assert_eq!(states.len(), 2_000);
    for known in states {
        assert_eq!(known.unwrap().tick_ms, minute(1), "all of it was kept");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_quick_error_and_its_return_is_seen_at_once() {
    let mut server = RedisServer::start();
    let store = server.open();
    store.write(&[value(key(1), minute(0), 1.0)]).await.unwrap();
    server.kill();
    for _ in 0..3 {
        let begin = Instant::now();
        let failed = store.write(&[value(key(1), minute(1), 1.0)]).await;
        let (message, retryable) = upstream(failed.unwrap_err());
        let expected = format!("could not write samples to Redis at {}: ", server.address());
        assert!(message.starts_with(&expected), "{message}");
        assert!(message.contains("refused"), "{message}");
        assert!(retryable);
        assert!(begin.elapsed() < Duration::from_secs(2));
    }
    let (message, _) = upstream(store.ping().await.unwrap_err());
    assert!(
        message.starts_with("could not reach Redis at "),
        "{message}"
    );

    server.start_again();
    store.write(&[value(key(1), minute(2), 1.0)]).await.unwrap();
    let found = store.range(&[key(1)], i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(found, [vec![sample(minute(2), 1.0)]]);
}

#[tokio::test]
async fn a_restart_between_two_calls_costs_nothing() {
    let mut server = RedisServer::start();
    let store = server.open();
    store.write(&[value(key(1), minute(0), 1.0)]).await.unwrap();
    server.kill();
    server.start_again();
    // The connection is dead and the scripts are forgotten: the call has to see to both.
    store.write(&[value(key(1), minute(1), 1.0)]).await.unwrap();
    let first = store.first_after(&[(key(1), minute(0))]).await.unwrap();
    assert_eq!(first, [Some(minute(1))]);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_within_the_time_limit() {
    let server = RedisServer::start();
    let store = server.open();
    store.write(&[value(key(1), minute(0), 1.0)]).await.unwrap();
    server.freeze();
    let begin = Instant::now();
    let (message, retryable) = upstream(store.states(&[key(1)]).await.unwrap_err());
    let took = begin.elapsed();
    assert!(message.ends_with("it did not answer in time"), "{message}");
    assert!(retryable);
    assert!(took < Duration::from_millis(5_500), "{took:?}");
    server.thaw();
    let states = store.states(&[key(1)]).await.unwrap();
    assert_eq!(states[0].as_ref().unwrap().tick_ms, minute(0));
}

#[tokio::test]
async fn a_server_without_memory_says_so_and_recovers() {
    let server = RedisServer::start();
    let store = server.open();
    let mut redis = server.connection();
    let limit = |bytes: &str| {
        let mut set = cmd("CONFIG");
        set.arg("SET").arg("maxmemory").arg(bytes);
        set
    };
    limit("1").exec(&mut redis).unwrap();
    let failed = store.write(&[value(key(1), minute(0), 1.0)]).await;
    let (message, retryable) = upstream(failed.unwrap_err());
    assert!(message.contains("OOM"), "{message}");
    assert!(retryable);
    limit("0").exec(&mut redis).unwrap();
    store.write(&[value(key(1), minute(0), 1.0)]).await.unwrap();
}

#[tokio::test]
async fn a_password_is_in_no_message() {
    let server = RedisServer::start_with(&["--requirepass", "hunter2"]);
    let address = server.address();
    for url in [
        format!("redis://:hunter3@{address}/"),
        format!("redis://{address}/"),
    ] {
        let store = Store::redis(&url, PREFIX, DAY).unwrap();
        let (message, _) = upstream(store.ping().await.unwrap_err());
        assert!(!message.contains("hunter"), "{message}");
        assert!(!format!("{store:?}").contains("hunter"));
    }
    let url = format!("redis://:hunter2@{address}/");
    let store = Store::redis(&url, PREFIX, DAY).unwrap();
    store.ping().await.unwrap();
}

#[test]
fn an_address_that_is_none_is_refused_without_repeating_it() {
    for url in ["", "hunter2", "http://:hunter2@h/", "redis://:hunter2@h:x/"] {
        let Err(Error::Invalid(faults)) = Store::redis(url, PREFIX, DAY) else {
            panic!("{url} was taken");
        };
        assert_eq!(faults[0].path, "REDIS_URL");
        assert!(!faults[0].message.contains("hunter"), "{:?}", faults[0]);
    }
}

#[tokio::test]
async fn pruning_leaves_what_others_keep_alone() {
    let server = RedisServer::start();
    let odd = "he*d[r]oom?:";
    let stores = [PREFIX, odd].map(|prefix| Store::redis(&server.url(), prefix, DAY).unwrap());
    for store in &stores {
        store.write(&[value(key(1), minute(0), 1.0)]).await.unwrap();
    }
    let mut redis = server.connection();
    let _: () = redis.set("headroom:other:state", "theirs").unwrap();
    let _: () = redis
        .set("headroom:ssh_sshcounter.x.1:state", "theirs")
        .unwrap();
    let _: () = redis.set("unrelated", "theirs").unwrap();

    stores[1].prune(minute(60)).await.unwrap();
    let known = stores[0].states(&[key(1)]).await.unwrap();
    assert!(known[0].is_some(), "another prefix is another store");
    assert_eq!(stores[1].states(&[key(1)]).await.unwrap(), [None]);

    stores[0].prune(minute(60)).await.unwrap();
    let mut left: Vec<String> = redis.keys("*").unwrap();
    left.sort();
    let theirs = [
        "headroom:other:state",
        "headroom:ssh_sshcounter.x.1:state",
        "unrelated",
    ];
    assert_eq!(left, theirs);
}
