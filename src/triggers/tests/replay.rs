//! The replay against a naive reading of the contract, which looks at all samples again at every tick.

use proptest::prelude::*;

use super::world::{MINUTE, RULE, at};
use crate::triggers::backtest::{Counter, Node, Series, Subject, replay};
use crate::triggers::breach::{Missing, Policy};
use crate::triggers::decide::Outcome;
use crate::triggers::facts::{ClusterFacts, TriggerFacts, When};

const STALE: i64 = 3;

fn subject(samples: &[Option<f64>], timing: i64, cooldown: i64) -> Subject<'static> {
    let samples = (0..).zip(samples);
    Subject {
        trigger: TriggerFacts {
            timing_ms: Some(timing * MINUTE),
            when: When::Any,
            cooldown_ms: cooldown * MINUTE,
            quorum_percent: 80,
            enabled: true,
            dry_run: false,
            last_fired_ms: None,
            changes: &[],
            may_shrink: false,
        },
        cluster: ClusterFacts {
            name: "web",
            min_nodes: 0,
            max_nodes: None,
            size: 1,
        },
        counters: vec![Counter {
            name: "load1",
            unit: None,
            policy: Policy {
                rule: RULE,
                missing: Missing::Hold,
                stale_after_ms: STALE * MINUTE,
            },
            period_ms: MINUTE,
        }],
        nodes: vec![Node {
            name: "web01",
            created_ms: 0,
            series: vec![Series {
                counter: 0,
                jvm: None,
                samples: samples
                    .filter_map(|(minute, value)| Some((at(minute), (*value)?)))
                    .collect(),
            }],
        }],
    }
}

/// When one series fires, by the words of the contract: walk back from the tick over the samples of the breach.
fn naive(samples: &[Option<f64>], timing: i64, cooldown: i64) -> Vec<i64> {
    let mut fired: Vec<i64> = Vec::new();
    for now in 0..samples.len() as i64 {
        let last_fired = fired.last().copied();
        if last_fired.is_some_and(|fired| now - fired < cooldown.max(1)) {
            continue;
        }
        let (mut last, mut start, mut newer) = (None, None, now);
        for minute in (0..=now).rev() {
            let Some(value) = samples[minute as usize] else {
                continue;
            };
            if value <= 4.0 || newer - minute > STALE {
                break;
            }
            newer = minute;
            last = last.or(Some(minute));
            if last_fired.is_none_or(|fired| minute > fired) {
                start = Some(minute);
            }
        }
        if let (Some(last), Some(start)) = (last, start)
            && now - last <= STALE
            && last - start >= timing
        {
            fired.push(now);
        }
    }
    fired
}

fn firings(samples: &[Option<f64>], timing: i64, cooldown: i64) -> Vec<i64> {
    let end = samples.len() as i64 - 1;
    let report = replay(&subject(samples, timing, cooldown), at(0), at(end), MINUTE);
    assert_eq!(i64::from(report.ticks), end + 1);
    let told: u32 = report.stretches.iter().map(|stretch| stretch.count).sum();
    assert_eq!(told, report.ticks, "every tick is told");
    let minutes = report.firings.iter();
    minutes
        .map(|firing| (firing.at_ms - at(0)) / MINUTE)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn a_replay_fires_exactly_when_the_contract_says(
        samples in proptest::collection::vec(prop_oneof![
            8 => Just(Some(9.0)), 1 => Just(Some(4.0)), 2 => Just(None),
        ], 1..80),
        timing in 0..6_i64,
        cooldown in 0..10_i64,
    ) {
        prop_assert_eq!(firings(&samples, timing, cooldown), naive(&samples, timing, cooldown));
    }
}

#[test]
fn the_minutes_of_a_steady_breach_are_the_timing_apart_from_the_sample_after_a_firing() {
    let hot = [Some(9.0); 20];
    assert_eq!(firings(&hot, 5, 0), [5, 11, 17]);
    assert_eq!(firings(&hot, 5, 10), [5, 15]);
    assert_eq!(firings(&hot, 0, 0).len(), 20);
}

#[test]
fn every_outcome_of_a_replay_is_told_with_its_reason() {
    let samples = "000XXXX0"
        .chars()
        .map(|c| Some(if c == 'X' { 9.0 } else { 1.0 }));
    let subject = subject(&samples.collect::<Vec<_>>(), 2, 0);
    let report = replay(&subject, at(0), at(7), MINUTE);
    let told: Vec<_> = report
        .stretches
        .iter()
        .map(|stretch| (stretch.outcome, stretch.count, stretch.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (Outcome::Quiet, 3, "its series is within the threshold"),
            (
                Outcome::Pending,
                2,
                "load1 on web01 has breached 1 of 2 min"
            ),
            (
                Outcome::Fired,
                1,
                "load1 on web01 has been > 4 for 2 min (now 9)"
            ),
            (
                Outcome::Pending,
                1,
                "load1 on web01 has breached 0 of 2 min since it last fired"
            ),
            (Outcome::Quiet, 1, "its series is within the threshold"),
        ]
    );
}

#[test]
fn a_rehearsing_trigger_is_replayed_as_if_it_were_live() {
    let mut subject = subject(&[Some(9.0); 8], 2, 0);
    subject.trigger.dry_run = true;
    let report = replay(&subject, at(0), at(7), MINUTE);
    let minutes: Vec<_> = report
        .firings
        .iter()
        .map(|f| (f.at_ms - at(0)) / MINUTE)
        .collect();
    assert_eq!(minutes, [2, 5]);
}

#[test]
fn a_node_counts_from_when_it_was_made_and_ticks_fall_on_the_clock() {
    let mut subject = subject(&[Some(9.0); 8], 0, 100);
    subject.nodes[0].created_ms = at(4);
    let report = replay(&subject, at(0) + 1, at(7) + 59_999, MINUTE);
    assert_eq!(
        (report.from_ms, report.to_ms, report.ticks),
        (at(1), at(7), 7)
    );
    assert_eq!(report.firings[0].at_ms, at(4));
}

#[test]
fn a_replay_removes_nothing_in_the_tick_in_which_half_of_the_nodes_are_lost() {
    let all = "XXXXXX";
    for (other_half, minutes) in [(all, vec![5]), ("XXXXX-", vec![]), ("XXXXX-X", vec![6])] {
        let mut subject = subject(&[Some(9.0); 8], 5, 100);
        (subject.trigger.changes, subject.trigger.may_shrink) = (&[-1], true);
        let value = |letter| (letter == 'X').then_some(9.0);
        let lost: Vec<_> = other_half.chars().map(value).collect();
        let mut node = self::subject(&lost, 5, 100).nodes.remove(0);
        node.name = "web02";
        subject.nodes.push(node);
        let end = other_half.len() as i64 - 1;
        let report = replay(&subject, at(0), at(end), MINUTE);
        let fired: Vec<_> = report
            .firings
            .iter()
            .map(|f| (f.at_ms - at(0)) / MINUTE)
            .collect();
        assert_eq!(fired, minutes, "{other_half}");
        if minutes.is_empty() {
            let last = report.stretches.last().unwrap();
            assert_eq!(last.outcome, Outcome::Refused);
            let reason = "but 1 of 2 nodes answer, 80 % needed for a removal";
            assert!(last.reason.ends_with(reason), "{}", last.reason);
        }
    }
}
