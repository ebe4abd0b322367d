//! How long it takes from the last reading of a tick to the first step of the run that it sets off: `cargo run --release --example latency
//! [firings]`. All of Headroom's workers in this process, with a tick of a second; with REDIS_URL set samples and queue are there.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::Utc;
use headroom::app::App;
use headroom::config::{Config, Source};
use headroom::fleet::{self, Options};
use headroom::jobs::schedule::Role;
use headroom::jobs::supervise::stop_signal;
use headroom::models::counter::Counter;
use headroom::models::node::Node;
use headroom::models::run::Run;
use headroom::models::step_run::StepRun;
use headroom::models::{RunId, Via};
use headroom::samples::SeriesKey;
use serde_json::json;

const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<()> {
    let firings: usize = std::env::args()
        .nth(1)
        .map_or(Ok(20), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let load = folder.path().join("load");
    set(&load, 1)?;
    let data = folder.path().join("data").display().to_string();
    let redis = std::env::var("REDIS_URL").ok();
    let prefix = format!("headroom-bench-{}:", std::process::id());
    let mut settings = vec![
        ("data", data.as_str()),
        ("tick", "1s"),
        ("redis_prefix", &prefix),
    ];
    settings.extend(redis.as_deref().map(|url| ("redis_url", url)));
    let app = App::open(Config::from_source(Source::of(&settings))?).await?;
    define(&app, &load)?;
    let (stopper, stop) = stop_signal();
    let roles = vec![Role::Collect, Role::Evaluate, Role::Run];
    let workers = tokio::spawn(headroom::jobs::work(app.clone(), roles, stop));

    let mut took_ms = Vec::new();
    for _ in 0..firings {
        took_ms.extend(fire(&app, &load).await?);
    }
    stopper.stop();
    workers.await?;
    app.store.prune(i64::MAX).await?;

    took_ms.sort_unstable();
    let place = if redis.is_some() { "Redis" } else { "embedded" };
    let wanted_ms = if redis.is_some() { 200 } else { 500 };
    let middle = took_ms
        .get(took_ms.len() / 2)
        .context("nothing was measured")?;
    let worst = took_ms.last().context("nothing was measured")?;
    println!(
        "latency   reading to first step, {place}: {middle} ms, {worst} ms at worst of {} (wanted: {wanted_ms}): {}",
        took_ms.len(),
        if *worst <= wanted_ms { "met" } else { "MISSED" }
    );
    Ok(())
}

/// Lets the trigger fire once and calm down again: ms from the reading to the first step; none if the next tick's reading was quicker.
async fn fire(app: &App, load: &Path) -> Result<Option<i64>> {
    let known = newest(app).await?;
    set(load, 9)?;
    let run = until("a run", async || {
        let run = newest(app).await?;
        Ok(run.filter(|_| run != known))
    })
    .await?;
    let key = app.db.read(key).await?;
    let state = app.store.states(&[key]).await?.into_iter().flatten().next();
    set(load, 1)?;
    let (tick_ms, started_ms) = until("its first step", async || {
        let row = app.db.read(move |conn| Run::find(conn, run)).await?;
        let steps = app
            .db
            .read(move |conn| StepRun::of_runs(conn, &[run]))
            .await?;
        let first = steps.first().and_then(|step| step.started_ms);
        Ok(row
            .finished_ms
            .and(first)
            .map(|started_ms| (row.created_ms, started_ms)))
    })
    .await?;
    until("the load to be low", async || {
        let state = app.store.states(&[key]).await?.into_iter().flatten().next();
        Ok(state.filter(|state| state.breach.is_none()))
    })
    .await?;
    let state = state.filter(|state| state.tick_ms == tick_ms);
    Ok(state.map(|state| started_ms - state.measured_ms))
}

async fn newest(app: &App) -> Result<Option<RunId>> {
    let runs = app.db.read(|conn| Run::page(conn, &[], None, 1)).await?;
    Ok(runs.first().map(|run| run.id))
}

fn key(conn: &mut headroom::db::Connection) -> headroom::error::Result<SeriesKey> {
    Ok(SeriesKey::Local {
        node: Node::by_name(conn, "here")?.id,
        counter: Counter::by_name(conn, "load")?.id,
    })
}

async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let asking = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .with_context(|| format!("waited in vain for {what}"))?
}

fn set(file: &Path, load: u32) -> Result<()> {
    let unfinished = file.with_extension("part");
    std::fs::write(&unfinished, load.to_string())?;
    Ok(std::fs::rename(unfinished, file)?)
}

fn define(app: &App, load: &Path) -> Result<()> {
    let fleet = json!({
        "counters": [{
            "name": "load", "kind": "local", "script": format!("cat {}", load.display()), "comparison": ">", "threshold": 4, "every": "1s",
        }],
        "clusters": [{"name": "own", "nodes": [{"name": "here", "address": "localhost"}]}],
        "actions": [{"name": "note", "kind": "LocalScript", "script": "true"}],
        "triggers": [{
            "name": "hot", "cluster": "own", "counters": ["load"], "timing": 0, "steps": [{"action": "note", "target": "lastnode"}],
        }],
    });
    let context = app.fleet_context("bench".into(), Via::System, Utc::now());
    let text = fleet.to_string();
    app.db
        .write_blocking(|conn| fleet::apply_text(conn, &context, &text, Options::default()))?;
    Ok(())
}
