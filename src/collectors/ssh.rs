//! Counters of a node over SSH: all that are due in one question to a shell held there, or in one command where none can be held; each by
//! itself where that fails.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

use crate::clients::Exit;
use crate::clients::ssh::{self, Answer, Host, Ssh};
use crate::collectors::batch::{self, Batch, Held};
use crate::collectors::target::{CounterSpec, Target, ToRead};
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
    counter: &'a Arc<CounterSpec>,
}

/// How scripts came to their end.
enum End {
    /// They were stopped; whether they are known to have ended.
    Stopped { confirmed: bool },
    /// What ran them was gone before the end, for this reason.
    Lost(String),
    /// They could not be run.
    Refused(Error),
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
            // Where others have run beside it, or in a shell that others have used, it may have been their fault.
            if !matches!(fates.get(index), Some(Some(Fate::Known(_)))) {
                self.run(host, scripts, &[index], deadline, &mut fates)
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

    /// Reads some of the scripts at once, in the held shell if there can be one.
    async fn attempt(
        &self,
        host: &Host,
        scripts: &[Script<'_>],
        some: &[usize],
        deadline: Instant,
        fates: &mut [Option<Fate>],
    ) {
        let chosen = some.iter().filter_map(|index| scripts.get(*index));
        let counters = chosen.map(|script| Arc::clone(script.counter)).collect();
        let begun = Instant::now();
        let held = Held::new(ssh::token(), counters);
        let (batch, end) = match self.ssh.ask(host, held, deadline).await {
            Ok((Answer::NoShell, _)) => {
                return self.run(host, scripts, some, deadline, fates).await;
            }
            Ok((answer, held)) => (Some(held), End::of_answer(answer)),
            Err(error) => (None, End::Refused(error)),
        };
        let batch = batch.as_ref().map(Held::batch);
        Outcome {
            batch,
            end,
            begun,
            deadline,
        }
        .settle(scripts, some, fates);
    }

    /// Runs some of the scripts in one command.
    async fn run(
        &self,
        host: &Host,
        scripts: &[Script<'_>],
        some: &[usize],
        deadline: Instant,
        fates: &mut [Option<Fate>],
    ) {
        let chosen = || some.iter().filter_map(|index| scripts.get(*index));
        let token = ssh::token();
        let program = batch::program(&token, chosen().map(|script| script.counter.script()));
        let batch = Batch::new(token, chosen().map(|script| script.counter.timeout));
        let begun = Instant::now();
        let (batch, end) = match self.ssh.listen(host, program, batch, deadline).await {
            Ok((exit, batch)) => {
                let end = End::of_command(&exit, &batch);
                (Some(batch), end)
            }
            Err(error) => (None, End::Refused(error)),
        };
        let batch = batch.as_ref();
        Outcome {
            batch,
            end,
            begun,
            deadline,
        }
        .settle(scripts, some, fates);
    }

    fn loners<T>(&self, work: impl FnOnce(&mut HashSet<SeriesKey>) -> T) -> T {
        work(&mut self.alone.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl End {
    fn of_answer(answer: Answer) -> Self {
        match answer {
            Answer::Stopped { confirmed } => Self::Stopped { confirmed },
            Answer::Lost(error) => Self::Lost(error.to_string()),
            Answer::Ended(exit) => {
                Self::Lost(format!("gave no result: the shell that ran it {exit}"))
            }
            Answer::Complete | Answer::NoShell => Self::Lost("gave no result".into()),
        }
    }

    fn of_command(exit: &Result<Exit, Error>, batch: &Batch) -> Self {
        match exit {
            Err(error) => Self::Lost(error.to_string()),
            Ok(Exit::Stopped { confirmed }) => Self::Stopped {
                confirmed: *confirmed,
            },
            Ok(exit @ (Exit::Status(_) | Exit::Signal(_))) => {
                let mut why = format!("gave no result: the shell that ran it {exit}");
                if let Some(noise) = batch.noise() {
                    why.push_str(&format!("; the node said {noise}"));
                }
                Self::Lost(why)
            }
        }
    }
}

/// What is known of scripts that were read at once.
struct Outcome<'a> {
    batch: Option<&'a Batch>,
    end: End,
    begun: Instant,
    deadline: Instant,
}

impl Outcome<'_> {
    /// Writes down what became of each.
    fn settle(&self, scripts: &[Script<'_>], some: &[usize], fates: &mut [Option<Fate>]) {
        for (nth, index) in some.iter().enumerate() {
            if let (Some(script), Some(place)) = (scripts.get(*index), fates.get_mut(*index)) {
                *place = Some(self.fate(script, nth));
            }
        }
    }

    fn fate(&self, script: &Script<'_>, nth: usize) -> Fate {
        let heard = self
            .batch
            .and_then(|batch| batch.heard().nth(nth).flatten());
        if let Some(heard) = heard {
            return Fate::Known(Measured {
                outcome: heard.account.verdict(),
                took: heard.at,
            });
        }
        match &self.end {
            End::Lost(why) => Fate::Lost(why.clone()),
            End::Refused(error) => Fate::Known(Measured::error(error.to_string())),
            End::Stopped { confirmed } => {
                let left = self.deadline.saturating_duration_since(self.begun);
                let mut why = late(script.counter.timeout.min(left));
                if let Some(noise) = self.batch.and_then(Batch::noise) {
                    why.push_str(&format!("; the node said {noise}"));
                }
                if !confirmed {
                    why.push_str(" and could not be stopped: it may still be running on the node");
                }
                Fate::Known(Measured {
                    outcome: Err(why),
                    took: self.begun.elapsed(),
                })
            }
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
                    counter: &due.counter,
                })
                .collect();
            self.measure(host, &scripts, deadline).await
        }
        .boxed()
    }
}
