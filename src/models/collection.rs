//! Who reads what in a tick, agreed between the processes that collect.
//!
//! The first process to begin a tick writes down among whom its nodes are shared out: every process that was heard of in the last ticks,
//! and itself. That row is written once ([`begin`] inserts it or finds it) and never changed, so all processes go by the same list,
//! whatever each believes of the others. Which of the list reads a node follows from the list and the node alone, a process begins
//! a tick at most once, and one that is not on the list reads nothing: so no node is read twice in a tick, also while one process
//! takes over from another, and also when one that was thought dead comes back.
//!
//! A process that dies is on the lists of at most two more ticks, so that its share has a gap of three ticks at most: the one it died in
//! and these two. One that ends in good order leaves, and is on none. One that is new or was late is on the next list.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::schema::{collections, collectors};

/// Ticks after the last one it began for which a process is believed to live.
const BELIEVED_TICKS: i64 = 2;
/// Ticks after which rows are dropped.
const KEPT_TICKS: i64 = 20;

/// Begins a tick for a process: the names of those that share it, sorted; none if the process has begun this tick before. Belongs in a
/// write transaction.
///
/// # Errors
/// The database fails.
pub fn begin(
    conn: &mut Connection,
    worker: &str,
    tick_ms: i64,
    period_ms: i64,
) -> Result<Option<Vec<String>>> {
    if !arrive(conn, worker, tick_ms)? {
        return Ok(None);
    }
    let believed_ms = period_ms.saturating_mul(BELIEVED_TICKS);
    // Also not from far ahead: those began before the clock was set back, and are long dead.
    let near = collectors::begun_ms.between(
        tick_ms.saturating_sub(believed_ms),
        tick_ms.saturating_add(believed_ms),
    );
    let members: Vec<String> = collectors::table
        .filter(near)
        .order(collectors::name)
        .select(collectors::name)
        .load(conn)?;
    let members = if write_once(conn, tick_ms, &to_text(&members)?)? {
        members
    } else {
        self::members(conn, tick_ms)?.unwrap_or_default()
    };
    let kept_ms = period_ms.saturating_mul(KEPT_TICKS);
    let (oldest_ms, newest_ms) = (tick_ms - kept_ms, tick_ms + kept_ms);
    let old = collections::tick_ms
        .lt(oldest_ms)
        .or(collections::tick_ms.gt(newest_ms));
    diesel::delete(collections::table.filter(old)).execute(conn)?;
    let dead = collectors::begun_ms
        .lt(oldest_ms)
        .or(collectors::begun_ms.gt(newest_ms));
    diesel::delete(collectors::table.filter(dead)).execute(conn)?;
    Ok(Some(members))
}

/// Notes that a process begins a tick; false if it has begun it before. A process writes its own row only.
fn arrive(conn: &mut Connection, worker: &str, tick_ms: i64) -> Result<bool> {
    let row = collectors::table.filter(collectors::name.eq(worker));
    let known: Option<i64> = row.select(collectors::begun_ms).first(conn).optional()?;
    match known {
        Some(begun_ms) if begun_ms == tick_ms => return Ok(false),
        Some(_) => {
            diesel::update(row)
                .set(collectors::begun_ms.eq(tick_ms))
                .execute(conn)?;
        }
        None => {
            diesel::insert_into(collectors::table)
                .values((
                    collectors::name.eq(worker),
                    collectors::begun_ms.eq(tick_ms),
                ))
                .execute(conn)?;
        }
    }
    Ok(true)
}

/// Writes the list of a tick unless there is one; whether it did. On each database by itself: what both have in common cannot say "unless".
/// On PostgreSQL the second of two writers waits here until the first has committed, and then finds its row.
fn write_once(conn: &mut Connection, tick_ms: i64, members: &str) -> Result<bool> {
    let insert = diesel::insert_into(collections::table)
        .values((
            collections::tick_ms.eq(tick_ms),
            collections::members.eq(members),
        ))
        .on_conflict_do_nothing();
    let written = match conn {
        Connection::Sqlite(conn) => insert.execute(conn)?,
        Connection::Postgres(conn) => insert.execute(conn)?,
    };
    Ok(written == 1)
}

/// Notes that a process has read and kept its share of a tick.
///
/// # Errors
/// The database fails.
pub fn finish(conn: &mut Connection, worker: &str, tick_ms: i64) -> Result<()> {
    diesel::update(collectors::table.filter(collectors::name.eq(worker)))
        .set(collectors::finished_ms.eq(tick_ms))
        .execute(conn)?;
    Ok(())
}

/// Whether everybody who shares a tick has read and kept their share of it, or has left.
///
/// # Errors
/// The database fails.
pub fn is_over(conn: &mut Connection, tick_ms: i64) -> Result<bool> {
    let Some(members) = members(conn, tick_ms)? else {
        return Ok(false);
    };
    let behind = collectors::finished_ms
        .is_null()
        .or(collectors::finished_ms.ne(tick_ms));
    let reading: i64 = collectors::table
        .filter(collectors::name.eq_any(members))
        .filter(collectors::begun_ms.le(tick_ms))
        .filter(behind)
        .count()
        .get_result(conn)?;
    Ok(reading == 0)
}

/// Takes a process off the next lists: it ends in good order.
///
/// # Errors
/// The database fails.
pub fn leave(conn: &mut Connection, worker: &str) -> Result<()> {
    diesel::delete(collectors::table.filter(collectors::name.eq(worker))).execute(conn)?;
    Ok(())
}

/// Among whom a tick is shared, if it was begun.
fn members(conn: &mut Connection, tick_ms: i64) -> Result<Option<Vec<String>>> {
    let row = collections::table.find(tick_ms);
    let text: Option<String> = row.select(collections::members).first(conn).optional()?;
    let broken = |cause| Error::internal("the list of a tick's collectors cannot be read", cause);
    text.map(|text| serde_json::from_str(&text).map_err(broken))
        .transpose()
}

fn to_text(members: &[String]) -> Result<String> {
    serde_json::to_string(members)
        .map_err(|cause| Error::internal("could not write down a tick's collectors", cause))
}
