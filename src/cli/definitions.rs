//! `headroom apply`, `export` and `sample`: the definitions, and one reading of one of them.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use chrono::Utc;

use super::args::Apply;
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
        println!("{diff}");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn export(app: &App) -> anyhow::Result<ExitCode> {
    let file = app.db.read(fleet::export).await?;
    print!("{}", file.to_yaml()?);
    Ok(ExitCode::SUCCESS)
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
