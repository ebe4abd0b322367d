//! EC2 and its balancers: one thin seam over the vendor's library.
//!
//! A call is repeated until its deadline when the fault may pass (throttled, no answer, a reply that was lost), and never otherwise. Launching
//! carries a token, so that a repetition gives the same instance; everything else here is safe to repeat by nature.

#[cfg(not(feature = "aws"))]
mod absent;
#[cfg(feature = "aws")]
mod balancer;
mod fault;
#[cfg(feature = "aws")]
mod instances;
#[cfg(feature = "aws")]
mod session;

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};

#[cfg(not(feature = "aws"))]
pub use absent::Ec2;
pub use fault::{Fault, FaultKind};
#[cfg(feature = "aws")]
pub use session::Ec2;

/// Whose machines, and where the API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// AWS region.
    pub region: String,
    /// Another API endpoint than AWS's.
    pub endpoint_url: Option<String>,
    /// How requests are signed.
    pub credentials: Credentials,
    /// A role to take on before anything is asked.
    pub role: Option<Role>,
}

/// How requests are signed.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// As the library finds them: environment, profile file, container, instance.
    Chain,
    /// An access key.
    Key {
        /// Its public half.
        id: String,
        /// Its secret half.
        secret: SecretString,
    },
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Chain, Self::Chain) => true,
            (
                Self::Key { id, secret },
                Self::Key {
                    id: other,
                    secret: new,
                },
            ) => id == other && secret.expose_secret() == new.expose_secret(),
            _ => false,
        }
    }
}

impl Eq for Credentials {}

/// A role to take on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// What the role's owner wants to hear.
    pub external_id: Option<String>,
}

/// What to launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Repeating a launch with the same token gives the same instance.
    pub token: String,
    /// AMI.
    pub image_id: String,
    /// Size.
    pub instance_type: String,
    /// EC2 key pair.
    pub key_name: Option<String>,
    /// Names or ids (`sg-…`).
    pub security_groups: Vec<String>,
    /// Subnet.
    pub subnet_id: Option<String>,
    /// Given to the instance at its first boot.
    pub user_data: Option<String>,
    /// What the instance carries from its first moment.
    pub tags: BTreeMap<String, String>,
}

/// Where an instance is in its life, in EC2's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Starting.
    Pending,
    /// There.
    Running,
    /// Being stopped.
    Stopping,
    /// Off; its disks remain.
    Stopped,
    /// On its way to `Terminated`.
    ShuttingDown,
    /// Gone; EC2 shows it for a while.
    Terminated,
    /// A word this version does not know.
    Unknown,
}

impl InstanceState {
    /// EC2's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
            Self::Unknown => "in an unknown state",
        }
    }

    /// Whether it is gone, or nothing can keep it from going.
    pub const fn is_gone(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What came of having an instance terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// It goes, or is gone.
    Begun,
    /// EC2 does not know it: it is long gone, too new to be known everywhere, or somewhere else.
    NotKnown,
}

/// An instance as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// Where it is in its life.
    pub state: InstanceState,
    /// Why it is there, if EC2 says so.
    pub reason: Option<String>,
    /// Its public name.
    pub public_dns: Option<String>,
    /// Its public address.
    pub public_ip: Option<String>,
    /// Its name within the network.
    pub private_dns: Option<String>,
    /// Its address within the network.
    pub private_ip: Option<String>,
    /// Launched at, ms since 1970.
    pub launched_ms: Option<i64>,
    /// What it carries.
    pub tags: BTreeMap<String, String>,
}

/// What spreads requests over instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balancer {
    /// A classic load balancer, by name.
    Classic(String),
    /// A target group, by ARN.
    TargetGroup(String),
}

impl fmt::Display for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Classic(name) => write!(f, "load balancer {name}"),
            Self::TargetGroup(arn) => {
                write!(f, "target group {}", arn.rsplit(':').next().unwrap_or(arn))
            }
        }
    }
}

/// What a balancer says of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Gets requests.
    Healthy,
    /// Registered, and gets none; why.
    Unhealthy(String),
    /// Deregistered; requests under way are finished.
    Draining,
    /// Not registered.
    Absent,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Healthy => f.write_str("healthy"),
            Self::Unhealthy(reason) => write!(f, "not healthy ({reason})"),
            Self::Draining => f.write_str("draining"),
            Self::Absent => f.write_str("not registered"),
        }
    }
}
