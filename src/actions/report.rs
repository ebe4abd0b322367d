//! What came back from each host or recipient of a step: kept in the journal, shown on the run's page.

use serde::{Deserialize, Serialize};

/// Characters of reports that one step keeps; shared between its hosts.
const MAX_REPORT: usize = 1024 * 1024;
/// What a single host may fill of it.
const MAX_ENTRY: usize = 64 * 1024;

/// One entry per host or recipient.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct Report(pub Vec<Entry>);

/// What came back from one host or recipient.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct Entry {
    /// The node, or the recipient.
    pub subject: String,
    /// The address it was reached at.
    pub address: Option<String>,
    /// Whether it did what it should.
    pub succeeded: bool,
    /// Exit status of a command.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it printed to standard error; what a server answered.
    pub stderr: String,
    /// Whether a part of what it printed was dropped.
    pub truncated: bool,
    /// How long it took, ms.
    pub took_ms: i64,
    /// Why it failed, when no exit status says so.
    pub error: Option<String>,
    /// Of a failure: how far it had come. Not kept.
    #[serde(skip)]
    pub reached: Reached,
}

/// How far a host came before it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reached {
    /// It had its say.
    #[default]
    Answer,
    /// What was begun there was lost sight of.
    Begun,
    /// Certainly nothing was begun there.
    Nothing,
}

impl Report {
    /// Reads a report out of the journal; damage shows as an entry, so that a page always has something to say.
    pub fn parse(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|cause| {
            Self(vec![Entry {
                subject: "report".into(),
                error: Some(format!("cannot be read: {cause}")),
                ..Entry::default()
            }])
        })
    }

    /// How much output each of `hosts` may keep.
    pub fn share(hosts: usize) -> usize {
        (MAX_REPORT / hosts.max(1)).min(MAX_ENTRY)
    }
}
