//! The composition root: what a process is made of, built once and passed; nothing is global.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::Config;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use secrecy::ExposeSecret as _;

/// Everything that handlers, jobs and commands need; cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// Definitions, the journal and the audit.
    pub db: Db,
    /// What this process counts about itself.
    pub metrics: Metrics,
    /// When this process began.
    pub started_at: DateTime<Utc>,
}

impl App {
    /// Opens everything the settings name: makes the data folder, brings the database up to date.
    ///
    /// # Errors
    /// Something cannot be opened; the message says what and why.
    pub fn open(config: Config) -> Result<Self> {
        std::fs::create_dir_all(&config.data).map_err(|cause| {
            let place = config.data.display();
            Error::invalid("HEADROOM_DATA", format!("{place} cannot be made: {cause}"))
        })?;
        let db = Db::open(config.database.url.expose_secret())?;
        Ok(Self {
            config: Arc::new(config),
            db,
            metrics: Metrics::new(),
            started_at: Utc::now(),
        })
    }

    /// Whether what the process depends on answers, part by part.
    pub async fn health(&self) -> Vec<(&'static str, Result<()>)> {
        vec![("database", self.db.ping().await)]
    }
}
