//! The command line: one binary, one subcommand per task. Exit status 0 = done, 1 = failed, 2 = refused (bad input, nothing written).

mod args;
mod backup;
mod breaker;
mod daily;
mod definitions;
mod doctor;
mod follow;
mod hold;
mod logging;
mod output;
mod people;
mod runs;
mod scale;
mod serve;
mod show;
mod zabbix;

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
    // Opened where it is awaited: three commands work without, since they open it themselves or put it in place.
    let app = App::open(config.clone());
    match command {
        Command::Serve(args) => serve::serve(config, args).await,
        Command::Doctor => doctor::doctor(config).await,
        Command::Restore { file, force } => backup::restore(&config, &file, force),
        Command::Apply(args) => definitions::apply(&app.await?, args).await,
        Command::Export => definitions::export(&app.await?).await,
        Command::Sample(args) => definitions::sample(&app.await?, args).await,
        Command::Backtest(args) => show::backtest(&app.await?, args).await,
        Command::Run(what) => runs::run(&app.await?, what).await,
        Command::Runs(args) => show::runs(&app.await?, args).await,
        Command::Decisions(args) => show::decisions(&app.await?, args).await,
        Command::Status { json } => show::status(&app.await?, json).await,
        Command::Hold(what) => hold::hold(&app.await?, what).await,
        Command::Breaker(what) => breaker::breaker(&app.await?, what).await,
        Command::Stop(what) => hold::stop(&app.await?, what).await,
        Command::User(what) => people::user(&app.await?, what).await,
        Command::Token(what) => people::token(&app.await?, what).await,
        Command::Vault(what) => people::vault(&app.await?, &what).await,
        Command::Scale(args) => scale::scale(&config, args).await,
        Command::Zabbix(what) => zabbix::zabbix(&config, what).await,
        Command::Backup { to } => backup::backup(&app.await?, to).await,
        Command::Migrate => {
            // Opening the database migrates it.
            app.await?;
            println!("the database is up to date");
            Ok(ExitCode::SUCCESS)
        }
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
