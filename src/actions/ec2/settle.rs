//! What a person does about a finding: adopt, forget, or have the instance reaped by a run. Each in one transaction, with an audit event.

use serde_json::json;

use super::rows::free_name;
use crate::actions::plan::{Plan, RunTarget, plan_action};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::action::Action;
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::cluster::Cluster;
use crate::models::decision::Decision;
use crate::models::ec2_profile::Ec2Profile;
use crate::models::finding::Finding;
use crate::models::former_node::FormerNode;
use crate::models::node::{NewNode, Node};
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{ActionId, FindingId, FindingKind, NodeState, SshProfileId, Via};

/// Who settles a finding.
#[derive(Debug, Clone)]
pub struct Settler {
    /// The person.
    pub actor: String,
    /// By which way.
    pub via: Via,
    /// Now, ms.
    pub now_ms: i64,
}

/// What a finding's instance and address are, as EC2 says it at the moment of adoption.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// The instance.
    pub instance_id: String,
    /// The address that becomes the node's.
    pub address: String,
}

/// Has a node stand for the instance of a finding; gives the node's name. A new node logs in like its cluster's others.
///
/// # Errors
/// `Conflict` where there is nothing to adopt; the message says what to do instead.
pub fn adopt(
    conn: &mut Connection,
    id: FindingId,
    adopted: &Adopted,
    settler: &Settler,
) -> Result<String> {
    let finding = Finding::find(conn, id)?;
    if let Some(node) = node_of_instance(conn, &adopted.instance_id)?
        && finding.node_name.as_ref() != Some(&node.name)
    {
        return Err(Error::Conflict(format!(
            "{} stands for {} already",
            node.name, adopted.instance_id
        )));
    }
    let name = match finding.kind {
        FindingKind::Orphan => add(conn, &finding, adopted, settler)?,
        FindingKind::Replaced | FindingKind::Moved | FindingKind::Unfinished => {
            let node = node_of(conn, &finding)?;
            let new = NewNode {
                instance_id: Some(adopted.instance_id.clone()),
                address: adopted.address.clone(),
                state: NodeState::InService,
                updated_ms: settler.now_ms,
                ..node.as_new()
            };
            Node::update(conn, node.id, &new)?;
            node.name
        }
        FindingKind::Ghost | FindingKind::Stopped => {
            return Err(Error::Conflict(format!(
                "there is no running instance to adopt: {}",
                finding.detail
            )));
        }
    };
    let after =
        json!({"node": name, "instance_id": adopted.instance_id, "address": adopted.address});
    close(conn, &finding, "adopt", after, settler)?;
    Ok(name)
}

fn add(
    conn: &mut Connection,
    finding: &Finding,
    adopted: &Adopted,
    settler: &Settler,
) -> Result<String> {
    let cluster = Cluster::by_name(conn, &finding.cluster_name)?;
    let cluster = Cluster::lock(conn, cluster.id)?;
    let all = Node::all(conn)?;
    let taken: Vec<_> = all.iter().map(|node| node.name.clone()).collect();
    let name = match &finding.node_name {
        Some(name) if !taken.contains(name) => name.clone(),
        _ => free_name(&cluster.name, &taken)?,
    };
    let new = NewNode {
        ssh_profile_id: Some(login(&all, &cluster)?),
        ec2_profile_id: Some(finding.ec2_profile_id),
        instance_id: Some(adopted.instance_id.clone()),
        ..NewNode::in_service(&name, cluster.id, &adopted.address, settler.now_ms)
    };
    Node::insert(conn, &new)?;
    Ok(name)
}

/// How the cluster's other nodes are logged in to.
fn login(nodes: &[Node], cluster: &Cluster) -> Result<SshProfileId> {
    let mut here = nodes.iter().filter(|node| node.cluster_id == cluster.id);
    here.find_map(|node| node.ssh_profile_id).ok_or_else(|| {
        Error::Conflict(format!(
            "cluster \"{}\" has no node whose SSH profile the adopted one could use; reap the instance, or name it in the fleet file",
            cluster.name
        ))
    })
}

/// Takes the row of a node away that no instance stands behind.
///
/// # Errors
/// `Conflict` where an instance is there that would be forgotten.
pub fn forget(conn: &mut Connection, id: FindingId, settler: &Settler) -> Result<String> {
    let finding = Finding::find(conn, id)?;
    let gone = finding.kind == FindingKind::Ghost
        || (finding.kind == FindingKind::Unfinished && finding.instance_id.is_none());
    if !gone {
        return Err(Error::Conflict(format!(
            "an instance is there, so it is not forgotten: {}; adopt it or have it reaped",
            finding.detail
        )));
    }
    let node = node_of(conn, &finding)?;
    FormerNode::keep(
        conn,
        &node,
        None,
        &format!("forgotten by {}: {}", settler.actor, finding.detail),
        settler.now_ms,
    )?;
    close(
        conn,
        &finding,
        "forget",
        json!({"node": node.name}),
        settler,
    )?;
    Ok(node.name)
}

/// What the action is called that terminates an instance of a finding.
pub(super) fn reaping(instance: &str) -> String {
    format!("reap {instance}")
}

/// The run that terminates the instance of a finding, to be inserted and driven as any other.
///
/// # Errors
/// `Conflict` where there is no instance.
pub fn reap(conn: &mut Connection, id: FindingId, settler: &Settler) -> Result<Plan> {
    // Of two who reap the same instance at once, the second sees the first one's run.
    Decision::lock_ledger(conn)?;
    let finding = Finding::find(conn, id)?;
    let instance = finding
        .instance_id
        .clone()
        .filter(|_| finding.kind != FindingKind::Ghost);
    let Some(instance) = instance else {
        return Err(Error::Conflict(format!(
            "there is no instance to reap: {}; forget the node",
            finding.detail
        )));
    };
    let profile = Ec2Profile::find(conn, finding.ec2_profile_id)?;
    let name = reaping(&instance);
    let open: Vec<_> = Run::open(conn)?.into_iter().map(|run| run.id).collect();
    let mut steps = StepRun::of_runs(conn, &open)?.into_iter();
    if let Some(step) = steps.find(|step| step.action_name == name) {
        return Err(Error::Conflict(format!(
            "run {} is at it already",
            step.run_id
        )));
    }
    let action = Action {
        id: ActionId(0),
        name,
        kind: "RemoveEc2Node".into(),
        settings: json!({"instance_id": instance, "ec2_profile": profile.name}).to_string(),
        timeout_secs: None,
        retries: None,
        updated_ms: settler.now_ms,
    };
    let reason = format!("reap {instance}: {}", finding.detail);
    let plan = plan_action(
        conn,
        &action,
        &RunTarget::None,
        &settler.actor,
        &reason,
        settler.now_ms,
    )?;
    audit(
        conn,
        &finding,
        "reap",
        json!({"instance_id": instance}),
        settler,
    )?;
    Ok(plan)
}

fn node_of(conn: &mut Connection, finding: &Finding) -> Result<Node> {
    Node::by_name(conn, finding.node_name.as_deref().unwrap_or_default())
}

fn node_of_instance(conn: &mut Connection, id: &str) -> Result<Option<Node>> {
    let all = Node::all(conn)?.into_iter();
    let mut with = all.filter(|node| node.instance_id.as_deref() == Some(id));
    Ok(with.next())
}

fn close(
    conn: &mut Connection,
    finding: &Finding,
    verb: &str,
    after: serde_json::Value,
    settler: &Settler,
) -> Result<()> {
    Finding::delete(conn, finding.id)?;
    audit(conn, finding, verb, after, settler)
}

fn audit(
    conn: &mut Connection,
    finding: &Finding,
    verb: &str,
    after: serde_json::Value,
    settler: &Settler,
) -> Result<()> {
    let object = match (&finding.node_name, &finding.instance_id) {
        (Some(name), _) if finding.kind != FindingKind::Orphan => format!("node {name}"),
        (_, Some(id)) => format!("instance {id}"),
        _ => format!("finding {}", finding.id),
    };
    let before = json!({"finding": finding.kind.as_str(), "detail": finding.detail});
    AuditEvent::record(
        conn,
        &NewAuditEvent {
            at_ms: settler.now_ms,
            actor: settler.actor.clone(),
            via: settler.via,
            verb: verb.to_owned(),
            object,
            before: Some(before.to_string()),
            after: Some(after.to_string()),
        },
    )
}
