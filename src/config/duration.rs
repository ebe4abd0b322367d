//! Durations as people write them: `10s`, `5m`, `1h`, `1h30m`.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Reads `10s`, `5m`, `1h`, `2d` and sums of these such as `1h30m`.
///
/// # Errors
/// A sentence that says what a duration looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("\"{text}\" is not a duration such as 10s, 5m or 1h");
    let mut rest = text.trim();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, tail) =
            rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fault)?);
        let mut tail = tail.chars();
        let unit = tail.next().ok_or_else(fault)?;
        let (_, secs) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(fault)?;
        let number: u64 = digits.parse().map_err(|_| fault())?;
        total = number
            .checked_mul(*secs)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(fault)?;
        rest = tail.as_str();
    }
    if text.trim().is_empty() {
        Err(fault())
    } else {
        Ok(Duration::from_secs(total))
    }
}

/// Writes seconds the way [`parse_duration`] reads them, with the largest units first.
pub fn format_secs(secs: u64) -> String {
    let mut rest = secs;
    let mut text = String::new();
    for (unit, size) in UNITS {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_and_written_the_same() {
        for (text, secs) in [
            ("10s", 10),
            ("5m", 300),
            ("1h", 3600),
            ("1h30m", 5400),
            ("2d", 172_800),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(secs)),
                "{text}"
            );
            assert_eq!(format_secs(secs), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in [
            "",
            "5",
            "m",
            "5x",
            "-1s",
            "1.5h",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            let message = parse_duration(text).unwrap_err();
            assert!(
                message.contains("such as 10s, 5m or 1h"),
                "{text}: {message}"
            );
        }
    }
}
