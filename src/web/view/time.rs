//! Times: what a person wants to know (how long ago) with the exact instant kept beside it. Always UTC.

use std::fmt;

use askama::filters::HtmlSafe;

use crate::models::from_ms;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// An instant, printed relative to now, with the exact time in `title` and `datetime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The instant, ms.
    pub at_ms: i64,
    /// What it is held against, ms.
    pub now_ms: i64,
}

impl Moment {
    /// An instant as seen from `now_ms`.
    pub const fn new(at_ms: i64, now_ms: i64) -> Self {
        Self { at_ms, now_ms }
    }
}

impl HtmlSafe for Moment {}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<time datetime="{}" title="{}">{}</time>"#,
            iso(self.at_ms),
            exact(self.at_ms),
            relative(self.at_ms, self.now_ms),
        )
    }
}

/// `3 min ago`, `in 12 s`, `now`.
pub fn relative(at_ms: i64, now_ms: i64) -> String {
    let secs = at_ms.saturating_sub(now_ms) / 1000;
    match secs {
        0 => "now".to_owned(),
        ahead if ahead > 0 => format!("in {}", duration(ahead)),
        past => format!("{} ago", coarse(past.saturating_neg())),
    }
}

/// A length of time in its largest unit: what is past need not be told to the second.
fn coarse(secs: i64) -> String {
    match secs {
        ..MINUTE => format!("{secs} s"),
        MINUTE..HOUR => format!("{} min", secs / MINUTE),
        HOUR..DAY => format!("{} h", secs / HOUR),
        _ => format!("{} d", secs / DAY),
    }
}

/// A length of time in its two largest units at most: `45 s`, `5 min`, `1 h 20 min`, `3 d 4 h`.
pub fn duration(secs: i64) -> String {
    let pair = |large: i64, unit: &str, rest: i64, small: &str| {
        if rest == 0 {
            format!("{large} {unit}")
        } else {
            format!("{large} {unit} {rest} {small}")
        }
    };
    match secs {
        ..MINUTE => format!("{secs} s"),
        // Seconds matter to somebody who waits for a two-minute timing, not beyond ten minutes.
        MINUTE..600 => pair(secs / MINUTE, "min", secs % MINUTE, "s"),
        600..HOUR => format!("{} min", secs / MINUTE),
        HOUR..DAY => pair(secs / HOUR, "h", secs % HOUR / MINUTE, "min"),
        _ => pair(secs / DAY, "d", secs % DAY / HOUR, "h"),
    }
}

/// `2026-11-21T04:28:57Z`, for machines.
pub fn iso(ms: i64) -> String {
    from_ms(ms).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-11-21 04:28:57 UTC`, for people.
pub fn exact(ms: i64) -> String {
    from_ms(ms).format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// `04:28`.
pub fn clock(ms: i64) -> String {
    from_ms(ms).format("%H:%M").to_string()
}

/// `04:28:57`.
pub fn clock_secs(ms: i64) -> String {
    from_ms(ms).format("%H:%M:%S").to_string()
}

/// `21 Nov 04:28`, where a day may have passed.
pub fn day_and_clock(ms: i64) -> String {
    from_ms(ms).format("%-d %b %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_235_337_000;

    #[test]
    fn lengths_are_told_in_two_units_at_most() {
        for (secs, said) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (95, "1 min 35 s"),
            (600, "10 min"),
            (659, "10 min"),
            (3_600, "1 h"),
            (4_800, "1 h 20 min"),
            (86_400, "1 d"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(duration(secs), said);
        }
    }

    #[test]
    fn the_past_the_present_and_the_future_read_as_such() {
        assert_eq!(relative(NOW - 190_000, NOW), "3 min ago");
        assert_eq!(relative(NOW - 7_300_000, NOW), "2 h ago");
        assert_eq!(relative(NOW + 95_000, NOW), "in 1 min 35 s");
        assert_eq!(relative(NOW + 400, NOW), "now");
        assert_eq!(relative(NOW + 12_000, NOW), "in 12 s");
    }

    #[test]
    fn a_moment_keeps_the_exact_instant() {
        assert_eq!(
            Moment::new(NOW - 60_000, NOW).to_string(),
            r#"<time datetime="2026-11-21T04:27:57Z" title="2026-11-21 04:27:57 UTC">1 min ago</time>"#
        );
    }

    #[test]
    fn an_instant_no_calendar_knows_does_not_panic() {
        assert!(Moment::new(i64::MAX, i64::MIN).to_string().contains("in "));
        assert!(Moment::new(i64::MIN, i64::MAX).to_string().contains("ago"));
    }
}
