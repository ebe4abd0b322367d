//! Short patterns with gaps, five minutes each, after the truth table that CloudWatch publishes for missing data.
//!
//! CloudWatch counts data points; here time counts: a breach must last for two minutes, and a gap shorter than `stale_after`
//! is held. Where the two differ (`0-X-X`, `--X--`), the difference is the point of the row.

use super::world::{MINUTE, world};
use crate::triggers::breach::Missing;
use crate::triggers::decide::Outcome::{self, Fired, Pending, Quiet};

#[test]
fn patterns_with_gaps_come_to_what_the_counter_says_about_missing_readings() {
    let rows: [(&str, Outcome, Outcome, Outcome); 14] = [
        // readings, hold, breach, reset
        ("00000", Quiet, Quiet, Quiet),
        ("XXXXX", Fired, Fired, Fired),
        ("00XXX", Fired, Fired, Fired),
        ("000XX", Pending, Pending, Pending),
        ("00X0X", Pending, Pending, Pending),
        ("0XX0X", Pending, Pending, Pending),
        ("0-X-X", Fired, Fired, Pending),
        ("0----", Quiet, Fired, Quiet),
        ("-----", Quiet, Fired, Quiet),
        ("0XX-X", Fired, Fired, Pending),
        ("--X--", Pending, Fired, Quiet),
        ("----0", Quiet, Quiet, Quiet),
        ("---X-", Pending, Fired, Quiet),
        ("X----", Quiet, Fired, Quiet),
    ];
    for (readings, hold, breach, reset) in rows {
        for (missing, expected) in [
            (Missing::Hold, hold),
            (Missing::Breach, breach),
            (Missing::Reset, reset),
        ] {
            let decision = world()
                .with(|w| {
                    w.timing_ms = Some(2 * MINUTE);
                    w.missing = missing;
                })
                .nodes(&[readings])
                .decide();
            assert_eq!(
                decision.outcome, expected,
                "{readings} with {missing:?}: {}",
                decision.reason
            );
        }
    }
}

#[test]
fn silence_alone_never_fires_whatever_the_counter_says() {
    for missing in [Missing::Hold, Missing::Breach, Missing::Reset] {
        let decision = world()
            .with(|w| w.missing = missing)
            .nodes(&["XXXXXXXX    "])
            .decide();
        assert_eq!(decision.outcome, Quiet, "{missing:?}: {}", decision.reason);
    }
}
