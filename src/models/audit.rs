//! A state change: who, when, what, before and after.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::Via;
use crate::schema::audit_events;

/// A state change: who, when, what, before and after.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = audit_events)]
pub struct AuditEvent {
    /// Row id.
    pub id: i64,
    /// When, ms.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// By which way.
    pub via: Via,
    /// What was done.
    pub verb: String,
    /// To what: `kind name`.
    pub object: String,
    /// State before, JSON; secrets as "changed".
    pub before: Option<String>,
    /// State after, JSON; secrets as "changed".
    pub after: Option<String>,
}

/// What is written of a [`AuditEvent`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = audit_events, treat_none_as_null = true)]
pub struct NewAuditEvent {
    /// See [`AuditEvent::at_ms`].
    pub at_ms: i64,
    /// See [`AuditEvent::actor`].
    pub actor: String,
    /// See [`AuditEvent::via`].
    pub via: Via,
    /// See [`AuditEvent::verb`].
    pub verb: String,
    /// See [`AuditEvent::object`].
    pub object: String,
    /// See [`AuditEvent::before`].
    pub before: Option<String>,
    /// See [`AuditEvent::after`].
    pub after: Option<String>,
}

impl AuditEvent {
    /// Writes down a change, in the transaction that makes it.
    ///
    /// # Errors
    /// The database fails.
    pub fn record(conn: &mut Connection, event: &NewAuditEvent) -> Result<()> {
        diesel::insert_into(audit_events::table)
            .values(event)
            .execute(conn)?;
        Ok(())
    }

    /// The newest ones, optionally only those before an id, and only those about an object.
    ///
    /// # Errors
    /// The database fails.
    pub fn page(
        conn: &mut Connection,
        before: Option<i64>,
        object: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Self>> {
        let mut query = audit_events::table.into_boxed();
        if let Some(before) = before {
            query = query.filter(audit_events::id.lt(before));
        }
        if let Some(object) = object {
            query = query.filter(audit_events::object.eq(object.to_owned()));
        }
        Ok(query
            .order(audit_events::id.desc())
            .limit(limit)
            .load(conn)?)
    }
}
