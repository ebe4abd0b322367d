//! Counters of a cluster, a timing and ordered steps.

use diesel::prelude::*;

use crate::models::named::named_queries;
use crate::models::{ClusterId, Mode, OnFailure, TriggerId, When};
use crate::schema::triggers;

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

named_queries!(Trigger, NewTrigger, TriggerId, triggers, "trigger");
