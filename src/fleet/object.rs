//! One definition at a time, as JSON of the same shape as in the file: what the API offers. Reading, checking and writing are those of the file.

use serde_json::{Map, Value as Json};

use super::definitions::{
    Action, Cluster, Counter, Ec2Profile, JvmProfile, Node, SshProfile, Trigger,
};
use super::diff::Verb;
use super::file::{FleetFile, Item};
use super::kind::Kind;
use super::load::{self, Present};
use super::plan::Removal;
use super::reader::Object;
use super::value::Value;
use super::{Context, Options, apply, check, lock};
use crate::db::Connection;
use crate::error::{Error, Fault, Result};
use crate::models::uses::{self, Use};

/// Every definition of a kind, by name.
///
/// # Errors
/// The database fails.
pub fn list(conn: &mut Connection, kind: Kind) -> Result<Vec<Json>> {
    let present = load::load(conn)?;
    let mut found = present.file.entries();
    found.retain(|entry| entry.item.kind() == kind);
    found.sort_by(|one, other| one.item.name().cmp(other.item.name()));
    found.iter().map(|entry| whole(&entry.item)).collect()
}

/// One definition.
///
/// # Errors
/// `NotFound`, or the database fails.
pub fn get(conn: &mut Connection, kind: Kind, name: &str) -> Result<Json> {
    let present = load::load(conn)?;
    whole(&find(&present, kind, name)?)
}

/// Creates or changes a definition. A name in the body must be `name`. Nodes of a cluster's body are added or changed; those it leaves out stay.
/// Call it in a write transaction: after an error nothing of it may stay.
///
/// # Errors
/// `Invalid` with every fault, or the database fails.
pub fn put(
    conn: &mut Connection,
    context: &Context,
    kind: Kind,
    name: &str,
    body: &Json,
) -> Result<Option<Verb>> {
    let mut faults = Vec::new();
    let mut body = body.clone();
    if let Json::Object(map) = &mut body {
        let given = map.entry("name").or_insert_with(|| name.into());
        if given.as_str() != Some(name) {
            let message =
                format!("must be \"{name}\" as in the address; a definition keeps its name");
            faults.push(Fault::new("name", message));
            *given = name.into();
        }
    }
    write(conn, context, kind, name, body, faults)
}

/// Creates a definition; gives its name back.
/// Call it in a write transaction: after an error nothing of it may stay.
///
/// # Errors
/// `Conflict` when the name is taken, else as [`put`].
pub fn create(conn: &mut Connection, context: &Context, kind: Kind, body: &Json) -> Result<String> {
    lock::definitions(conn)?;
    let name = body.get("name").and_then(Json::as_str).unwrap_or_default();
    let present = load::load(conn)?;
    if find(&present, kind, name).is_ok() {
        return Err(Error::Conflict(format!(
            "there is a {kind} \"{name}\" already"
        )));
    }
    write(conn, context, kind, name, body.clone(), Vec::new())?;
    Ok(name.to_owned())
}

/// Removes a definition that nothing uses.
/// Call it in a write transaction: after an error nothing of it may stay.
///
/// # Errors
/// `NotFound`, `Conflict` naming every user, or the database fails.
pub fn delete(conn: &mut Connection, context: &Context, kind: Kind, name: &str) -> Result<()> {
    lock::definitions(conn)?;
    let present = load::load(conn)?;
    let before = find(&present, kind, name)?.json()?;
    if kind == Kind::Node && present.is_kept(name) {
        return Err(Error::Conflict(format!(
            "node \"{name}\" was launched by Headroom or is being added or removed; an action takes it away, so that no machine is forgotten"
        )));
    }
    let users = users(conn, &present, kind, name)?;
    if !users.is_empty() {
        let list: Vec<_> = users.iter().map(Use::to_string).collect();
        return Err(Error::Conflict(format!(
            "{kind} \"{name}\" is used by {}",
            list.join(", ")
        )));
    }
    let name = name.to_owned();
    apply::remove(conn, context, &present, &Removal { kind, name, before })
}

fn users(conn: &mut Connection, present: &Present, kind: Kind, name: &str) -> Result<Vec<Use>> {
    let ids = &present.ids;
    match kind {
        Kind::SshProfile => uses::of_ssh_profile(conn, ids.ssh_profiles.id(name)?, name),
        Kind::JvmProfile => uses::of_jvm_profile(conn, ids.jvm_profiles.id(name)?, name),
        Kind::Ec2Profile => uses::of_ec2_profile(conn, ids.ec2_profiles.id(name)?, name),
        Kind::Counter => uses::of_counter(conn, ids.counters.id(name)?, name),
        Kind::Cluster => uses::of_cluster(conn, ids.clusters.id(name)?),
        Kind::Node => uses::of_node(conn, name),
        Kind::Action => uses::of_action(conn, ids.actions.id(name)?),
        Kind::Trigger => Ok(Vec::new()),
    }
}

fn find<'a>(present: &'a Present, kind: Kind, name: &str) -> Result<Item<'a>> {
    let entries = present.file.entries();
    let found = entries
        .into_iter()
        .find(|entry| entry.item.kind() == kind && entry.item.name() == name);
    found
        .map(|entry| entry.item)
        .ok_or_else(|| Error::NotFound(format!("{kind} \"{name}\"")))
}

/// As in the file, a cluster with its nodes.
fn whole(item: &Item<'_>) -> Result<Json> {
    let mut map = item.json()?;
    if let Item::Cluster(cluster) = item {
        let nodes: Vec<_> = cluster
            .nodes
            .iter()
            .map(|node| {
                let mut node = Item::Node(&cluster.name, node).json()?;
                node.remove("cluster");
                Ok(Json::Object(node))
            })
            .collect::<Result<_>>()?;
        map.insert("nodes".into(), nodes.into());
    }
    Ok(Json::Object(map))
}

fn write(
    conn: &mut Connection,
    context: &Context,
    kind: Kind,
    name: &str,
    body: Json,
    mut faults: Vec<Fault>,
) -> Result<Option<Verb>> {
    let file = single(kind, body, &mut faults);
    faults.extend(check::duplicates(&file));
    let options = Options::default();
    let diff = apply::run(conn, context, file, faults, options).map_err(|error| match error {
        Error::Invalid(faults) => Error::Invalid(without_section(kind, faults)),
        other => other,
    })?;
    let mut changes = diff.changes.into_iter();
    let change = changes.find(|change| change.kind == kind && change.name == name);
    Ok(change.map(|change| change.verb))
}

/// A file with nothing but this.
fn single(kind: Kind, body: Json, faults: &mut Vec<Fault>) -> FleetFile {
    fn one<T>(
        body: &Value,
        faults: &mut Vec<Fault>,
        read: impl FnOnce(&mut Object<'_>) -> T,
    ) -> Vec<T> {
        vec![Object::read(body, String::new(), faults, read)]
    }
    let body = &Value::from(body);
    let mut file = FleetFile::default();
    match kind {
        Kind::SshProfile => file.ssh_profiles = one(body, faults, SshProfile::read),
        Kind::JvmProfile => file.jvm_profiles = one(body, faults, JvmProfile::read),
        Kind::Ec2Profile => file.ec2_profiles = one(body, faults, Ec2Profile::read),
        Kind::Counter => file.counters = one(body, faults, Counter::read),
        Kind::Cluster => file.clusters = one(body, faults, Cluster::read),
        Kind::Node => {
            file.loose_nodes = one(body, faults, |object| {
                (object.required_name("cluster"), Node::read(object))
            });
        }
        Kind::Action => file.actions = one(body, faults, Action::read),
        Kind::Trigger => file.triggers = one(body, faults, Trigger::read),
    }
    file
}

/// Paths from the body on, instead of from the file it stood in for a moment.
fn without_section(kind: Kind, faults: Vec<Fault>) -> Vec<Fault> {
    let prefix = format!("{}[0].", kind.section());
    let shorten = |fault: Fault| Fault {
        path: fault
            .path
            .strip_prefix(&prefix)
            .map_or(fault.path.clone(), str::to_owned),
        message: fault.message.replace(&prefix, ""),
    };
    faults.into_iter().map(shorten).collect()
}

/// The plain map of a definition, for whoever shows its fields.
///
/// # Errors
/// As [`get`].
pub fn fields(conn: &mut Connection, kind: Kind, name: &str) -> Result<Map<String, Json>> {
    find(&load::load(conn)?, kind, name)?.json()
}
