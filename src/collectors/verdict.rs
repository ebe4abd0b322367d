//! What a script's end and output mean: one number, or a sentence that says why not.

use std::time::Duration;

use crate::clients::{ExecOutput, Exit};

/// More output than this is never a reading.
pub(super) const MAX_OUTPUT: usize = 64 * 1024;
/// How much of a script's own words stands in a message.
const QUOTED_CHARS: usize = 80;

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Status(i32),
    /// Its shell was killed before it could tell.
    Killed,
    /// Not within its time limit.
    Late,
}

/// What a script printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Printed {
    /// Lines that are not blank, and the first of them.
    Lines { count: usize, first: String },
    /// More than [`MAX_OUTPUT`].
    TooMuch,
}

/// All that is known of one script's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) end: End,
    pub(super) printed: Printed,
    /// The first line of standard error.
    pub(super) complaint: String,
    pub(super) limit: Duration,
}

impl Account {
    /// The account of a script that ran on this host.
    pub(super) fn of(output: &ExecOutput, limit: Duration) -> Self {
        let end = match output.status {
            Exit::Status(status) => End::Status(status),
            Exit::Signal(_) => End::Killed,
            Exit::Stopped { .. } => End::Late,
        };
        let text = String::from_utf8_lossy(&output.stdout);
        let printed = if output.stdout.len() > MAX_OUTPUT {
            Printed::TooMuch
        } else {
            Printed::lines(&text)
        };
        let complaints = String::from_utf8_lossy(&output.stderr);
        Self {
            end,
            printed,
            complaint: filled(&complaints).next().unwrap_or_default().into(),
            limit,
        }
    }

    /// The number, or why there is none.
    pub(super) fn verdict(&self) -> Result<f64, String> {
        self.value().map_err(|mut why| {
            if !self.complaint.is_empty() {
                why.push_str(&format!("; stderr: {}", quoted(&self.complaint)));
            }
            why
        })
    }

    fn value(&self) -> Result<f64, String> {
        if self.end == End::Late {
            return Err(late(self.limit));
        }
        let Printed::Lines { count, first } = &self.printed else {
            return Err("printed more than 64 KiB; one number is needed".into());
        };
        match self.end {
            End::Status(0) => number(*count, first),
            End::Status(status) if status > 128 => Err(format!(
                "exited with status {status} (signal {})",
                status - 128
            )),
            End::Status(status) => Err(format!("exited with status {status}")),
            End::Killed | End::Late => {
                Err("its shell was killed before it could tell the exit status".into())
            }
        }
    }
}

impl Printed {
    fn lines(text: &str) -> Self {
        Self::Lines {
            count: filled(text).count(),
            first: filled(text).next().unwrap_or_default().into(),
        }
    }
}

fn filled(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// The message for a script that was stopped, or heard of too late.
pub(super) fn late(limit: Duration) -> String {
    format!("did not finish within {} s", secs(limit))
}

fn secs(limit: Duration) -> f64 {
    // Tenths are enough for a person.
    (limit.as_secs_f64() * 10.0).round() / 10.0
}

fn number(lines: usize, first: &str) -> Result<f64, String> {
    let first = first.trim();
    let numbers = first
        .split_whitespace()
        .filter(|word| word.parse::<f64>().is_ok())
        .count();
    match (lines, first.parse::<f64>()) {
        (0, _) => Err("printed nothing; one number is needed".into()),
        (1, Ok(value)) if value.is_finite() => Ok(value),
        (1, Ok(_)) => Err(format!(
            "printed {}, which cannot be compared with a threshold",
            quoted(first)
        )),
        (_, Ok(_)) => Err(format!(
            "printed {lines} lines where one number is needed, the first is {}",
            quoted(first)
        )),
        (1, Err(_)) if numbers > 1 && numbers == first.split_whitespace().count() => Err(format!(
            "printed {numbers} numbers where one is needed: {}",
            quoted(first)
        )),
        (_, Err(_)) => Err(format!(
            "printed text where a number is needed: {}",
            quoted(first)
        )),
    }
}

/// A script's own words, safe to show: control characters escaped, cut to a sentence's length.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn account(end: End, stdout: &str, stderr: &str) -> Account {
        Account {
            end,
            printed: Printed::lines(stdout),
            complaint: stderr.into(),
            limit: LIMIT,
        }
    }

    #[test]
    fn one_number_with_any_white_space_around_it_is_a_value() {
        let cases = [
            ("42", 42.0),
            ("  42.5\n", 42.5),
            ("\n\n-1e3\r\n\n", -1000.0),
            ("+.5", 0.5),
            ("8E8", 8e8),
            ("\t0\t", 0.0),
        ];
        for (stdout, value) in cases {
            let verdict = account(End::Status(0), stdout, "a warning").verdict();
            assert_eq!(verdict, Ok(value), "{stdout:?}");
        }
    }

    #[test]
    fn what_is_printed_and_is_no_number_is_an_error_that_says_so() {
        let cases = [
            ("", "nothing; one number is needed"),
            (" \n\t\n", "nothing; one number is needed"),
            ("load: 4", r#"text where a number is needed: "load: 4""#),
            ("3,5", r#"text where a number is needed: "3,5""#),
            ("1 2", r#"2 numbers where one is needed: "1 2""#),
            (
                "1\n2",
                r#"2 lines where one number is needed, the first is "1""#,
            ),
            ("NaN", r#""NaN", which cannot be compared with a threshold"#),
            (
                "-inf",
                r#""-inf", which cannot be compared with a threshold"#,
            ),
            (
                "1e999",
                r#""1e999", which cannot be compared with a threshold"#,
            ),
        ];
        for (stdout, expected) in cases {
            let verdict = account(End::Status(0), stdout, "").verdict();
            assert_eq!(verdict, Err(format!("printed {expected}")), "{stdout:?}");
        }
    }

    #[test]
    fn a_script_that_fails_has_no_value_whatever_it_printed() {
        let disk = "no such\u{1b}[1m disk";
        let cases = [
            (End::Status(3), "", "exited with status 3"),
            (
                End::Status(3),
                disk,
                r#"exited with status 3; stderr: "no such\u{1b}[1m disk""#,
            ),
            (End::Status(137), "", "exited with status 137 (signal 9)"),
            (
                End::Killed,
                "",
                "its shell was killed before it could tell the exit status",
            ),
            (End::Late, "", "did not finish within 10 s"),
        ];
        for (end, stderr, expected) in cases {
            let verdict = account(end, "42", stderr).verdict();
            assert_eq!(verdict, Err(expected.into()), "{stderr:?}");
        }
    }

    #[test]
    fn too_much_output_is_an_error_even_when_it_begins_with_a_number() {
        let output = |bytes: usize| ExecOutput {
            status: Exit::Status(0),
            stdout: [b"42\n".as_slice(), &vec![b'\n'; bytes]].concat(),
            stderr: Vec::new(),
            took: Duration::ZERO,
            truncated: false,
        };
        let verdict = Account::of(&output(MAX_OUTPUT - 3), LIMIT).verdict();
        assert_eq!(verdict, Ok(42.0), "64 KiB are allowed");
        let verdict = Account::of(&output(MAX_OUTPUT - 2), LIMIT).verdict();
        assert_eq!(
            verdict,
            Err("printed more than 64 KiB; one number is needed".into())
        );
    }

    proptest! {
        #[test]
        fn every_finite_number_that_is_printed_is_read_back(value in proptest::num::f64::NORMAL | proptest::num::f64::ZERO) {
            let verdict = account(End::Status(0), &format!(" {value:e}\n"), "").verdict();
            prop_assert_eq!(verdict, Ok(value));
        }

        #[test]
        fn a_message_is_short_whatever_a_script_prints(stdout in ".{0,500}", stderr in ".{0,500}") {
            if let Err(why) = account(End::Status(0), &stdout, &stderr).verdict() {
                prop_assert!(why.chars().count() < 2200, "{why}");
                prop_assert!(!why.contains('\n'));
            }
        }
    }
}
