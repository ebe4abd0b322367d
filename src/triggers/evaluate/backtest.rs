//! Loads what a backtest replays. The definitions may be those of a transaction that is then rolled back: that is how an edited
//! fleet file is tried before it is applied.

use super::snapshot::{Snapshot, Watched};
use super::view;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::trigger::Trigger;
use crate::samples::{Sample, SeriesKey, Store};
use crate::triggers::backtest::{Counter, Node, Report, Series, Subject, replay};

/// The longest stretch that is replayed; samples are seldom kept for longer.
const MAX_TICKS: i64 = 100_000;

/// A trigger's definitions, ready to be replayed.
#[derive(Debug)]
pub struct Backtest {
    keys: Vec<SeriesKey>,
    watched: Watched,
    tick_length_ms: i64,
}

impl Backtest {
    /// Loads the definitions of a trigger as this connection sees them.
    ///
    /// # Errors
    /// There is no such trigger, or the database fails.
    pub fn load(conn: &mut Connection, trigger: &str, tick_length_ms: i64) -> Result<Self> {
        let id = Trigger::by_name(conn, trigger)?.id;
        // Holds and open runs of now are no part of the past: which tick it is does not matter.
        let snapshot = Snapshot::load(conn, |trigger, _| trigger.id == id, 0, tick_length_ms)?;
        let watched = snapshot.watched.into_iter().next();
        Ok(Self {
            keys: snapshot.keys,
            watched: watched
                .ok_or_else(|| Error::NotFound(format!("the cluster of trigger \"{trigger}\"")))?,
            tick_length_ms,
        })
    }

    /// Replays the samples between two times.
    ///
    /// # Errors
    /// The times are the wrong way round or too far apart, or the store does not answer.
    pub async fn replay(self, store: &Store, from_ms: i64, to_ms: i64) -> Result<Report> {
        if from_ms > to_ms {
            return Err(Error::invalid("from", "must not lie after the end"));
        }
        let ticks = to_ms.saturating_sub(from_ms) / self.tick_length_ms.max(1);
        if ticks > MAX_TICKS {
            return Err(Error::invalid(
                "from",
                format!("is {ticks} ticks before the end; {MAX_TICKS} are replayed at most"),
            ));
        }
        let samples = store
            .range(&self.keys, from_ms.saturating_sub(self.lead_in_ms()), to_ms)
            .await?;
        tokio::task::spawn_blocking(move || {
            let subject = subject(&self.watched, &samples);
            replay(&subject, from_ms, to_ms, self.tick_length_ms)
        })
        .await
        .map_err(|cause| Error::internal("a backtest did not finish", cause))
    }

    /// How long before the first tick a breach may have begun that fills the timing at it.
    fn lead_in_ms(&self) -> i64 {
        let stale_after_ms = self
            .watched
            .counters
            .iter()
            .map(|c| c.policy.stale_after_ms);
        let timing_ms = view::timing_ms(&self.watched).unwrap_or(0);
        timing_ms.saturating_add(stale_after_ms.max().unwrap_or(0))
    }
}

fn subject<'a>(watched: &'a Watched, samples: &[Vec<Sample>]) -> Subject<'a> {
    let mut nodes: Vec<_> = watched
        .cluster
        .nodes
        .iter()
        .map(|view| Node {
            name: &view.row.name,
            created_ms: view.row.created_ms,
            series: Vec::new(),
        })
        .collect();
    for (counter, view) in watched.counters.iter().enumerate() {
        for entry in view.series.iter() {
            let samples = samples
                .get(entry.key)
                .map(Vec::as_slice)
                .unwrap_or_default();
            if let Some(node) = nodes.get_mut(entry.node) {
                node.series.push(Series {
                    counter,
                    jvm: entry.jvm.as_deref(),
                    samples: samples.iter().map(|s| (s.tick_ms, s.value)).collect(),
                });
            }
        }
    }
    Subject {
        trigger: view::trigger_facts(watched),
        cluster: view::cluster_facts(watched),
        counters: watched
            .counters
            .iter()
            .map(|view| Counter {
                name: &view.row.name,
                unit: view.row.unit.as_deref(),
                policy: view.policy,
                period_ms: view.period_ms,
            })
            .collect(),
        nodes,
    }
}
