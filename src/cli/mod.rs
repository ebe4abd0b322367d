//! The command line: one binary, one subcommand per task. Exit status 0 = done, 1 = failed, 2 = refused (bad input, nothing written).

mod args;
mod backup;
mod daily;
mod definitions;
mod doctor;
mod follow;
mod hold;
mod logging;
mod output;
mod people;
mod runs;
mod serve;
mod show;

use std::process::ExitCode;

use clap::Parser as _;

use crate::app::App;
use crate::config::Config;
use crate::error::Error;
use args::{Args, Command};

/// Bad input: nothing was written.
const REFUSED: u8 = 2;

/// Parses the command line, loads the settings and runs the command.
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.as_deref())?;
    let guard = logging::start(&config.log, matches!(args.command, Command::Serve(_)))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let code = runtime.block_on(dispatch(config, args.command))?;
    // Workers have stopped by now; a blocking call that hangs must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    drop(guard);
    Ok(code)
}

async fn dispatch(config: Config, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => return serve::serve(config, args).await,
        Command::Doctor => return doctor::doctor(config).await,
        Command::Restore { file, force } => return backup::restore(&config, &file, force),
        _ => {}
    }
    let app = App::open(config).await?;
    match command {
        Command::Apply(args) => definitions::apply(&app, args).await,
        Command::Export => definitions::export(&app).await,
        Command::Sample(args) => definitions::sample(&app, args).await,
        Command::Backtest(args) => show::backtest(&app, args).await,
        Command::Run(what) => runs::run(&app, what).await,
        Command::Runs(args) => show::runs(&app, args).await,
        Command::Decisions(args) => show::decisions(&app, args).await,
        Command::Status { json } => show::status(&app, json).await,
        Command::Hold(what) => hold::hold(&app, what).await,
        Command::User(what) => people::user(&app, what).await,
        Command::Token(what) => people::token(&app, what).await,
        Command::Backup { to } => backup::backup(&app, to).await,
        Command::Migrate => {
            // Opening the database has migrated it.
            println!("the database is up to date");
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor | Command::Restore { .. } | Command::Serve(_) => Ok(ExitCode::SUCCESS),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    match error.downcast_ref::<Error>() {
        Some(Error::Invalid(faults)) => {
            eprintln!("refused, nothing was written:");
            for fault in faults {
                eprintln!("  {fault}");
            }
            ExitCode::from(REFUSED)
        }
        _ => {
            eprintln!("headroom: {error:#}");
            ExitCode::FAILURE
        }
    }
}
