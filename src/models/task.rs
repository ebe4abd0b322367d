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

/// What is written of a [`Task`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = tasks, treat_none_as_null = true)]
pub struct NewTask {
    /// See [`Task::name`].
    pub name: String,
    /// See [`Task::started_ms`].
    pub started_ms: Option<i64>,
    /// See [`Task::finished_ms`].
    pub finished_ms: Option<i64>,
    /// See [`Task::succeeded`].
    pub succeeded: Option<bool>,
    /// See [`Task::result`].
    pub result: String,
    /// See [`Task::skipped`].
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
        let claimed = diesel::update(row.filter(due))
            .set(tasks::started_ms.eq(at_ms))
            .execute(conn)?;
        if claimed > 0 {
            return Ok(true);
        }
        let known: i64 = tasks::table
            .filter(tasks::name.eq(name))
            .count()
            .get_result(conn)?;
        if known > 0 {
            return Ok(false);
        }
        let new = NewTask {
            name: name.to_owned(),
            started_ms: Some(at_ms),
            finished_ms: None,
            succeeded: None,
            result: String::new(),
            skipped: 0,
        };
        diesel::insert_into(tasks::table)
            .values(&new)
            .execute(conn)?;
        Ok(true)
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
        diesel::update(tasks::table.filter(tasks::name.eq(name)))
            .set(tasks::skipped.eq(tasks::skipped + times))
            .execute(conn)?;
        Ok(())
    }
}
