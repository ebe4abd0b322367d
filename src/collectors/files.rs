//! Files that profiles name, watched for changes: a key that was replaced counts from the next tick.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Files as they looked at one moment.
#[derive(Debug)]
pub(super) struct Files(Vec<(PathBuf, Look)>);

/// How a file looks from outside and from inside; a file that cannot be read looks like nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    outside: Option<(u64, u64, i64, i64)>,
    inside: Option<[u8; 32]>,
}

impl Files {
    /// Looks at files.
    pub fn look(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let looks = paths.into_iter().map(|path| {
            let look = Look {
                outside: outside(&path),
                inside: inside(&path),
            };
            (path, look)
        });
        Self(looks.collect())
    }

    /// Whether all of them still look so: from outside, which costs next to nothing, and from inside if `closely`, since a file may
    /// be written twice within what its time stamp can tell.
    pub fn are_same(&self, closely: bool) -> bool {
        self.0.iter().all(|(path, look)| {
            outside(path) == look.outside && (!closely || inside(path) == look.inside)
        })
    }
}

fn outside(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

fn inside(path: &Path) -> Option<[u8; 32]> {
    Some(Sha256::digest(fs::read(path).ok()?).into())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_file_that_is_written_removed_or_comes_back_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let look = || Files::look([path.clone()]);
        let missing = look();
        assert!(missing.are_same(true));
        fs::write(&path, "one").unwrap();
        assert!(!missing.are_same(false));
        let first = look();
        assert!(first.are_same(true));
        fs::write(&path, "other").unwrap();
        assert!(!first.are_same(false));
        fs::remove_file(&path).unwrap();
        assert!(!first.are_same(false));
    }

    #[test]
    fn a_change_that_does_not_show_outside_is_seen_from_close() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "one").unwrap();
        let first = Files::look([path.clone()]);
        let stamp = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "two").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(stamp).unwrap();
        assert!(first.are_same(false));
        assert!(!first.are_same(true));
    }
}
