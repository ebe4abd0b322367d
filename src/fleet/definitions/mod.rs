//! One file per kind of definition: its shape in the file, how it is read, what it refers to, and its row.

mod action;
mod cluster;
mod counter;
mod ec2_profile;
mod jvm_profile;
mod node;
mod ssh_profile;
mod step;
mod trigger;

pub use action::Action;
pub use cluster::Cluster;
pub use counter::{Counter, Source};
pub use ec2_profile::Ec2Profile;
pub use jvm_profile::JvmProfile;
pub use node::Node;
pub use ssh_profile::SshProfile;
pub use step::Step;
pub use trigger::{Combine, Trigger};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, Serializer};

use crate::config::format_secs;

/// The noun of a secret, beside those of [`super::Kind`].
pub(super) const SECRET: &str = "secret";

/// A definition that another one names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Where, from the definition that names it: `jvm_profiles[0]`.
    pub path: String,
    /// What kind of thing is named.
    pub noun: &'static str,
    /// Its name.
    pub name: String,
}

impl Reference {
    fn new(path: impl Into<String>, noun: &'static str, name: &str) -> Self {
        Self {
            path: path.into(),
            noun,
            name: name.to_owned(),
        }
    }
}

/// A secret that stands in the file itself. It moves to the vault when the file is applied, and is never written out again.
#[derive(Debug, Clone)]
pub struct Inline(pub SecretString);

impl PartialEq for Inline {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

/// Seconds, written as `5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secs(pub i64);

impl Serialize for Secs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_secs(u64::try_from(self.0).unwrap_or(0)))
    }
}
