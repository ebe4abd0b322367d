//! The process group of a command: what is stopped with it, and what ends it when Headroom itself is killed.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use crate::error::{Error, Result};

/// Waits for a word. When the pipe ends without one, whoever held it is gone: the group is killed, the guard with it.
const GUARD: &str = "trap '' HUP INT TERM; read -r word || kill -s KILL 0";
/// How long the guard may take to end once it is told to.
const FAREWELL: Duration = Duration::from_secs(1);

/// Leads a group from before its command is started until it is released.
pub(super) struct Guard {
    child: Child,
    line: ChildStdin,
    id: i32,
}

impl Guard {
    /// Starts a group with nothing but a guard in it.
    ///
    /// # Errors
    /// No process is to be had.
    pub(super) fn start() -> Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", GUARD])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|cause| Error::internal("could not guard a command", cause))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let parts = child.stdin.take().zip(id);
        let (line, id) = parts.ok_or_else(|| Error::Internal("a guard without a pipe".into()))?;
        Ok(Self { child, line, id })
    }

    /// The number of the group.
    pub(super) const fn id(&self) -> i32 {
        self.id
    }

    /// Leaves what is still in the group to itself.
    async fn release(mut self) {
        let farewell = async {
            self.line.write_all(b"end\n").await?;
            self.child.wait().await
        };
        // It may have been killed with its group.
        let ended = timeout(FAREWELL, farewell).await;
        tracing::trace!(?ended, "released a guard");
    }
}

/// The process group of a running command; killed when dropped before its release.
pub(super) struct Group {
    id: Option<Pid>,
    guard: Option<Guard>,
    released: bool,
}

impl Group {
    /// The group that a guard leads, or else the command.
    pub(super) fn of(child: &Child, guard: Option<Guard>) -> Self {
        let own = || child.id().and_then(|id| i32::try_from(id).ok());
        let id = guard.as_ref().map(Guard::id).or_else(own);
        Self {
            id: id.map(Pid::from_raw),
            guard,
            released: false,
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(id) = self.id
            && let Err(cause) = killpg(id, signal)
        {
            // ESRCH: the group is gone already, which is what was wanted.
            tracing::trace!(%cause, group = id.as_raw(), "signal to a command's group");
        }
    }

    /// The command has ended: what it left behind is its own business.
    pub(super) async fn release(mut self) {
        self.released = true;
        if let Some(guard) = self.guard.take() {
            guard.release().await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.released {
            self.signal(Signal::SIGKILL);
        }
    }
}
