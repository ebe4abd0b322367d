//! The impure part, alone: what was read moves the breaches ([`observe()`]), and at every tick each trigger is decided, written
//! down and, if it fires, given its run ([`evaluate_all`]).
//!
//! ```text
//!  definitions (Snapshot) ─┐
//!                          ├─▶ Scene ─▶ decide, pure, off the async threads ─▶ ledger: decisions, then each firing with its run
//!  samples, breaches ──────┘
//! ```
//!
//! **Late nodes.** A tick is gone over as its readings come ([`evaluate_pass`]), and each trigger is decided once:
//! - as soon as every due series of its nodes has been read, with a value or an error. It never waits for nodes of other clusters.
//!   A pass is worth its cost only then, or when a breach is long enough to decide one ([`Awaited`]).
//! - before that, if it fires whatever the rest will be: with `any` when one series qualifies, with `percent` when enough nodes do. A series
//!   that is still to be read does not qualify by its earlier samples then, so more readings could only add to the answer. `all` and
//!   `average` ask of every node, so they wait, and so does every answer but "fires". Nor does a node that is still to be read count for the
//!   quorum of a removal.
//! - in the last pass, when every collector is done or the tick's time is over, by what is there. What was not read has the freshness of
//!   its last sample, as ever.
//!
//! So the answer is that of one pass at the end of the tick, only sooner.

mod awaited;
mod backtest;
mod ledger;
mod observe;
mod rules;
mod scene;
mod snapshot;
#[cfg(test)]
mod testing;
mod view;

pub use awaited::Awaited;
pub use backtest::Backtest;
pub use observe::{Breaches, Moved, observe};
pub use rules::Rules;

use self::ledger::{Tick, Verdict};
use self::scene::Scene;
use self::snapshot::Snapshot;
use super::decide::Outcome;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::models::trigger::Trigger;
use crate::models::{self, RunId, TriggerId};
use crate::samples::Store;

/// What a pass over the triggers of a tick came to.
#[derive(Debug, Default)]
pub struct Evaluated {
    /// Runs that were started, to be woken.
    pub runs: Vec<RunId>,
    /// What each decision came to that was written.
    pub outcomes: Vec<models::Outcome>,
    /// Triggers that wait for readings of this tick.
    pub waiting: usize,
    /// What they wait for.
    pub awaited: Awaited,
}

/// Decides every trigger for a tick whose readings are in, writes the decisions down and inserts the runs of those that fire;
/// the ids of the runs, to be woken. For a tick that was evaluated before, by this process or another, nothing happens.
///
/// # Errors
/// The database or the store fails. Where only the samples could not be read, the decisions say so and are written nevertheless.
/// A fault that does not keep runs from being woken is logged instead.
pub async fn evaluate_all(
    db: &Db,
    store: &Store,
    tick_ms: i64,
    tick_length_ms: i64,
) -> Result<Vec<RunId>> {
    let evaluated = evaluate_pass(db, store, tick_ms, tick_length_ms, true).await?;
    Ok(evaluated.runs)
}

/// The same for one trigger.
///
/// # Errors
/// As [`evaluate_all`].
pub async fn evaluate_trigger(
    db: &Db,
    store: &Store,
    trigger: TriggerId,
    tick_ms: i64,
    tick_length_ms: i64,
) -> Result<Option<RunId>> {
    let tick = Tick {
        at_ms: tick_ms,
        length_ms: tick_length_ms,
    };
    let evaluated = evaluate(db, store, Some(trigger), tick, true).await?;
    Ok(evaluated.runs.into_iter().next())
}

/// Decides the triggers that can be decided by what has been read of a tick so far, or, in the last pass, all that are left.
///
/// # Errors
/// As [`evaluate_all`]; but before the last pass nothing is decided on samples that cannot be read.
pub async fn evaluate_pass(
    db: &Db,
    store: &Store,
    tick_ms: i64,
    tick_length_ms: i64,
    is_last: bool,
) -> Result<Evaluated> {
    let tick = Tick {
        at_ms: tick_ms,
        length_ms: tick_length_ms,
    };
    evaluate(db, store, None, tick, is_last).await
}

async fn evaluate(
    db: &Db,
    store: &Store,
    only: Option<TriggerId>,
    tick: Tick,
    is_last: bool,
) -> Result<Evaluated> {
    let is_open = move |trigger: &Trigger, last_ms: Option<i64>| {
        only.is_none_or(|id| id == trigger.id) && !last_ms.is_some_and(|ms| tick.is_written(ms))
    };
    let snapshot = db
        .read(move |conn| Snapshot::load(conn, is_open, tick.at_ms, tick.length_ms))
        .await?;
    let mut scene = Scene::read(snapshot, store, tick, is_last).await;
    let mut fault = scene.fault.take();
    if !is_last && scene.unreadable.is_some() {
        let unknown = || Error::Internal("the samples could not be read".into());
        return Err(fault.unwrap_or_else(unknown));
    }
    // A large fleet takes longer than an async thread may be kept from its other work.
    let (verdicts, awaited) = tokio::task::spawn_blocking(move || verdicts(&scene))
        .await
        .map_err(|cause| Error::internal("deciding did not finish", cause))?;
    let waiting = verdicts.iter().filter(|verdict| verdict.is_none()).count();
    let (firing, other): (Vec<_>, Vec<_>) = verdicts
        .into_iter()
        .flatten()
        .partition(|verdict| verdict.decision.outcome == Outcome::Fired);
    let mut evaluated = Evaluated {
        waiting,
        awaited,
        ..Evaluated::default()
    };
    if let Err(cause) = write(db, firing, other, tick, &mut evaluated).await {
        fault = Some(cause);
    }
    match fault {
        Some(cause) if evaluated.runs.is_empty() => Err(cause),
        Some(cause) => {
            tracing::error!(%cause, tick_ms = tick.at_ms, "an evaluation was not complete");
            Ok(evaluated)
        }
        None => Ok(evaluated),
    }
}

/// A firing does not wait for the ledger of the others, and has its own transaction: one that fails leaves the rest alone.
async fn write(
    db: &Db,
    firing: Vec<Verdict>,
    other: Vec<Verdict>,
    tick: Tick,
    evaluated: &mut Evaluated,
) -> Result<()> {
    let mut outcome = Ok(());
    for verdict in firing {
        match db
            .write(move |conn| ledger::fire(conn, &verdict, tick))
            .await
        {
            Ok(Some(run)) => {
                evaluated.runs.push(run);
                evaluated.outcomes.push(models::Outcome::Fired);
            }
            Ok(None) => {}
            Err(cause) => outcome = Err(cause),
        }
    }
    if !other.is_empty() {
        let written = db
            .write(move |conn| ledger::record(conn, &other, tick))
            .await?;
        evaluated.outcomes.extend(written);
    }
    outcome
}

fn verdicts(scene: &Scene) -> (Vec<Option<Verdict>>, Awaited) {
    let mut awaited = Awaited::default();
    let watched = scene.snapshot.watched.iter();
    let verdicts = watched.zip(scene.decide()).map(|(watched, decision)| {
        if decision.is_none() {
            scene.await_more(watched, &mut awaited);
        }
        Some(Verdict::of(watched, decision?))
    });
    (verdicts.collect(), awaited)
}
