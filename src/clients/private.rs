//! Folders for keys and certificates that a program wants as files: for this process's user alone, and gone when nobody needs them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

const PREFIX: &str = "headroom-private-";
/// Locked as long as the folder's process lives; the system lets go of the lock when the process dies, however it dies.
const LOCK: &str = ".lock";

/// A folder of mode 0700, removed with all its files when dropped; after a `kill -9`, when the next process starts ([`sweep`]).
#[derive(Debug)]
pub struct PrivateFolder {
    path: PathBuf,
    _lock: File,
}

impl PrivateFolder {
    /// Makes a folder below `root`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(root: &Path) -> Result<Self> {
        let failed = |cause| {
            let root = root.display();
            Error::internal(format!("could not make a folder in {root}"), cause)
        };
        let mut builder = DirBuilder::new();
        builder
            .mode(0o700)
            .recursive(true)
            .create(root)
            .map_err(failed)?;
        builder.recursive(false);
        loop {
            let path = root.join(format!("{PREFIX}{:032x}", rand::random::<u128>()));
            builder.create(&path).map_err(failed)?;
            match lock(&path) {
                Ok(Some(lock)) => return Ok(Self { path, _lock: lock }),
                // A sweep came in between.
                Ok(None) => {}
                Err(cause) => {
                    // Empty but for the lock; nothing secret is left when this fails too.
                    drop(fs::remove_dir_all(&path));
                    return Err(failed(cause));
                }
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new file of mode 0600 and gives its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn put(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.path.join(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(content.as_ref()));
        match written {
            Ok(()) => Ok(path),
            Err(cause) => Err(Error::internal(
                format!("could not write {}", path.display()),
                cause,
            )),
        }
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(cause) = fs::remove_dir_all(&self.path) {
            tracing::error!(folder = %self.path.display(), %cause, "a folder with private files could not be removed; remove it by hand");
        }
    }
}

/// None when the folder was swept away before it was locked.
fn lock(folder: &Path) -> std::io::Result<Option<File>> {
    let file = File::create(folder.join(LOCK))?;
    file.lock()?;
    let is_there = file.metadata()?.nlink() > 0;
    Ok(is_there.then_some(file))
}

/// Removes what processes left behind that were killed; says how many folders.
///
/// # Errors
/// `root` cannot be listed, or a folder cannot be removed.
pub fn sweep(root: &Path) -> Result<usize> {
    let failed =
        |what: &Path, cause| Error::internal(format!("could not clear {}", what.display()), cause);
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(cause) => return Err(failed(root, cause)),
    };
    let mut removed = 0;
    for entry in entries {
        let path = entry.map_err(|cause| failed(root, cause))?.path();
        let named = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        // A temporary folder is shared: another user's folder is not looked into, and a link leads anywhere.
        let ours = named
            && fs::symlink_metadata(&path)
                .is_ok_and(|it| it.is_dir() && it.uid() == rustix::process::geteuid().as_raw());
        if !ours {
            continue;
        }
        // A folder without a lock is just being made, or just being removed.
        let Ok(lock) = File::open(path.join(LOCK)) else {
            continue;
        };
        if lock.try_lock().is_ok() {
            match fs::remove_dir_all(&path) {
                Ok(()) => removed += 1,
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(failed(&path, cause)),
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_for_the_owner_alone_and_go_with_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::new(&root.path().join("a/b")).unwrap();
        let file = folder.put("key", "secret").unwrap();
        assert_eq!((mode(folder.path()), mode(&file)), (0o700, 0o600));
        assert_eq!(fs::read_to_string(&file).unwrap(), "secret");
        assert!(
            folder.put("key", "other").is_err(),
            "nothing is written over"
        );
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_sweep_takes_what_a_dead_process_left_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let living = PrivateFolder::new(root.path()).unwrap();
        let dead = root.path().join(format!("{PREFIX}1"));
        let other = root.path().join("mine");
        for folder in [&dead, &other] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(LOCK), "").unwrap();
        }
        // Opening it would wait for a writer for ever.
        let strange = root.path().join("strange");
        fs::create_dir(&strange).unwrap();
        nix::unistd::mkfifo(&strange.join(LOCK), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let link = root.path().join(format!("{PREFIX}link"));
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert_eq!(sweep(root.path()).unwrap(), 1);
        assert!(
            link.exists() && strange.exists(),
            "not a folder of Headroom's"
        );
        assert!(living.path().exists() && other.exists() && !dead.exists());
        assert_eq!(sweep(&root.path().join("none")).unwrap(), 0);
    }
}
