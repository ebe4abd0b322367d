//! What is wrong now: the first thing on the dashboard, and the number in every window's title.

use std::collections::BTreeMap;

use crate::actions;
use crate::jobs::schedule::{self, Role, WORKER_DEAD_AFTER_MS};
use crate::models::decision::Decision;
use crate::models::node::Node;
use crate::models::step_run::StepRun;
use crate::models::trigger::Trigger;
use crate::models::{NodeId, NodeState, RunState};
use crate::triggers::outage;
use crate::web::pages::now::{Gathered, Item};
use crate::web::pages::standing::{self, STALE_PERIODS, Standing};
use crate::web::pages::{breaker, lines};
use crate::web::view::{Badge, Status, duration, plural, relative};

/// More silent nodes of a cluster than this become one line.
const SILENT_SHOWN: usize = 5;

/// Everything that is wrong: what stops Headroom itself first, then what it watches.
pub fn items(
    gathered: &Gathered,
    standings: &[Standing],
    badges: &BTreeMap<NodeId, Badge>,
) -> Vec<Item> {
    let mut found = Vec::new();
    found.extend(store(gathered));
    found.extend(workers(gathered));
    found.extend(tasks(gathered));
    found.extend(stuck(gathered));
    found.extend(approvals(gathered));
    found.extend(triggers(gathered));
    found.extend(short(gathered));
    found.extend(breaker::items(gathered));
    found.extend(mass_loss(gathered, badges));
    found.extend(instances(gathered));
    found.extend(host_keys(gathered));
    if gathered.store_fault.is_none() {
        found.extend(silent(gathered, standings, badges));
    }
    found
}

fn item(badge: Badge, subject: impl Into<String>, href: impl Into<String>, text: String) -> Item {
    Item {
        badge,
        subject: subject.into(),
        href: href.into(),
        text,
        at_ms: None,
    }
}

fn store(gathered: &Gathered) -> Option<Item> {
    let fault = gathered.store_fault.as_ref()?;
    let text = format!("{fault}. Nothing is decided on samples that cannot be read.");
    Some(item(
        Status::Firing.says("down"),
        "Sample store",
        "/tasks",
        text,
    ))
}

/// Machines that cost money for nothing, and nodes that stand for nothing.
fn instances(gathered: &Gathered) -> Option<Item> {
    let first = gathered.findings.first()?;
    let more = match gathered.findings.len() - 1 {
        0 => String::new(),
        more => format!(", and {} more", plural(more, "finding")),
    };
    let name = first.instance_id.as_ref().or(first.node_name.as_ref());
    let text = format!(
        "{} {}: {}{more}",
        first.kind,
        name.map_or("", String::as_str),
        first.detail
    );
    Some(Item {
        at_ms: Some(first.first_seen_ms),
        ..item(
            Status::Firing.says(first.kind.as_str()),
            "Instances",
            "/instances",
            text,
        )
    })
}

/// A role that no living process has.
fn workers(gathered: &Gathered) -> Vec<Item> {
    let lives = |role: Role| {
        gathered.workers.iter().any(|worker| {
            gathered.now_ms.saturating_sub(worker.seen_ms) <= WORKER_DEAD_AFTER_MS
                && worker
                    .roles
                    .split(',')
                    .any(|had| had.trim() == role.as_str())
        })
    };
    let last_seen_ms = gathered.workers.iter().map(|worker| worker.seen_ms).max();
    let missing: Vec<&str> = [Role::Collect, Role::Evaluate, Role::Run]
        .into_iter()
        .filter(|role| !lives(*role))
        .map(Role::as_str)
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let text = format!(
        "no living process has the role {}: start `headroom serve`",
        missing.join(", ")
    );
    vec![Item {
        at_ms: last_seen_ms,
        ..item(Status::Firing.says("dead"), "Workers", "/tasks", text)
    }]
}

fn tasks(gathered: &Gathered) -> Vec<Item> {
    let mut found = Vec::new();
    for task in &gathered.tasks {
        if task.succeeded == Some(false) {
            found.push(Item {
                at_ms: task.finished_ms,
                ..item(
                    Status::Firing.says("failed"),
                    format!("Task {}", task.name),
                    "/tasks",
                    task.result.clone(),
                )
            });
        }
        let late_ms = gathered
            .now_ms
            .saturating_sub(task.started_ms.unwrap_or(gathered.now_ms));
        let is_tick = task.name == schedule::TICK.name;
        if is_tick && late_ms > STALE_PERIODS.saturating_mul(gathered.tick_ms) {
            let text = format!("no tick for {}", duration(late_ms / 1000));
            found.push(Item {
                at_ms: task.started_ms,
                ..item(Status::Firing.says("late"), "Ticks", "/tasks", text)
            });
        }
    }
    found
}

fn stuck(gathered: &Gathered) -> Vec<Item> {
    let stuck = gathered
        .open
        .iter()
        .filter(|run| run.state == RunState::Stuck);
    stuck
        .map(|run| {
            let about = run.trigger_name.as_ref().or(run.cluster_name.as_ref());
            let about = about.map_or_else(String::new, |name| format!(" of {name}"));
            let step = gathered
                .steps
                .iter()
                .filter(|step| step.run_id == run.id)
                .find_map(|step| Some((&step.name, step.error.as_ref()?)));
            let text = match step {
                Some((name, error)) => format!("a person must decide about step {name}: {error}"),
                None => "a person must decide how it goes on".to_owned(),
            };
            Item {
                at_ms: run.finished_ms.or(run.started_ms).or(Some(run.created_ms)),
                ..item(
                    Status::Firing.says("stuck"),
                    format!("Run {}{about}", run.id),
                    format!("/runs/{}", run.id),
                    text,
                )
            }
        })
        .collect()
}

/// Steps that a person must approve before they begin.
fn approvals(gathered: &Gathered) -> Vec<Item> {
    let waits = |step: &StepRun| {
        let run = gathered.open.iter().find(|run| run.id == step.run_id)?;
        let until_ms = step.waits_until_ms()?;
        let about = run.trigger_name.as_ref().or(run.cluster_name.as_ref());
        let about = about.map_or_else(String::new, |name| format!(" of {name}"));
        let text = format!(
            "approve or refuse step {}: {}; it fails if nobody does {}",
            step.name,
            actions::summary(&step.kind, &step.settings),
            relative(until_ms, gathered.now_ms)
        );
        Some(item(
            Status::Pending.says("waits for you"),
            format!("Run {}{about}", run.id),
            format!("/runs/{}#step-{}", run.id, step.id),
            text,
        ))
    };
    gathered.steps.iter().filter_map(waits).collect()
}

fn triggers(gathered: &Gathered) -> Vec<Item> {
    let stands = |trigger: &Trigger, latest: Option<&Decision>| {
        standing::trigger(trigger, latest, gathered.tick_ms, gathered.now_ms)
    };
    gathered
        .inventory
        .triggers
        .iter()
        .map(|trigger| (trigger, stands(trigger, gathered.latest.get(&trigger.id))))
        .filter(|(_, standing)| standing.badge.status == Status::Firing)
        .map(|(trigger, standing)| Item {
            at_ms: standing.since_ms,
            ..item(
                standing.badge,
                format!("Trigger {}", trigger.name),
                format!("/triggers/{}", trigger.name),
                standing.reason,
            )
        })
        .collect()
}

/// Clusters with fewer nodes in service than they must have.
fn short(gathered: &Gathered) -> Vec<Item> {
    let mut found = Vec::new();
    for cluster in &gathered.inventory.clusters {
        let nodes = gathered.inventory.nodes_of(cluster.id);
        let in_service = nodes
            .filter(|node| node.state == NodeState::InService)
            .count();
        if lines::is_short(cluster, in_service) {
            let text = format!(
                "{} in service, {} at least are needed",
                plural(in_service, "node"),
                cluster.min_nodes
            );
            found.push(item(
                Status::Firing.says("too few"),
                format!("Cluster {}", cluster.name),
                format!("/clusters/{}", cluster.name),
                text,
            ));
        }
    }
    found
}

fn host_keys(gathered: &Gathered) -> Vec<Item> {
    let way = |node: &Node| {
        let way = node.ssh_profile_id.and_then(|id| gathered.ways.get(&id));
        way.map_or("", String::as_str)
    };
    gathered
        .offered
        .iter()
        .map(|key| {
            let node = gathered
                .inventory
                .nodes
                .iter()
                .find(|node| node.address == key.address && way(node) == key.through);
            let (subject, href) = match node {
                Some(node) => (
                    format!("Node {}", node.name),
                    format!("/nodes/{}#host-keys", node.name),
                ),
                None => (format!("Host {}", key.address), "/clusters".to_owned()),
            };
            Item {
                at_ms: Some(key.seen_ms),
                ..item(
                    Status::Firing.says("host key"),
                    subject,
                    href,
                    format!(
                        "shows another {} host key than the accepted one; nothing is run there until a person accepts it",
                        key.key_type
                    ),
                )
            }
        })
        .collect()
}

/// Nodes that fell silent together: hardly their own fault.
fn mass_loss(gathered: &Gathered, badges: &BTreeMap<NodeId, Badge>) -> Option<Item> {
    let mut heard_ms: BTreeMap<NodeId, i64> = BTreeMap::new();
    for (series, state) in gathered.series.iter().zip(&gathered.states) {
        if let Some(last) = state.as_ref().and_then(|state| state.last) {
            let newest_ms = heard_ms.entry(series.node).or_insert(last.tick_ms);
            *newest_ms = last.tick_ms.max(*newest_ms);
        }
    }
    let in_service = gathered
        .inventory
        .nodes
        .iter()
        .filter(|node| node.state == NodeState::InService && heard_ms.contains_key(&node.id));
    let (silent, answering): (Vec<_>, Vec<_>) = in_service.partition(|node| {
        let badge = badges.get(&node.id);
        badge.is_some_and(|badge| badge.status == Status::NoData)
    });
    let last_heard_ms: Vec<i64> = silent
        .iter()
        .filter_map(|node| heard_ms.get(&node.id).copied())
        .collect();
    let window_ms = gathered.tick_ms.saturating_mul(2);
    let (nodes, at_ms) = outage::together(&last_heard_ms, answering.len(), window_ms)?;
    let text = format!(
        "{} fell silent together, {} still answer: this looks like an outage of the network or of Headroom's host, not of the nodes. \
         Removals wait until enough of them are fresh again.",
        plural(nodes, "node"),
        answering.len()
    );
    Some(Item {
        at_ms: Some(at_ms),
        ..item(
            Status::Firing.says("outage"),
            "Collection",
            "/clusters",
            text,
        )
    })
}

/// Nodes none of whose series answers, per cluster.
fn silent(
    gathered: &Gathered,
    standings: &[Standing],
    badges: &BTreeMap<NodeId, Badge>,
) -> Vec<Item> {
    let mut why: BTreeMap<NodeId, Vec<&Standing>> = BTreeMap::new();
    for (series, standing) in gathered.series.iter().zip(standings) {
        why.entry(series.node).or_default().push(standing);
    }
    // What has not been read yet is new, not silent.
    let is_new = |it: &&Standing| it.reason == "not read yet";
    let silent = |id: &NodeId| {
        why.get(id).is_some_and(|all| {
            all.iter().all(|it| it.badge.status == Status::NoData) && !all.iter().all(is_new)
        })
    };
    let mut found = Vec::new();
    for cluster in &gathered.inventory.clusters {
        let nodes: Vec<_> = gathered
            .inventory
            .nodes_of(cluster.id)
            .filter(|node| silent(&node.id))
            .filter(|node| {
                badges
                    .get(&node.id)
                    .is_some_and(|badge| badge.status == Status::NoData)
            })
            .collect();
        for node in nodes.iter().take(SILENT_SHOWN) {
            let first = why.get(&node.id).and_then(|all| all.first());
            found.push(Item {
                at_ms: first.and_then(|it| it.since_ms),
                ..item(
                    Status::NoData.says("silent"),
                    format!("Node {}", node.name),
                    format!("/nodes/{}", node.name),
                    first.map_or_else(String::new, |it| it.reason.clone()),
                )
            });
        }
        if nodes.len() > SILENT_SHOWN {
            let more = nodes.len() - SILENT_SHOWN;
            found.push(item(
                Status::NoData.says("silent"),
                format!("Cluster {}", cluster.name),
                format!("/clusters/{}?sort=-status", cluster.name),
                format!("{} more give no data", plural(more, "node")),
            ));
        }
    }
    found
}
