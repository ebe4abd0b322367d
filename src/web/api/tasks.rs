//! What Headroom does by itself, and which processes do it.

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{ok, time};
use crate::app::App;
use crate::models::from_ms;
use crate::models::task::Task as TaskRow;
use crate::models::worker::Worker as WorkerRow;
use crate::web::error::Answer;

/// A periodic task.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Last start.
    pub started: Option<DateTime<Utc>>,
    /// Last end.
    pub finished: Option<DateTime<Utc>>,
    /// How it ended; null before its first end.
    pub succeeded: Option<bool>,
    /// What it did or why it failed.
    pub result: String,
    /// Times it was due but still running.
    pub skipped: i64,
}

/// A process of Headroom.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// What it does.
    pub roles: Vec<String>,
    /// Its version.
    pub version: String,
    /// Since when.
    pub started: DateTime<Utc>,
    /// Its last sign of life.
    pub seen: DateTime<Utc>,
}

/// Tasks and processes.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Tasks {
    /// The periodic tasks.
    pub tasks: Vec<Task>,
    /// The processes.
    pub workers: Vec<Worker>,
}

/// `GET /tasks`.
///
/// # Errors
/// The database fails.
pub async fn list(app: Data<App>) -> Answer {
    let (tasks, workers) = app
        .db
        .read(|conn| Ok((TaskRow::all(conn)?, WorkerRow::all(conn)?)))
        .await?;
    Ok(ok(&Tasks {
        tasks: tasks.into_iter().map(Task::from).collect(),
        workers: workers.into_iter().map(Worker::from).collect(),
    }))
}

impl From<TaskRow> for Task {
    fn from(row: TaskRow) -> Self {
        Self {
            name: row.name,
            started: time(row.started_ms),
            finished: time(row.finished_ms),
            succeeded: row.succeeded,
            result: row.result,
            skipped: row.skipped,
        }
    }
}

impl From<WorkerRow> for Worker {
    fn from(row: WorkerRow) -> Self {
        Self {
            name: row.name,
            roles: row.roles.split(',').map(str::to_owned).collect(),
            version: row.version,
            started: from_ms(row.started_ms),
            seen: from_ms(row.seen_ms),
        }
    }
}
