//! Waiting for EC2 and for what it launches: asked again at a steady pace, until there is an answer, the deadline, or a cancellation.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::actions::{Attempt, Site};
use crate::clients::ec2::{Balancer, Health, Instance, InstanceState, Termination};
use crate::error::{Error, Result};
use crate::models::ec2_profile::AddressFrom;
use crate::models::node::Node;

/// What sshd may take to greet.
const GREETING_LIMIT: Duration = Duration::from_secs(5);

/// An answer, or what was seen instead.
pub enum Seen<T> {
    /// What was waited for.
    Yes(T),
    /// Something else; in words.
    NotYet(String),
}

/// How long to wait, and for what.
pub struct Wait<'a> {
    /// For the cancellation; none = it cannot be cancelled.
    pub attempt: Option<&'a Attempt>,
    pub poll: Duration,
    pub deadline: Instant,
}

impl<'a> Wait<'a> {
    /// Until the time limit of an attempt, or its cancellation.
    pub fn of(attempt: &'a Attempt) -> Self {
        Self {
            attempt: Some(attempt),
            poll: attempt.tools.cloud.pace.poll,
            deadline: attempt.deadline,
        }
    }

    /// Asks until the answer is yes.
    ///
    /// # Errors
    /// What `ask` returns; `Upstream` when the time is over, with what was seen last; `Conflict` when the run is cancelled.
    pub async fn until<T, F>(&self, what: &str, mut ask: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<Seen<T>>>,
    {
        let mut last = "nothing".to_owned();
        loop {
            let seen = match ask().await {
                Ok(Seen::Yes(value)) => return Ok(value),
                Ok(Seen::NotYet(seen)) => seen,
                // The last question was cut off by the time limit: what was seen before says more than that.
                Err(Error::Upstream {
                    retryable: true, ..
                }) if self.is_late() => last,
                Err(other) => return Err(other),
            };
            if self.is_late() {
                return Err(Error::Upstream {
                    what: format!(
                        "waited in vain for {what} until the time limit; seen last: {seen}"
                    ),
                    retryable: false,
                });
            }
            tokio::select! {
                () = sleep(self.poll) => {}
                () = cancelled(self.attempt) => {
                    let why = self.attempt.map_or("stopped", Attempt::why_stopped);
                    return Err(Error::Conflict(format!(
                        "{why} while waiting for {what}; seen last: {seen}"
                    )));
                }
            }
            last = seen;
        }
    }

    fn is_late(&self) -> bool {
        Instant::now() + self.poll >= self.deadline
    }
}

async fn cancelled(attempt: Option<&Attempt>) {
    match attempt {
        Some(attempt) => attempt.cancelled().await,
        None => std::future::pending().await,
    }
}

/// Waits for an instance to run and to have an address; gives both.
pub async fn running(wait: &Wait<'_>, site: &Site, id: &str) -> Result<(Instance, String)> {
    let from = site.profile.address_from()?;
    let ids = [id.to_owned()];
    wait.until(&format!("{id} to run"), async || {
        let found = site.ec2.instances(&ids, wait.deadline).await?;
        let Some(instance) = found.into_iter().next() else {
            return Ok(Seen::NotYet("EC2 does not list it yet".into()));
        };
        match instance.state {
            InstanceState::Running => {}
            InstanceState::Pending | InstanceState::Unknown => {
                return Ok(Seen::NotYet(instance.state.to_string()));
            }
            state => return Err(died(id, state, instance.reason.as_deref())),
        }
        match address(&instance, from) {
            Some(address) => Ok(Seen::Yes((instance, address))),
            None => Ok(Seen::NotYet(format!(
                "it runs, and has no {}; another address_from may suit its subnet",
                from.as_str()
            ))),
        }
    })
    .await
}

fn died(id: &str, state: InstanceState, reason: Option<&str>) -> Error {
    let reason = reason.unwrap_or("EC2 gave no reason");
    Error::Upstream {
        what: format!("{id} is {state} instead of running: {reason}"),
        retryable: false,
    }
}

/// The address that becomes a node's.
pub fn address(instance: &Instance, from: AddressFrom) -> Option<String> {
    match from {
        AddressFrom::PublicDns => instance.public_dns.clone(),
        AddressFrom::PublicIp => instance.public_ip.clone(),
        AddressFrom::PrivateDns => instance.private_dns.clone(),
        AddressFrom::PrivateIp => instance.private_ip.clone(),
    }
}

/// Waits until an sshd greets; an instance that is gone meanwhile ends the wait.
pub async fn ssh(wait: &Wait<'_>, site: &Site, id: &str, address: &str, port: u16) -> Result<()> {
    let ids = [id.to_owned()];
    wait.until(&format!("an SSH server on {address}:{port}"), async || {
        let limit = GREETING_LIMIT.min(wait.deadline.saturating_duration_since(Instant::now()));
        let seen = match timeout(limit, greeting(address, port)).await {
            Ok(Ok(greeting)) if greeting.starts_with("SSH-") => return Ok(Seen::Yes(())),
            Ok(Ok(_)) => "something answers that is no SSH server".to_owned(),
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => "no answer".to_owned(),
        };
        let found = site.ec2.instances(&ids, wait.deadline).await?;
        match found.first() {
            Some(instance) if instance.state != InstanceState::Running => {
                Err(died(id, instance.state, instance.reason.as_deref()))
            }
            _ => Ok(Seen::NotYet(seen)),
        }
    })
    .await
}

async fn greeting(address: &str, port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((address, port)).await?;
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits until a balancer sends requests to an instance.
pub async fn healthy(wait: &Wait<'_>, site: &Site, balancer: &Balancer, id: &str) -> Result<()> {
    wait.until(&format!("{balancer} to find {id} healthy"), async || {
        Ok(match site.ec2.health(balancer, id, wait.deadline).await? {
            Health::Healthy => Seen::Yes(()),
            other => Seen::NotYet(other.to_string()),
        })
    })
    .await
}

/// Waits until a balancer has finished the requests of an instance that was deregistered.
pub async fn drained(wait: &Wait<'_>, site: &Site, balancer: &Balancer, id: &str) -> Result<()> {
    wait.until(&format!("{balancer} to drain {id}"), async || {
        Ok(match site.ec2.health(balancer, id, wait.deadline).await? {
            Health::Absent => Seen::Yes(()),
            other => Seen::NotYet(other.to_string()),
        })
    })
    .await
}

/// Has instances terminated, and waits until they are gone; gives those that EC2 does not know.
///
/// Gone is what EC2 shows as terminated. One that it does not list is terminated by name all the same, and EC2 has to say for the settle time
/// that it does not know it: a new instance may be missing from the lists, and be unknown here and there, for so long.
pub async fn terminated(
    wait: &Wait<'_>,
    site: &Site,
    ids: &[String],
    settle: Duration,
) -> Result<Vec<String>> {
    let begun = Instant::now();
    let what = format!("{} to be terminated", ids.join(", "));
    wait.until(&what, async || {
        let found = site.ec2.instances(ids, wait.deadline).await?;
        let settled = begun.elapsed() >= settle;
        let (mut left, mut unknown) = (Vec::new(), Vec::new());
        for id in ids {
            let listed = found.iter().find(|instance| instance.id == *id);
            let state = listed.map(|instance| instance.state);
            match state {
                Some(InstanceState::Terminated) => continue,
                Some(InstanceState::ShuttingDown) => {}
                _ => match site.ec2.terminate(id, wait.deadline).await? {
                    Termination::NotKnown if state.is_none() && settled => {
                        unknown.push(id.clone());
                        continue;
                    }
                    Termination::NotKnown | Termination::Begun => {}
                },
            }
            let state = state.map_or("not listed", InstanceState::as_str);
            left.push(format!("{id} {state}"));
        }
        Ok(if left.is_empty() {
            Seen::Yes(unknown)
        } else {
            Seen::NotYet(left.join(", "))
        })
    })
    .await
}

/// How instances ended, in words.
pub fn ended(ids: &[String], unknown: &[String]) -> String {
    let seen = ids.iter().filter(|id| !unknown.contains(id));
    let seen = seen.map(|id| format!("{id} is terminated"));
    let unknown = unknown.iter();
    let unknown = unknown.map(|id| format!("EC2 does not know {id} any more"));
    seen.chain(unknown).collect::<Vec<_>>().join(", ")
}

/// Refuses to take it that an instance is gone because EC2 does not know it, where who asks was changed since its node was made: it may be
/// another account's.
///
/// # Errors
/// `Conflict`: a person has to look.
pub fn refuse_doubt(site: &Site, node: &Node) -> Result<()> {
    let profile = &site.profile;
    if profile.access_changed_ms <= node.created_ms {
        return Ok(());
    }
    Err(Error::Conflict(format!(
        "EC2 in {} does not know {}, and the access key of the ec2 profile \"{}\" was changed after the launch, so that it may be in another account; \
         look there, then forget {} on the page Instances",
        profile.region,
        node.instance_id.as_deref().unwrap_or("its instance"),
        profile.name,
        node.name
    )))
}
