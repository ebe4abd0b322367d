//! What a step knows when it starts, and the ways out that its effect may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Outputs;
use super::cloud::Cloud;
use super::shell;
use super::template::{Names, Template, split_step, unknown};
use crate::clients::ExecOutput;
use crate::clients::mail::Mailer;
use crate::clients::ssh::Credentials;
use crate::config::{Tooling, nearest};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::models::{NodeId, SshProfileId, StepTarget};
use crate::vault::Vault;

/// The ways out.
pub struct Tools {
    /// Definitions and the journal.
    pub db: Db,
    /// Runs scripts on nodes.
    pub hosts: Arc<dyn Hosts>,
    /// Sends mail.
    pub mailer: Mailer,
    /// Secrets at rest.
    pub vault: Vault,
    /// Programs and folders.
    pub tooling: Tooling,
    /// Launches and removes instances.
    pub cloud: Cloud,
}

/// A node as a step reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// How to log in; without one, `localhost` is Headroom's own host.
    pub ssh_profile: Option<SshProfileId>,
}

/// A script for one host.
pub struct HostRequest {
    /// For `/bin/sh`.
    pub script: String,
    /// What it reads; empty = nothing.
    pub stdin: Vec<u8>,
    /// When it is stopped.
    pub deadline: Instant,
    /// How much of each of its streams is kept, in bytes.
    pub max_output: usize,
    /// When true, it is stopped early.
    pub cancelled: watch::Receiver<bool>,
}

/// Runs scripts on nodes.
pub trait Hosts: Send + Sync {
    /// Runs a script and waits for its end, its deadline or its cancellation.
    ///
    /// # Errors
    /// The host cannot be reached or refuses, or the script was cancelled. That it failed or was stopped at its deadline is no error.
    /// `Upstream` that is retryable: the script certainly did not begin; otherwise it may have.
    fn run<'a>(
        &'a self,
        host: &'a Host,
        request: &'a HostRequest,
    ) -> BoxFuture<'a, Result<ExecOutput>>;

    /// What another program needs to log in to a host as Headroom does.
    ///
    /// # Errors
    /// The host cannot be reached or is not trusted, or is not reached over SSH at all.
    fn login<'a>(&'a self, host: &'a Host, deadline: Instant)
    -> BoxFuture<'a, Result<Credentials>>;
}

/// What a step knows when it starts.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Values of the fixed names.
    pub values: BTreeMap<&'static str, String>,
    /// Fixed names that have no value in this run, and why.
    pub absent: BTreeMap<&'static str, String>,
    /// What the steps that have succeeded gave out; none for a step that has not.
    pub steps: BTreeMap<String, Option<Outputs>>,
    /// What the step acts on.
    pub target: Option<StepTarget>,
    /// Its name.
    pub target_name: String,
    /// The step's own name.
    pub step_name: String,
    /// The nodes it stands for.
    pub hosts: Vec<Host>,
}

impl Scope {
    /// The nodes to act on.
    ///
    /// # Errors
    /// There are none.
    pub fn hosts(&self) -> Result<&[Host]> {
        if self.hosts.is_empty() {
            let name = &self.target_name;
            return Err(Error::Conflict(format!(
                "nothing to act on: the cluster \"{name}\" has no node in service; add one or put one back into service"
            )));
        }
        Ok(&self.hosts)
    }

    /// The cluster that the run belongs to.
    ///
    /// # Errors
    /// There is none; the message says why.
    pub fn cluster(&self) -> Result<&str> {
        let name = self.values.get("cluster.name").map(String::as_str);
        name.ok_or_else(|| {
            Error::Conflict(self.absent.get("cluster.name").cloned().unwrap_or_default())
        })
    }

    /// A text with its names filled in.
    ///
    /// # Errors
    /// A name has no value; the fault is at `key`.
    pub fn fill(&self, key: &str, text: &str) -> Result<String> {
        Template::parse(text)
            .and_then(|template| template.fill(|name| self.value(name, None)))
            .map_err(|message| Error::invalid(key, message))
    }

    /// As [`Scope::fill`], for a host, whose own names may stand in the text too.
    ///
    /// # Errors
    /// As [`Scope::fill`].
    pub fn fill_for(&self, key: &str, text: &str, host: &Host) -> Result<String> {
        Template::parse(text)
            .and_then(|template| template.fill(|name| self.value(name, Some(host))))
            .map_err(|message| Error::invalid(key, message))
    }

    /// A script for a host with its names filled in, so that no value is ever read as a part of the script.
    ///
    /// # Errors
    /// As [`Scope::fill`]; also where a name stands between single quotes, in which the shell knows no values.
    pub fn fill_script(&self, key: &str, text: &str, host: &Host) -> Result<String> {
        Template::parse(text)
            .and_then(|template| shell::fill(&template, |name| self.value(name, Some(host))))
            .map_err(|message| Error::invalid(key, message))
    }

    fn value(&self, name: &str, host: Option<&Host>) -> Result<String, String> {
        if let Some(value) = self.values.get(name) {
            return Ok(value.clone());
        }
        if let Some(reason) = self.absent.get(name) {
            return Err(format!("{{{{ {name} }}}} has no value: {reason}"));
        }
        match (name, host) {
            ("node.name", Some(host)) => return Ok(host.name.clone()),
            ("node.address", Some(host)) => return Ok(host.address.clone()),
            _ => {}
        }
        match split_step(name) {
            Some((step, output)) => self.step_value(step, output),
            None => {
                let names = if host.is_some() {
                    Names::Node
                } else {
                    Names::Run
                };
                Err(unknown(name, names.all()))
            }
        }
    }

    fn step_value(&self, step: &str, output: &str) -> Result<String, String> {
        let Some(outputs) = self.steps.get(step) else {
            let hint = hint(step, self.steps.keys().map(String::as_str));
            return Err(format!("there is no step \"{step}\" in this run{hint}"));
        };
        let Some(outputs) = outputs else {
            return Err(format!(
                "the step \"{step}\" has not succeeded yet, so it has no outputs; name it in depends_on"
            ));
        };
        match outputs.get(output) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Ok(other.to_string()),
            None => {
                let hint = hint(output, outputs.keys().map(String::as_str));
                Err(format!(
                    "the step \"{step}\" has no output \"{output}\"{hint}"
                ))
            }
        }
    }
}

fn hint<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("; did you mean \"{near}\"?"),
        None => format!("; there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}
