//! Has every trigger decided for a tick, and wakes workers for the runs that came of it.

use super::queue::Handler;
use super::supervise::{Stop, keep_running};
use crate::app::App;
use crate::error::Result;
use crate::models::decision::Decision;
use crate::triggers::evaluate::evaluate_all;

/// Decides every trigger for a tick; a tick that was decided before, here or by another process, stays as it is.
pub(super) async fn evaluate(app: App, tick_ms: i64) -> Result<()> {
    let tick_length_ms = app.config.sampling.tick_secs() * 1_000;
    let runs = evaluate_all(&app.db, &app.store, tick_ms, tick_length_ms).await?;
    count(&app, tick_ms).await;
    for run in runs {
        // The row stands; if the wake-up is lost, the sweep finds it.
        if let Err(cause) = app.queue.wake(run.0).await {
            tracing::warn!(run.id = %run, %cause, "the run waits for the sweep");
        }
    }
    Ok(())
}

/// Counts the tick's decisions by what they came to, for `/metrics`.
async fn count(app: &App, tick_ms: i64) {
    match app.db.read(Decision::latest).await {
        Ok(latest) => {
            let decided = latest.iter().filter_map(|(_, decision)| decision.as_ref());
            for decision in decided.filter(|decision| decision.last_ms == tick_ms) {
                app.metrics.decisions(decision.outcome.as_str(), 1);
            }
        }
        Err(cause) => tracing::warn!(%cause, "decisions not counted"),
    }
}

/// Decides the ticks that collecting processes name until told to stop.
pub(super) async fn serve_queue(app: App, stop: Stop) {
    let handler = Handler::new({
        let app = app.clone();
        move |tick_ms| {
            let app = app.clone();
            tokio::spawn(async move {
                if let Err(cause) = evaluate(app, tick_ms).await {
                    tracing::error!(tick_ms, %cause, "the tick could not be decided");
                }
            });
        }
    });
    keep_running("ticks", &stop, || {
        app.ticks.work(&app.worker, handler.clone(), stop.clone())
    })
    .await;
}
