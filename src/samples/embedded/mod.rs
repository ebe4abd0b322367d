//! The store that needs nothing: a SQLite file of its own.
//!
//! One connection writes, a few read beside it (WAL: neither waits for the other). Diesel blocks, so all of it happens off the async threads.
//! A connection that failed is thrown away: the next call opens a new one, which is the whole of the recovery from a full
//! disk, a locked file or a file that was replaced.

mod read;
mod statements;
mod tables;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::SqliteConnection;
use diesel::connection::Connection as _;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use self::write::Writer;
use super::{Sample, SeriesKey, SeriesState, Write, chunk};
use crate::error::{Error, Result};

/// How many reads may go on at once.
const READERS: usize = 4;

/// Samples in a SQLite file.
#[derive(Clone)]
pub struct Embedded {
    file: Arc<File>,
}

struct File {
    path: PathBuf,
    /// Fair, so that a long clean-up cannot starve the ticks.
    writer: Arc<AsyncMutex<Option<Writer>>>,
    idle: Mutex<Vec<SqliteConnection>>,
    readers: Arc<Semaphore>,
}

impl Embedded {
    /// See [`super::Store::embedded`].
    pub(super) fn open(path: &Path) -> Result<Self> {
        let writer = Writer::open(path).map_err(|cause| failed("open", path, cause))?;
        Ok(Self {
            file: Arc::new(File {
                path: path.to_owned(),
                writer: Arc::new(AsyncMutex::new(Some(writer))),
                idle: Mutex::default(),
                readers: Arc::new(Semaphore::new(READERS)),
            }),
        })
    }

    /// See [`super::Store::write`].
    pub(super) async fn write(&self, writes: &[Write]) -> Result<()> {
        if writes.is_empty() {
            return Ok(());
        }
        let writes = writes.to_vec();
        self.with_writer(move |writer| writer.write(&writes)).await
    }

    /// See [`super::Store::states`].
    pub(super) async fn states(&self, keys: &[SeriesKey]) -> Result<Vec<Option<SeriesState>>> {
        let keys = keys.to_vec();
        self.with_reader(move |conn| read::states(conn, &keys))
            .await
    }

    /// See [`super::Store::range`].
    pub(super) async fn range(
        &self,
        keys: &[SeriesKey],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Vec<Sample>>> {
        let keys = keys.to_vec();
        self.with_reader(move |conn| read::range(conn, &keys, from_ms, to_ms))
            .await
    }

    /// See [`super::Store::first_after`].
    pub(super) async fn first_after(&self, after: &[(SeriesKey, i64)]) -> Result<Vec<Option<i64>>> {
        let after = after.to_vec();
        self.with_reader(move |conn| read::first_after(conn, &after))
            .await
    }

    /// See [`super::Store::prune`]. A quarter of an hour at a time, so that no writer waits for more than one.
    pub(super) async fn prune(&self, before_ms: i64) -> Result<()> {
        let slot = chunk::Place::of(before_ms).slot;
        while self
            .with_writer(move |writer| writer.prune_oldest(slot))
            .await?
        {}
        self.with_writer(move |writer| writer.prune_series(slot))
            .await
    }

    /// See [`super::Store::list`].
    pub(super) async fn list(&self, cursor: u64) -> Result<(Vec<SeriesKey>, u64)> {
        self.with_reader(move |conn| read::list(conn, cursor)).await
    }

    /// See [`super::Store::forget`].
    pub(super) async fn forget(&self, keys: &[SeriesKey]) -> Result<()> {
        let keys = keys.to_vec();
        self.with_writer(move |writer| writer.forget(&keys)).await
    }

    /// See [`super::Store::ping`].
    pub(super) async fn ping(&self) -> Result<()> {
        self.with_reader(read::ping).await
    }

    async fn with_writer<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> tables::Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut slot = Arc::clone(&self.file.writer).lock_owned().await;
        let file = Arc::clone(&self.file);
        blocking(move || {
            let outcome = match slot.take() {
                Some(writer) => Ok(writer),
                None => Writer::open(&file.path),
            }
            .and_then(|mut writer| {
                let value = work(&mut writer)?;
                *slot = Some(writer);
                Ok(value)
            });
            outcome.map_err(|cause| failed("write to", &file.path, cause))
        })
        .await
    }

    async fn with_reader<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> tables::Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.file.readers)
            .acquire_owned()
            .await
            .map_err(|cause| Error::internal("the readers of samples are gone", cause))?;
        let file = Arc::clone(&self.file);
        blocking(move || {
            let _permit = permit;
            file.read(work)
                .map_err(|cause| failed("read from", &file.path, cause))
        })
        .await
    }
}

impl File {
    /// One read transaction, so that all that is asked together is seen at one point in time.
    fn read<T>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> tables::Result<T>,
    ) -> tables::Result<T> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let mut conn = match kept {
            Some(conn) => conn,
            None => tables::connect(&self.path)?,
        };
        let value = conn.transaction(work)?;
        idle().push(conn);
        Ok(value)
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded")
            .field("path", &self.file.path)
            .finish_non_exhaustive()
    }
}

fn failed(what: &str, path: &Path, cause: tables::Failure) -> Error {
    Error::Upstream {
        what: format!(
            "could not {what} the samples in {}: {cause}",
            path.display()
        ),
        retryable: cause.passes(),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|cause| Error::internal("a task of the sample store did not finish", cause))?
}
