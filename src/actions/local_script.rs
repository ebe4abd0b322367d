//! LocalScript: the operator's script, on one node or on all nodes of the target in parallel.

use std::sync::Arc;

use askama::Template as _;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use serde_json::Value;

use super::{
    Action, Attempt, Effect, Entry, Facts, Fields, Host, HostRequest, Outcome,
    Outputs, Recovery, Report, Scope, Settings,
};
use crate::clients::{ExecOutput, Exit};
use crate::error::{Error, Result};
use crate::models::StepTarget;

/// Hosts that one step works on at the same time.
const AT_ONCE: usize = 64;
/// Characters of a host's output that later steps may use.
const MAX_OUTPUT_VALUE: usize = 4 * 1024;

/// The settings of a LocalScript.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/local_script.html")]
pub struct LocalScript {
    /// What `/bin/sh` runs on each node.
    pub script: String,
    /// Whether it may run again after a crash has hidden its outcome.
    pub repeatable: bool,
}

impl Settings for LocalScript {
    const FACTS: Facts = Facts::plain(
        "Runs a command on the target's nodes, over SSH, in parallel.",
        &[StepTarget::Cluster, StepTarget::LastNode, StepTarget::Node],
    );

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            script: fields.script("script"),
            repeatable: fields.switch("repeatable"),
        }
    }
}

impl Action for LocalScript {
    fn recovery(&self) -> Recovery {
        if self.repeatable {
            Recovery::Repeat
        } else {
            Recovery::AskAPerson
        }
    }

    fn summary(&self) -> String {
        super::first_line(&self.script)
    }

    fn html(&self) -> Result<String> {
        self.render()
            .map_err(|cause| Error::internal("the settings of a LocalScript as a page", cause))
    }

    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>> {
        let hosts = scope.hosts()?.iter().cloned();
        let scripts = hosts.map(|host| {
            let script = scope.fill_script("script", &self.script, &host)?;
            Ok((host, script))
        });
        Ok(Box::new(Scripts(scripts.collect::<Result<_>>()?)))
    }
}

/// A filled-in script for each host.
struct Scripts(Vec<(Host, String)>);

impl Effect for Scripts {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let max_output = Report::share(self.0.len()) / 2;
            let each = self.0.iter();
            let work = each.map(|(host, script)| run(attempt, host, script, max_output));
            let results = stream::iter(work.collect::<Vec<_>>())
                .buffered(AT_ONCE)
                .collect()
                .await;
            outcome(results)
        }
        .boxed()
    }
}

async fn run(attempt: &Attempt, host: &Host, script: &str, max_output: usize) -> Entry {
    let request = HostRequest {
        script: script.to_owned(),
        deadline: attempt.deadline,
        max_output,
        cancelled: attempt.cancelled.clone(),
    };
    let result = if *attempt.cancelled.borrow() {
        Err(Error::Conflict("not begun: the run was cancelled".into()))
    } else {
        Arc::clone(&attempt.tools.hosts).run(host, &request).await
    };
    entry(host, result)
}

fn entry(host: &Host, result: Result<ExecOutput>) -> Entry {
    let subject = host.name.clone();
    let address = Some(host.address.clone());
    match result {
        Ok(output) => Entry {
            subject,
            address,
            succeeded: output.success(),
            stdout: output.stdout_text(),
            stderr: output.stderr_text(),
            status: match output.status {
                Exit::Status(status) => Some(status),
                _ => None,
            },
            error: match &output.status {
                Exit::Status(_) => None,
                other => Some(format!("the script {other}")),
            },
            truncated: output.truncated,
            took_ms: i64::try_from(output.took.as_millis()).unwrap_or(i64::MAX),
        },
        Err(cause) => Entry {
            subject,
            address,
            error: Some(cause.to_string()),
            ..Entry::default()
        },
    }
}

fn outcome(entries: Vec<Entry>) -> Outcome {
    let failed: Vec<_> = entries.iter().filter(|entry| !entry.succeeded).collect();
    let fault = (!failed.is_empty()).then(|| Error::Upstream {
        what: failure(&failed, entries.len()),
        retryable: false,
    });
    let mut outputs = Outputs::new();
    outputs.insert("hosts".into(), entries.len().into());
    outputs.insert("failed".into(), failed.len().into());
    let names: Vec<_> = entries.iter().map(|entry| entry.subject.as_str()).collect();
    outputs.insert("nodes".into(), Value::String(names.join(" ")));
    if let [only] = entries.as_slice() {
        let text: String = only.stdout.trim_end().chars().take(MAX_OUTPUT_VALUE).collect();
        outputs.insert("output".into(), text.into());
        outputs.insert("status".into(), only.status.into());
        outputs.insert("node".into(), only.subject.clone().into());
        outputs.insert("address".into(), only.address.clone().into());
    }
    Outcome {
        outputs,
        report: Report(entries),
        fault,
    }
}

fn failure(failed: &[&Entry], hosts: usize) -> String {
    const NAMED: usize = 5;
    let told: Vec<String> = failed
        .iter()
        .take(NAMED)
        .map(|entry| match (&entry.error, entry.status) {
            (Some(error), _) => format!("{}: {error}", entry.subject),
            (None, Some(status)) => format!("{}: exit status {status}", entry.subject),
            (None, None) => entry.subject.clone(),
        })
        .collect();
    let more = match failed.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "the script failed on {} of {hosts} {}: {}{more}",
        failed.len(),
        if hosts == 1 { "host" } else { "hosts" },
        told.join("; ")
    )
}
