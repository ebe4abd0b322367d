//! `/triggers`: every trigger, how it stands and why.

use std::collections::BTreeMap;

use actix_web::web::Query;
use askama::Template;

use crate::models::decision::Decision;
use crate::models::trigger::Trigger;
use crate::models::{Mode, TriggerId, When};
use crate::web::error::Answer;
use crate::web::pages::cluster::Wish;
use crate::web::pages::inventory::Inventory;
use crate::web::pages::standing::{self, Standing};
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Moment, Pager, Sort, duration};

/// A trigger in one line.
pub struct TriggerLine {
    /// Its name.
    pub name: String,
    /// Whose nodes it watches.
    pub cluster: String,
    /// How it stands and why.
    pub standing: Standing,
    /// When it fires, in words: `any of cpu, load for 5 min`.
    pub rule: String,
    /// When it last fired.
    pub fired: Option<Moment>,
    /// Whether it only rehearses.
    pub rehearses: bool,
}

impl TriggerLine {
    /// A trigger with the latest decision about it.
    pub fn of(
        visit: &Visit,
        inventory: &Inventory,
        trigger: &Trigger,
        latest: Option<&Decision>,
    ) -> Self {
        Self {
            name: trigger.name.clone(),
            cluster: inventory.cluster_name(trigger.cluster_id).to_owned(),
            standing: standing::trigger(trigger, latest, visit.tick_ms(), visit.now_ms),
            rule: rule(inventory, trigger),
            fired: trigger.last_fired_ms.map(|at_ms| visit.moment(at_ms)),
            rehearses: trigger.mode == Mode::DryRun,
        }
    }
}

/// When a trigger fires, in words.
pub fn rule(inventory: &Inventory, trigger: &Trigger) -> String {
    let counters: Vec<&str> = inventory
        .counters_of(trigger.id)
        .map(|counter| counter.name.as_str())
        .collect();
    let which = match counters.as_slice() {
        [] => return "no counters".to_owned(),
        [one] => (*one).to_owned(),
        many => format!("any of {}", many.join(", ")),
    };
    let on = match trigger.when_rule {
        When::Any => "on any node".to_owned(),
        When::All => "on every node".to_owned(),
        When::Percent => format!("on {} % of the nodes", trigger.when_percent.unwrap_or(100)),
        When::Average => "on average".to_owned(),
    };
    match trigger.timing_secs {
        Some(0) => format!("{which} {on}, at once"),
        Some(secs) => format!("{which} {on} for {}", duration(secs)),
        None => format!("{which}; by hand only"),
    }
}

#[derive(Template)]
#[template(path = "triggers.html")]
struct TriggersPage {
    layout: Layout,
    sort: Sort,
    q: String,
    path: &'static str,
    lines: Vec<TriggerLine>,
    pager: Pager,
}

/// `GET /triggers`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit, wish: Query<Wish>) -> Answer {
    let layout = visit.layout(Nav::Triggers, "Triggers").await?;
    let now_ms = visit.now_ms;
    let (inventory, latest) = visit
        .app
        .db
        .read(move |conn| Ok((Inventory::load(conn, now_ms)?, Decision::latest(conn)?)))
        .await?;
    let latest: BTreeMap<TriggerId, Option<Decision>> = latest.into_iter().collect();
    let asked = Some(wish.sort.as_deref().unwrap_or("-status"));
    let keys = ["status", "name", "cluster", "fired"];
    let sort = Sort::read("/triggers", asked, &keys, &[("q", &wish.q)]);
    let triggers = inventory.triggers.iter().filter(|it| wish.fits(&it.name));
    let mut lines: Vec<TriggerLine> = triggers
        .map(|trigger| {
            let latest = latest.get(&trigger.id).and_then(Option::as_ref);
            TriggerLine::of(&visit, &inventory, trigger, latest)
        })
        .collect();
    match sort.key.as_str() {
        "name" => sort.order(&mut lines, |line| line.name.clone()),
        "cluster" => sort.order(&mut lines, |line| line.cluster.clone()),
        "fired" => sort.order(&mut lines, |line| line.fired.map(|it| it.at_ms)),
        _ => sort.order(&mut lines, |line| line.standing.badge.status),
    }
    let filters = [("q", wish.q.as_str()), ("sort", &sort.word())];
    let pager = Pager::cut("/triggers", wish.page, lines.len(), &filters);
    visit.show(&TriggersPage {
        lines: pager.take(lines),
        pager,
        sort,
        q: wish.q.clone(),
        path: "/triggers",
        layout,
    })
}
