//! The connections: one per host kept open across commands, back-off for hosts that fail, a bound on handshakes at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ssh2::Channel;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::clients::backoff::Backoff;
use crate::clients::output::Exit;
use crate::clients::ssh::connection::{Connection, label};
use crate::clients::ssh::talk::{self, Listener};
use crate::clients::ssh::trust::{HostKey, HostKeys, Record, Trust};
use crate::clients::ssh::{Host, HostId, Options};
use crate::error::{Error, Result};

/// Handshakes at once with hosts that failed last time: they never take a slot from the others.
const SUSPECT_HANDSHAKES: usize = 8;
/// Hosts being dialled at once, per lane: each holds a descriptor until its time limit.
const DIALS: usize = 512;

/// A command to run on a host.
pub(super) struct Job<L> {
    pub(super) program: Vec<u8>,
    /// Written after the program to have it stopped.
    pub(super) stop: Vec<u8>,
    pub(super) listener: L,
    /// When the command is stopped, whatever its own time limit.
    pub(super) deadline: Option<tokio::time::Instant>,
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

/// Who waits for a job's end; drops the other half when it no longer does.
pub(super) type Asker<L> = oneshot::Sender<Result<Done<L>>>;

enum Begun {
    Yes(Channel),
    Refused(ssh2::Error),
    Silence,
    Abandoned,
}

/// Slots for connecting.
struct Lane {
    dials: Semaphore,
    handshakes: Semaphore,
}

impl Lane {
    fn new(handshakes: usize) -> Self {
        Self {
            dials: Semaphore::new(DIALS),
            handshakes: Semaphore::new(handshakes),
        }
    }
}

/// What is known of one host.
struct Peer {
    login: [u8; 32],
    idle: Option<Connection>,
    /// Held while someone connects: who comes next waits and uses that connection if it is free again.
    connecting: Arc<tokio::sync::Mutex<()>>,
    backoff: Backoff,
    used: Instant,
}

pub(super) struct Engine {
    options: Options,
    keys: Arc<dyn HostKeys>,
    peers: Mutex<HashMap<HostId, Peer>>,
    sound: Lane,
    suspect: Lane,
}

impl Engine {
    pub(super) fn new(options: Options, keys: Arc<dyn HostKeys>) -> Self {
        Self {
            sound: Lane::new(options.handshakes),
            suspect: Lane::new(SUSPECT_HANDSHAKES),
            options,
            keys,
            peers: Mutex::default(),
        }
    }

    /// Runs a job: on the kept connection, or once more on a new one if the kept one turns out to be gone before anything ran.
    pub(super) async fn run<L: Listener>(
        &self,
        host: &Host,
        mut job: Job<L>,
        asker: &mut Asker<L>,
    ) -> Result<Done<L>> {
        let (connection, channel) = self.channel(host, job.eager, asker).await?;
        let started = Instant::now();
        let heard = talk::listen(&connection, channel, &mut job, asker).await;
        let (exit, took) = match heard {
            Ok(ended) => {
                if ended.reusable {
                    self.keep(host, connection);
                }
                (Ok(ended.exit), ended.took)
            }
            Err(cause) => {
                let why = format!("the connection was lost while a command ran: {cause}");
                (Err(upstream(host, &why)), started.elapsed())
            }
        };
        Ok(Done {
            exit,
            took,
            listener: job.listener,
        })
    }

    async fn channel<L>(
        &self,
        host: &Host,
        eager: bool,
        asker: &mut Asker<L>,
    ) -> Result<(Connection, Channel)> {
        if let Some(ready) = self.resume(host, asker).await? {
            return Ok(ready);
        }
        let connecting = self.with_peer(host, |peer| Arc::clone(&peer.connecting));
        let _turn = tokio::select! {
            turn = connecting.lock() => turn,
            () = asker.closed() => return Err(upstream(host, "still connecting")),
        };
        if let Some(ready) = self.resume(host, asker).await? {
            return Ok(ready);
        }
        // Not cut short when the asker leaves: a host that is slow to log in is connected by the next tick instead of never.
        let connection = self.connect(host, eager).await?;
        if asker.is_closed() {
            self.keep(host, connection);
            return Err(upstream(host, "connected too late"));
        }
        match self.begin(&connection, asker).await {
            Begun::Yes(channel) => {
                self.with_peer(host, |peer| peer.backoff.succeeded());
                Ok((connection, channel))
            }
            Begun::Refused(cause) => Err(self.failed(
                host,
                format!("the server refused a command: {}", cause.message()),
            )),
            Begun::Silence => Err(self.failed(host, self.no_answer())),
            Begun::Abandoned => Err(upstream(host, "the server was late to start a command")),
        }
    }

    /// A channel on the kept connection; none if there is no such connection or it is gone.
    async fn resume<L>(
        &self,
        host: &Host,
        asker: &mut Asker<L>,
    ) -> Result<Option<(Connection, Channel)>> {
        let Some(connection) = self.with_peer(host, |peer| peer.idle.take()) else {
            return Ok(None);
        };
        match self.begin(&connection, asker).await {
            Begun::Yes(channel) => Ok(Some((connection, channel))),
            Begun::Refused(cause) => {
                // The host closed it between two commands, which is no failure of the host.
                tracing::debug!(host = label(host), %cause, "a kept connection is gone");
                Ok(None)
            }
            Begun::Silence => Err(self.failed(host, self.no_answer())),
            Begun::Abandoned => Err(upstream(host, "the server was late to start a command")),
        }
    }

    async fn begin<L>(&self, connection: &Connection, asker: &mut Asker<L>) -> Begun {
        tokio::select! {
            begun = timeout(self.options.answer_limit, talk::begin(connection)) => match begun {
                Ok(Ok(channel)) => Begun::Yes(channel),
                Ok(Err(cause)) => Begun::Refused(cause),
                Err(_) => Begun::Silence,
            },
            () = asker.closed() => Begun::Abandoned,
        }
    }

    fn no_answer(&self) -> String {
        let limit = self.options.answer_limit.as_secs();
        format!("connected, but the server did not answer within {limit} s")
    }

    /// A new connection, logged in and with a trusted host key.
    async fn connect(&self, host: &Host, eager: bool) -> Result<Connection> {
        let (refusal, failing) = self.with_peer(host, |peer| {
            (peer.backoff.refusal(Instant::now()), peer.backoff.failing())
        });
        if let Some(why) = refusal.filter(|_| !eager) {
            return Err(upstream(host, &why));
        }
        let lane = if failing { &self.suspect } else { &self.sound };
        let connected = self.greet(host, lane).await;
        connected.map_err(|why| self.failed(host, why))
    }

    async fn greet(&self, host: &Host, lane: &Lane) -> Result<Connection, String> {
        let limit = self.options.connect_limit;
        let late = |step: &str| {
            let secs = limit.as_secs_f32();
            format!("no connection: {step} within {secs} s")
        };
        let slot = lane.dials.acquire().await;
        let dialled = timeout(limit, Connection::dial(&host.address, host.port)).await;
        let mut connection = dialled.map_err(|_| late("the host did not answer"))??;
        drop(slot);
        let slot = lane.handshakes.acquire().await;
        let greeted = timeout(limit, async {
            let record = self.record(host).await?;
            let key = connection
                .handshake(&record, self.options.keepalive)
                .await?;
            self.judge(host, &record, &key).await?;
            connection.login(&host.login).await
        })
        .await;
        drop(slot);
        greeted.map_err(|_| late("the server did not finish the login"))??;
        tracing::debug!(host = label(host), "SSH connected");
        Ok(connection)
    }

    pub(super) async fn record(&self, host: &Host) -> Result<Record, String> {
        match &host.login.trust {
            Trust::Pinned(lines) => Ok(lines.record(&host.address, host.port)),
            Trust::FirstUse => {
                let accepted = self.keys.accepted(&host.address, host.port).await;
                let accepted = accepted.map_err(|cause| format!("no host key record: {cause}"))?;
                Ok(Record {
                    accepted: accepted.into_iter().collect(),
                    revoked: Vec::new(),
                })
            }
        }
    }

    async fn judge(&self, host: &Host, record: &Record, key: &HostKey) -> Result<(), String> {
        if record.accepts(key) {
            return Ok(());
        }
        if record.revoked.contains(key) {
            return Err(format!("refused: the host key {key} is marked @revoked"));
        }
        let (address, port) = (host.address.as_str(), host.port);
        match (&host.login.trust, record.accepted.first()) {
            (Trust::Pinned(_), None) => Err(format!(
                "refused: the profile pins no key for this host; it showed {key}"
            )),
            (Trust::Pinned(_), Some(known)) => Err(format!(
                "refused: the host key is not the pinned one: expected {known}, got {key}; somebody may be in between"
            )),
            (Trust::FirstUse, None) => {
                let remembered = self.keys.remember(address, port, key).await;
                let remembered = remembered
                    .map_err(|cause| format!("the host key could not be remembered: {cause}"))?;
                tracing::info!(host = label(host), %key, "remembered the host key of first use");
                if remembered == *key {
                    Ok(())
                } else {
                    Err(changed(&remembered, key))
                }
            }
            (Trust::FirstUse, Some(known)) => {
                let noted = self.keys.offered(address, port, key).await;
                noted
                    .map_err(|cause| format!("the changed host key could not be noted: {cause}"))?;
                Err(changed(known, key))
            }
        }
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<HostId, Peer>> {
        // The map is valid between any two statements under the lock.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_peer<T>(&self, host: &Host, work: impl FnOnce(&mut Peer) -> T) -> T {
        let mut peers = self.peers();
        let fresh = || Peer {
            login: host.login.digest,
            idle: None,
            connecting: Arc::default(),
            backoff: Backoff::new(self.options.backoff_first, self.options.backoff_longest),
            used: Instant::now(),
        };
        let peer = peers.entry(host.id()).or_insert_with(fresh);
        if peer.login != host.login.digest {
            // The profile changed: what was learned with the old one is void.
            *peer = fresh();
        }
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

    fn keep(&self, host: &Host, connection: Connection) {
        // A second connection (two commands at once on one host) is not kept.
        let spare = self.with_peer(host, |peer| peer.idle.replace(connection));
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

fn changed(known: &HostKey, shown: &HostKey) -> String {
    format!(
        "refused: the host key changed: remembered {known}, got {shown}; if the machine was rebuilt, accept the new key on the node's page, \
         else somebody may be in between"
    )
}

pub(super) fn upstream(host: &Host, why: &str) -> Error {
    Error::Upstream {
        what: format!("ssh {}: {why}", label(host)),
        retryable: true,
    }
}
