//! (1) READ: collectors return readings; they never compare and never store.
//!
//! Every due series of every target yields exactly one [`Reading`] per tick: a value, or a sentence that says why there is none. Targets are
//! read side by side, so many at once as keeps the machine and the network busy; none waits for one that hangs. What is not there at the
//! deadline is an error reading.

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

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt as _;
use futures::future::{BoxFuture, join_all};
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

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
/// Targets that are read at once, at least. What is under way takes memory (15 KiB for a node over SSH) and what stands in between, a jump
/// host or a firewall, meets all of it: more are begun only where the time is short. Much fewer cost more: threads that wait in between have
/// to be woken for each answer (32 instead of 256: half as much CPU again).
const AT_ONCE: usize = 256;
/// The part of the time in which all have their turn, even if none of them answers.
const TURNS_SHARE: u32 = 3;
/// A target that has not answered for so long is waited for on the side, and the next one has its turn.
const PATIENCE: Duration = Duration::from_secs(1);
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
        let time = deadline.saturating_duration_since(Instant::now());
        let slots = Semaphore::new(at_once(targets.len(), time));
        let mut rest = targets.iter();
        let mut next = rest.next();
        let mut open = FuturesUnordered::new();
        loop {
            let readings = tokio::select! {
                Some(readings) = open.next() => readings,
                Ok(slot) = slots.acquire(), if next.is_some() => {
                    let begun = std::mem::replace(&mut next, rest.next());
                    open.extend(begun.map(|target| in_slot(slot, self.read(target, tick_ms, deadline))));
                    continue;
                }
                else => return,
            };
            if sender.send(readings).await.is_err() {
                tracing::debug!("nobody takes the readings of this tick any more");
                return;
            }
        }
    }

    /// Reads one target, in all its ways side by side: one that hangs takes nothing from the others.
    pub async fn read(&self, target: &Target, tick_ms: i64, deadline: Instant) -> Vec<Reading> {
        let ways = self.ways.iter();
        let each = ways.map(|way| read_by(way.as_ref(), target, tick_ms, deadline));
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

/// How many targets to read at once, so that all have their turn in time.
fn at_once(targets: usize, time: Duration) -> usize {
    let turns = (time / TURNS_SHARE).as_millis() / PATIENCE.as_millis();
    let turns = usize::try_from(turns).unwrap_or(usize::MAX).max(1);
    targets.div_ceil(turns).max(AT_ONCE)
}

/// Works in a slot, and goes on without one where it takes long.
async fn in_slot<T>(slot: SemaphorePermit<'_>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Ok(done) = timeout(PATIENCE, &mut work).await {
        return done;
    }
    drop(slot);
    work.await
}

async fn read_by(
    way: &dyn Collector,
    target: &Target,
    tick_ms: i64,
    deadline: Instant,
) -> Vec<Reading> {
    let due: Vec<&ToRead> = target.reads.iter().filter(|d| way.reads(d.key)).collect();
    if due.is_empty() {
        return Vec::new();
    }
    let keys: Vec<SeriesKey> = due.iter().map(|due| due.key).collect();
    let stop = deadline - RESERVE;
    let measured = if Instant::now() < stop {
        timeout_at(deadline, way.read(target, due, stop)).await.ok()
    } else {
        None
    };
    let mut measured = measured.unwrap_or_default().into_iter();
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;
    use crate::models::{CounterId, NodeId};

    const TARGETS: usize = 2_000;
    const ANSWER: Duration = Duration::from_millis(20);

    /// Nodes that answer in a moment, but for the first ones, which never do.
    #[derive(Default)]
    struct Fake {
        hanging: i64,
        under_way: AtomicUsize,
        most: AtomicUsize,
        asked: AtomicUsize,
    }

    impl Collector for Arc<Fake> {
        fn reads(&self, _: SeriesKey) -> bool {
            true
        }

        fn read<'a>(
            &'a self,
            target: &'a Target,
            _: Vec<&'a ToRead>,
            _: Instant,
        ) -> BoxFuture<'a, Vec<Measured>> {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::Relaxed);
                if target.node.0 <= self.hanging {
                    std::future::pending::<()>().await;
                }
                let now = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
                self.most.fetch_max(now, Ordering::Relaxed);
                sleep(ANSWER).await;
                self.under_way.fetch_sub(1, Ordering::Relaxed);
                vec![Measured {
                    outcome: Ok(1.0),
                    took: ANSWER,
                }]
            })
        }
    }

    fn targets() -> Vec<Arc<Target>> {
        let counter = CounterId(1);
        let spec = Arc::new(CounterSpec {
            id: counter,
            name: "load".into(),
            timeout: Duration::from_secs(1),
            every_secs: None,
            source: Source::Script("echo 1".into()),
        });
        let target = |node| Target {
            node: NodeId(node),
            name: format!("n{node}"),
            ssh: None,
            jvms: Vec::new(),
            reads: vec![ToRead {
                key: SeriesKey::Ssh {
                    node: NodeId(node),
                    counter,
                },
                counter: Arc::clone(&spec),
            }],
        };
        (1..).take(TARGETS).map(target).map(Arc::new).collect()
    }

    /// Collects from all nodes; what was read, and when it came.
    async fn collect(fake: &Arc<Fake>, time: Duration) -> Vec<(Reading, Duration)> {
        let collectors = Collectors {
            ways: Arc::new([Box::new(Arc::clone(fake))]),
        };
        let (began, (sender, mut receiver)) = (Instant::now(), mpsc::channel(16));
        let reading = tokio::spawn(async move {
            let deadline = began + time;
            collectors
                .collect(targets(), 60_000, deadline, sender)
                .await;
        });
        let mut read = Vec::new();
        while let Some(some) = receiver.recv().await {
            read.extend(some.into_iter().map(|each| (each, began.elapsed())));
        }
        reading.await.unwrap();
        read
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_read_though_never_more_than_a_bounded_number_at_once() {
        let fake = Arc::new(Fake::default());
        let read = collect(&fake, Duration::from_secs(54)).await;
        assert_eq!(read.len(), TARGETS);
        assert!(read.iter().all(|(each, _)| each.outcome == Ok(1.0)));
        assert_eq!(fake.most.load(Ordering::Relaxed), AT_ONCE);
        let last = read.iter().map(|(_, at)| *at).max().unwrap();
        let rounds = u32::try_from(TARGETS.div_ceil(AT_ONCE)).unwrap();
        assert!(
            last <= (rounds + 1) * ANSWER,
            "the last came after {last:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_hang_keep_the_others_only_for_a_moment_and_are_errors_in_the_end() {
        let fake = Arc::new(Fake {
            hanging: 1_000,
            ..Fake::default()
        });
        let time = Duration::from_secs(9);
        let read = collect(&fake, time).await;
        let hangs = |(each, _): &(Reading, Duration)| each.node.0 <= fake.hanging;
        let (silent, sound): (Vec<_>, Vec<_>) = read.into_iter().partition(hangs);
        assert_eq!((silent.len(), sound.len()), (1_000, TARGETS - 1_000));
        let why = Err(UNREAD.to_owned());
        assert!(silent.iter().all(|(each, _)| each.outcome == why));
        assert!(sound.iter().all(|(each, _)| each.outcome == Ok(1.0)));
        let last = sound.iter().map(|(_, at)| *at).max().unwrap();
        assert!(last < time / TURNS_SHARE, "the last came after {last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn those_whose_turn_does_not_come_are_errors_and_are_not_asked() {
        let fake = Arc::new(Fake {
            hanging: i64::MAX,
            ..Fake::default()
        });
        // A tick that began late.
        let read = collect(&fake, RESERVE).await;
        assert_eq!(read.len(), TARGETS);
        let why = Err(UNREAD.to_owned());
        assert!(read.iter().all(|(each, _)| each.outcome == why));
        assert_eq!(fake.asked.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_shorter_the_time_the_more_at_once() {
        let cases = [
            (1, 54_000, AT_ONCE),
            (1_000, 9_000, 334),
            (10_000, 54_000, 556),
            (10_000, 9_000, 3_334),
            (10_000, 0, 10_000),
        ];
        for (targets, time, wanted) in cases {
            let seen = at_once(targets, Duration::from_millis(time));
            assert_eq!(seen, wanted, "{targets} targets in {time} ms");
        }
    }
}
