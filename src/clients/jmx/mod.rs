//! Java's management interface (JMX) without Java.
//!
//! The seam: callers see [`Jmx`], [`Jvm`] and [`Datum`], never a connection. Behind it, one thread owns a login per JVM, kept across ticks
//! and made anew when the JVM was restarted. RMI and Java's serialisation are spoken here: `wire.rs` carries calls, `call.rs` writes them,
//! `stream.rs` reads what comes back into a `graph.rs`, `session.rs` knows what to call. `jolokia.rs` is the other way to the same numbers.

mod address;
mod allowance;
mod call;
mod convert;
mod datum;
mod failure;
mod graph;
mod jolokia;
mod json;
mod peer;
mod pool;
mod reply;
mod session;
mod stream;
mod tls;
mod wire;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::{Error, Result};
use pool::Pool;
use session::Credentials;

pub use address::{Address, Place};
pub use datum::Datum;
pub use session::Described;
pub use tls::Tls;

/// Limits; the defaults suit a fleet.
#[derive(Debug, Clone)]
pub struct Options {
    /// For connecting and logging in.
    pub connect_limit: Duration,
    /// A login unused for so long is given up; above the tick.
    pub idle_limit: Duration,
    /// How often kept logins are looked after: far more often than a JVM lets them lapse, which is after ten minutes as a rule.
    pub maintenance: Duration,
    /// Pause after a first failure.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_longest: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_limit: Duration::from_secs(10),
            idle_limit: Duration::from_mins(5),
            maintenance: Duration::from_secs(15),
            backoff_first: Duration::from_secs(1),
            backoff_longest: Duration::from_mins(1),
        }
    }
}

/// The way to a JVM's MBeans.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Way {
    /// RMI, as every JVM speaks it.
    Rmi(Address),
    /// The URL of a Jolokia agent.
    Jolokia(String),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rmi(address) => address.registry.fmt(f),
            Self::Jolokia(url) => f.write_str(url),
        }
    }
}

/// A JVM, and how to log in to it.
pub struct Jvm {
    way: Way,
    credentials: Option<Credentials>,
    tls: Option<Tls>,
    digest: [u8; 32],
}

impl Jvm {
    /// A JVM, with a user and the password where it wants a login, and over TLS where it speaks that.
    pub fn new(way: Way, login: Option<(String, SecretString)>, tls: Option<Tls>) -> Self {
        let mut hash = Sha256::new();
        if let Some((user, password)) = &login {
            for part in [user.as_str(), password.expose_secret()] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
        }
        if let Some(tls) = &tls {
            hash.update(tls.digest());
        }
        Self {
            way,
            credentials: login.map(|(user, password)| Credentials { user, password }),
            tls,
            digest: hash.finalize().into(),
        }
    }
}

impl fmt::Debug for Jvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jvm")
            .field("way", &self.way)
            .finish_non_exhaustive()
    }
}

/// One attribute to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The MBean's name.
    pub mbean: String,
    /// The attribute's.
    pub attribute: String,
    /// After which it is given up.
    pub limit: Duration,
}

/// What became of an [`Ask`].
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The value, or why there is none.
    pub outcome: Result<Datum, String>,
    /// How long the JVM took.
    pub took: Duration,
}

/// An attribute as a person looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// What the JVM says of it.
    pub about: Described,
    /// Its value now, or why there is none.
    pub value: Result<Datum, String>,
}

/// The JMX client; cheap to clone.
#[derive(Clone)]
pub struct Jmx {
    pool: Arc<Pool>,
    thread: Arc<Thread>,
}

/// Ends with the last clone of the client.
struct Thread(Option<Runtime>);

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Also called on async threads, where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

impl Jmx {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn new(options: Options) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("jmx")
            .enable_all()
            .build()
            .map_err(|cause| Error::internal("could not start the JMX thread", cause))?;
        let maintenance = options.maintenance;
        let pool = Arc::new(Pool::new(options));
        let looked_after = Arc::downgrade(&pool);
        runtime.spawn(async move {
            let mut ticks = tokio::time::interval(maintenance);
            loop {
                ticks.tick().await;
                let Some(pool) = looked_after.upgrade() else {
                    return;
                };
                pool.maintain();
            }
        });
        Ok(Self {
            pool,
            thread: Arc::new(Thread(Some(runtime))),
        })
    }

    /// Reads attributes of a JVM until the deadline; answers for each, in their order.
    ///
    /// # Errors
    /// Only that the thread has ended: that a JVM cannot be read stands in each answer.
    pub async fn read(
        &self,
        jvm: &Arc<Jvm>,
        asks: Vec<Ask>,
        deadline: Instant,
    ) -> Result<Vec<Told>> {
        let (pool, jvm) = (Arc::clone(&self.pool), Arc::clone(jvm));
        self.run(async move { pool.read(&jvm, &asks, deadline).await })
            .await
    }

    /// The names of a JVM's MBeans, sorted. Tries at once although the JVM failed a moment ago: a person asks. Over a login of its own, so that
    /// nobody who looks around holds up a tick.
    ///
    /// # Errors
    /// `Upstream`: why the JVM gave no answer.
    pub async fn mbeans(&self, jvm: &Arc<Jvm>, deadline: Instant) -> Result<Vec<String>> {
        let (pool, asked) = (Arc::clone(&self.pool), Arc::clone(jvm));
        let found = self.run(async move { pool.names(&asked, deadline).await });
        let mut names = found.await?.map_err(upstream)?;
        names.sort_unstable();
        Ok(names)
    }

    /// An MBean's attributes with their values, sorted by name.
    ///
    /// # Errors
    /// As [`Jmx::mbeans`].
    pub async fn attributes(
        &self,
        jvm: &Arc<Jvm>,
        mbean: String,
        deadline: Instant,
    ) -> Result<Vec<Shown>> {
        let (pool, asked) = (Arc::clone(&self.pool), Arc::clone(jvm));
        let found = self.run(async move { pool.show(&asked, &mbean, deadline).await });
        let mut shown = found.await?.map_err(|unanswered| {
            if unanswered.missing {
                Error::NotFound(unanswered.why)
            } else {
                upstream(unanswered.why)
            }
        })?;
        shown.sort_by(|one, other| one.about.name.cmp(&other.about.name));
        Ok(shown)
    }

    /// Logs out everywhere; for the end of the process. A JVM that does not answer is left to find out by itself.
    pub async fn close(&self) {
        let pool = Arc::clone(&self.pool);
        if let Err(cause) = self.run(async move { pool.close().await }).await {
            tracing::debug!("JVMs were not told of the end: {cause}");
        }
    }

    /// Logins kept at the moment.
    pub fn open_connections(&self) -> usize {
        self.pool.open_connections()
    }

    /// Work on connections is done on the thread alone, and never left half-way when the caller goes.
    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        let gone = || Error::Internal("the JMX thread has ended".into());
        let runtime = self.thread.0.as_ref().ok_or_else(gone)?;
        let (asker, answer) = oneshot::channel();
        runtime.spawn(async move {
            if asker.send(work.await).is_err() {
                tracing::trace!("nobody waited for an answer of a JVM");
            }
        });
        answer.await.map_err(|_| gone())
    }
}

fn upstream(what: String) -> Error {
    Error::Upstream {
        what,
        retryable: true,
    }
}
