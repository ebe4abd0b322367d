//! The composition root: what a process is made of, built once and passed; nothing is global.

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;

use crate::config::Config;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::fleet;
use crate::jobs::queue::Queue;
use crate::metrics::Metrics;
use crate::models::{Via, to_ms};
use crate::samples::Store;
use crate::vault::Vault;

/// The embedded queue in the data folder.
pub const QUEUE_FILE: &str = "queue.db";
/// The embedded samples in the data folder.
pub const SAMPLES_FILE: &str = "samples.db";

/// Everything that handlers, jobs and commands need; cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The settings.
    pub config: Arc<Config>,
    /// Definitions, the journal and the audit.
    pub db: Db,
    /// Samples and breaches.
    pub store: Store,
    /// Wakes workers to look at a run.
    pub queue: Queue,
    /// Wakes deciders to look at a tick.
    pub ticks: Queue,
    /// Secrets at rest.
    pub vault: Vault,
    /// What this process counts about itself.
    pub metrics: Metrics,
    /// This process among others: host, pid and start.
    pub worker: String,
    /// When this process began.
    pub started_at: DateTime<Utc>,
}

impl App {
    /// Opens everything the settings name: makes the data folder, brings the database up to date.
    ///
    /// # Errors
    /// Something cannot be opened; the message says what and why.
    pub async fn open(config: Config) -> Result<Self> {
        // What lies there is not for other users of the machine.
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data);
        made.map_err(|cause| {
            let place = config.data.display();
            Error::invalid("HEADROOM_DATA", format!("{place} cannot be made: {cause}"))
        })?;
        let url = config.database.url.clone();
        let db = tokio::task::spawn_blocking(move || Db::open(url.expose_secret()))
            .await
            .map_err(|cause| Error::internal("could not open the database", cause))??;
        let started_at = Utc::now();
        Ok(Self {
            store: open_store(&config)?,
            queue: open_queue(&config, "runs").await?,
            ticks: open_queue(&config, "ticks").await?,
            vault: Vault::open(&config.auth.master_key_file)?,
            db,
            metrics: Metrics::new(),
            worker: worker_name(started_at),
            started_at,
            config: Arc::new(config),
        })
    }

    /// Who changes the fleet, and what the change is held against.
    pub fn fleet_context(&self, actor: String, via: Via, now: DateTime<Utc>) -> fleet::Context {
        fleet::Context {
            vault: self.vault.clone(),
            tick_secs: self.config.sampling.tick_secs(),
            allow_local: self.config.sampling.allow_local,
            actor,
            via,
            now_ms: to_ms(now),
        }
    }

    /// Whether what the process depends on answers, part by part.
    pub async fn health(&self) -> Vec<(&'static str, Result<()>)> {
        let (database, store) = tokio::join!(self.db.ping(), self.store.ping());
        vec![("database", database), ("store", store)]
    }
}

fn open_store(config: &Config) -> Result<Store> {
    match &config.keeping.redis_url {
        Some(url) => Store::redis(
            url.expose_secret(),
            &config.keeping.redis_prefix,
            config.sampling.retention,
        ),
        None => Store::embedded(&config.data.join(SAMPLES_FILE)),
    }
}

async fn open_queue(config: &Config, name: &str) -> Result<Queue> {
    match &config.keeping.redis_url {
        Some(url) => Queue::redis(url.expose_secret(), &config.keeping.redis_prefix, name).await,
        None => Queue::sqlite(&config.data.join(QUEUE_FILE), name).await,
    }
}

/// Unique among processes that were ever started, so that a claim of a dead process is never mistaken for one's own.
fn worker_name(started_at: DateTime<Utc>) -> String {
    let host = nix::unistd::gethostname().map_or_else(
        |_| "host".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    format!(
        "{host}-{}-{}",
        std::process::id(),
        started_at.timestamp_millis()
    )
}
