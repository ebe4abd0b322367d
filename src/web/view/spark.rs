//! A small picture of one series, made on the server: the line with its gaps, the threshold, and the breached stretches in the colour of firing.

use std::fmt;

use askama::filters::{Html, HtmlSafe, escape};

use crate::models::Comparison;
use crate::web::view::plot::{Point, Scale, Window, breaches, pieces, thin};
use crate::web::view::{clock, number};

const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 28.0;
/// More columns than this no eye tells apart at that width.
const COLUMNS: i64 = 120;

/// A sparkline and the sentence that says the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Spark {
    /// The samples, oldest first.
    pub points: Vec<Point>,
    /// The time shown.
    pub window: Window,
    /// More than this between two samples is a gap.
    pub gap_ms: i64,
    /// How a sample is held against the threshold.
    pub comparison: Comparison,
    /// The threshold.
    pub threshold: f64,
    /// Shown beside the numbers.
    pub unit: Option<String>,
}

impl Spark {
    /// What the picture shows, in words.
    pub fn sentence(&self) -> String {
        let Some(last) = self.points.last() else {
            return format!("no samples since {}", clock(self.window.from_ms));
        };
        let unit = self.unit.as_deref();
        let shown = |value: f64| number::value(value, unit);
        let (low, high) = self
            .points
            .iter()
            .fold((last.value, last.value), |(low, high), point| {
                (low.min(point.value), high.max(point.value))
            });
        let mut said = format!(
            "min {}, max {}, now {}",
            shown(low),
            shown(high),
            shown(last.value)
        );
        let since = breaches(&self.points, self.gap_ms)
            .last()
            .filter(|run| run.last() == Some(last))
            .and_then(|run| run.first());
        if let Some(first) = since {
            said.push_str(&format!(
                "; {} {} since {}",
                side(self.comparison),
                shown(self.threshold),
                clock(first.at_ms)
            ));
        }
        said
    }
}

/// The comparison as a word that is read aloud.
fn side(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Greater => "above",
        Comparison::GreaterOrEqual => "at or above",
        Comparison::Equal => "equal to",
        Comparison::LessOrEqual => "at or below",
        Comparison::Less => "below",
    }
}

impl HtmlSafe for Spark {}

impl fmt::Display for Spark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentence = self.sentence();
        let sentence = escape(&sentence, Html).map_err(|_| fmt::Error)?;
        let points = thin(&self.points, self.window, COLUMNS);
        let values = points.iter().map(|point| point.value);
        let scale = Scale::fit(
            values.chain([self.threshold]),
            self.window,
            (1.0, 2.0, WIDTH - 2.0, HEIGHT - 4.0),
        );
        // A thinned line has fewer samples: what counts as a gap grows with the columns.
        let gap_ms = self.gap_ms.max(self.window.span_ms() * 2 / COLUMNS);
        let y = scale.y(self.threshold);
        write!(
            f,
            r#"<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{sentence}"><title>{sentence}</title><path class="spark-threshold" d="M0 {y:.1}H{WIDTH}"/>"#,
        )?;
        write!(
            f,
            r#"<path class="spark-line" d="{}"/>"#,
            scale.path(&pieces(&points, gap_ms))
        )?;
        let over = scale.path(&breaches(&points, gap_ms));
        if !over.is_empty() {
            write!(f, r#"<path class="spark-breach" d="{over}"/>"#)?;
        }
        f.write_str("</svg>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::view::plot::tests::minutes;

    fn spark(values: &[f64]) -> Spark {
        Spark {
            points: minutes(values),
            window: Window {
                from_ms: 0,
                to_ms: 3_600_000,
            },
            gap_ms: 90_000,
            comparison: Comparison::Greater,
            threshold: 80.0,
            unit: Some("%".to_owned()),
        }
    }

    #[test]
    fn the_sentence_says_what_the_picture_shows() {
        assert_eq!(
            spark(&[12.0, 91.0, 50.0, 84.0, 85.0]).sentence(),
            "min 12 %, max 91 %, now 85 %; above 80 % since 00:03"
        );
        assert_eq!(
            spark(&[12.0, 91.0, 50.0]).sentence(),
            "min 12 %, max 91 %, now 50 %"
        );
        assert_eq!(spark(&[]).sentence(), "no samples since 00:00");
    }

    #[test]
    fn the_picture_has_a_threshold_a_line_and_the_breached_stretch() {
        let drawn = spark(&[12.0, 91.0]).to_string();
        for class in [
            "spark-threshold",
            "spark-line",
            "spark-breach",
            r#"role="img""#,
        ] {
            assert!(drawn.contains(class), "{class} in {drawn}");
        }
        assert!(!spark(&[12.0]).to_string().contains("spark-breach"));
    }

    #[test]
    fn a_gap_is_left_open() {
        let mut holed = spark(&[1.0; 60]);
        holed.points.drain(20..40);
        assert_eq!(holed.to_string().matches("M").count(), 3, "{holed}");
    }

    #[test]
    fn a_unit_cannot_inject_markup() {
        let mut spark = spark(&[1.0]);
        spark.unit = Some("\"><script>".to_owned());
        assert!(!spark.to_string().contains("<script>"), "{spark}");
    }
}
