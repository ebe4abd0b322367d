//! DistributedScript: a task of a fabfile, by Fabric's `fab` on Headroom's own host, for each node of the target.
//!
//! Each node is a process of `fab` of its own: its output and its exit status are that node's alone, and a rolling change stops at the first
//! node that fails. A fabfile is a file of the data folder or one that Headroom brings along, never text from a page.

mod fab;

use std::sync::atomic::{AtomicBool, Ordering};

use askama::Template as _;
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _, stream};

use super::files::{self, Shipped};
use super::{
    Action, Attempt, Effect, Entry, Facts, Fields, Host, Names, Outcome, Recovery, Report, Scope,
    Settings, on_hosts,
};
use crate::error::{Error, Result};
use crate::models::StepTarget;
use fab::Fab;

/// The most processes of `fab` that one step may run at once; each takes some 40 MB.
const MAX_AT_ONCE: i64 = 16;
const DEFAULT_TIMEOUT_SECS: i64 = 600;
/// What ran, in a report.
const WHAT: &str = "the task";

/// The fabfiles that come with Headroom.
const SHIPPED: &[Shipped] = &[
    (
        "counter_scripts.py",
        include_str!("../../../fabric-scripts/counter_scripts.py"),
    ),
    (
        "release.py",
        include_str!("../../../fabric-scripts/release.py"),
    ),
    (
        "rolling_restart.py",
        include_str!("../../../fabric-scripts/rolling_restart.py"),
    ),
];

/// The settings of a DistributedScript.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/distributed_script.html")]
pub struct DistributedScript {
    /// The fabfile, inside `fabric-scripts` of the data folder, or one that comes with Headroom.
    pub fabfile: String,
    /// The task.
    pub task: String,
    /// Its arguments; names are filled in per node.
    pub args: Vec<String>,
    /// Nodes that are worked on at the same time.
    pub at_once: i64,
    /// Whether further nodes are begun after one has failed.
    pub keep_going: bool,
    /// Whether it may run again after a crash has hidden its outcome.
    pub repeatable: bool,
}

impl Settings for DistributedScript {
    const FACTS: Facts = Facts {
        default_timeout_secs: DEFAULT_TIMEOUT_SECS,
        on_own_host: true,
        ..Facts::plain(
            "Runs a task of a fabfile for each of the target's nodes, by Fabric on Headroom's own host.",
            &[StepTarget::Cluster, StepTarget::LastNode, StepTarget::Node],
        )
    };
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{"fabfile": "deploy.py", "task": "release", "args": ["--version", "1.2"], "at_once": 4, "keep_going": true}"#;

    fn read(fields: &mut Fields<'_>) -> Self {
        let action = Self {
            fabfile: fields.required_text("fabfile"),
            task: fields.required_text("task"),
            args: fields.optional_templates("args", Names::Node),
            at_once: fields.integer("at_once", 1..=MAX_AT_ONCE).unwrap_or(1),
            keep_going: fields.switch("keep_going"),
            repeatable: fields.switch("repeatable"),
        };
        if !action.fabfile.is_empty()
            && let Err(message) = files::check_name(&action.fabfile, ".py")
        {
            fields.fault("fabfile", message);
        }
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if action.task.starts_with('-') || !action.task.chars().all(named) {
            fields.fault(
                "task",
                "must be the name of a task: letters, digits, dots, dashes and underscores",
            );
        }
        action
    }
}

impl Action for DistributedScript {
    fn recovery(&self) -> Recovery {
        if self.repeatable {
            Recovery::Repeat
        } else {
            Recovery::AskAPerson
        }
    }

    fn summary(&self) -> String {
        format!("{} of {}", self.task, self.fabfile)
    }

    fn html(&self) -> Result<String> {
        self.render().map_err(|cause| {
            Error::internal("the settings of a DistributedScript as a page", cause)
        })
    }

    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>> {
        let hosts = scope.hosts()?.iter().cloned();
        let tasks = hosts.map(|host| {
            let args = self.args.iter().enumerate();
            let args =
                args.map(|(index, arg)| scope.fill_for(&format!("args[{index}]"), arg, &host));
            Ok((args.collect::<Result<_>>()?, host))
        });
        Ok(Box::new(Tasks {
            tasks: tasks
                .map(|task| task.map(|(args, host)| Task { host, args }))
                .collect::<Result<_>>()?,
            action: self.clone(),
        }))
    }
}

/// The task of one node.
struct Task {
    host: Host,
    args: Vec<String>,
}

struct Tasks {
    action: DistributedScript,
    tasks: Vec<Task>,
}

impl Effect for Tasks {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            match self.run(attempt).await {
                Ok(entries) => on_hosts::outcome(entries, WHAT),
                Err(fault) => Outcome::failed(fault),
            }
        }
        .boxed()
    }
}

impl Tasks {
    async fn run(&self, attempt: &Attempt) -> Result<Vec<Entry>> {
        let fab = Fab::find(&attempt.tools.tooling, &self.action.fabfile).await?;
        let logins = self
            .tasks
            .iter()
            .map(|task| attempt.tools.hosts.login(&task.host, attempt.deadline));
        let logins = tokio::select! {
            logins = join_all(logins) => logins,
            () = attempt.cancelled() => return Err(Error::Conflict("not begun: the run was cancelled".into())),
        };
        let known = self.tasks.iter().zip(&logins);
        let known =
            known.filter_map(|(task, login)| Some((task.host.name.as_str(), login.as_ref().ok()?)));
        // Dropped, and so removed, when this ends, however it ends.
        let site = fab.site(known)?;
        let failed = AtomicBool::new(false);
        let max_output = Report::share(self.tasks.len()) / 2;
        let work = self.tasks.iter().zip(logins).map(|(task, login)| {
            let (site, failed) = (&site, &failed);
            async move {
                let result = match login {
                    _ if failed.load(Ordering::Relaxed) && !self.action.keep_going => {
                        Err(Error::Upstream {
                            what: "not begun: the task failed on another node before".into(),
                            retryable: true,
                        })
                    }
                    _ if *attempt.cancelled.borrow() => {
                        Err(Error::Conflict("not begun: the run was cancelled".into()))
                    }
                    Ok(_) => {
                        site.run(
                            &task.host.name,
                            &self.action.task,
                            &task.args,
                            max_output,
                            attempt,
                        )
                        .await
                    }
                    Err(cause) => Err(cause),
                };
                let entry = on_hosts::entry(&task.host, WHAT, result);
                failed.fetch_or(!entry.succeeded, Ordering::Relaxed);
                entry
            }
        });
        let at_once = usize::try_from(self.action.at_once).unwrap_or(1);
        Ok(stream::iter(work.collect::<Vec<_>>())
            .buffered(at_once)
            .collect()
            .await)
    }
}
