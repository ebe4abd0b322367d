//! Logging.

use std::path::PathBuf;
use std::str::FromStr;

use super::source::Source;

/// What is logged, how and where to.
#[derive(Debug, Clone)]
pub struct Log {
    /// `HEADROOM_LOG`: a `tracing` filter, default `info`.
    pub filter: String,
    /// `HEADROOM_LOG_FORMAT`: `text` or `json`.
    pub format: LogFormat,
    /// `HEADROOM_LOG_DIR`: also write daily files there.
    pub dir: Option<PathBuf>,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

impl Log {
    pub(super) fn from_source(source: &mut Source) -> Self {
        Self {
            filter: source.text("log").unwrap_or_else(|| "info".into()),
            format: source
                .parsed("log_format", "text or json")
                .unwrap_or(LogFormat::Text),
            dir: source.text("log_dir").map(PathBuf::from),
        }
    }
}
