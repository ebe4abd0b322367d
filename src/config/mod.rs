//! Settings: one struct per concern, from `headroom.toml` and the environment, every fault at once.

mod auth;
mod cloud;
mod database;
mod duration;
mod http;
mod log;
mod mail;
mod sampling;
mod source;
mod tooling;

use std::path::{Path, PathBuf};

pub use auth::Auth;
pub use cloud::Cloud;
pub use database::{Database, Keeping};
pub use duration::{format_secs, parse_duration};
pub use http::{Http, Tls};
pub use log::{Log, LogFormat};
pub use mail::Mail;
pub use sampling::Sampling;
pub use source::{SETTINGS, Setting, Source, nearest};
pub use tooling::{Tooling, Zabbix, ZabbixLogin};

use crate::error::Result;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// `HEADROOM_DATA`: databases, master key, backups and logs. Default `./data`.
    pub data: PathBuf,
    /// The web server.
    pub http: Http,
    /// The database of definitions and the journal.
    pub database: Database,
    /// Where samples and the queue are kept.
    pub keeping: Keeping,
    /// Outgoing mail.
    pub mail: Mail,
    /// The master key and the first login.
    pub auth: Auth,
    /// The tick and what depends on it.
    pub sampling: Sampling,
    /// What Headroom may do in the cloud by itself.
    pub cloud: Cloud,
    /// Logging.
    pub log: Log,
    /// What actions work with.
    pub tooling: Tooling,
}

impl Config {
    /// Reads the file (if any) and the environment.
    ///
    /// # Errors
    /// `Invalid` with every fault: an unknown key with the nearest known one, a value that is not understood, settings that exclude each other.
    pub fn load(file: Option<&Path>) -> Result<Self> {
        Self::from_source(Source::read(file, &|name| std::env::var(name).ok())?)
    }

    /// Builds the settings from a source; tests give their own.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_source(mut source: Source) -> Result<Self> {
        let data = PathBuf::from(source.text("data").unwrap_or_else(|| "./data".into()));
        let http = Http::from_source(&mut source);
        let sampling = Sampling::from_source(&mut source, &http);
        let config = Self {
            database: Database::from_source(&mut source, &data),
            keeping: Keeping::from_source(&mut source),
            mail: Mail::from_source(&mut source),
            auth: Auth::from_source(&mut source, &data),
            tooling: Tooling::from_source(&mut source, &data, sampling.allow_local),
            sampling,
            cloud: Cloud::from_source(&mut source),
            log: Log::from_source(&mut source),
            http,
            data,
        };
        source.finish(config)
    }
}

#[cfg(test)]
mod tests;
