//! The full picture of some series, made on the server for browsers without scripting; with scripting uPlot takes its place.

use std::fmt;

use askama::filters::{Html, HtmlSafe, escape};

use crate::models::Comparison;
use crate::web::view::plot::{Point, Scale, Window, breaches, pieces, thin};
use crate::web::view::{bound, clock, number, plural};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 300.0;
/// The plot itself, inside the axes.
const AREA: (f64, f64, f64, f64) = (64.0, 12.0, WIDTH - 76.0, HEIGHT - 40.0);
const COLUMNS: i64 = 440;
/// How many colours tell lines apart; the ninth begins again.
const COLOURS: usize = 8;

/// One series of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphLine {
    /// Its name.
    pub label: String,
    /// Its samples, oldest first.
    pub points: Vec<Point>,
}

/// Something that happened at an instant: a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When, ms.
    pub at_ms: i64,
    /// What.
    pub label: String,
}

/// A picture of some series with the threshold, the breached stretches, the gaps and the runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// The series.
    pub lines: Vec<GraphLine>,
    /// The runs.
    pub marks: Vec<Mark>,
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

impl Graph {
    fn scale(&self) -> Scale {
        let values = self.lines.iter().flat_map(|line| &line.points);
        let values = values.map(|point| point.value).chain([self.threshold]);
        Scale::fit(values, self.window, AREA)
    }

    /// What the picture shows, in words.
    pub fn sentence(&self) -> String {
        let series = self.lines.len();
        let over = self
            .lines
            .iter()
            .filter(|line| line.points.last().is_some_and(|point| point.breach))
            .count();
        format!(
            "{series} series from {} to {} UTC, threshold {}, {over} over it at the end, {}",
            clock(self.window.from_ms),
            clock(self.window.to_ms),
            bound(self.comparison, self.threshold, self.unit.as_deref()),
            plural(self.marks.len(), "run"),
        )
    }

    fn axes(&self, f: &mut fmt::Formatter<'_>, scale: &Scale) -> fmt::Result {
        let (left, top, width, height) = AREA;
        let (right, bottom) = (left + width, top + height);
        for value in steps(scale.low, scale.high) {
            let y = scale.y(value);
            let said = number::tidy(value);
            write!(
                f,
                r#"<path class="grid" d="M{left} {y:.1}H{right}"/><text class="tick end" x="{:.1}" y="{:.1}">{said}</text>"#,
                left - 8.0,
                y + 4.0
            )?;
        }
        for at_ms in hours(self.window) {
            let x = scale.x(at_ms);
            write!(
                f,
                r#"<path class="grid" d="M{x:.1} {top}V{bottom}"/><text class="tick middle" x="{x:.1}" y="{:.1}">{}</text>"#,
                bottom + 18.0,
                clock(at_ms)
            )?;
        }
        Ok(())
    }

    fn bands(&self, f: &mut fmt::Formatter<'_>, scale: &Scale) -> fmt::Result {
        let (_, top, _, height) = AREA;
        for line in &self.lines {
            for run in breaches(&line.points, self.gap_ms) {
                let (Some(first), Some(last)) = (run.first(), run.last()) else {
                    continue;
                };
                let x = scale.x(first.at_ms);
                let width = (scale.x(last.at_ms) - x).max(1.0);
                write!(
                    f,
                    r#"<rect class="band" x="{x:.1}" y="{top}" width="{width:.1}" height="{height}"/>"#
                )?;
            }
        }
        Ok(())
    }
}

impl HtmlSafe for Graph {}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, top, width, height) = AREA;
        let scale = self.scale();
        let sentence = self.sentence();
        let sentence = escape(&sentence, Html).map_err(|_| fmt::Error)?;
        write!(
            f,
            r#"<svg class="graph" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{sentence}">"#
        )?;
        self.axes(f, &scale)?;
        self.bands(f, &scale)?;
        let gap_ms = self.gap_ms.max(self.window.span_ms() * 2 / COLUMNS);
        for (index, line) in self.lines.iter().enumerate() {
            let points = thin(&line.points, self.window, COLUMNS);
            write!(
                f,
                r#"<path class="line line-{}" d="{}"><title>{}</title></path>"#,
                index % COLOURS + 1,
                scale.path(&pieces(&points, gap_ms)),
                escape(&line.label, Html).map_err(|_| fmt::Error)?,
            )?;
        }
        let y = scale.y(self.threshold);
        write!(
            f,
            r#"<path class="threshold" d="M{left} {y:.1}H{}"/>"#,
            left + width
        )?;
        for mark in &self.marks {
            let x = scale.x(mark.at_ms);
            write!(
                f,
                r#"<path class="mark" d="M{x:.1} {top}v{height}"><title>{}</title></path>"#,
                escape(&mark.label, Html).map_err(|_| fmt::Error)?
            )?;
        }
        f.write_str("</svg>")
    }
}

/// Round values between two bounds, some four to eight of them.
fn steps(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    if !rough.is_finite() || rough <= 0.0 {
        return vec![low];
    }
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let first = (low / step).ceil();
    (0..12_u8)
        .map(|index| (first + f64::from(index)) * step)
        .take_while(|value| *value <= high)
        .collect()
}

/// Round instants within the window, at most a dozen.
fn hours(window: Window) -> Vec<i64> {
    const MINUTE_MS: i64 = 60_000;
    let every = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440]
        .into_iter()
        .map(|minutes| minutes * MINUTE_MS)
        .find(|every| window.span_ms() / every <= 12)
        .unwrap_or(window.span_ms());
    let first = window.from_ms.div_euclid(every) + 1;
    (0..12)
        .map(|index| (first + index) * every)
        .take_while(|at_ms| *at_ms < window.to_ms)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::view::plot::tests::minutes;

    fn graph(values: &[f64]) -> Graph {
        Graph {
            lines: vec![GraphLine {
                label: "web01 <1>".to_owned(),
                points: minutes(values),
            }],
            marks: vec![Mark {
                at_ms: 120_000,
                label: "run 7".to_owned(),
            }],
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
    fn the_picture_has_lines_threshold_bands_and_marks() {
        let drawn = graph(&[12.0, 91.0, 95.0, 20.0]).to_string();
        for part in [
            r#"class="line line-1""#,
            r#"class="threshold""#,
            r#"class="band""#,
            r#"class="mark""#,
            "run 7",
            "web01 &#60;1&#62;",
        ] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
    }

    #[test]
    fn the_sentence_tells_what_is_over_at_the_end() {
        assert_eq!(
            graph(&[91.0]).sentence(),
            "1 series from 00:00 to 01:00 UTC, threshold > 80 %, 1 over it at the end, 1 run"
        );
    }

    #[test]
    fn an_empty_picture_is_still_a_picture() {
        let drawn = graph(&[]).to_string();
        assert!(
            drawn.starts_with("<svg") && drawn.ends_with("</svg>"),
            "{drawn}"
        );
        assert!(!drawn.contains("NaN"), "{drawn}");
    }

    #[test]
    fn axes_have_round_numbers() {
        let said: Vec<String> = steps(0.0, 95.0).into_iter().map(number::tidy).collect();
        assert_eq!(said, ["0", "20", "40", "60", "80"]);
        assert!(steps(1.0, 1.0).len() == 1 && !steps(f64::NAN, 1.0).is_empty());
        let day = Window {
            from_ms: 0,
            to_ms: 86_400_000,
        };
        assert_eq!(hours(day).len(), 11);
    }
}
