//! Has the triggers of a tick decided as its readings come, and wakes workers for the runs that come of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::queue::Handler;
use super::supervise::{Stop, keep_running};
use crate::app::App;
use crate::error::Result;
use crate::models::{collection, to_ms};
use crate::triggers::evaluate::{Awaited, Evaluated, Moved, evaluate_pass};

/// Percent of a tick after which its triggers are decided by what is there, whoever still reads. Collectors end a little earlier.
const TICK_PERCENT: i64 = 95;
/// Ticks after which it is too late to decide: newer readings have taken the place of those that it was about.
const TOO_LATE_TICKS: i64 = 2;

/// After a pass, as long again so many times before the next one that is not the last: passes take a tenth of a core at most.
const REST: u32 = 9;
/// The longest rest, as a part of the tick: a database that was slow once must not hold up what comes after.
const LONGEST_REST: u32 = 8;

/// Decides ticks; one in each process that has the role, cheap to clone.
#[derive(Clone)]
pub(super) struct Evaluator {
    app: App,
    tick_length_ms: i64,
    /// One pass at a time.
    turn: Arc<AsyncMutex<()>>,
    ticks: Arc<Mutex<BTreeMap<i64, Progress>>>,
    last: Arc<Mutex<Last>>,
}

/// What the last pass left.
#[derive(Debug)]
struct Last {
    tick_ms: i64,
    /// None when it failed.
    awaited: Option<Awaited>,
    rested_at: Instant,
}

/// How far a tick is.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// A pass that has not begun will see whatever is new.
    queued: bool,
    /// A look waits for the pause after the one before.
    resting: bool,
    /// A last pass is due when the tick's time is over.
    armed: bool,
    /// Every trigger is decided.
    decided: bool,
}

impl Evaluator {
    /// An evaluator that has seen no tick.
    pub fn new(app: App) -> Self {
        Self {
            tick_length_ms: app.config.sampling.tick_secs() * 1_000,
            app,
            turn: Arc::default(),
            ticks: Arc::default(),
            last: Arc::new(Mutex::new(Last {
                tick_ms: i64::MIN,
                awaited: None,
                rested_at: Instant::now(),
            })),
        }
    }

    /// Takes in what was kept of a tick; whether a look at it may decide something.
    pub fn hears(&self, tick_ms: i64, moved: &[Moved]) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = last.tick_ms == tick_ms;
        let awaited = last.awaited.as_mut().filter(|_| is_known);
        awaited.is_none_or(|awaited| awaited.take(moved))
    }

    /// From when on another look that is not the last one of its tick does no harm.
    pub fn rested_at(&self) -> Instant {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.rested_at
    }

    /// Decides what can be decided of a tick by now, and sees to it that the rest is at the end of its time.
    ///
    /// # Errors
    /// The database or the store fails; the last pass tries again.
    pub async fn look(&self, tick_ms: i64) -> Result<()> {
        let too_late_ms = self.tick_length_ms.saturating_mul(TOO_LATE_TICKS);
        if to_ms(Utc::now()).saturating_sub(tick_ms) > too_late_ms {
            tracing::warn!(tick_ms, "too late to decide");
            return Ok(());
        }
        let mut is_new = false;
        self.note(tick_ms, |it| {
            is_new = !it.queued && !it.decided;
            it.queued |= is_new;
        });
        if !is_new {
            return Ok(());
        }
        let turn = self.turn.lock().await;
        self.note(tick_ms, |it| it.queued = false);
        let is_over = self
            .app
            .db
            .read(move |conn| collection::is_over(conn, tick_ms));
        let outcome = match is_over.await {
            Ok(is_over) => self.pass(tick_ms, is_over).await,
            Err(cause) => Err(cause),
        };
        drop(turn);
        let mut arms = false;
        self.note(tick_ms, |it| {
            arms = !it.decided && !it.armed;
            it.armed |= arms;
        });
        if arms {
            let evaluator = self.clone();
            tokio::spawn(async move { evaluator.close(tick_ms).await });
        }
        outcome
    }

    /// As [`Self::look`], after the pause that is due, unless everything is read: those who ask are elsewhere.
    async fn look_when_rested(&self, tick_ms: i64) -> Result<()> {
        let is_over = move |conn: &mut _| collection::is_over(conn, tick_ms);
        if !self.app.db.read(is_over).await? {
            let mut is_first = false;
            self.note(tick_ms, |it| {
                is_first = !it.resting;
                it.resting = true;
            });
            if !is_first {
                return Ok(());
            }
            tokio::time::sleep_until(self.rested_at()).await;
            self.note(tick_ms, |it| it.resting = false);
        }
        self.look(tick_ms).await
    }

    /// Decides what is left when a tick's time is over.
    async fn close(&self, tick_ms: i64) {
        let end_ms = tick_ms.saturating_add(self.tick_length_ms * TICK_PERCENT / 100);
        let left_ms = u64::try_from(end_ms.saturating_sub(to_ms(Utc::now()))).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(left_ms)).await;
        let _turn = self.turn.lock().await;
        if let Err(cause) = self.pass(tick_ms, true).await {
            tracing::error!(tick_ms, %cause, "the tick could not be decided");
        }
    }

    async fn pass(&self, tick_ms: i64, is_last: bool) -> Result<()> {
        if self.progress(tick_ms).decided {
            return Ok(());
        }
        let (db, store) = (&self.app.db, &self.app.store);
        let began = Instant::now();
        self.app.metrics.pass();
        let mut evaluated = evaluate_pass(db, store, tick_ms, self.tick_length_ms, is_last).await;
        let awaited = evaluated.as_mut().ok();
        let longest = self.app.config.sampling.tick / LONGEST_REST;
        let last = Last {
            tick_ms,
            awaited: awaited.map(|it| std::mem::take(&mut it.awaited)),
            rested_at: Instant::now() + (began.elapsed() * REST).min(longest),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        let evaluated = evaluated?;
        self.note(tick_ms, |it| it.decided = evaluated.waiting == 0);
        self.wake(evaluated).await;
        Ok(())
    }

    async fn wake(&self, evaluated: Evaluated) {
        for outcome in evaluated.outcomes {
            self.app.metrics.decisions(outcome.as_str(), 1);
        }
        for run in evaluated.runs {
            // The row stands; if the wake-up is lost, the sweep finds it.
            if let Err(cause) = self.app.queue.wake(run.0).await {
                tracing::warn!(run.id = %run, %cause, "the run waits for the sweep");
            }
        }
    }

    fn progress(&self, tick_ms: i64) -> Progress {
        let ticks = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        ticks.get(&tick_ms).copied().unwrap_or_default()
    }

    fn note(&self, tick_ms: i64, change: impl FnOnce(&mut Progress)) {
        let mut ticks = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        change(ticks.entry(tick_ms).or_default());
        // Those of other times are over, before this one or, after the clock was set back, far ahead of it.
        let near_ms = self.tick_length_ms.saturating_mul(TOO_LATE_TICKS + 1);
        ticks.retain(|other_ms, _| (other_ms - tick_ms).abs() <= near_ms);
    }
}

/// Looks at the ticks that collecting processes name until told to stop.
pub(super) async fn serve_queue(app: App, evaluator: Evaluator, stop: Stop) {
    let handler = Handler::new(move |tick_ms| {
        let evaluator = evaluator.clone();
        tokio::spawn(async move {
            if let Err(cause) = evaluator.look_when_rested(tick_ms).await {
                tracing::error!(tick_ms, %cause, "the tick could not be decided yet");
            }
        });
    });
    keep_running("ticks", &stop, || {
        app.ticks.work(&app.worker, handler.clone(), stop.clone())
    })
    .await;
}
