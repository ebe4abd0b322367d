//! Counters of a node over SSH: all that are due in one command, each by itself where that fails.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::clients::Exit;
use crate::clients::ssh::{Host, Ssh};
use crate::collectors::batch::{self, Batch};
use crate::collectors::target::{Source, Target, ToRead};
use crate::collectors::verdict::late;
use crate::collectors::{Collector, Measured};
use crate::error::Error;
use crate::samples::SeriesKey;

/// Scripts at once on one node.
const AT_ONCE: usize = 16;

/// Reads `ssh` counters.
pub(super) struct SshCollector {
    ssh: Ssh,
    /// Scripts that took others down with them: they run by themselves, after the others, until they behave.
    alone: Mutex<HashSet<SeriesKey>>,
}

/// A script of a target.
struct Script<'a> {
    key: SeriesKey,
    text: &'a str,
    timeout: Duration,
}

/// What became of one script.
enum Fate {
    Known(Measured),
    /// Its frame did not come, for this reason.
    Lost(String),
}

impl SshCollector {
    pub(super) fn new(ssh: Ssh) -> Self {
        Self {
            ssh,
            alone: Mutex::default(),
        }
    }

    async fn measure(
        &self,
        host: &Host,
        scripts: &[Script<'_>],
        deadline: Instant,
    ) -> Vec<Measured> {
        let mut fates: Vec<Option<Fate>> = scripts.iter().map(|_| None).collect();
        let alone = |script: &Script| self.loners(|loners| loners.contains(&script.key));
        let together: Vec<usize> = (0..)
            .zip(scripts)
            .filter(|(_, script)| !alone(script))
            .map(|(index, _)| index)
            .collect();
        for some in together.chunks(AT_ONCE) {
            self.attempt(host, scripts, some, deadline, &mut fates)
                .await;
        }
        for index in 0..scripts.len() {
            let retry = match fates.get(index) {
                Some(Some(Fate::Lost(_))) => together.len() > 1,
                Some(None) => true,
                _ => false,
            };
            if retry {
                self.attempt(host, scripts, &[index], deadline, &mut fates)
                    .await;
            }
        }
        for (script, fate) in scripts.iter().zip(&fates) {
            self.loners(|loners| match fate {
                Some(Fate::Lost(_)) => drop(loners.insert(script.key)),
                _ => drop(loners.remove(&script.key)),
            });
        }
        fates
            .into_iter()
            .map(|fate| match fate {
                Some(Fate::Known(measured)) => measured,
                Some(Fate::Lost(why)) => Measured::error(why),
                None => Measured::error("was not read"),
            })
            .collect()
    }

    /// Runs some of the scripts in one command.
    async fn attempt(
        &self,
        host: &Host,
        scripts: &[Script<'_>],
        some: &[usize],
        deadline: Instant,
        fates: &mut [Option<Fate>],
    ) {
        let chosen: Vec<&Script> = some
            .iter()
            .filter_map(|index| scripts.get(*index))
            .collect();
        let token = hex::encode(rand::random::<[u8; 16]>());
        let program = batch::program(&token, chosen.iter().map(|script| script.text));
        let batch = Batch::new(token, chosen.iter().map(|script| script.timeout));
        let begun = Instant::now();
        let outcome = self.ssh.listen(host, program, batch, deadline).await;
        for (nth, (index, script)) in some.iter().zip(&chosen).enumerate() {
            let fate = match &outcome {
                Ok((exit, batch)) => fate(script, exit, batch, nth, begun, deadline),
                Err(error) => Fate::Known(Measured::error(error.to_string())),
            };
            if let Some(place) = fates.get_mut(*index) {
                *place = Some(fate);
            }
        }
    }

    fn loners<T>(&self, work: impl FnOnce(&mut HashSet<SeriesKey>) -> T) -> T {
        work(&mut self.alone.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn fate(
    script: &Script<'_>,
    exit: &Result<Exit, Error>,
    batch: &Batch,
    nth: usize,
    begun: Instant,
    deadline: Instant,
) -> Fate {
    if let Some(heard) = batch.heard().nth(nth).flatten() {
        return Fate::Known(Measured {
            outcome: heard.account.verdict(),
            took: heard.at,
        });
    }
    match exit {
        Err(error) => Fate::Lost(error.to_string()),
        Ok(Exit::Stopped { confirmed }) => {
            let left = deadline.saturating_duration_since(begun);
            let mut why = late(script.timeout.min(left));
            if !confirmed {
                why.push_str(" and could not be stopped: it may still be running on the node");
            }
            Fate::Known(Measured {
                outcome: Err(why),
                took: begun.elapsed(),
            })
        }
        Ok(exit @ (Exit::Status(_) | Exit::Signal(_))) => {
            let mut why = format!("gave no result: the shell that ran it {exit}");
            if let Some(noise) = batch.noise() {
                why.push_str(&format!("; the node said {noise}"));
            }
            Fate::Lost(why)
        }
    }
}

impl Collector for SshCollector {
    fn reads(&self, key: SeriesKey) -> bool {
        matches!(key, SeriesKey::Ssh { .. })
    }

    fn read<'a>(
        &'a self,
        target: &'a Target,
        due: Vec<&'a ToRead>,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Measured>> {
        async move {
            let host = match &target.ssh {
                Some(Ok(host)) => host,
                Some(Err(why)) => return due.iter().map(|_| Measured::error(why)).collect(),
                None => {
                    let why = "the node has no ssh profile";
                    return due.iter().map(|_| Measured::error(why)).collect();
                }
            };
            let scripts: Vec<Script> = due
                .iter()
                .map(|due| Script {
                    key: due.key,
                    text: match &due.counter.source {
                        Source::Script(text) => text,
                        Source::Jmx { .. } => "",
                    },
                    timeout: due.counter.timeout,
                })
                .collect();
            self.measure(host, &scripts, deadline).await
        }
        .boxed()
    }
}
