//! What can only be seen of a file as a whole, and beside what stands already.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Context;
use super::definitions::{SECRET, Source, Trigger};
use super::file::{Entry, FleetFile, Item};
use super::kind::Kind;
use super::load::Present;
use crate::actions;
use crate::config::nearest;
use crate::error::Fault;
use crate::models::{NodeState, StepTarget};

/// Names that come twice within a kind; nodes across all clusters.
pub(super) fn duplicates(file: &FleetFile) -> Vec<Fault> {
    let entries = file.entries();
    let mut first: HashMap<(Kind, &str), &str> = HashMap::new();
    let mut faults = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.item.name().is_empty()) {
        let key = (entry.item.kind(), entry.item.name());
        if let Some(place) = first.get(&key) {
            let message = format!("\"{}\" is the name of {place} already", entry.item.name());
            faults.push(Fault::new(format!("{}.name", entry.path), message));
        } else {
            first.insert(key, &entry.path);
        }
    }
    faults
}

/// Everything that does not fit what stands already, or the settings that Headroom runs with.
pub(super) fn faults(
    present: &Present,
    file: &FleetFile,
    new_secrets: &BTreeSet<String>,
    context: &Context,
    prune: bool,
) -> Vec<Fault> {
    let entries = file.entries();
    let mut faults = dangling(present, &entries, new_secrets, prune);
    for entry in &entries {
        against_settings(entry, context, &mut faults);
        against_life_cycle(entry, present, &mut faults);
        against_instances(entry, present, &mut faults);
    }
    faults.extend(targets(present, &entries, prune));
    faults
}

fn dangling(
    present: &Present,
    entries: &[Entry<'_>],
    new_secrets: &BTreeSet<String>,
    prune: bool,
) -> Vec<Fault> {
    let mut named: BTreeSet<(&str, &str)> = entries
        .iter()
        .map(|entry| (entry.item.kind().noun(), entry.item.name()))
        .collect();
    named.extend(new_secrets.iter().map(|name| (SECRET, name.as_str())));
    named.extend(present.ids.secrets.names().map(|name| (SECRET, name)));
    let standing = present.file.entries();
    let standing: BTreeSet<(&str, &str)> = standing
        .iter()
        .map(|entry| (entry.item.kind().noun(), entry.item.name()))
        .collect();

    let mut faults = Vec::new();
    for entry in entries {
        for reference in entry.item.references() {
            let key = (reference.noun, reference.name.as_str());
            // An empty name was a fault of its own already.
            if reference.name.is_empty() || named.contains(&key) {
                continue;
            }
            let message = if !standing.contains(&key) {
                let known = named
                    .union(&standing)
                    .filter(|(noun, _)| *noun == reference.noun);
                missing(
                    reference.noun,
                    &reference.name,
                    known.map(|(_, name)| *name),
                )
            } else if prune {
                format!(
                    "{} \"{}\" is not in this file, and pruning would remove it",
                    reference.noun, reference.name
                )
            } else {
                continue;
            };
            faults.push(Fault::new(
                format!("{}.{}", entry.path, reference.path),
                message,
            ));
        }
    }
    faults
}

fn missing<'a>(noun: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    match nearest(name, known) {
        Some(near) => format!("there is no {noun} \"{name}\"; did you mean \"{near}\"?"),
        None => format!("there is no {noun} \"{name}\""),
    }
}

fn against_settings(entry: &Entry<'_>, context: &Context, faults: &mut Vec<Fault>) {
    const OWN_HOST: &str = "which is only allowed while Headroom listens on loopback alone, or with HEADROOM_ALLOW_LOCAL=true";
    match entry.item {
        Item::Counter(counter) => {
            if let Some(every) = counter
                .every
                .filter(|every| every.0 % context.tick_secs.max(1) != 0)
            {
                let tick = context.tick_secs;
                let message = format!(
                    "is {} s, which is no multiple of the tick ({tick} s)",
                    every.0
                );
                faults.push(Fault::new(format!("{}.every", entry.path), message));
            }
            if matches!(counter.source, Source::Local { .. }) && !context.allow_local {
                let message = format!("a local counter runs on Headroom's own host, {OWN_HOST}");
                faults.push(Fault::new(format!("{}.kind", entry.path), message));
            }
        }
        Item::Action(action) if actions::on_own_host(&action.kind) && !context.allow_local => {
            let kind = &action.kind;
            let message = format!("a {kind} starts programs on Headroom's own host, {OWN_HOST}");
            faults.push(Fault::new(format!("{}.kind", entry.path), message));
        }
        Item::Node(_, node) if node.is_own_host() && !context.allow_local => {
            let message =
                format!("localhost without an ssh_profile is Headroom's own host, {OWN_HOST}");
            faults.push(Fault::new(format!("{}.address", entry.path), message));
        }
        _ => {}
    }
}

fn against_life_cycle(entry: &Entry<'_>, present: &Present, faults: &mut Vec<Fault>) {
    let Item::Node(cluster, node) = entry.item else {
        return;
    };
    let Some(row) = present.nodes.get(&node.name) else {
        return;
    };
    let moved = present.ids.clusters.get(cluster) != Some(row.cluster_id);
    if moved && row.state != NodeState::InService {
        let message = format!(
            "node \"{}\" is {} and cannot move to another cluster now",
            node.name, row.state
        );
        faults.push(Fault::new(format!("{}.name", entry.path), message));
    }
}

/// What would have instances looked for where they are not. The access key may change, since keys are rotated; where EC2 then does not know
/// an instance, that is not believed.
fn against_instances(entry: &Entry<'_>, present: &Present, faults: &mut Vec<Fault>) {
    match entry.item {
        Item::Ec2Profile(profile) => {
            let mut standing = present.file.ec2_profiles.iter();
            let Some(before) = standing.find(|before| before.name == profile.name) else {
                return;
            };
            let names = present.nodes.keys().map(String::as_str);
            let nodes: Vec<_> = names
                .filter(|node| present.reached_by(node).as_ref() == Some(&profile.name))
                .collect();
            if nodes.is_empty() {
                return;
            }
            for (field, changes) in [
                ("region", before.region != profile.region),
                ("endpoint_url", before.endpoint_url != profile.endpoint_url),
                ("role_arn", before.role_arn != profile.role_arn),
            ] {
                if changes {
                    let message = format!(
                        "cannot change while the instances of {} are reached by it: they would be looked for where they are not; define another profile for new launches, or remove these nodes first",
                        few(&nodes)
                    );
                    faults.push(Fault::new(format!("{}.{field}", entry.path), message));
                }
            }
        }
        Item::Node(_, node) => {
            let Some(by) = present.reached_by(&node.name) else {
                return;
            };
            if node.ec2_profile.as_ref() != Some(&by) {
                let message = format!(
                    "must stay \"{by}\": its instance was launched from that, and would be looked for where it is not"
                );
                faults.push(Fault::new(format!("{}.ec2_profile", entry.path), message));
            }
        }
        _ => {}
    }
}

/// The first names of a list, and how many more there are.
fn few(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let first: Vec<_> = names.iter().copied().take(SHOWN).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Steps whose action cannot act on their target: those of the file, and those of standing triggers whose action the file changes.
fn targets(present: &Present, entries: &[Entry<'_>], prune: bool) -> Vec<Fault> {
    let standing = present.file.actions.iter();
    let mut actions: BTreeMap<&str, (&str, Option<&str>)> = standing
        .map(|action| (action.name.as_str(), (action.kind.as_str(), None)))
        .collect();
    let mut in_file = BTreeSet::new();
    for entry in entries {
        match entry.item {
            Item::Action(action) => {
                actions.insert(&action.name, (&action.kind, Some(&entry.path)));
            }
            Item::Trigger(trigger) => {
                in_file.insert(trigger.name.as_str());
            }
            _ => {}
        }
    }
    let mut faults = Vec::new();
    for entry in entries {
        if let Item::Trigger(trigger) = entry.item {
            for (index, message, _) in wrong_targets(trigger, &actions) {
                faults.push(Fault::new(
                    format!("{}.steps[{index}].target", entry.path),
                    message,
                ));
            }
        }
    }
    let standing = present.file.triggers.iter();
    for trigger in standing.filter(|trigger| !prune && !in_file.contains(trigger.name.as_str())) {
        for (_, message, place) in wrong_targets(trigger, &actions) {
            if let Some(place) = place {
                let message = format!("trigger \"{}\" uses it: {message}", trigger.name);
                faults.push(Fault::new(format!("{place}.kind"), message));
            }
        }
    }
    faults
}

fn wrong_targets<'a>(
    trigger: &Trigger,
    actions: &BTreeMap<&str, (&str, Option<&'a str>)>,
) -> Vec<(usize, String, Option<&'a str>)> {
    let mut found = Vec::new();
    for (index, step) in trigger.steps.iter().enumerate() {
        let Some((kind, place)) = actions.get(step.action.as_str()) else {
            continue;
        };
        // A node as a target is for running a single action.
        let allowed = actions::allowed_targets(kind).iter();
        let allowed: Vec<_> = allowed
            .filter(|target| **target != StepTarget::Node)
            .collect();
        if !allowed.is_empty() && !allowed.contains(&&step.target) {
            let words: Vec<_> = allowed.iter().map(|target| target.as_str()).collect();
            let message = format!(
                "must be {} for an action of kind {kind}, not {}",
                words.join(" or "),
                step.target
            );
            found.push((index, message, *place));
        }
    }
    found
}
