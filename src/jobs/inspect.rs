//! Holds the nodes against EC2's instances; has orphans reaped where a setting says so.

use chrono::Utc;

use crate::actions::ec2::inspect::{Look, inspect as look_at};
use crate::actions::ec2::settle::{self, Settler};
use crate::app::App;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::finding::Finding;
use crate::models::{FindingKind, RunId, Via, to_ms};

/// Looks once.
pub(super) async fn inspect(app: App, _tick_ms: i64) -> Result<String> {
    let now_ms = to_ms(Utc::now());
    let look = look_at(&app.db, &app.tools.cloud, now_ms).await?;
    let reaped = match app.config.cloud.reap_after {
        Some(after) => {
            reap(
                &app,
                i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
                now_ms,
            )
            .await?
        }
        None => Vec::new(),
    };
    for run in &reaped {
        if let Err(cause) = app.queue.wake(run.0).await {
            tracing::warn!(run.id = run.0, %cause, "no worker could be woken; the sweep will find the run");
        }
    }
    if !look.faults.is_empty() {
        return Err(Error::Upstream {
            what: look.faults.join("; "),
            retryable: true,
        });
    }
    Ok(told(&look, reaped.len()))
}

fn told(look: &Look, reaped: usize) -> String {
    if look.accounts == 0 {
        return "no EC2 profile is defined".into();
    }
    let reaped = match reaped {
        0 => String::new(),
        count => format!(", {count} orphans are being reaped"),
    };
    format!(
        "{} instances in {} accounts and regions, {} disagree with the nodes{reaped}",
        look.instances, look.accounts, look.findings
    )
}

/// Begins a run for each orphan that was seen first so long ago.
async fn reap(app: &App, after_ms: i64, now_ms: i64) -> Result<Vec<RunId>> {
    let begin = move |conn: &mut Connection| {
        let settler = Settler {
            actor: "headroom".into(),
            via: Via::System,
            now_ms,
        };
        let mut runs = Vec::new();
        for finding in Finding::all(conn)? {
            if finding.kind != FindingKind::Orphan || now_ms - finding.first_seen_ms < after_ms {
                continue;
            }
            match settle::reap(conn, finding.id, &settler) {
                Ok(plan) => runs.push(plan.insert(conn)?.0.id),
                // A run of a person's or of an earlier look is at it.
                Err(Error::Conflict(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(runs)
    };
    app.db.write(begin).await
}
