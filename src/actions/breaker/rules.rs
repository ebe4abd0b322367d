//! What a breaker says to a launch, and what a run says to the breaker. Pure.

use super::launches;
use crate::actions::Kind;
use crate::models::breaker::Breaker;
use crate::models::cluster::Cluster;
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{BreakerState, RunId, RunState, StepState, from_ms};

pub(super) const HOUR_MS: i64 = 3_600_000;

/// What a breaker says to one more launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    /// Go.
    Go,
    /// Go, on trial.
    OnTrial,
    /// No; why.
    No(String),
}

/// `run` is the one that asks, once there is one; `trial_is_over`: the run on trial has ended without a word.
pub(super) fn says(
    breaker: &Breaker,
    cluster: &Cluster,
    run: Option<RunId>,
    trial_is_over: bool,
    now_ms: i64,
) -> Says {
    let cooldown_ms = cluster.breaker_cooldown_secs.saturating_mul(1000);
    let opened_ms = breaker.opened_ms.unwrap_or(now_ms);
    let until_ms = opened_ms.saturating_add(cooldown_ms);
    match breaker.state {
        BreakerState::Closed => Says::Go,
        BreakerState::HalfOpen if breaker.canary_run_id == run && run.is_some() => Says::OnTrial,
        BreakerState::HalfOpen if trial_is_over => Says::OnTrial,
        BreakerState::HalfOpen => Says::No(format!(
            "the breaker of {} lets one launch through on trial, that of run {}, and no other until it is over",
            cluster.name,
            breaker.canary_run_id.map_or(0, |run| run.0)
        )),
        // An opening ahead of the clock: it was set back.
        BreakerState::Open if until_ms <= now_ms || opened_ms > now_ms => Says::OnTrial,
        BreakerState::Open => Says::No(format!(
            "the breaker of {} is open since {} after {} launches in a row that gave no node ({}); one may try at {}, or a person closes it",
            cluster.name,
            clock(opened_ms),
            breaker.failures,
            breaker.reason,
            clock(until_ms)
        )),
    }
}

/// That a cluster has launched as often as it may, given when launches were begun there within the last hour, the earliest first.
pub(super) fn over_the_rate(cluster: &Cluster, begun_ms: &[i64]) -> Option<String> {
    let most = cluster.max_launches_per_hour?;
    let over = begun_ms.len().checked_sub(usize::try_from(most).ok()?)?;
    let first_ms = begun_ms.get(over)?;
    Some(format!(
        "{} launches were begun in {} within the last hour, and max_launches_per_hour is {most}; the next may begin at {}",
        begun_ms.len(),
        cluster.name,
        clock(first_ms.saturating_add(HOUR_MS))
    ))
}

/// What a run that is over says about launching in its cluster.
pub(super) fn verdict(
    kinds: &[Kind],
    steps: &[StepRun],
    state: RunState,
) -> Option<Result<(), String>> {
    let launch = |step: &&StepRun| step.attempt > 0 && launches(kinds, &step.kind);
    let mut begun = steps.iter().filter(launch).peekable();
    begun.peek()?;
    let bad = |step: &StepRun| {
        matches!(
            step.state,
            StepState::Failed | StepState::Undone | StepState::UndoFailed
        )
    };
    match steps.iter().filter(launch).find(|step| bad(step)) {
        // A person has ended it: that says nothing about launching.
        _ if state == RunState::Cancelled => None,
        None => begun
            .all(|step| step.state == StepState::Succeeded)
            .then_some(Ok(())),
        Some(step) => {
            let failed = steps.iter().find(|step| step.state == StepState::Failed);
            let why = failed.or(Some(step)).and_then(|step| step.error.clone());
            Some(Err(why.unwrap_or_else(|| "it was taken back".into())))
        }
    }
}

/// Whether the end of a run still says something: it is its first, or the run is on trial, or a person has brought it to a good end.
pub(super) fn is_heard(breaker: &Breaker, run: &Run, state: RunState) -> bool {
    let on_trial = breaker.canary_run_id == Some(run.id);
    match run.launch_counted {
        None => true,
        Some(counted) => on_trial || counted && state == RunState::Succeeded,
    }
}

/// The breaker after a run; none when it stays as it is. Pure.
pub(super) fn after(
    before: &Breaker,
    cluster: &Cluster,
    run: RunId,
    said: Option<Result<(), String>>,
    now_ms: i64,
) -> Option<Breaker> {
    let on_trial = before.state == BreakerState::HalfOpen && before.canary_run_id == Some(run);
    match said {
        Some(Ok(())) if before.failures == 0 && before.state == BreakerState::Closed => None,
        Some(Ok(())) => Some(Breaker {
            updated_ms: now_ms,
            ..Breaker::closed(before.cluster_id)
        }),
        Some(Err(why)) => {
            let failures = before.failures.saturating_add(1);
            let most = cluster.max_failed_launches;
            let too_many = before.state == BreakerState::Closed && most > 0 && failures >= most;
            let opens = on_trial || too_many;
            Some(Breaker {
                state: if opens {
                    BreakerState::Open
                } else {
                    before.state
                },
                opened_ms: if opens {
                    Some(now_ms)
                } else {
                    before.opened_ms
                },
                canary_run_id: before.canary_run_id.filter(|_| !opens),
                failures,
                reason: why.chars().take(500).collect(),
                updated_ms: now_ms,
                ..before.clone()
            })
        }
        // The trial came to nothing: the next launch may be it.
        None if on_trial => Some(Breaker {
            state: BreakerState::Open,
            canary_run_id: None,
            updated_ms: now_ms,
            ..before.clone()
        }),
        None => None,
    }
}

fn clock(at_ms: i64) -> String {
    from_ms(at_ms).format("%H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ClusterId;

    const MINUTE: i64 = 60_000;

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId(1),
            name: "web".into(),
            min_nodes: 0,
            max_nodes: None,
            max_failed_launches: 2,
            breaker_cooldown_secs: 1_800,
            max_launches_per_hour: None,
            updated_ms: 0,
        }
    }

    fn failed(before: &Breaker, run: i64, now_ms: i64) -> Breaker {
        let said = Some(Err("no capacity".into()));
        after(before, &cluster(), RunId(run), said, now_ms).unwrap()
    }

    #[test]
    fn it_opens_after_so_many_in_a_row_and_a_success_between_them_counts_anew() {
        let closed = Breaker::closed(ClusterId(1));
        let one = failed(&closed, 1, MINUTE);
        assert_eq!((one.state, one.failures), (BreakerState::Closed, 1));
        let good = after(&one, &cluster(), RunId(2), Some(Ok(())), MINUTE).unwrap();
        assert_eq!((good.state, good.failures), (BreakerState::Closed, 0));
        let open = failed(&failed(&good, 3, MINUTE), 4, 2 * MINUTE);
        assert_eq!((open.state, open.failures), (BreakerState::Open, 2));
        assert_eq!(open.opened_ms, Some(2 * MINUTE));
        let never = Cluster {
            max_failed_launches: 0,
            ..cluster()
        };
        let said = Some(Err("no capacity".into()));
        let tenth = Breaker {
            failures: 9,
            ..closed
        };
        let after = after(&tenth, &never, RunId(1), said, 0).unwrap();
        assert_eq!(after.state, BreakerState::Closed, "0 = never");
    }

    #[test]
    fn it_refuses_until_its_cooldown_is_over_and_then_lets_one_run_try() {
        let open = failed(&failed(&Breaker::closed(ClusterId(1)), 1, 0), 2, 0);
        let ask = |breaker: &Breaker, run: i64, over, now_ms| {
            says(breaker, &cluster(), Some(RunId(run)), over, now_ms)
        };
        assert_eq!(
            ask(&open, 3, true, 29 * MINUTE),
            Says::No("the breaker of web is open since 00:00 UTC after 2 launches in a row that gave no node (no capacity); one may try at 00:30 UTC, or a person closes it".into())
        );
        assert_eq!(ask(&open, 3, true, 30 * MINUTE), Says::OnTrial);
        let trial = Breaker {
            state: BreakerState::HalfOpen,
            canary_run_id: Some(RunId(3)),
            ..open.clone()
        };
        assert_eq!(ask(&trial, 3, false, 31 * MINUTE), Says::OnTrial);
        assert_eq!(
            ask(&trial, 4, false, 31 * MINUTE),
            Says::No("the breaker of web lets one launch through on trial, that of run 3, and no other until it is over".into())
        );
        assert_eq!(
            ask(&trial, 4, true, 31 * MINUTE),
            Says::OnTrial,
            "nobody is left on trial"
        );
        assert_eq!(
            ask(&open, 3, true, -MINUTE),
            Says::OnTrial,
            "the clock was set back"
        );
        let again = failed(&trial, 3, 40 * MINUTE);
        assert_eq!(
            (again.state, again.opened_ms),
            (BreakerState::Open, Some(40 * MINUTE))
        );
        let closed = after(&trial, &cluster(), RunId(3), Some(Ok(())), 41 * MINUTE).unwrap();
        assert_eq!((closed.state, closed.failures), (BreakerState::Closed, 0));
        let nothing = after(&trial, &cluster(), RunId(3), None, 42 * MINUTE).unwrap();
        assert_eq!(
            (nothing.state, nothing.opened_ms),
            (BreakerState::Open, Some(0))
        );
        assert_eq!(after(&trial, &cluster(), RunId(9), None, 0), None);
    }

    #[test]
    fn so_many_launches_within_an_hour_and_the_next_when_the_first_of_them_is_an_hour_old() {
        let bounded = Cluster {
            max_launches_per_hour: Some(2),
            ..cluster()
        };
        assert_eq!(over_the_rate(&bounded, &[MINUTE]), None);
        let why = "2 launches were begun in web within the last hour, and max_launches_per_hour is 2; the next may begin at 01:01 UTC";
        assert_eq!(over_the_rate(&bounded, &[MINUTE, 2 * MINUTE]).unwrap(), why);
        let why = over_the_rate(&bounded, &[MINUTE, 2 * MINUTE, 3 * MINUTE]).unwrap();
        assert!(why.ends_with("the next may begin at 01:02 UTC"), "{why}");
        assert_eq!(over_the_rate(&cluster(), &[MINUTE; 99]), None);
    }
}
