//! The impure part, alone: what was read moves the breaches ([`observe()`]), and at every tick each trigger is decided, written
//! down and, if it fires, given its run ([`evaluate_all`]).
//!
//! ```text
//!  definitions (Snapshot) ─┐
//!                          ├─▶ Scene ─▶ decide, pure, off the async threads ─▶ ledger: decisions, then each firing with its run
//!  samples, breaches ──────┘
//! ```

mod backtest;
mod ledger;
mod observe;
mod rules;
mod scene;
mod snapshot;
#[cfg(test)]
mod testing;
mod view;

pub use backtest::Backtest;
pub use observe::observe;
pub use rules::Rules;

use self::ledger::{Tick, Verdict};
use self::scene::Scene;
use self::snapshot::Snapshot;
use super::decide::Outcome;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::models::{RunId, TriggerId};
use crate::samples::Store;

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
    evaluate(db, store, None, tick_ms, tick_length_ms).await
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
    let runs = evaluate(db, store, Some(trigger), tick_ms, tick_length_ms).await?;
    Ok(runs.into_iter().next())
}

async fn evaluate(
    db: &Db,
    store: &Store,
    only: Option<TriggerId>,
    tick_ms: i64,
    tick_length_ms: i64,
) -> Result<Vec<RunId>> {
    let snapshot = db
        .read(move |conn| Snapshot::load(conn, only, tick_ms, tick_length_ms))
        .await?;
    let mut scene = Scene::read(snapshot, store, tick_ms, tick_length_ms).await;
    let mut fault = scene.fault.take();
    // A large fleet takes longer than an async thread may be kept from its other work.
    let verdicts = tokio::task::spawn_blocking(move || verdicts(&scene))
        .await
        .map_err(|cause| Error::internal("deciding did not finish", cause))?;
    let (firing, other): (Vec<_>, Vec<_>) = verdicts
        .into_iter()
        .partition(|verdict| verdict.decision.outcome == Outcome::Fired);

    let tick = Tick {
        at_ms: tick_ms,
        length_ms: tick_length_ms,
    };
    // A firing does not wait for the ledger of the others, and has its own transaction: one that fails leaves the rest alone.
    let mut runs = Vec::new();
    for verdict in firing {
        match db
            .write(move |conn| ledger::fire(conn, &verdict, tick))
            .await
        {
            Ok(run) => runs.extend(run),
            Err(cause) => fault = Some(cause),
        }
    }
    if let Err(cause) = db
        .write(move |conn| ledger::record(conn, &other, tick))
        .await
    {
        fault = Some(cause);
    }
    match fault {
        Some(cause) if runs.is_empty() => Err(cause),
        Some(cause) => {
            tracing::error!(%cause, tick_ms, "an evaluation was not complete");
            Ok(runs)
        }
        None => Ok(runs),
    }
}

fn verdicts(scene: &Scene) -> Vec<Verdict> {
    let watched = scene.snapshot.watched.iter();
    watched
        .zip(scene.decide())
        .map(|(watched, decision)| Verdict::of(watched, decision))
        .collect()
}
