//! Where EC2 and the nodes disagree, and what can be done about it.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Page, ok};
use crate::app::App;
use crate::models::finding::Finding as Row;
use crate::models::{FindingId, FindingKind, RunId, from_ms};
use crate::web::auth::Caller;
use crate::web::commands;
use crate::web::error::Answer;

/// An instance and a node that disagree.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Finding {
    /// Its number, as long as it stands.
    #[schema(value_type = i64)]
    pub id: FindingId,
    /// What is wrong.
    pub kind: FindingKind,
    /// The cluster.
    pub cluster: String,
    /// The node, or what the instance is called.
    pub node: Option<String>,
    /// The instance.
    pub instance: Option<String>,
    /// What was seen.
    pub detail: String,
    /// Seen first.
    pub first_seen: DateTime<Utc>,
    /// Seen last.
    pub seen: DateTime<Utc>,
}

/// A finding that is settled.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Settled {
    /// The node that it was about, or that stands for the instance now.
    pub node: String,
}

/// An instance that is being terminated.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Reaping {
    /// The run to follow.
    #[schema(value_type = i64)]
    pub run: RunId,
}

/// `GET /instances`.
///
/// # Errors
/// The database fails.
pub async fn list(app: Data<App>) -> Answer {
    let rows = app.db.read(Row::all).await?;
    Ok(ok(&Page {
        items: rows.into_iter().map(Finding::from).collect::<Vec<_>>(),
        next: None,
    }))
}

/// `POST /instances/{id}/adopt`.
///
/// # Errors
/// There is no such finding, nothing to adopt, or EC2 cannot be asked.
pub async fn adopt(app: Data<App>, caller: Caller, id: Path<i64>) -> Answer {
    let node = commands::adopt(&app, &caller, FindingId(id.into_inner())).await?;
    Ok(ok(&Settled { node }))
}

/// `POST /instances/{id}/forget`.
///
/// # Errors
/// There is no such finding, or an instance is there.
pub async fn forget(app: Data<App>, caller: Caller, id: Path<i64>) -> Answer {
    let node = commands::forget(&app, &caller, FindingId(id.into_inner())).await?;
    Ok(ok(&Settled { node }))
}

/// `POST /instances/{id}/reap`.
///
/// # Errors
/// There is no such finding or no instance, or a run is at it already.
pub async fn reap(app: Data<App>, caller: Caller, id: Path<i64>) -> Answer {
    let run = commands::reap(&app, &caller, FindingId(id.into_inner())).await?;
    Ok(HttpResponse::Accepted().json(Reaping { run: run.id }))
}

impl From<Row> for Finding {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            cluster: row.cluster_name,
            node: row.node_name,
            instance: row.instance_id,
            detail: row.detail,
            first_seen: from_ms(row.first_seen_ms),
            seen: from_ms(row.seen_ms),
        }
    }
}
