//! For watchers: is it alive, is it ready, how does it do.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};

use crate::app::App;
use crate::db::Connection;
use crate::models::breaker::Breaker;
use crate::models::cluster::Cluster;
use crate::models::run::Run;
use crate::models::{BreakerState, RunState};
use crate::web::error::Answer;

/// `GET /healthz`: the process answers.
pub async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("alive\n")
}

/// `GET /readyz`: what the process depends on answers, each on a line of its own.
///
/// # Errors
/// None; what fails is told in the answer.
pub async fn ready(app: web::Data<App>) -> Answer {
    let mut all = true;
    let mut text = String::new();
    for (name, outcome) in app.health().await {
        match outcome {
            Ok(()) => text.push_str(&format!("{name}: ok\n")),
            Err(cause) => {
                all = false;
                tracing::warn!(part = name, %cause, "not ready");
                text.push_str(&format!("{name}: does not answer\n"));
            }
        }
    }
    let status = if all {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .body(text))
}

/// `GET /metrics`, OpenMetrics.
///
/// # Errors
/// The database fails.
pub async fn metrics(app: web::Data<App>) -> Answer {
    let read = |conn: &mut Connection| {
        let clusters = Cluster::all(conn)?;
        Ok((Run::count_by_state(conn)?, clusters, Breaker::all(conn)?))
    };
    let (counts, clusters, breakers) = app.db.read(read).await?;
    app.metrics.breakers(clusters.into_iter().map(|cluster| {
        let found = breakers.iter().find(|it| it.cluster_id == cluster.id);
        let open = found.is_some_and(|it| it.state != BreakerState::Closed);
        (cluster.name, open, found.map_or(0, |it| it.failures))
    }));
    for state in RunState::ALL {
        let n = counts
            .iter()
            .find(|(found, _)| found == state)
            .map_or(0, |(_, n)| *n);
        app.metrics.runs(state.as_str(), n);
        if *state == RunState::Queued {
            app.metrics.queue_depth(n);
        }
    }
    Ok(HttpResponse::Ok()
        .content_type("application/openmetrics-text; version=1.0.0; charset=utf-8")
        .body(app.metrics.text()?))
}
