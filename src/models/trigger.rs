//! Counters of a cluster, a timing and ordered steps.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::named::named_queries;
use crate::models::{ClusterId, CounterId, Mode, OnFailure, TriggerId, When};
use crate::schema::{trigger_counters, triggers};

/// Counters of a cluster, a timing and ordered steps.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = triggers)]
pub struct Trigger {
    /// Row id.
    pub id: TriggerId,
    /// Unique name.
    pub name: String,
    /// Whose nodes it watches.
    pub cluster_id: ClusterId,
    /// How long a breach must last; none = manual only.
    pub timing_secs: Option<i64>,
    /// How series combine.
    pub when_rule: When,
    /// For `percent`: at least so many of the nodes in service.
    pub when_percent: Option<i32>,
    /// Silence after a firing.
    pub cooldown_secs: i64,
    /// Fresh nodes that a removal needs.
    pub quorum_percent: i32,
    /// Whether a firing acts.
    pub mode: Mode,
    /// Whether it may fire by itself.
    pub enabled: bool,
    /// What its runs do after a failure; none = the kinds' default.
    pub on_failure: Option<OnFailure>,
    /// Tick of its last firing, ms.
    pub last_fired_ms: Option<i64>,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`Trigger`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = triggers, treat_none_as_null = true)]
pub struct NewTrigger {
    /// See [`Trigger::name`].
    pub name: String,
    /// See [`Trigger::cluster_id`].
    pub cluster_id: ClusterId,
    /// See [`Trigger::timing_secs`].
    pub timing_secs: Option<i64>,
    /// See [`Trigger::when_rule`].
    pub when_rule: When,
    /// See [`Trigger::when_percent`].
    pub when_percent: Option<i32>,
    /// See [`Trigger::cooldown_secs`].
    pub cooldown_secs: i64,
    /// See [`Trigger::quorum_percent`].
    pub quorum_percent: i32,
    /// See [`Trigger::mode`].
    pub mode: Mode,
    /// See [`Trigger::enabled`].
    pub enabled: bool,
    /// See [`Trigger::on_failure`].
    pub on_failure: Option<OnFailure>,
    /// See [`Trigger::updated_ms`].
    pub updated_ms: i64,
}

/// Fresh nodes that a removal needs where the trigger says nothing else.
pub const QUORUM_PERCENT: i32 = 80;

impl NewTrigger {
    /// One that says nothing but its name and its cluster: it runs by hand.
    pub fn named(name: impl Into<String>, cluster: ClusterId, now_ms: i64) -> Self {
        Self {
            name: name.into(),
            cluster_id: cluster,
            timing_secs: None,
            when_rule: When::Any,
            when_percent: None,
            cooldown_secs: 0,
            quorum_percent: QUORUM_PERCENT,
            mode: Mode::Live,
            enabled: true,
            on_failure: None,
            updated_ms: now_ms,
        }
    }
}

named_queries!(Trigger, NewTrigger, TriggerId, triggers, "trigger");

impl Trigger {
    /// Notes a firing, if nobody noted another one since `before_ms` was read: of several that fire at once, one wins.
    ///
    /// # Errors
    /// The database fails.
    pub fn fire(
        conn: &mut Connection,
        id: TriggerId,
        before_ms: Option<i64>,
        now_ms: i64,
    ) -> Result<bool> {
        let row = triggers::table.find(id);
        let now = triggers::last_fired_ms.eq(now_ms);
        let changed = match before_ms {
            Some(before_ms) => diesel::update(row.filter(triggers::last_fired_ms.eq(before_ms)))
                .set(now)
                .execute(conn)?,
            None => diesel::update(row.filter(triggers::last_fired_ms.is_null()))
                .set(now)
                .execute(conn)?,
        };
        Ok(changed == 1)
    }
}

/// The counters of every trigger, by trigger and position.
///
/// # Errors
/// The database fails.
pub fn counters_of_triggers(conn: &mut Connection) -> Result<Vec<(TriggerId, CounterId)>> {
    Ok(trigger_counters::table
        .order((trigger_counters::trigger_id, trigger_counters::position))
        .select((trigger_counters::trigger_id, trigger_counters::counter_id))
        .load(conn)?)
}

/// Replaces the counters of a trigger.
///
/// # Errors
/// A counter does not exist or comes twice, or the database fails.
pub fn set_counters(
    conn: &mut Connection,
    trigger: TriggerId,
    counters: &[CounterId],
) -> Result<()> {
    diesel::delete(trigger_counters::table.filter(trigger_counters::trigger_id.eq(trigger)))
        .execute(conn)?;
    for (position, counter) in (1_i32..).zip(counters) {
        diesel::insert_into(trigger_counters::table)
            .values((
                trigger_counters::trigger_id.eq(trigger),
                trigger_counters::counter_id.eq(counter),
                trigger_counters::position.eq(position),
            ))
            .execute(conn)?;
    }
    Ok(())
}
