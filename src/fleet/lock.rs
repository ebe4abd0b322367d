//! One writer of definitions at a time: each checks its change beside what stands, so what stands may not move meanwhile.

use diesel::{RunQueryDsl as _, sql_query};

use crate::db::Connection;
use crate::error::Result;

/// "fleet" in letters' numbers; any number that nothing else of Headroom locks.
const LOCK: i64 = 0x66_6c65_6574;

/// Waits until no other transaction changes definitions; held to the end of this one. SQLite's write transactions queue by themselves.
pub(super) fn definitions(conn: &mut Connection) -> Result<()> {
    if let Connection::Postgres(conn) = conn {
        sql_query(format!("SELECT pg_advisory_xact_lock({LOCK})")).execute(conn)?;
    }
    Ok(())
}
