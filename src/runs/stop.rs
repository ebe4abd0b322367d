//! What keeps a run from going on: the process is to end, a person has stopped all acting, or the cluster's breaker refuses a launch.
//!
//! What is under way finishes. The run is given back between two effects, and is taken up again when the stop is lifted.

use tokio::time::Instant;

use crate::actions::breaker;
use crate::error::{Error, Result};
use crate::models::StepState;
use crate::models::step_run::{StepChange, StepRun};
use crate::runs::execute::Drive;
use crate::runs::graph::Next;
use crate::runs::journal::Begun;

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

    /// As [`Drive::change`] for what comes right before an effect; false when it may not begin: the run is cancelled, all acting is stopped,
    /// or a breaker refuses the launch, which has failed then.
    pub(super) async fn begin(
        &mut self,
        step: &StepRun,
        change: StepChange,
        line: String,
    ) -> Result<bool> {
        let undoing = step.state == StepState::Undoing;
        let launches = !undoing && breaker::launches(self.claim.ctx.kinds, &step.kind);
        let cluster = self.journal.run.cluster_id;
        let launch = cluster.filter(|_| launches);
        let begun = self
            .claim
            .begin(launch, step.id, step.state, change.clone(), line)
            .await?;
        self.renewed = Instant::now();
        match begun {
            Begun::Yes => {
                self.journal.follow(step.id, change);
                Ok(true)
            }
            Begun::Cancelled(by) => {
                self.journal.run.cancel_requested_by = Some(by);
                Ok(false)
            }
            Begun::Stopped(stop) => {
                self.journal.stop = Some(stop);
                Ok(false)
            }
            Begun::Refused(why) => {
                let cause = Error::Conflict(format!("not launched: {why}"));
                self.refuse(step, StepState::Failed, &cause).await?;
                Ok(false)
            }
        }
    }
}
