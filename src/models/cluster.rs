//! Nodes that do the same work.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::ClusterId;
use crate::models::named::named_queries;
use crate::schema::clusters;

/// Nodes that do the same work.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = clusters)]
pub struct Cluster {
    /// Row id.
    pub id: ClusterId,
    /// Unique name.
    pub name: String,
    /// Never fewer nodes than this.
    pub min_nodes: i32,
    /// Never more nodes than this; none = no bound.
    pub max_nodes: Option<i32>,
    /// Launches in a row that may fail before the breaker opens; 0 = it never does.
    pub max_failed_launches: i32,
    /// How long an open breaker refuses every launch, before one is let through on trial.
    pub breaker_cooldown_secs: i64,
    /// Launches that may begin within an hour; none = no bound.
    pub max_launches_per_hour: Option<i32>,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`Cluster`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = clusters, treat_none_as_null = true)]
pub struct NewCluster {
    /// See [`Cluster::name`].
    pub name: String,
    /// See [`Cluster::min_nodes`].
    pub min_nodes: i32,
    /// See [`Cluster::max_nodes`].
    pub max_nodes: Option<i32>,
    /// See [`Cluster::max_failed_launches`].
    pub max_failed_launches: i32,
    /// See [`Cluster::breaker_cooldown_secs`].
    pub breaker_cooldown_secs: i64,
    /// See [`Cluster::max_launches_per_hour`].
    pub max_launches_per_hour: Option<i32>,
    /// See [`Cluster::updated_ms`].
    pub updated_ms: i64,
}

/// Failed launches in a row that open the breaker of a cluster that says nothing else.
pub const MAX_FAILED_LAUNCHES: i32 = 3;
/// How long it then refuses every launch.
pub const BREAKER_COOLDOWN_SECS: i64 = 30 * 60;

impl NewCluster {
    /// One that says nothing but its name.
    pub fn named(name: impl Into<String>, now_ms: i64) -> Self {
        Self {
            name: name.into(),
            min_nodes: 0,
            max_nodes: None,
            max_failed_launches: MAX_FAILED_LAUNCHES,
            breaker_cooldown_secs: BREAKER_COOLDOWN_SECS,
            max_launches_per_hour: None,
            updated_ms: now_ms,
        }
    }
}

named_queries!(Cluster, NewCluster, ClusterId, clusters, "cluster");

impl Cluster {
    /// The row of an id, held until the end of the transaction: whoever counts the cluster's nodes to add or take one does so alone.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub fn lock(conn: &mut Connection, id: ClusterId) -> Result<Self> {
        // Both databases lock what they write; SQLite's write transactions queue anyway.
        diesel::update(clusters::table.find(id))
            .set(clusters::updated_ms.eq(clusters::updated_ms))
            .execute(conn)?;
        Self::find(conn, id)
    }
}
