//! The comparison of a value with a threshold: the only place where one happens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a value is held against the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// Greater than the threshold.
    #[serde(rename = ">")]
    Greater,
    /// Greater or equal.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Equal.
    #[serde(rename = "=")]
    Equal,
    /// Less or equal.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// Less.
    #[serde(rename = "<")]
    Less,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Equal => "=",
            Self::LessOrEqual => "<=",
            Self::Less => "<",
        })
    }
}

/// What a value must not do: `> 4`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// How the value is held against the bound.
    pub comparison: Comparison,
    /// The bound.
    pub threshold: f64,
}

impl Rule {
    /// Whether `value` breaches. No value that is not a number ever does, whatever the comparison.
    pub fn is_breached_by(self, value: f64) -> bool {
        match self.comparison {
            Comparison::Greater => value > self.threshold,
            Comparison::GreaterOrEqual => value >= self.threshold,
            Comparison::Equal => value == self.threshold,
            Comparison::LessOrEqual => value <= self.threshold,
            Comparison::Less => value < self.threshold,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison, self.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Comparison; 5] = [
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Equal,
        Comparison::LessOrEqual,
        Comparison::Less,
    ];

    fn breaches(threshold: f64, value: f64) -> [bool; 5] {
        ALL.map(|comparison| {
            Rule {
                comparison,
                threshold,
            }
            .is_breached_by(value)
        })
    }

    #[test]
    fn every_comparison_is_strict_or_inclusive_as_written() {
        assert_eq!(breaches(4.0, 3.9), [false, false, false, true, true]);
        assert_eq!(breaches(4.0, 4.0), [false, true, true, true, false]);
        assert_eq!(breaches(4.0, 4.1), [true, true, false, false, false]);
    }

    #[test]
    fn a_fraction_above_a_whole_threshold_breaches() {
        assert!(breaches(1000.0, 1000.1)[0]);
        assert_eq!(breaches(0.0, -0.0), [false, true, true, true, false]);
    }

    #[test]
    fn what_is_not_a_number_never_breaches() {
        assert_eq!(breaches(4.0, f64::NAN), [false; 5]);
        assert_eq!(breaches(f64::NAN, 4.0), [false; 5]);
    }

    #[test]
    fn a_rule_reads_as_it_is_written_in_the_fleet_file() {
        let rule = Rule {
            comparison: Comparison::GreaterOrEqual,
            threshold: 0.5,
        };
        assert_eq!(rule.to_string(), ">= 0.5");
        assert_eq!(
            ALL.map(|comparison| comparison.to_string()).join(" "),
            "> >= = <= <"
        );
    }
}
