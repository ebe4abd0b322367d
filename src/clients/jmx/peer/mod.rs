//! One JVM: its login, made when it is needed and made anew when it is lost, and what is asked of it.

mod bulk;
mod reading;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant as Clock};

use tokio::time::{Instant, timeout_at};

use crate::clients::backoff::Backoff;
use crate::clients::jmx::failure::Failure;
use crate::clients::jmx::jolokia::Jolokia;
use crate::clients::jmx::session::{Described, Session};
use crate::clients::jmx::words::{Unanswered, not_opened, undescribed};
use crate::clients::jmx::{Ask, Jvm, Options, Told, Way};

/// For a farewell or a sign of life.
const SHORT: Duration = Duration::from_secs(5);

/// What is open to a JVM; counted while it is.
pub struct Open {
    line: Line,
    count: Arc<AtomicUsize>,
    /// Made since the present question was put.
    fresh: bool,
}

enum Line {
    Rmi(Box<Session>),
    Jolokia(Jolokia),
    Closed,
}

impl Open {
    fn new(line: Line, count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self {
            line,
            count: Arc::clone(count),
            fresh: true,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The longest pause before an attribute that never comes is asked again: each time may leave a thread of the JVM behind that waits for it.
const LONGEST_DOUBT: Duration = Duration::from_hours(1);

/// Why an attribute is asked by itself.
#[derive(Debug)]
enum Doubt {
    /// It was asked for together with others when there was no answer, and time did not suffice to find out which of them it was.
    Suspected,
    /// It did not come in time or broke the connection, and is asked ever more rarely.
    Guilty(Backoff),
}

/// One JVM.
pub struct Peer {
    options: Options,
    count: Arc<AtomicUsize>,
    open: Option<Open>,
    plain_registry: bool,
    backoff: Backoff,
    /// Attributes, by MBean and name, that are asked each by itself and after the others, so that those do not suffer from them again.
    alone: HashMap<(String, String), Doubt>,
    /// Which JVM it was at the last login.
    jvm: Option<i32>,
    pub(in crate::clients::jmx) used: Clock,
}

/// What one question may cost.
#[derive(Clone, Copy)]
pub struct Terms {
    pub(in crate::clients::jmx) deadline: Instant,
    /// Whether to try at once although the JVM failed a moment ago.
    pub(in crate::clients::jmx) eager: bool,
}

impl Peer {
    pub(in crate::clients::jmx) fn new(options: &Options, count: &Arc<AtomicUsize>) -> Self {
        Self {
            options: options.clone(),
            count: Arc::clone(count),
            open: None,
            plain_registry: false,
            backoff: Backoff::new(options.backoff_first, options.backoff_longest),
            alone: HashMap::new(),
            jvm: None,
            used: Clock::now(),
        }
    }

    /// Reads attributes; answers for each, in their order.
    pub(in crate::clients::jmx) async fn read(
        &mut self,
        jvm: &Jvm,
        asks: &[Ask],
        terms: Terms,
    ) -> Vec<Told> {
        self.begin();
        let told = match &jvm.way {
            Way::Rmi(_) => self.read_rmi(jvm, asks, terms).await,
            Way::Jolokia(_) => self.read_jolokia(jvm, asks, terms).await,
        };
        self.used = Clock::now();
        told
    }

    /// The names of all MBeans.
    pub(in crate::clients::jmx) async fn names(
        &mut self,
        jvm: &Jvm,
        terms: Terms,
    ) -> Result<Vec<String>, String> {
        self.begin();
        loop {
            let open = self.ensure(jvm, terms).await?;
            let fresh = open.fresh;
            let work = async {
                match &mut open.line {
                    Line::Rmi(session) => session.names().await,
                    Line::Jolokia(agent) => agent.names(jvm.credentials.as_ref()).await,
                    Line::Closed => Err(closed()),
                }
            };
            match timeout_at(terms.deadline, work)
                .await
                .unwrap_or(Err(Failure::Late))
            {
                Ok(names) => return Ok(names),
                Err(failure) if self.lost(&failure) && !fresh => {}
                Err(failure) => return Err(format!("{}: {failure}", jvm.way)),
            }
        }
    }

    /// The attributes of an MBean.
    pub(in crate::clients::jmx) async fn describe(
        &mut self,
        jvm: &Jvm,
        mbean: &str,
        terms: Terms,
    ) -> Result<Vec<Described>, Unanswered> {
        self.begin();
        loop {
            let open = self.ensure(jvm, terms).await?;
            let fresh = open.fresh;
            let work = async {
                match &mut open.line {
                    Line::Rmi(session) => session.describe(mbean).await,
                    Line::Jolokia(agent) => agent.describe(jvm.credentials.as_ref(), mbean).await,
                    Line::Closed => Err(closed()),
                }
            };
            match timeout_at(terms.deadline, work)
                .await
                .unwrap_or(Err(Failure::Late))
            {
                Ok(described) => return Ok(described),
                Err(failure) if self.lost(&failure) && !fresh => {}
                Err(failure) => return Err(undescribed(&failure, mbean, jvm)),
            }
        }
    }

    /// Renews the lease where it is time; a login that cannot be renewed is given up.
    pub(in crate::clients::jmx) async fn renew(&mut self) {
        let Some(Open {
            line: Line::Rmi(session),
            ..
        }) = &mut self.open
        else {
            return;
        };
        if !session.wants_renewal(Clock::now()) {
            return;
        }
        let renewed = tokio::time::timeout(SHORT, session.renew()).await;
        if let Err(failure) = renewed.unwrap_or(Err(Failure::Late)) {
            tracing::debug!("a lease was not renewed: {failure}");
            self.open = None;
        }
    }

    /// Logs out, if it is logged in.
    pub(in crate::clients::jmx) async fn close(&mut self) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        // Kept in place so that it is counted until it is closed.
        let line = std::mem::replace(&mut open.line, Line::Closed);
        if let Line::Rmi(session) = line {
            let closed = tokio::time::timeout(SHORT, session.close()).await;
            if let Err(failure) = closed.unwrap_or(Err(Failure::Late)) {
                tracing::debug!("a JVM was not told of the end: {failure}");
            }
        }
    }

    fn begin(&mut self) {
        self.used = Clock::now();
        if let Some(open) = &mut self.open {
            open.fresh = false;
        }
    }

    /// Forgets a connection that is of no more use; whether another one may do better.
    fn lost(&mut self, failure: &Failure) -> bool {
        if failure.ends_connection() {
            self.open = None;
        }
        matches!(failure, Failure::Lost(_)) || failure.is_stale()
    }

    /// What is open, or opened now.
    async fn ensure(&mut self, jvm: &Jvm, terms: Terms) -> Result<&mut Open, String> {
        if self.open.is_none() {
            if let Some(why) = self.backoff.refusal(Clock::now())
                && !terms.eager
            {
                return Err(why);
            }
            let begun = Instant::now();
            let until = terms.deadline.min(begun + self.options.connect_limit);
            let opened = timeout_at(until, self.connect(jvm)).await;
            match opened.unwrap_or(Err(Failure::Late)) {
                Ok(line) => {
                    // A Jolokia agent has not been asked anything yet.
                    if let Line::Rmi(session) = &line {
                        self.backoff.succeeded();
                        if self.jvm.replace(session.jvm()) != Some(session.jvm()) {
                            self.forget_doubts();
                        }
                    }
                    self.open = Some(Open::new(line, &self.count));
                }
                Err(failure) => {
                    self.forget_doubts();
                    let why = not_opened(&failure, jvm, until - begun);
                    self.backoff
                        .failed(Clock::now(), rand::random(), why.clone());
                    return Err(why);
                }
            }
        }
        self.open.as_mut().ok_or_else(|| "not connected".to_owned())
    }

    /// What is there now, or comes back, may be another JVM, in which nothing waits for what was asked of the one before.
    fn forget_doubts(&mut self) {
        self.alone.clear();
    }

    async fn connect(&mut self, jvm: &Jvm) -> Result<Line, Failure> {
        let (credentials, tls) = (jvm.credentials.as_ref(), jvm.tls.as_ref());
        Ok(match &jvm.way {
            Way::Rmi(address) => {
                let plain = &mut self.plain_registry;
                Line::Rmi(Box::new(
                    Session::open(address, credentials, tls, plain).await?,
                ))
            }
            Way::Jolokia(url) => Line::Jolokia(Jolokia::new(url, tls)?),
        })
    }
}

fn closed() -> Failure {
    Failure::Lost("the connection is closed".into())
}

pub(in crate::clients::jmx) fn error(why: &str) -> Told {
    Told {
        outcome: Err(why.to_owned()),
        took: Duration::ZERO,
    }
}
