//! The samples of a counter as a picture: for the page without scripting as SVG, for uPlot as JSON.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};
use serde::{Deserialize, Serialize};
use url::form_urlencoded::Serializer;

use crate::error::Result;
use crate::models::ClusterId;
use crate::models::counter::Counter;
use crate::models::run::Run;
use crate::web::error::Answer;
use crate::web::pages::Visit;
use crate::web::pages::inventory::{Inventory, Series, period_ms};
use crate::web::pages::readings;
use crate::web::view::{Graph, GraphLine, Mark, Point, Window, breached, thinned};

/// How far back a graph can go.
pub const SPANS: [(&str, i64); 5] = [
    ("15 min", 900),
    ("1 h", 3_600),
    ("6 h", 21_600),
    ("24 h", 86_400),
    ("7 d", 604_800),
];
const DEFAULT_SECS: i64 = 3_600;
/// More lines than this no eye tells apart; the table below the graph has all.
const MOST_LINES: usize = 24;
/// Columns of the graph: what a wide screen shows.
const COLUMNS: i64 = 800;
/// Runs marked in a graph.
const MOST_RUNS: i64 = 100;

/// What the address asks for.
#[derive(Debug, Default, Deserialize)]
pub struct Wish {
    /// Only this cluster.
    #[serde(default)]
    pub cluster: String,
    /// Only this node.
    #[serde(default)]
    pub node: String,
    /// Only nodes with this in their name.
    #[serde(default)]
    pub q: String,
    /// How far back, in seconds.
    pub secs: Option<i64>,
    /// From when, ms; with `to`, instead of `secs`.
    pub from: Option<i64>,
    /// Until when, ms.
    pub to: Option<i64>,
    /// The sorted column of the table.
    pub sort: Option<String>,
    /// The page of the table.
    pub page: Option<usize>,
}

impl Wish {
    /// How far back the graph goes.
    pub fn span_secs(&self) -> i64 {
        let asked = self.secs.unwrap_or(DEFAULT_SECS);
        let known = SPANS.into_iter().find(|(_, secs)| *secs == asked);
        known.map_or(DEFAULT_SECS, |(_, secs)| secs)
    }

    fn window(&self, now_ms: i64) -> Window {
        match (self.from, self.to) {
            (Some(from_ms), Some(to_ms)) if from_ms < to_ms => Window { from_ms, to_ms },
            _ => Window {
                from_ms: now_ms.saturating_sub(self.span_secs() * 1000),
                to_ms: now_ms,
            },
        }
    }

    /// The same wish at another address, with another span.
    pub fn address(&self, path: &str, secs: Option<i64>) -> String {
        let secs = secs.unwrap_or_else(|| self.span_secs()).to_string();
        let mut query = Serializer::new(String::new());
        query.append_pair("secs", &secs);
        for (name, value) in [
            ("cluster", &self.cluster),
            ("node", &self.node),
            ("q", &self.q),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        format!("{path}?{}", query.finish())
    }
}

/// The counter of a name, with everything it hangs together with.
///
/// # Errors
/// There is no such counter, or the database fails.
pub async fn look_up(visit: &Visit, name: String) -> Result<(Inventory, Counter)> {
    let now_ms = visit.now_ms;
    visit
        .app
        .db
        .read(move |conn| {
            let counter = Counter::by_name(conn, &name)?;
            Ok((Inventory::load(conn, now_ms)?, counter))
        })
        .await
}

/// The series of a counter that a wish names.
pub fn series(inventory: &Inventory, counter: &Counter, wish: &Wish) -> Vec<Series> {
    let wanted = wish.q.trim().to_lowercase();
    let nodes = inventory.nodes.iter().filter(|node| {
        let cluster = inventory.cluster_name(node.cluster_id);
        (wish.cluster.is_empty() || wish.cluster == cluster)
            && (wish.node.is_empty() || wish.node == node.name)
            && node.name.to_lowercase().contains(&wanted)
    });
    let mut series = inventory.series(nodes);
    series.retain(|series| series.counter == counter.id);
    series
}

/// Lines and runs of a window.
pub struct Picture {
    /// The time shown.
    pub window: Window,
    /// More than this between two samples is a gap, ms.
    pub gap_ms: i64,
    /// The series.
    pub lines: Vec<GraphLine>,
    /// The runs, the latest first.
    pub runs: Vec<Run>,
    /// Series that are not drawn.
    pub left_out: usize,
}

impl Picture {
    /// A picture of nothing.
    pub fn empty(visit: &Visit, wish: &Wish) -> Self {
        Self {
            window: wish.window(visit.now_ms),
            gap_ms: visit.tick_ms(),
            lines: Vec::new(),
            runs: Vec::new(),
            left_out: 0,
        }
    }

    /// The picture made on the server.
    pub fn graph(&self, counter: &Counter) -> Graph {
        Graph {
            lines: self.lines.clone(),
            marks: self.runs.iter().map(mark).collect(),
            window: self.window,
            gap_ms: self.gap_ms,
            comparison: counter.comparison,
            threshold: counter.threshold,
            unit: counter.unit.clone(),
        }
    }
}

fn mark(run: &Run) -> Mark {
    let about = run.trigger_name.as_ref().or(run.cluster_name.as_ref());
    Mark {
        at_ms: run.created_ms,
        label: match about {
            Some(about) => format!("run {} of {about}", run.id),
            None => format!("run {}", run.id),
        },
    }
}

/// Reads the samples of a window, and the runs of the clusters they are of.
///
/// # Errors
/// The store or the database fails.
pub async fn picture(
    visit: &Visit,
    inventory: &Inventory,
    counter: &Counter,
    series: &[Series],
    wish: &Wish,
) -> Result<Picture> {
    let window = wish.window(visit.now_ms);
    let shown: Vec<&Series> = series.iter().take(MOST_LINES).collect();
    let keys: Vec<_> = shown.iter().map(|series| series.key).collect();
    let ranges = visit
        .app
        .store
        .range(&keys, window.from_ms, window.to_ms)
        .await?;
    let lines = shown.iter().zip(ranges).map(|(series, samples)| GraphLine {
        label: series.label.clone(),
        points: readings::points(counter, &samples),
    });
    let clusters = clusters(inventory, &shown);
    let (from_ms, to_ms) = (window.from_ms, window.to_ms);
    let runs = visit
        .app
        .db
        .read(move |conn| Run::of_clusters(conn, &clusters, from_ms, to_ms, MOST_RUNS))
        .await?;
    Ok(Picture {
        window,
        gap_ms: readings::gap_ms(period_ms(counter, visit.tick_ms())),
        lines: lines.collect(),
        runs,
        left_out: series.len().saturating_sub(MOST_LINES),
    })
}

fn clusters(inventory: &Inventory, series: &[&Series]) -> Vec<ClusterId> {
    let mut clusters: Vec<ClusterId> = inventory
        .nodes
        .iter()
        .filter(|node| series.iter().any(|series| series.node == node.id))
        .map(|node| node.cluster_id)
        .collect();
    clusters.sort_unstable();
    clusters.dedup();
    clusters
}

#[derive(Serialize)]
struct Drawn {
    from: i64,
    to: i64,
    unit: Option<String>,
    threshold: f64,
    series: Vec<DrawnSeries>,
    breaches: Vec<(i64, i64)>,
    runs: Vec<DrawnRun>,
}

#[derive(Serialize)]
struct DrawnSeries {
    label: String,
    data: Vec<(i64, Option<f64>)>,
}

#[derive(Serialize)]
struct DrawnRun {
    at: i64,
    label: String,
}

/// `GET /counters/{name}/graph`: what uPlot draws.
///
/// # Errors
/// There is no such counter, or the store or the database fails.
pub async fn data(visit: Visit, name: Path<String>, wish: Query<Wish>) -> Answer {
    let wish = wish.into_inner();
    let (inventory, counter) = look_up(&visit, name.into_inner()).await?;
    let series = series(&inventory, &counter, &wish);
    let picture = picture(&visit, &inventory, &counter, &series, &wish).await?;
    let stretches = picture.lines.iter().flat_map(|line| {
        let found = breached(&line.points, picture.gap_ms).into_iter();
        found.filter_map(|run| Some((run.first()?.at_ms, run.last()?.at_ms)))
    });
    Ok(HttpResponse::Ok().json(Drawn {
        from: picture.window.from_ms,
        to: picture.window.to_ms,
        unit: counter.unit,
        threshold: counter.threshold,
        breaches: merged(stretches.collect()),
        series: picture
            .lines
            .iter()
            .map(|line| DrawnSeries {
                label: line.label.clone(),
                data: with_gaps(
                    &thinned(&line.points, picture.window, COLUMNS),
                    picture.gap_ms.max(picture.window.span_ms() * 2 / COLUMNS),
                ),
            })
            .collect(),
        runs: picture
            .runs
            .iter()
            .map(mark)
            .map(|mark| DrawnRun {
                at: mark.at_ms,
                label: mark.label,
            })
            .collect(),
    }))
}

/// Samples with a null in every gap, so that no line bridges it.
fn with_gaps(points: &[Point], gap_ms: i64) -> Vec<(i64, Option<f64>)> {
    let mut data = Vec::with_capacity(points.len());
    let mut before: Option<i64> = None;
    for point in points {
        if let Some(before_ms) = before
            && point.at_ms.saturating_sub(before_ms) > gap_ms
        {
            data.push((before_ms + 1, None));
        }
        data.push((point.at_ms, Some(point.value)));
        before = Some(point.at_ms);
    }
    data
}

/// Stretches that overlap, as one.
fn merged(mut stretches: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    stretches.sort_unstable();
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from_ms, to_ms) in stretches {
        match merged.last_mut() {
            Some(last) if from_ms <= last.1 => last.1 = last.1.max(to_ms),
            _ => merged.push((from_ms, to_ms)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_become_nulls() {
        let point = |at_ms| Point {
            at_ms,
            value: 1.0,
            breach: false,
        };
        let data = with_gaps(&[point(0), point(10), point(40)], 15);
        assert_eq!(
            data,
            [(0, Some(1.0)), (10, Some(1.0)), (11, None), (40, Some(1.0))]
        );
    }

    #[test]
    fn stretches_that_overlap_become_one() {
        assert_eq!(
            merged(vec![(5, 9), (0, 3), (2, 4), (9, 12)]),
            [(0, 4), (5, 12)]
        );
    }

    #[test]
    fn an_unknown_span_and_a_window_turned_round_fall_back_to_an_hour() {
        let wish = Wish {
            secs: Some(-5),
            from: Some(10),
            to: Some(5),
            ..Wish::default()
        };
        let window = wish.window(10_000_000);
        assert_eq!(window.span_ms(), 3_600_000);
    }

    #[test]
    fn the_address_keeps_the_filters() {
        let wish = Wish {
            cluster: "web & more".into(),
            ..Wish::default()
        };
        assert_eq!(
            wish.address("/counters/cpu", Some(900)),
            "/counters/cpu?secs=900&cluster=web+%26+more"
        );
    }
}
