//! Drops what is past its retention, so that nothing grows without bound.

use std::collections::HashSet;

use chrono::Utc;

use crate::app::App;
use crate::db::Db;
use crate::error::Result;
use crate::models::decision::Decision;
use crate::models::living::Living;
use crate::models::session::Session;
use crate::models::worker::Worker;
use crate::models::{NodeId, to_ms};
use crate::samples::{SeriesKey, Store};

/// Decisions, finished runs and audit events outlive samples: they answer questions weeks later.
const HISTORY_MS: i64 = 90 * 86_400_000;
/// Stretches of decisions kept for a trigger, besides those that started a run. A trigger that comes to something else at every tick
/// would fill the disk otherwise: this is three days of that at a tick a minute, and months of anything calmer.
const STRETCHES: i64 = 5_000;
/// A process that died is shown for so long.
const DEAD_WORKER_MS: i64 = 86_400_000;

/// Drops old samples, decisions, sessions, workers and delivered queue messages, and the series of what was deleted.
pub(super) async fn prune(app: App, _tick_ms: i64) -> Result<String> {
    let now_ms = to_ms(Utc::now());
    let retention_ms = i64::try_from(app.config.sampling.retention.as_millis()).unwrap_or(i64::MAX);
    app.store.prune(now_ms - retention_ms).await?;
    let series = forget_deleted(&app.db, &app.store).await?;
    app.queue.prune().await?;
    app.ticks.prune().await?;
    let decisions = app
        .db
        .write(move |conn| {
            Session::delete_expired(conn, now_ms)?;
            Worker::forget_before(conn, now_ms - DEAD_WORKER_MS)?;
            Ok(Decision::prune(conn, now_ms - HISTORY_MS)? + Decision::trim(conn, STRETCHES)?)
        })
        .await?;
    Ok(format!(
        "dropped what is past its retention, {decisions} decisions among it, and {series} series of what was deleted"
    ))
}

/// Forgets series whose node, JVM profile, counter or trigger is gone; how many. Whoever deletes those cannot reach the store, and a
/// collection under way may write a series once more, so it is done here, again and again. Series are listed before the rows are asked,
/// and ids are never given twice: what is new is never taken for deleted.
pub async fn forget_deleted(db: &Db, store: &Store) -> Result<usize> {
    let (mut cursor, mut forgotten) = (0, 0);
    loop {
        let (series, next) = store.list(cursor).await?;
        let nodes: HashSet<NodeId> = series.iter().filter_map(|key| key.node()).collect();
        let living = db.read(move |conn| Living::among(conn, &nodes)).await?;
        let mut gone = series;
        gone.retain(|key| !is_alive(*key, &living));
        if !gone.is_empty() {
            store.forget(&gone).await?;
            forgotten += gone.len();
        }
        if next == 0 {
            return Ok(forgotten);
        }
        cursor = next;
    }
}

fn is_alive(key: SeriesKey, living: &Living) -> bool {
    let named_after = match key {
        SeriesKey::Ssh { node, .. } | SeriesKey::Local { node, .. } => living.nodes.contains(&node),
        SeriesKey::Jmx { node, jvm, .. } => {
            living.nodes.contains(&node) && living.jvms.contains(&jvm)
        }
        SeriesKey::Average { trigger, .. } => living.triggers.contains(&trigger),
    };
    named_after && living.counters.contains(&key.counter())
}
