//! A PostgreSQL server of a test's own.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use diesel::{Connection as _, PgConnection};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, chown, geteuid};
use tempfile::TempDir;

use super::{ports, tools, wait};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server; stopped when dropped.
pub struct Postgres {
    server: Child,
    port: u16,
    _folder: TempDir,
}

impl Postgres {
    /// Makes an empty cluster in a temp folder and waits until it answers.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("headroom-postgres-").unwrap();
        let data = folder.path().join("data");
        if let Some(user) = owner() {
            chown(folder.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let made = program("initdb")
            .args(["--username=headroom", "--auth=trust", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--pgdata"])
            .arg(&data)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let port = ports::free();
        let mut postgres = Self {
            server: spawn(folder.path(), &data, port),
            port,
            _folder: folder,
        };
        let url = postgres.url();
        wait::until("PostgreSQL to answer", START_LIMIT, || {
            let ended = postgres.server.try_wait().unwrap();
            assert!(ended.is_none(), "PostgreSQL ended at once: {ended:?}");
            PgConnection::establish(&url).ok().map(drop)
        });
        postgres
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its one database.
    pub fn url(&self) -> String {
        format!("postgres://headroom@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.server.id()).unwrap());
        // SIGINT is PostgreSQL's "fast" shutdown: connections are ended, not waited for.
        if kill(pid, Signal::SIGINT).is_ok() {
            self.server.wait().ok();
        }
    }
}

/// PostgreSQL refuses to run as root; Debian's packages made a user for it.
fn owner() -> Option<User> {
    if !geteuid().is_root() {
        return None;
    }
    let user = User::from_name("postgres").unwrap();
    Some(user.expect("no user `postgres`: run `scripts/setup test` once"))
}

fn program(name: &str) -> Command {
    let mut command = Command::new(tools::postgres(name));
    if let Some(user) = owner() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command.env_remove("PGPORT").env_remove("PGHOST");
    command
}

fn spawn(folder: &Path, data: &Path, port: u16) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    let mut command = program("postgres");
    command.arg("-D").arg(data).arg("-k").arg(folder);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    // Durability is not what is tested; without it a server costs little.
    for setting in [
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "shared_buffers=32MB",
    ] {
        command.args(["-c", setting]);
    }
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}
