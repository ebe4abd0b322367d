//! All JVMs that are talked to: one login for each, kept across ticks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::{Duration, Instant as Clock};

use futures::future::join_all;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use super::peer::{Peer, Terms, error};
use super::words::Unanswered;
use super::{Ask, Jvm, Options, Shown, Told, Way};

/// For one attribute that a person looks at.
const SHOW_LIMIT: Duration = Duration::from_secs(5);
/// The login of a person who looks around is given up after so long.
const BROWSING_IDLE: Duration = Duration::from_mins(1);

/// Names a login.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PeerId {
    way: Way,
    digest: [u8; 32],
    purpose: Purpose,
}

/// What a login is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Purpose {
    /// The readings of a tick.
    Reading,
    /// A person who looks around, and may have to wait for slow attributes.
    Browsing,
}

/// All JVMs that are talked to.
pub struct Pool {
    options: Options,
    peers: Lock<HashMap<PeerId, Arc<Mutex<Peer>>>>,
    count: Arc<AtomicUsize>,
}

impl Pool {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            peers: Lock::default(),
            count: Arc::default(),
        }
    }

    pub(super) fn open_connections(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Reads attributes of a JVM; answers for each, in their order.
    pub(super) async fn read(&self, jvm: &Jvm, asks: &[Ask], deadline: Instant) -> Vec<Told> {
        let terms = Terms {
            deadline,
            eager: false,
        };
        match self.peer(jvm, Purpose::Reading, deadline).await {
            Ok(mut peer) => peer.read(jvm, asks, terms).await,
            Err(why) => asks.iter().map(|_| error(&why)).collect(),
        }
    }

    pub(super) async fn names(&self, jvm: &Jvm, deadline: Instant) -> Result<Vec<String>, String> {
        let terms = Terms {
            deadline,
            eager: true,
        };
        let peer = self.peer(jvm, Purpose::Browsing, deadline);
        peer.await?.names(jvm, terms).await
    }

    pub(super) async fn show(
        &self,
        jvm: &Jvm,
        mbean: &str,
        deadline: Instant,
    ) -> Result<Vec<Shown>, Unanswered> {
        let terms = Terms {
            deadline,
            eager: true,
        };
        let mut peer = self.peer(jvm, Purpose::Browsing, deadline).await?;
        let described = peer.describe(jvm, mbean, terms).await?;
        let ask = |name: &str| Ask {
            mbean: mbean.to_owned(),
            attribute: name.to_owned(),
            limit: SHOW_LIMIT,
        };
        let readable = described.iter().filter(|about| about.readable);
        let asks: Vec<Ask> = readable.map(|about| ask(&about.name)).collect();
        let mut told = peer.read(jvm, &asks, terms).await.into_iter();
        let shown = described.into_iter().map(|about| {
            let value = match about.readable.then(|| told.next()).flatten() {
                Some(told) => told.outcome,
                None => Err("can only be written".into()),
            };
            Shown { about, value }
        });
        Ok(shown.collect())
    }

    /// Waits for whoever talks to that JVM at the moment.
    async fn peer(
        &self,
        jvm: &Jvm,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<OwnedMutexGuard<Peer>, String> {
        let id = PeerId {
            way: jvm.way.clone(),
            digest: jvm.digest,
            purpose,
        };
        let peer = {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Mutex::new(Peer::new(&self.options, &self.count)));
            Arc::clone(peers.entry(id).or_insert_with(new))
        };
        let locked = timeout_at(deadline, peer.lock_owned()).await;
        locked.map_err(|_| format!("{} is still busy with what was asked before", jvm.way))
    }

    /// Renews leases, and logs out where nobody has asked anything for long. A JVM that does not answer delays no other.
    pub(super) fn maintain(&self) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|id, peer| {
            let idle_limit = match id.purpose {
                Purpose::Reading => self.options.idle_limit,
                Purpose::Browsing => BROWSING_IDLE.min(self.options.idle_limit),
            };
            let Ok(mut peer) = Arc::clone(peer).try_lock_owned() else {
                return true;
            };
            let idle = Clock::now().duration_since(peer.used) > idle_limit;
            tokio::spawn(async move {
                if idle {
                    peer.close().await;
                } else {
                    peer.renew().await;
                }
            });
            !idle
        });
    }

    /// Logs out everywhere.
    pub(super) async fn close(&self) {
        let peers: Vec<_> = {
            let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
            peers.drain().map(|(_, peer)| peer).collect()
        };
        join_all(peers.into_iter().map(|peer| async move {
            // Whoever is being talked to notices the end of the connection.
            if let Ok(mut peer) = peer.try_lock_owned() {
                peer.close().await;
            }
        }))
        .await;
    }
}
