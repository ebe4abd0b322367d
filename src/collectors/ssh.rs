//! Counters of a node over SSH: all that are due in one question to a shell held there, or in one command where none can be held; each by
//! itself where that fails.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use crate::clients::Exit;
use crate::clients::ssh::{self, Answer, Host, Ssh};
use crate::collectors::batch::{self, Batch, Heard, Held};
use crate::collectors::target::{CounterSpec, Target, ToRead};
use crate::collectors::verdict::late;
use crate::collectors::{Collector, Measured, RESERVE, UNREAD};
use crate::error::Error;
use crate::samples::SeriesKey;

/// Scripts at once on one node.
const AT_ONCE: usize = 16;
/// How long scripts that were told to stop are waited for while others have yet to run; at the end of a tick what is kept back of it.
const CONFIRM: Duration = Duration::from_secs(1);
/// What each part of the scripts may take at least, so that the first ones get through where the time is short.
const LEAST: Duration = Duration::from_secs(1);
/// Of what is kept back: for handing on what was heard.
const HAND_ON: Duration = Duration::from_millis(50);

/// Reads `ssh` counters.
pub(super) struct SshCollector {
    ssh: Ssh,
    /// Scripts that harmed others: they run after the others until they behave.
    harmful: Mutex<HashMap<SeriesKey, Harm>>,
}

/// What a script did to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// It kept them from their turn: it runs together with others that do.
    Slow,
    /// It took them down with it: it runs by itself.
    Deadly,
}

/// A script of a target.
struct Script<'a> {
    key: SeriesKey,
    counter: &'a Arc<CounterSpec>,
}

/// How long the scripts of a node may take.
#[derive(Clone, Copy)]
struct Time {
    /// Nothing runs any more.
    stop: Instant,
    /// What was heard is handed on, whether or not the node has confirmed that nothing runs.
    end: Instant,
}

/// How scripts came to their end.
enum End {
    /// They were stopped; whether they are known to have ended.
    Stopped { confirmed: bool },
    /// The time was over before it was known how they came to it.
    Unknown,
    /// What ran them was gone before the end, for this reason.
    Lost(String),
    /// They could not be run.
    Refused(Error),
}

/// What became of one script.
enum Fate {
    Known(Measured),
    /// Nothing was heard of it in time, and here is what to say.
    Unheard(Measured),
    /// It could not be run.
    Refused(Measured),
    /// Its frame did not come, for this reason.
    Lost(String),
}

impl Time {
    /// Ends with what of it is due to the first of so many parts.
    fn share(self, parts: usize) -> Self {
        let now = Instant::now();
        let left = self.stop.saturating_duration_since(now);
        let stop = now + part(left, parts).max(LEAST).min(left);
        Self {
            stop,
            end: self.end.min(stop + CONFIRM),
        }
    }

    fn is_over(self) -> bool {
        Instant::now() >= self.stop
    }
}

impl SshCollector {
    pub(super) fn new(ssh: Ssh) -> Self {
        Self {
            ssh,
            harmful: Mutex::default(),
        }
    }

    async fn measure(&self, host: &Host, scripts: &[Script<'_>], time: Time) -> Vec<Measured> {
        // Quick enough to be among the others, of which each part has its share of the time.
        let left = time.stop.saturating_duration_since(Instant::now());
        let brief = part(left, scripts.len().div_ceil(AT_ONCE));
        let mut fates: Vec<Option<Fate>> = scripts.iter().map(|_| None).collect();
        let slow = self.those(scripts, Some(Harm::Slow));
        let parts: Vec<Vec<usize>> = chunks(self.those(scripts, None));
        for (nth, some) in parts.iter().enumerate() {
            let share = time.share(parts.len() - nth);
            self.attempt(host, scripts, some, share, &mut fates).await;
        }
        // Where others have run beside it, or in a shell that others have used, it may have been their fault.
        let deadly = self.those(scripts, Some(Harm::Deadly)).into_iter();
        let lost = (0..scripts.len())
            .filter(|index| matches!(fates.get(*index), Some(Some(Fate::Lost(_)))));
        let mut last: Vec<Vec<usize>> = deadly.chain(lost).map(|index| vec![index]).collect();
        last.extend(chunks(slow));
        for (nth, some) in last.iter().enumerate() {
            let share = time.share(last.len() - nth);
            Box::pin(self.run(host, scripts, some, share, &mut fates)).await;
        }
        self.learn(scripts, &fates, brief);
        fates
            .into_iter()
            .map(|fate| match fate {
                Some(Fate::Known(measured) | Fate::Unheard(measured) | Fate::Refused(measured)) => {
                    measured
                }
                Some(Fate::Lost(why)) => Measured::error(why),
                None => Measured::error(UNREAD),
            })
            .collect()
    }

    /// The places of the scripts that did such harm.
    fn those(&self, scripts: &[Script<'_>], harm: Option<Harm>) -> Vec<usize> {
        let harmful = self.harmful.lock().unwrap_or_else(PoisonError::into_inner);
        let all = (0..).zip(scripts);
        all.filter(|(_, script)| harmful.get(&script.key).copied() == harm)
            .map(|(index, _)| index)
            .collect()
    }

    /// Remembers which scripts harm others.
    fn learn(&self, scripts: &[Script<'_>], fates: &[Option<Fate>], brief: Duration) {
        let mut harmful = self.harmful.lock().unwrap_or_else(PoisonError::into_inner);
        // Where no script was heard of, it is the node that hangs.
        let hears = fates
            .iter()
            .any(|fate| matches!(fate, Some(Fate::Known(_))));
        for (script, fate) in scripts.iter().zip(fates) {
            match fate {
                Some(Fate::Lost(_)) => drop(harmful.insert(script.key, Harm::Deadly)),
                Some(Fate::Known(measured)) if measured.took > brief => {
                    harmful.insert(script.key, Harm::Slow);
                }
                Some(Fate::Known(_)) => drop(harmful.remove(&script.key)),
                Some(Fate::Unheard(_)) if hears => {
                    harmful.entry(script.key).or_insert(Harm::Slow);
                }
                Some(Fate::Unheard(_) | Fate::Refused(_)) | None => {}
            }
        }
    }

    /// Reads some of the scripts at once, in the held shell if there can be one.
    async fn attempt(
        &self,
        host: &Host,
        scripts: &[Script<'_>],
        some: &[usize],
        time: Time,
        fates: &mut [Option<Fate>],
    ) {
        if time.is_over() {
            return;
        }
        let chosen = some.iter().filter_map(|index| scripts.get(*index));
        let counters = chosen.map(|script| Arc::clone(script.counter)).collect();
        let begun = Instant::now();
        let (asked, board) = {
            let held = Held::new(ssh::token(), counters);
            let board = held.batch().board();
            (self.ssh.ask(host, held, time.stop), board)
        };
        // Nobody waits for its end then, but the shell is stopped nevertheless.
        let asked = timeout_at(time.end, asked).await;
        let (end, noise) = match asked {
            Ok(Ok((Answer::NoShell, _))) => {
                // Few nodes need it: the others hold no room for it.
                return Box::pin(self.run(host, scripts, some, time, fates)).await;
            }
            Ok(Ok((answer, held))) => (End::of_answer(answer), held.batch().noise()),
            Ok(Err(error)) => (End::Refused(error), None),
            Err(_) => (End::Unknown, None),
        };
        Outcome {
            heard: board.heard(),
            noise,
            end,
            begun,
            stop: time.stop,
        }
        .settle(scripts, some, fates);
    }

    /// Runs some of the scripts in one command.
    async fn run(
        &self,
        host: &Host,
        scripts: &[Script<'_>],
        some: &[usize],
        time: Time,
        fates: &mut [Option<Fate>],
    ) {
        if time.is_over() {
            return;
        }
        let chosen = || some.iter().filter_map(|index| scripts.get(*index));
        let token = ssh::token();
        let program = batch::program(&token, chosen().map(|script| script.counter.script()));
        let batch = Batch::new(token, chosen().map(|script| script.counter.timeout));
        let board = batch.board();
        let begun = Instant::now();
        let listened = self.ssh.listen(host, program, batch, time.stop);
        let (end, noise) = match timeout_at(time.end, listened).await {
            Ok(Ok((exit, batch))) => (End::of_command(&exit, &batch), batch.noise()),
            Ok(Err(error)) => (End::Refused(error), None),
            Err(_) => (End::Unknown, None),
        };
        Outcome {
            heard: board.heard(),
            noise,
            end,
            begun,
            stop: time.stop,
        }
        .settle(scripts, some, fates);
    }
}

fn part(of: Duration, parts: usize) -> Duration {
    of / u32::try_from(parts.max(1)).unwrap_or(u32::MAX)
}

fn chunks(places: Vec<usize>) -> Vec<Vec<usize>> {
    places.chunks(AT_ONCE).map(<[usize]>::to_vec).collect()
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
struct Outcome {
    heard: Vec<Option<Heard>>,
    /// What the node said that was no frame.
    noise: Option<String>,
    end: End,
    begun: Instant,
    stop: Instant,
}

impl Outcome {
    /// Writes down what became of each.
    fn settle(&self, scripts: &[Script<'_>], some: &[usize], fates: &mut [Option<Fate>]) {
        for (nth, index) in some.iter().enumerate() {
            if let (Some(script), Some(place)) = (scripts.get(*index), fates.get_mut(*index)) {
                *place = Some(self.fate(script, nth));
            }
        }
    }

    fn fate(&self, script: &Script<'_>, nth: usize) -> Fate {
        if let Some(Some(heard)) = self.heard.get(nth) {
            return Fate::Known(Measured {
                outcome: heard.account.verdict(),
                took: heard.at,
            });
        }
        match &self.end {
            End::Lost(why) => Fate::Lost(why.clone()),
            End::Refused(error) => Fate::Refused(Measured::error(error.to_string())),
            End::Unknown => self.unheard(UNREAD.into()),
            End::Stopped { confirmed } => {
                let left = self.stop.saturating_duration_since(self.begun);
                let mut why = late(script.counter.timeout.min(left));
                if let Some(noise) = &self.noise {
                    why.push_str(&format!("; the node said {noise}"));
                }
                if !confirmed {
                    why.push_str(" and could not be stopped: it may still be running on the node");
                }
                self.unheard(why)
            }
        }
    }

    fn unheard(&self, why: String) -> Fate {
        Fate::Unheard(Measured {
            outcome: Err(why),
            took: self.begun.elapsed(),
        })
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
            let time = Time {
                stop: deadline,
                end: deadline + RESERVE - HAND_ON,
            };
            self.measure(host, &scripts, time).await
        }
        .boxed()
    }
}
