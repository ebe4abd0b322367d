//! Has a node stand for an instance again, as EC2 says that it is now.

use std::time::Duration;

use tokio::time::Instant;

use super::settle::{self, Adopted, Settler};
use super::wait::address;
use crate::actions::{Cloud, Site};
use crate::clients::ec2::InstanceState;
use crate::db::{Connection, Db};
use crate::error::{Error, Result};
use crate::models::finding::Finding;
use crate::models::node::Node;
use crate::models::{FindingId, FindingKind, NodeState};

/// What asking EC2 may take while a person waits.
const LIMIT: Duration = Duration::from_secs(20);

/// Adopts the instance of a finding; gives the node's name. Where a removal had taken it out of its balancers, it goes back behind them.
///
/// # Errors
/// There is no such finding, nothing to adopt, EC2 cannot be asked, or the database fails.
pub async fn adopt(db: &Db, cloud: &Cloud, id: FindingId, settler: Settler) -> Result<String> {
    let read = move |conn: &mut Connection| {
        let finding = Finding::find(conn, id)?;
        let was_leaving = match &finding.node_name {
            Some(name) if finding.kind == FindingKind::Unfinished => {
                Node::by_name(conn, name)?.state == NodeState::Draining
            }
            _ => false,
        };
        Ok((finding, was_leaving))
    };
    let (finding, was_leaving) = db.read(read).await?;
    let site = cloud.site_of(finding.ec2_profile_id).await?;
    let deadline = Instant::now() + LIMIT;
    let adopted = adoptable(&site, &finding, deadline).await?;
    if was_leaving {
        for balancer in site.balancers() {
            let instance = &adopted.instance_id;
            site.ec2.register(&balancer, instance, deadline).await?;
        }
    }
    db.write(move |conn| settle::adopt(conn, id, &adopted, &settler))
        .await
}

async fn adoptable(site: &Site, finding: &Finding, deadline: Instant) -> Result<Adopted> {
    let ids: Vec<_> = finding.instance_id.clone().into_iter().collect();
    let found = site.ec2.instances(&ids, deadline).await?;
    let running = found
        .into_iter()
        .find(|it| it.state == InstanceState::Running);
    let instance = running.ok_or_else(|| {
        Error::Conflict("The instance is not running, so it is not adopted; look again.".into())
    })?;
    let from = site.profile.address_from()?;
    let address = address(&instance, from).ok_or_else(|| {
        Error::Conflict(format!(
            "{} has no {}, so it is not adopted.",
            instance.id,
            from.as_str()
        ))
    })?;
    Ok(Adopted {
        instance_id: instance.id,
        address,
    })
}
