//! The files of a backup.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};

// The seven files of a backup.
pub(super) const HOST_GROUPS: &str = "hostgroups.json";
pub(super) const TEMPLATES: &str = "templates.json";
pub(super) const HOSTS: &str = "hosts.json";
pub(super) const MEDIA_TYPES: &str = "mediatypes.json";
pub(super) const REGISTRATION: &str = "reg_actions.json";
pub(super) const ON_TRIGGERS: &str = "trigger_actions.json";
pub(super) const NAMES: &str = "actions_data_orig.json";
/// What an import leaves for a person to compare.
pub(super) const NAMES_THERE: &str = "actions_data_dest.json";
pub(super) const REGISTRATION_IMPORT: &str = "reg_actions_import.json";
pub(super) const ON_TRIGGERS_IMPORT: &str = "trigger_actions_import.json";

/// Writes a file of mode 0600, in one step: it may hold passwords of media types.
pub(super) fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    let failed = |cause| Error::internal(format!("could not write {}", path.display()), cause);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let unfinished = folder.join(format!(".{name}.part"));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        });
    written
        .and_then(|()| fs::rename(&unfinished, &path))
        .map_err(failed)
}

/// Writes JSON that a person can read.
pub(super) fn put_json(folder: &Path, name: &str, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|cause| Error::internal(name, cause))?;
    put(folder, name, &(text + "\n"))
}

/// Reads a file.
pub(super) fn get(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|cause| {
        Error::Conflict(format!(
            "{} cannot be read: {cause}; make a backup with `headroom zabbix backup`",
            path.display()
        ))
    })
}

/// Reads a list.
pub(super) fn get_list(folder: &Path, name: &str) -> Result<Vec<Value>> {
    let place = folder.join(name);
    match serde_json::from_str(&get(folder, name)?) {
        Ok(Value::Array(items)) => Ok(items),
        // A backup by another program writes this where there is nothing.
        Ok(Value::Null) => Ok(Vec::new()),
        Ok(_) => Err(Error::Conflict(format!(
            "{} holds no list",
            place.display()
        ))),
        Err(cause) => Err(Error::Conflict(format!(
            "{} is no JSON: {cause}",
            place.display()
        ))),
    }
}
