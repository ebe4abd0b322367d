//! How it stands, in one answer.

use std::collections::BTreeMap;

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::ok;
use crate::app::App;
use crate::db::Connection;
use crate::error::Result;
use crate::models::cluster::Cluster;
use crate::models::counter::Counter;
use crate::models::hold::Hold;
use crate::models::node::Node;
use crate::models::run::Run;
use crate::models::task::Task;
use crate::models::trigger::Trigger;
use crate::models::{RunState, to_ms};
use crate::web::error::Answer;

/// How it stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Status {
    /// Headroom's version.
    pub version: &'static str,
    /// The server's time.
    pub now: DateTime<Utc>,
    /// Since when this process runs.
    pub started: DateTime<Utc>,
    /// Seconds between collections.
    pub tick_secs: i64,
    /// Whether the parts answer: `ok`, or what is wrong.
    pub parts: BTreeMap<&'static str, String>,
    /// How many clusters.
    pub clusters: usize,
    /// How many nodes, by state.
    pub nodes: BTreeMap<String, usize>,
    /// How many counters.
    pub counters: usize,
    /// How many triggers.
    pub triggers: usize,
    /// How many runs, by state.
    pub runs: BTreeMap<String, i64>,
    /// Tasks that failed at their last start.
    pub failed_tasks: Vec<String>,
    /// Who stopped all acting and why; null when nobody has.
    pub stopped: Option<String>,
}

struct Counts {
    clusters: usize,
    nodes: BTreeMap<String, usize>,
    counters: usize,
    triggers: usize,
    runs: BTreeMap<String, i64>,
    failed_tasks: Vec<String>,
    stopped: Option<String>,
}

/// `GET /status`.
///
/// # Errors
/// The database fails.
pub async fn status(app: Data<App>) -> Answer {
    let counts = app.db.read(count).await?;
    let parts = app.health().await.into_iter();
    Ok(ok(&Status {
        version: env!("CARGO_PKG_VERSION"),
        now: Utc::now(),
        started: app.started_at,
        tick_secs: app.config.sampling.tick_secs(),
        parts: parts
            .map(|(name, outcome)| {
                (
                    name,
                    outcome.map_or_else(|cause| cause.to_string(), |()| "ok".into()),
                )
            })
            .collect(),
        clusters: counts.clusters,
        nodes: counts.nodes,
        counters: counts.counters,
        triggers: counts.triggers,
        runs: counts.runs,
        failed_tasks: counts.failed_tasks,
        stopped: counts.stopped,
    }))
}

fn count(conn: &mut Connection) -> Result<Counts> {
    let mut nodes = BTreeMap::new();
    for node in Node::all(conn)? {
        *nodes.entry(node.state.to_string()).or_default() += 1;
    }
    let mut runs: BTreeMap<_, _> = RunState::ALL
        .iter()
        .map(|state| (state.to_string(), 0))
        .collect();
    for (state, n) in Run::count_by_state(conn)? {
        runs.insert(state.to_string(), n);
    }
    let failed = Task::all(conn)?
        .into_iter()
        .filter(|task| task.succeeded == Some(false));
    Ok(Counts {
        clusters: Cluster::all(conn)?.len(),
        nodes,
        counters: Counter::all(conn)?.len(),
        triggers: Trigger::all(conn)?.len(),
        runs,
        failed_tasks: failed.map(|task| task.name).collect(),
        stopped: Hold::stop(conn, to_ms(Utc::now()))?.map(|stop| stop.stopped()),
    })
}
