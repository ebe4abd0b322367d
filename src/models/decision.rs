//! The recorded outcome of evaluations that came to the same.

use diesel::prelude::*;
use diesel::sql_query;

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::{DecisionId, Outcome, RunId, TriggerId};
use crate::schema::{decisions, triggers};

/// The advisory lock of PostgreSQL that writers of the ledger take; an arbitrary number that nothing else uses.
const LEDGER_LOCK: i64 = 0x4865_6164_726f_6f6d;

/// The recorded outcome of evaluations that came to the same.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = decisions)]
pub struct Decision {
    /// Row id.
    pub id: DecisionId,
    /// The trigger that was evaluated.
    pub trigger_id: TriggerId,
    /// What it came to.
    pub outcome: Outcome,
    /// In a sentence.
    pub reason: String,
    /// Equal for outcomes that are one row.
    pub fingerprint: String,
    /// Inputs with their age and every gate, JSON.
    pub detail: String,
    /// First tick of the stretch, ms.
    pub first_ms: i64,
    /// Last tick of the stretch, ms.
    pub last_ms: i64,
    /// Ticks in the stretch.
    pub count: i64,
    /// The run it started.
    pub run_id: Option<RunId>,
}

/// What is written of a [`Decision`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = decisions, treat_none_as_null = true)]
pub struct NewDecision {
    /// See [`Decision::trigger_id`].
    pub trigger_id: TriggerId,
    /// See [`Decision::outcome`].
    pub outcome: Outcome,
    /// See [`Decision::reason`].
    pub reason: String,
    /// See [`Decision::fingerprint`].
    pub fingerprint: String,
    /// See [`Decision::detail`].
    pub detail: String,
    /// See [`Decision::first_ms`].
    pub first_ms: i64,
    /// See [`Decision::last_ms`].
    pub last_ms: i64,
    /// See [`Decision::count`].
    pub count: i64,
    /// See [`Decision::run_id`].
    pub run_id: Option<RunId>,
}

impl Decision {
    /// Makes this transaction the only one that writes the ledger until it ends, so that what it reads of it stays true.
    /// On SQLite every write transaction is alone anyway.
    ///
    /// # Errors
    /// The database fails.
    pub fn lock_ledger(conn: &mut Connection) -> Result<()> {
        if let Connection::Postgres(conn) = conn {
            sql_query(format!("SELECT pg_advisory_xact_lock({LEDGER_LOCK})")).execute(conn)?;
        }
        Ok(())
    }

    /// The row of an id.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub fn find(conn: &mut Connection, id: DecisionId) -> Result<Self> {
        let row = decisions::table.find(id).first(conn).optional()?;
        row.ok_or_else(|| Error::NotFound(format!("decision {id}")))
    }

    /// Every trigger that exists, with its latest decision. Two queries, however many triggers there are.
    ///
    /// # Errors
    /// The database fails.
    pub fn latest(conn: &mut Connection) -> Result<Vec<(TriggerId, Option<Self>)>> {
        // One look into the index for each trigger; grouping would walk over all decisions.
        let newest = decisions::table
            .filter(decisions::trigger_id.eq(triggers::id))
            .order(decisions::id.desc())
            .select(decisions::id)
            .limit(1)
            .single_value();
        let newest: Vec<(TriggerId, Option<DecisionId>)> = triggers::table
            .order(triggers::id)
            .select((triggers::id, newest))
            .load(conn)?;
        let ids: Vec<_> = newest.iter().filter_map(|(_, id)| *id).collect();
        let mut rows: Vec<Self> = decisions::table
            .filter(decisions::id.eq_any(ids))
            .load(conn)?;
        rows.sort_unstable_by_key(|row| row.trigger_id);
        let mut rows = rows.into_iter().peekable();
        Ok(newest
            .into_iter()
            .map(|(trigger, _)| (trigger, rows.next_if(|row| row.trigger_id == trigger)))
            .collect())
    }

    /// Every trigger that exists, with the tick of its latest decision.
    ///
    /// # Errors
    /// The database fails.
    pub fn last_ticks(conn: &mut Connection) -> Result<Vec<(TriggerId, Option<i64>)>> {
        let tick = decisions::table
            .filter(decisions::trigger_id.eq(triggers::id))
            .order(decisions::id.desc())
            .select(decisions::last_ms)
            .limit(1)
            .single_value();
        Ok(triggers::table.select((triggers::id, tick)).load(conn)?)
    }

    /// The latest decision of a trigger.
    ///
    /// # Errors
    /// The database fails.
    pub fn latest_of(conn: &mut Connection, trigger: TriggerId) -> Result<Option<Self>> {
        Ok(decisions::table
            .filter(decisions::trigger_id.eq(trigger))
            .order(decisions::id.desc())
            .first(conn)
            .optional()?)
    }

    /// Up to `limit` decisions, the newest first, of one trigger or of all; `before` goes on where the last page ended.
    ///
    /// # Errors
    /// The database fails.
    pub fn page(
        conn: &mut Connection,
        trigger: Option<TriggerId>,
        before: Option<DecisionId>,
        limit: i64,
    ) -> Result<Vec<Self>> {
        let mut query = decisions::table.into_boxed();
        if let Some(trigger) = trigger {
            query = query.filter(decisions::trigger_id.eq(trigger));
        }
        if let Some(before) = before {
            query = query.filter(decisions::id.lt(before));
        }
        Ok(query.order(decisions::id.desc()).limit(limit).load(conn)?)
    }

    /// The decision that started a run.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_run(conn: &mut Connection, run: RunId) -> Result<Option<Self>> {
        Ok(decisions::table
            .filter(decisions::run_id.eq(run))
            .first(conn)
            .optional()?)
    }

    /// Writes down the first decision of a stretch.
    ///
    /// # Errors
    /// The trigger does not exist any more, or the database fails.
    pub fn insert(conn: &mut Connection, new: &NewDecision) -> Result<Self> {
        Ok(diesel::insert_into(decisions::table)
            .values(new)
            .returning(decisions::all_columns)
            .get_result(conn)?)
    }

    /// Lengthens a stretch to the tick of `new`, which came to the same; sentence and detail become the newer ones.
    ///
    /// # Errors
    /// The database fails.
    pub fn extend(conn: &mut Connection, id: DecisionId, new: &NewDecision) -> Result<()> {
        diesel::update(decisions::table.find(id))
            .set((
                decisions::reason.eq(&new.reason),
                decisions::detail.eq(&new.detail),
                decisions::last_ms.eq(new.last_ms),
                decisions::count.eq(decisions::count + 1),
            ))
            .execute(conn)?;
        Ok(())
    }

    /// Forgets the oldest stretches of every trigger that has more than `keep`, but those that started a run; how many.
    ///
    /// # Errors
    /// The database fails.
    pub fn trim(conn: &mut Connection, keep: i64) -> Result<usize> {
        let triggers: Vec<TriggerId> = triggers::table.select(triggers::id).load(conn)?;
        let mut gone = 0;
        for trigger in triggers {
            let oldest: Option<DecisionId> = decisions::table
                .filter(decisions::trigger_id.eq(trigger))
                .order(decisions::id.desc())
                .select(decisions::id)
                .offset(keep)
                .first(conn)
                .optional()?;
            if let Some(oldest) = oldest {
                let surplus = decisions::table
                    .filter(decisions::trigger_id.eq(trigger))
                    .filter(decisions::id.le(oldest))
                    .filter(decisions::run_id.is_null());
                gone += diesel::delete(surplus).execute(conn)?;
            }
        }
        Ok(gone)
    }

    /// Forgets stretches that ended before `before_ms`; how many.
    ///
    /// # Errors
    /// The database fails.
    pub fn prune(conn: &mut Connection, before_ms: i64) -> Result<usize> {
        Ok(
            diesel::delete(decisions::table.filter(decisions::last_ms.lt(before_ms)))
                .execute(conn)?,
        )
    }
}
