//! An action in a trigger.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::{ActionId, StepId, StepTarget, TriggerId};
use crate::schema::steps;

/// An action in a trigger.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = steps)]
pub struct Step {
    /// Row id.
    pub id: StepId,
    /// The trigger it belongs to.
    pub trigger_id: TriggerId,
    /// Its order, from 1.
    pub position: i32,
    /// Unique name.
    pub name: String,
    /// What it does.
    pub action_id: ActionId,
    /// What it acts on.
    pub target: StepTarget,
    /// Names of steps it waits for, JSON list; none = the one before it.
    pub depends_on: Option<String>,
    /// How long a person has to approve it; none = it needs no approval.
    pub approval_secs: Option<i64>,
}

/// What is written of a [`Step`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = steps, treat_none_as_null = true)]
pub struct NewStep {
    /// See [`Step::trigger_id`].
    pub trigger_id: TriggerId,
    /// See [`Step::position`].
    pub position: i32,
    /// See [`Step::name`].
    pub name: String,
    /// See [`Step::action_id`].
    pub action_id: ActionId,
    /// See [`Step::target`].
    pub target: StepTarget,
    /// See [`Step::depends_on`].
    pub depends_on: Option<String>,
    /// See [`Step::approval_secs`].
    pub approval_secs: Option<i64>,
}

impl Step {
    /// Every step, by trigger and order.
    ///
    /// # Errors
    /// The database fails.
    pub fn all(conn: &mut Connection) -> Result<Vec<Self>> {
        Ok(steps::table
            .order((steps::trigger_id, steps::position))
            .load(conn)?)
    }

    /// The steps of a trigger, in their order.
    ///
    /// # Errors
    /// The database fails.
    pub fn of_trigger(conn: &mut Connection, trigger: TriggerId) -> Result<Vec<Self>> {
        Ok(steps::table
            .filter(steps::trigger_id.eq(trigger))
            .order(steps::position)
            .load(conn)?)
    }

    /// Replaces the steps of a trigger. Runs keep their own copies, so nothing refers to the old rows.
    ///
    /// # Errors
    /// An action does not exist, a name comes twice, or the database fails.
    pub fn replace_all(conn: &mut Connection, trigger: TriggerId, new: &[NewStep]) -> Result<()> {
        diesel::delete(steps::table.filter(steps::trigger_id.eq(trigger))).execute(conn)?;
        for step in new {
            diesel::insert_into(steps::table)
                .values(step)
                .execute(conn)?;
        }
        Ok(())
    }
}
