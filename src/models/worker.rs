//! A process of Headroom.

use diesel::prelude::*;

use crate::schema::workers;

/// A process of Headroom.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = workers)]
pub struct Worker {
    /// Row id.
    pub id: i64,
    /// Unique name.
    pub name: String,
    /// What it does, comma-separated.
    pub roles: String,
    /// Headroom's version.
    pub version: String,
    /// Process start, ms.
    pub started_ms: i64,
    /// Last sign of life, ms.
    pub seen_ms: i64,
}

/// What is written of a [`Worker`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = workers, treat_none_as_null = true)]
pub struct NewWorker {
    /// See [`Worker::name`].
    pub name: String,
    /// See [`Worker::roles`].
    pub roles: String,
    /// See [`Worker::version`].
    pub version: String,
    /// See [`Worker::started_ms`].
    pub started_ms: i64,
    /// See [`Worker::seen_ms`].
    pub seen_ms: i64,
}
