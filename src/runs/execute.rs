//! Drives a run to its end: one task per run, its effects in parallel where their steps do not wait for each other.

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::error::{Error, Result};
use crate::models::step_run::{StepChange, StepRun};
use crate::models::{RunId, RunState, StepRunId, StepState};
use crate::runs::effects::{self, Ending, Finished};
use crate::runs::graph::{self, Next, StepView};
use crate::runs::journal::{self, Claim, Journal};
use crate::runs::{Boundary, Context, approval, recover, retry};

/// Claims a run and drives it to its end, or to where a person must decide. Does nothing when another worker has it, or it is over: a
/// message that is delivered twice is harmless.
///
/// # Errors
/// The journal cannot be written, or the claim was lost; the sweep finds the run again.
pub async fn drive(ctx: &Context, id: RunId) -> Result<()> {
    let Some(claim) = Claim::take(ctx, id).await? else {
        return Ok(());
    };
    ctx.witness.at(Boundary::Claimed);
    let mut drive = Drive::new(claim).await?;
    let result = drive.run().await;
    if let Err(cause) = &result {
        drive.abandon(matches!(cause, Error::Conflict(_))).await;
    }
    result
}

/// What the driver does after a move.
enum Flow {
    /// Moves on at once.
    On,
    /// Waits for an effect or a beat.
    Wait,
    /// Is done with the run.
    Over,
}

/// Whether a fault of the journal may pass, and has not lasted too long yet.
fn is_passing(cause: &Error, since: &mut Option<Instant>) -> bool {
    let begin = *since.get_or_insert_with(Instant::now);
    !matches!(cause, Error::Conflict(_)) && begin.elapsed() < journal::PATIENCE
}

/// A run under way.
pub(super) struct Drive {
    pub claim: Claim,
    pub journal: Journal,
    pub effects: FuturesUnordered<BoxFuture<'static, Finished>>,
    in_flight: Vec<StepRunId>,
    cancel: watch::Sender<bool>,
    pub renewed: Instant,
}

impl Drive {
    async fn new(claim: Claim) -> Result<Self> {
        let journal = claim.load().await?;
        Ok(Self {
            claim,
            journal,
            effects: FuturesUnordered::new(),
            in_flight: Vec::new(),
            cancel: watch::channel(false).0,
            renewed: Instant::now(),
        })
    }

    async fn run(&mut self) -> Result<()> {
        recover::take_up(self).await?;
        let mut beat = interval(self.claim.ctx.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing_since: Option<Instant> = None;
        loop {
            match self.advance().await {
                Ok(Flow::Over) => return Ok(()),
                Ok(Flow::On) => {
                    failing_since = None;
                    continue;
                }
                Ok(Flow::Wait) => failing_since = None,
                // The database is busy or away: nothing was begun, and what runs goes on; try again at the next beat.
                Err(cause) if is_passing(&cause, &mut failing_since) => {
                    tracing::warn!(run.id = %self.claim.run, %cause, "the journal cannot be written; trying again");
                }
                Err(cause) => return Err(cause),
            }
            tokio::select! {
                Some(finished) = self.effects.next() => self.finish(finished).await?,
                _ = beat.tick() => self.beat().await?,
            }
        }
    }

    /// Does what comes next, as far as nothing is to be waited for.
    async fn advance(&mut self) -> Result<Flow> {
        let next = self.next()?;
        if let Some(why) = self.rests(&next) {
            if !self.effects.is_empty() {
                return Ok(Flow::Wait);
            }
            self.claim.release(&why).await?;
            return Ok(Flow::Over);
        }
        match next {
            Next::Start(positions) => {
                for position in positions {
                    self.start(position).await?;
                }
                Ok(Flow::On)
            }
            Next::Ask(positions) => self.ask(&positions).await.map(|()| Flow::On),
            Next::Expire(positions) => self.expire(&positions).await.map(|()| Flow::On),
            Next::Rest => {
                let rested = self.rest().await?;
                Ok(if rested { Flow::Over } else { Flow::On })
            }
            Next::TryAgain(positions) => {
                for position in positions {
                    self.try_again(position).await?;
                }
                Ok(Flow::On)
            }
            Next::GiveUp(positions) => {
                for position in positions {
                    self.give_up(position).await?;
                }
                Ok(Flow::On)
            }
            Next::TakeBack(positions) => self.take_back(&positions).await.map(|()| Flow::On),
            Next::Undo(position) => self.undo(position).await.map(|()| Flow::On),
            Next::End(state) => self.end(state).await.map(|()| Flow::Over),
            Next::Wait => Ok(Flow::Wait),
        }
    }

    fn next(&self) -> Result<Next> {
        let ctx = &self.claim.ctx;
        let now_ms = ctx.now_ms();
        let view = |step: &StepRun| {
            let depends_on = serde_json::from_str(&step.depends_on).map_err(|cause| {
                Error::internal(
                    format!("the order of step \"{}\" is damaged", step.name),
                    cause,
                )
            })?;
            Ok(StepView {
                position: step.position,
                depends_on,
                state: step.state,
                in_flight: self.in_flight.contains(&step.id),
                retry: retry::of(ctx, step, now_ms),
                approval: approval::of(step, now_ms),
                undoable: effects::undoable(ctx.kinds, step),
            })
        };
        let steps = self.journal.steps.iter().map(view);
        let steps = steps.collect::<Result<Vec<_>>>()?;
        let run = &self.journal.run;
        let cancelled = run.cancel_requested_by.is_some();
        Ok(graph::next(&steps, run.on_failure, cancelled))
    }

    /// Writes a step's change and follows it.
    pub async fn change(&mut self, step: &StepRun, change: StepChange, line: String) -> Result<()> {
        self.claim
            .change(step.id, step.state, change.clone(), line)
            .await?;
        self.renewed = Instant::now();
        self.journal.follow(step.id, change);
        Ok(())
    }

    /// As [`Drive::change`] for an outcome, which must not be lost.
    pub async fn keep(&mut self, step: &StepRun, change: StepChange, line: String) -> Result<()> {
        self.claim
            .keep(step.id, step.state, change.clone(), line)
            .await?;
        self.renewed = Instant::now();
        self.journal.follow(step.id, change);
        Ok(())
    }

    pub fn step(&self, found: impl Fn(&StepRun) -> bool) -> Result<StepRun> {
        let step = self.journal.steps.iter().find(|step| found(step));
        step.cloned()
            .ok_or_else(|| Error::Internal("a step of the run has vanished".into()))
    }

    pub fn launch(&mut self, step: StepRunId, effect: BoxFuture<'static, Finished>) {
        self.in_flight.push(step);
        self.effects.push(effect);
    }

    pub fn cancelled(&self) -> watch::Receiver<bool> {
        self.cancel.subscribe()
    }

    /// Announces a step and begins its effect; what cannot be prepared has failed without an effect.
    async fn start(&mut self, position: i32) -> Result<()> {
        let step = self.step(|step| step.position == position)?;
        let ctx = self.claim.ctx.clone();
        let Journal { run, steps, .. } = &self.journal;
        let prepared = match effects::prepare(&ctx, run, steps, &step).await {
            Ok(prepared) => prepared,
            Err(cause) => {
                return self.refuse(&step, StepState::Failed, &cause).await;
            }
        };
        ctx.witness.at(Boundary::Planned(step.id));
        let anew = step.token.is_none();
        let token = step.token.clone().unwrap_or_else(effects::new_token);
        let announced = StepChange {
            target_name: prepared.target_name.clone(),
            token: Some(Some(token.clone())),
            attempt: Some(step.attempt + 1),
            error: Some(None),
            started_ms: Some(Some(ctx.now_ms())),
            ..StepChange::to(StepState::Started)
        };
        let line = match &prepared.target_name {
            Some(target) => format!("{}: started on {target}", step.name),
            None => format!("{}: started", step.name),
        };
        if !self.begin(&step, announced, line).await? {
            return Ok(());
        }
        ctx.witness.at(Boundary::Started(step.id));
        let cancelled = self.cancelled();
        let attempt = effects::attempt(&self.claim, &step, &prepared, &token, &cancelled);
        self.go(&step, prepared, attempt, anew);
        Ok(())
    }

    /// What cannot be prepared ends without a (further) effect.
    pub async fn refuse(&mut self, step: &StepRun, to: StepState, cause: &Error) -> Result<()> {
        let text = journal::cut(&cause.to_string());
        let change = StepChange {
            error: Some(Some(text.clone())),
            retry_at_ms: Some(None),
            finished_ms: Some(Some(self.claim.ctx.now_ms())),
            ..StepChange::to(to)
        };
        let line = format!("{}: not begun: {text}", step.name);
        self.change(step, change, line).await
    }

    /// Writes down what came of an effect or an undo.
    pub async fn finish(&mut self, finished: Finished) -> Result<()> {
        let step = self.step(|step| step.id == finished.step)?;
        self.in_flight.retain(|id| *id != step.id);
        let ctx = self.claim.ctx.clone();
        let outcome = match finished.ending {
            Ending::Known(outcome) => outcome,
            Ending::Unclear(reason) => return self.explain(&step, reason).await,
        };
        let undoing = step.state == StepState::Undoing;
        if self.put_off(&step, &outcome).await? {
            return Ok(());
        }
        let (good, bad) = if undoing {
            (StepState::Undone, StepState::UndoFailed)
        } else {
            (StepState::Succeeded, StepState::Failed)
        };
        let mut change = journal::outcome(&outcome, good, bad, ctx.now_ms())?;
        if undoing {
            // The report and the error stay those of the step itself, unless the undo has an error of its own.
            change.report = None;
            change.error = change.error.filter(Option::is_some);
        }
        if let Some(Some(error)) = &mut change.error {
            *error = retry::with_attempts(error, &step);
        }
        let state = change.state.unwrap_or(bad);
        let line = match &outcome.fault {
            None => format!("{}: {state}", step.name),
            Some(fault) => format!(
                "{}: {state}: {}",
                step.name,
                journal::cut(&fault.to_string())
            ),
        };
        self.keep(&step, change, line).await?;
        ctx.witness.at(if undoing {
            Boundary::Undone(step.id)
        } else {
            Boundary::Finished(step.id)
        });
        Ok(())
    }

    /// Leaves a step `started`, with the reason why a person must decide.
    async fn explain(&mut self, step: &StepRun, reason: String) -> Result<()> {
        let line = format!("{}: outcome not known: {reason}", step.name);
        let change = StepChange {
            error: Some(Some(reason)),
            ..StepChange::default()
        };
        self.keep(step, change, line).await
    }

    /// Looks for a cancellation, and keeps the claim.
    async fn beat(&mut self) -> Result<()> {
        if self.renewed.elapsed() >= self.claim.ctx.lease / 3 {
            match self.claim.renew().await {
                Ok(()) => self.renewed = Instant::now(),
                Err(lost @ Error::Conflict(_)) => return Err(lost),
                // A database that is away for a moment must not stop an effect; if it stays away, the claim lapses by itself.
                Err(cause) => {
                    tracing::warn!(run.id = %self.claim.run, %cause, "the claim could not be renewed")
                }
            }
        }
        match self.claim.load().await {
            Ok(journal) => self.journal = journal,
            Err(cause) => {
                tracing::warn!(run.id = %self.claim.run, %cause, "the run could not be read")
            }
        }
        if let Some(by) = &self.journal.run.cancel_requested_by
            && !self.cancel.send_replace(true)
        {
            let line = format!("cancelled by {by}: what is running is told to stop");
            self.claim.say(None, line).await?;
        }
        Ok(())
    }

    async fn end(&mut self, state: RunState) -> Result<()> {
        let ctx = self.claim.ctx.clone();
        ctx.witness.at(Boundary::Ending);
        let steps = self.journal.steps.iter();
        let planned = steps.filter(|step| step.state == StepState::Planned);
        let planned = planned.map(|step| step.id).collect();
        let line = match state {
            RunState::Stuck => "stuck: a person must decide about a step".to_owned(),
            other => format!("the run has {}", ended(other)),
        };
        self.claim.end(state, planned, line).await?;
        ctx.witness.at(Boundary::Ended);
        Ok(())
    }

    /// The run is lost to this worker. When another has it, effects under way are told to stop and to take nothing back; what they say is kept
    /// for whoever decides.
    async fn abandon(&mut self, taken: bool) {
        if taken {
            self.claim.lost.send_replace(true);
            self.cancel.send_replace(true);
        }
        while let Some(finished) = self.effects.next().await {
            if let Err(cause) = self.finish(finished).await {
                tracing::warn!(run.id = %self.claim.run, %cause, "an effect ended after the run was lost");
            }
        }
    }
}

const fn ended(state: RunState) -> &'static str {
    match state {
        RunState::Succeeded => "succeeded",
        RunState::Failed => "failed",
        RunState::Undone => "failed, and its steps were taken back",
        RunState::Cancelled => "been cancelled",
        RunState::Queued | RunState::Running | RunState::Waiting | RunState::Stuck => "not ended",
    }
}
