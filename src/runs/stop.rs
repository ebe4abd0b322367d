//! What keeps a run from going on: the process is to end, or a person has stopped all acting.
//!
//! What is under way finishes. The run is given back between two effects, and is taken up again when the stop is lifted.

use tokio::time::Instant;

use crate::error::Result;
use crate::models::step_run::{StepChange, StepRun};
use crate::runs::execute::Drive;
use crate::runs::graph::Next;

impl Drive {
    /// Why nothing of this kind is begun now, if so.
    pub(super) fn rests(&self, next: &Next) -> Option<String> {
        use Next::{Start, TakeBack, TryAgain, Undo, Wait};
        let begins = matches!(next, Start(_) | TryAgain(_));
        let idles = matches!(next, Wait) && self.effects.is_empty();
        if *self.claim.ctx.stop.borrow() && (begins || idles) {
            return Some("the process is shutting down".into());
        }
        let acts = begins || idles || matches!(next, TakeBack(_) | Undo(_));
        let stop = self.journal.stop.as_ref().filter(|_| acts)?;
        Some(format!("all acting is {}", stop.stopped()))
    }

    /// As [`Drive::change`] for what comes right before an effect; false when all acting is stopped.
    pub(super) async fn begin(
        &mut self,
        step: &StepRun,
        change: StepChange,
        line: String,
    ) -> Result<bool> {
        let begun = self.claim.begin(step.id, step.state, change.clone(), line);
        self.journal.stop = begun.await?;
        self.renewed = Instant::now();
        if self.journal.stop.is_none() {
            self.journal.follow(step.id, change);
        }
        Ok(self.journal.stop.is_none())
    }
}
