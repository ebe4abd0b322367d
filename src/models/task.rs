//! The last outcome of a periodic task.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::schema::tasks;

/// The last outcome of a periodic task.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = tasks)]
pub struct Task {
    /// Row id.
    pub id: i64,
    /// Unique name.
    pub name: String,
    /// Last start, ms.
    pub started_ms: Option<i64>,
    /// Last end, ms.
    pub finished_ms: Option<i64>,
    /// How it ended.
    pub succeeded: Option<bool>,
    /// In a sentence.
    pub result: String,
    /// Times it was due but still running.
    pub skipped: i64,
}

impl Task {
    /// Every task, by name.
    ///
    /// # Errors
    /// The database fails.
    pub fn all(conn: &mut Connection) -> Result<Vec<Self>> {
        Ok(tasks::table.order(tasks::name).load(conn)?)
    }

    /// Claims the start of `at_ms` for this process: of several that try, one wins. A start in the past of the last one is
    /// granted when the clock was set back by more than `period_ms`.
    ///
    /// # Errors
    /// The database fails.
    pub fn begin(conn: &mut Connection, name: &str, at_ms: i64, period_ms: i64) -> Result<bool> {
        let row = tasks::table.filter(tasks::name.eq(name));
        let due = tasks::started_ms
            .is_null()
            .or(tasks::started_ms.lt(at_ms))
            .or(tasks::started_ms.gt(at_ms + period_ms));
        Self::ensure(conn, name)?;
        let claimed = diesel::update(row.filter(due))
            .set(tasks::started_ms.eq(at_ms))
            .execute(conn)?;
        Ok(claimed > 0)
    }

    /// Adds the row of a task that never started. On each database by itself, since what both have in common cannot say "unless another
    /// process was quicker".
    fn ensure(conn: &mut Connection, name: &str) -> Result<()> {
        let insert = diesel::insert_into(tasks::table)
            .values((
                tasks::name.eq(name),
                tasks::result.eq(""),
                tasks::skipped.eq(0),
            ))
            .on_conflict_do_nothing();
        match conn {
            Connection::Sqlite(conn) => insert.execute(conn)?,
            Connection::Postgres(conn) => insert.execute(conn)?,
        };
        Ok(())
    }

    /// Notes what came of a task's work that a person had done out of turn.
    ///
    /// # Errors
    /// The database fails.
    pub fn note(
        conn: &mut Connection,
        name: &str,
        at_ms: i64,
        outcome: Result<&str, &str>,
    ) -> Result<()> {
        Self::ensure(conn, name)?;
        Self::finish(conn, name, at_ms, outcome)
    }

    /// Notes how a task ended.
    ///
    /// # Errors
    /// The database fails.
    pub fn finish(
        conn: &mut Connection,
        name: &str,
        at_ms: i64,
        outcome: Result<&str, &str>,
    ) -> Result<()> {
        let (succeeded, result) = outcome.map_or_else(|text| (false, text), |text| (true, text));
        diesel::update(tasks::table.filter(tasks::name.eq(name)))
            .set((
                tasks::finished_ms.eq(at_ms),
                tasks::succeeded.eq(succeeded),
                tasks::result.eq(result),
            ))
            .execute(conn)?;
        Ok(())
    }

    /// Notes that a task was due but the one before still ran.
    ///
    /// # Errors
    /// The database fails.
    pub fn skip(conn: &mut Connection, name: &str, times: i64) -> Result<()> {
        Self::ensure(conn, name)?;
        diesel::update(tasks::table.filter(tasks::name.eq(name)))
            .set(tasks::skipped.eq(tasks::skipped + times))
            .execute(conn)?;
        Ok(())
    }
}
