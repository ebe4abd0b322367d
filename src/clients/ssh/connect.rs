//! The way to a new connection: a bound on connections being made at once, the host's key judged, the login.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::clients::ssh::agent::Agent;
use crate::clients::ssh::connection::{Connection, greeted, label, reach};
use crate::clients::ssh::fault::Trouble;
use crate::clients::ssh::guard::Guard;
use crate::clients::ssh::jump::{Jump, Jumps};
use crate::clients::ssh::offer;
use crate::clients::ssh::socket::Socket;
use crate::clients::ssh::trust::{HostKey, HostKeys, Record, Trust};
use crate::clients::ssh::{Host, Identity, Options};

/// Handshakes at once with hosts that failed last time: they never take a slot from the others.
const SUSPECT_HANDSHAKES: usize = 8;
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
    fn new(dials: usize, handshakes: usize) -> Self {
        Self {
            dials: Semaphore::new(dials.max(1)),
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
    slow_after: Duration,
    keepalive: Duration,
    keys: Arc<dyn HostKeys>,
    guard: Arc<Guard>,
    sound: Lane,
    suspect: Lane,
    /// For logins with an agent, which may take long over each.
    by_agent: Lane,
    agent: Agent,
    jumps: Jumps,
}

impl Connector {
    pub(super) fn new(options: &Options, keys: Arc<dyn HostKeys>, guard: Arc<Guard>) -> Self {
        Self {
            limit: options.connect_limit,
            slow_after: options.slow_after,
            keepalive: options.keepalive,
            keys,
            guard,
            sound: Lane::new(options.dials, options.handshakes),
            suspect: Lane::new(options.dials, SUSPECT_HANDSHAKES),
            by_agent: Lane::new(options.dials, options.handshakes),
            agent: Agent::default(),
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
            let lane = self.lane(host, suspect);
            let _joined = lane.join().await;
            let jump = host.login.via.as_ref().map(|via| self.jumps.of(via));
            let (socket, dialled) = self.dial(host, suspect, jump.as_deref()).await?;
            // In this order: who waits for its jump host takes no slot from those behind another, or behind none.
            let turn = match &jump {
                Some(jump) => jump.slot().await,
                None => None,
            };
            let slot = lane.handshakes.acquire().await;
            // Not before: those that wait for a handshake are as few as those that are dialled, and no server loses patience meanwhile.
            drop(dialled);
            let limit = self.limit(host);
            let mut connection = Connection::over(socket, Arc::clone(&self.guard))?;
            let greet = self.greet(host, &mut connection);
            let greeted = self.finish(greet, (slot, turn), limit).await;
            match greeted.ok_or_else(|| late(unfinished(host), limit))? {
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

    fn lane(&self, host: &Host, suspect: bool) -> &Lane {
        match &host.login.identity {
            Identity::Agent => &self.by_agent,
            Identity::Key { .. } if suspect => &self.suspect,
            Identity::Key { .. } => &self.sound,
        }
    }

    fn limit(&self, host: &Host) -> Duration {
        host.login.connect_limit.unwrap_or(self.limit)
    }

    /// Reaches a host until it greets, straight or through its jump host; the slot that it took for that.
    async fn dial<'a>(
        &'a self,
        host: &Host,
        suspect: bool,
        jump: Option<&Jump>,
    ) -> Result<(Socket, Option<SemaphorePermit<'a>>), Trouble> {
        let limit = self.limit(host);
        if let Some(jump) = jump {
            // It takes no slot here: its jump host needs one itself.
            let stream = jump.tunnel(self, host, suspect, limit).await?;
            let socket = Socket::tunnel(stream).map_err(|cause| format!("no socket: {cause}"))?;
            let greeted = timeout(limit, greeted(socket)).await;
            let socket = greeted.map_err(|_| late("the host did not answer", limit))??;
            return Ok((socket, None));
        }
        // It is never closed.
        let slot = self.lane(host, suspect).dials.acquire().await.ok();
        let dialled = timeout(limit, reach(&host.address, host.port)).await;
        let socket = dialled.map_err(|_| late("the host did not answer", limit))??;
        Ok((socket, slot))
    }

    /// Does work within a limit; none: it was not done. The slots for it are given back when it takes long.
    async fn finish<T, S>(
        &self,
        work: impl Future<Output = T>,
        slots: S,
        limit: Duration,
    ) -> Option<T> {
        let until = Instant::now() + limit;
        let mut work = pin!(work);
        if let Ok(done) = timeout(self.slow_after.min(limit), &mut work).await {
            return Some(done);
        }
        drop(slots);
        timeout_at(until, work).await.ok()
    }

    async fn greet(&self, host: &Host, connection: &mut Connection) -> Result<(), String> {
        let record = self.record(host).await?;
        let key = connection.handshake(&record, self.keepalive).await?;
        self.judge(host, &record, &key).await?;
        let limit = self.limit(host);
        connection.login(&host.login, &self.agent, limit).await
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
                let accepted = self.keys.accepted(&host.place()).await;
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
        let place = host.place();
        match (&host.login.trust, record.accepted.first()) {
            (Trust::Pinned(_), None) => Err(format!(
                "refused: the profile pins no key for this host; it showed {key}"
            )),
            (Trust::Pinned(_), Some(known)) => Err(format!(
                "refused: the host key is not the pinned one: expected {known}, got {key}; somebody may be in between"
            )),
            (Trust::FirstUse, None) => {
                let remembered = self.keys.remember(&place, key).await;
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
                let noted = self.keys.offered(&place, key).await;
                noted
                    .map_err(|cause| format!("the changed host key could not be noted: {cause}"))?;
                Err(changed(known, key))
            }
        }
    }
}

fn unfinished(host: &Host) -> &'static str {
    match host.login.identity {
        Identity::Agent => {
            "the ssh-agent, which may wait for a person, and the server did not finish the login"
        }
        Identity::Key { .. } => "the server did not finish the login",
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
