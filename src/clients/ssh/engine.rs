//! The connections: one per host kept open across commands, with the shell held on it, and back-off for hosts that fail.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ssh2::Channel;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clients::backoff::Backoff;
use crate::clients::output::Exit;
use crate::clients::ssh::connect::Connector;
use crate::clients::ssh::connection::{Connection, label};
use crate::clients::ssh::fault::{Trouble, lost, upstream};
use crate::clients::ssh::guard::Guard;
use crate::clients::ssh::program::Program;
use crate::clients::ssh::shell::{self, Inquirer, Reply};
use crate::clients::ssh::socket::FLOODED;
use crate::clients::ssh::talk::{self, Listener};
use crate::clients::ssh::trust::{HostKeys, Record};
use crate::clients::ssh::{Host, HostId, Options};
use crate::error::{Error, Result};

/// A command to run on a host.
pub(super) struct Job<L> {
    pub(super) program: Program,
    pub(super) listener: L,
    /// When the command is stopped, whatever its own time limit; connecting counts.
    pub(super) deadline: tokio::time::Instant,
    /// Whether to try at once although the host failed a moment ago.
    pub(super) eager: bool,
}

/// How a job ended, and what its listener heard.
pub(super) struct Done<L> {
    /// An error if the connection was lost while the command ran.
    pub(super) exit: Result<Exit>,
    pub(super) took: Duration,
    pub(super) listener: L,
}

/// How a question to a held shell ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The answer is complete.
    Complete,
    /// It did not come in time; whether what ran is known to have ended.
    Stopped {
        /// Whether it is known to have ended.
        confirmed: bool,
    },
    /// The shell ended before the answer was complete, in this way.
    Ended(Exit),
    /// The connection was lost before the answer was complete.
    Lost(Error),
    /// No shell is held there, and nothing was asked: a command of its own may do.
    NoShell,
}

/// Who waits for a job's end; drops the other half when it no longer does.
pub(super) type Asker<T> = oneshot::Sender<Result<T>>;

/// What is known of one host.
struct Peer {
    idle: Option<Connection>,
    /// Held while someone connects: who comes next waits and uses that connection if it is free again.
    connecting: Arc<tokio::sync::Mutex<()>>,
    backoff: Backoff,
    used: Instant,
    /// A held shell was lost or had to be ended: none is opened until a command has run as it should.
    distrusted: bool,
}

pub(super) struct Engine {
    options: Options,
    connector: Connector,
    peers: Mutex<HashMap<HostId, Peer>>,
}

impl Engine {
    pub(super) fn new(options: Options, keys: Arc<dyn HostKeys>, guard: Arc<Guard>) -> Self {
        Self {
            connector: Connector::new(&options, keys, guard),
            options,
            peers: Mutex::default(),
        }
    }

    /// Runs a job: on the kept connection, or once more on a new one if the kept one turns out to be gone before anything ran.
    pub(super) async fn run<L: Listener>(
        self: &Arc<Self>,
        host: &Host,
        mut job: Job<L>,
        asker: &mut Asker<Done<L>>,
    ) -> Result<Done<L>> {
        let channel = self.channel(host, job.eager, &job.program.command);
        let (connection, channel) = within(host, channel, job.deadline, asker).await?;
        let started = Instant::now();
        let heard = talk::listen(&connection, channel, &mut job, asker).await;
        let (exit, took) = match heard {
            Ok(ended) => {
                if job.listener.content() {
                    self.with_peer(host, |peer| peer.distrusted = false);
                }
                if ended.reusable {
                    self.keep(host, connection);
                }
                (Ok(ended.exit), ended.took)
            }
            Err(cause) => (Err(self.lost(host, &connection, &cause)), started.elapsed()),
        };
        Ok(Done {
            exit,
            took,
            listener: job.listener,
        })
    }

    /// Asks in the held shell of a host.
    pub(super) async fn ask<L: Inquirer>(
        self: &Arc<Self>,
        host: &Host,
        listener: &mut L,
        deadline: tokio::time::Instant,
        asker: &mut Asker<(Answer, L)>,
    ) -> Result<Answer> {
        loop {
            if self.with_peer(host, |peer| peer.distrusted) {
                return Ok(Answer::NoShell);
            }
            if asker.is_closed() {
                // Connecting anew would only serve to be told that again.
                return Err(upstream(host, "nobody waits for the answer any more"));
            }
            let connected = self.connection(host, false);
            let (mut connection, fresh) = within(host, connected, deadline, asker).await?;
            if connection.no_shell.is_some() {
                self.keep(host, connection);
                return Ok(Answer::NoShell);
            }
            let limit = self.options.answer_limit;
            let asked = shell::ask(&mut connection, listener, deadline, limit, asker).await;
            return match asked {
                Ok(Reply::Gone(_)) if !fresh => continue,
                Ok(Reply::Stale) => {
                    self.keep(host, connection);
                    continue;
                }
                Ok(reply) => self.judge(host, connection, reply),
                Err(cause) => Ok(Answer::Lost(self.lost(host, &connection, &cause))),
            };
        }
    }

    /// What a reply says about the host, and what becomes of the connection.
    fn judge(&self, host: &Host, mut connection: Connection, reply: Reply) -> Result<Answer> {
        let distrust = |peer: &mut Peer| peer.distrusted = true;
        let answer = match reply {
            Reply::Complete => {
                self.with_peer(host, |peer| peer.backoff.succeeded());
                Answer::Complete
            }
            Reply::Stopped { confirmed } => {
                self.with_peer(host, distrust);
                if !confirmed {
                    self.silent(host);
                    return Ok(Answer::Stopped { confirmed });
                }
                Answer::Stopped { confirmed }
            }
            Reply::Ended(exit) => {
                self.with_peer(host, distrust);
                Answer::Ended(exit)
            }
            Reply::Never(why) => {
                tracing::info!(
                    host = label(host),
                    why,
                    "no shell can be held: one command for each tick instead"
                );
                connection.no_shell = Some(why);
                Answer::NoShell
            }
            Reply::Stale => Answer::NoShell,
            Reply::Gone(why) => {
                return Err(self.failed(host, format!("the server refused a command: {why}")));
            }
            Reply::Silent => return Err(self.failed(host, self.no_answer())),
            Reply::Endless => {
                let why = "the node said more than 1 MiB where a few readings were asked for";
                return Err(self.failed(host, why.into()));
            }
        };
        self.keep(host, connection);
        Ok(answer)
    }

    /// A channel on the kept connection, or on a new one.
    async fn channel(
        self: &Arc<Self>,
        host: &Host,
        eager: bool,
        command: &str,
    ) -> Result<(Connection, Channel)> {
        loop {
            let (mut connection, fresh) = self.connection(host, eager).await?;
            let begun = talk::begin(&connection, command);
            let mut begun = self.in_time(host, begun).await?;
            if begun.is_err()
                && let Some(shell) = connection.shell.take()
            {
                // The server may allow one session and no more.
                shell.close(&connection).await;
                let next = talk::begin_next(&connection, command);
                begun = self.in_time(host, next).await?;
            }
            match begun {
                Ok(channel) => {
                    self.with_peer(host, |peer| peer.backoff.succeeded());
                    return Ok((connection, channel));
                }
                // The host may have closed the kept connection since the last command, which is no failure of the host.
                Err(cause) if !fresh => {
                    tracing::debug!(host = label(host), %cause, "a kept connection is gone");
                }
                Err(cause) => {
                    return Err(self.failed(host, talk::refusal(&cause)));
                }
            }
        }
    }

    async fn in_time<T>(&self, host: &Host, begun: impl Future<Output = T>) -> Result<T> {
        let begun = timeout(self.options.answer_limit, begun).await;
        begun.map_err(|_| self.failed(host, self.no_answer()))
    }

    fn no_answer(&self) -> String {
        let secs = self.options.answer_limit.as_secs_f32();
        format!("connected, but the server did not answer within {secs} s")
    }

    /// The kept connection, or a new one; whether it is new. May be dropped: a connection on its way is then kept for the next command, so
    /// that a host that is slow to log in is reached by the next tick instead of never.
    async fn connection(self: &Arc<Self>, host: &Host, eager: bool) -> Result<(Connection, bool)> {
        let idle = || self.with_peer(host, |peer| peer.idle.take());
        if let Some(connection) = idle() {
            return Ok((connection, false));
        }
        let connecting = self.with_peer(host, |peer| Arc::clone(&peer.connecting));
        let turn = connecting.lock_owned().await;
        if let Some(connection) = idle() {
            return Ok((connection, false));
        }
        let (engine, to) = (Arc::clone(self), host.clone());
        let (sender, connected) = oneshot::channel();
        tokio::spawn(async move {
            let connected = engine.connect(&to, eager).await;
            if let Err(Ok(connection)) = sender.send(connected) {
                engine.keep(&to, connection);
            }
            drop(turn);
        });
        let connected = connected.await;
        let connected = connected
            .map_err(|cause| Error::internal("an SSH connection could not be made", cause))?;
        Ok((connected?, true))
    }

    /// A new connection, logged in and with a trusted host key.
    async fn connect(&self, host: &Host, eager: bool) -> Result<Connection> {
        let (refusal, failing) = self.with_peer(host, |peer| {
            (peer.backoff.refusal(Instant::now()), peer.backoff.failing())
        });
        if let Some(why) = refusal.filter(|_| !eager) {
            return Err(upstream(host, &why));
        }
        let connected = self.connector.connect(host, failing).await;
        connected.map_err(|trouble| match trouble {
            Trouble::Host(why) => self.failed(host, why),
            // Nothing is known of the host: it is tried again as soon as its jump host is.
            Trouble::Jump(why) => upstream(host, &why),
        })
    }

    /// What is on record about a host's keys.
    pub(super) async fn record(&self, host: &Host) -> Result<Record, String> {
        self.connector.record(host).await
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<HostId, Peer>> {
        // The map is valid between any two statements under the lock.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_peer<T>(&self, host: &Host, work: impl FnOnce(&mut Peer) -> T) -> T {
        let mut peers = self.peers();
        let fresh = || Peer {
            idle: None,
            connecting: Arc::default(),
            backoff: Backoff::new(self.options.backoff_first, self.options.backoff_longest),
            used: Instant::now(),
            distrusted: false,
        };
        let peer = peers.entry(host.id()).or_insert_with(fresh);
        peer.used = Instant::now();
        work(peer)
    }

    fn failed(&self, host: &Host, why: String) -> Error {
        let error = upstream(host, &why);
        self.with_peer(host, |peer| {
            peer.idle = None;
            peer.backoff.failed(Instant::now(), rand::random(), why);
        });
        error
    }

    /// What was begun was lost with its connection; that is a failure of the host where it flooded it.
    fn lost(&self, host: &Host, connection: &Connection, cause: &io::Error) -> Error {
        if connection.socket.is_flooded() {
            self.failed(host, FLOODED.into());
        }
        lost(host, cause)
    }

    /// Notes that a host stopped answering, unless it is connected anew already.
    fn silent(&self, host: &Host) {
        self.with_peer(host, |peer| {
            if peer.idle.is_none() {
                let why = "the server stopped answering".into();
                peer.backoff.failed(Instant::now(), rand::random(), why);
            }
        });
    }

    fn keep(&self, host: &Host, connection: Connection) {
        if connection.socket.ledger().worn() {
            tracing::debug!(host = label(host), "a connection is made anew");
            return connection.close();
        }
        // Of two connections (two commands at once on one host) one is kept, rather the one with a shell.
        let spare = self.with_peer(host, |peer| match &peer.idle {
            Some(idle) if idle.shell.is_some() && connection.shell.is_none() => Some(connection),
            _ => peer.idle.replace(connection),
        });
        if let Some(spare) = spare {
            spare.close();
        }
    }

    /// Sends due keep-alives; closes connections that are gone or unused for long.
    pub(super) fn maintain(&self, now: Instant) {
        let idle_limit = self.options.idle_limit;
        self.peers().retain(|_, peer| {
            if now.saturating_duration_since(peer.used) > idle_limit {
                if let Some(connection) = peer.idle.take() {
                    connection.close();
                }
                return false;
            }
            if peer
                .idle
                .as_ref()
                .is_some_and(|idle| idle.keep_alive().is_err())
            {
                peer.idle = None;
            }
            true
        });
    }

    pub(super) fn open_connections(&self) -> usize {
        let peers = self.peers();
        peers.values().filter(|peer| peer.idle.is_some()).count()
    }
}

/// Waits for work until the deadline, or until nobody waits for its outcome any more.
async fn within<T, R>(
    host: &Host,
    work: impl Future<Output = Result<T>>,
    deadline: tokio::time::Instant,
    asker: &mut oneshot::Sender<R>,
) -> Result<T> {
    let done = talk::while_awaited(pin!(work), deadline, asker).await;
    done.unwrap_or_else(|| {
        let way = match &host.login.via {
            Some(jump) => format!("; the way there is through the jump host {}", label(jump)),
            None => String::new(),
        };
        let why = format!("no command could be started before its time was over{way}");
        Err(upstream(host, &why))
    })
}
