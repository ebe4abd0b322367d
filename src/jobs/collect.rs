//! One tick: read every due counter, keep the samples, then have every trigger decided.

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::evaluate;
use super::keep::keep;
use crate::app::App;
use crate::collectors;
use crate::error::Result;
use crate::triggers::evaluate::Rules;

/// Share of the tick that reading may take; what is not read by then is late, and the rest is left to deciding.
const READING_SHARE: f64 = 0.9;
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
    let tally = keep(&app.store, &app.metrics, &rules, receiver, || ()).await;
    reading
        .await
        .map_err(|cause| crate::error::Error::internal("collecting broke down", cause))?;
    if decides {
        evaluate::evaluate(app, tick_ms).await?;
    } else {
        app.ticks.wake(tick_ms).await?;
    }
    tally.sum(nodes, began.elapsed())
}
