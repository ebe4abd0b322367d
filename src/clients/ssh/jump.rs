//! Ways through jump hosts: several hosts share one connection to a jump host, each with a tunnel of its own.
//!
//! libssh2 opens one tunnel at a time on a connection, and a host behind that does not answer holds it up: while that lasts, others go over a
//! further connection, up to a few.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;

use crate::clients::ssh::Host;
use crate::clients::ssh::connect::Connector;
use crate::clients::ssh::connection::label;
use crate::clients::ssh::switch::{Order, Switch};

/// Connections to one jump host.
const LINKS: usize = 4;
/// A tunnel that takes longer holds up the others.
const STUCK: Duration = Duration::from_millis(500);
/// Handshakes at once through one jump host.
const HANDSHAKES: usize = 8;
/// How long a jump host that cannot be reached is left alone.
const PAUSE: Duration = Duration::from_secs(5);
/// Hosts that wait for a tunnel of one connection.
const ORDERS: usize = 64;

/// The jump hosts in use.
#[derive(Default)]
pub(super) struct Jumps(Mutex<HashMap<String, Arc<Jump>>>);

/// One jump host.
pub(super) struct Jump {
    host: Host,
    links: tokio::sync::Mutex<Links>,
    handshakes: Semaphore,
}

#[derive(Default)]
struct Links {
    open: Vec<Link>,
    failed: Option<(Instant, String)>,
}

#[derive(Clone)]
struct Link {
    orders: mpsc::Sender<Order>,
    /// Since when a tunnel is being opened.
    opening: Arc<Mutex<Option<Instant>>>,
}

impl Link {
    fn stuck(&self) -> bool {
        let since = *self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() > STUCK)
    }

    /// A tunnel, or why there is none; nothing: the connection is gone.
    async fn tunnel(&self, to: &Host) -> Option<Result<UnixStream, String>> {
        let (reply, answer) = oneshot::channel();
        let order = Order {
            address: to.address.clone(),
            port: to.port,
            reply,
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
        let fresh = || {
            Arc::new(Jump {
                host: host.clone(),
                links: tokio::sync::Mutex::default(),
                handshakes: Semaphore::new(HANDSHAKES),
            })
        };
        if !jumps.contains_key(&name) {
            // Those of logins that have changed since.
            jumps.retain(|_, jump| Arc::strong_count(jump) > 1 || jump.in_use());
        }
        Arc::clone(jumps.entry(name).or_insert_with(fresh))
    }
}

impl Jump {
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

    /// A tunnel to a host behind it.
    pub(super) async fn tunnel(
        &self,
        connector: &Connector,
        to: &Host,
        limit: Duration,
    ) -> Result<UnixStream, String> {
        // A connection that was found is only known to be gone once it is used.
        let mut gone = false;
        for _ in 0..2 {
            let link = self.link(connector).await;
            let link = link.map_err(|why| format!("the jump host {}: {why}", label(&self.host)))?;
            match timeout(limit, link.tunnel(to)).await {
                Ok(Some(answer)) => return answer,
                Ok(None) => gone = true,
                Err(_) => break,
            }
        }
        let jump = label(&self.host);
        if gone {
            return Err(format!("the jump host {jump} hung up"));
        }
        let secs = limit.as_secs_f32();
        Err(format!(
            "no connection: the jump host {jump} did not reach it within {secs} s"
        ))
    }

    /// A connection to it that is not held up; all who need a new one wait for the same.
    async fn link(&self, connector: &Connector) -> Result<Link, String> {
        let mut links = self.links.lock().await;
        links.open.retain(|link| !link.orders.is_closed());
        if let Some(free) = links.open.iter().find(|link| !link.stuck()) {
            return Ok(free.clone());
        }
        if links.open.len() >= LINKS
            && let Some(any) = links.open.first()
        {
            return Ok(any.clone());
        }
        if let Some((at, why)) = &links.failed
            && at.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        match connector.connect(&self.host, false).await {
            Ok(connection) => {
                let (orders, receiver) = mpsc::channel(ORDERS);
                let opening = Arc::default();
                let switch = Switch::new(connection, receiver, Arc::clone(&opening));
                tokio::spawn(switch.run());
                let link = Link { orders, opening };
                links.open.push(link.clone());
                links.failed = None;
                Ok(link)
            }
            Err(why) => {
                links.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }
}
