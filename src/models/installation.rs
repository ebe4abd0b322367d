//! What tells this Headroom's instances from those of another one in the same account.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::schema::installation;

/// The tag that instances of this Headroom carry; made at the first call, the same for ever after.
/// Call it in a write transaction.
///
/// # Errors
/// The database fails.
pub fn tag(conn: &mut Connection) -> Result<String> {
    if let Some(tag) = known_tag(conn)? {
        return Ok(tag);
    }
    let new = format!("{:016x}", rand::random::<u64>());
    diesel::insert_into(installation::table)
        .values(installation::tag.eq(&new))
        .execute(conn)?;
    // Of two processes that make one at the same moment, both go on with the first.
    Ok(known_tag(conn)?.unwrap_or(new))
}

/// The tag, if anything was ever launched.
///
/// # Errors
/// The database fails.
pub fn known_tag(conn: &mut Connection) -> Result<Option<String>> {
    Ok(installation::table
        .order(installation::id)
        .select(installation::tag)
        .first(conn)
        .optional()?)
}
