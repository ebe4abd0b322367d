//! Runs a periodic task on the clock's beat: never twice at once, in one process of several unless they share it, with its outcome noted.

use std::sync::Arc;

use apalis::prelude::{Data, WorkerBuilder};
use apalis_cron::{CronScheduler, Tick};
use chrono::Utc;
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryFutureExt as _};
use tokio::sync::Mutex;

use super::schedule::{Aligned, Periodic};
use super::supervise::{Stop, keep_running};
use crate::app::App;
use crate::error::{Error, Result};
use crate::models::task::Task;
use crate::models::to_ms;

/// What a task does at a tick (ms); it says in a sentence what came of it.
type Work = Arc<dyn Fn(App, i64) -> BoxFuture<'static, Result<String>> + Send + Sync>;

/// What a tick sets off; cheap to clone.
#[derive(Clone)]
struct Beat {
    app: App,
    task: Periodic,
    period_ms: i64,
    busy: Arc<Mutex<()>>,
    work: Work,
}

/// Does `work` at every tick of `task` until told to stop, then waits for the one that is running.
pub(super) async fn every<F>(
    app: App,
    task: Periodic,
    stop: Stop,
    work: impl Fn(App, i64) -> F + Send + Sync + 'static,
) where
    F: Future<Output = Result<String>> + Send + 'static,
{
    let period_secs = task.period_secs(app.config.sampling.tick.as_secs());
    let beat = Beat {
        app,
        task,
        period_ms: i64::try_from(period_secs * 1_000).unwrap_or(i64::MAX),
        busy: Arc::default(),
        work: Arc::new(move |app, tick_ms| work(app, tick_ms).boxed()),
    };
    keep_running(task.name, &stop, || listen(&beat, period_secs, &stop)).await;
    drop(beat.busy.lock().await);
}

fn listen(beat: &Beat, period_secs: u64, stop: &Stop) -> BoxFuture<'static, Result<()>> {
    let stop = stop.clone();
    let stopped = async move {
        stop.given().await;
        Ok::<(), std::io::Error>(())
    };
    WorkerBuilder::new(beat.task.name)
        .backend(CronScheduler::new(Aligned::new(period_secs)))
        .data(beat.clone())
        .build(on_tick)
        .run_until(stopped)
        .map_err(|cause| Error::internal("the scheduler failed", cause))
        .boxed()
}

/// Returns at once, so that a long task never holds the clock up.
async fn on_tick(tick: Tick, beat: Data<Beat>) {
    let tick_ms = i64::try_from(tick.get_timestamp())
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000);
    let beat = (*beat).clone();
    tokio::spawn(async move { beat.strike(tick_ms).await });
}

impl Beat {
    async fn strike(self, tick_ms: i64) {
        let name = self.task.name;
        // A machine that slept fires late; what it slept through is skipped like a tick that was still running.
        let late = to_ms(Utc::now()) - tick_ms >= self.period_ms;
        let Some(_busy) = self.busy.clone().try_lock_owned().ok().filter(|_| !late) else {
            tracing::warn!(
                task = name,
                tick_ms,
                late,
                "skipped: the one before still ran, or the machine slept"
            );
            if self.task.is_shared {
                self.app.metrics.ticks_skipped(1);
            }
            self.note(move |conn| Task::skip(conn, name, 1)).await;
            return;
        };
        match self.claim(tick_ms).await {
            Ok(first) if first || self.task.is_shared => self.run(tick_ms).await,
            Ok(_) => tracing::debug!(task = name, tick_ms, "another process has this one"),
            Err(cause) => tracing::error!(task = name, %cause, "could not be started"),
        }
    }

    async fn claim(&self, tick_ms: i64) -> Result<bool> {
        let (name, period_ms) = (self.task.name, self.period_ms);
        self.app
            .db
            .write(move |conn| Task::begin(conn, name, tick_ms, period_ms))
            .await
    }

    async fn run(&self, tick_ms: i64) {
        let name = self.task.name;
        let outcome = (self.work)(self.app.clone(), tick_ms).await;
        if let Err(cause) = &outcome {
            tracing::error!(task = name, %cause, "failed");
        }
        let now_ms = to_ms(Utc::now());
        self.note(move |conn| match &outcome {
            Ok(text) => Task::finish(conn, name, now_ms, Ok(text)),
            Err(cause) => Task::finish(conn, name, now_ms, Err(&cause.to_string())),
        })
        .await;
    }

    async fn note(
        &self,
        write: impl FnOnce(&mut crate::db::Connection) -> Result<()> + Send + 'static,
    ) {
        if let Err(cause) = self.app.db.write(write).await {
            tracing::error!(task = self.task.name, %cause, "its outcome could not be noted");
        }
    }
}
