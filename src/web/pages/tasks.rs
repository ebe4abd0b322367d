//! `/tasks`: every period Headroom keeps, how it last went, and the processes that keep it.

use askama::Template;

use crate::jobs::schedule::{ALL, Periodic, WORKER_DEAD_AFTER_MS};
use crate::models::task::Task;
use crate::models::worker::Worker;
use crate::web::error::Answer;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Badge, Moment, Status, count, duration};

/// A periodic task in one line.
struct TaskLine {
    name: &'static str,
    what: &'static str,
    every: String,
    badge: Badge,
    last: Option<Moment>,
    took: String,
    next: Option<Moment>,
    result: String,
    skipped: String,
    has_skipped: bool,
}

/// A process in one line.
struct WorkerLine {
    name: String,
    roles: String,
    version: String,
    badge: Badge,
    up: String,
    seen: Moment,
}

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage {
    layout: Layout,
    tasks: Vec<TaskLine>,
    workers: Vec<WorkerLine>,
    parts: Vec<(&'static str, Option<String>)>,
}

/// `GET /tasks`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit) -> Answer {
    let layout = visit.layout(Nav::Tasks, "Tasks").await?;
    let (tasks, workers) = visit
        .app
        .db
        .read(|conn| Ok((Task::all(conn)?, Worker::all(conn)?)))
        .await?;
    let health = visit.app.health().await.into_iter();
    visit.show(&TasksPage {
        tasks: ALL
            .iter()
            .map(|period| task(&visit, period, &tasks))
            .collect(),
        workers: workers.into_iter().map(|it| worker(&visit, it)).collect(),
        parts: health
            .map(|(name, outcome)| (name, outcome.err().map(|cause| cause.to_string())))
            .collect(),
        layout,
    })
}

fn task(visit: &Visit, period: &Periodic, known: &[Task]) -> TaskLine {
    let every_secs = period.period_secs(u64::try_from(visit.tick_ms() / 1000).unwrap_or(1));
    let every_ms = i64::try_from(every_secs)
        .unwrap_or(i64::MAX)
        .saturating_mul(1000);
    let row = known.iter().find(|task| task.name == period.name);
    let started_ms = row.and_then(|task| task.started_ms);
    let took_ms = row.and_then(|task| Some(task.finished_ms? - task.started_ms?));
    TaskLine {
        name: period.name,
        what: period.what,
        every: duration(every_ms / 1000),
        badge: match row.map(|task| (task.succeeded, task.finished_ms >= task.started_ms)) {
            None => Status::NoData.says("not yet"),
            Some((Some(false), _)) => Status::Firing.says("failed"),
            Some((Some(true), true)) => Status::Ok.badge(),
            Some(_) => Status::Pending.says("running"),
        },
        last: started_ms.map(|at_ms| visit.moment(at_ms)),
        took: took_ms.filter(|ms| *ms >= 0).map_or_else(String::new, took),
        next: started_ms.map(|_| visit.moment((visit.now_ms / every_ms + 1) * every_ms)),
        result: row.map_or_else(String::new, |task| task.result.clone()),
        skipped: count(row.map_or(0, |task| task.skipped)),
        has_skipped: row.is_some_and(|task| task.skipped > 0),
    }
}

fn took(ms: i64) -> String {
    if ms < 10_000 {
        format!("{ms} ms")
    } else {
        duration(ms / 1000)
    }
}

fn worker(visit: &Visit, worker: Worker) -> WorkerLine {
    let silent_ms = visit.now_ms.saturating_sub(worker.seen_ms);
    WorkerLine {
        badge: if silent_ms > WORKER_DEAD_AFTER_MS {
            Status::Firing.says("dead")
        } else {
            Status::Ok.says("alive")
        },
        up: duration(visit.now_ms.saturating_sub(worker.started_ms) / 1000),
        seen: visit.moment(worker.seen_ms),
        name: worker.name,
        roles: worker.roles.replace(',', ", "),
        version: worker.version,
    }
}
