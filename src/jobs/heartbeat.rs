//! Says that this process lives, so that the tasks page can show a dead one.

use std::time::Duration;

use chrono::Utc;

use super::schedule::{HEARTBEAT, Role};
use super::supervise::Stop;
use crate::app::App;
use crate::models::to_ms;
use crate::models::worker::{NewWorker, Worker};

/// Beats until told to stop, then takes the process off the list.
pub(super) async fn beat(app: App, roles: Vec<Role>, stop: Stop) {
    let period = Duration::from_secs(HEARTBEAT.period_secs(1));
    let words: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
    let roles = words.join(",");
    loop {
        let worker = NewWorker {
            name: app.worker.clone(),
            roles: roles.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_ms: to_ms(app.started_at),
            seen_ms: to_ms(Utc::now()),
        };
        if let Err(cause) = app.db.write(move |conn| Worker::seen(conn, &worker)).await {
            tracing::warn!(%cause, "heartbeat not written");
        }
        tokio::select! {
            () = stop.given() => break,
            () = tokio::time::sleep(period) => {}
        }
    }
    let name = app.worker.clone();
    if let Err(cause) = app.db.write(move |conn| Worker::forget(conn, &name)).await {
        tracing::warn!(%cause, "could not sign off");
    }
}
