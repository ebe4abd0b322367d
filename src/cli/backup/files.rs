//! The operator's own files in a backup: fabfiles, manifests, copies of Zabbix.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use crate::actions::{self, KINDS, zabbix_backup};
use crate::config::Config;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::action::Action;

/// Below this name they are in the archive.
const PREFIX: &str = "files";
/// What Python leaves beside a fabfile.
const CACHE: &str = "__pycache__";
/// Where they are unpacked first, in the data folder.
const STAGING: &str = ".restored-files";

/// The folders of the data folder that belong in a backup, relative to it.
pub(super) fn folders(config: &Config, conn: &mut Connection) -> Result<BTreeSet<PathBuf>> {
    let tooling = &config.tooling;
    let own = [&tooling.fabric_scripts, &tooling.puppet];
    let own = own
        .into_iter()
        .filter_map(|path| path.strip_prefix(&config.data).ok());
    let mut folders: BTreeSet<PathBuf> = own.map(Path::to_owned).collect();
    folders.insert(zabbix_backup::DEFAULT_FOLDER.into());
    for row in Action::all(conn)? {
        // An action that cannot be read any more writes nothing, so it has no folder.
        if let Ok(action) = actions::parse(KINDS, &row.kind, &row.settings) {
            folders.extend(action.folder().map(PathBuf::from));
        }
    }
    Ok(folders)
}

/// A file to be packed: its place in the data folder.
pub(super) fn list(data: &Path, folders: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for folder in folders {
        walk(data, folder, &mut Vec::new(), &mut found).map_err(|cause| {
            Error::internal(
                format!("could not read {}", data.join(folder).display()),
                cause,
            )
        })?;
    }
    Ok(found)
}

fn walk(
    data: &Path,
    folder: &Path,
    above: &mut Vec<(u64, u64)>,
    found: &mut BTreeSet<PathBuf>,
) -> io::Result<()> {
    let path = data.join(folder);
    let place = match fs::metadata(&path) {
        Ok(place) if place.is_dir() => (place.dev(), place.ino()),
        Ok(_) => return Ok(()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause),
    };
    // A link that leads back up would go on for ever.
    if above.contains(&place) {
        return Ok(());
    }
    above.push(place);
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let inner = folder.join(&name);
        let kind = match fs::metadata(data.join(&inner)) {
            Ok(kind) => kind,
            // A link that leads nowhere, or a file that went meanwhile.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        if kind.is_dir() && name != CACHE {
            walk(data, &inner, above, found)?;
        } else if kind.is_file() {
            found.insert(inner);
        }
    }
    above.pop();
    Ok(())
}

/// Adds a file to an archive, readable for its owner alone.
pub(super) fn append<W: io::Write>(
    archive: &mut tar::Builder<W>,
    data: &Path,
    file: &Path,
) -> io::Result<()> {
    let path = data.join(file);
    let kind = fs::metadata(&path)?;
    // Read as a whole, since the archive must say beforehand how long it is.
    let content = fs::read(&path)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600 | (kind.mode() & 0o100));
    header.set_mtime(u64::try_from(kind.mtime()).unwrap_or_default());
    archive.append_data(
        &mut header,
        Path::new(PREFIX).join(file),
        content.as_slice(),
    )
}

/// Files out of a backup, unpacked in the data folder but not yet in their places. What is not put there is gone when this is dropped.
pub(super) struct Staged {
    data: PathBuf,
    files: Vec<PathBuf>,
}

impl Staged {
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            files: Vec::new(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Where a member of the archive belongs; nothing when it is none of the operator's files.
    pub fn place(member: &Path) -> Option<PathBuf> {
        let file = member.strip_prefix(PREFIX).ok()?;
        let inside = file
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        // In a folder: what lies in the data folder itself is Headroom's own.
        (inside && file.components().count() > 1).then(|| file.to_owned())
    }

    /// Unpacks one.
    pub fn unpack(
        &mut self,
        file: PathBuf,
        mut entry: tar::Entry<'_, impl io::Read>,
    ) -> io::Result<()> {
        if entry.header().entry_type() != tar::EntryType::Regular {
            return Err(io::Error::other(format!("{} is no file", file.display())));
        }
        let mode = 0o600 | (entry.header().mode()? & 0o100);
        let path = self.data.join(STAGING).join(&file);
        make_folder_of(&path)?;
        let mut target: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        io::copy(&mut entry, &mut target)?;
        target.sync_all()?;
        self.files.push(file);
        Ok(())
    }

    /// Those in whose place there is one already.
    pub fn held(&self) -> Vec<String> {
        let held = self
            .files
            .iter()
            .filter(|file| self.data.join(file).exists());
        held.map(|file| file.display().to_string()).collect()
    }

    /// Puts them into their places.
    pub fn put(self) -> io::Result<()> {
        for file in &self.files {
            let place = self.data.join(file);
            make_folder_of(&place)?;
            fs::rename(self.data.join(STAGING).join(file), place)?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        match fs::remove_dir_all(self.data.join(STAGING)) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%cause, "what was unpacked could not be removed");
            }
            _ => {}
        }
    }
}

fn make_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
