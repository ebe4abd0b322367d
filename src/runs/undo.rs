//! Compensation: what succeeded, or failed half-way, is taken back in reverse order.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Result;
use crate::models::StepState;
use crate::models::step_run::{StepChange, StepRun};
use crate::runs::execute::Drive;
use crate::runs::journal::Journal;
use crate::runs::{Boundary, effects, scope};

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
            self.journal
                .follow(step.id, StepChange::to(StepState::Undoing));
        }
        Ok(())
    }

    /// Begins the undo of a step that was announced.
    pub(super) async fn undo(&mut self, position: i32) -> Result<()> {
        let step = self.step(|step| step.position == position)?;
        self.journal.stop = self.claim.stop().await?;
        if self.journal.stop.is_some() {
            return Ok(());
        }
        let ctx = self.claim.ctx.clone();
        ctx.witness.at(Boundary::Undoing(step.id));
        let Journal { run, steps, .. } = &self.journal;
        let prepared = match effects::prepare(&ctx, run, steps, &step).await {
            Ok(prepared) => prepared,
            Err(cause) => {
                return self.refuse(&step, StepState::UndoFailed, &cause).await;
            }
        };
        let token = step.token.clone().unwrap_or_else(effects::new_token);
        // An undo is never cancelled: what it leaves half-done costs more than what it takes.
        let attempt = effects::attempt(
            &self.claim,
            &step,
            &prepared,
            &token,
            &watch::channel(false).1,
        );
        let outputs = scope::outputs(&step)?;
        let effect = effects::undo(ctx, step.clone(), prepared, attempt, outputs);
        self.launch(step.id, Box::pin(effect));
        Ok(())
    }
}
