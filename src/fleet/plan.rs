//! Holds a checked file against what stands: what comes, changes, goes, and what may not go.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value as Json};

use super::Context;
use super::definitions::Reference;
use super::diff::{Change, Diff, FieldChange, Verb};
use super::file::{Entry, FleetFile, Item};
use super::kind::Kind;
use super::load::Present;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::uses;

/// A secret that stands in the file and moves to the vault.
pub(super) struct OwnSecret {
    pub kind: Kind,
    pub profile: String,
    pub field: &'static str,
    /// Its name in the vault.
    pub name: String,
    pub secret: SecretString,
}

/// Puts references in the place of secrets, and gives launched nodes back what a file need not say of them.
pub(super) fn adopt(file: &mut FleetFile, present: &Present) -> Vec<OwnSecret> {
    give_back(file, present);
    take_secrets(file)
}

fn take_secrets(file: &mut FleetFile) -> Vec<OwnSecret> {
    let mut found = Vec::new();
    for profile in &mut file.ssh_profiles {
        if let Some(inline) = profile.passphrase.take() {
            let name = profile.own_secret("passphrase");
            profile.passphrase_secret = Some(name.clone());
            found.push(OwnSecret {
                kind: Kind::SshProfile,
                profile: profile.name.clone(),
                field: "passphrase",
                name,
                secret: inline.0,
            });
        }
        if let Some(inline) = profile.private_key.take() {
            let name = profile.own_secret("private_key");
            profile.private_key_secret = Some(name.clone());
            found.push(OwnSecret {
                kind: Kind::SshProfile,
                profile: profile.name.clone(),
                field: "private_key",
                name,
                secret: inline.0,
            });
        }
    }
    for profile in &mut file.jvm_profiles {
        if let Some(inline) = profile.password.take() {
            let name = profile.own_secret();
            profile.password_secret = Some(name.clone());
            found.push(OwnSecret {
                kind: Kind::JvmProfile,
                profile: profile.name.clone(),
                field: "password",
                name,
                secret: inline.0,
            });
        }
    }
    for profile in &mut file.ec2_profiles {
        if let Some(inline) = profile.secret_access_key.take() {
            let name = profile.own_secret();
            profile.secret_access_key_secret = Some(name.clone());
            found.push(OwnSecret {
                kind: Kind::Ec2Profile,
                profile: profile.name.clone(),
                field: "secret_access_key",
                name,
                secret: inline.0,
            });
        }
    }
    found
}

fn give_back(file: &mut FleetFile, present: &Present) {
    let in_clusters = file
        .clusters
        .iter_mut()
        .flat_map(|cluster| &mut cluster.nodes);
    let loose = file.loose_nodes.iter_mut().map(|(_, node)| node);
    for node in in_clusters
        .chain(loose)
        .filter(|node| node.ec2_profile.is_none())
    {
        let kept = present.is_kept(&node.name);
        let launched = present.nodes.get(&node.name).filter(|_| kept);
        let profile = launched.and_then(|row| row.ec2_profile_id);
        node.ec2_profile = profile.and_then(|id| present.ids.ec2_profiles.name(id).ok());
    }
}

/// What is to be done.
pub(super) struct Plan<'a> {
    pub diff: Diff,
    /// Definitions to write, users after what they use.
    pub writes: Vec<Write<'a>>,
    /// Definitions to remove, users before what they use.
    pub removals: Vec<Removal>,
    /// Which of the file's secrets the vault does not hold yet, by name.
    pub new_secrets: BTreeSet<String>,
}

/// A definition to write.
pub(super) struct Write<'a> {
    pub item: Item<'a>,
    pub verb: Verb,
    pub before: Option<Map<String, Json>>,
    pub after: Map<String, Json>,
}

/// A definition to remove.
pub(super) struct Removal {
    pub kind: Kind,
    pub name: String,
    pub before: Map<String, Json>,
}

/// Compares; asks the vault about secrets in the file, and the journal about what is to go.
pub(super) fn make<'a>(
    conn: &mut Connection,
    context: &Context,
    present: &Present,
    file: &'a FleetFile,
    own: &[OwnSecret],
    prune: bool,
) -> Result<Plan<'a>> {
    let mut standing = BTreeMap::new();
    let present_entries = present.file.entries();
    for entry in &present_entries {
        let key = (entry.item.kind(), entry.item.name());
        standing.insert(key, entry.item.json()?);
    }
    let mut plan = Plan {
        diff: Diff::default(),
        writes: Vec::new(),
        removals: Vec::new(),
        new_secrets: new_secrets(conn, context, present, own),
    };
    for Entry { item, .. } in file.entries() {
        let before = standing.remove(&(item.kind(), item.name()));
        plan.add(item, before, own)?;
    }
    if prune {
        let gone = standing.into_iter().map(|((kind, name), before)| Removal {
            kind,
            name: name.to_owned(),
            before,
        });
        let kept = plan.prune(gone, present);
        refuse_used(conn, &plan, &kept, &present_entries)?;
    }
    Ok(plan)
}

impl<'a> Plan<'a> {
    fn add(
        &mut self,
        item: Item<'a>,
        before: Option<Map<String, Json>>,
        own: &[OwnSecret],
    ) -> Result<()> {
        let mut after = item.json()?;
        let mut fields = before
            .as_ref()
            .map_or_else(Vec::new, |before| FieldChange::between(before, &after));
        for secret in own {
            let is_here = secret.kind == item.kind() && secret.profile == item.name();
            if is_here && self.new_secrets.contains(&secret.name) {
                after.insert(secret.field.into(), "changed".into());
                fields.push(FieldChange::secret(secret.field));
            }
        }
        let verb = match before {
            None => Verb::Created,
            Some(_) if fields.is_empty() => {
                self.diff.unchanged += 1;
                return Ok(());
            }
            Some(_) => Verb::Changed,
        };
        self.diff.changes.push(Change {
            verb,
            kind: item.kind(),
            name: item.name().to_owned(),
            fields: if verb == Verb::Created {
                Vec::new()
            } else {
                fields
            },
        });
        self.writes.push(Write {
            item,
            verb,
            before,
            after,
        });
        Ok(())
    }

    /// Gives back the names of the nodes that stay although the file does not name them.
    fn prune(
        &mut self,
        gone: impl DoubleEndedIterator<Item = Removal>,
        present: &Present,
    ) -> BTreeSet<String> {
        let mut kept = BTreeSet::new();
        for removal in gone.rev() {
            if removal.kind == Kind::Node && present.is_kept(&removal.name) {
                let why =
                    "Headroom launched it or is adding or removing it; an action takes it away";
                self.diff.kept.push(format!("node {}: {why}", removal.name));
                kept.insert(removal.name);
                continue;
            }
            self.diff.changes.push(Change {
                verb: Verb::Pruned,
                kind: removal.kind,
                name: removal.name.clone(),
                fields: Vec::new(),
            });
            self.removals.push(removal);
        }
        kept
    }
}

/// Refuses to remove what a kept node or an open run still needs. Definitions of the file name nothing that goes: that was checked.
fn refuse_used(
    conn: &mut Connection,
    plan: &Plan<'_>,
    kept: &BTreeSet<String>,
    standing: &[Entry<'_>],
) -> Result<()> {
    let gone: BTreeSet<_> = plan
        .removals
        .iter()
        .map(|removal| (removal.kind.noun(), removal.name.as_str()))
        .collect();
    let mut refusals = Vec::new();
    let kept = standing
        .iter()
        .filter(|entry| entry.item.kind() == Kind::Node && kept.contains(entry.item.name()));
    for entry in kept {
        for Reference { noun, name, .. } in entry.item.references() {
            if gone.contains(&(noun, name.as_str())) {
                let node = entry.item.name();
                refusals.push(format!("{noun} \"{name}\" is used by node \"{node}\""));
            }
        }
    }
    if !gone.is_empty() {
        for (noun, name, run) in uses::open_runs(conn)? {
            if gone.contains(&(noun, name.as_str())) {
                refusals.push(format!(
                    "{noun} \"{name}\" is used by run \"{run}\", which is not over"
                ));
            }
        }
    }
    if refusals.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "nothing was pruned: {}",
        refusals.join("; ")
    )))
}

/// A secret that cannot be read counts as new: setting it anew is what heals it.
fn new_secrets(
    conn: &mut Connection,
    context: &Context,
    present: &Present,
    own: &[OwnSecret],
) -> BTreeSet<String> {
    let is_new = |own: &&OwnSecret| {
        present.ids.secrets.get(&own.name).is_none_or(|id| {
            !context
                .vault
                .get(conn, id)
                .is_ok_and(|held| held.expose_secret() == own.secret.expose_secret())
        })
    };
    own.iter()
        .filter(is_new)
        .map(|own| own.name.clone())
        .collect()
}
