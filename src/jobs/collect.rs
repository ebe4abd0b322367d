//! One tick: read every due counter, keep the samples, then have every trigger decided.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::evaluate;
use crate::app::App;
use crate::collectors::{self, Reading};
use crate::error::Result;
use crate::triggers::evaluate::{Rules, observe};

/// Share of the tick that reading may take; what is not read by then is late, and the rest is left to deciding.
const READING_SHARE: f64 = 0.9;
/// Readings wait for the others of their tick for so long, so that a tick is one transaction as a rule.
const GATHER: Duration = Duration::from_secs(1);
/// Nodes whose readings may wait to be kept.
const WAITING_NODES: usize = 1_024;

/// Reads, keeps, and hands over to deciding: here, or in a process that plays that role.
pub(super) async fn tick(app: App, tick_ms: i64, decides: bool) -> Result<String> {
    let began = Instant::now();
    app.metrics.tick();
    let deadline = began + app.config.sampling.tick.mul_f64(READING_SHARE);
    let vault = app.vault.clone();
    let tick_length_ms = app.config.sampling.tick_secs() * 1_000;
    let (plan, rules) = app
        .db
        .read(move |conn| {
            Ok((
                collectors::load_targets(conn, &vault, tick_ms)?,
                Rules::load(conn, tick_length_ms)?,
            ))
        })
        .await?;
    let nodes = plan.len();
    let (sender, receiver) = mpsc::channel(WAITING_NODES);
    let collectors = app.collectors.clone();
    let reading =
        tokio::spawn(async move { collectors.collect(plan, tick_ms, deadline, sender).await });
    let tally = keep(&app, &rules, receiver).await?;
    reading
        .await
        .map_err(|cause| crate::error::Error::internal("collecting broke down", cause))?;
    if decides {
        evaluate::evaluate(app, tick_ms).await?;
    } else {
        app.ticks.wake(tick_ms).await?;
    }
    Ok(format!(
        "{} readings of {nodes} nodes, {} errors, in {} ms",
        tally.values + tally.errors,
        tally.errors,
        began.elapsed().as_millis()
    ))
}

#[derive(Debug, Default)]
struct Tally {
    values: u64,
    errors: u64,
}

/// Keeps readings as they come, gathered so that a tick is one write unless some node is slow.
async fn keep(
    app: &App,
    rules: &Rules,
    mut receiver: mpsc::Receiver<Vec<Reading>>,
) -> Result<Tally> {
    let mut tally = Tally::default();
    while let Some(first) = receiver.recv().await {
        let mut batch = first;
        let until = Instant::now() + GATHER;
        while let Ok(Some(more)) = tokio::time::timeout_at(until, receiver.recv()).await {
            batch.extend(more);
        }
        count(app, &batch, &mut tally);
        observe(rules, &app.store, &batch).await?;
    }
    Ok(tally)
}

fn count(app: &App, batch: &[Reading], tally: &mut Tally) {
    let errors = batch
        .iter()
        .filter(|reading| reading.outcome.is_err())
        .count() as u64;
    let values = batch.len() as u64 - errors;
    app.metrics.readings("value", values);
    app.metrics.readings("error", errors);
    for reading in batch {
        app.metrics.reading_took(Duration::from_millis(
            u64::try_from(reading.took_ms).unwrap_or(0),
        ));
    }
    tally.values += values;
    tally.errors += errors;
}
