//! One tick of one process: read its share of the due counters, keep the samples as they come, have the triggers decided as soon as
//! theirs are there.
//!
//! ```text
//!  who shares the tick (models/collection) ─▶ what is due (plans) ─▶ read ─▶ keep, in batches ─▶ decide: here, or by a wake-up
//!                                                                     nodes      one a tick as a rule
//! ```
//!
//! Reading, keeping and deciding go on at the same time, so that a slow node holds up nobody but the triggers that look at it.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::{Instant, timeout_at};

use super::alive::Alive;
use super::evaluate::Evaluator;
use super::keep::{Keeper, Tally};
use super::losses::{Losses, News};
use super::plans::{Plans, Round};
use crate::app::App;
use crate::error::{Error, Result};
use crate::models::{collection, to_ms};
use crate::triggers::evaluate::{Breaches, Moved};

/// Share of the tick that reading may take; what is not read by then is late, and the rest is left to deciding.
const READING_SHARE: f64 = 0.9;
/// Ticks after which readings are too old to be kept: this process stood still, and another may have taken its share over meanwhile.
const TOO_OLD_TICKS: u32 = 2;
/// Where the collecting processes of a data folder keep their locked files.
const ALIVE_FOLDER: &str = "collectors";
/// Nodes whose readings may wait to be kept.
const WAITING_NODES: usize = 1_024;

/// Collects in this process; cheap to clone.
#[derive(Clone)]
pub(super) struct Collector {
    app: App,
    plans: Plans,
    /// None where another process decides.
    evaluator: Option<Evaluator>,
    losses: Arc<Mutex<Losses>>,
    breaches: Arc<AsyncMutex<Breaches>>,
    alive: Option<Alive>,
}

impl Collector {
    /// A collector that hands over to deciding: here, or in a process that plays that role.
    pub fn new(app: App, evaluator: Option<Evaluator>) -> Self {
        let alive = Alive::sign(&app.config.data.join(ALIVE_FOLDER), &app.worker)
            .inspect_err(|cause| {
                tracing::warn!(%cause, "could not lock a file in the data folder; after a crash, the others take over in two ticks");
            })
            .ok();
        let plans = Plans::new(
            app.db.clone(),
            app.vault.clone(),
            app.worker.clone(),
            app.config.sampling.tick_secs() * 1_000,
        );
        Self {
            app,
            plans,
            evaluator,
            losses: Arc::default(),
            breaches: Arc::default(),
            alive,
        }
    }

    /// Works out what is to be read before the first tick is due, so that what is wrong with it is told at the start.
    pub async fn prepare(self) {
        let alone = vec![self.app.worker.clone()];
        if let Err(cause) = self.plans.round(to_ms(Utc::now()), alone).await {
            tracing::warn!(%cause, "could not work out what is to be read");
        }
    }

    /// Reads, keeps and hands over; says in a sentence what came of it.
    pub async fn tick(self, tick_ms: i64) -> Result<String> {
        let began = Instant::now();
        let Some(members) = self.begin(tick_ms).await? else {
            return Ok("had been begun before".into());
        };
        self.app.metrics.tick();
        let processes = members.len();
        let round = self.plans.round(tick_ms, members.clone()).await?;
        let period_ms = self.app.config.sampling.tick_secs() * 1_000;
        let mut breaches = self.breaches.lock().await;
        breaches.begin(tick_ms, period_ms, members, round.revision);
        drop(breaches);
        let nodes = round.targets.len();
        let (kept, news) = mpsc::unbounded_channel();
        let is_alone = processes == 1;
        let handing_over = tokio::spawn(self.clone().hand_over(tick_ms, news, is_alone));
        let tally = self.read_and_keep(round, tick_ms, began, &kept).await;

        // Whoever decides last learns from this row that nothing more comes from here.
        let worker = self.app.worker.clone();
        let finish = move |conn: &mut _| collection::finish(conn, &worker, tick_ms);
        let finished = self.app.db.write(finish).await;
        drop(kept);
        let decided = handing_over
            .await
            .map_err(|cause| Error::internal("deciding broke down", cause))?;
        let tally = tally?;
        self.tell_losses(&tally, tick_ms);
        let said = tally.sum(nodes, began.elapsed())?;
        finished.and(decided)?;
        Ok(match processes {
            1 => said,
            _ => format!("{said}, the share of one of {processes} processes"),
        })
    }

    async fn begin(&self, tick_ms: i64) -> Result<Option<Vec<String>>> {
        let (worker, alive) = (self.app.worker.clone(), self.alive.clone());
        let period_ms = self.app.config.sampling.tick_secs() * 1_000;
        let begin = move |conn: &mut _| {
            let dead = alive.as_ref().map(Alive::dead).transpose();
            let dead = dead.unwrap_or_else(noted).unwrap_or_default();
            for name in &dead {
                collection::leave(conn, name)?;
            }
            let members = collection::begin(conn, &worker, tick_ms, period_ms)?;
            Ok((members, dead))
        };
        let (members, dead) = self.app.db.write(begin).await?;
        if let Some(Err(cause)) = self.alive.as_ref().map(|alive| alive.bury(&dead)) {
            noted::<()>(cause);
        }
        Ok(members)
    }

    /// Both at once; ends when everything is read, or its time is over, and kept.
    async fn read_and_keep(
        &self,
        round: Round,
        tick_ms: i64,
        began: Instant,
        kept: &mpsc::UnboundedSender<Vec<Moved>>,
    ) -> Result<Tally> {
        let tick = self.app.config.sampling.tick;
        let deadline = began + tick.mul_f64(READING_SHARE);
        let (sender, receiver) = mpsc::channel(WAITING_NODES);
        let collectors = self.app.collectors.clone();
        let reading = tokio::spawn(async move {
            collectors
                .collect(round.targets, tick_ms, deadline, sender)
                .await;
        });
        let keeper = Keeper {
            store: &self.app.store,
            metrics: &self.app.metrics,
            rules: &round.rules,
            breaches: &self.breaches,
            too_old_at: began + TOO_OLD_TICKS * tick,
        };
        let tell = |moved| {
            if kept.send(moved).is_err() {
                tracing::debug!(tick_ms, "nobody decides this tick any more");
            }
        };
        let tally = keeper.keep(receiver, tell).await;
        reading
            .await
            .map_err(|cause| Error::internal("collecting broke down", cause))?;
        self.app.metrics.breaching(tally.breaching);
        Ok(tally)
    }

    /// Has the tick looked at whenever what was kept may decide something, and once more at the end. News that come during a look, or in the
    /// pause after one, are one.
    async fn hand_over(
        self,
        tick_ms: i64,
        mut news: mpsc::UnboundedReceiver<Vec<Moved>>,
        is_alone: bool,
    ) -> Result<()> {
        loop {
            let more = match (news.recv().await, &self.evaluator) {
                (None, _) => false,
                (Some(_), None) => true,
                // What others have read meanwhile is not known here.
                (Some(moved), Some(evaluator)) => {
                    if !evaluator.hears(tick_ms, &moved) && is_alone {
                        continue;
                    }
                    rest(evaluator.rested_at(), &mut news).await
                }
            };
            let outcome = match &self.evaluator {
                Some(evaluator) => evaluator.look(tick_ms).await,
                None => self.app.ticks.wake(tick_ms).await,
            };
            match outcome {
                outcome if !more => return outcome,
                Ok(()) => {}
                Err(cause) => tracing::warn!(tick_ms, %cause, "could not be decided yet"),
            }
        }
    }

    fn tell_losses(&self, tally: &Tally, tick_ms: i64) {
        let tick_length_ms = self.app.config.sampling.tick_secs() * 1_000;
        let mut losses = self.losses.lock().unwrap_or_else(PoisonError::into_inner);
        match losses.tick(tick_ms, tick_length_ms, &tally.answers) {
            Some(News::Lost { nodes, answering }) => tracing::error!(
                nodes,
                answering,
                "{nodes} nodes fell silent together, {answering} answer: this looks like an outage of the network or of this host, not of \
                 the nodes; removals wait for their quorum"
            ),
            Some(News::Back { answering }) => {
                tracing::info!(answering, "most nodes answer again: {answering} of them");
            }
            None => {}
        }
    }

    /// Signs off, so that the next tick is shared among the others at once.
    pub async fn leave(self) {
        if let Some(Err(cause)) = self.alive.as_ref().map(Alive::leave) {
            noted::<()>(cause);
        }
        let worker = self.app.worker.clone();
        let leave = move |conn: &mut _| collection::leave(conn, &worker);
        if let Err(cause) = self.app.db.write(leave).await {
            tracing::warn!(%cause, "could not sign off; the others take over after two ticks");
        }
    }
}

/// Waits until then, or until nothing more comes; whether more may. The look that follows sees what came.
async fn rest<T>(until: Instant, news: &mut mpsc::UnboundedReceiver<T>) -> bool {
    loop {
        match timeout_at(until, news.recv()).await {
            Ok(Some(_)) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

/// A lock that cannot be looked at is no reason not to collect: the others are then believed for two ticks, as between machines.
fn noted<T>(cause: std::io::Error) -> Option<T> {
    tracing::warn!(%cause, "the locked files of the collecting processes cannot be used");
    None
}
