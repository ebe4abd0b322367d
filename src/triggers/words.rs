//! Durations, times and numbers as a person reads them in a reason.

use chrono::{DateTime, Utc};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// The unit a span of `ms` is best read in.
fn unit(ms: i64) -> (i64, &'static str) {
    match ms {
        ms if ms >= 2 * DAY_MS => (DAY_MS, "days"),
        ms if ms >= 2 * HOUR_MS => (HOUR_MS, "h"),
        ms if ms >= 2 * MINUTE_MS || ms == MINUTE_MS => (MINUTE_MS, "min"),
        _ => (SECOND_MS, "s"),
    }
}

/// `ms` in a unit with one decimal at most, rounded down so that an unfinished span never reads as finished.
fn amount(ms: i64, unit_ms: i64) -> String {
    let tenths = ms.max(0) / (unit_ms / 10);
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        rest => format!("{}.{rest}", tenths / 10),
    }
}

/// A span: `45 s`, `5 min`, `2.5 h`.
pub fn span(ms: i64) -> String {
    let (unit_ms, name) = unit(ms);
    format!("{} {name}", amount(ms, unit_ms))
}

/// How much of a span is over, in the span's unit: `3 of 5 min`.
pub fn progress(elapsed_ms: i64, whole_ms: i64) -> String {
    let (unit_ms, name) = unit(whole_ms);
    format!(
        "{} of {} {name}",
        amount(elapsed_ms, unit_ms),
        amount(whole_ms, unit_ms)
    )
}

/// A time of day near `now_ms`, with the date where the day alone would not be clear.
pub fn time(at_ms: i64, now_ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(at_ms).unwrap_or(DateTime::<Utc>::MAX_UTC);
    let clock = if at_ms % MINUTE_MS == 0 {
        "%H:%M"
    } else {
        "%H:%M:%S"
    };
    if at_ms.saturating_sub(now_ms).saturating_abs() < DAY_MS {
        format!("{} UTC", at.format(clock))
    } else {
        format!("{} UTC", at.format(&format!("%Y-%m-%d {clock}")))
    }
}

/// A value with four decimals at most, and its unit.
pub fn value(value: f64, unit: Option<&str>) -> String {
    let rounded = (value * 1e4).round() / 1e4;
    // A number too large for the rounding is shown as it is.
    let shown = if rounded.is_finite() { rounded } else { value };
    match unit {
        Some(unit) => format!("{shown} {unit}"),
        None => shown.to_string(),
    }
}

/// `count` things: `1 node`, `2 nodes`.
pub fn count(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_the_unit_that_fits() {
        for (ms, text) in [
            (0, "0 s"),
            (-5, "0 s"),
            (500, "0.5 s"),
            (45_000, "45 s"),
            (60_000, "1 min"),
            (90_000, "90 s"),
            (300_000, "5 min"),
            (150_000, "2.5 min"),
            (5_400_000, "90 min"),
            (9_000_000, "2.5 h"),
            (3 * DAY_MS, "3 days"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn progress_never_reads_as_finished_before_it_is() {
        assert_eq!(progress(180_000, 300_000), "3 of 5 min");
        assert_eq!(progress(210_000, 300_000), "3.5 of 5 min");
        assert_eq!(progress(299_999, 300_000), "4.9 of 5 min");
        assert_eq!(progress(3_000, 5_000), "3 of 5 s");
        assert_eq!(progress(-60_000, 300_000), "0 of 5 min");
    }

    #[test]
    fn a_time_carries_its_date_only_when_it_is_far() {
        let now = 1_795_000_000_000; // 2026-11-18 11:06:40
        assert_eq!(time(now, now), "11:06:40 UTC");
        assert_eq!(time(now + 20_000, now), "11:07 UTC");
        assert_eq!(time(now + 20_000 + DAY_MS, now), "2026-11-19 11:07 UTC");
        assert!(time(i64::MAX, now).ends_with("UTC"));
    }

    #[test]
    fn values_are_short_and_carry_their_unit() {
        assert_eq!(value(7.0, None), "7");
        assert_eq!(value(7.123_456, Some("load")), "7.1235 load");
        assert_eq!(value(8e8, Some("bytes")), "800000000 bytes");
        assert_eq!(value(f64::MAX, None), f64::MAX.to_string());
    }
}
