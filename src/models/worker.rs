//! A process of Headroom.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
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

impl Worker {
    /// Every process that is or was there, by name.
    ///
    /// # Errors
    /// The database fails.
    pub fn all(conn: &mut Connection) -> Result<Vec<Self>> {
        Ok(workers::table.order(workers::name).load(conn)?)
    }

    /// Notes a sign of life; the first one adds the process.
    ///
    /// # Errors
    /// The database fails.
    pub fn seen(conn: &mut Connection, worker: &NewWorker) -> Result<()> {
        let known = diesel::update(workers::table.filter(workers::name.eq(&worker.name)))
            .set(worker)
            .execute(conn)?;
        if known == 0 {
            diesel::insert_into(workers::table)
                .values(worker)
                .execute(conn)?;
        }
        Ok(())
    }

    /// Forgets a process that ended in good order.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget(conn: &mut Connection, name: &str) -> Result<()> {
        diesel::delete(workers::table.filter(workers::name.eq(name))).execute(conn)?;
        Ok(())
    }

    /// Forgets processes not heard of since `before_ms`.
    ///
    /// # Errors
    /// The database fails.
    pub fn forget_before(conn: &mut Connection, before_ms: i64) -> Result<()> {
        diesel::delete(workers::table.filter(workers::seen_ms.lt(before_ms))).execute(conn)?;
        Ok(())
    }
}
