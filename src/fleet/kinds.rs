//! Which action kinds there are, and what each may act on.

use crate::config::nearest;
use crate::models::StepTarget::{self, Cluster, LastNode, None as Nothing};

const KINDS: [(&str, &[StepTarget]); 8] = [
    ("DeployEc2Node", &[Cluster]),
    ("RemoveEc2Node", &[Cluster, LastNode]),
    ("LocalScript", &[Cluster, LastNode]),
    ("DistributedScript", &[Cluster, LastNode]),
    ("OSConfiguration", &[Cluster, LastNode]),
    ("Email", &[Nothing]),
    ("DockerScale", &[Nothing]),
    ("ZabbixBackup", &[Nothing]),
];

/// What a step with an action of this kind may act on; none for a kind that there is not.
pub(super) fn targets(kind: &str) -> Option<&'static [StepTarget]> {
    let mut found = KINDS.iter().filter(|(name, _)| *name == kind);
    found.next().map(|(_, targets)| *targets)
}

/// What to say of a kind that there is not.
pub(super) fn unknown(kind: &str) -> String {
    let names = || KINDS.iter().map(|(name, _)| *name);
    match nearest(kind, names()) {
        Some(near) => format!("\"{kind}\" is no action kind; did you mean \"{near}\"?"),
        None => format!(
            "\"{kind}\" is no action kind; there are {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    }
}
