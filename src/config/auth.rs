//! The master key and the first login.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::source::Source;

/// The master key and the first login.
#[derive(Debug, Clone)]
pub struct Auth {
    /// `HEADROOM_MASTER_KEY_FILE`, default `<data>/master.key`; made at the first start, mode 0600.
    pub master_key_file: PathBuf,
    /// `HEADROOM_ADMIN_PASSWORD`; none = made at the first start.
    pub admin_password: Option<SecretString>,
    /// Where a generated first password is kept, mode 0600.
    pub initial_password_file: PathBuf,
}

impl Auth {
    pub(super) fn from_source(source: &mut Source, data: &Path) -> Self {
        Self {
            master_key_file: source
                .text("master_key_file")
                .map_or_else(|| data.join("master.key"), PathBuf::from),
            admin_password: source.secret("admin_password"),
            initial_password_file: data.join("initial-admin-password"),
        }
    }
}
