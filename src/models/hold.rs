//! A time-boxed stop.

use diesel::prelude::*;

use crate::models::{HoldId, HoldScope};
use crate::schema::holds;

/// A time-boxed stop.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = holds)]
pub struct Hold {
    /// Row id.
    pub id: HoldId,
    /// What kind of thing is held.
    pub scope: HoldScope,
    /// Which one; none for everything.
    pub scope_name: Option<String>,
    /// Why.
    pub reason: String,
    /// Who.
    pub author: String,
    /// Made at, ms.
    pub created_ms: i64,
    /// Ends by itself at, ms.
    pub expires_ms: i64,
    /// Ended early at, ms.
    pub lifted_ms: Option<i64>,
    /// Who ended it early.
    pub lifted_by: Option<String>,
}

/// What is written of a [`Hold`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = holds, treat_none_as_null = true)]
pub struct NewHold {
    /// See [`Hold::scope`].
    pub scope: HoldScope,
    /// See [`Hold::scope_name`].
    pub scope_name: Option<String>,
    /// See [`Hold::reason`].
    pub reason: String,
    /// See [`Hold::author`].
    pub author: String,
    /// See [`Hold::created_ms`].
    pub created_ms: i64,
    /// See [`Hold::expires_ms`].
    pub expires_ms: i64,
    /// See [`Hold::lifted_ms`].
    pub lifted_ms: Option<i64>,
    /// See [`Hold::lifted_by`].
    pub lifted_by: Option<String>,
}
