//! Which node goes, and whether it may: decided in one transaction, so that two removals never take what one may take.

use chrono::Utc;

use crate::actions::{Attempt, capacity_change};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::cluster::Cluster;
use crate::models::former_node::FormerNode;
use crate::models::hold::Hold;
use crate::models::node::{NewNode, Node};
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{
    HoldScope, NodeId, NodeState, RunId, StepState, StepTarget, node_claim, to_ms,
};

/// Between reading a cluster's nodes for a step and writing down that it has begun, nothing takes longer.
const RESOLVING_MS: i64 = 60_000;

/// What is to go.
#[derive(Debug, Clone)]
pub struct Removal {
    pub cluster: String,
    /// The nodes that may go, those to go first before the others.
    pub order: Vec<NodeId>,
    pub token: String,
    /// The run that removes; its own steps do not stand in its way.
    pub run: String,
}

/// A node that is taken out.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub node: Node,
    pub instance_id: String,
    /// Whether an earlier attempt with the same token had begun.
    pub resumed: bool,
}

impl Leaving {
    fn of(node: Node, resumed: bool) -> Result<Self> {
        match node.instance_id.clone() {
            Some(instance_id) if node.ec2_profile_id.is_some() => Ok(Self {
                node,
                instance_id,
                resumed,
            }),
            _ => Err(Error::Conflict(format!(
                "{} was not launched by Headroom, so there is no instance to terminate; take it out of the fleet file",
                node.name
            ))),
        }
    }
}

/// Takes the first node that may go out of service, for the step of a token; gives the one that the token took before.
///
/// # Errors
/// None may go; the message says why.
pub async fn begin(attempt: &Attempt, removal: Removal) -> Result<Leaving> {
    let write = move |conn: &mut Connection| {
        if let Some(node) = node_claim::node_of(conn, &removal.token)? {
            return Leaving::of(node, true);
        }
        if let Some(former) = FormerNode::by_token(conn, &removal.token)? {
            return Err(Error::Conflict(format!(
                "this step has removed {} already",
                former.name
            )));
        }
        let now_ms = to_ms(Utc::now());
        let cluster = Cluster::by_name(conn, &removal.cluster)?;
        enough(conn, &cluster, 1)?;
        let node = choose(conn, &removal, now_ms)?;
        let leaving = Leaving::of(node, false)?;
        let node = &leaving.node;
        let new = NewNode {
            state: NodeState::Draining,
            updated_ms: now_ms,
            ..node.as_new()
        };
        Node::update(conn, node.id, &new)?;
        node_claim::insert(conn, node.id, &removal.token)?;
        Ok(leaving)
    };
    attempt.write(write).await
}

/// Whether the node may still be terminated: it is the step's, nobody else is at work on it, and the cluster has enough others.
///
/// # Errors
/// It may not; the message says why.
pub async fn still(attempt: &Attempt) -> Result<()> {
    let token = attempt.token.clone();
    let write = move |conn: &mut Connection| {
        let node = node_claim::node_of(conn, &token)?.ok_or_else(|| {
            Error::Conflict("the node of this step was taken away meanwhile".into())
        })?;
        if node.state != NodeState::Draining {
            return Err(Error::Conflict(format!(
                "{} is {} again",
                node.name, node.state
            )));
        }
        if let Some(hold) = held(conn, &node.name, to_ms(Utc::now()))? {
            return Err(hold);
        }
        let own = run_of(conn, &token)?;
        if let Some(busy) = busy(conn, &node, &own)? {
            return Err(busy);
        }
        let cluster = Cluster::find(conn, node.cluster_id)?;
        enough(conn, &cluster, 0)
    };
    attempt.write(write).await
}

/// The instances that removals which began before this one take away: they serve no longer than it takes to drain them.
///
/// # Errors
/// The database fails.
pub async fn going_before(attempt: &Attempt) -> Result<Vec<String>> {
    let token = attempt.token.clone();
    let read = move |conn: &mut Connection| node_claim::leaving_before(conn, &token);
    let nodes = attempt.tools.db.read(read).await?.into_iter();
    Ok(nodes.filter_map(|node| node.instance_id).collect())
}

/// Puts a node back into service that was not terminated.
///
/// # Errors
/// `Conflict` when another worker has the run; or the database fails.
pub async fn stays(attempt: &Attempt) -> Result<()> {
    let token = attempt.token.clone();
    let write = move |conn: &mut Connection| {
        let Some(node) = node_claim::node_of(conn, &token)? else {
            return Ok(());
        };
        let new = NewNode {
            state: NodeState::InService,
            updated_ms: to_ms(Utc::now()),
            ..node.as_new()
        };
        Node::update(conn, node.id, &new)?;
        node_claim::delete(conn, &token)
    };
    attempt.write(write).await
}

/// Whether the cluster keeps `min_nodes` in service when so many more go.
fn enough(conn: &mut Connection, cluster: &Cluster, going: usize) -> Result<()> {
    // Held until the end of the transaction: a second removal counts after this one.
    let cluster = Cluster::lock(conn, cluster.id)?;
    let nodes = Node::of_cluster(conn, cluster.id)?;
    let serving = nodes
        .iter()
        .filter(|node| node.state == NodeState::InService)
        .count();
    let min = usize::try_from(cluster.min_nodes).unwrap_or(0);
    if serving < min + going {
        return Err(Error::Conflict(format!(
            "cluster \"{}\" has {serving} nodes in service and min_nodes is {min}, so none may go",
            cluster.name
        )));
    }
    Ok(())
}

fn choose(conn: &mut Connection, removal: &Removal, now_ms: i64) -> Result<Node> {
    let mut refusals = Vec::new();
    for id in &removal.order {
        let node = match Node::find(conn, *id) {
            Ok(node) => node,
            Err(Error::NotFound(_)) => continue,
            Err(other) => return Err(other),
        };
        let refusal = if node.state != NodeState::InService {
            Some(Error::Conflict(format!("{} is {}", node.name, node.state)))
        } else if let Some(hold) = held(conn, &node.name, now_ms)? {
            Some(hold)
        } else {
            busy(conn, &node, &removal.run)?
        };
        match refusal {
            None => return Ok(node),
            Some(refusal) => refusals.push(refusal.to_string()),
        }
    }
    Err(Error::Conflict(if refusals.is_empty() {
        format!(
            "cluster \"{}\" has no node in service that Headroom launched",
            removal.cluster
        )
    } else {
        format!("no node may go: {}", refusals.join("; "))
    }))
}

fn held(conn: &mut Connection, node: &str, now_ms: i64) -> Result<Option<Error>> {
    let holds = Hold::active(conn, now_ms)?;
    let hold = holds
        .into_iter()
        .find(|hold| hold.scope == HoldScope::Node && hold.scope_name.as_deref() == Some(node));
    Ok(hold.map(|hold| {
        Error::Conflict(format!(
            "{node} is held by {}: {}",
            hold.author, hold.reason
        ))
    }))
}

/// Another run that is at work on the node: by its name, as the one that launched it, or on the whole cluster.
fn busy(conn: &mut Connection, node: &Node, own: &str) -> Result<Option<Error>> {
    let mut open = Run::open(conn)?;
    open.retain(|run| run.id.to_string() != own);
    let ids: Vec<_> = open.iter().map(|run| run.id).collect();
    let here = |run: RunId| {
        let mut of_cluster = open.iter();
        of_cluster.any(|open| open.id == run && open.cluster_id == Some(node.cluster_id))
    };
    let claims = node_claim::of_node(conn, node.id)?;
    let mut steps = StepRun::of_runs(conn, &ids)?.into_iter();
    let at_work = steps.find(|step| match step.target {
        _ if step.token.as_ref().is_some_and(|it| claims.contains(it)) => true,
        StepTarget::Node | StepTarget::LastNode => step.target_name.as_ref() == Some(&node.name),
        StepTarget::Cluster => here(step.run_id) && is_on_all_nodes(step, node),
        StepTarget::None => false,
    });
    Ok(at_work.map(|step| {
        Error::Conflict(format!(
            "run {} is at work on {} (step \"{}\")",
            step.run_id, node.name, step.name
        ))
    }))
}

/// Whether a step on the whole cluster is under way and may act on this node. One that began well after the node was taken out of service
/// was given the nodes without it; one that launches or removes has a claim on its node.
fn is_on_all_nodes(step: &StepRun, node: &Node) -> bool {
    let under_way = matches!(step.state, StepState::Started | StepState::Undoing);
    let without_it = node.state == NodeState::Draining
        && step
            .started_ms
            .is_some_and(|at_ms| at_ms > node.updated_ms.saturating_add(RESOLVING_MS));
    under_way && !without_it && capacity_change(&step.kind) == 0
}

/// The run whose open step has this token.
fn run_of(conn: &mut Connection, token: &str) -> Result<String> {
    let open: Vec<_> = Run::open(conn)?.into_iter().map(|run| run.id).collect();
    let mut steps = StepRun::of_runs(conn, &open)?.into_iter();
    let own = steps.find(|step| step.token.as_deref() == Some(token));
    Ok(own.map_or_else(String::new, |step| step.run_id.to_string()))
}
