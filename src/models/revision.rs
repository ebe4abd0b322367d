//! A number that grows with every change of what collections and decisions go by: nodes, counters, triggers, profiles, secrets. The
//! database itself counts, so that no writer can forget to and other processes see it.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::schema::fleet_revision;

/// The number as it is now. Read it before the definitions: what changes in between is then seen as a change later.
///
/// # Errors
/// The database fails.
pub fn current(conn: &mut Connection) -> Result<i64> {
    Ok(fleet_revision::table
        .select(fleet_revision::revision)
        .first(conn)?)
}
