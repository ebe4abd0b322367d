//! The writes of the journal. Each is one transaction that first makes sure of the claim: a worker that lost it writes nothing.

use std::time::Duration;

use tokio::sync::watch;

use crate::actions::{Outcome, breaker};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::hold::Hold;
use crate::models::run::Run;
use crate::models::run_event::RunEvent;
use crate::models::step_run::{StepChange, StepRun};
use crate::models::{ClusterId, RunId, RunState, StepRunId, StepState};
use crate::runs::Context;

/// How long an outcome is offered to a database that does not take it; then the run is left to recovery, which does not know the outcome.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Characters of an error that the journal keeps.
const MAX_ERROR: usize = 4 * 1024;

/// A worker's hold on a run.
#[derive(Clone)]
pub(super) struct Claim {
    pub ctx: Context,
    pub run: RunId,
    /// Unique per driving, so that a message delivered twice to one process claims once.
    pub name: String,
    /// Becomes true when it is lost, as far as is known.
    pub lost: watch::Sender<bool>,
}

/// What came of announcing an effect.
pub(super) enum Begun {
    /// It was announced.
    Yes,
    /// The run was cancelled a moment ago; by whom.
    Cancelled(String),
    /// All acting is stopped.
    Stopped(Hold),
    /// The breaker of the cluster refuses the launch; why.
    Refused(String),
}

/// A run and its steps as the journal has them.
pub(super) struct Journal {
    pub run: Run,
    pub steps: Vec<StepRun>,
    /// The hold that stops all acting, if there is one.
    pub stop: Option<Hold>,
}

impl Journal {
    /// Follows a change that was written, without asking the database for it.
    pub fn follow(&mut self, step: StepRunId, change: StepChange) {
        if let Some(step) = self.steps.iter_mut().find(|known| known.id == step) {
            change.apply(step);
        }
    }
}

impl Claim {
    /// Takes a run; nothing when another worker holds it or it is not to be driven.
    pub async fn take(ctx: &Context, run: RunId) -> Result<Option<Self>> {
        let claim = Self {
            ctx: ctx.clone(),
            run,
            name: format!("{}/{:016x}", ctx.worker, rand::random::<u64>()),
            lost: watch::channel(false).0,
        };
        let (now_ms, until_ms) = (ctx.now_ms(), claim.until_ms());
        let name = claim.name.clone();
        let line = format!("taken up by {}", ctx.worker);
        let take = move |conn: &mut Connection| {
            if is_stopped(conn, run, now_ms)? {
                return Ok(false);
            }
            let taken = Run::claim(conn, run, &name, now_ms, until_ms)?;
            if taken {
                RunEvent::record(conn, run, None, now_ms, &line)?;
            }
            Ok(taken)
        };
        let taken = ctx.tools.db.write(take).await?;
        Ok(taken.then_some(claim))
    }

    fn until_ms(&self) -> i64 {
        let lease_ms = i64::try_from(self.ctx.lease.as_millis()).unwrap_or(i64::MAX / 2);
        self.ctx.now_ms().saturating_add(lease_ms)
    }

    /// Reads the run and its steps.
    pub async fn load(&self) -> Result<Journal> {
        let (id, now_ms) = (self.run, self.ctx.now_ms());
        let read = move |conn: &mut Connection| {
            let run = Run::find(conn, id)?;
            let steps = StepRun::of_run(conn, id)?;
            let stop = Hold::stop(conn, now_ms)?;
            Ok(Journal { run, steps, stop })
        };
        self.ctx.tools.db.read(read).await
    }

    /// Renews the claim.
    ///
    /// # Errors
    /// `Conflict`: the claim is lost.
    pub async fn renew(&self) -> Result<()> {
        self.write(|_, _| Ok(())).await
    }

    /// A transaction under the claim; `work` is given the time.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, i64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (run, name) = (self.run, self.name.clone());
        let (now_ms, until_ms) = (self.ctx.now_ms(), self.until_ms());
        let write = move |conn: &mut Connection| {
            if !Run::renew(conn, run, &name, until_ms)? {
                return Err(lost(run));
            }
            work(conn, now_ms)
        };
        self.ctx.tools.db.write(write).await
    }

    /// Moves a step on and says so in the log.
    pub async fn change(
        &self,
        step: StepRunId,
        from: StepState,
        change: StepChange,
        line: String,
    ) -> Result<()> {
        let run = self.run;
        let work = move |conn: &mut Connection, now_ms| {
            transition(conn, run, step, from, &change, now_ms, &line)
        };
        self.write(work).await
    }

    /// As [`Claim::change`] for what comes right before an effect, which may be kept from beginning; `launch`: it launches in this cluster.
    pub async fn begin(
        &self,
        launch: Option<ClusterId>,
        step: StepRunId,
        from: StepState,
        change: StepChange,
        line: String,
    ) -> Result<Begun> {
        let (run, name) = (self.run, self.name.clone());
        let (now_ms, until_ms) = (self.ctx.now_ms(), self.until_ms());
        let kinds = self.ctx.kinds;
        let begin = move |conn: &mut Connection| {
            if !Run::renew(conn, run, &name, until_ms)? {
                return Err(lost(run));
            }
            // Also a cancelled run takes back what it has begun to take back.
            let cancelled = Run::find(conn, run)?.cancel_requested_by;
            if let Some(by) = cancelled.filter(|_| from != StepState::Undoing) {
                return Ok(Begun::Cancelled(by));
            }
            if let Some(stop) = Hold::stop(conn, now_ms)? {
                return Ok(Begun::Stopped(stop));
            }
            if let Some(cluster) = launch
                && let Some(why) = breaker::admit(conn, kinds, cluster, (run, step), now_ms)?
            {
                return Ok(Begun::Refused(why));
            }
            transition(conn, run, step, from, &change, now_ms, &line)?;
            Ok(Begun::Yes)
        };
        self.ctx.tools.db.write(begin).await
    }

    /// As [`Claim::change`] for an outcome, which must not be lost: a database that is busy, full or away is asked again for a while.
    pub async fn keep(
        &self,
        step: StepRunId,
        from: StepState,
        change: StepChange,
        line: String,
    ) -> Result<()> {
        let begin = tokio::time::Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let result = self.change(step, from, change.clone(), line.clone()).await;
            let Err(cause) = result else { return Ok(()) };
            if matches!(cause, Error::Conflict(_)) || begin.elapsed() > PATIENCE {
                return self.late(step, &line, cause).await;
            }
            tracing::warn!(run.id = %self.run, step.id = %step, %cause, "an outcome could not be written; trying again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The claim is lost, so the outcome may not change the step; a line in the log tells whoever decides about it.
    async fn late(&self, step: StepRunId, line: &str, cause: Error) -> Result<()> {
        let (run, now_ms) = (self.run, self.ctx.now_ms());
        let message = format!("reported late by {}: {line}", self.ctx.worker);
        let noted = self
            .ctx
            .tools
            .db
            .write(move |conn| RunEvent::record(conn, run, Some(step), now_ms, &message))
            .await;
        if let Err(also) = noted {
            tracing::error!(run.id = %run, step.id = %step, cause = %also, outcome = line, "an outcome is lost");
        }
        Err(cause)
    }

    /// Writes a line of the log.
    pub async fn say(&self, step: Option<StepRunId>, line: String) -> Result<()> {
        let run = self.run;
        self.write(move |conn, now_ms| RunEvent::record(conn, run, step, now_ms, &line))
            .await
    }

    /// Marks steps as to be taken back.
    pub async fn take_back(&self, steps: Vec<StepRun>) -> Result<()> {
        let run = self.run;
        let work = move |conn: &mut Connection, now_ms| {
            for step in steps {
                let line = format!("{}: is to be taken back", step.name);
                let change = StepChange::undoing();
                transition(conn, run, step.id, step.state, &change, now_ms, &line)?;
            }
            Ok(())
        };
        self.write(work).await
    }

    /// Gives the run back, not finished.
    pub async fn release(&self, why: &str) -> Result<()> {
        let (run, name, now_ms) = (self.run, self.name.clone(), self.ctx.now_ms());
        let line = format!("{why}: {} gives the run back", self.ctx.worker);
        let write = move |conn: &mut Connection| {
            if Run::release(conn, run, &name)? {
                RunEvent::record(conn, run, None, now_ms, &line)?;
            }
            Ok(())
        };
        self.ctx.tools.db.write(write).await
    }

    /// Ends the run: what was not begun is skipped.
    pub async fn end(&self, state: RunState, planned: Vec<StepRunId>, line: String) -> Result<()> {
        let (run, name, now_ms) = (self.run, self.name.clone(), self.ctx.now_ms());
        let kinds = self.ctx.kinds;
        let write = move |conn: &mut Connection| {
            if state.is_over() {
                for step in planned {
                    StepRun::change(
                        conn,
                        step,
                        &[StepState::Planned],
                        &StepChange::to(StepState::Skipped),
                    )?;
                }
            }
            if !Run::settle(conn, run, &name, state, state.is_over().then_some(now_ms))? {
                return Err(lost(run));
            }
            RunEvent::record(conn, run, None, now_ms, &line)?;
            if state.is_over() {
                let row = Run::find(conn, run)?;
                breaker::settle(conn, kinds, &row, state, now_ms)?;
            }
            Ok(())
        };
        self.ctx.tools.db.write(write).await
    }
}

/// Whether nobody may take the run up now: all acting is stopped. One that is cancelled may be ended, where that has no effect.
fn is_stopped(conn: &mut Connection, run: RunId, now_ms: i64) -> Result<bool> {
    if Hold::stop(conn, now_ms)?.is_none() {
        return Ok(false);
    }
    let cancelled = Run::find(conn, run)?.cancel_requested_by.is_some();
    let steps = StepRun::of_run(conn, run)?;
    let acts = |step: &StepRun| matches!(step.state, StepState::Started | StepState::Undoing);
    Ok(!cancelled || steps.iter().any(acts))
}

/// A step's transition and its line in the log.
pub(super) fn transition(
    conn: &mut Connection,
    run: RunId,
    step: StepRunId,
    from: StepState,
    change: &StepChange,
    now_ms: i64,
    line: &str,
) -> Result<()> {
    if !StepRun::change(conn, step, &[from], change)? {
        return Err(Error::Conflict(format!(
            "step {step} of run {run} is not {from} any more"
        )));
    }
    RunEvent::record(conn, run, Some(step), now_ms, line)
}

/// The change that writes an outcome down, with the state that follows from it. The token of a refusal that left nothing behind is spent:
/// what follows, by itself or since a person wants it, begins anew.
pub(super) fn outcome(
    outcome: &Outcome,
    good: StepState,
    bad: StepState,
    now_ms: i64,
) -> Result<StepChange> {
    let damaged = |cause| Error::internal("an outcome as JSON", cause);
    let spent = outcome.fault.is_some() && outcome.harmless && outcome.outputs.is_empty();
    Ok(StepChange {
        token: spent.then_some(None),
        state: Some(if outcome.fault.is_none() { good } else { bad }),
        outputs: Some(serde_json::to_string(&outcome.outputs).map_err(damaged)?),
        report: Some(serde_json::to_string(&outcome.report).map_err(damaged)?),
        error: Some(outcome.fault.as_ref().map(|fault| cut(&fault.to_string()))),
        finished_ms: Some(Some(now_ms)),
        ..StepChange::default()
    })
}

/// An error as the journal keeps it.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(MAX_ERROR).collect()
}

/// A time as people say it: `24 h`, `90 s`.
pub(super) fn span(secs: i64) -> String {
    match secs {
        secs if secs > 0 && secs % 3_600 == 0 => format!("{} h", secs / 3_600),
        secs if secs > 0 && secs % 60 == 0 => format!("{} min", secs / 60),
        secs => format!("{secs} s"),
    }
}

pub(super) fn lost(run: RunId) -> Error {
    Run::lost(run)
}
