//! `Quiet -> Breaching(since, count) -> Quiet`: how one reading moves the breach of one series.
//!
//! ```text
//!                 over the threshold                     over: count + 1
//!      Quiet ───────────────────────────▶ Breaching ◀──────────────┐
//!        ▲                                 │  │  └─────────────────┘
//!        └─────── within, or error with ───┘  └── error with `hold`: unchanged, grows stale
//!                 `missing: reset`                over after a stale gap, or a clock set back: begins anew
//! ```

use serde::{Deserialize, Serialize};

use super::rule::Rule;

/// The unbroken stretch of samples over the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// Tick of its first sample.
    pub since_ms: i64,
    /// Samples in it.
    pub count: u32,
    /// Tick of its latest sample.
    pub last_ms: i64,
}

/// What an error reading does to a breach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// Changes nothing; the breach grows stale.
    Hold,
    /// Counts as a breaching sample.
    Breach,
    /// Ends the breach.
    Reset,
}

/// How the breach of a counter's series moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// When a value breaches.
    pub rule: Rule,
    /// What an error does.
    pub missing: Missing,
    /// From this age on, a breach without a new sample counts for nothing.
    pub stale_after_ms: i64,
}

/// The breach after the reading of `tick_ms`; `value` is none for an error. The same reading twice changes nothing more.
pub fn advance(
    before: Option<Breach>,
    tick_ms: i64,
    value: Option<f64>,
    policy: &Policy,
) -> Option<Breach> {
    let over = match value {
        Some(value) => policy.rule.is_breached_by(value),
        None => match policy.missing {
            Missing::Hold => return before,
            Missing::Breach => true,
            Missing::Reset => false,
        },
    };
    over.then(|| match before {
        Some(breach) if breach.last_ms == tick_ms => breach,
        // A breach from the future (the clock was set back) or from before a stale gap proves nothing about the time between.
        Some(breach) if is_fresh(breach.last_ms, tick_ms, policy.stale_after_ms) => Breach {
            count: breach.count.saturating_add(1),
            last_ms: tick_ms,
            ..breach
        },
        _ => Breach {
            since_ms: tick_ms,
            count: 1,
            last_ms: tick_ms,
        },
    })
}

/// Whether something of `at_ms` still counts at `now_ms`; what lies in the future never does.
pub fn is_fresh(at_ms: i64, now_ms: i64, stale_after_ms: i64) -> bool {
    at_ms <= now_ms && now_ms.saturating_sub(at_ms) <= stale_after_ms
}

/// From which sample on the breach counts for a trigger: the first one after the trigger's own last firing.
///
/// `first_after` is that sample as it was looked up for a breach that [`began_before`] the firing; none where it was not.
pub fn start(
    breach: Breach,
    last_fired_ms: Option<i64>,
    stale_after_ms: i64,
    first_after: Option<i64>,
) -> Option<i64> {
    let Some(fired_ms) = last_fired_ms.filter(|fired_ms| began_before(breach, *fired_ms)) else {
        return Some(breach.since_ms);
    };
    // It came before the gap could grow stale, or the breach would have begun anew: so this is right or too late, never too
    // early, also where the sample was not looked up, was an error that counts, or is past its retention.
    let latest_ms = fired_ms.saturating_add(stale_after_ms);
    let first_ms = first_after.map_or(latest_ms, |first_ms| first_ms.min(latest_ms));
    (breach.last_ms > fired_ms).then_some(first_ms)
}

/// Whether the breach was already there when the trigger fired.
pub fn began_before(breach: Breach, fired_ms: i64) -> bool {
    breach.since_ms <= fired_ms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rule::Comparison;
    use super::*;

    const MINUTE: i64 = 60_000;

    fn policy(missing: Missing) -> Policy {
        Policy {
            rule: Rule {
                comparison: Comparison::Greater,
                threshold: 4.0,
            },
            missing,
            stale_after_ms: 3 * MINUTE,
        }
    }

    /// One reading a minute: `X` breaches, `0` does not, `-` is an error, a blank is no reading at all.
    fn replay(readings: &str, missing: Missing) -> Option<Breach> {
        let mut breach = None;
        for (minute, reading) in (0..).zip(readings.chars()) {
            let value = match reading {
                'X' => Some(9.0),
                '0' => Some(1.0),
                '-' => None,
                _ => continue,
            };
            breach = advance(breach, minute * MINUTE, value, &policy(missing));
        }
        breach
    }

    /// Since, count and last in minutes.
    fn shape(readings: &str, missing: Missing) -> Option<(i64, u32, i64)> {
        replay(readings, missing).map(|b| (b.since_ms / MINUTE, b.count, b.last_ms / MINUTE))
    }

    #[test]
    fn a_breach_counts_up_and_a_sample_within_the_threshold_ends_it() {
        for (readings, expected) in [
            ("", None),
            ("0", None),
            ("X", Some((0, 1, 0))),
            ("0XXX", Some((1, 3, 3))),
            ("XX0", None),
            ("XX0X", Some((3, 1, 3))),
        ] {
            assert_eq!(shape(readings, Missing::Hold), expected, "{readings}");
        }
    }

    #[test]
    fn an_error_does_what_the_counter_says_about_missing_readings() {
        for (readings, hold, breach, reset) in [
            ("X-", Some((0, 1, 0)), Some((0, 2, 1)), None),
            ("X-X", Some((0, 2, 2)), Some((0, 3, 2)), Some((2, 1, 2))),
            ("0-", None, Some((1, 1, 1)), None),
            ("X-0", None, None, None),
        ] {
            assert_eq!(shape(readings, Missing::Hold), hold, "hold {readings}");
            assert_eq!(
                shape(readings, Missing::Breach),
                breach,
                "breach {readings}"
            );
            assert_eq!(shape(readings, Missing::Reset), reset, "reset {readings}");
        }
    }

    #[test]
    fn a_gap_up_to_stale_after_is_held_and_a_longer_one_begins_the_breach_anew() {
        assert_eq!(shape("X--X", Missing::Hold), Some((0, 2, 3)));
        assert_eq!(shape("X---X", Missing::Hold), Some((4, 1, 4)));
        assert_eq!(shape("X   X", Missing::Hold), Some((4, 1, 4)));
        assert_eq!(shape("X   -", Missing::Breach), Some((4, 1, 4)));
    }

    #[test]
    fn the_same_reading_twice_is_counted_once_and_the_last_one_of_a_tick_wins() {
        let policy = policy(Missing::Hold);
        let once = advance(None, MINUTE, Some(9.0), &policy);
        assert_eq!(advance(once, MINUTE, Some(9.0), &policy), once);
        assert_eq!(advance(once, MINUTE, None, &policy), once);
        assert_eq!(advance(once, MINUTE, Some(1.0), &policy), None);
    }

    #[test]
    fn a_clock_set_back_begins_the_breach_anew_at_the_clocks_new_time() {
        let before = Some(Breach {
            since_ms: 60 * MINUTE,
            count: 5,
            last_ms: 65 * MINUTE,
        });
        let after = advance(before, 6 * MINUTE, Some(9.0), &policy(Missing::Hold));
        assert_eq!(
            after,
            Some(Breach {
                since_ms: 6 * MINUTE,
                count: 1,
                last_ms: 6 * MINUTE
            })
        );
        assert_eq!(
            advance(before, 6 * MINUTE, None, &policy(Missing::Hold)),
            before
        );
    }

    #[test]
    fn freshness_includes_stale_after_itself_and_excludes_the_future() {
        for (at, now, fresh) in [
            (0, 0, true),
            (0, 3, true),
            (0, 4, false),
            (1, 0, false),
            (i64::MIN, i64::MAX, false),
        ] {
            assert_eq!(is_fresh(at, now, 3), fresh, "{at} at {now}");
        }
    }

    #[test]
    fn a_breach_counts_from_the_first_sample_after_the_last_firing() {
        let breach = Breach {
            since_ms: 10,
            count: 9,
            last_ms: 90,
        };
        let start = |fired, first_after| start(breach, fired, 30, first_after);
        assert_eq!(start(None, Some(99)), Some(10));
        assert_eq!(start(Some(9), Some(99)), Some(10));
        assert_eq!(
            start(Some(10), Some(20)),
            Some(20),
            "the sample that fired belongs to the firing"
        );
        assert_eq!(start(Some(90), None), None, "nothing came since");
    }

    #[test]
    fn where_the_first_sample_is_not_known_the_latest_possible_one_counts() {
        let breach = Breach {
            since_ms: 10,
            count: 9,
            last_ms: 90,
        };
        assert_eq!(start(breach, Some(40), 30, None), Some(70));
        assert_eq!(
            start(breach, Some(40), 30, Some(85)),
            Some(70),
            "the real first sample is past its retention"
        );
        assert_eq!(start(breach, Some(80), 30, None), Some(110), "not yet");
    }

    proptest! {
        #[test]
        fn a_breach_is_never_longer_than_its_samples(
            readings in proptest::collection::vec(proptest::option::of(0.0..8.0_f64), 0..60),
            which in 0..3,
        ) {
            let missing = [Missing::Hold, Missing::Breach, Missing::Reset][which as usize];
            let policy = policy(missing);
            let mut breach = None;
            for (minute, value) in (0_i64..).zip(&readings) {
                breach = advance(breach, minute * MINUTE, *value, &policy);
                prop_assert!(value.is_none_or(|v| (v > 4.0) == breach.is_some()), "a value decides at once");
                if let Some(Breach { since_ms, count, last_ms }) = breach {
                    prop_assert!(since_ms <= last_ms && last_ms <= minute * MINUTE);
                    prop_assert!(i64::from(count) <= (last_ms - since_ms) / MINUTE + 1);
                    // Between its ends no sample lies within the threshold and no gap is stale.
                    let stretch = &readings[(since_ms / MINUTE) as usize..=(last_ms / MINUTE) as usize];
                    prop_assert!(stretch.iter().flatten().all(|v| *v > 4.0));
                    prop_assert!(stretch.split(|v| v.is_some()).all(|gap| gap.len() < 3 || missing == Missing::Breach));
                }
            }
        }
    }
}
