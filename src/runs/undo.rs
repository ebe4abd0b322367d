//! Compensation: what succeeded, or failed half-way, is taken back in reverse order.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::actions::{Attempt, MOST_RETRIES};
use crate::error::Result;
use crate::models::StepState;
use crate::models::step_run::{StepChange, StepRun};
use crate::runs::execute::Drive;
use crate::runs::journal::Journal;
use crate::runs::{Boundary, effects, retry, scope};

impl Drive {
    /// Announces the undo of these steps, all at once.
    pub(super) async fn take_back(&mut self, positions: &[i32]) -> Result<()> {
        let steps = self.journal.steps.iter();
        let steps: Vec<StepRun> = steps
            .filter(|step| positions.contains(&step.position))
            .cloned()
            .collect();
        self.claim.take_back(steps.clone()).await?;
        self.renewed = Instant::now();
        for step in steps {
            self.journal.follow(step.id, StepChange::undoing());
        }
        Ok(())
    }

    /// An earlier driver had begun to take a step back. What nobody drove has used up no time: a machine that stays costs more than one more
    /// attempt at it.
    pub(super) async fn go_on_undoing(&mut self, step: &StepRun) -> Result<()> {
        let change = StepChange {
            undo_started_ms: Some(None),
            ..StepChange::default()
        };
        let line = format!(
            "{}: was being taken back when an earlier worker stopped",
            step.name
        );
        self.change(step, change, line).await
    }

    /// Begins the undo of a step that was announced, or another attempt at it.
    pub(super) async fn undo(&mut self, position: i32) -> Result<()> {
        let step = self.step(|step| step.position == position)?;
        let ctx = self.claim.ctx.clone();
        let now_ms = ctx.now_ms();
        if let Some(why) = why_not_again(&step, now_ms)? {
            return self.leave(&step, why).await;
        }
        let Journal { run, steps, .. } = &self.journal;
        let prepared = match effects::prepare(&ctx, run, steps, &step).await {
            Ok(prepared) => prepared,
            Err(cause) => {
                return self.refuse(&step, StepState::UndoFailed, &cause).await;
            }
        };
        let announced = StepChange {
            undo_attempt: Some(step.undo_attempt + 1),
            undo_started_ms: Some(Some(step.undo_started_ms.unwrap_or(now_ms))),
            retry_at_ms: Some(None),
            ..StepChange::default()
        };
        let line = format!(
            "{}: undo attempt {} begins",
            step.name,
            step.undo_attempt + 1
        );
        if !self.begin(&step, announced, line).await? {
            return Ok(());
        }
        ctx.witness.at(Boundary::Undoing(step.id));
        let token = step.token.clone().unwrap_or_else(effects::new_token);
        // An undo is never cancelled: what it leaves half-done costs more than what it takes.
        let never = watch::channel(false).1;
        let attempt = Attempt {
            deadline: Instant::now() + retry::left(&step, ctx.now_ms()),
            ..effects::attempt(&self.claim, &step, &prepared, &token, &never)
        };
        let outputs = scope::outputs(&step)?;
        let effect = effects::undo(ctx, step.clone(), prepared, attempt, outputs);
        self.launch(step.id, Box::pin(effect));
        Ok(())
    }

    /// A step is not taken back; a person must decide.
    async fn leave(&mut self, step: &StepRun, why: String) -> Result<()> {
        let line = format!("{}: undo_failed: {why}", step.name);
        let change = StepChange {
            error: Some(Some(why)),
            retry_at_ms: Some(None),
            finished_ms: Some(Some(self.claim.ctx.now_ms())),
            ..StepChange::to(StepState::UndoFailed)
        };
        self.change(step, change, line).await?;
        self.claim.ctx.witness.at(Boundary::Undone(step.id));
        Ok(())
    }
}

/// Why no further attempt at taking a step back begins, if so.
fn why_not_again(step: &StepRun, now_ms: i64) -> Result<Option<String>> {
    if step.undo_attempt > MOST_RETRIES {
        return Ok(Some(format!(
            "taking it back was begun {} times, and Headroom stopped before it ended; look at what is there, then undo it again or mark it done",
            step.undo_attempt
        )));
    }
    if !retry::is_over(step, now_ms) {
        return Ok(None);
    }
    let mut tried = step.tried()?.into_iter();
    let last = tried.rfind(|tried| tried.undo);
    let error = last.map_or_else(String::new, |last| last.error);
    let over = retry::time_is_over(step);
    Ok(Some(format!(
        "{error}; taking it back is not tried again, since {over}"
    )))
}
