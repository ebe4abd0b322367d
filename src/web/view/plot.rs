//! What every picture of samples shares: the window, the scale, the pieces between gaps.

use std::fmt::Write as _;

/// One sample as it is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Its tick, ms.
    pub at_ms: i64,
    /// Its value.
    pub value: f64,
    /// Whether it is over the threshold.
    pub breach: bool,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its beginning, ms.
    pub from_ms: i64,
    /// Its end, ms.
    pub to_ms: i64,
}

impl Window {
    /// Its length in ms, one at least, so that nothing is divided by zero.
    pub fn span_ms(self) -> i64 {
        self.to_ms.saturating_sub(self.from_ms).max(1)
    }
}

/// Cuts samples where more than `gap_ms` lies between two, so that a line never bridges what was not measured.
pub fn pieces(points: &[Point], gap_ms: i64) -> Vec<&[Point]> {
    points
        .chunk_by(|one, next| next.at_ms.saturating_sub(one.at_ms) <= gap_ms)
        .collect()
}

/// The runs of breaching samples within the pieces.
pub fn breaches(points: &[Point], gap_ms: i64) -> Vec<&[Point]> {
    pieces(points, gap_ms)
        .into_iter()
        .flat_map(|piece| piece.chunk_by(|one, next| one.breach == next.breach))
        .filter(|run| run.first().is_some_and(|point| point.breach))
        .collect()
}

/// Keeps the least and the greatest sample of each of `columns` columns: what a small picture can show, and no peak is lost.
pub fn thin(points: &[Point], window: Window, columns: i64) -> Vec<Point> {
    if i64::try_from(points.len()).is_ok_and(|count| count <= columns.saturating_mul(2)) {
        return points.to_vec();
    }
    let column = |point: &Point| {
        point
            .at_ms
            .saturating_sub(window.from_ms)
            .saturating_mul(columns)
            / window.span_ms()
    };
    let mut kept = Vec::new();
    for chunk in points.chunk_by(|one, next| column(one) == column(next)) {
        let least = chunk.iter().min_by(|a, b| a.value.total_cmp(&b.value));
        let greatest = chunk.iter().max_by(|a, b| a.value.total_cmp(&b.value));
        let mut pair: Vec<Point> = least.into_iter().chain(greatest).copied().collect();
        pair.sort_by_key(|point| point.at_ms);
        pair.dedup();
        kept.append(&mut pair);
    }
    kept
}

/// Maps time and value to a box of the picture.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The time shown.
    pub window: Window,
    /// The least value shown.
    pub low: f64,
    /// The greatest value shown.
    pub high: f64,
    /// Left, top, width and height of the box.
    pub area: (f64, f64, f64, f64),
}

impl Scale {
    /// A scale that holds every given value, with a little air above and below.
    pub fn fit(
        values: impl Iterator<Item = f64>,
        window: Window,
        area: (f64, f64, f64, f64),
    ) -> Self {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let air = if high > low {
            (high - low) * 0.06
        } else {
            high.abs().max(1.0) * 0.1
        };
        // Counts and loads read best from zero; a value that never was negative gets no room below it.
        let floor = if low >= 0.0 {
            (low - air).max(0.0)
        } else {
            low - air
        };
        Self {
            window,
            low: if low >= 0.0 && low < high * 0.5 {
                0.0
            } else {
                floor
            },
            high: high + air,
            area,
        }
    }

    /// Where an instant lies.
    pub fn x(&self, at_ms: i64) -> f64 {
        let (left, _, width, _) = self.area;
        let share = at_ms.saturating_sub(self.window.from_ms) as f64 / self.window.span_ms() as f64;
        left + width * share.clamp(0.0, 1.0)
    }

    /// Where a value lies.
    pub fn y(&self, value: f64) -> f64 {
        let (_, top, _, height) = self.area;
        top + height * (1.0 - ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0))
    }

    /// The path data of some pieces; a piece of one sample becomes a dot.
    pub fn path(&self, pieces: &[&[Point]]) -> String {
        let mut path = String::new();
        for piece in pieces {
            for (index, point) in piece.iter().enumerate() {
                let command = if index == 0 { 'M' } else { 'L' };
                // Writing to a String cannot fail.
                let _ = write!(
                    path,
                    "{command}{:.1} {:.1}",
                    self.x(point.at_ms),
                    self.y(point.value)
                );
            }
            if piece.len() == 1 {
                path.push_str("h.01");
            }
        }
        path
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Samples a minute apart from time zero; those over 80 breach.
    pub fn minutes(values: &[f64]) -> Vec<Point> {
        (0..)
            .step_by(60_000)
            .zip(values)
            .map(|(at_ms, value)| Point {
                at_ms,
                value: *value,
                breach: *value > 80.0,
            })
            .collect()
    }

    #[test]
    fn a_gap_cuts_the_line() {
        let mut points = minutes(&[1.0, 2.0, 3.0, 4.0]);
        points.remove(1);
        let cut = pieces(&points, 60_000);
        assert_eq!(
            cut.iter().map(|piece| piece.len()).collect::<Vec<_>>(),
            [1, 2]
        );
    }

    #[test]
    fn breaches_are_the_unbroken_stretches_over_the_threshold() {
        let points = minutes(&[1.0, 81.0, 82.0, 3.0, 90.0]);
        let found = breaches(&points, 60_000);
        assert_eq!(
            found.iter().map(|run| run.len()).collect::<Vec<_>>(),
            [2, 1]
        );
    }

    #[test]
    fn a_single_sample_is_a_dot_and_no_sample_is_nothing() {
        let window = Window {
            from_ms: 0,
            to_ms: 60_000,
        };
        let points = minutes(&[5.0]);
        let scale = Scale::fit([5.0].into_iter(), window, (0.0, 0.0, 100.0, 20.0));
        assert!(scale.path(&pieces(&points, 1)).ends_with("h.01"));
        assert_eq!(scale.path(&pieces(&[], 1)), "");
    }

    #[test]
    fn the_scale_starts_at_zero_unless_that_would_flatten_the_line() {
        let window = Window {
            from_ms: 0,
            to_ms: 1,
        };
        let fit =
            |low: f64, high: f64| Scale::fit([low, high].into_iter(), window, (0.0, 0.0, 1.0, 1.0));
        assert!(fit(1.0, 10.0).low.abs() < f64::EPSILON);
        assert!(fit(98.0, 100.0).low > 90.0);
        assert!(fit(-5.0, 5.0).low < -5.0);
    }

    proptest! {
        #[test]
        fn thinning_loses_no_peak_and_keeps_the_order(values in proptest::collection::vec(-1e6_f64..1e6, 1..600), columns in 1_i64..50) {
            let points = minutes(&values);
            let window = Window { from_ms: 0, to_ms: 600 * 60_000 };
            let kept = thin(&points, window, columns);
            let extremes = |points: &[Point]| points.iter().fold((f64::MAX, f64::MIN), |(low, high), p| (low.min(p.value), high.max(p.value)));
            prop_assert_eq!(extremes(&points), extremes(&kept));
            prop_assert!(kept.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
            prop_assert!(kept.len() <= 2 * (usize::try_from(columns).unwrap() + 1));
        }

        #[test]
        fn everything_is_drawn_inside_the_box(values in proptest::collection::vec(-1e9_f64..1e9, 1..50), at_ms in i64::MIN..i64::MAX) {
            let window = Window { from_ms: 0, to_ms: 3_000_000 };
            let scale = Scale::fit(values.iter().copied(), window, (10.0, 5.0, 100.0, 40.0));
            prop_assert!((10.0..=110.0).contains(&scale.x(at_ms)));
            for value in values {
                prop_assert!((5.0..=45.0).contains(&scale.y(value)));
            }
        }
    }
}
