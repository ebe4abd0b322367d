//! (1) READ: collectors return readings; they never compare and never store.
//!
//! Every due series of every target yields exactly one [`Reading`] per tick: a value, or a sentence that says why there is none. Targets are
//! read side by side, none waits for another; what is not there at the deadline is an error reading.

mod batch;
mod descriptors;
mod files;
mod host_keys;
mod jmx;
mod jvm;
mod local;
mod plan;
mod reading;
mod share;
mod ssh;
mod target;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::clients::jmx::Jmx;
use crate::clients::ssh::Ssh;
use crate::models::to_ms;
use crate::samples::SeriesKey;

pub use descriptors::Descriptors;
pub use host_keys::RememberedKeys;
pub use jvm::jvm_of;
pub use plan::{Plan, load_targets};
pub use reading::Reading;
pub use share::owner;
pub use target::{CounterSpec, Source, Target, ToRead, host_of, is_due, load_one};

/// Kept back from the deadline: for stopping what still runs, and for what was heard to be handed on.
const RESERVE: Duration = Duration::from_millis(250);
/// What is said of a series whose turn, or whose answer, did not come.
const UNREAD: &str = "was not read before the tick's time was over";

/// What a collector found out about one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// The number, or why there is none.
    pub outcome: Result<f64, String>,
    /// How long it took.
    pub took: Duration,
}

impl Measured {
    fn error(why: impl Into<String>) -> Self {
        Self {
            outcome: Err(why.into()),
            took: Duration::ZERO,
        }
    }
}

/// One way to read.
pub trait Collector: Send + Sync {
    /// Whether it reads this kind of series.
    fn reads(&self, key: SeriesKey) -> bool;

    /// Reads these series of a target until the deadline; answers for each, in their order.
    fn read<'a>(
        &'a self,
        target: &'a Target,
        due: Vec<&'a ToRead>,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Measured>>;
}

/// Every way to read; cheap to clone.
#[derive(Clone)]
pub struct Collectors {
    ways: Arc<[Box<dyn Collector>]>,
}

impl Collectors {
    /// The collectors of this version. `allow_local`: whether scripts may run on Headroom's own host.
    pub fn new(ssh: Ssh, jmx: Jmx, allow_local: bool) -> Self {
        let ways: Vec<Box<dyn Collector>> = vec![
            Box::new(ssh::SshCollector::new(ssh)),
            Box::new(jmx::JmxCollector::new(jmx)),
            Box::new(local::LocalCollector::new(allow_local)),
        ];
        Self { ways: ways.into() }
    }

    /// Reads all targets and sends the readings of each as soon as they are there. Ends when every target is read or the deadline has come;
    /// a receiver that is gone ends it too.
    pub async fn collect(
        &self,
        targets: impl Into<Arc<[Arc<Target>]>>,
        tick_ms: i64,
        deadline: Instant,
        sender: mpsc::Sender<Vec<Reading>>,
    ) {
        let targets = targets.into();
        let mut open: FuturesUnordered<_> = targets
            .iter()
            .map(|target| self.read(target, tick_ms, deadline))
            .collect();
        while let Some(readings) = open.next().await {
            if sender.send(readings).await.is_err() {
                tracing::debug!("nobody takes the readings of this tick any more");
                return;
            }
        }
    }

    /// Reads one target, in all its ways side by side: one that hangs takes nothing from the others.
    pub async fn read(&self, target: &Target, tick_ms: i64, deadline: Instant) -> Vec<Reading> {
        let due = |way: &dyn Collector| -> Vec<&ToRead> {
            target.reads.iter().filter(|d| way.reads(d.key)).collect()
        };
        let ways = self.ways.iter().map(|way| (way, due(way.as_ref())));
        let each = ways
            .filter(|(_, due)| !due.is_empty())
            .map(|(way, due)| read_by(way.as_ref(), target, due, tick_ms, deadline));
        let mut readings = join_all(each).await.concat();
        let unread = target
            .reads
            .iter()
            .filter(|due| !self.ways.iter().any(|way| way.reads(due.key)));
        readings.extend(unread.map(|due| {
            let why = "no collector reads such a series";
            reading(target, due.key, tick_ms, Measured::error(why))
        }));
        readings
    }
}

async fn read_by(
    way: &dyn Collector,
    target: &Target,
    due: Vec<&ToRead>,
    tick_ms: i64,
    deadline: Instant,
) -> Vec<Reading> {
    let keys: Vec<SeriesKey> = due.iter().map(|due| due.key).collect();
    let read = way.read(target, due, deadline - RESERVE);
    let mut measured = match timeout_at(deadline, read).await {
        Ok(measured) => measured.into_iter(),
        Err(_) => Vec::new().into_iter(),
    };
    keys.into_iter()
        .map(|key| {
            let late = || Measured::error(UNREAD);
            let measured = measured.next().unwrap_or_else(late);
            reading(target, key, tick_ms, measured)
        })
        .collect()
}

fn reading(target: &Target, key: SeriesKey, tick_ms: i64, measured: Measured) -> Reading {
    Reading {
        key,
        node: target.node,
        counter: key.counter(),
        tick_ms,
        measured_ms: to_ms(Utc::now()),
        took_ms: i64::try_from(measured.took.as_millis()).unwrap_or(i64::MAX),
        outcome: measured.outcome,
    }
}
