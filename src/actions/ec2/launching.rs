//! The parts of a launch that other steps use too, and what is said of one that failed.

use tokio::time::Instant;

use super::wait::{self, Seen, Wait};
use super::{Progress, TOKEN_TAG, rows};
use crate::actions::{Attempt, Outputs, Site};
use crate::clients::ec2::{Fault, Instance};
use crate::error::{Error, Result};
use crate::models::ec2_profile::WaitFor;
use crate::models::node::Node;

/// Puts an instance behind its balancers, and waits for them where the profile says so.
///
/// # Errors
/// A balancer refuses, or does not find it healthy in time.
pub async fn register(
    wait: &Wait<'_>,
    site: &Site,
    id: &str,
    progress: &mut Progress,
) -> Result<()> {
    for balancer in site.balancers() {
        site.ec2.register(&balancer, id, wait.deadline).await?;
        if site.profile.wait_for()? == WaitFor::Healthy {
            wait::healthy(wait, site, &balancer, id).await?;
        }
        progress.done("register", format!("{id} is behind {balancer}"));
    }
    Ok(())
}

/// A launch that certainly gave no instance: the node goes again, and nothing is left to take back.
pub async fn refused(attempt: &Attempt, fault: Fault, progress: &mut Progress) -> Error {
    let reason = format!("it was not launched: {fault}");
    if let Err(cause) = rows::refused(attempt, &reason).await {
        // The row stays, and the outputs name it: the undo takes it away.
        tracing::warn!(%cause, "the node of a refused launch could not be taken away");
        return fault.into();
    }
    progress.outputs.clear();
    progress.harmless = true;
    fault.into()
}

/// The instances with the attempt's token. A launch of a moment ago may be missing from EC2's lists, so none is believed only after a while.
///
/// # Errors
/// EC2 cannot be asked.
pub async fn find_launched(attempt: &Attempt, site: &Site) -> Result<Vec<Instance>> {
    let pace = attempt.tools.cloud.pace;
    let until = (Instant::now() + pace.settle).min(attempt.deadline);
    let wait = Wait {
        attempt: None,
        poll: pace.poll,
        deadline: attempt.deadline,
    };
    wait.until("an instance with the step's token", async || {
        let found = site
            .ec2
            .tagged(TOKEN_TAG, &attempt.token, attempt.deadline)
            .await?;
        let settled = Instant::now() + pace.poll >= until;
        Ok(if found.is_empty() && !settled {
            Seen::NotYet("none".into())
        } else {
            Seen::Yes(found)
        })
    })
    .await
}

/// What a step gives out of a node that it launched.
pub fn outputs(node: &Node) -> Outputs {
    let mut outputs = Outputs::new();
    outputs.insert("node".into(), node.name.clone().into());
    if let Some(id) = &node.instance_id {
        outputs.insert("instance_id".into(), id.clone().into());
    }
    if !node.address.is_empty() {
        outputs.insert("address".into(), node.address.clone().into());
    }
    outputs
}

/// What is said of a launch that nobody goes on with.
pub fn unfinished(node: &Node) -> Error {
    let instance = node
        .instance_id
        .as_deref()
        .unwrap_or("an instance that EC2 may have launched");
    Error::Conflict(format!(
        "the launch of {} ({instance}) was not finished; undo the step to terminate it",
        node.name
    ))
}
