//! SSH against real sshds and hosts that behave badly.

mod alive;
mod bastion;
mod collect;
mod exec;
mod faults;
mod held;
mod hostile;
mod jump;
mod login;
mod lost;
mod ramp;
mod shells;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use headroom::clients::ssh::{Host, KnownHosts, Login, Options, Request, Ssh, Trust};
use headroom::clients::{ExecOutput, Exit};
use headroom::collectors::RememberedKeys;
use headroom::db::Db;
use headroom::error::{Error, Result};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::support::sshd::{Sshd, USER};

const SECOND: Duration = Duration::from_secs(1);

/// An SSH client with a database of its own.
struct Lab {
    ssh: Ssh,
    db: Db,
    folder: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let folder = TempDir::with_prefix("headroom-ssh-").unwrap();
        let url = format!("sqlite://{}", folder.path().join("headroom.db").display());
        let db = Db::open(&url).unwrap();
        let ssh = Ssh::new(options, Arc::new(RememberedKeys::new(db.clone()))).unwrap();
        Self { ssh, db, folder }
    }

    async fn exec(&self, host: &Host, script: &str) -> Result<ExecOutput> {
        self.ssh.exec(host, request(script)).await
    }

    /// Runs a script that prints one word.
    async fn word(&self, host: &Host, script: &str) -> String {
        let output = self.exec(host, script).await.unwrap();
        assert_eq!(output.status, Exit::Status(0), "{}", output.stderr_text());
        output.stdout_text().trim().to_owned()
    }

    /// Runs a script that must not get as far as running; the message without the host in front.
    async fn refusal(&self, host: &Host) -> String {
        let error = self.exec(host, "echo ran").await.unwrap_err();
        let Error::Upstream { what, .. } = error else {
            panic!("{error:?}");
        };
        let name = format!("ssh {USER}@{}:{}: ", host.address, host.port);
        what.strip_prefix(&name)
            .unwrap_or_else(|| panic!("{what:?} does not begin with {name:?}"))
            .to_owned()
    }
}

fn request(script: &str) -> Request {
    Request {
        script: script.into(),
        stdin: Vec::new(),
        time_limit: 20 * SECOND,
        max_output: 10_000,
        eager: true,
    }
}

fn host(sshd: &Sshd, trust: Trust) -> Host {
    host_with(&sshd.key(), sshd.port(), trust)
}

fn host_with(key: &str, port: u16, trust: Trust) -> Host {
    Host {
        address: "127.0.0.1".into(),
        port,
        login: Arc::new(Login::new(USER, SecretString::from(key), trust)),
    }
}

fn pinned(lines: &str) -> Trust {
    Trust::Pinned(Arc::new(KnownHosts::parse(lines).unwrap()))
}

/// Whether a process is gone, or becomes so soon.
async fn gone(pid: &str) -> bool {
    for _ in 0..150 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}
