//! Breakers: whether a cluster may launch, and why not.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Path};
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::runs::Reason;
use super::{ok, optional, time};
use crate::actions::{KINDS, breaker};
use crate::app::App;
use crate::models::breaker::Breaker as Row;
use crate::models::cluster::Cluster;
use crate::models::{BreakerState, RunId, to_ms};
use crate::web::auth::Caller;
use crate::web::error::Answer;
use crate::web::stops;

/// The breaker of a cluster.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Breaker {
    /// The cluster.
    pub cluster: String,
    /// Whether it lets launches through.
    pub state: BreakerState,
    /// Launches in a row that gave no node.
    pub failures: i32,
    /// Why the last of them did not.
    pub reason: String,
    /// When it opened.
    pub opened: Option<DateTime<Utc>>,
    /// The run whose launch is let through on trial.
    #[schema(value_type = Option<i64>)]
    pub canary_run: Option<RunId>,
    /// Why no run may launch now: the breaker, or `max_launches_per_hour`; null when one may.
    pub refusal: Option<String>,
}

/// `GET /clusters/{name}/breaker`.
///
/// # Errors
/// There is no such cluster, or the database fails.
pub async fn one(app: Data<App>, name: Path<String>) -> Answer {
    Ok(ok(&told(&app, name.into_inner()).await?))
}

/// `POST /clusters/{name}/breaker/close`.
///
/// # Errors
/// It is closed already, no reason is given, there is no such cluster, or the database fails.
pub async fn close(app: Data<App>, caller: Caller, name: Path<String>, body: Bytes) -> Answer {
    let Reason { reason } = optional(&body)?;
    let name = name.into_inner();
    stops::close_breaker(&app, &caller, name.clone(), reason).await?;
    Ok(HttpResponse::Ok().json(told(&app, name).await?))
}

async fn told(app: &App, name: String) -> crate::error::Result<Breaker> {
    let now_ms = to_ms(Utc::now());
    app.db
        .read(move |conn| {
            let cluster = Cluster::by_name(conn, &name)?;
            let row = Row::of(conn, cluster.id)?;
            Ok(Breaker {
                refusal: breaker::refusal(conn, KINDS, cluster.id, now_ms)?,
                cluster: cluster.name,
                state: row.state,
                failures: row.failures,
                reason: row.reason,
                opened: time(row.opened_ms),
                canary_run: row.canary_run_id,
            })
        })
        .await
}
