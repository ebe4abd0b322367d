//! The last outcome of a periodic task.

use diesel::prelude::*;

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
