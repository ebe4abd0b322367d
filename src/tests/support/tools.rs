//! Programs that are no part of Headroom, and where `scripts/setup` put them.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The folder of the virtual environment and the npm packages.
pub fn folder() -> PathBuf {
    if let Some(folder) = env::var_os("HEADROOM_TEST_TOOLS") {
        return folder.into();
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    cache
        .unwrap_or_else(|| home().join(".cache"))
        .join("headroom/tools")
}

/// A file or folder inside the tools folder.
///
/// # Panics
/// It is not there; the message says how to get it.
pub fn tool(path: &str) -> PathBuf {
    let found = folder().join(path);
    assert!(
        found.exists(),
        "{} is missing: run `scripts/setup test` once",
        found.display()
    );
    found
}

/// The Python that has aiosmtpd.
pub fn python() -> PathBuf {
    tool("venv/bin/python")
}

/// Fabric's `fab`.
pub fn fab() -> PathBuf {
    tool("actions-venv/bin/fab")
}

/// A program of the newest PostgreSQL server that Debian installed; what stands in PATH may be a wrapper or another version.
pub fn postgres(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin").join(program))
        .filter(|path| Path::exists(path))
        .collect();
    found.sort();
    found
        .pop()
        .expect("no PostgreSQL server: run `scripts/setup test` once")
}

mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_mail_server_and_the_browser_driver_are_installed() {
        let mail = Command::new(python())
            .args(["-c", "import aiosmtpd"])
            .status();
        assert!(mail.unwrap().success());
        for package in ["playwright-core", "axe-core"] {
            tool(&format!("node_modules/{package}/package.json"));
        }
    }
}
