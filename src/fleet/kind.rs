//! The kinds of definitions, in the order in which they come to be: what a later one refers to stands before it.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::config::nearest;

/// A kind of definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// How to log in to a node.
    SshProfile,
    /// How to reach a JVM.
    JvmProfile,
    /// What to launch.
    Ec2Profile,
    /// One number to read.
    Counter,
    /// Nodes that do the same work.
    Cluster,
    /// One machine.
    Node,
    /// A configured instance of an action kind.
    Action,
    /// Counters, a timing and steps.
    Trigger,
}

impl Kind {
    /// Every kind, users after what they use.
    pub const ALL: [Self; 8] = [
        Self::SshProfile,
        Self::JvmProfile,
        Self::Ec2Profile,
        Self::Counter,
        Self::Cluster,
        Self::Node,
        Self::Action,
        Self::Trigger,
    ];

    /// The word on pages and in messages, as [`crate::models::uses`] writes it.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::SshProfile => "ssh profile",
            Self::JvmProfile => "jvm profile",
            Self::Ec2Profile => "ec2 profile",
            Self::Counter => "counter",
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Action => "action",
            Self::Trigger => "trigger",
        }
    }

    /// Its section of the fleet file.
    pub const fn section(self) -> &'static str {
        match self {
            Self::SshProfile => "ssh_profiles",
            Self::JvmProfile => "jvm_profiles",
            Self::Ec2Profile => "ec2_profiles",
            Self::Counter => "counters",
            Self::Cluster => "clusters",
            Self::Node => "nodes",
            Self::Action => "actions",
            Self::Trigger => "triggers",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.noun())
    }
}

impl FromStr for Kind {
    type Err = String;

    /// Reads a section's name, with `-` or `_`: `ssh-profiles`.
    fn from_str(text: &str) -> Result<Self, String> {
        let section = text.replace('-', "_");
        let found = Self::ALL.into_iter().find(|kind| kind.section() == section);
        found.ok_or_else(|| {
            let sections = Self::ALL.iter().map(|kind| kind.section());
            match nearest(&section, sections) {
                Some(near) => format!("there are no \"{text}\"; did you mean \"{near}\"?"),
                None => format!("there are no \"{text}\""),
            }
        })
    }
}
