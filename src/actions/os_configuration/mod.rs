//! OSConfiguration: applies a Puppet manifest on the target's nodes, over Headroom's own SSH, in parallel.
//!
//! Recovery is to repeat: a manifest says how a node should be, so applying it again changes what is not so yet and nothing else. Runs on one
//! node wait for each other there, also for one that a dead Headroom left behind.

mod report;

use std::sync::Arc;

use askama::Template as _;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::time::Instant;

use super::files::{self, Place, Shipped};
use super::{
    Action, Attempt, Effect, Entry, Facts, Fields, Host, HostRequest, Outcome, Recovery, Report,
    Scope, Settings, on_hosts,
};
use crate::clients::ssh::quote;
use crate::error::{Error, Result};
use crate::models::StepTarget;
use report::Applied;

/// Nodes that one step works on at the same time.
const AT_ONCE: usize = 64;
/// Installing puppet and the packages of a manifest takes minutes.
const DEFAULT_TIMEOUT_SECS: i64 = 600;
/// What ran, in a report.
const WHAT: &str = "puppet";

/// Runs as root on the node.
const APPLY: &str = include_str!("apply.sh");

/// The manifests that come with Headroom.
const SHIPPED: &[Shipped] = &[
    ("base.pp", include_str!("../../../puppet/base.pp")),
    ("tomcat.pp", include_str!("../../../puppet/tomcat.pp")),
];

/// The settings of an OSConfiguration.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/os_configuration.html")]
pub struct OSConfiguration {
    /// The manifest, inside `puppet` of the data folder, or one that comes with Headroom.
    pub puppetfile: String,
    /// Whether puppet is installed where it is missing.
    pub install_puppet: bool,
}

impl Settings for OSConfiguration {
    const FACTS: Facts = Facts {
        default_timeout_secs: DEFAULT_TIMEOUT_SECS,
        ..Facts::plain(
            "Applies a Puppet manifest on the target's nodes, over SSH, in parallel.",
            &[StepTarget::Cluster, StepTarget::LastNode, StepTarget::Node],
        )
    };
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{"puppetfile": "tomcat.pp", "install_puppet": false}"#;

    fn read(fields: &mut Fields<'_>) -> Self {
        let action = Self {
            puppetfile: fields.required_text("puppetfile"),
            install_puppet: fields.optional_switch("install_puppet").unwrap_or(true),
        };
        if !action.puppetfile.is_empty()
            && let Err(message) = files::check_name(&action.puppetfile, ".pp")
        {
            fields.fault("puppetfile", message);
        }
        action
    }
}

impl Action for OSConfiguration {
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn summary(&self) -> String {
        format!("applies {}", self.puppetfile)
    }

    fn html(&self) -> Result<String> {
        self.render()
            .map_err(|cause| Error::internal("the settings of an OSConfiguration as a page", cause))
    }

    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>> {
        Ok(Box::new(Configuration {
            action: self.clone(),
            hosts: scope.hosts()?.to_vec(),
        }))
    }
}

struct Configuration {
    action: OSConfiguration,
    hosts: Vec<Host>,
}

impl Effect for Configuration {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            match self.manifest(attempt) {
                Ok(manifest) => self.apply(attempt, &manifest).await,
                Err(fault) => Outcome::failed(fault),
            }
        }
        .boxed()
    }
}

impl Configuration {
    fn manifest(&self, attempt: &Attempt) -> Result<Vec<u8>> {
        let tooling = &attempt.tools.tooling;
        match files::find(&tooling.puppet, SHIPPED, &self.action.puppetfile)? {
            Place::Shipped(text) => Ok(text.into()),
            Place::Own(path) => std::fs::read(&path).map_err(|cause| {
                Error::Conflict(format!("{} cannot be read: {cause}", path.display()))
            }),
        }
    }

    async fn apply(&self, attempt: &Attempt, manifest: &[u8]) -> Outcome {
        let max_output = Report::share(self.hosts.len()) / 2;
        let work = self
            .hosts
            .iter()
            .map(|host| self.one(host, attempt, manifest, max_output));
        let results: Vec<(Entry, Applied)> = stream::iter(work.collect::<Vec<_>>())
            .buffered(AT_ONCE)
            .collect()
            .await;
        let (entries, applied): (Vec<_>, Vec<_>) = results.into_iter().unzip();
        let mut outcome = on_hosts::outcome(entries, WHAT);
        let sum = |count: fn(&Applied) -> u64| applied.iter().map(count).sum::<u64>();
        outcome
            .outputs
            .insert("changed".into(), sum(|one| one.changed).into());
        outcome
            .outputs
            .insert("failed_resources".into(), sum(|one| one.failed).into());
        outcome
    }

    async fn one(
        &self,
        host: &Host,
        attempt: &Attempt,
        manifest: &[u8],
        max_output: usize,
    ) -> (Entry, Applied) {
        let request = HostRequest {
            script: self.script(attempt),
            stdin: manifest.to_vec(),
            deadline: attempt.deadline,
            max_output,
            cancelled: attempt.cancelled.clone(),
        };
        let result = if *attempt.cancelled.borrow() {
            Err(Error::Conflict("not begun: the run was cancelled".into()))
        } else {
            Arc::clone(&attempt.tools.hosts).run(host, &request).await
        };
        let mut entry = on_hosts::entry(host, WHAT, result);
        let applied = report::read(&mut entry);
        (entry, applied)
    }

    /// What the login user runs: `timeout` ends puppet on the node even when the connection is lost, and puppet ends when this shell is gone.
    fn script(&self, attempt: &Attempt) -> String {
        let limit = attempt
            .deadline
            .saturating_duration_since(Instant::now())
            .as_secs()
            .max(1);
        let install = if self.action.install_puppet {
            "yes"
        } else {
            "no"
        };
        format!(
            "as_root=; [ \"$(id -u)\" = 0 ] || as_root='sudo -n'\n\
             $as_root timeout -k 3 {limit} /bin/sh -c {} headroom $$ {install} {limit}\n\
             exit $?\n",
            quote(APPLY)
        )
    }
}
