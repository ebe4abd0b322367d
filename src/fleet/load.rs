//! The whole fleet out of the database, in a fixed number of queries however large it is.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;

use super::definitions::{
    Action, Cluster, Counter, Ec2Profile, JvmProfile, Node, SECRET, SshProfile, Step, Trigger,
};
use super::file::FleetFile;
use super::ids::{Ids, Names};
use super::kind::Kind;
use crate::db::Connection;
use crate::error::Result;
use crate::models::secret::Secret;
use crate::models::{
    NodeState, action, cluster, counter, ec2_profile, jvm_profile, node, ssh_profile, step, trigger,
};

/// What stands in the database.
#[derive(Debug)]
pub(super) struct Present {
    pub file: FleetFile,
    pub ids: Ids,
    /// The rows of the nodes, by name, for what the file does not say of them.
    pub nodes: BTreeMap<String, node::Node>,
}

impl Present {
    /// Whether Headroom itself keeps a node, rather than a file: it launched it, or is about to add or remove it.
    pub fn is_kept(&self, node: &str) -> bool {
        self.nodes
            .get(node)
            .is_some_and(|row| row.instance_id.is_some() || row.state != NodeState::InService)
    }

    /// The EC2 profile through which the instance of a node is reached that Headroom launched, launches or removes.
    pub fn reached_by(&self, node: &str) -> Option<String> {
        let row = self.nodes.get(node).filter(|_| self.is_kept(node))?;
        self.ids.ec2_profiles.name(row.ec2_profile_id?).ok()
    }
}

pub(super) fn load(conn: &mut Connection) -> Result<Present> {
    let ssh_profiles = ssh_profile::SshProfile::all(conn)?;
    let jvm_profiles = jvm_profile::JvmProfile::all(conn)?;
    let ec2_profiles = ec2_profile::Ec2Profile::all(conn)?;
    let counters = counter::Counter::all(conn)?;
    let clusters = cluster::Cluster::all(conn)?;
    let nodes = node::Node::all(conn)?;
    let actions = action::Action::all(conn)?;
    let triggers = trigger::Trigger::all(conn)?;
    let ids = Ids {
        secrets: Names::new(SECRET, Secret::names(conn)?),
        ssh_profiles: names(Kind::SshProfile, &ssh_profiles, |row| (row.id, &row.name)),
        jvm_profiles: names(Kind::JvmProfile, &jvm_profiles, |row| (row.id, &row.name)),
        ec2_profiles: names(Kind::Ec2Profile, &ec2_profiles, |row| (row.id, &row.name)),
        counters: names(Kind::Counter, &counters, |row| (row.id, &row.name)),
        clusters: names(Kind::Cluster, &clusters, |row| (row.id, &row.name)),
        nodes: names(Kind::Node, &nodes, |row| (row.id, &row.name)),
        actions: names(Kind::Action, &actions, |row| (row.id, &row.name)),
        triggers: names(Kind::Trigger, &triggers, |row| (row.id, &row.name)),
    };
    let file = FleetFile {
        ssh_profiles: typed(ssh_profiles, |row| SshProfile::from_row(row, &ids))?,
        jvm_profiles: typed(jvm_profiles, |row| JvmProfile::from_row(row, &ids))?,
        ec2_profiles: typed(ec2_profiles, |row| Ec2Profile::from_row(row, &ids))?,
        counters: typed(counters, Counter::from_row)?,
        clusters: with_nodes(conn, clusters, &nodes, &ids)?,
        actions: typed(actions, Action::from_row)?,
        triggers: with_steps(conn, triggers, &ids)?,
        loose_nodes: Vec::new(),
    };
    let nodes = nodes.into_iter().map(|row| (row.name.clone(), row));
    Ok(Present {
        file,
        ids,
        nodes: nodes.collect(),
    })
}

fn with_nodes(
    conn: &mut Connection,
    clusters: Vec<cluster::Cluster>,
    nodes: &[node::Node],
    ids: &Ids,
) -> Result<Vec<Cluster>> {
    let pairs = node::jvm_profiles_of_nodes(conn)?;
    let mut profiles = grouped(pairs, |id| ids.jvm_profiles.name(id))?;
    let mut by_cluster: HashMap<_, Vec<Node>> = HashMap::new();
    for row in nodes {
        let of_node = profiles.remove(&row.id).unwrap_or_default();
        let node = Node::from_row(row, of_node, ids)?;
        by_cluster.entry(row.cluster_id).or_default().push(node);
    }
    typed(clusters, |row| {
        let nodes = by_cluster.remove(&row.id).unwrap_or_default();
        Ok(Cluster {
            nodes,
            ..Cluster::from_row(row)
        })
    })
}

fn with_steps(
    conn: &mut Connection,
    triggers: Vec<trigger::Trigger>,
    ids: &Ids,
) -> Result<Vec<Trigger>> {
    let pairs = trigger::counters_of_triggers(conn)?;
    let mut counters = grouped(pairs, |id| ids.counters.name(id))?;
    let rows = step::Step::all(conn)?.into_iter();
    let pairs = rows.map(|row| (row.trigger_id, row)).collect();
    let mut steps = grouped(pairs, |row| Step::from_row(row, ids))?;
    typed(triggers, |row| {
        let counters = counters.remove(&row.id).unwrap_or_default();
        let steps = steps.remove(&row.id).unwrap_or_default();
        Trigger::from_row(row, counters, steps, ids)
    })
}

fn names<Row, Id: Copy + Eq + Hash + fmt::Display>(
    kind: Kind,
    rows: &[Row],
    pair: impl Fn(&Row) -> (Id, &String),
) -> Names<Id> {
    let pairs = rows.iter().map(|row| {
        let (id, name) = pair(row);
        (id, name.clone())
    });
    Names::new(kind.noun(), pairs)
}

fn typed<Row, T>(rows: Vec<Row>, from_row: impl FnMut(Row) -> Result<T>) -> Result<Vec<T>> {
    rows.into_iter().map(from_row).collect()
}

fn grouped<Id: Eq + Hash, Row, T>(
    pairs: Vec<(Id, Row)>,
    from_row: impl Fn(Row) -> Result<T>,
) -> Result<HashMap<Id, Vec<T>>> {
    let mut groups: HashMap<Id, Vec<T>> = HashMap::new();
    for (id, row) in pairs {
        groups.entry(id).or_default().push(from_row(row)?);
    }
    Ok(groups)
}
