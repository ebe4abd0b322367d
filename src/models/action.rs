//! A named, configured instance of an action kind.

use diesel::prelude::*;

use crate::models::ActionId;
use crate::models::named::named_queries;
use crate::schema::actions;

/// A named, configured instance of an action kind.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = actions)]
pub struct Action {
    /// Row id.
    pub id: ActionId,
    /// Unique name.
    pub name: String,
    /// The action kind's name.
    pub kind: String,
    /// The kind's own settings, JSON.
    pub settings: String,
    /// Time limit; none = the kind's default.
    pub timeout_secs: Option<i64>,
    /// How often it is tried again after a fault that may pass; none = as often as the time limit allows.
    pub retries: Option<i32>,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`Action`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = actions, treat_none_as_null = true)]
pub struct NewAction {
    /// See [`Action::name`].
    pub name: String,
    /// See [`Action::kind`].
    pub kind: String,
    /// See [`Action::settings`].
    pub settings: String,
    /// See [`Action::timeout_secs`].
    pub timeout_secs: Option<i64>,
    /// See [`Action::retries`].
    pub retries: Option<i32>,
    /// See [`Action::updated_ms`].
    pub updated_ms: i64,
}

named_queries!(Action, NewAction, ActionId, actions, "action");
