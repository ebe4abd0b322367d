//! What a tick costs besides reading the nodes, and a backtest: `cargo run --release --example tick [nodes] [clusters]`.
//!
//! A fleet in a database of its own, five counters, five triggers for each cluster that look at all of them; every reading of a tick is
//! kept and every trigger decided, as in `serve`. With REDIS_URL set the samples go there, under a prefix of their own. CPU is that of this process.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use headroom::collectors::Reading;
use headroom::db::Db;
use headroom::fleet::{self, Options};
use headroom::models::counter::Counter;
use headroom::models::node::Node;
use headroom::models::{NodeId, Via};
use headroom::samples::{SeriesKey, Store, Write};
use headroom::triggers::evaluate::{Backtest, Rules, evaluate_pass, observe};
use headroom::vault::Vault;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::{Value, json};

const COUNTERS: usize = 5;
const TRIGGERS: usize = 5;
const TICKS: i64 = 7;
const MINUTE_MS: i64 = 60_000;
/// A whole day in 2026.
const BEGIN_MS: i64 = 1_794_960_000_000;
const DAY_MINUTES: i64 = 1_440;
const RETENTION: Duration = Duration::from_hours(24);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |text| text.parse());
    let (nodes, clusters): (usize, usize) = (number(10_000)?, number(100)?);
    let folder = tempfile::tempdir()?;
    let db = Db::open(&format!(
        "sqlite://{}",
        folder.path().join("headroom.db").display()
    ))?;
    let vault = Vault::open(&folder.path().join("master.key"))?;
    let context = fleet::Context {
        vault,
        tick_secs: 60,
        allow_local: true,
        actor: "bench".into(),
        via: Via::System,
        now_ms: BEGIN_MS,
    };
    let text = fleet(nodes, clusters).to_string();
    let begin = Instant::now();
    db.write_blocking(|conn| fleet::apply_text(conn, &context, &text, Options::default()))?;
    println!(
        "fleet     {nodes} nodes in {clusters} clusters, {COUNTERS} counters, {} triggers applied in {:.1?}",
        clusters * TRIGGERS,
        begin.elapsed()
    );
    let store = match std::env::var("REDIS_URL") {
        Ok(url) => Store::redis(
            &url,
            &format!("headroom-bench-{}:", std::process::id()),
            RETENTION,
        )?,
        Err(_) => Store::embedded(&folder.path().join("samples.db"))?,
    };
    ticks(&db, &store).await?;
    backtest(&db, &store).await?;
    store.prune(i64::MAX).await?;
    Ok(())
}

async fn ticks(db: &Db, store: &Store) -> Result<()> {
    let (keys, rules) = {
        let conn = &mut *db.connection()?;
        (keys(conn)?, Rules::load(conn, MINUTE_MS)?)
    };
    let (mut kept, mut decided) = (Vec::new(), Vec::new());
    for minute in 0..TICKS {
        let tick_ms = BEGIN_MS + minute * MINUTE_MS;
        let readings: Vec<Reading> = keys.iter().map(|key| reading(*key, tick_ms)).collect();
        kept.push(measured(observe(&rules, store, &readings)).await?.1);
        let pass = evaluate_pass(db, store, tick_ms, MINUTE_MS, false);
        let (evaluated, cost) = measured(pass).await?;
        ensure!(
            evaluated.waiting == 0 && evaluated.runs.is_empty(),
            "{evaluated:?}"
        );
        decided.push(cost);
    }
    // The first of each makes what the others find.
    report("keep", kept.split_off(1), keys.len(), None);
    report("decide", decided.split_off(1), keys.len(), Some(250));
    Ok(())
}

/// 24 hours of a cluster's first hundred nodes.
async fn backtest(db: &Db, store: &Store) -> Result<()> {
    let (keys, backtest) = {
        let conn = &mut *db.connection()?;
        let keys: Vec<SeriesKey> = keys(conn)?.into_iter().take(100 * COUNTERS).collect();
        (keys, Backtest::load(conn, "trigger-0-0", MINUTE_MS)?)
    };
    for minute in 0..DAY_MINUTES {
        let tick_ms = BEGIN_MS - (DAY_MINUTES - minute) * MINUTE_MS;
        let writes: Vec<Write> = keys.iter().map(|key| written(*key, tick_ms)).collect();
        store.write(&writes).await?;
    }
    let replay = backtest.replay(
        store,
        BEGIN_MS - DAY_MINUTES * MINUTE_MS,
        BEGIN_MS - MINUTE_MS,
    );
    let (report, (took, _)) = measured(replay).await?;
    println!(
        "backtest  {} ticks of {} series in {took:.1?} (wanted: 1 s): {}",
        report.ticks,
        keys.len(),
        verdict(took <= Duration::from_secs(1))
    );
    Ok(())
}

fn keys(conn: &mut headroom::db::Connection) -> Result<Vec<SeriesKey>> {
    let counters = Counter::all(conn)?;
    let nodes = Node::all(conn)?;
    let keys = nodes.iter().flat_map(|node| {
        let of = |counter: &Counter| SeriesKey::Ssh {
            node: node.id,
            counter: counter.id,
        };
        counters.iter().map(of).collect::<Vec<_>>()
    });
    Ok(keys.collect())
}

/// A tenth of the nodes breach, never for long enough: the costliest answer.
fn value(key: SeriesKey) -> f64 {
    let NodeId(node) = key.node().unwrap_or(NodeId(1));
    if node % 10 == 0 { 9.0 } else { 1.0 }
}

fn reading(key: SeriesKey, tick_ms: i64) -> Reading {
    Reading {
        key,
        node: key.node().unwrap_or(NodeId(1)),
        counter: key.counter(),
        tick_ms,
        measured_ms: tick_ms + 300,
        took_ms: 40,
        outcome: Ok(value(key)),
    }
}

fn written(key: SeriesKey, tick_ms: i64) -> Write {
    Write {
        key,
        tick_ms,
        measured_ms: tick_ms + 300,
        took_ms: 40,
        outcome: Ok(value(key)),
        breach: None,
    }
}

/// Wall clock and CPU.
type Cost = (Duration, i64);

async fn measured<T>(work: impl Future<Output = headroom::error::Result<T>>) -> Result<(T, Cost)> {
    let (begin, cpu) = (Instant::now(), cpu_ms()?);
    let value = work.await?;
    Ok((value, (begin.elapsed(), cpu_ms()? - cpu)))
}

fn report(what: &str, mut costs: Vec<Cost>, series: usize, wanted_ms: Option<u64>) {
    costs.sort();
    let middle = costs.get(costs.len() / 2).copied().unwrap_or_default();
    let worst = costs.last().copied().unwrap_or_default();
    let wanted = wanted_ms.map_or_else(String::new, |ms| {
        let met = middle.0 <= Duration::from_millis(ms);
        format!(" (wanted: {ms} ms): {}", verdict(met))
    });
    println!(
        "{what:9} a tick of {series} series in {:.0?}, {:.0?} at worst, {} ms CPU{wanted}",
        middle.0, worst.0, middle.1
    );
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

fn cpu_ms() -> Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("no CPU time")?;
    Ok((usage.user_time() + usage.system_time()).num_milliseconds())
}

fn fleet(nodes: usize, clusters: usize) -> Value {
    let counters: Vec<_> = (0..COUNTERS).map(|at| format!("counter{at}")).collect();
    let node = |at: usize| {
        let address = format!("10.{}.{}.{}", at / 65_536, at / 256 % 256, at % 256);
        json!({"name": format!("node{at:05}"), "address": address, "ssh_profile": "ops"})
    };
    let cluster = |at: usize| {
        let of = (0..nodes).filter(|node| node * clusters / nodes.max(1) == at);
        json!({"name": format!("cluster{at}"), "min_nodes": 0, "nodes": of.map(node).collect::<Vec<_>>()})
    };
    let trigger = |at: usize| {
        json!({
            "name": format!("trigger-{}-{}", at / TRIGGERS, at % TRIGGERS), "cluster": format!("cluster{}", at / TRIGGERS),
            "counters": counters, "timing": "1h", "steps": [{"action": "tell", "target": "none"}],
        })
    };
    json!({
        "ssh_profiles": [{"name": "ops", "user": "ops", "private_key_file": "/etc/headroom/key", "host_keys": "first_use"}],
        "counters": counters.iter().map(|name| json!({
            "name": name, "kind": "ssh", "script": "uptime", "comparison": ">", "threshold": 4,
        })).collect::<Vec<_>>(),
        "clusters": (0..clusters).map(cluster).collect::<Vec<_>>(),
        "actions": [{"name": "tell", "kind": "Email", "address": "a@example.org", "title": "t", "content": "c"}],
        "triggers": (0..clusters * TRIGGERS).map(trigger).collect::<Vec<_>>(),
    })
}
