//! Which id has which name: the file speaks in names, the rows in ids.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::{
    ActionId, ClusterId, CounterId, Ec2ProfileId, JvmProfileId, NodeId, SecretId, SshProfileId,
    TriggerId,
};

/// The names of one table.
#[derive(Debug)]
pub(super) struct Names<Id> {
    noun: &'static str,
    by_name: HashMap<String, Id>,
    by_id: HashMap<Id, String>,
}

impl<Id: Copy + Eq + Hash + fmt::Display> Names<Id> {
    pub fn new(noun: &'static str, pairs: impl IntoIterator<Item = (Id, String)>) -> Self {
        let mut names = Self {
            noun,
            by_name: HashMap::new(),
            by_id: HashMap::new(),
        };
        for (id, name) in pairs {
            names.insert(id, name);
        }
        names
    }

    pub fn insert(&mut self, id: Id, name: String) {
        self.by_name.insert(name.clone(), id);
        self.by_id.insert(id, name);
    }

    pub fn get(&self, name: &str) -> Option<Id> {
        self.by_name.get(name).copied()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The id of a name that was checked before; its absence is a fault of ours.
    pub fn id(&self, name: &str) -> Result<Id> {
        self.get(name)
            .ok_or_else(|| Error::Internal(format!("{} \"{name}\" has no row", self.noun)))
    }

    pub fn id_if(&self, name: Option<&str>) -> Result<Option<Id>> {
        name.map(|name| self.id(name)).transpose()
    }

    pub fn name(&self, id: Id) -> Result<String> {
        let name = self.by_id.get(&id).cloned();
        name.ok_or_else(|| Error::Internal(format!("{} {id} has no row", self.noun)))
    }

    pub fn name_if(&self, id: Option<Id>) -> Result<Option<String>> {
        id.map(|id| self.name(id)).transpose()
    }

    /// Writes a row: the one that has the name, or a new one.
    pub fn upsert(
        &mut self,
        conn: &mut Connection,
        name: &str,
        update: impl FnOnce(&mut Connection, Id) -> Result<()>,
        insert: impl FnOnce(&mut Connection) -> Result<Id>,
    ) -> Result<Id> {
        if let Some(id) = self.get(name) {
            return update(conn, id).map(|()| id);
        }
        let id = insert(conn)?;
        self.insert(id, name.to_owned());
        Ok(id)
    }
}

/// The names of every table.
#[derive(Debug)]
pub(super) struct Ids {
    pub secrets: Names<SecretId>,
    pub ssh_profiles: Names<SshProfileId>,
    pub jvm_profiles: Names<JvmProfileId>,
    pub ec2_profiles: Names<Ec2ProfileId>,
    pub counters: Names<CounterId>,
    pub clusters: Names<ClusterId>,
    pub nodes: Names<NodeId>,
    pub actions: Names<ActionId>,
    pub triggers: Names<TriggerId>,
}
