//! What comes next in a run, given where its steps are. Pure.

use crate::models::{OnFailure, RunState, StepState};

/// A step, as far as order is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StepView {
    /// Its order, from 1.
    pub position: i32,
    /// Positions of the steps it waits for.
    pub depends_on: Vec<i32>,
    /// Where it is.
    pub state: StepState,
    /// Whether this worker has its effect or its undo under way. A `started` step that is not in flight has an outcome nobody knows.
    pub in_flight: bool,
    /// Whether an attempt at it, or at taking it back, failed and another is to follow.
    pub retry: Retry,
    /// Whether a person must approve it first.
    pub approval: Approval,
    /// Whether its kind can be undone, and there is something to undo: it succeeded, or failed half-way.
    pub undoable: bool,
}

/// Whether a step waits for a person's approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Approval {
    /// It needs none, or has it.
    Free,
    /// It needs one, and nobody was asked yet.
    Unasked,
    /// It waits for one.
    Awaited,
    /// Nobody gave it in time.
    Expired,
}

/// Whether a step that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It is not.
    No,
    /// It will be, later.
    Later,
    /// It is, now.
    Due,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Start these steps, by position.
    Start(Vec<i32>),
    /// Ask a person to approve these steps.
    Ask(Vec<i32>),
    /// Nobody approved these steps in time: they have failed.
    Expire(Vec<i32>),
    /// Nothing goes on until a person approves a step: leave the run alone until then.
    Rest,
    /// Try these steps again.
    TryAgain(Vec<i32>),
    /// Do not try these steps again: they have failed.
    GiveUp(Vec<i32>),
    /// These steps are to be taken back. All are marked before the first is, so that a failed one among them is not forgotten once it is.
    TakeBack(Vec<i32>),
    /// Take this step back.
    Undo(i32),
    /// Wait for what is in flight.
    Wait,
    /// The run is over, or needs a person.
    End(RunState),
}

/// Decides what comes next.
pub(super) fn next(steps: &[StepView], on_failure: OnFailure, cancelled: bool) -> Next {
    use StepState::{Failed, Skipped, Started, Succeeded, UndoFailed, Undoing, Undone};
    let any = |states: &[StepState]| steps.iter().any(|step| states.contains(&step.state));
    let in_flight = steps.iter().any(|step| step.in_flight);
    let retried = |step: &&StepView| step.state == Started && step.retry != Retry::No;
    let waiting: Vec<&StepView> = steps.iter().filter(retried).collect();
    let unclear = steps
        .iter()
        .any(|step| step.state == Started && !step.in_flight && !retried(&step));
    let halted = cancelled || unclear || any(&[Failed, Skipped, Undoing, Undone, UndoFailed]);

    if !halted {
        return go_on(steps, &waiting, in_flight);
    }
    if !waiting.is_empty() {
        return Next::GiveUp(waiting.iter().map(|step| step.position).collect());
    }
    if in_flight {
        return Next::Wait;
    }
    if let Some(step) = next_undo(steps) {
        return match step.retry {
            // What it was built on stays until it is gone.
            Retry::Later => Next::Wait,
            Retry::No | Retry::Due => Next::Undo(step.position),
        };
    }
    if unclear {
        return Next::End(RunState::Stuck);
    }
    let undo_began = any(&[Undone, UndoFailed]);
    if cancelled && !undo_began {
        return Next::End(RunState::Cancelled);
    }
    if on_failure == OnFailure::Undo && any(&[Failed]) {
        let undoable = steps.iter().filter(|step| step.undoable);
        let positions: Vec<_> = undoable.map(|step| step.position).collect();
        if !positions.is_empty() {
            return Next::TakeBack(positions);
        }
    }
    Next::End(if any(&[UndoFailed]) {
        RunState::Stuck
    } else if any(&[Undone]) {
        RunState::Undone
    } else if any(&[Failed, Skipped]) || !any(&[Succeeded]) {
        RunState::Failed
    } else {
        RunState::Succeeded
    })
}

/// What comes next while nothing has failed; `waiting` are the steps to be tried again.
fn go_on(steps: &[StepView], waiting: &[&StepView], in_flight: bool) -> Next {
    let due = waiting.iter().filter(|step| step.retry == Retry::Due);
    let due: Vec<_> = due.map(|step| step.position).collect();
    if !due.is_empty() {
        return Next::TryAgain(due);
    }
    let that_are = |approval| ready(steps, approval);
    let (expired, unasked) = (that_are(Approval::Expired), that_are(Approval::Unasked));
    if !expired.is_empty() {
        return Next::Expire(expired);
    }
    if !unasked.is_empty() {
        return Next::Ask(unasked);
    }
    let ready = that_are(Approval::Free);
    let planned = |step: &StepView| step.state == StepState::Planned;
    match (ready.is_empty(), in_flight || !waiting.is_empty()) {
        (false, _) => Next::Start(ready),
        (true, true) => Next::Wait,
        (true, false) if !that_are(Approval::Awaited).is_empty() => Next::Rest,
        (true, false) if !steps.iter().any(planned) => Next::End(RunState::Succeeded),
        // A step that waits for what can never be; the plan refuses such a run.
        (true, false) => Next::End(RunState::Stuck),
    }
}

/// Planned steps all of whose dependencies have succeeded, and whose approval stands so.
fn ready(steps: &[StepView], approval: Approval) -> Vec<i32> {
    let succeeded = |position: &i32| {
        steps
            .iter()
            .any(|step| step.position == *position && step.state == StepState::Succeeded)
    };
    steps
        .iter()
        .filter(|step| step.state == StepState::Planned && step.approval == approval)
        .filter(|step| step.depends_on.iter().all(succeeded))
        .map(|step| step.position)
        .collect()
}

/// The step to take back next: the last one that nothing else to be taken back was built on.
fn next_undo(steps: &[StepView]) -> Option<&StepView> {
    let undoing = |step: &&StepView| step.state == StepState::Undoing;
    let waiting: Vec<&StepView> = steps.iter().filter(undoing).collect();
    let built_on = |position: i32| {
        waiting
            .iter()
            .any(|other| other.position != position && depends(steps, other, position))
    };
    let mut free = waiting.iter().filter(|step| !built_on(step.position));
    free.next_back().copied()
}

/// Whether `step` waits for `position`, directly or by way of others.
fn depends(steps: &[StepView], step: &StepView, position: i32) -> bool {
    let mut open: Vec<i32> = step.depends_on.clone();
    let mut seen = Vec::new();
    while let Some(next) = open.pop() {
        if next == position {
            return true;
        }
        if !seen.contains(&next) {
            seen.push(next);
            let more = steps.iter().find(|step| step.position == next);
            open.extend(more.into_iter().flat_map(|step| &step.depends_on));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use StepState::{Failed, Planned, Skipped, Started, Succeeded, UndoFailed, Undoing, Undone};
    use proptest::prelude::*;

    /// A chain of steps in these states; `!` before a state's place in `flying` marks it in flight.
    fn chain(states: &[StepState], flying: &[i32]) -> Vec<StepView> {
        (1..)
            .zip(states)
            .map(|(position, state)| StepView {
                position,
                depends_on: if position > 1 {
                    vec![position - 1]
                } else {
                    vec![]
                },
                state: *state,
                in_flight: flying.contains(&position),
                retry: Retry::No,
                approval: Approval::Free,
                undoable: *state == Succeeded,
            })
            .collect()
    }

    #[test]
    fn steps_start_in_order_and_the_run_succeeds_at_the_end() {
        for (states, flying, expected) in [
            (&[Planned, Planned][..], &[][..], Next::Start(vec![1])),
            (&[Started, Planned], &[1], Next::Wait),
            (&[Succeeded, Planned], &[], Next::Start(vec![2])),
            (&[Succeeded, Succeeded], &[], Next::End(RunState::Succeeded)),
            (&[Failed, Planned], &[], Next::End(RunState::Failed)),
            (&[Started, Planned], &[], Next::End(RunState::Stuck)),
        ] {
            assert_eq!(
                next(&chain(states, flying), OnFailure::Stop, false),
                expected,
                "{states:?}"
            );
        }
    }

    #[test]
    fn steps_that_do_not_wait_for_each_other_start_together() {
        let mut steps = chain(&[Succeeded, Planned, Planned, Planned], &[]);
        steps[2].depends_on = vec![1];
        steps[3].depends_on = vec![2, 3];
        assert_eq!(
            next(&steps, OnFailure::Stop, false),
            Next::Start(vec![2, 3])
        );
        steps[1].state = Succeeded;
        (steps[2].state, steps[2].in_flight) = (Started, true);
        assert_eq!(
            next(&steps, OnFailure::Stop, false),
            Next::Wait,
            "4 waits for 3"
        );
    }

    #[test]
    fn a_step_that_waits_to_be_tried_again_is_begun_when_it_is_due_and_given_up_when_the_run_ends()
    {
        let waits = |retry, others: &[StepState]| {
            let mut steps = chain(&[&[Started], others].concat(), &[]);
            steps[0].retry = retry;
            steps
        };
        for (steps, cancelled, expected) in [
            (waits(Retry::Later, &[Planned]), false, Next::Wait),
            (
                waits(Retry::Due, &[Planned]),
                false,
                Next::TryAgain(vec![1]),
            ),
            (waits(Retry::Due, &[Planned]), true, Next::GiveUp(vec![1])),
            (waits(Retry::Later, &[Failed]), false, Next::GiveUp(vec![1])),
            (waits(Retry::Due, &[Started]), false, Next::GiveUp(vec![1])),
        ] {
            assert_eq!(
                next(&steps, OnFailure::Stop, cancelled),
                expected,
                "{steps:?}"
            );
        }
        // Another branch goes on meanwhile.
        let mut steps = waits(Retry::Later, &[Planned]);
        steps[1].depends_on = vec![];
        assert_eq!(next(&steps, OnFailure::Stop, false), Next::Start(vec![2]));
    }

    #[test]
    fn a_step_that_needs_approval_is_asked_for_and_holds_up_only_what_waits_for_it() {
        let steps = |approval, others: &[StepState], flying: &[i32]| {
            let mut steps = chain(&[&[Planned], others].concat(), flying);
            steps[0].approval = approval;
            steps[1].depends_on = vec![];
            steps
        };
        use Approval::{Awaited, Expired, Free, Unasked};
        for (steps, expected) in [
            (steps(Unasked, &[Planned], &[]), Next::Ask(vec![1])),
            (steps(Awaited, &[Planned], &[]), Next::Start(vec![2])),
            (steps(Awaited, &[Started], &[2]), Next::Wait),
            (steps(Awaited, &[Succeeded], &[]), Next::Rest),
            (steps(Free, &[Succeeded], &[]), Next::Start(vec![1])),
            (steps(Expired, &[Succeeded], &[]), Next::Expire(vec![1])),
            (steps(Awaited, &[Failed], &[]), Next::End(RunState::Failed)),
        ] {
            assert_eq!(next(&steps, OnFailure::Stop, false), expected, "{steps:?}");
        }
        // Before its turn nobody is asked.
        let mut later = chain(&[Started, Planned], &[1]);
        later[1].approval = Unasked;
        assert_eq!(next(&later, OnFailure::Stop, false), Next::Wait);
    }

    #[test]
    fn after_a_failure_what_runs_finishes_and_nothing_begins() {
        let mut steps = chain(&[Failed, Started, Planned], &[2]);
        steps[1].depends_on = vec![];
        steps[2].depends_on = vec![];
        assert_eq!(next(&steps, OnFailure::Stop, false), Next::Wait);
        (steps[1].state, steps[1].in_flight) = (Succeeded, false);
        steps[1].undoable = true;
        assert_eq!(
            next(&steps, OnFailure::Stop, false),
            Next::End(RunState::Failed)
        );
        assert_eq!(
            next(&steps, OnFailure::Undo, false),
            Next::TakeBack(vec![2])
        );
    }

    #[test]
    fn steps_are_taken_back_in_reverse_and_the_run_is_undone() {
        for (states, expected) in [
            (
                &[Succeeded, Succeeded, Failed, Planned][..],
                Next::TakeBack(vec![1, 2]),
            ),
            (&[Undoing, Undoing, Undoing, Planned], Next::Undo(3)),
            (&[Undoing, Undoing, Undone, Planned], Next::Undo(2)),
            (&[Undoing, UndoFailed, Failed, Planned], Next::Undo(1)),
            (
                &[Undone, Undone, Failed, Planned],
                Next::End(RunState::Undone),
            ),
            (
                &[Undone, Undone, Undone, Planned],
                Next::End(RunState::Undone),
            ),
            (&[Undone, UndoFailed, Failed], Next::End(RunState::Stuck)),
            (&[Failed, Planned], Next::End(RunState::Failed)),
        ] {
            assert_eq!(
                next(&chain(states, &[]), OnFailure::Undo, false),
                expected,
                "{states:?}"
            );
        }
    }

    #[test]
    fn what_another_step_was_built_on_is_taken_back_after_it() {
        // 1 waits for 2, so 2 ran first and is taken back last, whatever their positions.
        let mut steps = chain(&[Undoing, Undoing, Failed], &[]);
        steps[0].depends_on = vec![2];
        steps[1].depends_on = vec![];
        assert_eq!(next(&steps, OnFailure::Undo, false), Next::Undo(1));
        steps[0].state = Undone;
        assert_eq!(next(&steps, OnFailure::Undo, false), Next::Undo(2));
    }

    #[test]
    fn an_undo_that_waits_to_be_tried_again_holds_up_what_it_was_built_on_even_when_cancelled() {
        for (retry, cancelled, expected) in [
            (Retry::Later, false, Next::Wait),
            (Retry::Later, true, Next::Wait),
            (Retry::Due, false, Next::Undo(2)),
            (Retry::Due, true, Next::Undo(2)),
        ] {
            let mut steps = chain(&[Undoing, Undoing, Failed], &[]);
            steps[1].retry = retry;
            assert_eq!(next(&steps, OnFailure::Undo, cancelled), expected);
        }
    }

    #[test]
    fn a_cancelled_run_begins_nothing_and_takes_nothing_back() {
        for (states, flying, expected) in [
            (
                &[Planned, Planned][..],
                &[][..],
                Next::End(RunState::Cancelled),
            ),
            (&[Started, Planned], &[1], Next::Wait),
            (&[Failed, Planned], &[], Next::End(RunState::Cancelled)),
            (&[Succeeded, Failed], &[], Next::End(RunState::Cancelled)),
            (&[Started, Planned], &[], Next::End(RunState::Stuck)),
            (&[Undoing, Undone, Failed], &[], Next::Undo(1)),
        ] {
            assert_eq!(
                next(&chain(states, flying), OnFailure::Undo, true),
                expected,
                "{states:?}"
            );
        }
    }

    #[test]
    fn an_outcome_that_is_not_known_stops_everything_but_a_begun_undo() {
        assert_eq!(
            next(&chain(&[Undoing, Started], &[]), OnFailure::Stop, false),
            Next::Undo(1)
        );
        assert_eq!(
            next(
                &chain(&[Succeeded, Started, Failed], &[]),
                OnFailure::Undo,
                false
            ),
            Next::End(RunState::Stuck)
        );
    }

    #[test]
    fn what_a_person_has_taken_back_ends_the_run_undone() {
        assert_eq!(
            next(&chain(&[Undone, Succeeded], &[]), OnFailure::Stop, false),
            Next::End(RunState::Undone)
        );
        assert_eq!(
            next(&chain(&[Undone, Skipped], &[]), OnFailure::Stop, false),
            Next::End(RunState::Undone)
        );
    }

    fn any_steps() -> impl Strategy<Value = Vec<StepView>> {
        let state = prop::sample::select(StepState::ALL);
        let retry = prop::sample::select(vec![Retry::No, Retry::Later, Retry::Due]);
        let approval = prop::sample::select(vec![
            Approval::Free,
            Approval::Unasked,
            Approval::Awaited,
            Approval::Expired,
        ]);
        let step = (
            state,
            prop::collection::vec(1..7_i32, 0..3),
            any::<bool>(),
            any::<bool>(),
            retry,
            approval,
        );
        prop::collection::vec(step, 1..7).prop_map(|steps| {
            (1..)
                .zip(steps)
                .map(
                    |(position, (state, depends_on, flying, can, retry, approval))| StepView {
                        position,
                        depends_on: depends_on.into_iter().filter(|on| *on < position).collect(),
                        state,
                        in_flight: flying
                            && retry == Retry::No
                            && [Started, Undoing].contains(&state),
                        retry: if [Started, Undoing].contains(&state) {
                            retry
                        } else {
                            Retry::No
                        },
                        approval,
                        undoable: can && [Succeeded, Failed].contains(&state),
                    },
                )
                .collect()
        })
    }

    proptest! {
        #[test]
        fn whatever_the_state_nothing_begins_before_its_time_and_nothing_ends_early(
            steps in any_steps(), undo in any::<bool>(), cancelled in any::<bool>(),
        ) {
            let policy = if undo { OnFailure::Undo } else { OnFailure::Stop };
            let at = |position: i32| &steps[usize::try_from(position).unwrap() - 1];
            match next(&steps, policy, cancelled) {
                Next::Start(positions) => {
                    prop_assert!(!cancelled && !positions.is_empty());
                    for position in positions {
                        prop_assert_eq!(at(position).state, Planned);
                        prop_assert_eq!(at(position).approval, Approval::Free);
                        prop_assert!(at(position).depends_on.iter().all(|on| at(*on).state == Succeeded));
                    }
                }
                Next::Undo(position) => {
                    prop_assert_eq!(at(position).state, Undoing);
                    prop_assert!(at(position).retry != Retry::Later);
                    prop_assert!(steps.iter().all(|step| !step.in_flight));
                }
                Next::TakeBack(positions) => {
                    prop_assert!(undo && !positions.is_empty());
                    prop_assert!(positions.iter().all(|position| at(*position).undoable));
                    prop_assert!(steps.iter().all(|step| !step.in_flight && step.state != Started));
                }
                Next::Wait => prop_assert!(steps.iter().any(|step| step.in_flight || step.retry == Retry::Later)),
                Next::Ask(positions) | Next::Expire(positions) => {
                    prop_assert!(!cancelled && !positions.is_empty());
                    prop_assert!(positions.iter().all(|position| at(*position).state == Planned));
                }
                Next::Rest => {
                    prop_assert!(!cancelled && steps.iter().all(|step| !step.in_flight));
                    prop_assert!(steps.iter().any(|step| step.approval == Approval::Awaited));
                }
                Next::TryAgain(positions) => {
                    prop_assert!(!cancelled && !positions.is_empty());
                    prop_assert!(positions.iter().all(|position| at(*position).retry == Retry::Due));
                    prop_assert!(steps.iter().all(|step| step.state != Failed));
                }
                Next::GiveUp(positions) => {
                    prop_assert!(!positions.is_empty());
                    prop_assert!(positions.iter().all(|position| at(*position).retry != Retry::No));
                }
                Next::End(state) => {
                    prop_assert!(steps.iter().all(|step| !step.in_flight && step.state != Undoing));
                    let unclear = steps.iter().any(|step| step.state == Started);
                    prop_assert!(!unclear || state == RunState::Stuck, "{:?}", state);
                    if state == RunState::Succeeded {
                        prop_assert!(steps.iter().all(|step| step.state == Succeeded));
                    }
                }
            }
        }
    }
}
