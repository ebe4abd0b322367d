//! `headroom hold`: stop triggers or nodes for a time.

use std::process::ExitCode;

use chrono::Utc;

use super::args::{Hold, Stop};
use super::output;
use super::people::actor;
use crate::app::App;
use crate::config::parse_duration;
use crate::error::Error;
use crate::models::hold::{self, Hold as Row, NEVER_MS};
use crate::models::{HoldId, HoldScope, Role, Via, to_ms};
use crate::web::auth::Caller;
use crate::web::stops;

pub(super) async fn hold(app: &App, what: Hold) -> anyhow::Result<ExitCode> {
    let now_ms = to_ms(Utc::now());
    match what {
        Hold::Add {
            scope,
            name,
            duration,
            reason,
        } => {
            let for_ms = length_ms(&duration)?;
            let request = hold::Request {
                scope,
                scope_name: name,
                reason,
                author: actor(),
                expires_ms: now_ms + for_ms,
            };
            let row = stops::begin_hold(app, &caller(), request).await?;
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
            stops::lift_hold(app, &caller(), HoldId(id)).await?;
            println!("hold {id} lifted");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `headroom stop`: stops all acting, lifts that, or tells whether it is so.
pub(super) async fn stop(app: &App, what: Stop) -> anyhow::Result<ExitCode> {
    let now_ms = to_ms(Utc::now());
    if let Some(reason) = what.reason {
        let expires_ms = match &what.duration {
            Some(duration) => now_ms + length_ms(duration)?,
            None => NEVER_MS,
        };
        let request = hold::Request {
            scope: HoldScope::Stop,
            scope_name: None,
            reason,
            author: actor(),
            expires_ms,
        };
        stops::begin_hold(app, &caller(), request).await?;
    }
    let found = app.db.read(move |conn| Row::stop(conn, now_ms)).await?;
    let found = match found {
        Some(row) if what.lift => {
            stops::lift_hold(app, &caller(), row.id).await?;
            None
        }
        None if what.lift => {
            return Err(
                Error::Conflict("nothing is stopped, so there is nothing to lift".into()).into(),
            );
        }
        found => found,
    };
    if what.json {
        output::json(&serde_json::json!({ "stopped": found.as_ref().map(as_json) }))?;
    } else {
        match found {
            Some(row) => println!("all acting is {}", row.stopped()),
            None => println!("nothing is stopped"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Who may read the database and the master key may do everything.
pub(super) fn caller() -> Caller {
    Caller {
        name: actor(),
        role: Role::Admin,
        via: Via::Cli,
    }
}

fn length_ms(duration: &str) -> Result<i64, Error> {
    parse_duration(duration)
        .ok()
        .and_then(|length| i64::try_from(length.as_millis()).ok())
        .filter(|length| *length > 0)
        .ok_or_else(|| {
            let why = format!("\"{duration}\" is not a duration such as 30m or 2h");
            Error::invalid("--for", why)
        })
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
