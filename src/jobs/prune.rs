//! Drops what is past its retention, so that nothing grows without bound.

use chrono::Utc;

use crate::app::App;
use crate::error::Result;
use crate::models::decision::Decision;
use crate::models::session::Session;
use crate::models::to_ms;
use crate::models::worker::Worker;

/// Decisions, finished runs and audit events outlive samples: they answer questions weeks later.
const HISTORY_MS: i64 = 90 * 86_400_000;
/// A process that died is shown for so long.
const DEAD_WORKER_MS: i64 = 86_400_000;

/// Drops old samples, decisions, sessions, workers and delivered queue messages.
pub(super) async fn prune(app: App, _tick_ms: i64) -> Result<String> {
    let now_ms = to_ms(Utc::now());
    let retention_ms = i64::try_from(app.config.sampling.retention.as_millis()).unwrap_or(i64::MAX);
    app.store.prune(now_ms - retention_ms).await?;
    app.queue.prune().await?;
    app.db
        .write(move |conn| {
            let decisions = Decision::prune(conn, now_ms - HISTORY_MS)?;
            Session::delete_expired(conn, now_ms)?;
            Worker::forget_before(conn, now_ms - DEAD_WORKER_MS)?;
            Ok(format!(
                "dropped what is past its retention, {decisions} decisions among it"
            ))
        })
        .await
}
