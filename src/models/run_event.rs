//! The log of a run: one sentence per thing that happened.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::{RunId, StepRunId};
use crate::schema::run_events;

/// One line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Identifiable)]
#[diesel(table_name = run_events)]
pub struct RunEvent {
    /// Row id.
    pub id: i64,
    /// Its run.
    pub run_id: RunId,
    /// The step it is about.
    pub step_run_id: Option<StepRunId>,
    /// When, ms.
    pub at_ms: i64,
    /// What happened.
    pub message: String,
}

impl RunEvent {
    /// Adds a line.
    ///
    /// # Errors
    /// The run is gone, or the database fails.
    pub fn record(
        conn: &mut Connection,
        run: RunId,
        step: Option<StepRunId>,
        at_ms: i64,
        message: &str,
    ) -> Result<()> {
        diesel::insert_into(run_events::table)
            .values((
                run_events::run_id.eq(run),
                run_events::step_run_id.eq(step),
                run_events::at_ms.eq(at_ms),
                run_events::message.eq(message),
            ))
            .execute(conn)?;
        Ok(())
    }

    /// The log of a run, oldest line first.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_run(conn: &mut Connection, run: RunId) -> Result<Vec<Self>> {
        Ok(run_events::table
            .filter(run_events::run_id.eq(run))
            .order(run_events::id)
            .load(conn)?)
    }
}
