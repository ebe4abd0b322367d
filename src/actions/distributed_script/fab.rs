//! Fabric's `fab`: found, given what it needs in a private folder, and run for one node at a time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::time::Instant;

use super::{Attempt, SHIPPED};
use crate::actions::files::{self, Place};
use crate::clients::ExecOutput;
use crate::clients::command::Command;
use crate::clients::private::PrivateFolder;
use crate::clients::ssh::Credentials;
use crate::config::Tooling;
use crate::error::{Error, Result};

/// Checks host keys, then loads the operator's fabfile.
const WRAPPER: &str = include_str!("wrapper.py");
const WRAPPER_NAME: &str = "headroom_fabfile";
/// For `fab --version`, on a machine that is busy.
const VERSION_LIMIT: Duration = Duration::from_secs(30);

/// A `fab` that can be used, and a fabfile that is there.
pub(super) struct Fab<'a> {
    tooling: &'a Tooling,
    fabfile: &'a str,
    place: Place,
}

impl<'a> Fab<'a> {
    /// Looks for both.
    ///
    /// # Errors
    /// One of them is missing, or `fab` is not that of Fabric 2 or 3; the message says how to get it.
    pub async fn find(tooling: &'a Tooling, fabfile: &'a str) -> Result<Self> {
        let place = files::find(&tooling.fabric_scripts, SHIPPED, fabfile)?;
        let asked = Command::new(&tooling.fab, &["--version"])
            .time_limit(VERSION_LIMIT)
            .run();
        let said = asked
            .await
            .map_err(|cause| unusable(&tooling.fab, &cause.to_string()))?;
        let text = said.stdout_text();
        let major = text
            .strip_prefix("Fabric ")
            .and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        match major {
            Some(2..) if said.success() => Ok(Self {
                tooling,
                fabfile,
                place,
            }),
            _ => {
                let first = text.lines().next().unwrap_or_default();
                let why = format!("`fab --version` {} and says \"{first}\"", said.status);
                Err(unusable(&tooling.fab, &why))
            }
        }
    }

    /// Lays out what `fab` needs to log in to the nodes.
    ///
    /// # Errors
    /// A file cannot be written, or a node's address or user cannot stand in a file of ssh_config.
    pub fn site<'b>(
        &self,
        nodes: impl Iterator<Item = (&'b str, &'b Credentials)>,
    ) -> Result<Site> {
        let folder = PrivateFolder::new(&self.tooling.private)?;
        let root = std::path::absolute(folder.path())
            .map_err(|cause| Error::internal("where the private folder is", cause))?;
        let mut keys: Vec<(&str, PathBuf)> = Vec::new();
        let (mut config, mut known_hosts) = (String::new(), String::new());
        for (name, login) in nodes {
            let key = login.key.expose_secret();
            let file = match keys.iter().find(|(known, _)| *known == key) {
                Some((_, file)) => file.clone(),
                None => {
                    let file = format!("key-{}", keys.len());
                    folder.put(&file, key)?;
                    keys.push((key, root.join(file)));
                    root.join(format!("key-{}", keys.len() - 1))
                }
            };
            config.push_str(&host_lines(name, login, &file)?);
            known_hosts.push_str(&login.known_hosts);
        }
        folder.put("known_hosts", known_hosts)?;
        folder.put("ssh_config", config)?;
        folder.put(&format!("{WRAPPER_NAME}.py"), WRAPPER)?;
        let fabfile = match &self.place {
            Place::Own(path) => path.clone(),
            Place::Shipped(text) => {
                let name = Path::new(self.fabfile).file_name().unwrap_or_default();
                folder.put(&name.to_string_lossy(), text)?;
                root.join(name)
            }
        };
        Ok(Site {
            fab: self.tooling.fab.clone(),
            _folder: folder,
            root,
            fabfile,
        })
    }
}

/// What `fab` needs, for as long as it runs.
pub(super) struct Site {
    fab: PathBuf,
    _folder: PrivateFolder,
    root: PathBuf,
    fabfile: PathBuf,
}

impl Site {
    /// Runs a task for a node, to its end, the deadline or the cancellation.
    pub async fn run(
        &self,
        node: &str,
        task: &str,
        args: &[String],
        max_output: usize,
        attempt: &Attempt,
    ) -> Result<ExecOutput> {
        let mut words: Vec<String> =
            ["--search-root".into(), self.root.display().to_string()].into();
        words.extend(["--collection", WRAPPER_NAME, "--ssh-config"].map(str::to_owned));
        words.push(self.root.join("ssh_config").display().to_string());
        words.extend(["--hosts".into(), node.to_owned(), task.to_owned()]);
        words.extend_from_slice(args);
        let command = Command::new(&self.fab, &words)
            .dir(self.fabfile.parent().unwrap_or(Path::new("/")))
            .env("HEADROOM_FABFILE", &self.fabfile)
            // What was printed before a time limit is kept, and no compiled files appear beside the operator's.
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .max_output(max_output)
            .guarded()
            .time_limit(attempt.deadline.saturating_duration_since(Instant::now()));
        tokio::select! {
            output = command.run() => output,
            () = attempt.cancelled() => Err(Error::Conflict(
                "stopped: the run was cancelled; what the task started on the node may still run".into(),
            )),
        }
    }
}

/// A node as `ssh_config` has it, by its name.
fn host_lines(name: &str, login: &Credentials, key: &Path) -> Result<String> {
    let Credentials {
        address,
        port,
        user,
        ..
    } = login;
    for word in [address, user] {
        if word.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"') {
            return Err(Error::Conflict(format!(
                "node \"{name}\": Fabric cannot be told to use \"{word}\""
            )));
        }
    }
    let mut lines = format!("Host {name}\n  HostName {address}\n  Port {port}\n  User {user}\n");
    // A path may hold spaces.
    writeln!(lines, "  IdentityFile \"{}\"", key.display())
        .map_err(|cause| Error::internal("ssh_config", cause))?;
    Ok(lines)
}

fn unusable(fab: &Path, why: &str) -> Error {
    Error::Upstream {
        what: format!(
            "Fabric 2 or 3 is needed on Headroom's own host, and {} is not it: {why}; install it (`pipx install fabric`, \
             or Debian's package fabric) or set HEADROOM_FAB to where `fab` is",
            fab.display()
        ),
        retryable: false,
    }
}
