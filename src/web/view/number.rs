//! Numbers as people read them: few digits, the unit beside them, large ones with a prefix.

use crate::models::Comparison;

/// Prefixes of the large numbers, a thousand apart.
const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];

/// A value with its unit: `84.2 %`, `763 MB`, `1.25 load`.
pub fn value(value: f64, unit: Option<&str>) -> String {
    match unit.map(str::trim).filter(|unit| !unit.is_empty()) {
        Some("bytes" | "byte" | "B") => scaled(value, "B"),
        Some("percent" | "%") => format!("{} %", tidy(value)),
        Some("secs" | "seconds" | "s") => format!("{} s", tidy(value)),
        Some(unit) => format!("{} {unit}", tidy(value)),
        None => tidy(value),
    }
}

/// The condition that breaches: `> 80 %`.
pub fn bound(comparison: Comparison, threshold: f64, unit: Option<&str>) -> String {
    format!("{comparison} {}", value(threshold, unit))
}

/// A count with a narrow gap between thousands: `12 345`.
pub fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::with_capacity(digits.len() + 4);
    if number < 0 {
        out.push('\u{2212}');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun in the right number: `1 run`, `3 runs`.
pub fn plural(number: usize, noun: &str) -> String {
    if number == 1 {
        return format!("1 {noun}");
    }
    let shown = count(i64::try_from(number).unwrap_or(i64::MAX));
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{shown} {stem}ies"),
        _ if noun.ends_with("series") => format!("{shown} {noun}"),
        _ => format!("{shown} {noun}s"),
    }
}

/// A number with at most four significant digits, and a prefix from a hundred thousand on.
pub fn tidy(number: f64) -> String {
    if number.abs() >= 1e18 {
        return format!("{number:.2e}");
    }
    if number.abs() >= 100_000.0 {
        return scaled(number, "").trim_end().to_owned();
    }
    trimmed(number)
}

/// A number with a prefix before its unit: `1.2 GB`.
fn scaled(number: f64, unit: &str) -> String {
    let mut shown = number;
    let mut prefixes = PREFIXES.iter().peekable();
    let mut prefix = "";
    while let Some(next) = prefixes.next() {
        prefix = next;
        // 999.95 would print as 1000: take the next prefix already there.
        if shown.abs() < 999.95 || prefixes.peek().is_none() {
            break;
        }
        shown /= 1000.0;
    }
    format!("{} {prefix}{unit}", trimmed(shown))
}

/// Four significant digits, no trailing zeros; what is tiny in exponent form.
fn trimmed(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(0.001..1e9).contains(&size) {
        return format!("{number:.2e}");
    }
    let places = match size {
        ..1.0 => 4,
        1.0..10.0 => 3,
        10.0..100.0 => 2,
        100.0..1_000.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.places$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    if text == "-0" {
        return "0".to_owned();
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_carry_their_unit() {
        for (number, unit, said) in [
            (84.24, Some("percent"), "84.24 %"),
            (84.246, Some("%"), "84.25 %"),
            (8e8, Some("bytes"), "800 MB"),
            (1_234_567_890.0, Some("bytes"), "1.235 GB"),
            (999_999.0, Some("bytes"), "1 MB"),
            (1.5, Some("load"), "1.5 load"),
            (12.0, None, "12"),
            (12.0, Some(""), "12"),
            (0.0, Some("s"), "0 s"),
            (-0.00001, None, "-1.00e-5"),
        ] {
            assert_eq!(value(number, unit), said);
        }
    }

    #[test]
    fn numbers_keep_four_digits() {
        for (number, said) in [
            (0.12345, "0.1235"),
            (1.0 / 3.0, "0.3333"),
            (7.126_49, "7.126"),
            (99.999, "100"),
            (123.456, "123.5"),
            (54_321.9, "54322"),
            (123_456.0, "123.5 k"),
            (5e20, "5.00e20"),
            (-42.0, "-42"),
            (-0.0, "0"),
        ] {
            assert_eq!(tidy(number), said);
        }
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!(count(999), "999");
        assert_eq!(count(12_345), "12\u{202f}345");
        assert_eq!(count(-1_000_000), "\u{2212}1\u{202f}000\u{202f}000");
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!(plural(1, "run"), "1 run");
        assert_eq!(plural(0, "run"), "0 runs");
        assert_eq!(plural(2, "series"), "2 series");
        assert_eq!(plural(3, "reply"), "3 replies");
        assert_eq!(plural(3, "day"), "3 days");
    }

    #[test]
    fn a_bound_reads_as_a_condition() {
        assert_eq!(bound(Comparison::Greater, 80.0, Some("%")), "> 80 %");
        assert_eq!(bound(Comparison::LessOrEqual, 2.0, None), "<= 2");
    }
}
