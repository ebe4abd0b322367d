//! What a step knows when it starts: read from the database at that moment, so that a node made by an earlier step is there.

use crate::actions::{Host, Scope};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::node::Node;
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{NodeState, StepState, StepTarget};

/// Reads what `step` knows. A step that already ran (it is being recovered or undone) acts on what it was resolved to then.
pub(super) fn load(
    conn: &mut Connection,
    run: &Run,
    steps: &[StepRun],
    step: &StepRun,
) -> Result<Scope> {
    let mut scope = Scope {
        target: Some(step.target),
        target_name: step.target_name.clone().unwrap_or_default(),
        step_name: step.name.clone(),
        ..Scope::default()
    };
    scope.values.insert("run.id", run.id.to_string());
    scope.values.insert("run.reason", run.reason.clone());
    scope
        .values
        .insert("run.requested_by", run.requested_by.clone());
    for (name, value, thing) in [
        ("cluster.name", &run.cluster_name, "cluster"),
        ("trigger.name", &run.trigger_name, "trigger"),
    ] {
        match value {
            Some(value) => drop(scope.values.insert(name, value.clone())),
            None => {
                let reason = format!("this run belongs to no {thing}");
                scope.absent.insert(name, reason);
            }
        }
    }
    for other in steps.iter().filter(|other| other.id != step.id) {
        let outputs = match other.state {
            StepState::Succeeded => Some(outputs(other)?),
            _ => None,
        };
        scope.steps.insert(other.name.clone(), outputs);
    }
    scope.hosts = nodes(conn, run, step)?
        .into_iter()
        .map(|node| Host {
            node: node.id,
            name: node.name,
            address: node.address,
            ssh_profile: node.ssh_profile_id,
        })
        .collect();
    if step.target == StepTarget::LastNode
        && let [only] = scope.hosts.as_slice()
    {
        scope.target_name.clone_from(&only.name);
    }
    Ok(scope)
}

/// The outputs of a step.
pub(super) fn outputs(step: &StepRun) -> Result<crate::actions::Outputs> {
    serde_json::from_str(&step.outputs).map_err(|cause| {
        Error::internal(
            format!("the outputs of step \"{}\" are damaged", step.name),
            cause,
        )
    })
}

fn nodes(conn: &mut Connection, run: &Run, step: &StepRun) -> Result<Vec<Node>> {
    let of_cluster = |conn: &mut Connection| match run.cluster_id {
        Some(cluster) => Node::of_cluster(conn, cluster),
        None => Err(Error::Conflict(match &run.cluster_name {
            Some(name) => format!("the cluster \"{name}\" does not exist any more"),
            None => "this run belongs to no cluster, so there is nothing to act on".into(),
        })),
    };
    match (step.target, &step.target_name) {
        (StepTarget::None, _) => Ok(Vec::new()),
        (StepTarget::Cluster, _) => {
            let mut nodes = of_cluster(conn)?;
            nodes.retain(|node| node.state == NodeState::InService);
            Ok(nodes)
        }
        // A node that was taken away since is no node to act on; the action says what it makes of that.
        (StepTarget::LastNode | StepTarget::Node, Some(name)) if step.attempt > 0 => {
            by_name(conn, name)
        }
        (StepTarget::LastNode, _) => {
            let mut nodes = of_cluster(conn)?;
            nodes.retain(|node| node.state != NodeState::Draining);
            let last = nodes
                .into_iter()
                .max_by_key(|node| (node.created_ms, node.id));
            match last {
                Some(node) => Ok(vec![node]),
                None => Err(Error::Conflict(format!(
                    "the cluster \"{}\" has no node, so there is no last one",
                    run.cluster_name.as_deref().unwrap_or_default()
                ))),
            }
        }
        (StepTarget::Node, Some(name)) => Node::by_name(conn, name).map(|node| vec![node]),
        (StepTarget::Node, None) => Err(Error::Internal("a step on a node names none".into())),
    }
}

fn by_name(conn: &mut Connection, name: &str) -> Result<Vec<Node>> {
    match Node::by_name(conn, name) {
        Ok(node) => Ok(vec![node]),
        Err(Error::NotFound(_)) => Ok(Vec::new()),
        Err(other) => Err(other),
    }
}
