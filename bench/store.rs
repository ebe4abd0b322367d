//! How fast the stores of samples are, and how much room a sample takes: `cargo run --release --example store [series] [ticks]`.
//!
//! Writes a fleet's readings, one batch a tick, then asks what a tick's decisions and a backtest ask: of a file, or, with REDIS_URL set, of
//! that server, under a prefix of its own, and removes it all. CPU is that of this process. The room a sample takes is only worth
//! comparing after a day of ticks, since what each series has besides its samples is shared out among them.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use headroom::models::{CounterId, NodeId};
use headroom::samples::{Breach, SeriesKey, Store, Write};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const MINUTE_MS: i64 = 60_000;
/// 2025-11-21 00:00:00 UTC.
const BEGIN_MS: i64 = 1_763_683_200_000;
const RETENTION: Duration = Duration::from_hours(24);

/// What the embedded store must keep up with, samples a second.
const RATE_TARGET: f64 = 50_000.0;
/// How much room a sample may take in Redis after a day.
const BYTES_TARGET: f64 = 16.0;

/// How long a start may take that finds a day of data.
const START_TARGET: Duration = Duration::from_secs(2);

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let series: i64 = number(2_000)?;
    let ticks: i64 = number(24 * 60)?;
    println!("{series} series, {ticks} ticks of a minute, one batch a tick");

    match std::env::var("REDIS_URL") {
        Ok(url) => in_redis(&url, series, ticks).await,
        Err(_) => embedded(series, ticks).await,
    }
}

async fn embedded(series: i64, ticks: i64) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("samples.db");
    let store = Store::embedded(&path)?;
    let rate = measure("embedded", &store, series, ticks).await?;
    let bytes = size(&path) + size(&folder.path().join("samples.db-wal"));
    report_size("embedded", bytes, series * ticks);
    drop(store);
    let store = start_up(&path, series).await?;
    prune("embedded", &store, ticks).await?;
    verdict("embedded samples/s, at least 50000", rate >= RATE_TARGET);
    Ok(())
}

async fn in_redis(url: &str, series: i64, ticks: i64) -> Outcome<()> {
    let prefix = format!("headroom-bench-{}:", std::process::id());
    let store = Store::redis(url, &prefix, RETENTION)?;
    let mut redis = redis::Client::open(url)?.get_connection()?;
    let before = memory(&mut redis)?;
    measure("redis", &store, series, ticks).await?;
    let bytes = memory(&mut redis)?.saturating_sub(before);
    let each = report_size("redis", bytes, series * ticks);
    round_trips(url, &prefix, series.min(2_000)).await?;
    prune("redis", &store, ticks).await?;
    store.prune(i64::MAX).await?;
    if ticks >= 24 * 60 {
        verdict(
            "redis bytes a sample after a day, at most 16",
            each <= BYTES_TARGET,
        );
    }
    Ok(())
}

/// One way over the slow link.
const FAR: Duration = Duration::from_millis(100);

/// How often a batch goes to Redis and back: over a link on which that takes long, the time tells.
async fn round_trips(url: &str, prefix: &str, series: i64) -> Outcome<()> {
    let near = redis::Client::open(url)?;
    let redis::ConnectionAddr::Tcp(host, port) = near.get_connection_info().addr().clone() else {
        return Err("round trips are counted over TCP".into());
    };
    let far = slow_link((host, port)).await?;
    let store = Store::redis(&format!("redis://{far}/"), prefix, RETENTION)?;
    let batch = |tick| -> Vec<Write> { (0..series).map(|node| reading(node, tick)).collect() };
    // Connects, and loads what it needs there once.
    store.write(&batch(0)).await?;
    let begin = Instant::now();
    store.write(&batch(1)).await?;
    let trips = begin.elapsed().as_secs_f64() / (2 * FAR).as_secs_f64();
    println!(
        "redis     {trips:.1} times the round trip of a slow link for a batch of {series} series"
    );
    verdict("redis round trips a batch, one", trips < 2.0);
    Ok(())
}

/// Passes on whatever comes, both ways, each piece so much later.
async fn slow_link(to: (String, u16)) -> Outcome<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&to).await else {
                return;
            };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(later(from_client, to_server));
            tokio::spawn(later(from_server, to_client));
        }
    });
    Ok(address)
}

async fn later(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (pieces, mut due) = mpsc::unbounded_channel::<(tokio::time::Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, piece)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut piece = Vec::new();
    while let Ok(1..) = from.read_buf(&mut piece).await {
        let at = tokio::time::Instant::now() + FAR;
        if pieces.send((at, std::mem::take(&mut piece))).is_err() {
            return;
        }
    }
}

/// Answers with the samples written a second.
async fn measure(name: &str, store: &Store, series: i64, ticks: i64) -> Outcome<f64> {
    let mut slowest = Duration::ZERO;
    let (begin, cpu) = (Instant::now(), cpu_ms()?);
    for tick in 0..ticks {
        let batch: Vec<Write> = (0..series).map(|node| reading(node, tick)).collect();
        let begin = Instant::now();
        store.write(&batch).await?;
        slowest = slowest.max(begin.elapsed());
    }
    let samples = series * ticks;
    let rate = as_float(samples) / begin.elapsed().as_secs_f64();
    let cpu_us = as_float(cpu_ms()? - cpu) * 1_000.0 / as_float(samples);
    println!(
        "{name:9} write        {rate:>10.0} samples/s  {cpu_us:.1} us CPU each, slowest tick {slowest:.0?}"
    );

    let keys: Vec<SeriesKey> = (0..series).map(key).collect();
    let begin = Instant::now();
    let known = store.states(&keys).await?.iter().flatten().count();
    println!(
        "{name:9} states       {known:>10} series in {:.0?}",
        begin.elapsed()
    );

    let after: Vec<_> = keys.iter().map(|key| (*key, tick_ms(ticks / 2))).collect();
    let begin = Instant::now();
    let found = store.first_after(&after).await?.iter().flatten().count();
    println!(
        "{name:9} first_after  {found:>10} series in {:.0?}",
        begin.elapsed()
    );

    let some: Vec<SeriesKey> = keys.iter().take(500).copied().collect();
    let begin = Instant::now();
    let ranges = store.range(&some, i64::MIN, i64::MAX).await?;
    let read: usize = ranges.iter().map(Vec::len).sum();
    println!(
        "{name:9} range of 500 {read:>10} samples in {:.0?}",
        begin.elapsed()
    );

    Ok(rate)
}

/// Opens the file again and asks what the first tick and the first page ask.
async fn start_up(path: &Path, series: i64) -> Outcome<Store> {
    let begin = Instant::now();
    let store = Store::embedded(path)?;
    let keys: Vec<SeriesKey> = (0..series).map(key).collect();
    let known = store.states(&keys).await?.iter().flatten().count();
    let took = begin.elapsed();
    println!("embedded  start-up     {known:>10} series in {took:.0?}");
    verdict("embedded start-up, at most 2 s", took <= START_TARGET);
    Ok(store)
}

async fn prune(name: &str, store: &Store, ticks: i64) -> Outcome<()> {
    let begin = Instant::now();
    store.prune(tick_ms(ticks / 2)).await?;
    println!("{name:9} prune half   in {:.0?}", begin.elapsed());
    Ok(())
}

const fn key(node: i64) -> SeriesKey {
    SeriesKey::Ssh {
        node: NodeId(node),
        counter: CounterId(1),
    }
}

const fn tick_ms(tick: i64) -> i64 {
    BEGIN_MS + tick * MINUTE_MS
}

/// Every tenth series breaches, every hundredth fails: a bad day.
fn reading(node: i64, tick: i64) -> Write {
    let tick_ms = tick_ms(tick);
    let breaching = node % 10 == 0;
    Write {
        key: key(node),
        tick_ms,
        measured_ms: tick_ms + 300,
        took_ms: 40,
        outcome: if node % 100 == 1 {
            Err("timed out after 10 s".into())
        } else {
            Ok(as_float(node * 31 + tick) / 7.0)
        },
        breach: breaching.then_some(Breach {
            since_ms: BEGIN_MS,
            count: 1,
            last_ms: tick_ms,
        }),
    }
}

fn report_size(name: &str, bytes: u64, samples: i64) -> f64 {
    let each = bytes as f64 / as_float(samples);
    println!("{name:9} at rest      {bytes:>10} bytes, {each:.1} for each sample written");
    each
}

fn verdict(target: &str, met: bool) {
    println!("target    {target}: {}", if met { "met" } else { "MISSED" });
}

fn size(path: &Path) -> u64 {
    path.metadata().map_or(0, |meta| meta.len())
}

fn memory(redis: &mut redis::Connection) -> Outcome<u64> {
    let info: String = redis::cmd("INFO").arg("memory").query(redis)?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    Ok(line.ok_or("no used_memory in INFO")?.parse()?)
}

fn cpu_ms() -> Outcome<i64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time() + usage.system_time()).num_milliseconds())
}

/// Exact for every number that occurs here.
fn as_float(number: i64) -> f64 {
    number as f64
}
