//! Which processes of this data folder are dead for certain: each keeps a file of its name locked, and the system lets go of the lock when the
//! process ends, however it ends. So a Headroom that crashed and was started again need not wait for its former self.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The locked file of this process; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Alive {
    folder: PathBuf,
    worker: String,
    /// Held as long as the process lives.
    _lock: Arc<File>,
}

impl Alive {
    /// Makes the file and locks it.
    pub fn sign(folder: &Path, worker: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let lock = File::create(folder.join(worker))?;
        lock.try_lock()?;
        Ok(Self {
            folder: folder.to_owned(),
            worker: worker.to_owned(),
            _lock: Arc::new(lock),
        })
    }

    /// The others whose lock nobody holds any more. One that is just starting may be among them: it has not begun anything yet.
    pub fn dead(&self) -> io::Result<Vec<String>> {
        let mut dead = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name != self.worker && is_free(&entry.path())? {
                dead.push(name);
            }
        }
        Ok(dead)
    }

    /// Removes the files of processes that are dead.
    pub fn bury(&self, dead: &[String]) -> io::Result<()> {
        for name in dead {
            remove(&self.folder.join(name))?;
        }
        Ok(())
    }

    /// Removes this process' own file at its end.
    pub fn leave(&self) -> io::Result<()> {
        remove(&self.folder.join(&self.worker))
    }
}

fn is_free(path: &Path) -> io::Result<bool> {
    match File::open(path).map(|file| file.try_lock()) {
        Ok(Ok(())) => Ok(true),
        Ok(Err(TryLockError::WouldBlock)) => Ok(false),
        Ok(Err(TryLockError::Error(cause))) => Err(cause),
        // Another process has buried it.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(cause),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_dead_when_its_lock_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let sign = |name| Alive::sign(folder.path(), name).unwrap();
        let (own, other) = (sign("own"), sign("other"));
        let none: [&str; 0] = [];
        assert_eq!(own.dead().unwrap(), none);
        assert_eq!(other.dead().unwrap(), none);
        drop(other);
        let dead = own.dead().unwrap();
        assert_eq!(dead, ["other"]);
        own.bury(&dead).unwrap();
        own.bury(&dead).unwrap();
        assert_eq!(own.dead().unwrap(), none);

        let gone = sign("gone");
        gone.leave().unwrap();
        drop(gone);
        assert_eq!(own.dead().unwrap(), none);
    }

    #[test]
    fn a_name_is_signed_once() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Alive::sign(folder.path(), "own").unwrap();
        assert!(Alive::sign(folder.path(), "own").is_err());
    }
}
