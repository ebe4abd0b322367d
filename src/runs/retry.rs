//! A step that failed with a fault that may pass is tried again by itself, with growing pauses and within its time limit.
//!
//! It stays `started` meanwhile, with the time of the next attempt in its row: a crash between two attempts loses nothing and leaves nothing
//! open, since it is known that the last attempt failed. What may have happened of it is never simply repeated ([`may_follow`]).

use std::time::Duration;

use tokio::time::Instant;

use crate::actions::{self, Attempt, MOST_RETRIES, Outcome, Recovery};
use crate::error::{Error, Result};
use crate::models::StepState;
use crate::models::step_run::{StepChange, StepRun};
use crate::runs::effects::{self, Prepared};
use crate::runs::execute::Drive;
use crate::runs::graph::Retry;
use crate::runs::journal::{self, Journal};
use crate::runs::{Boundary, Context};

/// An attempt with less time than this is not worth the trouble.
const LEAST_TIME: Duration = Duration::from_secs(1);

/// How long is waited between two attempts at a step.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// After the first attempt; doubled after each further one.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2),
            longest: Duration::from_secs(60),
        }
    }
}

impl Pauses {
    /// After so many failures; `jitter` is random in 0..1 and shortens the pause by up to half, so that steps that failed together do not come
    /// back together.
    fn after(self, failures: i32, jitter: f64) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or_default();
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        let pause = self.first.saturating_mul(factor).min(self.longest);
        pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }
}

/// Whether the same attempt may succeed later.
pub(super) const fn passes(fault: &Error) -> bool {
    matches!(
        fault,
        Error::Upstream {
            retryable: true,
            ..
        }
    )
}

/// Whether another attempt may follow this outcome at all: the fault may pass, and what may have happened is not repeated, because nothing
/// did, because it is looked up first, or because the action says that repeating it does no harm.
fn may_follow(outcome: &Outcome, recovery: Recovery) -> bool {
    let passing = outcome.fault.as_ref().is_some_and(passes);
    passing && (outcome.harmless || recovery != Recovery::AskAPerson)
}

/// How often a step, or taking it back, has failed since it was begun, and how often that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failures {
    so_far: i32,
    at_most: i32,
}

impl Failures {
    /// With the one that has just come in.
    fn of(step: &StepRun) -> Result<Self> {
        if step.state == StepState::Undoing {
            // Every attempt counts, also one that a crash has cut off; whether the step is tried again has no say in its undo.
            return Ok(Self {
                so_far: step.undo_attempt,
                at_most: MOST_RETRIES,
            });
        }
        Ok(Self {
            so_far: tries(step)?.saturating_add(1),
            at_most: step.retries.unwrap_or(MOST_RETRIES).min(MOST_RETRIES),
        })
    }
}

/// Attempts at a step itself that failed since a worker, or a person, began it.
fn tries(step: &StepRun) -> Result<i32> {
    let since_ms = step.started_ms.unwrap_or_default();
    let tried = step.tried()?.into_iter();
    let tried = tried.filter(|tried| !tried.undo && tried.failed_ms >= since_ms);
    Ok(i32::try_from(tried.count()).unwrap_or(i32::MAX))
}

/// The pause before the next attempt; none where there is no time left for one, or there were enough. `late`: how late it may begin.
fn pause(
    failures: Failures,
    left: Duration,
    late: Duration,
    pauses: Pauses,
    jitter: f64,
) -> Option<Duration> {
    let pause = pauses.after(failures.so_far, jitter);
    let fits = pause + late + LEAST_TIME <= left;
    (failures.so_far <= failures.at_most && fits).then_some(pause)
}

/// What is left of the time limit of a step, or of taking it back; it counts from the first attempt on.
pub(super) fn left(step: &StepRun, now_ms: i64) -> Duration {
    let limit = Duration::from_secs(u64::try_from(step.timeout_secs).unwrap_or_default());
    let started_ms = match step.state {
        StepState::Undoing => step.undo_started_ms,
        _ => step.started_ms,
    };
    let since_ms = now_ms.saturating_sub(started_ms.unwrap_or(now_ms));
    limit.saturating_sub(Duration::from_millis(
        u64::try_from(since_ms).unwrap_or_default(),
    ))
}

/// Whether there is too little time left for an attempt that was to follow another.
pub(super) fn is_over(step: &StepRun, now_ms: i64) -> bool {
    step.retry_at_ms.is_some() && left(step, now_ms) < LEAST_TIME
}

/// Whether a step waits to be tried again. A time far ahead was written before the clock was set back.
pub(super) fn of(ctx: &Context, step: &StepRun, now_ms: i64) -> Retry {
    let longest_ms = i64::try_from(ctx.pauses.longest.as_millis()).unwrap_or(i64::MAX / 2);
    match step.retry_at_ms {
        None => Retry::No,
        Some(at_ms) if now_ms < at_ms && at_ms <= now_ms.saturating_add(longest_ms) => Retry::Later,
        Some(_) => Retry::Due,
    }
}

/// A last error, and how often it was tried.
pub(super) fn with_attempts(error: &str, step: &StepRun) -> String {
    match Failures::of(step).map_or(1, |failures| failures.so_far) {
        ..=1 => error.to_owned(),
        attempts => format!(
            "{error}; {attempts} attempts were made within the time limit of {} s",
            step.timeout_secs
        ),
    }
}

impl Drive {
    /// Writes down that an attempt at a step, or at taking it back, failed and when the next one follows; false when none does.
    pub(super) async fn put_off(&mut self, step: &StepRun, outcome: &Outcome) -> Result<bool> {
        let ctx = self.claim.ctx.clone();
        let undo = step.state == StepState::Undoing;
        let action = actions::parse(ctx.kinds, &step.kind, &step.settings);
        let recovery = action.map_or(Recovery::AskAPerson, |action| action.recovery());
        // An undo is safe to repeat, whatever came of it.
        let may_follow = if undo {
            outcome.fault.as_ref().is_some_and(passes)
        } else {
            may_follow(outcome, recovery)
        };
        let now_ms = ctx.now_ms();
        let pause = pause(
            Failures::of(step)?,
            left(step, now_ms),
            ctx.beat,
            ctx.pauses,
            rand::random(),
        );
        let (true, Some(pause), Some(fault)) = (may_follow, pause, &outcome.fault) else {
            return Ok(false);
        };
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 2);
        let error = journal::cut(&fault.to_string());
        let (change, what, attempt) = if undo {
            // The report and the error stay those of the step itself.
            (StepChange::default(), "undo attempt", step.undo_attempt)
        } else {
            let change = StepChange {
                state: None,
                finished_ms: None,
                ..journal::outcome(outcome, StepState::Succeeded, StepState::Failed, now_ms)?
            };
            (change, "attempt", step.attempt)
        };
        let change = StepChange {
            retry_at_ms: Some(Some(now_ms.saturating_add(pause_ms))),
            attempts: Some(step.tried_and_failed(now_ms, &error)?),
            ..change
        };
        let line = format!(
            "{}: {what} {attempt} failed and is followed by another in {:.1} s: {error}",
            step.name,
            pause.as_secs_f64()
        );
        self.keep(step, change, line).await?;
        ctx.witness.at(Boundary::PutOff(step.id));
        Ok(true)
    }

    /// Begins another attempt at a step.
    pub(super) async fn try_again(&mut self, position: i32) -> Result<()> {
        let step = self.step(|step| step.position == position)?;
        let ctx = self.claim.ctx.clone();
        if is_over(&step, ctx.now_ms()) {
            return self.end_trying(&step, &time_is_over(&step)).await;
        }
        let Journal { run, steps, .. } = &self.journal;
        let prepared = match effects::prepare(&ctx, run, steps, &step).await {
            Ok(prepared) => prepared,
            Err(cause) => return self.refuse(&step, StepState::Failed, &cause).await,
        };
        let anew = step.token.is_none();
        let token = step.token.clone().unwrap_or_else(effects::new_token);
        let announced = StepChange {
            token: Some(Some(token.clone())),
            attempt: Some(step.attempt + 1),
            error: Some(None),
            retry_at_ms: Some(None),
            ..StepChange::default()
        };
        let line = format!("{}: attempt {} begins", step.name, step.attempt + 1);
        if !self.begin(&step, announced, line).await? {
            return Ok(());
        }
        ctx.witness.at(Boundary::Started(step.id));
        let attempt = Attempt {
            deadline: Instant::now() + left(&step, ctx.now_ms()),
            ..effects::attempt(&self.claim, &step, &prepared, &token, &self.cancelled())
        };
        self.go(&step, prepared, attempt, anew);
        Ok(())
    }

    /// Begins the effect of an attempt that was announced; unless it is `anew`, what came of the last one is found out first where it can be.
    pub(super) fn go(&mut self, step: &StepRun, prepared: Prepared, attempt: Attempt, anew: bool) {
        let ctx = self.claim.ctx.clone();
        if anew || prepared.action.recovery() != Recovery::LookUp {
            let effect = effects::perform(ctx, step.clone(), prepared, attempt);
            self.launch(step.id, Box::pin(effect));
        } else {
            let effect = effects::look_and_perform(ctx, step.clone(), prepared, attempt);
            self.launch(step.id, Box::pin(effect));
        }
    }

    /// The run is being ended: a step that waits to be tried again has failed.
    pub(super) async fn give_up(&mut self, position: i32) -> Result<()> {
        let step = self.step(|step| step.position == position)?;
        self.end_trying(&step, "the run is being ended").await
    }

    /// A step that waits to be tried again has failed, as its last attempt did.
    async fn end_trying(&mut self, step: &StepRun, why: &str) -> Result<()> {
        let error = step.error.clone().unwrap_or_default();
        let change = StepChange {
            error: Some(Some(format!("{error}; it is not tried again, since {why}"))),
            retry_at_ms: Some(None),
            finished_ms: Some(Some(self.claim.ctx.now_ms())),
            ..StepChange::to(StepState::Failed)
        };
        let line = format!("{}: failed: it is not tried again, since {why}", step.name);
        self.change(step, change, line).await?;
        self.claim.ctx.witness.at(Boundary::Finished(step.id));
        Ok(())
    }
}

/// Why an attempt does not begin that was due while nobody drove the run.
pub(super) fn time_is_over(step: &StepRun) -> String {
    format!("its time limit of {} s is over", step.timeout_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::Outputs;
    use proptest::prelude::*;

    const PAUSES: Pauses = Pauses {
        first: Duration::from_secs(2),
        longest: Duration::from_secs(60),
    };

    fn failures(so_far: i32) -> Failures {
        Failures {
            so_far,
            at_most: MOST_RETRIES,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_time_limit() {
        for (so_far, at_secs, expected) in [
            (1, 0, Some(2)),
            (2, 5, Some(4)),
            (4, 30, Some(16)),
            (9, 100, Some(60)),
            (1, 596, Some(2)),
            (1, 597, None),
            (20, 0, None),
        ] {
            let left = Duration::from_secs(600 - at_secs);
            let late = Duration::from_secs(1);
            assert_eq!(
                pause(failures(so_far), left, late, PAUSES, 0.0),
                expected.map(Duration::from_secs),
                "after {so_far} failures and {at_secs} s"
            );
        }
    }

    #[test]
    fn an_action_may_say_how_often_it_is_tried_again() {
        let left = Duration::from_secs(600);
        for (at_most, follow) in [(0, 0), (1, 1), (3, 3), (MOST_RETRIES, 19)] {
            let followed = (1..40).filter(|so_far| {
                let failures = Failures {
                    so_far: *so_far,
                    at_most,
                };
                pause(failures, left, Duration::ZERO, PAUSES, 0.0).is_some()
            });
            assert_eq!(followed.count(), follow);
        }
    }

    #[test]
    fn what_may_have_happened_is_never_simply_repeated() {
        let fault = |retryable| {
            Some(Error::Upstream {
                what: "no answer".into(),
                retryable,
            })
        };
        let conflict = || Some(Error::Conflict("max_nodes".into()));
        for (fault, harmless, recovery, expected) in [
            (fault(true), false, Recovery::AskAPerson, false),
            (fault(true), true, Recovery::AskAPerson, true),
            (fault(true), false, Recovery::LookUp, true),
            (fault(true), false, Recovery::Repeat, true),
            (fault(false), true, Recovery::Repeat, false),
            (conflict(), true, Recovery::Repeat, false),
            (None, true, Recovery::Repeat, false),
        ] {
            let outcome = Outcome {
                outputs: Outputs::new(),
                fault,
                harmless,
                ..Outcome::default()
            };
            assert_eq!(
                may_follow(&outcome, recovery),
                expected,
                "{outcome:?} {recovery:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_attempt_begins_after_the_time_limit(so_far in 1..40_i32, left_ms in 0..700_000_u64, jitter in -1.0..2.0) {
            let left = Duration::from_millis(left_ms);
            if let Some(pause) = pause(failures(so_far), left, Duration::ZERO, PAUSES, jitter) {
                prop_assert!(pause >= PAUSES.first / 2 && pause <= PAUSES.longest);
                prop_assert!(pause < left);
            }
        }
    }
}
