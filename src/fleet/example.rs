//! The cluster `this-machine`: something to look at in an empty data folder, and gone with one click.

use std::collections::BTreeSet;

use super::file::FleetFile;
use super::kind::Kind;
use super::load;
use super::plan::Removal;
use super::{Context, apply, lock, parse};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::audit::AuditEvent;
use crate::models::uses::{self, Use};

/// Name of the example's cluster; where it stands, the dashboard offers to remove the example.
pub const EXAMPLE_CLUSTER: &str = "this-machine";

const EXAMPLE: &str = include_str!("example.yaml");

/// The example as a fleet file.
///
/// # Errors
/// Never in a build whose tests passed.
pub fn example() -> Result<FleetFile> {
    parse(EXAMPLE)
}

/// The example as text, with its comments.
pub const fn example_text() -> &'static str {
    EXAMPLE
}

/// Puts the example into an empty database that never had it; says whether it did. Call it in a write transaction.
///
/// # Errors
/// Local counters are not allowed, or the database fails.
pub fn seed_example(conn: &mut Connection, context: &Context) -> Result<bool> {
    lock::definitions(conn)?;
    let is_empty = load::load(conn)?.file == FleetFile::default();
    if !is_empty || !AuditEvent::page(conn, None, Some(&marker()), 1)?.is_empty() {
        return Ok(false);
    }
    apply::apply(conn, context, &example()?, false)?;
    Ok(true)
}

/// Whether anything of the example is there to remove.
///
/// # Errors
/// The database fails.
pub fn has_example(conn: &mut Connection) -> Result<bool> {
    let example = example()?;
    let present = load::load(conn)?;
    Ok(example
        .clusters
        .iter()
        .any(|cluster| present.ids.clusters.get(&cluster.name).is_some()))
}

/// Removes what the example brought, also where it was edited since. Call it in a write transaction.
///
/// # Errors
/// `Conflict` naming what else uses a part of it, or the database fails.
pub fn remove_example(conn: &mut Connection, context: &Context) -> Result<()> {
    lock::definitions(conn)?;
    let example = example()?;
    let present = load::load(conn)?;
    let parts: BTreeSet<(Kind, String)> = example
        .entries()
        .iter()
        .map(|entry| (entry.item.kind(), entry.item.name().to_owned()))
        .collect();
    let standing = present.file.entries();
    let is_part = |kind, name: &str| parts.contains(&(kind, name.to_owned()));
    let strangers: Vec<String> = standing
        .iter()
        .filter(|entry| !is_part(entry.item.kind(), entry.item.name()))
        .filter(|entry| {
            entry.item.references().iter().any(|reference| {
                parts
                    .iter()
                    .any(|(kind, name)| kind.noun() == reference.noun && *name == reference.name)
            })
        })
        .map(|entry| format!("{} \"{}\"", entry.item.kind(), entry.item.name()))
        .collect();
    let mut users = strangers;
    for (noun, name, run) in uses::open_runs(conn)? {
        if parts
            .iter()
            .any(|(kind, part)| kind.noun() == noun && *part == name)
        {
            let open = Use {
                noun: "run",
                name: run.to_string(),
            };
            users.push(open.to_string());
        }
    }
    if !users.is_empty() {
        users.dedup();
        return Err(Error::Conflict(format!(
            "the example is used by {}",
            users.join(", ")
        )));
    }
    for entry in standing.iter().rev() {
        let (kind, name) = (entry.item.kind(), entry.item.name().to_owned());
        if is_part(kind, &name) {
            let before = entry.item.json()?;
            apply::remove(conn, context, &present, &Removal { kind, name, before })?;
        }
    }
    Ok(())
}

/// The audit's word for the example's cluster: once it is there, an empty database was emptied by a person.
fn marker() -> String {
    format!("{} {EXAMPLE_CLUSTER}", Kind::Cluster)
}
