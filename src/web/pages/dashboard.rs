//! `/`: what is wrong now, what is about to happen, what just happened, and then everything else.

use std::collections::BTreeMap;

use askama::Template;

use crate::fleet::EXAMPLE_CLUSTER;
use crate::models::run::Run;
use crate::models::{ClusterId, Comparison, CounterId, Role};
use crate::samples::SeriesState;
use crate::web::error::Answer;
use crate::web::pages::inventory::{Inventory, Series};
use crate::web::pages::lines::ClusterLine;
use crate::web::pages::readings::{self, Reading};
use crate::web::pages::runs::RunLine;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Spark, plural, relative};

/// Clusters that are shown with their counters; the list of clusters has the others.
const CARDS: usize = 12;
/// Counters of a cluster that a card shows.
const PEAKS: usize = 4;
/// Runs under "Just happened".
const RECENT: i64 = 8;

/// A cluster with the series of each counter that is nearest to trouble.
pub struct Card {
    line: ClusterLine,
    peaks: Vec<Peak>,
}

/// The series of a counter that is nearest to, or furthest over, its threshold.
pub struct Peak {
    counter: String,
    label: String,
    value: String,
    over: bool,
    spark: Spark,
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct DashboardPage {
    layout: Layout,
    cards: Vec<Card>,
    runs: Vec<RunLine>,
    /// Whether the example stands and the reader may remove it.
    example: bool,
}

impl DashboardPage {
    /// The one line of a quiet day.
    /// When nothing is wrong.
    fn mood(&self) -> &'static str {
        if self.layout.now.soon.is_empty() {
            "all quiet"
        } else {
            "nothing wrong"
        }
    }

    fn calm(&self) -> String {
        let now = &self.layout.now;
        let tick = now.last_tick_ms.map_or_else(
            || "no tick yet".to_owned(),
            |at_ms| format!("last tick {}", relative(at_ms, self.layout.now_ms)),
        );
        format!(
            "{} {}, {} of {} over the threshold, {tick}.",
            plural(now.answering, "node"),
            if now.answering == 1 {
                "answers"
            } else {
                "answer"
            },
            now.breaching,
            plural(now.series, "series"),
        )
    }
}

/// `GET /`.
///
/// # Errors
/// The database fails.
pub async fn show(visit: Visit) -> Answer {
    let layout = visit.layout(Nav::Dashboard, "Dashboard").await?;
    let now_ms = visit.now_ms;
    let (inventory, runs) = visit
        .app
        .db
        .read(move |conn| {
            Ok((
                Inventory::load(conn, now_ms)?,
                Run::page(conn, &[], None, RECENT)?,
            ))
        })
        .await?;
    let lines: Vec<ClusterLine> = layout.now.clusters.iter().take(CARDS).cloned().collect();
    let cards = cards(&visit, &inventory, lines).await;
    let stands = |line: &ClusterLine| line.name == EXAMPLE_CLUSTER;
    visit.show(&DashboardPage {
        cards,
        example: visit.caller.may(Role::Admin) && layout.now.clusters.iter().any(stands),
        runs: runs.iter().map(|run| RunLine::of(run, now_ms)).collect(),
        layout,
    })
}

async fn cards(visit: &Visit, inventory: &Inventory, lines: Vec<ClusterLine>) -> Vec<Card> {
    let mut series = Vec::new();
    for line in &lines {
        series.extend(inventory.series(inventory.nodes_of(line.id)));
    }
    // A store that fails is told under "Wrong now"; the page goes on without pictures.
    let states = readings::states(visit, &series).await.unwrap_or_default();
    let groups = peaks(inventory, &lines, series, states);
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    let (series, states) = groups.into_iter().flatten().unzip();
    let mut readings = readings::with_sparks(visit, inventory, series, states)
        .await
        .unwrap_or_default()
        .into_iter()
        .map(Peak::from);
    let card = |(line, size): (ClusterLine, usize)| Card {
        line,
        peaks: readings.by_ref().take(size).collect(),
    };
    lines.into_iter().zip(sizes).map(card).collect()
}

impl From<Reading> for Peak {
    fn from(reading: Reading) -> Self {
        Self {
            counter: reading.counter,
            label: reading.series.label,
            value: reading.value,
            over: reading.over,
            spark: reading.spark,
        }
    }
}

type Known = (Series, Option<SeriesState>);

/// For each cluster, the series of each of its first counters that is nearest to trouble.
fn peaks(
    inventory: &Inventory,
    lines: &[ClusterLine],
    series: Vec<Series>,
    states: Vec<Option<SeriesState>>,
) -> Vec<Vec<Known>> {
    let clusters: BTreeMap<_, ClusterId> = inventory
        .nodes
        .iter()
        .map(|node| (node.id, node.cluster_id))
        .collect();
    let mut best: BTreeMap<(ClusterId, CounterId), (f64, Known)> = BTreeMap::new();
    let states = states.into_iter().chain(std::iter::repeat(None));
    for (series, state) in series.into_iter().zip(states) {
        let (Some(cluster), Some(counter)) = (
            clusters.get(&series.node),
            inventory.counter(series.counter),
        ) else {
            continue;
        };
        let value = state.as_ref().and_then(|state| state.last);
        let danger = value.map_or(f64::NEG_INFINITY, |last| {
            danger(counter.comparison, counter.threshold, last.value)
        });
        let key = (*cluster, counter.id);
        if best.get(&key).is_none_or(|(known, _)| danger > *known) {
            best.insert(key, (danger, (series, state)));
        }
    }
    lines
        .iter()
        .map(|line| {
            let range = (line.id, CounterId(i64::MIN))..=(line.id, CounterId(i64::MAX));
            let mut of: Vec<_> = best.range(range).map(|(_, found)| found.clone()).collect();
            of.sort_by(|one, other| other.0.total_cmp(&one.0));
            of.into_iter().take(PEAKS).map(|(_, known)| known).collect()
        })
        .collect()
}

/// How near to trouble a value is; zero is the threshold itself, more is over it.
fn danger(comparison: Comparison, threshold: f64, value: f64) -> f64 {
    let scale = threshold.abs().max(f64::EPSILON);
    let above = (value - threshold) / scale;
    match comparison {
        Comparison::Greater | Comparison::GreaterOrEqual => above,
        Comparison::Less | Comparison::LessOrEqual => -above,
        Comparison::Equal => -above.abs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn danger_grows_towards_and_beyond_the_threshold_whichever_way_it_lies() {
        assert!(danger(Comparison::Greater, 80.0, 90.0) > danger(Comparison::Greater, 80.0, 70.0));
        assert!(danger(Comparison::Less, 10.0, 5.0) > danger(Comparison::Less, 10.0, 50.0));
        assert!(danger(Comparison::Equal, 0.0, 0.0) > danger(Comparison::Equal, 0.0, 1.0));
        assert!(danger(Comparison::Greater, 80.0, 81.0) > 0.0);
    }
}
