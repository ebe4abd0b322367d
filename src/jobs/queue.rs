//! The queue that wakes workers: apalis on a SQLite file of its own, or on Redis.
//!
//! A message carries a number, never data: a run's id, or a tick's time. The rows are the truth: a message that is lost is made
//! good by the sweep or the next tick, one that is delivered twice finds the work claimed.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apalis::prelude::{BackendExt as _, Data, Strategy, TaskSink as _, WorkerBuilder, WorkerError};
use apalis_core::backend::{ListWorkers as _, Vacuum as _};
use apalis_redis::RedisStorage;
use apalis_sqlite::SqliteStorage;
use futures::channel::mpsc::{Receiver, Sender, channel};
use futures::future::BoxFuture;
use futures::{FutureExt as _, TryFutureExt as _};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::jobs::supervise::Stop;

/// How often a worker looks for messages of other processes; its own process rings the bell.
const SQLITE_POLL: Duration = Duration::from_secs(1);
/// As [`SQLITE_POLL`]; Redis is there for several processes, so it is asked more often.
const REDIS_POLL: Duration = Duration::from_millis(100);
/// A call to Redis that takes longer has failed.
const REDIS_TIMEOUT: Duration = Duration::from_secs(5);

/// What a message says: look at this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// A run's id, or a tick's time in ms.
    pub id: i64,
}

/// What a worker does with a message; it must return at once.
#[derive(Clone)]
pub struct Handler(Arc<dyn Fn(i64) + Send + Sync>);

impl Handler {
    /// A handler that calls `work`.
    pub fn new(work: impl Fn(i64) + Send + Sync + 'static) -> Self {
        Self(Arc::new(work))
    }

    fn call(&self, id: i64) {
        (self.0)(id);
    }
}

/// One named queue; cheap to clone.
#[derive(Clone)]
pub struct Queue {
    name: Arc<str>,
    storage: Storage,
    starts: Arc<AtomicU32>,
    bells: Arc<Mutex<Vec<Sender<()>>>>,
}

#[derive(Clone)]
enum Storage {
    Sqlite(SqliteStorage<Wake>),
    Redis(RedisStorage<Wake>),
}

impl Queue {
    /// Opens the queue `name` in a SQLite file.
    ///
    /// # Errors
    /// The file cannot be opened or written.
    pub async fn sqlite(path: &Path, name: &str) -> Result<Self> {
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let upstream = |cause: &dyn std::fmt::Display| Error::Upstream {
            what: format!("could not open the queue {}: {cause}", path.display()),
            retryable: true,
        };
        let pool = apalis_sqlite::SqlitePool::connect(&url)
            .await
            .map_err(|cause| upstream(&cause))?;
        SqliteStorage::setup(&pool)
            .await
            .map_err(|cause| upstream(&cause))?;
        let config = apalis_sqlite::Config::default().queue(name);
        Ok(Self::new(
            name,
            Storage::Sqlite(SqliteStorage::new(&pool).with_config(config)),
        ))
    }

    /// Opens the queue `name` on a Redis server; its keys begin with `prefix`.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn redis(url: &str, prefix: &str, name: &str) -> Result<Self> {
        // The URL may hold a password, so the message does not repeat it.
        let upstream = |cause: &dyn std::fmt::Display| Error::Upstream {
            what: format!("could not open the queue on Redis (REDIS_URL): {cause}"),
            retryable: true,
        };
        let conn = tokio::time::timeout(REDIS_TIMEOUT, apalis_redis::connect(url))
            .await
            .map_err(|_| upstream(&"no answer within 5 s"))?
            .map_err(|cause| upstream(&cause))?;
        let config = apalis_redis::Config::default().queue(format!("{prefix}queue:{name}"));
        Ok(Self::new(
            name,
            Storage::Redis(RedisStorage::new(conn).with_config(config)),
        ))
    }

    fn new(name: &str, storage: Storage) -> Self {
        Self {
            name: name.into(),
            starts: Arc::default(),
            storage,
            bells: Arc::default(),
        }
    }

    /// Wakes a worker, here or in another process.
    ///
    /// # Errors
    /// The message could not be stored.
    pub async fn wake(&self, id: i64) -> Result<()> {
        let failed = |cause: &dyn std::fmt::Display| Error::Upstream {
            what: format!("could not queue a wake-up: {cause}"),
            retryable: true,
        };
        match self.storage.clone() {
            Storage::Sqlite(mut storage) => storage
                .push(Wake { id })
                .await
                .map_err(|cause| failed(&cause))?,
            Storage::Redis(mut storage) => {
                tokio::time::timeout(REDIS_TIMEOUT, storage.push(Wake { id }))
                    .await
                    .map_err(|_| failed(&"Redis did not answer within 5 s"))?
                    .map_err(|cause| failed(&cause))?;
            }
        }
        self.ring();
        Ok(())
    }

    /// Hands messages to `handler` until told to stop; `process` tells this process from others.
    ///
    /// # Errors
    /// The storage failed; the caller starts again.
    pub fn work(
        &self,
        process: &str,
        handler: Handler,
        stop: Stop,
    ) -> BoxFuture<'static, Result<()>> {
        let bell = self.bell();
        // apalis refuses a worker whose name it heard of a moment ago, so each start has a name of its own.
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let name = format!("{process}-{}-{start}", self.name);
        let stopped = async move {
            stop.given().await;
            Ok::<(), std::io::Error>(())
        };
        // Two storages are two worker types; apalis has no name for what they share.
        macro_rules! run {
            ($storage:expr, $poll:expr) => {{
                let backend = $storage.poll_with_strategy(strategy(bell, $poll));
                let worker = WorkerBuilder::new(name)
                    .backend(backend)
                    .data(handler)
                    .build(deliver);
                worker.run_until(stopped).map_err(storage_failed).boxed()
            }};
        }
        match self.storage.clone() {
            Storage::Sqlite(storage) => run!(storage, SQLITE_POLL),
            Storage::Redis(storage) => run!(storage, REDIS_POLL),
        }
    }

    /// Whether the storage answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        let failed = |cause: &dyn std::fmt::Display| Error::Upstream {
            what: format!("the queue does not answer: {cause}"),
            retryable: true,
        };
        match self.storage.clone() {
            // The smallest question that reads the file.
            Storage::Sqlite(storage) => storage
                .list_workers()
                .await
                .map(drop)
                .map_err(|cause| failed(&cause)),
            Storage::Redis(mut storage) => {
                let ping = redis::cmd("PING");
                tokio::time::timeout(REDIS_TIMEOUT, ping.exec_async(storage.get_connection()))
                    .await
                    .map_err(|_| failed(&"Redis was silent for 5 s"))?
                    .map_err(|cause| failed(&cause))
            }
        }
    }

    /// Drops messages that were delivered.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn prune(&self) -> Result<()> {
        let failed = |cause: &dyn std::fmt::Display| Error::Upstream {
            what: format!("could not clear delivered messages from the queue: {cause}"),
            retryable: true,
        };
        // The number that apalis gives back counts rows twice on SQLite, so it is not used.
        match self.storage.clone() {
            Storage::Sqlite(mut storage) => storage
                .vacuum()
                .await
                .map(drop)
                .map_err(|cause| failed(&cause)),
            Storage::Redis(mut storage) => storage
                .vacuum()
                .await
                .map(drop)
                .map_err(|cause| failed(&cause)),
        }
    }

    fn bell(&self) -> Receiver<()> {
        let (sender, receiver) = channel(1);
        self.bells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sender);
        receiver
    }

    fn ring(&self) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        // A full bell is ringing already; one whose worker ended is dropped.
        bells.retain_mut(|bell| bell.try_send(()).map_or_else(|e| e.is_full(), |()| true));
    }
}

fn strategy(bell: Receiver<()>, poll: Duration) -> Strategy {
    Strategy::new().stream(bell).interval(poll)
}

fn storage_failed(cause: WorkerError) -> Error {
    Error::Upstream {
        what: format!("the queue failed: {cause}"),
        retryable: true,
    }
}

async fn deliver(message: Wake, handler: Data<Handler>) {
    handler.call(message.id);
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::jobs::supervise::stop_signal;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_message_reaches_a_worker_at_once_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let queue = Queue::sqlite(&folder.path().join("queue.db"), "runs")
            .await
            .unwrap();
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let (stopper, stop) = stop_signal();
        let handler = Handler::new(move |run| sender.send(run).unwrap());
        let worker = tokio::spawn(queue.work("test", handler, stop));
        for id in 1..=3 {
            let before = std::time::Instant::now();
            queue.wake(id).await.unwrap();
            assert_eq!(receiver.recv().await, Some(id));
            if id > 1 {
                assert!(
                    before.elapsed() < SQLITE_POLL,
                    "the bell wakes it before the next poll: {:?}",
                    before.elapsed()
                );
            }
        }
        stopper.stop();
        worker.await.unwrap().unwrap();
        assert!(receiver.recv().await.is_none(), "no message came twice");
        queue.prune().await.unwrap();
        queue.ping().await.unwrap();
    }
}
