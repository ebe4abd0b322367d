//! ZabbixBackup: keeps the configuration of a Zabbix server as files, and brings it back (`headroom zabbix import`).
//!
//! Recovery is to repeat: it reads the server and writes files, each in one step.

mod action;
mod backup;
mod document;
mod files;
mod import;
mod names;

use std::path::{Component, Path};
use std::time::Duration;

use askama::Template as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{
    Action, Attempt, Effect, Entry, Facts, Fields, Outcome, Outputs, Recovery, Report, Scope,
    Settings,
};
use crate::clients::zabbix::Zabbix;
use crate::error::{Error, Result};
use crate::models::StepTarget;

pub use backup::{Written, backup};
pub use import::{Change, Imported, import};

const DEFAULT_TIMEOUT_SECS: i64 = 600;
/// The folder of an action that names none.
pub const DEFAULT_FOLDER: &str = "zabbix";

/// The settings of a ZabbixBackup.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/zabbix_backup.html")]
pub struct ZabbixBackup {
    /// The folder inside the data folder.
    pub dir: String,
}

impl Settings for ZabbixBackup {
    const FACTS: Facts = Facts {
        default_timeout_secs: DEFAULT_TIMEOUT_SECS,
        ..Facts::plain(
            "Writes the configuration of the Zabbix server into files.",
            &[StepTarget::None],
        )
    };
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{"dir": "zabbix"}"#;

    fn read(fields: &mut Fields<'_>) -> Self {
        let dir = fields
            .optional_text("dir")
            .unwrap_or_else(|| DEFAULT_FOLDER.to_owned());
        if !Path::new(&dir)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            fields.fault(
                "dir",
                "must be a folder inside the data folder, such as zabbix",
            );
        }
        Self { dir }
    }
}

impl Action for ZabbixBackup {
    fn recovery(&self) -> Recovery {
        Recovery::Repeat
    }

    fn summary(&self) -> String {
        format!("into {}", self.dir)
    }

    fn folder(&self) -> Option<&str> {
        Some(&self.dir)
    }

    fn html(&self) -> Result<String> {
        self.render()
            .map_err(|cause| Error::internal("the settings of a ZabbixBackup as a page", cause))
    }

    fn prepare(&self, _scope: &Scope) -> Result<Box<dyn Effect>> {
        Ok(Box::new(self.clone()))
    }
}

impl Effect for ZabbixBackup {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let begin = Instant::now();
            let result = tokio::select! {
                result = self.run(attempt) => result,
                () = attempt.cancelled() => Err(Error::Conflict("stopped: the run was cancelled".into())),
            };
            let mut entry = Entry {
                subject: self.dir.clone(),
                took_ms: i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX),
                ..Entry::default()
            };
            match result {
                Ok(written) => {
                    entry.succeeded = true;
                    entry.stdout = written.iter().map(|(file, count)| format!("{file}: {count}\n")).collect();
                    let mut outputs = Outputs::new();
                    outputs.insert("dir".into(), self.dir.clone().into());
                    outputs.extend(written.iter().map(|(file, count)| (file.trim_end_matches(".json").to_owned(), (*count).into())));
                    Outcome { outputs, report: Report(vec![entry]), ..Outcome::default() }
                }
                Err(fault) => {
                    entry.error = Some(fault.to_string());
                    Outcome { report: Report(vec![entry]), ..Outcome::failed(fault) }
                }
            }
        }
        .boxed()
    }
}

impl ZabbixBackup {
    async fn run(&self, attempt: &Attempt) -> Result<Vec<Written>> {
        let tooling = &attempt.tools.tooling;
        let left = attempt.deadline.saturating_duration_since(Instant::now());
        let zabbix =
            Zabbix::connect(tooling.require_zabbix()?, left.max(Duration::from_secs(1))).await?;
        let written = tokio::time::timeout_at(
            attempt.deadline,
            backup(&zabbix, &tooling.data.join(&self.dir)),
        )
        .await;
        let written = written.map_err(|_| Error::Upstream {
            what: "Zabbix did not answer within the time limit".into(),
            retryable: true,
        })??;
        zabbix.close().await?;
        Ok(written)
    }
}
