//! `/clusters` and `/clusters/{name}`: nodes with their states and counters, triggers, holds.

use std::collections::BTreeMap;

use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

use crate::error::Error;
use crate::models::breaker::Breaker;
use crate::models::cluster::Cluster;
use crate::models::decision::Decision;
use crate::models::hold::Hold;
use crate::models::node::Node;
use crate::models::run::Run;
use crate::models::{NodeId, TriggerId};
use crate::samples::SeriesState;
use crate::web::error::Answer;
use crate::web::pages::breaker::BreakerLine;
use crate::web::pages::holds::HoldLine;
use crate::web::pages::inventory::{Inventory, Series};
use crate::web::pages::lines::{self, ClusterLine};
use crate::web::pages::readings::{self, Reading};
use crate::web::pages::runs::RunLine;
use crate::web::pages::standing;
use crate::web::pages::times::{self, Coming, TimeLine, Times};
use crate::web::pages::triggers::TriggerLine;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Badge, Moment, Pager, Sort, Status, bound};

/// Runs shown on a cluster's page.
const RUNS: i64 = 5;
/// How far back they are looked for.
const RUNS_MS: i64 = 7 * 24 * 3_600_000;

/// What the address of a list asks for.
#[derive(Debug, Default, Deserialize)]
pub struct Wish {
    /// A part of the name.
    #[serde(default)]
    pub q: String,
    /// The sorted column.
    pub sort: Option<String>,
    /// Which page, from one.
    pub page: Option<usize>,
}

impl Wish {
    /// Whether a name is one that is searched for.
    pub fn fits(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.q.trim().to_lowercase())
    }
}

#[derive(Template)]
#[template(path = "clusters.html")]
struct ClustersPage {
    layout: Layout,
    sort: Sort,
    q: String,
    path: &'static str,
    lines: Vec<ClusterLine>,
    pager: Pager,
}

/// `GET /clusters`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit, wish: Query<Wish>) -> Answer {
    let layout = visit.layout(Nav::Clusters, "Clusters").await?;
    let keys = ["status", "name", "nodes", "triggers"];
    let asked = Some(wish.sort.as_deref().unwrap_or("-status"));
    let sort = Sort::read("/clusters", asked, &keys, &[("q", &wish.q)]);
    let all = layout.now.clusters.iter();
    let mut lines: Vec<ClusterLine> = all.filter(|line| wish.fits(&line.name)).cloned().collect();
    match sort.key.as_str() {
        "name" => sort.order(&mut lines, |line| line.name.clone()),
        "nodes" => sort.order(&mut lines, |line| line.in_service),
        "triggers" => sort.order(&mut lines, |line| line.triggers),
        _ => sort.order(&mut lines, |line| line.badge.status),
    }
    let filters = [("q", wish.q.as_str()), ("sort", &sort.word())];
    let pager = Pager::cut("/clusters", wish.page, lines.len(), &filters);
    visit.show(&ClustersPage {
        lines: pager.take(lines),
        pager,
        sort,
        q: wish.q.clone(),
        path: "/clusters",
        layout,
    })
}

/// A node in one line, with its readings in the order of the heads.
struct NodeLine {
    id: NodeId,
    name: String,
    address: String,
    badge: Badge,
    reason: String,
    cells: Vec<Vec<Reading>>,
    since: Moment,
}

impl NodeLine {
    /// The readings under a head; several where the node has several JVMs.
    fn cell(&self, head: &usize) -> &[Reading] {
        self.cells.get(*head).map_or(&[], Vec::as_slice)
    }
}

/// A counter as a head of the table.
struct Head {
    name: String,
    bound: String,
}

#[derive(Template)]
#[template(path = "cluster.html")]
struct ClusterPage {
    layout: Layout,
    cluster: Cluster,
    line: Option<ClusterLine>,
    bounds: String,
    heads: Vec<Head>,
    sort: Sort,
    q: String,
    path: String,
    nodes: Vec<NodeLine>,
    pager: Pager,
    has_nodes: bool,
    triggers: Vec<TriggerLine>,
    holds: Vec<HoldLine>,
    breaker: Option<BreakerLine>,
    runs: Vec<RunLine>,
    times: Vec<TimeLine>,
    coming: Vec<Coming>,
    store_fault: Option<String>,
}

/// `GET /clusters/{name}`.
///
/// # Errors
/// There is no such cluster, or the database fails.
pub async fn show(visit: Visit, name: Path<String>, wish: Query<Wish>) -> Answer {
    let layout = visit.layout(Nav::Clusters, name.as_str()).await?;
    let (now_ms, wanted) = (visit.now_ms, name.into_inner());
    let (inventory, cluster, latest, runs, times, breaker) = visit
        .app
        .db
        .read(move |conn| {
            let cluster = Cluster::by_name(conn, &wanted)?;
            let runs = Run::of_clusters(conn, &[cluster.id], now_ms - RUNS_MS, i64::MAX, RUNS)?;
            let inventory = Inventory::load(conn, now_ms)?;
            let times = times::of_cluster(conn, cluster.id, now_ms)?;
            let breaker = Breaker::of(conn, cluster.id)?;
            let latest = Decision::latest(conn)?;
            Ok((inventory, cluster, latest, runs, times, breaker))
        })
        .await?;
    let Times {
        lines: times,
        coming,
    } = times;
    let path = format!("/clusters/{}", cluster.name);
    let (nodes, pager, sort, store_fault) = nodes(&visit, &inventory, &cluster, &path, &wish).await;
    let latest: BTreeMap<TriggerId, Option<Decision>> = latest.into_iter().collect();
    let triggers = inventory.triggers_of(cluster.id).map(|trigger| {
        let latest = latest.get(&trigger.id).and_then(Option::as_ref);
        TriggerLine::of(&visit, &inventory, trigger, latest)
    });
    let holds = inventory.holds_within(&cluster);
    visit.show(&ClusterPage {
        heads: heads(&inventory, &cluster),
        triggers: triggers.collect(),
        holds: holds
            .into_iter()
            .map(|hold| hold_line(hold, &visit))
            .collect(),
        breaker: BreakerLine::of(&breaker, &cluster, now_ms),
        runs: runs.iter().map(|run| RunLine::of(run, now_ms)).collect(),
        times,
        coming,
        line: layout
            .now
            .clusters
            .iter()
            .find(|line| line.id == cluster.id)
            .cloned(),
        bounds: lines::bounds(&cluster),
        has_nodes: inventory.nodes_of(cluster.id).next().is_some(),
        q: wish.q.clone(),
        nodes,
        pager,
        sort,
        path,
        store_fault,
        cluster,
        layout,
    })
}

fn hold_line(hold: &Hold, visit: &Visit) -> HoldLine {
    HoldLine::of(hold, visit.now_ms)
}

fn heads(inventory: &Inventory, cluster: &Cluster) -> Vec<Head> {
    let counters = inventory.counters_read(cluster.id).into_iter();
    counters
        .map(|counter| Head {
            name: counter.name.clone(),
            bound: bound(
                counter.comparison,
                counter.threshold,
                counter.unit.as_deref(),
            ),
        })
        .collect()
}

/// The nodes of the asked page. All are sorted by how they stand; only those of the page get pictures.
async fn nodes(
    visit: &Visit,
    inventory: &Inventory,
    cluster: &Cluster,
    path: &str,
    wish: &Wish,
) -> (Vec<NodeLine>, Pager, Sort, Option<String>) {
    let asked = Some(wish.sort.as_deref().unwrap_or("-status"));
    let sort = Sort::read(path, asked, &["status", "name", "since"], &[("q", &wish.q)]);
    let nodes: Vec<&Node> = inventory
        .nodes_of(cluster.id)
        .filter(|node| wish.fits(&node.name))
        .collect();
    let series = inventory.series(nodes.iter().copied());
    let (states, fault) = match readings::states(visit, &series).await {
        Ok(states) => (states, None),
        Err(cause) => (vec![None; series.len()], Some(cause.to_string())),
    };
    let mut lines = node_lines(visit, inventory, nodes, &series, &states);
    match sort.key.as_str() {
        "name" => sort.order(&mut lines, |line| line.name.clone()),
        "since" => sort.order(&mut lines, |line| line.since.at_ms),
        _ => sort.order(&mut lines, |line| line.badge.status),
    }
    let filters = [("q", wish.q.as_str()), ("sort", &sort.word())];
    let pager = Pager::cut(path, wish.page, lines.len(), &filters);
    let mut lines = pager.take(lines);
    let shown = series.into_iter().zip(states);
    let shown = shown.filter(|(series, _)| lines.iter().any(|line| line.id == series.node));
    let (series, states): (Vec<Series>, Vec<_>) = shown.unzip();
    if fault.is_none()
        && let Ok(readings) = readings::with_sparks(visit, inventory, series, states).await
    {
        place(inventory, cluster, &mut lines, readings);
    }
    (lines, pager, sort, fault)
}

fn node_lines(
    visit: &Visit,
    inventory: &Inventory,
    nodes: Vec<&Node>,
    series: &[Series],
    states: &[Option<SeriesState>],
) -> Vec<NodeLine> {
    let rhythms = inventory.rhythms(visit.tick_ms());
    let mut stands: BTreeMap<NodeId, Vec<Status>> = BTreeMap::new();
    for (series, state) in series.iter().zip(states) {
        let standing = rhythms.standing(series, state.as_ref(), visit.now_ms);
        stands
            .entry(series.node)
            .or_default()
            .push(standing.badge.status);
    }
    let line = |node: &Node| {
        let series = stands.remove(&node.id).unwrap_or_default();
        let badge = standing::node(node.state, inventory.is_held(node), series);
        node_line(visit, node, badge)
    };
    nodes.into_iter().map(line).collect()
}

fn node_line(visit: &Visit, node: &Node, badge: Badge) -> NodeLine {
    NodeLine {
        id: node.id,
        name: node.name.clone(),
        address: node.address.clone(),
        badge,
        reason: String::new(),
        cells: Vec::new(),
        since: visit.moment(node.created_ms),
    }
}

/// Puts readings under their heads; the reason of the worst one beside the node.
fn place(inventory: &Inventory, cluster: &Cluster, lines: &mut [NodeLine], readings: Vec<Reading>) {
    let counters = inventory.counters_read(cluster.id);
    let mut of: BTreeMap<NodeId, Vec<Reading>> = BTreeMap::new();
    for reading in readings {
        of.entry(reading.series.node).or_default().push(reading);
    }
    for line in lines {
        let mine = of.remove(&line.id).unwrap_or_default();
        let faulty = mine
            .iter()
            .filter(|reading| reading.standing.badge.status == Status::NoData)
            .max_by_key(|reading| reading.standing.badge.status);
        line.reason = faulty.map_or_else(String::new, |it| it.standing.reason.clone());
        line.cells = counters
            .iter()
            .map(|counter| {
                let under = mine.iter().filter(|it| it.series.counter == counter.id);
                under.cloned().collect()
            })
            .collect();
    }
}

/// The node of a name, or a fault that a person understands.
///
/// # Errors
/// There is no such node.
pub fn node_named<'a>(inventory: &'a Inventory, name: &str) -> Result<&'a Node, Error> {
    let found = inventory.nodes.iter().find(|node| node.name == name);
    found.ok_or_else(|| Error::NotFound(format!("node \"{name}\"")))
}
