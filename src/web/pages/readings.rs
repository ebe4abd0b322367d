//! What was last read of some series, with a sparkline each: the rows of several pages.

use crate::error::Result;
use crate::models::Comparison;
use crate::models::counter::Counter;
use crate::samples::{Sample, SeriesState};
use crate::triggers::rule;
use crate::web::pages::Visit;
use crate::web::pages::inventory::{Inventory, Series};
use crate::web::pages::standing::Standing;
use crate::web::view::{Moment, Point, Spark, Status, Window, value};

/// What sparklines show.
pub const SPARK_MS: i64 = 3_600_000;

/// One series as a page shows it.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What.
    pub series: Series,
    /// The counter's name.
    pub counter: String,
    /// How it stands and why.
    pub standing: Standing,
    /// The last value with its unit; a dash where there is none.
    pub value: String,
    /// The last value, for sorting.
    pub number: f64,
    /// Whether the last value is over the threshold.
    pub over: bool,
    /// When it was last read.
    pub at: Option<Moment>,
    /// How long that took, ms.
    pub took_ms: Option<i64>,
    /// The last hour.
    pub spark: Spark,
}

impl Reading {
    /// The name of the node it was read on.
    pub fn node(&self) -> &str {
        let label = self.series.label.as_str();
        label.split_once('/').map_or(label, |(node, _)| node)
    }
}

/// The readings of some series, with their last hour: two questions to the store, however many series.
///
/// # Errors
/// The store fails.
pub async fn of(visit: &Visit, inventory: &Inventory, series: Vec<Series>) -> Result<Vec<Reading>> {
    let states = states(visit, &series).await?;
    with_sparks(visit, inventory, series, states).await
}

/// What was last read of some series.
///
/// # Errors
/// The store fails.
pub async fn states(visit: &Visit, series: &[Series]) -> Result<Vec<Option<SeriesState>>> {
    let keys: Vec<_> = series.iter().map(|series| series.key).collect();
    visit.app.store.states(&keys).await
}

/// As [`of`], where the states are known.
///
/// # Errors
/// The store fails.
pub async fn with_sparks(
    visit: &Visit,
    inventory: &Inventory,
    series: Vec<Series>,
    states: Vec<Option<SeriesState>>,
) -> Result<Vec<Reading>> {
    let window = Window {
        from_ms: visit.now_ms.saturating_sub(SPARK_MS),
        to_ms: visit.now_ms,
    };
    let keys: Vec<_> = series.iter().map(|series| series.key).collect();
    let ranges = visit
        .app
        .store
        .range(&keys, window.from_ms, window.to_ms)
        .await?;
    let rhythms = inventory.rhythms(visit.tick_ms());
    let known = series.into_iter().zip(states).zip(ranges);
    let readings = known.filter_map(|((series, state), samples)| {
        let counter = inventory.counter(series.counter)?;
        let rhythm = rhythms.of(&series);
        let spark = Spark {
            points: points(counter, &samples),
            window,
            gap_ms: gap_ms(rhythm.period_ms),
            comparison: counter.comparison,
            threshold: counter.threshold,
            unit: counter.unit.clone(),
        };
        let standing = rhythms.standing(&series, state.as_ref(), visit.now_ms);
        Some(reading(visit, counter, series, state, standing, spark))
    });
    Ok(readings.collect())
}

fn reading(
    visit: &Visit,
    counter: &Counter,
    series: Series,
    state: Option<SeriesState>,
    standing: Standing,
    spark: Spark,
) -> Reading {
    let last = state.as_ref().and_then(|state| state.last);
    let known = standing.badge.status != Status::NoData;
    Reading {
        counter: counter.name.clone(),
        value: last.map_or_else(
            || "–".to_owned(),
            |last| value(last.value, counter.unit.as_deref()),
        ),
        number: last.map_or(f64::NEG_INFINITY, |last| last.value),
        over: known && last.is_some_and(|last| breaches(counter, last.value)),
        at: state.as_ref().map(|state| visit.moment(state.measured_ms)),
        took_ms: state.as_ref().map(|state| state.took_ms),
        spark,
        standing,
        series,
    }
}

/// Samples further apart than this have a gap between them.
pub const fn gap_ms(period_ms: i64) -> i64 {
    period_ms.saturating_add(period_ms / 2)
}

/// Samples as they are drawn.
pub fn points(counter: &Counter, samples: &[Sample]) -> Vec<Point> {
    samples
        .iter()
        .map(|sample| Point {
            at_ms: sample.tick_ms,
            value: sample.value,
            breach: breaches(counter, sample.value),
        })
        .collect()
}

/// Whether a value is over a counter's threshold.
pub fn breaches(counter: &Counter, value: f64) -> bool {
    let comparison = match counter.comparison {
        Comparison::Greater => rule::Comparison::Greater,
        Comparison::GreaterOrEqual => rule::Comparison::GreaterOrEqual,
        Comparison::Equal => rule::Comparison::Equal,
        Comparison::LessOrEqual => rule::Comparison::LessOrEqual,
        Comparison::Less => rule::Comparison::Less,
    };
    let rule = rule::Rule {
        comparison,
        threshold: counter.threshold,
    };
    rule.is_breached_by(value)
}
