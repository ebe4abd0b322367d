//! `/counters`: every number that is read, with how many of its series are over the threshold.

use std::collections::BTreeMap;

use actix_web::web::Query;
use askama::Template;

use crate::models::counter::Counter;
use crate::models::{CounterId, CounterKind};
use crate::web::error::Answer;
use crate::web::pages::cluster::Wish;
use crate::web::pages::inventory::Inventory;
use crate::web::pages::{Layout, Nav, Visit, readings};
use crate::web::view::{Badge, Pager, Sort, Status, bound, duration};

/// A counter in one line.
struct CounterLine {
    name: String,
    kind: CounterKind,
    badge: Badge,
    bound: String,
    every: String,
    over: usize,
    series: usize,
    triggers: Vec<String>,
}

#[derive(Template)]
#[template(path = "counters.html")]
struct CountersPage {
    layout: Layout,
    sort: Sort,
    q: String,
    path: &'static str,
    lines: Vec<CounterLine>,
    pager: Pager,
}

/// `GET /counters`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit, wish: Query<Wish>) -> Answer {
    let layout = visit.layout(Nav::Counters, "Counters").await?;
    let now_ms = visit.now_ms;
    let inventory = visit
        .app
        .db
        .read(move |conn| Inventory::load(conn, now_ms))
        .await?;
    let stands = stands(&visit, &inventory).await;
    let keys = ["name", "kind", "over", "series", "status"];
    let filters = [("q", wish.q.as_str())];
    let sort = Sort::read("/counters", wish.sort.as_deref(), &keys, &filters);
    let counters = inventory.counters.iter().filter(|it| wish.fits(&it.name));
    let mut lines: Vec<CounterLine> = counters
        .map(|counter| {
            let series = stands.get(&counter.id).map_or(&[][..], Vec::as_slice);
            line(&visit, &inventory, counter, series)
        })
        .collect();
    match sort.key.as_str() {
        "kind" => sort.order(&mut lines, |line| line.kind),
        "over" => sort.order(&mut lines, |line| line.over),
        "series" => sort.order(&mut lines, |line| line.series),
        "status" => sort.order(&mut lines, |line| line.badge.status),
        _ => sort.order(&mut lines, |line| line.name.clone()),
    }
    let filters = [("q", wish.q.as_str()), ("sort", &sort.word())];
    let pager = Pager::cut("/counters", wish.page, lines.len(), &filters);
    visit.show(&CountersPage {
        lines: pager.take(lines),
        pager,
        sort,
        q: wish.q.clone(),
        path: "/counters",
        layout,
    })
}

/// How the series of each counter stand. A store that fails is told by the footer; here nothing is known then.
async fn stands(visit: &Visit, inventory: &Inventory) -> BTreeMap<CounterId, Vec<Status>> {
    let series = inventory.series(&inventory.nodes);
    let states = readings::states(visit, &series).await;
    let states = states.unwrap_or_else(|_| vec![None; series.len()]);
    let rhythms = inventory.rhythms(visit.tick_ms());
    let mut stands: BTreeMap<CounterId, Vec<Status>> = BTreeMap::new();
    for (series, state) in series.iter().zip(&states) {
        let standing = rhythms.standing(series, state.as_ref(), visit.now_ms);
        stands
            .entry(series.counter)
            .or_default()
            .push(standing.badge.status);
    }
    stands
}

fn line(visit: &Visit, inventory: &Inventory, counter: &Counter, series: &[Status]) -> CounterLine {
    let every_secs = counter.every_secs.unwrap_or(visit.tick_ms() / 1000);
    let over = |status: &&Status| matches!(status, Status::Pending | Status::Firing);
    CounterLine {
        name: counter.name.clone(),
        kind: counter.kind,
        badge: if series.is_empty() {
            Status::Paused.says("not read")
        } else {
            match Status::worst(series.iter().copied()) {
                Status::Pending => Status::Pending.says("breaching"),
                worst => worst.badge(),
            }
        },
        bound: bound(
            counter.comparison,
            counter.threshold,
            counter.unit.as_deref(),
        ),
        every: duration(every_secs),
        over: series.iter().filter(over).count(),
        series: series.len(),
        triggers: inventory
            .triggers_with(counter.id)
            .map(|trigger| trigger.name.clone())
            .collect(),
    }
}
