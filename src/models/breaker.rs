//! What keeps a cluster from launching after launches that gave no node.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::{BreakerState, ClusterId, RunId};
use crate::schema::breakers;

/// What keeps a cluster from launching after launches that gave no node.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Insertable, AsChangeset)]
#[diesel(table_name = breakers, treat_none_as_null = true)]
pub struct Breaker {
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Whether launches are let through.
    pub state: BreakerState,
    /// Launches in a row that gave no node.
    pub failures: i32,
    /// Why the last of them did not.
    pub reason: String,
    /// Opened at, ms.
    pub opened_ms: Option<i64>,
    /// The run that is let through on trial.
    pub canary_run_id: Option<RunId>,
    /// Last change, ms.
    pub updated_ms: i64,
}

impl Breaker {
    /// A closed one.
    pub fn closed(cluster: ClusterId) -> Self {
        Self {
            cluster_id: cluster,
            state: BreakerState::Closed,
            failures: 0,
            reason: String::new(),
            opened_ms: None,
            canary_run_id: None,
            updated_ms: 0,
        }
    }

    /// Every one that there ever was.
    ///
    /// # Errors
    /// The database fails.
    pub fn all(conn: &mut Connection) -> Result<Vec<Self>> {
        Ok(breakers::table.order(breakers::cluster_id).load(conn)?)
    }

    /// That of a cluster; a closed one where there never was any.
    ///
    /// # Errors
    /// The database fails.
    pub fn of(conn: &mut Connection, cluster: ClusterId) -> Result<Self> {
        let row = breakers::table.find(cluster).first(conn).optional()?;
        Ok(row.unwrap_or_else(|| Self::closed(cluster)))
    }

    /// Writes it. Whoever does holds the cluster's lock.
    ///
    /// # Errors
    /// The cluster is gone, or the database fails.
    pub fn keep(&self, conn: &mut Connection) -> Result<()> {
        let changed = diesel::update(breakers::table.find(self.cluster_id))
            .set(self)
            .execute(conn)?;
        if changed == 0 {
            diesel::insert_into(breakers::table)
                .values(self)
                .execute(conn)?;
        }
        Ok(())
    }
}
