//! A step that failed with a fault that may pass is tried again by itself, with growing pauses and within its time limit.
//!
//! It stays `started` meanwhile, with the time of the next attempt in its row: a crash between two attempts loses nothing and leaves nothing
//! open, since it is known that the last attempt failed. What may have happened of it is never simply repeated ([`may_follow`]).

use std::time::Duration;

use tokio::time::Instant;

use crate::actions::{self, Attempt, Outcome, Recovery};
use crate::error::{Error, Result};
use crate::models::step_run::{StepChange, StepRun, Tried};
use crate::models::{StepRunId, StepState};
use crate::runs::effects::{self, Prepared};
use crate::runs::execute::Drive;
use crate::runs::graph::Retry;
use crate::runs::journal::{self, Journal};
use crate::runs::{Boundary, Context};

/// Attempts at a step, however long its time limit is.
const MOST_ATTEMPTS: i32 = 20;
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

/// Whether another attempt may follow this outcome at all: the fault may pass, and what may have happened is not repeated, because nothing
/// did, because it is looked up first, or because the action says that repeating it does no harm.
fn may_follow(outcome: &Outcome, recovery: Recovery) -> bool {
    let passing = matches!(
        outcome.fault,
        Some(Error::Upstream {
            retryable: true,
            ..
        })
    );
    passing && (outcome.harmless || recovery != Recovery::AskAPerson)
}

/// The pause before the next attempt; none where the step has no time, or was tried often enough.
fn pause(step: &StepRun, now_ms: i64, pauses: Pauses, jitter: f64) -> Option<Duration> {
    let pause = pauses.after(step.attempt, jitter);
    (step.attempt < MOST_ATTEMPTS && pause + LEAST_TIME <= left(step, now_ms)).then_some(pause)
}

/// What is left of a step's time limit, which counts from its first attempt on.
fn left(step: &StepRun, now_ms: i64) -> Duration {
    let limit = Duration::from_secs(u64::try_from(step.timeout_secs).unwrap_or_default());
    let since_ms = now_ms.saturating_sub(step.started_ms.unwrap_or(now_ms));
    limit.saturating_sub(Duration::from_millis(
        u64::try_from(since_ms).unwrap_or_default(),
    ))
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

/// A last error, and how often it was tried before.
pub(super) fn with_attempts(error: &str, step: &StepRun) -> String {
    // What was tried before a person had it begun again had a time limit of its own.
    let here = |tried: Vec<Tried>| {
        let of_this = |it: &&Tried| step.started_ms.is_some_and(|at_ms| at_ms <= it.failed_ms);
        tried.iter().filter(of_this).count()
    };
    match step.tried().map_or(0, here) {
        0 => error.to_owned(),
        before => format!(
            "{error}; {} attempts were made within the time limit of {} s",
            before + 1,
            step.timeout_secs
        ),
    }
}

impl Drive {
    /// Writes down that an attempt failed and when the next one follows; false when none does.
    pub(super) async fn put_off(&mut self, step: &StepRun, outcome: &Outcome) -> Result<bool> {
        let ctx = self.claim.ctx.clone();
        let action = actions::parse(ctx.kinds, &step.kind, &step.settings);
        let recovery = action.map_or(Recovery::AskAPerson, |action| action.recovery());
        let now_ms = ctx.now_ms();
        let (true, Some(pause), Some(fault)) = (
            may_follow(outcome, recovery),
            pause(step, now_ms, ctx.pauses, rand::random()),
            &outcome.fault,
        ) else {
            return Ok(false);
        };
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 2);
        let error = journal::cut(&fault.to_string());
        let change = StepChange {
            state: None,
            finished_ms: None,
            retry_at_ms: Some(Some(now_ms.saturating_add(pause_ms))),
            attempts: Some(step.tried_and_failed(now_ms, &error)?),
            ..journal::outcome(outcome, StepState::Succeeded, StepState::Failed, now_ms)?
        };
        let line = format!(
            "{}: attempt {} failed and is followed by another in {:.1} s: {error}",
            step.name,
            step.attempt,
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
        let error = step.error.clone().unwrap_or_default();
        let error = format!("{error}; it is not tried again, since the run is being ended");
        let change = StepChange {
            error: Some(Some(error)),
            retry_at_ms: Some(None),
            finished_ms: Some(Some(self.claim.ctx.now_ms())),
            ..StepChange::to(StepState::Failed)
        };
        let line = format!("{}: failed: it is not tried again", step.name);
        self.change(&step, change, line).await?;
        let done: StepRunId = step.id;
        self.claim.ctx.witness.at(Boundary::Finished(done));
        Ok(())
    }
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

    fn step(attempt: i32, timeout_secs: i64) -> StepRun {
        StepRun {
            id: StepRunId(1),
            run_id: crate::models::RunId(1),
            position: 1,
            name: "add".into(),
            action_name: "add".into(),
            kind: "DeployEc2Node".into(),
            settings: "{}".into(),
            target: crate::models::StepTarget::Cluster,
            target_name: None,
            depends_on: "[]".into(),
            timeout_secs,
            state: StepState::Started,
            token: None,
            attempt,
            outputs: "{}".into(),
            report: "[]".into(),
            error: None,
            started_ms: Some(0),
            finished_ms: None,
            retry_at_ms: None,
            attempts: "[]".into(),
            approval_secs: None,
            approval_until_ms: None,
            approved_by: None,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end_with_the_time_limit() {
        for (attempt, at_secs, expected) in [
            (1, 0, Some(2)),
            (2, 5, Some(4)),
            (4, 30, Some(16)),
            (9, 100, Some(60)),
            (1, 597, Some(2)),
            (1, 598, None),
            (20, 0, None),
        ] {
            assert_eq!(
                pause(&step(attempt, 600), at_secs * 1000, PAUSES, 0.0),
                expected.map(Duration::from_secs),
                "attempt {attempt} after {at_secs} s"
            );
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
        fn no_attempt_begins_after_the_time_limit(attempt in 1..40_i32, at_ms in 0..700_000_i64, jitter in -1.0..2.0) {
            if let Some(pause) = pause(&step(attempt, 600), at_ms, PAUSES, jitter) {
                prop_assert!(pause >= PAUSES.first / 2 && pause <= PAUSES.longest);
                let begins_ms = at_ms + i64::try_from(pause.as_millis()).unwrap();
                prop_assert!(begins_ms < 600_000);
            }
        }
    }
}
