//! Logging: to standard error for people or machines, and into daily files when a folder is named.

use std::io::IsTerminal as _;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::daily::DailyFile;
use crate::config::{Log, LogFormat};
use crate::error::{Error, Result};

/// Requests are logged under this target, so that they go to a file of their own.
const REQUESTS: &str = "headroom::web::request";

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging; what is written to files is flushed when the guards drop. Commands log warnings only, `serve` what the filter says.
///
/// # Errors
/// The filter is not understood, or the folder cannot be written.
pub(super) fn start(log: &Log, serve: bool) -> Result<Vec<WorkerGuard>> {
    let mut guards = Vec::new();
    let mut layers: Vec<BoxedLayer> = vec![to_stderr(log, serve)?];
    if let Some(folder) = log.dir.as_ref().filter(|_| serve) {
        let requests = daily(folder, "request.log")?;
        let service = daily(folder, "headroom.log")?;
        for (appender, of_requests) in [(requests, true), (service, false)] {
            let (writer, guard) = tracing_appender::non_blocking(appender);
            guards.push(guard);
            let wanted = filter_fn(move |meta| (meta.target() == REQUESTS) == of_requests)
                .and(filter(log, serve)?);
            layers.push(
                fmt::layer()
                    .with_ansi(false)
                    .with_writer(writer)
                    .with_filter(wanted)
                    .boxed(),
            );
        }
    }
    tracing_subscriber::registry()
        .with(layers)
        .try_init()
        .map_err(|cause| Error::internal("could not start logging", cause))?;
    Ok(guards)
}

fn to_stderr(log: &Log, serve: bool) -> Result<BoxedLayer> {
    let filter = filter(log, serve)?;
    Ok(match log.format {
        LogFormat::Text => fmt::layer()
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .with_writer(std::io::stderr)
            .with_filter(filter)
            .boxed(),
    })
}

fn filter(log: &Log, serve: bool) -> Result<EnvFilter> {
    let text = if serve || log.filter != "info" {
        log.filter.as_str()
    } else {
        "warn"
    };
    // apalis and sqlx report at `info` what only their authors want to read.
    let text = if text.contains(',') || text.contains('=') {
        text.to_owned()
    } else {
        format!(
            "{text},apalis=warn,apalis_core=warn,apalis_sqlite=warn,apalis_redis=warn,sqlx=warn,actix_server=warn"
        )
    };
    EnvFilter::try_new(&text).map_err(|cause| {
        Error::invalid(
            "HEADROOM_LOG (log)",
            format!("\"{text}\" is not a filter: {cause}"),
        )
    })
}

fn daily(folder: &std::path::Path, suffix: &'static str) -> Result<DailyFile> {
    DailyFile::open(folder, suffix).map_err(|cause| {
        Error::invalid(
            "HEADROOM_LOG_DIR",
            format!("{} cannot be written: {cause}", folder.display()),
        )
    })
}
