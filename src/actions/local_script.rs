//! LocalScript: the operator's script, on one node or on all nodes of the target in parallel.

use std::sync::Arc;

use askama::Template as _;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};

use super::{
    Action, Attempt, Effect, Entry, Facts, Fields, Host, HostRequest, Outcome, Recovery, Report,
    Scope, Settings, on_hosts,
};
use crate::error::{Error, Result};
use crate::models::StepTarget;

/// Hosts that one step works on at the same time.
const AT_ONCE: usize = 64;
/// What ran, in a report.
const WHAT: &str = "the script";

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
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{"script": "uptime\ndate"}"#;

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
            on_hosts::outcome(results, WHAT)
        }
        .boxed()
    }
}

async fn run(attempt: &Attempt, host: &Host, script: &str, max_output: usize) -> Entry {
    let request = HostRequest {
        script: script.to_owned(),
        stdin: Vec::new(),
        deadline: attempt.deadline,
        max_output,
        cancelled: attempt.cancelled.clone(),
    };
    let result = if *attempt.cancelled.borrow() {
        Err(Error::Conflict("not begun: the run was cancelled".into()))
    } else {
        Arc::clone(&attempt.tools.hosts).run(host, &request).await
    };
    on_hosts::entry(host, WHAT, result)
}
