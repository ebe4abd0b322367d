//! A time-boxed stop.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::{Error, Fault, Result};
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::cluster::Cluster;
use crate::models::node::Node;
use crate::models::trigger::Trigger;
use crate::models::{HoldId, HoldScope, Via};
use crate::schema::holds;

/// The end of a hold that only a person ends: the last second that every calendar can write.
pub const NEVER_MS: i64 = 253_402_300_799_000;

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

impl Hold {
    /// Whether it stops anything at `now_ms`.
    pub fn is_active(&self, now_ms: i64) -> bool {
        self.lifted_ms.is_none() && now_ms < self.expires_ms
    }

    /// What it stops, in words: `everything`, `cluster web`.
    pub fn subject(&self) -> String {
        subject(self.scope, self.scope_name.as_deref())
    }

    /// The hold that stops all acting, if one is active.
    ///
    /// # Errors
    /// The database fails.
    pub fn stop(conn: &mut Connection, now_ms: i64) -> Result<Option<Self>> {
        Ok(holds::table
            .filter(holds::scope.eq(HoldScope::Stop))
            .filter(holds::lifted_ms.is_null())
            .filter(holds::expires_ms.gt(now_ms))
            .order(holds::expires_ms.desc())
            .first(conn)
            .optional()?)
    }

    /// What keeps commands that are no run from acting: the stop of all acting, or a hold on everything.
    ///
    /// # Errors
    /// The database fails.
    pub fn on_commands(conn: &mut Connection, now_ms: i64) -> Result<Option<Self>> {
        if let Some(stop) = Self::stop(conn, now_ms)? {
            return Ok(Some(stop));
        }
        let active = Self::active(conn, now_ms)?.into_iter();
        let mut everything = active.filter(|hold| hold.scope == HoldScope::Everything);
        Ok(everything.next_back())
    }

    /// Who stopped all acting and why, as the end of a sentence: `stopped by ann: wrong machines are going`.
    pub fn stopped(&self) -> String {
        format!("stopped by {}: {}", self.author, self.reason)
    }

    /// The row of an id.
    ///
    /// # Errors
    /// There is none, or the database fails.
    pub fn find(conn: &mut Connection, id: HoldId) -> Result<Self> {
        let row = holds::table.find(id).first(conn).optional()?;
        row.ok_or_else(|| Error::NotFound(format!("hold {id}")))
    }

    /// The holds that are active, those that end first before the others.
    ///
    /// # Errors
    /// The database fails.
    pub fn active(conn: &mut Connection, now_ms: i64) -> Result<Vec<Self>> {
        Ok(holds::table
            .filter(holds::lifted_ms.is_null())
            .filter(holds::expires_ms.gt(now_ms))
            .order((holds::expires_ms, holds::id))
            .load(conn)?)
    }

    /// Up to `limit` holds, over or not, the newest first; `before` goes on where the last page ended.
    ///
    /// # Errors
    /// The database fails.
    pub fn page(conn: &mut Connection, before: Option<HoldId>, limit: i64) -> Result<Vec<Self>> {
        let mut query = holds::table.into_boxed();
        if let Some(before) = before {
            query = query.filter(holds::id.lt(before));
        }
        Ok(query.order(holds::id.desc()).limit(limit).load(conn)?)
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What kind of thing to hold.
    pub scope: HoldScope,
    /// Which one; none for everything.
    pub scope_name: Option<String>,
    /// Why.
    pub reason: String,
    /// Who.
    pub author: String,
    /// When it shall end by itself.
    pub expires_ms: i64,
}

/// Begins a hold; it stops from the next decision on.
///
/// # Errors
/// The thing does not exist, no reason is given, the end is not ahead, or the database fails.
pub fn begin(conn: &mut Connection, request: &Request, via: Via, now_ms: i64) -> Result<Hold> {
    check(conn, request, now_ms)?;
    let row: Hold = diesel::insert_into(holds::table)
        .values(&NewHold {
            scope: request.scope,
            scope_name: request.scope_name.clone(),
            reason: request.reason.trim().to_owned(),
            author: request.author.clone(),
            created_ms: now_ms,
            expires_ms: request.expires_ms,
            lifted_ms: None,
            lifted_by: None,
        })
        .returning(holds::all_columns)
        .get_result(conn)?;
    audit(conn, "hold", &row, &row.author, via, now_ms)?;
    Ok(row)
}

/// Ends a hold before its time.
///
/// # Errors
/// There is no such hold, it is over already, or the database fails.
pub fn lift(conn: &mut Connection, id: HoldId, by: &str, via: Via, now_ms: i64) -> Result<Hold> {
    let changed = diesel::update(holds::table.find(id))
        .filter(holds::lifted_ms.is_null())
        .filter(holds::expires_ms.gt(now_ms))
        .set((holds::lifted_ms.eq(now_ms), holds::lifted_by.eq(by)))
        .execute(conn)?;
    let row = Hold::find(conn, id)?;
    if changed == 0 {
        let how = match &row.lifted_by {
            Some(lifted_by) => format!("was lifted by {lifted_by}"),
            None => "has expired".into(),
        };
        return Err(Error::Conflict(format!("hold {id} {how} already")));
    }
    audit(conn, "lift hold", &row, by, via, now_ms)?;
    Ok(row)
}

fn check(conn: &mut Connection, request: &Request, now_ms: i64) -> Result<()> {
    let mut faults = Vec::new();
    if request.reason.trim().is_empty() {
        faults.push(Fault::new(
            "reason",
            "is missing: say why, for whoever finds the hold at night",
        ));
    }
    if request.expires_ms <= now_ms {
        faults.push(Fault::new("expires", "must lie ahead"));
    }
    let found = match (request.scope, request.scope_name.as_deref()) {
        (HoldScope::Everything | HoldScope::Stop, None) => Ok(()),
        (HoldScope::Everything | HoldScope::Stop, Some(_)) => {
            faults.push(Fault::new(
                "name",
                "must be left out: the hold is on everything",
            ));
            Ok(())
        }
        (scope, None) => {
            faults.push(Fault::new("name", format!("is missing: which {scope}?")));
            Ok(())
        }
        (HoldScope::Cluster, Some(name)) => Cluster::by_name(conn, name).map(drop),
        (HoldScope::Trigger, Some(name)) => Trigger::by_name(conn, name).map(drop),
        (HoldScope::Node, Some(name)) => Node::by_name(conn, name).map(drop),
    };
    match found {
        Err(Error::NotFound(what)) => {
            faults.push(Fault::new("name", format!("{what} does not exist")));
        }
        other => other?,
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(faults))
    }
}

fn audit(
    conn: &mut Connection,
    verb: &str,
    row: &Hold,
    by: &str,
    via: Via,
    at_ms: i64,
) -> Result<()> {
    let state = serde_json::json!({
        "id": row.id,
        "reason": row.reason,
        "author": row.author,
        "expires_ms": row.expires_ms,
        "lifted_ms": row.lifted_ms,
    });
    AuditEvent::record(
        conn,
        &NewAuditEvent {
            at_ms,
            actor: by.to_owned(),
            via,
            verb: verb.to_owned(),
            object: row.subject(),
            before: None,
            after: Some(state.to_string()),
        },
    )
}

fn subject(scope: HoldScope, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{scope} {name}"),
        None if scope == HoldScope::Stop => "all acting".into(),
        None => scope.to_string(),
    }
}
