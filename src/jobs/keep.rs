//! Keeps the readings of a tick as they come, gathered so that a tick is one write unless some node is slow.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout_at};

use crate::collectors::Reading;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::models::NodeId;
use crate::samples::Store;
use crate::triggers::evaluate::{Breaches, Moved, Rules};

/// A batch is closed when the others of its tick have been quiet for so long …
const QUIET: Duration = Duration::from_millis(100);
/// … and after this time even if they have not. The last reading of a tick closes it at once.
const LONGEST: Duration = Duration::from_secs(1);

/// What became of a tick's readings.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Those with a value.
    pub values: u64,
    /// Those without.
    pub errors: u64,
    /// Those of either kind that the store did not take.
    pub lost: u64,
    /// Why, the first time.
    pub fault: Option<Error>,
    /// Series that were over their threshold.
    pub breaching: i64,
    /// Nodes of which something was read or tried, and whether any of it gave a value.
    pub answers: HashMap<NodeId, bool>,
}

impl Tally {
    /// The tick's readings in a sentence, or how many were lost and why.
    pub fn sum(self, nodes: usize, took: Duration) -> Result<String> {
        let (all, took_ms) = (self.values + self.errors, took.as_millis());
        let said = format!(
            "{all} readings of {nodes} nodes, {} errors, in {took_ms} ms",
            self.errors
        );
        match self.fault {
            None => Ok(said),
            Some(cause) => Err(Error::Upstream {
                what: format!("{said}; {} of them were lost: {cause}", self.lost),
                retryable: true,
            }),
        }
    }
}

/// Keeps what comes.
pub(super) struct Keeper<'a> {
    pub store: &'a Store,
    pub metrics: &'a Metrics,
    pub rules: &'a Rules,
    pub breaches: &'a AsyncMutex<Breaches>,
    /// What comes from then on is dropped.
    pub too_old_at: Instant,
}

impl Keeper<'_> {
    /// Keeps until nothing more comes; `kept` is told of each batch that was. A batch that the store does not take is lost, which
    /// shows as a gap and grows stale; the later ones are tried nevertheless.
    pub async fn keep(
        &self,
        mut receiver: Receiver<Vec<Reading>>,
        kept: impl Fn(Vec<Moved>),
    ) -> Tally {
        let mut tally = Tally::default();
        while let Some(first) = receiver.recv().await {
            let batch = gather(first, &mut receiver).await;
            count(self.metrics, &batch, &mut tally);
            match self.observe(&batch).await {
                Ok(moved) => {
                    let breaching = moved.iter().filter(|(_, breach)| breach.is_some());
                    tally.breaching += i64::try_from(breaching.count()).unwrap_or(i64::MAX);
                    kept(moved);
                }
                Err(cause) => {
                    tally.lost += batch.len() as u64;
                    self.metrics.readings("lost", batch.len() as u64);
                    tally.fault.get_or_insert(cause);
                }
            }
        }
        tally
    }

    async fn observe(&self, batch: &[Reading]) -> Result<Vec<Moved>> {
        if Instant::now() >= self.too_old_at {
            return Err(Error::Conflict(
                "this process stood still for longer than a tick".into(),
            ));
        }
        let mut breaches = self.breaches.lock().await;
        breaches.observe(self.rules, self.store, batch).await
    }
}

async fn gather(first: Vec<Reading>, receiver: &mut Receiver<Vec<Reading>>) -> Vec<Reading> {
    let mut batch = first;
    let end = Instant::now() + LONGEST;
    loop {
        let until = end.min(Instant::now() + QUIET);
        match timeout_at(until, receiver.recv()).await {
            Ok(Some(more)) => batch.extend(more),
            Ok(None) | Err(_) => return batch,
        }
    }
}

fn count(metrics: &Metrics, batch: &[Reading], tally: &mut Tally) {
    let errors = batch
        .iter()
        .filter(|reading| reading.outcome.is_err())
        .count() as u64;
    let values = batch.len() as u64 - errors;
    metrics.readings("value", values);
    metrics.readings("error", errors);
    for reading in batch {
        metrics.reading_took(Duration::from_millis(
            u64::try_from(reading.took_ms).unwrap_or(0),
        ));
    }
    for reading in batch {
        *tally.answers.entry(reading.node).or_default() |= reading.outcome.is_ok();
    }
    tally.values += values;
    tally.errors += errors;
}

#[cfg(test)]
mod tests {
    use diesel::connection::SimpleConnection as _;
    use diesel::{Connection as _, SqliteConnection};
    use tokio::sync::mpsc;

    use super::*;
    use crate::models::counter::Counter;
    use crate::models::{Comparison, CounterId, CounterKind, Missing};
    use crate::samples::SeriesKey;

    fn rules() -> Rules {
        let counter = Counter {
            id: CounterId(1),
            name: "load1".into(),
            kind: CounterKind::Local,
            settings: "{}".into(),
            comparison: Comparison::Greater,
            threshold: 4.0,
            unit: None,
            every_secs: None,
            timeout_secs: 10,
            missing: Missing::Hold,
            updated_ms: 0,
        };
        Rules::of(&[counter], 60_000)
    }

    fn reading(node: i64) -> Vec<Reading> {
        let (node, counter) = (NodeId(node), CounterId(1));
        vec![Reading {
            key: SeriesKey::Local { node, counter },
            node,
            counter,
            tick_ms: 60_000,
            measured_ms: 60_100,
            took_ms: 5,
            outcome: Ok(1.0),
        }]
    }

    async fn known(store: &Store) -> Vec<bool> {
        let keys: Vec<_> = (1..=4).map(|node| reading(node)[0].key).collect();
        let states = store.states(&keys).await.unwrap();
        states.iter().map(Option::is_some).collect()
    }

    #[tokio::test]
    async fn a_store_that_fails_once_loses_that_batch_alone_and_says_so_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples.db");
        let store = Store::embedded(&path).unwrap();
        let (sender, receiver) = mpsc::channel(4);
        let (told, mut heard) = mpsc::unbounded_channel();
        let (metrics, rules) = (Metrics::new(), rules());
        let keeper = tokio::spawn({
            let (store, metrics) = (store.clone(), metrics.clone());
            let kept = move |_| told.send(()).unwrap();
            async move {
                let keeper = Keeper {
                    store: &store,
                    metrics: &metrics,
                    rules: &rules,
                    breaches: &AsyncMutex::default(),
                    too_old_at: Instant::now() + Duration::from_secs(600),
                };
                keeper.keep(receiver, kept).await
            }
        });
        sender.send(reading(1)).await.unwrap();
        heard.recv().await.unwrap();

        // Someone else holds the file for longer than the store waits.
        let mut other = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
        other.batch_execute("BEGIN IMMEDIATE").unwrap();
        sender.send(reading(2)).await.unwrap();
        let lost = || metrics.text().unwrap().contains("outcome=\"lost\"} 1");
        let begun = Instant::now();
        while !lost() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "nothing was lost"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other.batch_execute("ROLLBACK").unwrap();

        sender.send(reading(3)).await.unwrap();
        heard.recv().await.unwrap();
        sender.send(reading(4)).await.unwrap();
        drop(sender);
        let tally = keeper.await.unwrap();
        assert_eq!(known(&store).await, [true, false, true, true]);
        assert_eq!((tally.values, tally.lost), (4, 1));
        let said = tally.sum(4, Duration::from_millis(7)).unwrap_err();
        let said = said.to_string();
        let expected =
            "4 readings of 4 nodes, 0 errors, in 7 ms; 1 of them were lost: could not write to";
        assert!(said.contains(expected), "{said}");
        assert!(said.ends_with("database is locked"), "{said}");
    }

    #[tokio::test]
    async fn what_comes_after_a_standstill_does_not_overwrite_what_is_newer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::embedded(&folder.path().join("samples.db")).unwrap();
        let (sender, receiver) = mpsc::channel(4);
        sender.send(reading(1)).await.unwrap();
        drop(sender);
        let keeper = Keeper {
            store: &store,
            metrics: &Metrics::new(),
            rules: &rules(),
            breaches: &AsyncMutex::default(),
            too_old_at: Instant::now(),
        };
        let tally = keeper
            .keep(receiver, |_| panic!("something was kept"))
            .await;
        assert_eq!(known(&store).await, [false; 4]);
        let said = tally.sum(1, Duration::ZERO).unwrap_err().to_string();
        assert!(
            said.contains("1 of them were lost: this process stood still"),
            "{said}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_reading_of_a_tick_closes_the_batch_at_once() {
        let (sender, mut receiver) = mpsc::channel(4);
        sender.send(reading(2)).await.unwrap();
        drop(sender);
        let begun = Instant::now();
        let batch = gather(reading(1), &mut receiver).await;
        assert_eq!(batch.len(), 2);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_node_holds_the_others_up_for_a_moment_and_a_stream_for_a_second() {
        let (sender, mut receiver) = mpsc::channel(4);
        let begun = Instant::now();
        assert_eq!(gather(reading(1), &mut receiver).await.len(), 1);
        assert_eq!(begun.elapsed(), QUIET);

        tokio::spawn(async move {
            while sender.send(reading(2)).await.is_ok() {
                tokio::time::sleep(QUIET / 2).await;
            }
        });
        let begun = Instant::now();
        gather(reading(1), &mut receiver).await;
        assert_eq!(begun.elapsed(), LONGEST);
    }
}
