//! The embedded store: the contract, and what can happen to a file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use headroom::error::Error;
use headroom::samples::Store;
use tempfile::TempDir;

use super::contract::{Backend, contract};
use super::*;
use crate::support::disk::SmallDisk;

struct InFile {
    folder: TempDir,
}

impl InFile {
    fn path(&self) -> PathBuf {
        self.folder.path().join("samples.db")
    }

    fn sqlite(&self) -> SqliteConnection {
        SqliteConnection::establish(self.path().to_str().unwrap()).unwrap()
    }
}

impl Backend for InFile {
    fn start() -> Self {
        let folder = TempDir::with_prefix("headroom-samples-").unwrap();
        Self { folder }
    }

    fn open(&self) -> Store {
        Store::embedded(&self.path()).unwrap()
    }
}

contract!(InFile);

/// The message, if the error is one of the outside; and whether it may pass.
fn upstream(error: Error) -> (String, bool) {
    match error {
        Error::Upstream { what, retryable } => (what, retryable),
        other => panic!("{other:?} is not of the outside"),
    }
}

async fn count(store: &Store) -> usize {
    let found = store.range(&[key(1)], i64::MIN, i64::MAX).await.unwrap();
    found[0].len()
}

#[tokio::test]
async fn a_locked_file_is_an_error_that_passes_and_readers_do_not_notice() {
    let backend = InFile::start();
    let store = backend.open();
    store.write(&[value(key(1), minute(0), 1.0)]).await.unwrap();

    let mut other = backend.sqlite();
    other.batch_execute("BEGIN IMMEDIATE").unwrap();
    let begin = Instant::now();
    let batch = [value(key(1), minute(1), 1.0)];
    let (blocked, read) = tokio::join!(store.write(&batch), async {
        let read = count(&store).await;
        (read, begin.elapsed())
    });
    let (message, retryable) = upstream(blocked.unwrap_err());
    let expected = format!(
        "could not write to the samples in {}: database is locked",
        backend.path().display()
    );
    assert_eq!((message, retryable), (expected, true));
    assert_eq!(read.0, 1);
    assert!(
        read.1 < Duration::from_secs(1),
        "the reader waited {:?}",
        read.1
    );

    other.batch_execute("ROLLBACK").unwrap();
    store.write(&batch).await.unwrap();
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_passes_and_costs_no_batch_that_was_kept() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let store = Store::embedded(&disk.path().join("samples.db")).unwrap();
    store.write(&[value(key(1), minute(0), 1.0)]).await.unwrap();
    std::fs::write(disk.filler(), vec![0; 700_000]).unwrap();

    let batch: Vec<_> = (1..5_000)
        .map(|at| value(key(at), minute(1), 1.0))
        .collect();
    let (message, retryable) = upstream(store.write(&batch).await.unwrap_err());
    assert!(message.contains("database or disk is full"), "{message}");
    assert!(retryable);
    assert_eq!(count(&store).await, 1, "nothing of the batch was kept");

    disk.clear();
    store.write(&batch[..100]).await.unwrap();
    assert_eq!(count(&store).await, 2);
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let backend = InFile::start();
    let text = "[http]\nlisten = \"127.0.0.1:8080\"\n".repeat(100);
    std::fs::write(backend.path(), &text).unwrap();
    let (message, retryable) = upstream(Store::embedded(&backend.path()).unwrap_err());
    assert!(
        message.starts_with("could not open the samples in "),
        "{message}"
    );
    assert!(message.ends_with("file is not a database"), "{message}");
    assert!(!retryable);
    assert_eq!(std::fs::read_to_string(backend.path()).unwrap(), text);
}

#[test]
fn a_file_of_a_newer_headroom_is_refused() {
    let backend = InFile::start();
    drop(backend.open());
    let mut sqlite = backend.sqlite();
    sqlite.batch_execute("PRAGMA user_version = 2").unwrap();
    let (message, retryable) = upstream(Store::embedded(&backend.path()).unwrap_err());
    assert!(
        message.contains("its layout is number 2 and this Headroom knows 1"),
        "{message}"
    );
    assert!(!retryable);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let path = Path::new("/nonexistent/headroom/samples.db");
    let (message, _) = upstream(Store::embedded(path).unwrap_err());
    assert!(
        message.contains("/nonexistent/headroom/samples.db"),
        "{message}"
    );
}

#[tokio::test]
async fn a_day_of_samples_stays_small_on_disk() {
    let backend = InFile::start();
    let store = backend.open();
    for hour in 0..24 {
        let ticks = hour * 60..hour * 60 + 60;
        let readings = ticks.flat_map(|at| (0..20).map(move |node| (node, at)));
        let batch: Vec<_> = readings
            .map(|(node, at)| value(key(node), minute(at), 0.5))
            .collect();
        store.write(&batch).await.unwrap();
    }
    drop(store);
    let bytes = std::fs::metadata(backend.path()).unwrap().len();
    let per_sample = bytes / (24 * 60 * 20);
    assert!(per_sample <= 16, "{per_sample} bytes a sample");
}
