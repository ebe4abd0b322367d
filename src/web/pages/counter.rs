//! `/counters/{name}`: one number on every node it is read on, with its graph.

use actix_web::web::{Path, Query};
use askama::Template;

use crate::models::counter::Counter;
use crate::models::{CounterKind, Missing};
use crate::web::error::Answer;
use crate::web::pages::graph::{self, Picture, Wish};
use crate::web::pages::inventory::Inventory;
use crate::web::pages::readings::{self, Reading};
use crate::web::pages::runs::RunLine;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Graph, Pager, Sort, bound, duration};

/// A choice of how far back the graph goes.
struct Span {
    label: &'static str,
    secs: i64,
    href: String,
    here: bool,
}

#[derive(Template)]
#[template(path = "counter.html")]
struct CounterPage {
    layout: Layout,
    counter: Counter,
    bound: String,
    every: String,
    timeout: String,
    missing: &'static str,
    how: Vec<(String, String)>,
    triggers: Vec<String>,
    clusters: Vec<String>,
    cluster: String,
    spans: Vec<Span>,
    graph: Graph,
    data: String,
    left_out: usize,
    sort: Sort,
    q: String,
    readings: Vec<Reading>,
    pager: Pager,
    runs: Vec<RunLine>,
    store_fault: Option<String>,
}

/// `GET /counters/{name}`.
///
/// # Errors
/// There is no such counter, or the database fails.
pub async fn show(visit: Visit, name: Path<String>, wish: Query<Wish>) -> Answer {
    let wish = wish.into_inner();
    let layout = visit.layout(Nav::Counters, name.as_str()).await?;
    let (inventory, counter) = graph::look_up(&visit, name.into_inner()).await?;
    let series = graph::series(&inventory, &counter, &wish);
    let path = format!("/counters/{}", counter.name);
    let (picture, store_fault) =
        match graph::picture(&visit, &inventory, &counter, &series, &wish).await {
            Ok(picture) => (picture, None),
            Err(cause) => (Picture::empty(&visit, &wish), Some(cause.to_string())),
        };
    let (sort, mut rows) = rows(&visit, &inventory, series, &path, &wish).await;
    let filters = [
        ("cluster", wish.cluster.as_str()),
        ("q", &wish.q),
        ("sort", &sort.word()),
    ];
    let pager = Pager::cut(&path, wish.page, rows.len(), &filters);
    rows = pager.take(rows);
    let every_secs = counter.every_secs.unwrap_or(visit.tick_ms() / 1000);
    let mut clusters: Vec<String> = inventory
        .triggers_with(counter.id)
        .map(|trigger| inventory.cluster_name(trigger.cluster_id).to_owned())
        .collect();
    clusters.sort();
    clusters.dedup();
    visit.show(&CounterPage {
        bound: bound(
            counter.comparison,
            counter.threshold,
            counter.unit.as_deref(),
        ),
        every: duration(every_secs),
        timeout: duration(counter.timeout_secs),
        missing: missing(counter.missing),
        how: how(&counter),
        triggers: inventory
            .triggers_with(counter.id)
            .map(|trigger| trigger.name.clone())
            .collect(),
        spans: spans(&path, &wish),
        data: wish.address(&format!("{path}/graph"), None),
        left_out: picture.left_out,
        runs: picture
            .runs
            .iter()
            .map(|run| RunLine::of(run, visit.now_ms))
            .collect(),
        graph: picture.graph(&counter),
        cluster: wish.cluster.clone(),
        q: wish.q.clone(),
        clusters,
        sort,
        readings: rows,
        pager,
        store_fault,
        counter,
        layout,
    })
}

async fn rows(
    visit: &Visit,
    inventory: &Inventory,
    series: Vec<crate::web::pages::inventory::Series>,
    path: &str,
    wish: &Wish,
) -> (Sort, Vec<Reading>) {
    let filters = [("cluster", wish.cluster.as_str()), ("q", wish.q.as_str())];
    let keys = ["status", "name", "value"];
    let asked = Some(wish.sort.as_deref().unwrap_or("-status"));
    let sort = Sort::read(path, asked, &keys, &filters);
    let mut rows = readings::of(visit, inventory, series)
        .await
        .unwrap_or_default();
    match sort.key.as_str() {
        "name" => sort.order(&mut rows, |row| row.series.label.clone()),
        "value" => sort.order(&mut rows, |row| row.number),
        _ => sort.order(&mut rows, |row| row.standing.badge.status),
    }
    (sort, rows)
}

fn spans(path: &str, wish: &Wish) -> Vec<Span> {
    graph::SPANS
        .into_iter()
        .map(|(label, secs)| Span {
            label,
            secs,
            href: wish.address(path, Some(secs)),
            here: wish.span_secs() == secs,
        })
        .collect()
}

const fn missing(missing: Missing) -> &'static str {
    match missing {
        Missing::Hold => "an error changes nothing; the breach grows stale",
        Missing::Breach => "an error counts as a breach",
        Missing::Reset => "an error ends the breach",
    }
}

/// How the number is read: its script, or the attribute of which bean.
fn how(counter: &Counter) -> Vec<(String, String)> {
    let settings: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&counter.settings).unwrap_or_default();
    let mut how = vec![(
        "Read by".to_owned(),
        match counter.kind {
            CounterKind::Ssh => "a script on the node, over SSH",
            CounterKind::Jmx => "an attribute of each of the node's JVMs",
            CounterKind::Local => "a script on Headroom's own host",
        }
        .to_owned(),
    )];
    how.extend(settings.into_iter().filter_map(|(name, value)| {
        let text = match value {
            serde_json::Value::Null => return None,
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        Some((name, text))
    }));
    how
}
