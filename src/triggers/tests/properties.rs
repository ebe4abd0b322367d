//! What holds in every world, however odd.

use proptest::prelude::*;

use super::world::{MINUTE, Series, World, at, world};
use crate::triggers::breach::Missing;
use crate::triggers::decide::{Decision, Input, Outcome};
use crate::triggers::facts::{HoldFacts, RunFacts, When};
use crate::triggers::survey::Standing;

fn readings() -> impl Strategy<Value = String> {
    // Breaches in stretches, so that firing is not a rare event.
    proptest::collection::vec(prop_oneof![6 => Just("XXX"), 2 => Just("X"), 1 => Just("0"), 1 => Just("-"), 1 => Just("---"), 1 => Just(" ")], 0..5)
        .prop_map(|parts| parts.concat())
}

fn any_world() -> impl Strategy<Value = World> {
    let trigger = (
        proptest::option::weighted(0.9, 0..8_i64),
        prop_oneof![
            Just(When::Any),
            Just(When::All),
            (0..=100_u32).prop_map(When::Percent),
            Just(When::Average)
        ],
        0..20_i64,
        0..=100_u32,
        proptest::option::of(-5..90_i64),
        proptest::collection::vec(-2..=2_i32, 1..4),
    );
    let cluster = (
        proptest::collection::vec(
            (readings(), readings(), proptest::bool::weighted(0.1)),
            0..6,
        ),
        readings(),
        0..4_i32,
        proptest::option::of(0..8_i32),
        0..3_i32,
        0..3_usize,
    );
    let circumstances = (
        proptest::bool::weighted(0.9),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.1),
        prop_oneof![8 => Just(0), 1 => -90..0_i64, 1 => 0..90_i64],
        proptest::option::of(0..90_i64),
    );
    (trigger, cluster, circumstances).prop_map(build)
}

type Trigger = (Option<i64>, When, i64, u32, Option<i64>, Vec<i32>);
type Cluster = (
    Vec<(String, String, bool)>,
    String,
    i32,
    Option<i32>,
    i32,
    usize,
);
type Circumstances = (bool, bool, bool, bool, bool, i64, Option<i64>);

fn build((trigger, cluster, circumstances): (Trigger, Cluster, Circumstances)) -> World {
    let (timing, when, cooldown, quorum, fired, changes) = trigger;
    let (nodes, mean, min_nodes, max_nodes, launching, missing) = cluster;
    let (enabled, dry_run, hold, open_run, open_capacity_run, shift, previous) = circumstances;
    let run = RunFacts {
        id: 1,
        origin: "somebody",
        state: "running",
    };
    let mut world = world().with(|w| {
        w.timing_ms = timing.map(|minutes| minutes * MINUTE);
        w.cooldown_ms = cooldown * MINUTE;
        w.quorum_percent = quorum;
        w.last_fired_ms = fired.map(at);
        w.changes = changes;
        w.min_nodes = min_nodes;
        w.max_nodes = max_nodes;
        w.launching = launching;
        w.missing = [Missing::Hold, Missing::Breach, Missing::Reset][missing];
        w.counters = vec!["load1", "memory"];
        w.enabled = enabled;
        w.dry_run = dry_run;
        w.open_run = open_run.then_some(run);
        w.open_capacity_run = open_capacity_run.then_some(run);
        w.previous_ms = previous.map(at);
    });
    for (number, (load, memory, held)) in nodes.iter().enumerate() {
        world = world.node(&format!("web{number}"), &[load, memory]);
        world.nodes[number].held = *held;
    }
    world = world.mean(&mean).with(|w| w.when = when);
    if hold {
        world.holds.push(HoldFacts {
            what: "everything",
            reason: "release",
            author: "alice",
            expires_ms: world.now_ms + MINUTE,
            stops_all: false,
        });
    }
    world.now_ms += shift * MINUTE;
    world
}

/// Whether it acts, or would if it did not merely rehearse.
fn fires(decision: &Decision) -> bool {
    matches!(decision.outcome, Outcome::Fired | Outcome::DryRun)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_never_fires_in_cooldown_hold_disabled_or_beside_an_open_run(world in any_world()) {
        let decision = world.decide();
        if fires(&decision) {
            prop_assert!(world.enabled && world.timing_ms.is_some());
            prop_assert!(world.holds.is_empty() && world.open_run.is_none() && world.open_capacity_run.is_none());
            if let Some(fired_ms) = world.last_fired_ms {
                prop_assert!(fired_ms < world.now_ms, "at most once a tick");
                prop_assert!(world.now_ms - fired_ms >= world.cooldown_ms);
            }
            prop_assert_eq!(decision.outcome == Outcome::DryRun, world.dry_run);
        }
    }

    #[test]
    fn no_step_of_a_firing_leaves_the_bounds(world in any_world()) {
        if fires(&world.decide()) {
            let mut size = world.nodes.len() as i32 + world.launching;
            for change in &world.changes {
                size += change;
                prop_assert!(*change >= 0 || size >= world.min_nodes);
                prop_assert!(*change <= 0 || world.max_nodes.is_none_or(|max| size <= max));
            }
        }
    }

    #[test]
    fn a_firing_rests_on_a_fresh_breach_as_long_as_the_timing(world in any_world()) {
        let decision = world.decide();
        if fires(&decision) {
            let timing_ms = world.timing_ms.unwrap();
            let of_nodes = world.nodes.iter().filter(|node| !node.held).flat_map(|node| &node.series);
            let series: Vec<_> = if world.when == When::Average { world.means.iter().collect() } else { of_nodes.collect() };
            let grounds = series.iter().filter(|series| {
                series.breach.zip(series.start_ms).is_some_and(|(breach, start_ms)| {
                    (0..=3 * MINUTE).contains(&(world.now_ms - breach.last_ms))
                        && breach.last_ms - start_ms >= timing_ms
                        && world.last_fired_ms.is_none_or(|fired_ms| start_ms > fired_ms)
                })
            });
            prop_assert!(grounds.count() > 0, "{}", decision.reason);
        }
    }

    #[test]
    fn a_removal_has_its_quorum_of_nodes_that_answer_with_fresh_samples(world in any_world()) {
        if fires(&world.decide()) && world.changes.iter().any(|change| *change < 0) {
            let counted: Vec<_> = world.nodes.iter().filter(|node| !node.held).collect();
            let has_sample = |series: &Series, longest_ms| {
                series.last.is_some_and(|(tick_ms, _)| (0..=longest_ms).contains(&(world.now_ms - tick_ms)))
            };
            let present = counted.iter().filter(|node| {
                node.series.iter().all(|series| has_sample(series, 3 * MINUTE))
                    && node.series.iter().any(|series| has_sample(series, 0))
            });
            prop_assert!(present.count() * 100 >= counted.len() * world.quorum_percent as usize);
        }
    }

    #[test]
    fn what_fires_by_all_or_by_percent_fires_by_any(world in any_world()) {
        if matches!(world.when, When::All | When::Percent(_)) && fires(&world.decide()) {
            prop_assert!(fires(&world.with(|w| w.when = When::Any).decide()));
        }
    }

    #[test]
    fn the_outcome_agrees_with_the_gates_and_the_reason_is_a_sentence(world in any_world()) {
        let decision = world.decide();
        let refused = decision.detail.gates.iter().find(|gate| !gate.passed);
        match decision.outcome {
            Outcome::Fired => prop_assert!(refused.is_none()),
            Outcome::Refused | Outcome::DryRun => {
                let gate = refused.unwrap();
                prop_assert!(decision.reason.contains(&gate.reason));
            }
            Outcome::Pending | Outcome::Quiet => {}
        }
        prop_assert!(decision.reason.len() > 10 && !decision.reason.ends_with('.'));
        prop_assert!(decision.detail.gates.iter().all(|gate| gate.reason.len() > 10));
        prop_assert_eq!(decision.detail.gates.len(), 10);
    }

    #[test]
    fn deciding_twice_gives_the_same_answer(world in any_world()) {
        prop_assert_eq!(world.decide(), world.clone().decide());
    }

    #[test]
    fn a_held_node_changes_nothing_but_the_count_of_held_nodes(world in any_world(), readings in readings()) {
        let before = world.decide();
        let now_ms = world.now_ms;
        let with_held = world
            .node("held", &[&readings, &readings])
            .with(|w| {
                w.now_ms = now_ms;
                w.launching -= 1; // the node itself still counts as capacity
                w.nodes.last_mut().unwrap().held = true;
            });
        let after = with_held.decide();
        prop_assert_eq!(after.outcome, before.outcome);
        prop_assert_eq!(after.detail.gates, before.detail.gates);
        let is_held = |input: &Input| input.node.as_deref() != Some("held") || input.standing == Standing::Held;
        prop_assert!(after.detail.inputs.iter().all(is_held));
    }
}
