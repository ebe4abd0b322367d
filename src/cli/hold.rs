//! `headroom hold`: stop triggers or nodes for a time.

use std::process::ExitCode;

use chrono::Utc;

use super::args::Hold;
use super::output;
use super::people::actor;
use crate::app::App;
use crate::config::parse_duration;
use crate::error::Error;
use crate::models::hold::{self, Hold as Row};
use crate::models::{HoldId, Via, to_ms};

pub(super) async fn hold(app: &App, what: Hold) -> anyhow::Result<ExitCode> {
    let now_ms = to_ms(Utc::now());
    match what {
        Hold::Add {
            scope,
            name,
            duration,
            reason,
        } => {
            let for_ms = parse_duration(&duration)
                .ok()
                .and_then(|length| i64::try_from(length.as_millis()).ok())
                .filter(|length| *length > 0)
                .ok_or_else(|| {
                    Error::invalid(
                        "--for",
                        format!("\"{duration}\" is not a duration such as 30m or 2h"),
                    )
                })?;
            let request = hold::Request {
                scope,
                scope_name: name,
                reason,
                author: actor(),
                expires_ms: now_ms + for_ms,
            };
            let row = app
                .db
                .write(move |conn| hold::begin(conn, &request, Via::Cli, now_ms))
                .await?;
            println!(
                "hold {} on {} until {}",
                row.id,
                row.subject(),
                output::time(row.expires_ms)
            );
        }
        Hold::List { json } => {
            let rows = app.db.read(move |conn| Row::active(conn, now_ms)).await?;
            if json {
                output::json(&rows.iter().map(as_json).collect::<Vec<_>>())?;
            } else {
                let cells: Vec<_> = rows.iter().map(as_cells).collect();
                output::table(
                    &["id", "holds", "until", "author", "reason"],
                    &cells,
                    "no hold is in force",
                );
            }
        }
        Hold::Lift { id } => {
            let by = actor();
            app.db
                .write(move |conn| hold::lift(conn, HoldId(id), &by, Via::Cli, now_ms))
                .await?;
            println!("hold {id} lifted");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_cells(row: &Row) -> Vec<String> {
    vec![
        row.id.to_string(),
        row.subject(),
        output::time(row.expires_ms),
        row.author.clone(),
        row.reason.clone(),
    ]
}

fn as_json(row: &Row) -> serde_json::Value {
    serde_json::json!({
        "id": row.id, "scope": row.scope, "name": row.scope_name, "reason": row.reason, "author": row.author,
        "created": output::time(row.created_ms), "expires": output::time(row.expires_ms),
    })
}
