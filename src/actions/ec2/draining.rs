//! Taking an instance out of its balancers, and putting it back where its removal is called off.

use tokio::time::Instant;

use super::leaving::{self, Leaving};
use super::wait::{self, Wait};
use super::{LAST_LIMIT, Progress};
use crate::actions::{Attempt, Site};
use crate::clients::ec2::{Balancer, Fault, FaultKind, Health};
use crate::error::{Error, Result};

/// How a removal stopped.
pub enum Stopped {
    /// Before anything that cannot be taken back.
    Before(Error),
    /// The instance may be terminated, or may not.
    Unclear(Error),
}

/// Undoes the drain of a node that certainly was not terminated; gives the error that led here, with what else went wrong.
pub async fn put_back(
    attempt: &Attempt,
    site: &Site,
    leaving: &Leaving,
    left: &[Balancer],
    cause: Stopped,
    progress: &mut Progress,
) -> Error {
    let cause = match cause {
        Stopped::Before(cause) => cause,
        Stopped::Unclear(cause) => return cause,
    };
    let deadline = Instant::now() + LAST_LIMIT;
    let back = async {
        attempt.still_ours().await?;
        for balancer in left {
            site.ec2
                .register(balancer, &leaving.instance_id, deadline)
                .await?;
        }
        leaving::stays(attempt).await
    };
    let name = &leaving.node.name;
    match back.await {
        Ok(()) => {
            progress.outputs.clear();
            Error::Conflict(format!("{cause}; {name} is back in service"))
        }
        Err(also) => Error::Conflict(format!(
            "{cause}; {name} could not be put back into service either: {also}; its page says where it stands"
        )),
    }
}

/// Takes the instance out of its balancers, looks again, and has it terminated.
///
/// # Errors
/// The part that failed, and whether the instance is still there for certain.
pub async fn drain_and_terminate(
    attempt: &Attempt,
    site: &Site,
    leaving: &Leaving,
    left: &mut Vec<Balancer>,
    progress: &mut Progress,
) -> Result<(), (&'static str, Stopped)> {
    let id = &leaving.instance_id;
    let begun = Instant::now();
    drain(attempt, site, id, left)
        .await
        .map_err(|cause| ("drain", Stopped::Before(cause)))?;
    progress.give(
        "drain_secs",
        f64::from(u32::try_from(begun.elapsed().as_millis() / 100).unwrap_or(u32::MAX)) / 10.0,
    );
    progress.done("drain", format!("{id} gets no requests any more"));
    let again = async {
        if *attempt.cancelled.borrow() {
            return Err(Error::Conflict(format!(
                "{} before the instance was terminated",
                attempt.why_stopped()
            )));
        }
        leaving::still(attempt).await?;
        others_healthy(attempt, site, id).await
    };
    again
        .await
        .map_err(|cause| ("look again", Stopped::Before(cause)))?;
    // Where EC2 does not know it, whoever confirms asks again until that is certain.
    site.ec2
        .terminate(id, attempt.deadline)
        .await
        .map(drop)
        .map_err(|fault: Fault| {
            let certain = !matches!(fault.kind, FaultKind::Lost);
            let stopped = if certain {
                Stopped::Before
            } else {
                Stopped::Unclear
            };
            ("terminate", stopped(fault.into()))
        })
}

/// Takes an instance that serves nobody, or is gone already, out of its balancers. Its health is not asked for: of one that is gone there may be none
/// although it is still listed.
///
/// # Errors
/// A balancer cannot be asked.
pub async fn take_out(attempt: &Attempt, site: &Site, id: &str) -> Result<()> {
    for balancer in site.balancers() {
        site.ec2.deregister(&balancer, id, attempt.deadline).await?;
    }
    Ok(())
}

/// `left` is told which balancers the instance leaves.
async fn drain(attempt: &Attempt, site: &Site, id: &str, left: &mut Vec<Balancer>) -> Result<()> {
    others_healthy(attempt, site, id).await?;
    for balancer in site.balancers() {
        if site.ec2.health(&balancer, id, attempt.deadline).await? != Health::Absent {
            if !left.contains(&balancer) {
                left.push(balancer.clone());
            }
            site.ec2.deregister(&balancer, id, attempt.deadline).await?;
        }
    }
    for balancer in &*left {
        wait::drained(&Wait::of(attempt), site, balancer, id).await?;
    }
    Ok(())
}

/// Whether every balancer keeps a healthy instance without this one, and without those that go before it: of two removals at once, the second
/// would otherwise take the one that the first has counted on.
async fn others_healthy(attempt: &Attempt, site: &Site, id: &str) -> Result<()> {
    let going = leaving::going_before(attempt).await?;
    for balancer in site.balancers() {
        let registered = site.ec2.registered(&balancer, attempt.deadline).await?;
        let healthy = registered.iter().any(|(other, health)| {
            other != id && !going.contains(other) && *health == Health::Healthy
        });
        if !healthy {
            return Err(Error::Conflict(format!(
                "{balancer} has no other healthy instance than {id}"
            )));
        }
    }
    Ok(())
}
