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

/// The runs that this process drives.
#[derive(Clone, Default)]
struct Driven(Arc<Mutex<HashSet<RunId>>>);

impl Driven {
    /// Notes that a run is driven from now on; nothing when it is already.
    fn begin(&self, run: RunId) -> Option<Driving> {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.insert(run).then(|| Driving(self.clone(), run))
    }
}

/// That a run is driven, until this is dropped: also when its driving panics, so that the sweep finds it again.
struct Driving(Driven, RunId);

impl Drop for Driving {
    fn drop(&mut self) {
        let mut runs = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.remove(&self.1);
    }
}

/// Drives runs, each at most once at a time in this process; between processes the claim in the row decides.
#[derive(Clone)]
pub(super) struct Runner {
    context: runs::Context,
    driven: Driven,
    places: Arc<Semaphore>,
}

impl Runner {
    /// A runner that drives nothing yet.
    pub fn new(app: &App, stop: &Stop) -> Self {
        Self {
            context: app.run_context(stop),
            driven: Driven::default(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Begins to drive a run unless this process does already; returns at once.
    pub fn drive(&self, run: RunId) {
        let Some(driving) = self.driven.begin(run) else {
            return;
        };
        let runner = self.clone();
        tokio::spawn(async move {
            let _until_its_end = driving;
            if let Ok(_place) = runner.places.acquire().await
                && let Err(cause) = runs::execute::drive(&runner.context, run).await
            {
                tracing::error!(run.id = %run, %cause, "the run could not be driven on; the sweep tries again");
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_whose_driving_panics_can_be_taken_up_again() {
        let driven = Driven::default();
        let driving = driven.begin(RunId(1)).unwrap();
        assert!(driven.begin(RunId(1)).is_none(), "it is driven already");
        let panicked = tokio::spawn(async move {
            let _until_its_end = driving;
            panic!("an effect panics");
        });
        assert!(panicked.await.unwrap_err().is_panic());
        assert!(
            driven.begin(RunId(1)).is_some(),
            "nobody drives it any more"
        );
    }
}
