//! Ways through jump hosts: several hosts share a connection to a jump host, each with a tunnel of its own.
//!
//! libssh2 opens one tunnel at a time on a connection, and a host behind that does not answer holds it up until the jump host gives up on it,
//! which may take minutes. So whoever wants a tunnel waits for a turn at a connection that is not held up; if all are, another is made, up to
//! a few, and then the one with the fewest tunnels is given up for a new one. Hosts that failed last time have connections of their own: what
//! they hold up is nobody else's.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::select_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::clients::backoff::Backoff;
use crate::clients::ssh::Host;
use crate::clients::ssh::connect::Connector;
use crate::clients::ssh::connection::{Connection, label};
use crate::clients::ssh::fault::Trouble;
use crate::clients::ssh::switch::{Order, Switch, Turn};

/// Connections to one jump host with room for more tunnels, and further ones for hosts that failed last time.
const LINKS: usize = 4;
const SUSPECT_LINKS: usize = 2;
/// Tunnels over one connection: whatever comes, each of them is looked at, and the event threads share out connections and not tunnels.
const TUNNELS: usize = 250;
/// A turn that takes longer holds up the others.
const STUCK: Duration = Duration::from_millis(500);
/// A connection that is held up for so long is given up when there may be no other.
const HELD: Duration = Duration::from_secs(3);
/// Handshakes at once through one jump host.
const HANDSHAKES: usize = 8;
/// How long a jump host that cannot be reached is left alone. One login is all that a try costs it, and all that is behind waits for it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The jump hosts in use.
#[derive(Default)]
pub(super) struct Jumps(Mutex<HashMap<String, Arc<Jump>>>);

/// One jump host.
pub(super) struct Jump {
    host: Host,
    links: tokio::sync::Mutex<Links>,
    handshakes: Semaphore,
}

struct Links {
    open: Vec<Link>,
    backoff: Backoff,
}

/// A connection to it.
#[derive(Clone)]
struct Link {
    orders: mpsc::Sender<Order>,
    turns: Arc<Semaphore>,
    /// Since when somebody has the turn.
    since: Arc<Mutex<Option<Instant>>>,
    tunnels: Arc<AtomicUsize>,
    /// Whether it is for hosts that failed last time.
    suspect: bool,
    task: AbortHandle,
}

impl Link {
    fn over(connection: Connection, jump: &Host, suspect: bool) -> Self {
        // Whoever has the turn orders once.
        let (orders, receiver) = mpsc::channel(1);
        let turns = Arc::new(Semaphore::new(1));
        let tunnels = Arc::default();
        let switch = Switch::new(label(jump), connection, receiver, Arc::clone(&tunnels));
        let over = Arc::clone(&turns);
        let task = tokio::spawn(async move {
            switch.run().await;
            over.close();
        });
        Self {
            orders,
            turns,
            since: Arc::default(),
            tunnels,
            suspect,
            task: task.abort_handle(),
        }
    }

    /// For how long it has been held up.
    fn held(&self) -> Duration {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn has_room(&self) -> bool {
        self.tunnels.load(Ordering::Relaxed) < TUNNELS
    }

    /// Ends it with all its tunnels.
    fn give_up(&self) {
        self.task.abort();
        self.turns.close();
    }

    /// A tunnel, or why there is none; nothing: the connection is gone.
    async fn tunnel(
        &self,
        to: &Host,
        permit: OwnedSemaphorePermit,
    ) -> Option<Result<UnixStream, String>> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            address: to.address.clone(),
            port: to.port,
            reply,
            turn: Turn::begin(permit, &self.since),
        };
        self.orders.send(order).await.ok()?;
        answer.await.ok()
    }
}

impl Jumps {
    /// A jump host by how it is logged in to.
    pub(super) fn of(&self, host: &Host) -> Arc<Jump> {
        let mut name = label(host);
        for byte in host.login.digest {
            // Writing to a String cannot fail.
            let _infallible = write!(name, "{byte:02x}");
        }
        let mut jumps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !jumps.contains_key(&name) {
            // Those of logins that have changed since.
            jumps.retain(|_, jump| Arc::strong_count(jump) > 1 || jump.in_use());
        }
        let jump = jumps.entry(name).or_insert_with(|| Jump::new(host));
        Arc::clone(jump)
    }
}

impl Jump {
    fn new(host: &Host) -> Arc<Self> {
        let links = Links {
            open: Vec::new(),
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE),
        };
        Arc::new(Self {
            host: host.clone(),
            links: tokio::sync::Mutex::new(links),
            handshakes: Semaphore::new(HANDSHAKES),
        })
    }

    /// A slot for a handshake through it.
    pub(super) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.handshakes.acquire().await.ok()
    }

    fn in_use(&self) -> bool {
        let links = self.links.try_lock();
        links.map_or(true, |links| {
            links.open.iter().any(|link| !link.orders.is_closed())
        })
    }

    /// A tunnel to a host behind it; `suspect`: whether that host failed last time.
    pub(super) async fn tunnel(
        &self,
        connector: &Connector,
        to: &Host,
        suspect: bool,
        limit: Duration,
    ) -> Result<UnixStream, Trouble> {
        let jump = label(&self.host);
        // A connection that was found is only known to be gone once it is used.
        for _ in 0..2 {
            let (link, permit) = self.turn(connector, suspect, limit).await?;
            let asked = Instant::now();
            let given_up = match timeout(limit, link.tunnel(to, permit)).await {
                Ok(Some(answer)) => return answer.map_err(Trouble::Host),
                Ok(None) => asked.elapsed() >= HELD,
                Err(_) => true,
            };
            if given_up {
                let secs = asked.elapsed().as_secs();
                return Err(Trouble::Host(format!(
                    "no connection: the jump host {jump} did not reach it within {secs} s"
                )));
            }
        }
        Err(Trouble::Jump(format!("the jump host {jump} hung up")))
    }

    /// A turn at one of the connections.
    async fn turn(
        &self,
        connector: &Connector,
        suspect: bool,
        limit: Duration,
    ) -> Result<(Link, OwnedSemaphorePermit), Trouble> {
        let mut waited = Duration::ZERO;
        while waited < limit {
            let links = self.links(connector, suspect, !waited.is_zero()).await;
            let links = links.map_err(|why| {
                Trouble::Jump(format!("the jump host {}: {why}", label(&self.host)))
            })?;
            let asked = Instant::now();
            let turns = links.iter().map(|link| {
                let turn = Arc::clone(&link.turns).acquire_owned();
                turn.map(|permit| permit.map(|permit| (link.clone(), permit)))
                    .boxed()
            });
            match timeout(STUCK, select_all(turns)).await {
                Ok((Ok((link, permit)), ..)) if link.has_room() => return Ok((link, permit)),
                // It has filled up meanwhile.
                Ok((Ok(_), ..)) => {}
                Ok((Err(_), ..)) | Err(_) => waited += asked.elapsed(),
            }
        }
        Err(Trouble::Jump(format!(
            "the jump host {} opened no tunnel within {} s: it is slow, or held up by hosts behind it that do not answer",
            label(&self.host),
            limit.as_secs()
        )))
    }

    /// The connections to wait for a turn at: with one that is not held up, and one more where someone had to wait (`queued`), if there can
    /// be. All who need a new one wait for the same.
    async fn links(
        &self,
        connector: &Connector,
        suspect: bool,
        queued: bool,
    ) -> Result<Vec<Link>, String> {
        let mut links = self.links.lock().await;
        links.open.retain(|link| !link.orders.is_closed());
        let found = links.open.iter().filter(|link| link.suspect == suspect);
        let mut found: Vec<Link> = found.filter(|link| link.has_room()).cloned().collect();
        let full = found.len() >= if suspect { SUSPECT_LINKS } else { LINKS };
        let usable = found.iter().any(|link| link.held() <= STUCK);
        if usable && (full || !queued) {
            return Ok(found);
        }
        if full {
            let held = found.iter().filter(|link| link.held() >= HELD);
            let Some(held) = held.min_by_key(|link| link.tunnels.load(Ordering::Relaxed)) else {
                return Ok(found);
            };
            held.give_up();
            links
                .open
                .retain(|link| !link.orders.same_channel(&held.orders));
        }
        match links.connect(connector, &self.host, suspect).await {
            Ok(link) => found.insert(0, link),
            Err(_) if usable => {}
            Err(why) => return Err(why),
        }
        Ok(found)
    }
}

impl Links {
    async fn connect(
        &mut self,
        connector: &Connector,
        jump: &Host,
        suspect: bool,
    ) -> Result<Link, String> {
        if let Some(why) = self.backoff.refusal(Instant::now()) {
            return Err(why);
        }
        match connector.connect(jump, false).await {
            Ok(connection) => {
                self.backoff.succeeded();
                let link = Link::over(connection, jump, suspect);
                self.open.push(link.clone());
                Ok(link)
            }
            Err(Trouble::Host(why) | Trouble::Jump(why)) => {
                let now = Instant::now();
                self.backoff.failed(now, rand::random(), why.clone());
                Err(why)
            }
        }
    }
}
