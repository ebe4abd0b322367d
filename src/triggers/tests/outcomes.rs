//! What each situation comes to, and with which sentence.

use super::world::{MINUTE, World, at, world};
use crate::triggers::breach::Missing;
use crate::triggers::decide::Outcome::{self, DryRun, Fired, Pending, Quiet, Refused};
use crate::triggers::facts::When;
use crate::triggers::survey::{MAX_INPUTS, Standing};

#[track_caller]
fn comes_to(world: &World, outcome: Outcome, reason: &str) {
    let decision = world.decide();
    assert_eq!(
        (decision.outcome, decision.reason.as_str()),
        (outcome, reason)
    );
}

#[test]
fn six_breaches_a_minute_apart_fill_five_minutes_and_fire() {
    comes_to(
        &world().nodes(&["0XXXXX"]),
        Pending,
        "load1 on web01 has breached 4 of 5 min",
    );
    comes_to(
        &world().nodes(&["0XXXXXX"]),
        Fired,
        "load1 on web01 has been > 4 for 5 min (now 9)",
    );
}

#[test]
fn with_timing_zero_the_first_breach_fires() {
    let world = world().with(|w| w.timing_ms = Some(0)).nodes(&["0X"]);
    comes_to(&world, Fired, "load1 on web01 is > 4 (now 9)");
}

#[test]
fn without_a_timing_or_a_counter_it_runs_by_hand_only() {
    let by_hand = "so it runs by hand only";
    comes_to(
        &world().with(|w| w.timing_ms = None).nodes(&["XXXXXXXX"]),
        Quiet,
        &format!("no timing is set, {by_hand}"),
    );
    comes_to(
        &world().with(|w| w.counters.clear()).node("web01", &[]),
        Quiet,
        &format!("it has no counters, {by_hand}"),
    );
}

#[test]
fn calm_says_what_kind_of_calm_it_is() {
    for (world, reason) in [
        (world(), "web has no node in service"),
        (
            world().node("web01", &[]),
            "no node in service of web has one of its counters",
        ),
        (world().nodes(&["", ""]), "there is no sample yet"),
        (world().nodes(&["X0"]), "its series is within the threshold"),
        (
            world().nodes(&["X0", "00"]),
            "all 2 series are within their thresholds",
        ),
        (
            world().nodes(&["00000", "0", "-----"]),
            "2 series are without a fresh sample, 1 within the threshold",
        ),
        (
            world().nodes(&["0"]).with(|w| w.nodes[0].held = true),
            "every node in service of web is held",
        ),
        (
            world().nodes(&["0"]).with(|w| w.enabled = false),
            "its series is within the threshold; the trigger is disabled",
        ),
        (
            world()
                .nodes(&[""])
                .with(|w| w.unreadable = Some("redis: connection refused")),
            "the samples could not be read, and nothing fires without them: redis: connection refused",
        ),
    ] {
        comes_to(&world, Quiet, reason);
    }
}

#[test]
fn a_stale_breach_never_fires_and_the_decision_says_so() {
    let stale = world().nodes(&["XXXXXXXX----"]);
    comes_to(
        &stale,
        Quiet,
        "load1 on web01 breached, but its last sample is 4 min old: stale, it does not count",
    );
    comes_to(
        &world().nodes(&["XXXXXXXX---"]),
        Fired,
        "load1 on web01 has been > 4 for 7 min (now 9)",
    );
}

#[test]
fn a_counter_that_takes_missing_readings_for_breaches_fires_on_a_silent_node() {
    let silent = world()
        .with(|w| w.missing = Missing::Breach)
        .nodes(&["0------"]);
    comes_to(
        &silent,
        Fired,
        "load1 on web01 has been > 4 for 5 min (now 1)",
    );
    let reset = world()
        .with(|w| w.missing = Missing::Reset)
        .nodes(&["XXXXXX-"]);
    comes_to(&reset, Quiet, "its series is within the threshold");
}

#[test]
fn all_asks_every_fresh_node_and_leaves_silent_ones_out() {
    let all = || world().with(|w| w.when = When::All);
    comes_to(
        &all().nodes(&["XXXXXX", "00000X"]),
        Pending,
        "1 of 2 fresh nodes qualify and all must",
    );
    comes_to(
        &all().nodes(&["XXX", "XXX"]),
        Pending,
        "load1 on web01 has breached 2 of 5 min, and all 2 fresh nodes must",
    );
    comes_to(
        &all().nodes(&["XXXXXX", "0XXXXXX", "0"]),
        Fired,
        "all 2 fresh nodes qualify, first load1 on web01 has been > 4 for 5 min (now 9)",
    );
}

#[test]
fn percent_counts_every_node_in_service_silent_ones_too() {
    let half = || world().with(|w| w.when = When::Percent(50));
    comes_to(
        &half().nodes(&["XXXXXX", "0", "0"]),
        Pending,
        "1 of 3 nodes qualify and 50 % must, which is 2",
    );
    comes_to(
        &half().nodes(&["XX", "00"]),
        Pending,
        "load1 on web01 has breached 1 of 5 min, and 50 % of 2 nodes must",
    );
    comes_to(
        &half().nodes(&["XXXXXX", "0"]),
        Fired,
        "1 of 2 nodes qualify (50 % needed), first load1 on web01 has been > 4 for 5 min (now 9)",
    );
}

#[test]
fn average_looks_at_the_mean_alone() {
    comes_to(
        &world().nodes(&["XXXXXX", "000000"]).mean("000000"),
        Quiet,
        "the mean of load1 over web is 1, within its threshold",
    );
    comes_to(
        &world().nodes(&["XXXXXX", "000000"]).mean("0000XX"),
        Pending,
        "the mean of load1 over web has breached 1 of 5 min",
    );
    comes_to(
        &world().nodes(&["XXXXXX", "000000"]).mean("XXXXXX"),
        Fired,
        "the mean of load1 over web has been > 4 for 5 min (now 9)",
    );
}

#[test]
fn a_held_node_does_not_count() {
    let held = world()
        .nodes(&["XXXXXX", "000000"])
        .with(|w| w.nodes[0].held = true);
    comes_to(&held, Quiet, "its series is within the threshold");
    let decision = held.decide();
    assert_eq!(decision.detail.nodes.held, 1);
    assert_eq!(decision.detail.inputs[1].standing, Standing::Held);
}

#[test]
fn after_a_firing_the_breach_counts_from_the_next_sample_on() {
    let fired = |readings| {
        world()
            .with(|w| w.last_fired_ms = Some(at(5)))
            .nodes(&[readings])
    };
    comes_to(
        &fired("XXXXXXXXX"),
        Pending,
        "load1 on web01 has breached 2 of 5 min since it last fired",
    );
    comes_to(
        &fired("XXXXXXXXXXX"),
        Pending,
        "load1 on web01 has breached 4 of 5 min since it last fired",
    );
    comes_to(
        &fired("XXXXXXXXXXXX"),
        Fired,
        "load1 on web01 has been > 4 for 5 min (now 9)",
    );
}

#[test]
fn a_breach_without_a_sample_since_the_firing_does_not_fire_again_even_with_timing_zero() {
    let world = world()
        .with(|w| {
            w.last_fired_ms = Some(at(1));
            w.timing_ms = Some(0);
        })
        .nodes(&["XX "]);
    comes_to(
        &world,
        Pending,
        "load1 on web01 has breached 0 of 0 s since it last fired",
    );
}

#[test]
fn a_refusal_names_the_gate_and_a_rehearsal_says_that_nothing_starts() {
    let hot = || world().nodes(&["XXXXXX"]);
    let lead = "load1 on web01 has been > 4 for 5 min (now 9)";
    comes_to(
        &hot().with(|w| w.enabled = false),
        Refused,
        &format!("{lead}, but the trigger is disabled"),
    );
    comes_to(
        &hot().with(|w| w.dry_run = true),
        DryRun,
        &format!("{lead}, but it only rehearses: the run is planned and not started"),
    );
    let both = hot().with(|w| {
        w.dry_run = true;
        w.enabled = false;
    });
    assert_eq!(both.decide().outcome, Refused);
}

#[test]
fn a_pending_trigger_says_which_gate_would_refuse_it() {
    let world = world().nodes(&["XX"]).with(|w| w.enabled = false);
    comes_to(
        &world,
        Pending,
        "load1 on web01 has breached 1 of 5 min; it would be refused as things stand: the trigger is disabled",
    );
    assert_eq!(world.decide().detail.due_in_ms, Some(4 * MINUTE));
}

#[test]
fn the_longest_breach_leads_and_of_equals_the_first() {
    let decision = world().nodes(&["0X", "XX", "XX"]).decide();
    assert_eq!(decision.reason, "load1 on web02 has breached 1 of 5 min");
    let names: Vec<_> = decision
        .detail
        .inputs
        .iter()
        .map(|input| input.node.as_deref().unwrap())
        .collect();
    assert_eq!(names, ["web01", "web02", "web03"]);
}

#[test]
fn a_clock_set_back_is_said_and_fires_nothing() {
    let back = world().nodes(&["XXXXXXXX"]).with(|w| {
        w.now_ms = at(7 - 60);
        w.previous_ms = Some(at(7));
    });
    comes_to(
        &back,
        Quiet,
        "the last sample of load1 on web01 lies 60 min ahead of the clock and does not count: was the clock set back?; \
         the clock went back by 60 min since the last decision, so breaches are counted anew",
    );
    let late_by_a_tick = world().nodes(&["0"]).with(|w| w.previous_ms = Some(at(1)));
    comes_to(&late_by_a_tick, Quiet, "its series is within the threshold");
}

#[test]
fn a_removal_names_the_outage_of_the_collector() {
    let outage = |quorum| {
        world()
            .nodes(&["0000000", "000", "000", "000"])
            .with(|w| {
                w.changes = vec![-1];
                w.quorum_percent = quorum;
            })
            .decide()
            .reason
    };
    assert_eq!(
        outage(20),
        "3 series are without a fresh sample, 1 within the threshold; 3 nodes fell silent together after 10:02 UTC, \
         which looks like an outage of the collector or its network, not of the nodes"
    );
    let one_by_one = world()
        .nodes(&["0000000000", "000000", "000", "0"])
        .with(|w| w.changes = vec![-1])
        .decide();
    assert!(
        !one_by_one.reason.contains("outage"),
        "{}",
        one_by_one.reason
    );
}

#[test]
fn steady_states_share_a_fingerprint_and_other_stories_do_not() {
    let print = |world: World| world.decide().fingerprint;
    assert_eq!(
        print(world().nodes(&["0X"])),
        print(world().nodes(&["0XXXX"])),
        "the age of a breach is left out"
    );
    assert_eq!(print(world().nodes(&["0"])), print(world().nodes(&["000"])));
    let cooling = |readings| {
        world().nodes(&[readings]).with(|w| {
            w.last_fired_ms = Some(at(0));
            w.cooldown_ms = 60 * MINUTE;
        })
    };
    assert_eq!(
        print(cooling("XXXXXXXX")),
        print(cooling("XXXXXXXXX")),
        "the rest of a cooldown is left out"
    );
    let prints = [
        print(world().nodes(&["0", "X"])),
        print(world().nodes(&["X", "0"])),
        print(world().nodes(&["0", "0"])),
        print(world().nodes(&["0", ""])),
        print(world().nodes(&["XXXXXX"])),
        print(cooling("XXXXXXXX")),
        print(world().nodes(&["XX"]).with(|w| w.enabled = false)),
        print(world().nodes(&["XXXXXX"]).with(|w| w.enabled = false)),
    ];
    for (at, print) in prints.iter().enumerate() {
        assert!(!prints[..at].contains(print), "{print} is told twice");
    }
}

#[test]
fn inputs_carry_value_age_and_breach_and_are_bounded() {
    let decision = world().nodes(&["0XX-"]).decide();
    let input = &decision.detail.inputs[0];
    assert_eq!(input.standing, Standing::Breaching);
    assert_eq!((input.value, input.age_ms), (Some(9.0), Some(MINUTE)));
    assert_eq!((input.breached_ms, input.breach_count), (MINUTE, 2));
    assert_eq!(input.rule, "> 4");
    assert_eq!(input.error.as_deref(), Some("exit status 1"));

    let many = world().nodes(&["0"; 50]).node("hot", &["X"]).decide();
    assert_eq!(many.detail.inputs.len(), MAX_INPUTS);
    assert_eq!(many.detail.left_out, 51 - MAX_INPUTS);
    assert_eq!(many.detail.inputs[0].node.as_deref(), Some("hot"));
}

#[test]
fn the_detail_survives_json() {
    let detail = world().nodes(&["0XX-", "", "XXXX"]).decide().detail;
    let json = serde_json::to_string(&detail).unwrap();
    assert_eq!(
        serde_json::from_str::<super::super::decide::Detail>(&json).unwrap(),
        detail
    );
}
