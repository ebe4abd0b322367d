//! `headroom apply`, `export` and `sample`: the definitions, and one reading of one of them.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use chrono::Utc;

use super::args::{Apply, Sample};
use super::output;
use super::people::actor;
use crate::app::App;
use crate::error::{Error, Result};
use crate::fleet;
use crate::models::Via;

pub(super) async fn apply(app: &App, args: Apply) -> anyhow::Result<ExitCode> {
    let text = read(&args.file)?;
    let context = app.fleet_context(actor(), Via::Cli, Utc::now());
    let options = fleet::Options {
        prune: args.prune,
        dry_run: args.dry_run,
    };
    let diff = app
        .db
        .write(move |conn| fleet::apply_text(conn, &context, &text, options))
        .await?;
    if args.json {
        output::json(&diff)?;
    } else {
        print!("{diff}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn export(app: &App) -> anyhow::Result<ExitCode> {
    let file = app.db.read(fleet::export).await?;
    println!("{}", file.to_yaml()?.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn sample(app: &App, args: Sample) -> anyhow::Result<ExitCode> {
    let readings = app.read_now(args.node, args.counter).await;
    // A JVM keeps a login for minutes that nobody has ended.
    app.jmx.close().await;
    let readings = readings?;
    let failed = readings.iter().any(|reading| reading.outcome.is_err());
    if args.json {
        let lines = readings.iter().map(|reading| {
            let (value, error) = match &reading.outcome {
                Ok(value) => (Some(value), None),
                Err(message) => (None, Some(message)),
            };
            serde_json::json!({ "series": reading.key.to_string(), "value": value, "error": error, "took_ms": reading.took_ms })
        });
        output::json(&lines.collect::<Vec<_>>())?;
    } else {
        for reading in &readings {
            match &reading.outcome {
                Ok(value) => println!("{value}  ({} ms)", reading.took_ms),
                Err(message) => eprintln!("error: {message}  ({} ms)", reading.took_ms),
            }
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn read(path: &Path) -> Result<String> {
    let unreadable = |cause: std::io::Error| {
        Error::invalid(
            path.display().to_string(),
            format!("cannot be read: {cause}"),
        )
    };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        return Ok(text);
    }
    std::fs::read_to_string(path).map_err(unreadable)
}
