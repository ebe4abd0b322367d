//! Who drives a run, and every change of its state: each by compare-and-set, so that of two that try one succeeds.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::run::Run;
use crate::models::uses::OPEN;
use crate::models::{RunId, RunState};
use crate::schema::runs;

/// No claim reaches so far ahead: one that does was made before the clock was set back, and would otherwise hold the run for as long.
const LONGEST_CLAIM_MS: i64 = 600_000;

/// A run that is to be driven and that nobody drives, or one whose approval nobody gave in time.
macro_rules! can_be_claimed {
    ($now_ms:expr) => {{
        let free = runs::claimed_until_ms
            .is_null()
            .or(runs::claimed_until_ms.le($now_ms))
            .or(runs::claimed_until_ms.gt($now_ms + LONGEST_CLAIM_MS));
        let to_drive = runs::state.eq_any([RunState::Queued, RunState::Running]);
        let overdue = runs::claimed_until_ms.le($now_ms);
        to_drive
            .and(free)
            .or(runs::state.eq(RunState::Waiting).and(overdue))
    }};
}

impl Run {
    /// Runs that a worker should drive and none does: not begun, or the claim on them has lapsed.
    ///
    /// # Errors
    /// The database fails.
    pub fn unclaimed(conn: &mut Connection, now_ms: i64) -> Result<Vec<RunId>> {
        Ok(runs::table
            .filter(can_be_claimed!(now_ms))
            .order(runs::id)
            .select(runs::id)
            .load(conn)?)
    }

    /// Takes the run for one worker until `until_ms`; false when another holds it or it is not to be driven.
    ///
    /// # Errors
    /// The database fails.
    pub fn claim(
        conn: &mut Connection,
        id: RunId,
        claim: &str,
        now_ms: i64,
        until_ms: i64,
    ) -> Result<bool> {
        let taken = diesel::update(runs::table.find(id))
            .filter(can_be_claimed!(now_ms))
            .set((
                runs::state.eq(RunState::Running),
                runs::claimed_by.eq(claim),
                runs::claimed_until_ms.eq(until_ms),
            ))
            .execute(conn)?;
        if taken == 1 {
            diesel::update(runs::table.find(id))
                .filter(runs::started_ms.is_null())
                .set(runs::started_ms.eq(now_ms))
                .execute(conn)?;
        }
        Ok(taken == 1)
    }

    /// Keeps a claim alive until `until_ms`; false when it was lost.
    ///
    /// # Errors
    /// The database fails.
    pub fn renew(conn: &mut Connection, id: RunId, claim: &str, until_ms: i64) -> Result<bool> {
        let kept = diesel::update(runs::table.find(id))
            .filter(runs::claimed_by.eq(claim))
            .filter(runs::state.eq(RunState::Running))
            .set(runs::claimed_until_ms.eq(until_ms))
            .execute(conn)?;
        Ok(kept == 1)
    }

    /// Whether a claim still holds; if so, nobody takes the run over before the end of the transaction.
    ///
    /// # Errors
    /// The database fails.
    pub fn holds(conn: &mut Connection, id: RunId, claim: &str) -> Result<bool> {
        // Both databases lock what they write.
        let held = diesel::update(runs::table.find(id))
            .filter(runs::claimed_by.eq(claim))
            .filter(runs::state.eq(RunState::Running))
            .set(runs::claimed_by.eq(claim))
            .execute(conn)?;
        Ok(held == 1)
    }

    /// What a worker is told whose claim does not hold any more.
    pub fn lost(id: RunId) -> Error {
        Error::Conflict(format!("the claim on run {id} was lost to another worker"))
    }

    /// Ends the driving of a run: its new state, and nobody's claim. False when the claim was lost.
    ///
    /// # Errors
    /// The database fails.
    pub fn settle(
        conn: &mut Connection,
        id: RunId,
        claim: &str,
        state: RunState,
        finished_ms: Option<i64>,
    ) -> Result<bool> {
        let settled = diesel::update(runs::table.find(id))
            .filter(runs::claimed_by.eq(claim))
            .filter(runs::state.eq(RunState::Running))
            .set((
                runs::state.eq(state),
                runs::claimed_by.eq(None::<String>),
                runs::claimed_until_ms.eq(None::<i64>),
                runs::finished_ms.eq(finished_ms),
            ))
            .execute(conn)?;
        Ok(settled == 1)
    }

    /// Moves a run that nobody drives from one of `from` to `to`; false when it was in none of them.
    ///
    /// # Errors
    /// The database fails.
    pub fn change_state(
        conn: &mut Connection,
        id: RunId,
        from: &[RunState],
        to: RunState,
        finished_ms: Option<i64>,
    ) -> Result<bool> {
        let changed = diesel::update(runs::table.find(id))
            .filter(runs::state.eq_any(from.to_vec()))
            .set((runs::state.eq(to), runs::finished_ms.eq(finished_ms)))
            .execute(conn)?;
        Ok(changed == 1)
    }

    /// Notes who wants the run cancelled; false when it is not running or somebody asked before.
    ///
    /// # Errors
    /// The database fails.
    pub fn request_cancel(conn: &mut Connection, id: RunId, by: &str) -> Result<bool> {
        let noted = diesel::update(runs::table.find(id))
            .filter(runs::state.eq_any(OPEN))
            .filter(runs::cancel_requested_by.is_null())
            .set(runs::cancel_requested_by.eq(by))
            .execute(conn)?;
        Ok(noted == 1)
    }

    /// Gives a claim back before the run is over, so that another worker goes on with it at once; false when it was lost.
    ///
    /// # Errors
    /// The database fails.
    pub fn release(conn: &mut Connection, id: RunId, claim: &str) -> Result<bool> {
        let released = diesel::update(runs::table.find(id))
            .filter(runs::claimed_by.eq(claim))
            .filter(runs::state.eq(RunState::Running))
            .set((
                runs::claimed_by.eq(None::<String>),
                runs::claimed_until_ms.eq(None::<i64>),
            ))
            .execute(conn)?;
        Ok(released == 1)
    }

    /// Gives a claim back until somebody has approved a step, or `until_ms`; false when it was lost.
    ///
    /// # Errors
    /// The database fails.
    pub fn rest(conn: &mut Connection, id: RunId, claim: &str, until_ms: i64) -> Result<bool> {
        let rested = diesel::update(runs::table.find(id))
            .filter(runs::claimed_by.eq(claim))
            .filter(runs::state.eq(RunState::Running))
            .set((
                runs::state.eq(RunState::Waiting),
                runs::claimed_by.eq(None::<String>),
                runs::claimed_until_ms.eq(until_ms),
            ))
            .execute(conn)?;
        Ok(rested == 1)
    }

    /// The run of an id, held until the end of the transaction: whoever approves a step and whoever lays the run to rest do so one after the
    /// other.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub fn lock(conn: &mut Connection, id: RunId) -> Result<Self> {
        // Both databases lock what they write; SQLite's write transactions queue anyway.
        diesel::update(runs::table.find(id))
            .set(runs::state.eq(runs::state))
            .execute(conn)?;
        Self::find(conn, id)
    }

    /// Hands a run that a person has decided about back to the workers; false when it was in none of `from`.
    ///
    /// # Errors
    /// The database fails.
    pub fn requeue(conn: &mut Connection, id: RunId, from: &[RunState]) -> Result<bool> {
        let queued = diesel::update(runs::table.find(id))
            .filter(runs::state.eq_any(from.to_vec()))
            .set((
                runs::state.eq(RunState::Queued),
                runs::cancel_requested_by.eq(None::<String>),
                runs::claimed_until_ms.eq(None::<i64>),
                runs::finished_ms.eq(None::<i64>),
            ))
            .execute(conn)?;
        Ok(queued == 1)
    }

    /// Notes, when the run is over, whether its launches count for the breaker.
    ///
    /// # Errors
    /// The database fails.
    pub fn count_launch(conn: &mut Connection, id: RunId, counted: bool) -> Result<()> {
        diesel::update(runs::table.find(id))
            .set(runs::launch_counted.eq(counted))
            .execute(conn)?;
        Ok(())
    }

    /// Lets a run that goes on count for the breaker where nothing of it has counted yet.
    ///
    /// # Errors
    /// The database fails.
    pub fn may_speak(conn: &mut Connection, id: RunId) -> Result<()> {
        diesel::update(runs::table.find(id))
            .filter(runs::launch_counted.eq(false))
            .set(runs::launch_counted.eq(None::<bool>))
            .execute(conn)?;
        Ok(())
    }

    /// Notes who cancelled a run that was not under way; what is taken back of it later does not count for the breaker.
    ///
    /// # Errors
    /// The database fails.
    pub fn note_canceller(conn: &mut Connection, id: RunId, by: &str) -> Result<()> {
        diesel::update(runs::table.find(id))
            .set(runs::cancel_requested_by.eq(by))
            .execute(conn)?;
        diesel::update(runs::table.find(id))
            .filter(runs::launch_counted.is_null())
            .set(runs::launch_counted.eq(false))
            .execute(conn)?;
        Ok(())
    }
}
