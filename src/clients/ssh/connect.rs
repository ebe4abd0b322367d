//! The way to a new connection: a bound on connections being made at once, the host's key judged, the login.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::clients::ssh::connection::{Connection, label};
use crate::clients::ssh::fault::Trouble;
use crate::clients::ssh::jump::{Jump, Jumps};
use crate::clients::ssh::offer;
use crate::clients::ssh::socket::Socket;
use crate::clients::ssh::trust::{HostKey, HostKeys, Record, Trust};
use crate::clients::ssh::{Host, Options};

/// Handshakes at once with hosts that failed last time: they never take a slot from the others.
const SUSPECT_HANDSHAKES: usize = 8;
/// Hosts being dialled at once, per lane: each holds a descriptor until its time limit.
const DIALS: usize = 512;

/// About what a handshake takes: those that wait for a slot anyway are dialled within the time that it takes until theirs is free.
const HANDSHAKE: Duration = Duration::from_millis(20);

/// Slots for connecting.
struct Lane {
    dials: Semaphore,
    handshakes: Semaphore,
    slots: usize,
    under_way: AtomicUsize,
}

impl Lane {
    fn new(handshakes: usize) -> Self {
        Self {
            dials: Semaphore::new(DIALS),
            handshakes: Semaphore::new(handshakes),
            slots: handshakes.max(1),
            under_way: AtomicUsize::new(0),
        }
    }

    /// Joins those that are connecting. After a start those are all nodes at once: they are spread at random, so that neither they nor what
    /// stands in between meets all of them in the same millisecond. A few alone do not wait.
    async fn join(&self) -> UnderWay<'_> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let joined = UnderWay(self);
        if before >= self.slots {
            let rounds = u32::try_from(before / self.slots).unwrap_or(u32::MAX);
            sleep(HANDSHAKE.saturating_mul(rounds).mul_f64(rand::random())).await;
        }
        joined
    }
}

/// Somebody who is connecting.
struct UnderWay<'a>(&'a Lane);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes connections.
pub(super) struct Connector {
    limit: Duration,
    keepalive: Duration,
    keys: Arc<dyn HostKeys>,
    sound: Lane,
    suspect: Lane,
    jumps: Jumps,
}

impl Connector {
    pub(super) fn new(options: &Options, keys: Arc<dyn HostKeys>) -> Self {
        Self {
            limit: options.connect_limit,
            keepalive: options.keepalive,
            keys,
            sound: Lane::new(options.handshakes),
            suspect: Lane::new(SUSPECT_HANDSHAKES),
            jumps: Jumps::default(),
        }
    }

    /// A new connection, logged in and with a trusted host key, or why there is none. `suspect`: whether the host failed last time.
    pub(super) fn connect<'a>(
        &'a self,
        host: &'a Host,
        suspect: bool,
    ) -> BoxFuture<'a, Result<Connection, Trouble>> {
        async move {
            let lane = self.lane(suspect);
            let _joined = lane.join().await;
            let jump = host.login.via.as_ref().map(|via| self.jumps.of(via));
            let mut connection = self.dial(host, suspect, jump.as_deref()).await?;
            // In this order: who waits for its jump host takes no slot from those behind another, or behind none.
            let _turn = match &jump {
                Some(jump) => jump.slot().await,
                None => None,
            };
            let _slot = lane.handshakes.acquire().await;
            let limit = self.limit(host);
            let greeted = timeout(limit, self.greet(host, &mut connection)).await;
            match greeted.map_err(|_| late("the server did not finish the login", limit))? {
                Ok(()) => {
                    tracing::debug!(host = label(host), "SSH connected");
                    Ok(connection)
                }
                Err(why) if connection.no_common_method && jump.is_none() => {
                    drop(connection);
                    Err(self.with_offer(host, why).await.into())
                }
                Err(why) => Err(why.into()),
            }
        }
        .boxed()
    }

    fn lane(&self, suspect: bool) -> &Lane {
        if suspect { &self.suspect } else { &self.sound }
    }

    fn limit(&self, host: &Host) -> Duration {
        host.login.connect_limit.unwrap_or(self.limit)
    }

    /// Reaches a host until it greets, straight or through its jump host.
    async fn dial(
        &self,
        host: &Host,
        suspect: bool,
        jump: Option<&Jump>,
    ) -> Result<Connection, Trouble> {
        let limit = self.limit(host);
        if let Some(jump) = jump {
            // It takes no slot here: its jump host needs one itself.
            let stream = jump.tunnel(self, host, suspect, limit).await?;
            let socket = Socket::tunnel(stream).map_err(|cause| format!("no socket: {cause}"))?;
            let greeted = timeout(limit, Connection::over(socket)).await;
            return Ok(greeted.map_err(|_| late("the host did not answer", limit))??);
        }
        let _slot = self.lane(suspect).dials.acquire().await;
        let dialled = timeout(limit, Connection::dial(&host.address, host.port)).await;
        Ok(dialled.map_err(|_| late("the host did not answer", limit))??)
    }

    async fn greet(&self, host: &Host, connection: &mut Connection) -> Result<(), String> {
        let record = self.record(host).await?;
        let key = connection.handshake(&record, self.keepalive).await?;
        self.judge(host, &record, &key).await?;
        connection.login(&host.login).await
    }

    /// Adds what a server offers to why nothing could be agreed on.
    async fn with_offer(&self, host: &Host, why: String) -> String {
        match timeout(self.limit(host), offer::ask(&host.address, host.port)).await {
            Ok(Ok(offer)) => format!(
                "{why}; it offers key exchange {}; host keys {}; ciphers {}",
                offer.key_exchange, offer.host_keys, offer.ciphers
            ),
            Ok(Err(_)) | Err(_) => why,
        }
    }

    /// What is on record about a host's keys.
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
}

fn late(step: &str, limit: Duration) -> String {
    let secs = limit.as_secs_f32();
    format!("no connection: {step} within {secs} s")
}

fn changed(known: &HostKey, shown: &HostKey) -> String {
    format!(
        "refused: the host key changed: remembered {known}, got {shown}; if the machine was rebuilt, accept the new key on the node's page, \
         else somebody may be in between"
    )
}
