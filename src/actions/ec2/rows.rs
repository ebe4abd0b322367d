//! The life of a launched node in the database: each change one transaction, each safe to repeat with the same token.

use chrono::Utc;

use crate::actions::Attempt;
use crate::db::{Connection, Db};
use crate::error::{Error, Result};
use crate::models::cluster::Cluster;
use crate::models::former_node::FormerNode;
use crate::models::jvm_profile::JvmProfile;
use crate::models::node::{self, NewNode, Node};
use crate::models::ssh_profile::SshProfile;
use crate::models::{Ec2ProfileId, NodeState, installation, node_claim, to_ms};

/// Names that are counted with two digits before a third is needed.
const TWO_DIGITS: u32 = 99;
const MOST_NODES: u32 = 999;

/// What becomes a node.
#[derive(Debug, Clone)]
pub struct NewLaunch {
    pub cluster: String,
    pub ssh_profile: String,
    pub jvm_profiles: Vec<String>,
    pub ec2_profile: Ec2ProfileId,
    pub token: String,
}

/// A node that is being launched.
pub struct Launching {
    pub node: Node,
    /// Whether an earlier attempt with the same token had begun.
    pub resumed: bool,
    /// Which Headroom the instance belongs to.
    pub site: String,
    /// Where its sshd will listen.
    pub ssh_port: u16,
}

/// Adds the node that a step launches, `provisioning`, under the lowest free name; gives the one that the step's token added before.
///
/// # Errors
/// The cluster is full, a name does not exist any more, the node was taken away meanwhile, or another worker has the run.
pub async fn begin_launch(attempt: &Attempt, new: NewLaunch) -> Result<Launching> {
    let write = move |conn: &mut Connection| {
        let profile = SshProfile::by_name(conn, &new.ssh_profile)?;
        let site = installation::tag(conn)?;
        let present = node_claim::node_of(conn, &new.token)?;
        let resumed = present.is_some();
        let node = match present {
            Some(node) => node,
            None => add(conn, &new, &profile)?,
        };
        let ssh_port = u16::try_from(profile.port).unwrap_or(22);
        Ok(Launching {
            node,
            resumed,
            site,
            ssh_port,
        })
    };
    attempt.write(write).await
}

fn add(conn: &mut Connection, new: &NewLaunch, profile: &SshProfile) -> Result<Node> {
    if let Some(former) = FormerNode::by_token(conn, &new.token)? {
        return Err(Error::Conflict(format!(
            "node \"{}\" of this step was taken away meanwhile: {}",
            former.name, former.reason
        )));
    }
    let cluster = Cluster::by_name(conn, &new.cluster)?;
    let cluster = Cluster::lock(conn, cluster.id)?;
    let size = Node::of_cluster(conn, cluster.id)?
        .iter()
        .filter(|node| node.state != NodeState::Draining)
        .count();
    if let Some(max) = cluster.max_nodes
        && size >= usize::try_from(max).unwrap_or(0)
    {
        return Err(Error::Conflict(format!(
            "cluster \"{}\" has {size} nodes, those being launched among them, and max_nodes is {max}",
            cluster.name
        )));
    }
    let taken: Vec<String> = Node::all(conn)?.into_iter().map(|node| node.name).collect();
    let now_ms = to_ms(Utc::now());
    let node = Node::insert(
        conn,
        &NewNode {
            name: free_name(&cluster.name, &taken)?,
            cluster_id: cluster.id,
            // Not known yet; a node that is provisioning is not read.
            address: String::new(),
            ssh_profile_id: Some(profile.id),
            ec2_profile_id: Some(new.ec2_profile),
            instance_id: None,
            state: NodeState::Provisioning,
            created_ms: now_ms,
            updated_ms: now_ms,
        },
    )?;
    let jvms = new.jvm_profiles.iter();
    let jvms = jvms.map(|name| Ok(JvmProfile::by_name(conn, name)?.id));
    let jvms = jvms.collect::<Result<Vec<_>>>()?;
    node::set_jvm_profiles(conn, node.id, &jvms)?;
    node_claim::insert(conn, node.id, &new.token)?;
    Ok(node)
}

/// The cluster's name and the lowest number that no node has.
pub fn free_name(cluster: &str, taken: &[String]) -> Result<String> {
    (1..=MOST_NODES)
        .map(|number| {
            if number <= TWO_DIGITS {
                format!("{cluster}{number:02}")
            } else {
                format!("{cluster}{number:03}")
            }
        })
        .find(|name| !taken.contains(name))
        .ok_or_else(|| {
            Error::Conflict(format!(
                "all names from {cluster}01 to {cluster}{MOST_NODES} are taken"
            ))
        })
}

/// What a launch finds out about its node.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub instance_id: Option<String>,
    pub address: Option<String>,
    pub state: Option<NodeState>,
}

/// Notes what was found out about a node that the step of `token` works on.
///
/// # Errors
/// `Conflict`: the node was taken away meanwhile, or another worker has the run.
pub async fn note(attempt: &Attempt, found: Found) -> Result<Node> {
    let token = attempt.token.clone();
    let write = move |conn: &mut Connection| {
        let node = node_claim::node_of(conn, &token)?.ok_or_else(|| {
            Error::Conflict("the node of this step was taken away meanwhile".into())
        })?;
        let new = NewNode {
            instance_id: found.instance_id.or_else(|| node.instance_id.clone()),
            address: found.address.unwrap_or_else(|| node.address.clone()),
            state: found.state.unwrap_or(node.state),
            updated_ms: to_ms(Utc::now()),
            ..node.as_new()
        };
        Node::update(conn, node.id, &new)?;
        Node::find(conn, node.id)
    };
    attempt.write(write).await
}

/// Takes the row of a step's node away and keeps what it was. Does nothing when it is gone already.
///
/// # Errors
/// `Conflict` when another worker has the run; or the database fails.
pub async fn gone(attempt: &Attempt, reason: &str) -> Result<()> {
    take_away(attempt, reason, |_| true).await
}

/// As [`gone`] for a launch that was refused; a node that has an instance meanwhile stays.
///
/// # Errors
/// `Conflict` when it stays, or another worker has the run; or the database fails.
pub async fn refused(attempt: &Attempt, reason: &str) -> Result<()> {
    let bare = |node: &Node| node.state == NodeState::Provisioning && node.instance_id.is_none();
    take_away(attempt, reason, bare).await
}

async fn take_away(attempt: &Attempt, reason: &str, may_go: fn(&Node) -> bool) -> Result<()> {
    let (token, reason) = (attempt.token.clone(), reason.to_owned());
    let write = move |conn: &mut Connection| match node_claim::node_of(conn, &token)? {
        Some(node) if may_go(&node) => {
            FormerNode::keep(conn, &node, Some(&token), &reason, to_ms(Utc::now()))
        }
        Some(node) => Err(Error::Conflict(format!("{} has an instance", node.name))),
        None => Ok(()),
    };
    attempt.write(write).await
}

/// The node of a step's token, or what is left of it.
pub async fn of_token(db: &Db, token: &str) -> Result<(Option<Node>, Option<FormerNode>)> {
    let token = token.to_owned();
    db.read(move |conn| {
        let node = node_claim::node_of(conn, &token)?;
        Ok((node, FormerNode::by_token(conn, &token)?))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(names: impl IntoIterator<Item = u32>) -> Vec<String> {
        names.into_iter().map(|n| format!("web{n:02}")).collect()
    }

    #[test]
    fn a_node_gets_the_lowest_free_number_with_two_digits_and_three_when_needed() {
        assert_eq!(free_name("web", &[]).unwrap(), "web01");
        assert_eq!(free_name("web", &taken([1, 2, 4])).unwrap(), "web03");
        assert_eq!(free_name("web", &taken(1..=99)).unwrap(), "web100");
        assert_eq!(free_name("web", &taken(2..=99)).unwrap(), "web01");
        let full = free_name("web", &taken(1..=999)).unwrap_err().to_string();
        assert_eq!(full, "all names from web01 to web999 are taken");
    }
}
