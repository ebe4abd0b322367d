//! What every action kind states about itself, and the one way in which the engine makes it act.

use std::fmt;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fields::Fields;
use super::report::Report;
use super::scope::{Scope, Tools};
use crate::db::Connection;
use crate::error::{Error, Fault, Result};
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{RunId, StepTarget};

/// The time limit of a kind that says nothing else.
pub(super) const DEFAULT_TIMEOUT_SECS: i64 = 60;

/// Named outputs of a step: text, numbers and switches that later steps may use.
pub type Outputs = Map<String, Value>;

/// What holds for every action of a kind, whatever its settings.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// What it does, in a sentence for a person who chooses a kind.
    pub about: &'static str,
    /// What its steps may act on.
    pub targets: &'static [StepTarget],
    /// Time limit of an action that names none.
    pub default_timeout_secs: i64,
    /// Nodes that one step adds (positive) or removes (negative).
    pub capacity_change: i32,
    /// Whether it starts programs on Headroom's own host, which is refused where `HEADROOM_ALLOW_LOCAL` does not allow it.
    pub on_own_host: bool,
    /// How a step is taken back, as a sentence; none when it cannot be. An undo must be safe to repeat: a crash in its middle repeats it.
    pub undo: Option<&'static str>,
}

impl Facts {
    /// A kind that changes no capacity, cannot be undone and has the usual time limit.
    pub const fn plain(about: &'static str, targets: &'static [StepTarget]) -> Self {
        Self {
            about,
            targets,
            default_timeout_secs: DEFAULT_TIMEOUT_SECS,
            capacity_change: 0,
            on_own_host: false,
            undo: None,
        }
    }
}

/// What becomes of an effect that was announced in the journal and whose outcome is not known, since the process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// It is repeated with the same token.
    Repeat,
    /// It is looked up, and repeated only where it did not happen.
    LookUp,
    /// The run is stuck until a person decides.
    AskAPerson,
}

/// A kind of action.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name in files, pages, the API and the database.
    pub name: &'static str,
    /// What holds for all its actions.
    pub facts: Facts,
    /// Good settings, for the tests that walk all kinds.
    #[cfg(test)]
    pub sample: &'static str,
    read: fn(&Value, &str, &mut Vec<Fault>) -> Box<dyn Action>,
}

impl Kind {
    /// The kind whose settings are `S`.
    pub const fn of<S: Settings>(name: &'static str) -> Self {
        Self {
            name,
            facts: S::FACTS,
            #[cfg(test)]
            sample: S::SAMPLE,
            read: |settings, path, faults| Box::new(Fields::read(settings, path, faults, S::read)),
        }
    }

    /// Reads settings; not to be used when a fault was noted.
    pub fn read(&self, settings: &Value, path: &str, faults: &mut Vec<Fault>) -> Box<dyn Action> {
        (self.read)(settings, path, faults)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The settings of a kind: what `kinds!` wants of the type it names.
pub trait Settings: Action + Sized + 'static {
    /// What holds for every action of this kind.
    const FACTS: Facts;

    /// Good settings as JSON, with which the tests that walk all kinds read and show it.
    #[cfg(test)]
    const SAMPLE: &'static str;

    /// Reads the settings, noting every fault.
    fn read(fields: &mut Fields<'_>) -> Self;
}

/// One configured action.
pub trait Action: Send + Sync {
    /// What becomes of an effect whose outcome a crash has hidden.
    fn recovery(&self) -> Recovery;

    /// What it does, in one line; never shows a secret.
    fn summary(&self) -> String;

    /// Whether it may leave less of something than there was, nodes aside: missing data must not lead to it.
    fn may_shrink(&self) -> bool {
        false
    }

    /// The folder of the data folder that it writes into, which belongs in a backup.
    fn folder(&self) -> Option<&str> {
        None
    }

    /// Its settings as a fragment of a page, from the kind's partial.
    ///
    /// # Errors
    /// The template fails.
    fn html(&self) -> Result<String>;

    /// Fills in the texts and fixes what is acted on, without touching anything: what fails here has had no effect.
    ///
    /// # Errors
    /// A name in a text has no value, or there is nothing to act on.
    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>>;
}

/// A prepared step: from here on things happen.
pub trait Effect: Send + Sync {
    /// Acts. Ends by `attempt.deadline`, and soon after `attempt.cancelled` where that is safe.
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome>;

    /// Finds out whether an earlier attempt with the same token had its effect; for kinds that recover by looking up.
    ///
    /// # Errors
    /// The outside cannot be asked.
    fn look_up<'a>(&'a self, _attempt: &'a Attempt) -> BoxFuture<'a, Result<Found>> {
        ready(Ok(Found::Unclear(
            "this kind of action cannot be looked up".into(),
        )))
        .boxed()
    }

    /// Takes the step back, given what it gave out. Safe to repeat.
    fn undo<'a>(&'a self, _attempt: &'a Attempt, _outputs: &'a Outputs) -> BoxFuture<'a, Outcome> {
        let fault = Error::Conflict("this kind of action cannot be undone".into());
        ready(Outcome::failed(fault)).boxed()
    }
}

/// What a look-up came to.
#[derive(Debug)]
pub enum Found {
    /// The effect happened.
    Done(Outcome),
    /// It did not happen; it is safe to begin again.
    NotDone,
    /// It happened in part, and beginning again goes on with it; what stands, as a failure, when nobody does.
    Begun(Outcome),
    /// It cannot be told; the reason, for the person who must.
    Unclear(String),
}

/// The claim under which an effect acts. It may be lost at any moment: a process that stood still wakes when another has gone on with its run.
#[derive(Debug, Clone)]
pub struct Fence {
    /// The run that is claimed.
    pub run: RunId,
    /// What stands in its row as long as the claim holds.
    pub claim: String,
    /// Becomes true when the claim is known to be lost.
    pub lost: watch::Receiver<bool>,
}

/// One attempt at an effect.
pub struct Attempt {
    /// The ways out.
    pub tools: Arc<Tools>,
    /// Names this attempt to services that can tell a repetition; a repetition after a crash carries the same.
    pub token: String,
    /// What an earlier attempt at this step wrote down with [`Attempt::note`], or gave out; empty for the first.
    pub noted: Outputs,
    /// When the time limit is over.
    pub deadline: Instant,
    /// Becomes true when a person has cancelled the run or the claim on it was lost.
    pub cancelled: watch::Receiver<bool>,
    /// What it may act under; with the same token, another worker may be at the same step.
    pub fence: Fence,
}

impl Attempt {
    /// A transaction about what the step works on; none once the claim on the run is lost.
    ///
    /// # Errors
    /// What `work` returns; `Conflict` when another worker has the run.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Fence { run, claim, lost } = self.fence.clone();
        if *lost.borrow() {
            return Err(Run::lost(run));
        }
        let write = move |conn: &mut Connection| {
            if !Run::holds(conn, run, &claim)? {
                return Err(Run::lost(run));
            }
            work(conn)
        };
        self.tools.db.write(write).await
    }

    /// To be asked before anything is taken back, or brought to a number: a worker that lost its run leaves it to the other.
    ///
    /// # Errors
    /// `Conflict` when another worker has the run; or the database fails.
    pub async fn still_ours(&self) -> Result<()> {
        self.write(|_| Ok(())).await
    }

    /// Why it was told to stop.
    pub fn why_stopped(&self) -> &'static str {
        if *self.fence.lost.borrow() {
            "the run was lost to another worker"
        } else {
            "the run was cancelled"
        }
    }

    /// Writes down what the effect is about to do, for the attempt that follows a crash. To be awaited before anything is done.
    ///
    /// # Errors
    /// The journal cannot be written, or the step is not under way any more: nothing may be done then.
    pub async fn note(&self, outputs: &Outputs) -> Result<()> {
        let json = serde_json::to_string(outputs)
            .map_err(|cause| Error::internal("a note as JSON", cause))?;
        let token = self.token.clone();
        let noted = self.write(move |conn| StepRun::note(conn, &token, &json));
        if noted.await? {
            return Ok(());
        }
        Err(Error::Conflict(
            "not begun: the step is not under way any more".into(),
        ))
    }

    /// Waits until the attempt is cancelled; for ever when it is not.
    pub async fn cancelled(&self) {
        let mut signal = self.cancelled.clone();
        if signal.wait_for(|cancelled| *cancelled).await.is_err() {
            // The engine is gone together with whoever could cancel.
            std::future::pending::<()>().await;
        }
    }
}

/// What came of an effect.
#[derive(Debug, Default)]
pub struct Outcome {
    /// For later steps, and for the undo; also of an effect that failed half-way.
    pub outputs: Outputs,
    /// What came back, per host or recipient.
    pub report: Report,
    /// Why it failed; none when it succeeded.
    pub fault: Option<Error>,
    /// Of a failure: beginning it again repeats nothing that happened, or may have happened. What did happen stands in `outputs`, which the
    /// next attempt is given as its notes. Where it is not certain, the kind's [`Recovery`] says how a failed attempt is gone on with.
    pub harmless: bool,
}

impl Outcome {
    /// A failure of which nothing else is known.
    pub fn failed(fault: Error) -> Self {
        Self {
            fault: Some(fault),
            ..Self::default()
        }
    }
}
