//! Every gate: what it lets through, what it refuses, and how it says so.

use super::world::{MINUTE, World, at, world};
use crate::triggers::decide::Outcome;
use crate::triggers::facts::{HoldFacts, RunFacts};
use crate::triggers::gates::{GateName, reaches};

/// A world that fires.
fn hot() -> World {
    world().nodes(&["XXXXXX", "XXXXXX"])
}

#[track_caller]
fn passes(world: &World, name: GateName, reason: &str) {
    let gate = world.gate(name);
    assert_eq!((gate.passed, gate.reason.as_str()), (true, reason));
    assert_eq!(world.decide().outcome, Outcome::Fired);
}

#[track_caller]
fn refuses(world: &World, name: GateName, reason: &str) {
    let gate = world.gate(name);
    assert_eq!((gate.passed, gate.reason.as_str()), (false, reason));
    let decision = world.decide();
    assert_eq!(decision.outcome, Outcome::Refused);
    assert!(decision.reason.ends_with(reason), "{}", decision.reason);
}

#[test]
fn gates_are_asked_in_the_order_of_the_contract_and_all_are_recorded() {
    let names: Vec<_> = hot()
        .decide()
        .detail
        .gates
        .iter()
        .map(|gate| gate.name.as_str())
        .collect();
    assert_eq!(
        names.join(" "),
        "enabled timing quorum hold cooldown open_run capacity_run bounds breaker mode"
    );
}

#[test]
fn the_first_gate_that_refuses_gives_the_reason() {
    let world = hot().with(|w| {
        w.enabled = false;
        w.last_fired_ms = Some(at(4));
        w.cooldown_ms = 10 * MINUTE;
        w.dry_run = true;
    });
    refuses(&world, GateName::Enabled, "the trigger is disabled");
    let refused = world
        .decide()
        .detail
        .gates
        .iter()
        .filter(|g| !g.passed)
        .count();
    assert_eq!(refused, 3);
}

#[test]
fn the_quorum_is_asked_of_triggers_that_take_capacity_away_alone() {
    passes(
        &hot(),
        GateName::Quorum,
        "no step takes capacity away, so no quorum is needed",
    );
    let removal = |readings: &[&str]| world().nodes(readings).with(|w| w.changes = vec![-1]);
    passes(
        &removal(&["XXXXXX", "XXXXXX", "XXXXXX", "XXXXXX", "0"]),
        GateName::Quorum,
        "4 of 5 nodes answer, 80 % needed for a removal",
    );
    let three = ["XXXXXX", "XXXXXX", "XXXXXX", "0"];
    let replicas = world().nodes(&three).with(|w| w.shrinks = true);
    for refused in [removal(&three), replicas] {
        refuses(
            &refused,
            GateName::Quorum,
            "3 of 4 nodes answer, 80 % needed for a removal",
        );
    }
    refuses(
        &removal(&["XXXXXX", "0", "0", "0"]),
        GateName::Quorum,
        "1 of 4 nodes answer, 80 % needed for a removal; 3 nodes fell silent together after 10:00 UTC, \
         which looks like an outage of the collector or its network, not of the nodes",
    );
}

#[test]
fn a_node_leaves_the_quorum_in_the_very_tick_in_which_it_does_not_answer() {
    let up = ["XXXXXX"; 5];
    for lost in ["XXXXX-", "XXXXX "] {
        let half = world().nodes(&[up, [lost; 5]].concat());
        refuses(
            &half.with(|w| w.changes = vec![-1]),
            GateName::Quorum,
            "5 of 10 nodes answer, 80 % needed for a removal; 5 nodes fell silent together after 10:04 UTC, \
             which looks like an outage of the collector or its network, not of the nodes",
        );
    }
    let back = world().nodes(&[up, ["XXXX-X"; 5]].concat());
    passes(
        &back.with(|w| w.changes = vec![-1]),
        GateName::Quorum,
        "10 of 10 nodes answer, 80 % needed for a removal",
    );
}

#[test]
fn a_counter_that_is_not_due_does_not_answer_for_its_node() {
    let removal = |load: &str, disk| {
        let hot = "X".repeat(load.len());
        world()
            .with(|w| {
                w.counters = vec!["load1", "disk"];
                w.every = vec![1, 5];
                w.changes = vec![-1];
            })
            .node("web01", &[&hot, "X    X"])
            .node("web02", &[load, disk])
    };
    for (load, disk, answering) in [
        ("0000000", "0    0 ", 2),
        ("000000-", "0    0 ", 1),
        ("00000--", "0    0 ", 1),
    ] {
        let gate = removal(load, disk).gate(GateName::Quorum);
        let said = format!("{answering} of 2 nodes answer, 80 % needed for a removal");
        assert_eq!(
            (gate.passed, gate.reason),
            (answering == 2, said),
            "{load} {disk}"
        );
    }
    for (load, disk, passed) in [
        ("00000-", "0    0", true),
        ("000000", "0    -", true),
        ("00000-", "0    -", false),
    ] {
        let gate = removal(load, disk).gate(GateName::Quorum);
        assert_eq!(gate.passed, passed, "{load} {disk}: {}", gate.reason);
    }
}

#[test]
fn a_node_with_one_silent_counter_is_not_fresh_for_a_removal() {
    let world = world()
        .with(|w| {
            w.counters = vec!["load1", "memory"];
            w.changes = vec![-1];
        })
        .node("web01", &["XXXXXX", "0"]);
    refuses(
        &world,
        GateName::Quorum,
        "1 of 1 node answer (1 of them not for every counter), 80 % needed for a removal",
    );
}

#[test]
fn a_percentage_is_reached_exactly_and_never_by_rounding() {
    assert!(reaches(4, 5, 80) && !reaches(79, 100, 80) && reaches(80, 100, 80));
    assert!(!reaches(2, 3, 67) && reaches(2, 3, 66) && reaches(0, 0, 80));
    assert!(reaches(usize::MAX, usize::MAX, 100));
}

#[test]
fn a_hold_refuses_with_its_author_reason_and_end() {
    passes(&hot(), GateName::Hold, "no hold is active");
    let hold = |what, expires_ms| HoldFacts {
        what,
        reason: "release 1.2",
        author: "alice",
        expires_ms,
        stops_all: false,
    };
    refuses(
        &hot().with(|w| w.holds = vec![hold("trigger web-hot", at(9)), hold("everything", at(30))]),
        GateName::Hold,
        "everything is held until 10:30 UTC by alice: release 1.2",
    );
    let stop = HoldFacts {
        stops_all: true,
        ..hold("all acting", at(5))
    };
    refuses(
        &hot().with(|w| w.holds = vec![hold("everything", at(30)), stop]),
        GateName::Hold,
        "all acting is stopped by alice: release 1.2",
    );
}

#[test]
fn an_open_breaker_refuses_what_launches_and_nothing_else() {
    let why = "the breaker of web is open since 09:40 UTC";
    let open = || hot().with(|w| w.launch_refusal = Some(why));
    passes(&open(), GateName::Breaker, "no step launches a node");
    let removes = open().with(|w| w.changes = vec![-1]);
    passes(&removes, GateName::Breaker, "no step launches a node");
    let grows = open().with(|w| w.changes = vec![1]);
    refuses(&grows, GateName::Breaker, why);
    let free = hot().with(|w| w.changes = vec![1]);
    passes(&free, GateName::Breaker, "web may launch");
}

#[test]
fn the_cooldown_ends_on_its_minute() {
    let cooling = |cooldown| {
        world()
            .with(|w| {
                w.last_fired_ms = Some(at(0));
                w.cooldown_ms = cooldown * MINUTE;
            })
            .nodes(&["XXXXXXX"])
    };
    passes(&hot(), GateName::Cooldown, "it has not fired yet");
    refuses(
        &cooling(7),
        GateName::Cooldown,
        "it cools down until 10:07 UTC after firing at 10:00 UTC",
    );
    passes(
        &cooling(6),
        GateName::Cooldown,
        "its cooldown of 6 min is over since it fired at 10:00 UTC",
    );
    passes(
        &cooling(0),
        GateName::Cooldown,
        "it has no cooldown and last fired at 10:00 UTC",
    );
}

#[test]
fn a_firing_in_this_tick_or_ahead_of_the_clock_refuses() {
    let fired = |minute| hot().with(|w| w.last_fired_ms = Some(at(minute)));
    refuses(
        &fired(5),
        GateName::Cooldown,
        "it has fired in this tick, at 10:05 UTC",
    );
    refuses(
        &fired(65),
        GateName::Cooldown,
        "its last firing is recorded for 11:05 UTC, 60 min ahead of the clock: was the clock set back?",
    );
}

#[test]
fn an_open_run_of_the_trigger_or_of_the_clusters_capacity_refuses() {
    let run = RunFacts {
        id: 12,
        origin: "web-cold",
        state: "running",
    };
    passes(&hot(), GateName::OpenRun, "no run of it is open");
    passes(
        &hot(),
        GateName::CapacityRun,
        "no run is changing the capacity of web",
    );
    refuses(
        &hot().with(|w| w.open_run = Some(run)),
        GateName::OpenRun,
        "its run 12 is still running",
    );
    refuses(
        &hot().with(|w| w.open_capacity_run = Some(run)),
        GateName::CapacityRun,
        "run 12 of web-cold, which changes the capacity of web, is still running",
    );
}

#[test]
fn no_step_leaves_the_clusters_bounds_and_nodes_being_launched_count() {
    let bounded = |changes: &[i32], launching| {
        hot().with(|w| {
            w.changes = changes.to_vec();
            w.launching = launching;
            w.min_nodes = 2;
            w.max_nodes = Some(4);
        })
    };
    passes(
        &bounded(&[0, 0], 0),
        GateName::Bounds,
        "no step changes the number of nodes",
    );
    passes(
        &bounded(&[1, 0, 1], 0),
        GateName::Bounds,
        "web would go from 2 to 4 nodes",
    );
    refuses(
        &bounded(&[1], 2),
        GateName::Bounds,
        "a step would take web from 4 to 5 nodes, more than its maximum of 4",
    );
    refuses(
        &bounded(&[-1], 0),
        GateName::Bounds,
        "a step would take web from 2 to 1 nodes, fewer than its minimum of 2",
    );
    refuses(
        &bounded(&[-1, 1], 0),
        GateName::Bounds,
        "a step would take web from 2 to 1 nodes, fewer than its minimum of 2",
    );
    passes(
        &bounded(&[1, -1], 0),
        GateName::Bounds,
        "web would go from 2 to 2 nodes",
    );
}

#[test]
fn a_cluster_below_its_minimum_may_grow_and_one_above_its_maximum_may_shrink() {
    let sized = |change, min_nodes, max_nodes| {
        hot().with(|w| {
            w.changes = vec![change];
            w.min_nodes = min_nodes;
            w.max_nodes = Some(max_nodes);
        })
    };
    assert!(sized(1, 5, 9).gate(GateName::Bounds).passed);
    assert!(sized(-1, 0, 1).gate(GateName::Bounds).passed);
}
