//! Which of the things that series are named after exist.

use std::collections::HashSet;

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::{CounterId, JvmProfileId, NodeId, TriggerId};
use crate::schema::{counters, jvm_profiles, nodes, triggers};

/// What exists.
#[derive(Debug)]
pub struct Living {
    /// Of the nodes that were asked about.
    pub nodes: HashSet<NodeId>,
    /// All counters.
    pub counters: HashSet<CounterId>,
    /// All JVM profiles.
    pub jvms: HashSet<JvmProfileId>,
    /// All triggers.
    pub triggers: HashSet<TriggerId>,
}

impl Living {
    /// Looks the nodes up, of which there may be many, and takes all of the rest.
    ///
    /// # Errors
    /// The database fails.
    pub fn among(conn: &mut Connection, nodes: &HashSet<NodeId>) -> Result<Self> {
        let asked = nodes::table.filter(nodes::id.eq_any(nodes));
        let nodes: Vec<NodeId> = asked.select(nodes::id).load(conn)?;
        let counters: Vec<CounterId> = counters::table.select(counters::id).load(conn)?;
        let jvms: Vec<JvmProfileId> = jvm_profiles::table.select(jvm_profiles::id).load(conn)?;
        let triggers: Vec<TriggerId> = triggers::table.select(triggers::id).load(conn)?;
        Ok(Self {
            nodes: nodes.into_iter().collect(),
            counters: counters.into_iter().collect(),
            jvms: jvms.into_iter().collect(),
            triggers: triggers.into_iter().collect(),
        })
    }
}
