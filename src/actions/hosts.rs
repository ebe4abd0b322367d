//! Runs scripts on nodes: over SSH, or here for `localhost` without a profile.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::scope::{Host, HostRequest, Hosts};
use crate::clients::ExecOutput;
use crate::clients::command::Command;
use crate::clients::ssh::{Credentials, Request, Ssh};
use crate::collectors::host_of;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::models::node::Node;
use crate::vault::Vault;

/// The address that stands for Headroom's own host.
const OWN_HOST: &str = "localhost";

/// What a host gets beyond the time limit to stop a script and say so; less than the engine waits.
const STOP_ROOM: Duration = Duration::from_secs(6);

/// Nodes as the database knows them.
pub struct Nodes {
    db: Db,
    vault: Vault,
    ssh: Ssh,
    allow_local: bool,
}

impl Nodes {
    /// `allow_local`: whether scripts may run on Headroom's own host.
    pub fn new(db: Db, vault: Vault, ssh: Ssh, allow_local: bool) -> Self {
        Self {
            db,
            vault,
            ssh,
            allow_local,
        }
    }

    async fn run(&self, host: &Host, request: &HostRequest) -> Result<ExecOutput> {
        let limit = request.deadline.saturating_duration_since(Instant::now());
        let local = host.ssh_profile.is_none() && host.address == OWN_HOST;
        if local && !self.allow_local {
            return Err(Error::Conflict(
                "scripts may not run on Headroom's own host while it listens beyond loopback; HEADROOM_ALLOW_LOCAL=true allows it".into(),
            ));
        }
        // Dropping the call tells the script to stop.
        let mut cancelled = request.cancelled.clone();
        if local {
            let script = Command::new("/bin/sh", &["-c", &request.script])
                .stdin(request.stdin.as_slice())
                .time_limit(limit)
                .max_output(request.max_output)
                .guarded();
            or_cancelled(script.run(), &mut cancelled).await
        } else {
            let target = self.target(host).await?;
            let exec = Request {
                script: request.script.clone(),
                stdin: request.stdin.clone(),
                time_limit: limit,
                max_output: request.max_output,
                // A person or a trigger waits for it, so a node that failed a moment ago is tried again at once.
                eager: true,
            };
            // A host that is hard to reach uses up the limit before its script begins; the script does not get it anew.
            let late = request.deadline + STOP_ROOM;
            let answer = timeout_at(late, self.ssh.exec(&target, exec))
                .map(|answer| answer.unwrap_or_else(|_| Err(no_answer(host))));
            or_cancelled(answer, &mut cancelled).await
        }
    }

    async fn target(&self, host: &Host) -> Result<crate::clients::ssh::Host> {
        let (vault, node) = (self.vault.clone(), host.node);
        self.db
            .read(move |conn| {
                let node = Node::find(conn, node)?;
                host_of(conn, &vault, &node)
            })
            .await
    }
}

impl Hosts for Nodes {
    fn run<'a>(
        &'a self,
        host: &'a Host,
        request: &'a HostRequest,
    ) -> BoxFuture<'a, Result<ExecOutput>> {
        self.run(host, request).boxed()
    }

    fn login<'a>(
        &'a self,
        host: &'a Host,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Credentials>> {
        async move {
            let target = self.target(host).await?;
            let limit = deadline.saturating_duration_since(Instant::now());
            let login = self.ssh.credentials(&target, limit);
            timeout_at(deadline, login)
                .await
                .unwrap_or_else(|_| Err(no_answer(host)))
        }
        .boxed()
    }
}

fn no_answer(host: &Host) -> Error {
    Error::Upstream {
        what: format!(
            "{} did not answer within the time limit; the script may not have begun, or may still be running",
            host.address
        ),
        retryable: false,
    }
}

/// What `work` gives, unless the run is cancelled first; `work` is dropped then.
async fn or_cancelled(
    work: impl Future<Output = Result<ExecOutput>>,
    cancelled: &mut watch::Receiver<bool>,
) -> Result<ExecOutput> {
    tokio::select! {
        output = work => output,
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
            Err(Error::Conflict("stopped: the run was cancelled".into()))
        }
    }
}
