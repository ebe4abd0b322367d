//! The composition root: what a process is made of, built once and passed; nothing is global.

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use crate::actions::{Cloud, Nodes, Pace, Tools};
use crate::clients::jmx::{self, Jmx, Jvm};
use crate::clients::mail::Mailer;
use crate::clients::private;
use crate::clients::ssh::{self, Ssh};
use crate::collectors::{self, Collectors, Reading, RememberedKeys};
use crate::config::Config;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::fleet;
use crate::jobs::queue::Queue;
use crate::jobs::supervise::Stop;
use crate::metrics::Metrics;
use crate::models::counter::Counter;
use crate::models::jvm_profile::JvmProfile;
use crate::models::node::Node;
use crate::models::{Via, to_ms};
use crate::runs;
use crate::samples::Store;
use crate::vault::Vault;

/// The embedded queue in the data folder.
pub const QUEUE_FILE: &str = "queue.db";
/// The embedded samples in the data folder.
pub const SAMPLES_FILE: &str = "samples.db";

/// How long what a tick asks of the database may take: about a tick. Longer than SQLite waits for another writer, and short enough to be told
/// of where a tick is an hour.
const TICK_PATIENCE: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(30));
/// What connecting may add to a reading that a person waits for.
const READ_NOW_CONNECT: Duration = Duration::from_secs(20);

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
    /// Every way to read a counter.
    pub collectors: Collectors,
    /// Speaks to JVMs.
    pub jmx: Jmx,
    /// What runs act with.
    pub tools: Arc<Tools>,
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
        prepare_data(&config)?;
        let url = config.database.url.clone();
        let db = tokio::task::spawn_blocking(move || Db::open(url.expose_secret()))
            .await
            .map_err(|cause| Error::internal("could not open the database", cause))??;
        let vault = Vault::open(&config.auth.master_key_file)?;
        let allow_local = config.sampling.allow_local;
        let idle_limit = 3 * config.sampling.tick + ssh::Options::default().idle_limit;
        let jmx = Jmx::new(jmx::Options {
            idle_limit,
            ..jmx::Options::default()
        })?;
        let options = ssh::Options {
            idle_limit,
            ..ssh::Options::default()
        };
        let ssh = Ssh::new(options, Arc::new(RememberedKeys::new(db.clone())))?;
        let store = open_store(&config)?;
        let pace = Pace {
            tick: config.sampling.tick,
            ..Pace::default()
        };
        let tools = Tools {
            db: db.clone(),
            cloud: Cloud::new(db.clone(), vault.clone(), store.clone(), pace),
            hosts: Arc::new(Nodes::new(
                db.clone(),
                vault.clone(),
                ssh.clone(),
                allow_local,
            )),
            mailer: Mailer::new(config.mail.smtp_url.as_ref(), config.mail.from.as_deref())?,
            vault: vault.clone(),
            tooling: config.tooling.clone(),
        };
        let started_at = Utc::now();
        Ok(Self {
            collectors: Collectors::new(ssh, jmx.clone(), allow_local),
            jmx,
            tools: Arc::new(tools),
            store,
            queue: open_queue(&config, "runs").await?,
            ticks: open_queue(&config, "ticks").await?,
            vault,
            db,
            metrics: Metrics::new(),
            worker: worker_name(started_at),
            started_at,
            config: Arc::new(config),
        })
    }

    /// The same for what is done at every tick: a database that does not answer costs that tick and not those after it.
    pub fn for_ticks(&self) -> Self {
        let (least, most) = TICK_PATIENCE;
        let limit = self.config.sampling.tick.clamp(least, most);
        Self {
            db: self.db.within(limit),
            ..self.clone()
        }
    }

    /// What drives runs in this process, until `stop` is given.
    pub fn run_context(&self, stop: &Stop) -> runs::Context {
        runs::Context::new(
            Arc::clone(&self.tools),
            self.worker.clone(),
            stop.receiver(),
        )
    }

    /// Reads one counter on one node now; nothing is stored. One reading per JVM for a counter of JVMs.
    ///
    /// # Errors
    /// There is no such node or counter, or the counter is not read on that node.
    pub async fn read_now(&self, node: String, counter: String) -> Result<Vec<Reading>> {
        let vault = self.vault.clone();
        let (target, timeout_secs) = self
            .db
            .read(move |conn| {
                let node = Node::by_name(conn, &node)?;
                let counter = Counter::by_name(conn, &counter)?;
                Ok((
                    collectors::load_one(conn, &vault, node.id, counter.id)?,
                    counter.timeout_secs,
                ))
            })
            .await?;
        if target.reads.is_empty() {
            let kind = "a local counter is read on localhost, a JMX counter where the node has a JVM profile";
            return Err(Error::Conflict(format!(
                "this counter is not read on this node: {kind}"
            )));
        }
        // Beside the counter's own limit there may be a connection to make.
        let limit =
            Duration::from_secs(u64::try_from(timeout_secs).unwrap_or(10)) + READ_NOW_CONNECT;
        Ok(self
            .collectors
            .read(&target, to_ms(Utc::now()), Instant::now() + limit)
            .await)
    }

    /// A JVM of a node, by the name of its profile.
    ///
    /// # Errors
    /// There is no such node, it has no such profile, or the profile cannot be used.
    pub async fn jvm(&self, node: String, profile: String) -> Result<Arc<Jvm>> {
        let vault = self.vault.clone();
        self.db
            .read(move |conn| {
                let node = Node::by_name(conn, &node)?;
                let profile = JvmProfile::by_name(conn, &profile)?;
                collectors::jvm_of(conn, &vault, &node, &profile)
            })
            .await
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
        let (database, store, queue) =
            tokio::join!(self.db.ping(), self.store.ping(), self.queue.ping());
        vec![("database", database), ("store", store), ("queue", queue)]
    }
}

/// Makes the data folder, and clears it of what a killed process left that was secret.
fn prepare_data(config: &Config) -> Result<()> {
    // What lies there is not for other users of the machine.
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&config.data);
    made.map_err(|cause| {
        let place = config.data.display();
        Error::invalid("HEADROOM_DATA", format!("{place} cannot be made: {cause}"))
    })?;
    let left = private::sweep(&config.tooling.private)?;
    if left > 0 {
        tracing::warn!(
            folders = left,
            "removed private files that a killed process had left"
        );
    }
    Ok(())
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
