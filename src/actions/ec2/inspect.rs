//! Looks for instances without a node and nodes without an instance, and notes what it finds. Changes nothing in EC2.

use std::time::Duration;

use tokio::time::Instant;

use super::compare::{Rows, compare};
use super::{SITE_TAG, TOKEN_TAG};
use crate::actions::Cloud;
use crate::clients::ec2::Instance;
use crate::db::{Connection, Db};
use crate::error::Result;
use crate::models::cluster::Cluster;
use crate::models::ec2_profile::Ec2Profile;
use crate::models::finding::{Finding, Seen};
use crate::models::former_node::FormerNode;
use crate::models::node::Node;
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{FindingKind, installation, node_claim};

/// What asking one account may take.
const LIMIT: Duration = Duration::from_secs(60);

/// What a look came to.
#[derive(Debug, Default)]
pub struct Look {
    /// Accounts that were asked.
    pub accounts: usize,
    /// Instances they listed.
    pub instances: usize,
    /// Disagreements that stand now.
    pub findings: usize,
    /// The instances that no node stands for.
    pub orphans: Vec<Orphan>,
    /// Accounts that could not be asked; what was found there before still stands.
    pub faults: Vec<String>,
}

/// An instance that no node stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The instance.
    pub instance_id: String,
    /// Whether the journal knows that it was launched here. It does not after a restored backup, or where the database is a copy of
    /// another's that goes on launching with the same tag.
    pub is_known: bool,
}

/// Holds the nodes against the instances of every account that a profile names.
///
/// # Errors
/// The database fails. An account that cannot be asked is no error but stands in the outcome.
pub async fn inspect(db: &Db, cloud: &Cloud, now_ms: i64) -> Result<Look> {
    let read = |conn: &mut Connection| Ok((Ec2Profile::all(conn)?, installation::known_tag(conn)?));
    let (profiles, site) = db.read(read).await?;
    let mut look = Look::default();
    for group in accounts(profiles) {
        look.accounts += 1;
        let before = db.read(rows).await?;
        let instances = match list(cloud, &group, &before, site.as_deref()).await {
            Ok(instances) => instances,
            Err(cause) => {
                look.faults.push(cause.to_string());
                continue;
            }
        };
        look.instances += instances.len();
        let note = move |conn: &mut Connection| {
            let after = rows(conn)?;
            let mut seen = compare(&before, &instances, &after, &group);
            let orphans = orphans(conn, &mut seen, &instances)?;
            let profiles: Vec<_> = group.iter().map(|profile| profile.id).collect();
            Finding::replace(conn, &profiles, &seen, now_ms)?;
            Ok((seen.len(), orphans))
        };
        let (findings, orphans) = db.write(note).await?;
        look.findings += findings;
        look.orphans.extend(orphans);
    }
    Ok(look)
}

/// The orphans among what was seen; what the journal does not know says so.
fn orphans(
    conn: &mut Connection,
    seen: &mut [Seen],
    instances: &[Instance],
) -> Result<Vec<Orphan>> {
    let mut orphans = Vec::new();
    for seen in seen {
        let (FindingKind::Orphan, Some(id)) = (seen.kind, seen.instance_id.clone()) else {
            continue;
        };
        let instance = instances.iter().find(|instance| instance.id == id);
        let token = instance.and_then(|instance| instance.tags.get(TOKEN_TAG));
        let is_known = match token {
            Some(token) => {
                StepRun::has_token(conn, token)? || FormerNode::by_token(conn, token)?.is_some()
            }
            None => false,
        };
        if !is_known {
            seen.detail.push_str(
                "; the journal knows no launch of it (a restored backup, or a copied database?), so it is not reaped by itself",
            );
        }
        orphans.push(Orphan {
            instance_id: id,
            is_known,
        });
    }
    Ok(orphans)
}

/// Profiles that reach the same machines.
fn accounts(profiles: Vec<Ec2Profile>) -> Vec<Vec<Ec2Profile>> {
    let mut groups: Vec<Vec<Ec2Profile>> = Vec::new();
    for profile in profiles {
        let same = groups
            .iter_mut()
            .find(|group| group.iter().any(|other| is_same(other, &profile)));
        match same {
            Some(group) => group.push(profile),
            None => groups.push(vec![profile]),
        }
    }
    groups
}

fn is_same(a: &Ec2Profile, b: &Ec2Profile) -> bool {
    a.region == b.region
        && a.endpoint_url == b.endpoint_url
        && a.access_key_id == b.access_key_id
        && a.role_arn == b.role_arn
}

fn rows(conn: &mut Connection) -> Result<Rows> {
    let open: Vec<_> = Run::open(conn)?.into_iter().map(|run| run.id).collect();
    let steps = StepRun::of_runs(conn, &open)?;
    let clusters = Cluster::all(conn)?.into_iter();
    Ok(Rows {
        nodes: Node::all(conn)?,
        clusters: clusters.map(|cluster| (cluster.id, cluster.name)).collect(),
        claims: node_claim::all(conn)?,
        open_tokens: steps.into_iter().filter_map(|step| step.token).collect(),
    })
}

/// What carries this Headroom's tag, and what its nodes stand for.
async fn list(
    cloud: &Cloud,
    group: &[Ec2Profile],
    rows: &Rows,
    site: Option<&str>,
) -> Result<Vec<Instance>> {
    let Some(first) = group.first() else {
        return Ok(Vec::new());
    };
    let reached = cloud.site_of(first.id).await?;
    let deadline = Instant::now() + LIMIT;
    let mut found = match site {
        Some(site) => reached.ec2.tagged(SITE_TAG, site, deadline).await?,
        None => Vec::new(),
    };
    let others: Vec<String> = rows
        .nodes
        .iter()
        .filter(|node| {
            group
                .iter()
                .any(|profile| Some(profile.id) == node.ec2_profile_id)
        })
        .filter_map(|node| node.instance_id.clone())
        .filter(|id| !found.iter().any(|instance| instance.id == *id))
        .collect();
    found.extend(reached.ec2.instances(&others, deadline).await?);
    Ok(found)
}
