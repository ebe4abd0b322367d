//! Drives runs: woken by the queue, and by a sweep that finds what no wake-up reached.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use tokio::sync::Semaphore;

use super::queue::Handler;
use super::supervise::{Stop, keep_running};
use crate::app::App;
use crate::error::Result;
use crate::models::{RunId, to_ms};
use crate::runs;

/// Runs that one process drives at the same time.
const AT_ONCE: usize = 64;

/// Drives runs, each at most once at a time in this process; between processes the claim in the row decides.
#[derive(Clone)]
pub(super) struct Runner {
    context: runs::Context,
    driven: Arc<Mutex<HashSet<RunId>>>,
    places: Arc<Semaphore>,
}

impl Runner {
    /// A runner that drives nothing yet.
    pub fn new(app: &App, stop: &Stop) -> Self {
        Self {
            context: app.run_context(stop),
            driven: Arc::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Begins to drive a run unless this process does already; returns at once.
    pub fn drive(&self, run: RunId) {
        if !self
            .driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(run)
        {
            return;
        }
        let runner = self.clone();
        tokio::spawn(async move {
            if let Ok(_place) = runner.places.acquire().await
                && let Err(cause) = runs::execute::drive(&runner.context, run).await
            {
                tracing::error!(run.id = %run, %cause, "the run could not be driven on; the sweep tries again");
            }
            runner
                .driven
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&run);
        });
    }

    /// Waits until no run is being driven.
    async fn finish(&self) {
        if let Ok(places) = u32::try_from(AT_ONCE)
            && let Ok(all) = self.places.acquire_many(places).await
        {
            drop(all);
        }
    }
}

/// Drives the runs that the queue names until told to stop, then waits for those under way.
pub(super) async fn serve_queue(app: App, runner: Runner, stop: Stop) {
    let handler = Handler::new({
        let runner = runner.clone();
        move |id| runner.drive(RunId(id))
    });
    keep_running("runs", &stop, || {
        app.queue.work(&app.worker, handler.clone(), stop.clone())
    })
    .await;
    runner.finish().await;
}

/// Finds open runs that nobody drives: their wake-up was lost, or the process that drove them died.
pub(super) async fn sweep(app: App, runner: Runner) -> Result<String> {
    let open = runs::recover::open_runs(&app.db, to_ms(Utc::now())).await?;
    for run in &open {
        runner.drive(*run);
    }
    Ok(format!("{} open runs looked at", open.len()))
}
