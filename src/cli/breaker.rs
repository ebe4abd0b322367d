//! `headroom breaker`: what keeps clusters from launching.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::hold::caller;
use super::output;
use crate::app::App;
use crate::models::breaker::Breaker as Row;
use crate::models::cluster::Cluster;
use crate::web::stops;

/// What can be said of breakers.
#[derive(Debug, Subcommand)]
pub(super) enum Breaker {
    /// List the clusters with their breakers
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a cluster launch again
    Close {
        /// The cluster's name
        cluster: String,
        /// What was put right
        #[arg(long)]
        reason: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn breaker(app: &App, what: Breaker) -> anyhow::Result<ExitCode> {
    match what {
        Breaker::List { json } => {
            let rows = all(app).await?;
            if json {
                output::json(&rows.iter().map(as_json).collect::<Vec<_>>())?;
            } else {
                let cells: Vec<_> = rows.iter().map(as_cells).collect();
                let heads = ["cluster", "breaker", "failed", "since", "reason"];
                output::table(&heads, &cells, "no clusters");
            }
        }
        Breaker::Close {
            cluster,
            reason,
            json,
        } => {
            stops::close_breaker(app, &caller(), cluster.clone(), Some(reason)).await?;
            if json {
                let rows = all(app).await?;
                let found = rows.iter().find(|(row, _)| row.name == cluster);
                output::json(&found.map(as_json))?;
            } else {
                println!("the breaker of {cluster} is closed");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn all(app: &App) -> anyhow::Result<Vec<(Cluster, Row)>> {
    let rows = app.db.read(|conn| {
        let clusters = Cluster::all(conn)?.into_iter();
        clusters
            .map(|cluster| {
                let row = Row::of(conn, cluster.id)?;
                Ok((cluster, row))
            })
            .collect()
    });
    Ok(rows.await?)
}

fn as_cells((cluster, row): &(Cluster, Row)) -> Vec<String> {
    vec![
        cluster.name.clone(),
        row.state.to_string(),
        row.failures.to_string(),
        row.opened_ms.map_or_else(String::new, output::time),
        row.reason.clone(),
    ]
}

fn as_json((cluster, row): &(Cluster, Row)) -> Value {
    json!({
        "cluster": cluster.name, "state": row.state, "failures": row.failures, "reason": row.reason,
        "opened": row.opened_ms.map(output::time), "canary_run": row.canary_run_id,
    })
}
