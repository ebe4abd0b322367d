//! Carries a plan out: rows, secrets and audit events, in the caller's transaction.

use serde_json::{Map, Value as Json};

use super::definitions::{Ec2Profile, SECRET, Trigger};
use super::diff::{Diff, Verb};
use super::file::{FleetFile, Item};
use super::ids::Ids;
use super::kind::Kind;
use super::load::{self, Present};
use super::plan::{self, OwnSecret, Plan, Removal, Write};
use super::{Context, Options, check, document, lock};
use crate::db::Connection;
use crate::error::{Error, Fault, Result};
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::secret::Secret;
use crate::models::step::Step;
use crate::models::{TriggerId, uses};
use crate::models::{
    action, cluster, counter, ec2_profile, jvm_profile, node, ssh_profile, trigger,
};

/// What applying the file would change; writes nothing.
///
/// # Errors
/// `Invalid` with every fault, `Conflict` when pruning would remove what is used, or the database fails.
pub fn plan(
    conn: &mut Connection,
    context: &Context,
    file: &FleetFile,
    prune: bool,
) -> Result<Diff> {
    let options = Options {
        prune,
        dry_run: true,
    };
    run(
        conn,
        context,
        file.clone(),
        check::duplicates(file),
        options,
    )
}

/// Applies the file: adds and changes what it names, by name; with `prune`, removes what it does not name.
/// Call it in a write transaction: after an error nothing of it may stay.
///
/// # Errors
/// As [`plan()`].
pub fn apply(
    conn: &mut Connection,
    context: &Context,
    file: &FleetFile,
    prune: bool,
) -> Result<Diff> {
    let options = Options {
        prune,
        dry_run: false,
    };
    run(
        conn,
        context,
        file.clone(),
        check::duplicates(file),
        options,
    )
}

/// Reads and applies a text, so that faults of the text and faults beside what stands come in one list.
/// Call it in a write transaction: after an error nothing of it may stay.
///
/// # Errors
/// As [`plan()`].
pub fn apply_text(
    conn: &mut Connection,
    context: &Context,
    text: &str,
    options: Options,
) -> Result<Diff> {
    let (file, faults) = document(text);
    run(conn, context, file, faults, options)
}

pub(super) fn run(
    conn: &mut Connection,
    context: &Context,
    mut file: FleetFile,
    mut faults: Vec<Fault>,
    options: Options,
) -> Result<Diff> {
    if !options.dry_run {
        lock::definitions(conn)?;
    }
    let mut present = load::load(conn)?;
    let own = plan::adopt(&mut file, &present);
    let secrets = own.iter().map(|own| own.name.clone()).collect();
    faults.extend(check::faults(
        &present,
        &file,
        &secrets,
        context,
        options.prune,
    ));
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    let plan = plan::make(conn, context, &present, &file, &own, options.prune)?;
    if !options.dry_run {
        execute(conn, context, &mut present, &plan, &own)?;
    }
    Ok(plan.diff)
}

fn execute(
    conn: &mut Connection,
    context: &Context,
    present: &mut Present,
    plan: &Plan<'_>,
    own: &[OwnSecret],
) -> Result<()> {
    for own in own
        .iter()
        .filter(|own| plan.new_secrets.contains(&own.name))
    {
        let id = context
            .vault
            .put(conn, &own.name, &own.secret, context.now_ms)?;
        present.ids.secrets.insert(id, own.name.clone());
    }
    for Write {
        item,
        verb,
        before,
        after,
    } in &plan.writes
    {
        write(conn, item, present, context.now_ms)?;
        audit(
            conn,
            context,
            *verb,
            item.kind(),
            item.name(),
            before.as_ref(),
            Some(after),
        )?;
        drop_own_secret(conn, present, item.kind(), item.name())?;
    }
    for removal in &plan.removals {
        remove(conn, context, present, removal)?;
    }
    Ok(())
}

/// Removes a definition that nothing uses any more.
pub(super) fn remove(
    conn: &mut Connection,
    context: &Context,
    present: &Present,
    removal: &Removal,
) -> Result<()> {
    let Removal { kind, name, before } = removal;
    let ids = &present.ids;
    match kind {
        Kind::SshProfile => ssh_profile::SshProfile::delete(conn, ids.ssh_profiles.id(name)?),
        Kind::JvmProfile => jvm_profile::JvmProfile::delete(conn, ids.jvm_profiles.id(name)?),
        Kind::Ec2Profile => ec2_profile::Ec2Profile::delete(conn, ids.ec2_profiles.id(name)?),
        Kind::Counter => counter::Counter::delete(conn, ids.counters.id(name)?),
        Kind::Cluster => cluster::Cluster::delete(conn, ids.clusters.id(name)?),
        Kind::Node => node::Node::delete(conn, ids.nodes.id(name)?),
        Kind::Action => action::Action::delete(conn, ids.actions.id(name)?),
        Kind::Trigger => trigger::Trigger::delete(conn, ids.triggers.id(name)?),
    }?;
    audit(conn, context, Verb::Pruned, *kind, name, Some(before), None)?;
    drop_own_secret(conn, present, *kind, name)
}

/// Writes a row under its name: the one that has it, or a new one; gives the id.
macro_rules! upsert {
    ($conn:ident, $names:expr, $row:ty, $name:expr, $new:expr) => {{
        let new = $new;
        let insert = |conn: &mut Connection| Ok(<$row>::insert(conn, &new)?.id);
        $names.upsert(
            $conn,
            $name,
            |conn, id| <$row>::update(conn, id, &new),
            insert,
        )?
    }};
}

fn write(conn: &mut Connection, item: &Item<'_>, present: &mut Present, now_ms: i64) -> Result<()> {
    let ids = &mut present.ids;
    match item {
        Item::SshProfile(item) => {
            let new = item.row(ids, now_ms)?;
            upsert!(
                conn,
                ids.ssh_profiles,
                ssh_profile::SshProfile,
                &item.name,
                new
            );
        }
        Item::JvmProfile(item) => {
            let new = item.row(ids, now_ms)?;
            upsert!(
                conn,
                ids.jvm_profiles,
                jvm_profile::JvmProfile,
                &item.name,
                new
            );
        }
        Item::Ec2Profile(item) => write_ec2_profile(conn, item, present, now_ms)?,
        Item::Counter(item) => {
            let new = item.row(now_ms)?;
            upsert!(conn, ids.counters, counter::Counter, &item.name, new);
        }
        Item::Cluster(item) => {
            let row = item.row(now_ms);
            upsert!(conn, ids.clusters, cluster::Cluster, &item.name, row);
        }
        Item::Action(item) => {
            let new = item.row(now_ms);
            upsert!(conn, ids.actions, action::Action, &item.name, new);
        }
        Item::Node(cluster, item) => {
            let new = item.row(cluster, present.nodes.get(&item.name), ids, now_ms)?;
            let id = upsert!(conn, ids.nodes, node::Node, &item.name, new);
            let profiles = item.jvm_profiles.iter();
            let profiles = profiles.map(|name| ids.jvm_profiles.id(name));
            node::set_jvm_profiles(conn, id, &profiles.collect::<Result<Vec<_>>>()?)?;
        }
        Item::Trigger(item) => {
            let new = item.row(ids, now_ms)?;
            let id = upsert!(conn, ids.triggers, trigger::Trigger, &item.name, new);
            write_trigger_parts(conn, id, item, ids)?;
        }
    }
    Ok(())
}

/// Notes another access key, with which EC2 may be asked as another account from now on.
fn write_ec2_profile(
    conn: &mut Connection,
    item: &Ec2Profile,
    present: &mut Present,
    now_ms: i64,
) -> Result<()> {
    let ids = &mut present.ids;
    let new = item.row(ids, now_ms)?;
    let id = upsert!(
        conn,
        ids.ec2_profiles,
        ec2_profile::Ec2Profile,
        &item.name,
        new
    );
    let mut standing = present.file.ec2_profiles.iter();
    let before = standing.find(|before| before.name == item.name);
    if before.is_some_and(|before| before.access_key_id != item.access_key_id) {
        ec2_profile::Ec2Profile::note_access_change(conn, id, now_ms)?;
    }
    Ok(())
}

fn write_trigger_parts(
    conn: &mut Connection,
    id: TriggerId,
    item: &Trigger,
    ids: &Ids,
) -> Result<()> {
    let counters = item.counters.iter().map(|name| ids.counters.id(name));
    trigger::set_counters(conn, id, &counters.collect::<Result<Vec<_>>>()?)?;
    let steps = (1..)
        .zip(&item.steps)
        .map(|(position, step)| step.row(id, position, ids));
    Step::replace_all(conn, id, &steps.collect::<Result<Vec<_>>>()?)
}

/// Forgets the secret that once stood in a profile's own text, as soon as no profile refers to it.
fn drop_own_secret(
    conn: &mut Connection,
    present: &Present,
    kind: Kind,
    profile: &str,
) -> Result<()> {
    let names = match kind {
        Kind::SshProfile => vec![
            format!("ssh_profile.{profile}.private_key"),
            format!("ssh_profile.{profile}.passphrase"),
        ],
        Kind::JvmProfile => vec![format!("jvm_profile.{profile}.password")],
        Kind::Ec2Profile => vec![format!("ec2_profile.{profile}.secret_access_key")],
        _ => return Ok(()),
    };
    for name in names {
        if let Some(id) = present.ids.secrets.get(&name)
            && uses::of_secret(conn, id)?.is_empty()
        {
            Secret::delete(conn, id)?;
            tracing::info!(secret.name = %name, "{SECRET} removed: nothing uses it any more");
        }
    }
    Ok(())
}

fn audit(
    conn: &mut Connection,
    context: &Context,
    verb: Verb,
    kind: Kind,
    name: &str,
    before: Option<&Map<String, Json>>,
    after: Option<&Map<String, Json>>,
) -> Result<()> {
    let text =
        |state: Option<&Map<String, Json>>| state.map(|map| Json::Object(map.clone()).to_string());
    AuditEvent::record(
        conn,
        &NewAuditEvent {
            at_ms: context.now_ms,
            actor: context.actor.clone(),
            via: context.via,
            verb: match verb {
                Verb::Created => "created",
                Verb::Changed => "changed",
                Verb::Pruned => "deleted",
            }
            .to_owned(),
            object: format!("{kind} {name}"),
            before: text(before),
            after: text(after),
        },
    )
}
