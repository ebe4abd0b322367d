//! `/actions` and `/actions/{name}`: what can be done, and doing it now.

use std::collections::BTreeMap;

use actix_web::web::{Path, Query};
use askama::Template;

use crate::actions;
use crate::models::action::Action;
use crate::models::cluster::Cluster;
use crate::models::node::Node;
use crate::models::step::Step;
use crate::models::trigger::Trigger;
use crate::models::{ActionId, NodeState, StepTarget, TriggerId};
use crate::web::error::Answer;
use crate::web::pages::cluster::Wish;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Pager, Sort, duration};

/// An action in one line.
struct ActionLine {
    name: String,
    kind: String,
    summary: String,
    triggers: Vec<String>,
}

#[derive(Template)]
#[template(path = "actions.html")]
struct ActionsPage {
    layout: Layout,
    sort: Sort,
    q: String,
    path: &'static str,
    lines: Vec<ActionLine>,
    pager: Pager,
}

/// `GET /actions`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit, wish: Query<Wish>) -> Answer {
    let layout = visit.layout(Nav::Actions, "Actions").await?;
    let (actions, steps, triggers) = visit
        .app
        .db
        .read(|conn| Ok((Action::all(conn)?, Step::all(conn)?, Trigger::all(conn)?)))
        .await?;
    let filters = [("q", wish.q.as_str())];
    let sort = Sort::read(
        "/actions",
        wish.sort.as_deref(),
        &["name", "kind"],
        &filters,
    );
    let users = users(&steps, &triggers);
    let actions = actions.into_iter().filter(|it| wish.fits(&it.name));
    let mut lines: Vec<ActionLine> = actions
        .map(|action| ActionLine {
            summary: actions::summary(&action.kind, &action.settings),
            triggers: users.get(&action.id).cloned().unwrap_or_default(),
            name: action.name,
            kind: action.kind,
        })
        .collect();
    match sort.key.as_str() {
        "kind" => sort.order(&mut lines, |line| line.kind.clone()),
        _ => sort.order(&mut lines, |line| line.name.clone()),
    }
    let filters = [("q", wish.q.as_str()), ("sort", &sort.word())];
    let pager = Pager::cut("/actions", wish.page, lines.len(), &filters);
    visit.show(&ActionsPage {
        lines: pager.take(lines),
        pager,
        sort,
        q: wish.q.clone(),
        path: "/actions",
        layout,
    })
}

/// The names of the triggers that use each action.
fn users(steps: &[Step], triggers: &[Trigger]) -> BTreeMap<ActionId, Vec<String>> {
    let names: BTreeMap<TriggerId, &str> = triggers
        .iter()
        .map(|trigger| (trigger.id, trigger.name.as_str()))
        .collect();
    let mut users: BTreeMap<ActionId, Vec<String>> = BTreeMap::new();
    for step in steps {
        let Some(name) = names.get(&step.trigger_id) else {
            continue;
        };
        let of = users.entry(step.action_id).or_default();
        if of.iter().all(|known| known != name) {
            of.push((*name).to_owned());
        }
    }
    users
}

#[derive(Template)]
#[template(path = "action.html")]
struct ActionPage {
    layout: Layout,
    name: String,
    kind: String,
    summary: String,
    settings: String,
    timeout: String,
    again: String,
    undo: &'static str,
    triggers: Vec<String>,
    clusters: Vec<String>,
    nodes: Vec<String>,
    on_nothing: bool,
}

/// How often a step is tried again, in words.
fn again(retries: Option<i32>) -> String {
    match retries {
        None => "after a fault that may pass, within the time limit".into(),
        Some(0) => "never".into(),
        Some(1) => "once at most, after a fault that may pass".into(),
        Some(retries) => format!("{retries} times at most, after a fault that may pass"),
    }
}

/// `GET /actions/{name}`.
///
/// # Errors
/// There is no such action, or the database fails.
pub async fn show(visit: Visit, name: Path<String>) -> Answer {
    let layout = visit.layout(Nav::Actions, name.as_str()).await?;
    let name = name.into_inner();
    let (action, steps, triggers, clusters, nodes) = visit
        .app
        .db
        .read(move |conn| {
            Ok((
                Action::by_name(conn, &name)?,
                Step::all(conn)?,
                Trigger::all(conn)?,
                Cluster::all(conn)?,
                Node::all(conn)?,
            ))
        })
        .await?;
    let targets = actions::allowed_targets(&action.kind);
    let on_node = targets.contains(&StepTarget::Node);
    let on_cluster = targets.contains(&StepTarget::Cluster);
    let in_service = |node: &Node| node.state == NodeState::InService;
    let timeout_secs = action.timeout_secs;
    let timeout_secs = timeout_secs.unwrap_or_else(|| actions::default_timeout(&action.kind));
    visit.show(&ActionPage {
        summary: actions::summary(&action.kind, &action.settings),
        settings: actions::settings_html(&action.kind, &action.settings)?,
        timeout: duration(timeout_secs),
        again: again(action.retries),
        undo: actions::undo(&action.kind).unwrap_or("it cannot be undone"),
        triggers: users(&steps, &triggers)
            .remove(&action.id)
            .unwrap_or_default(),
        clusters: clusters
            .into_iter()
            .filter(|_| on_cluster)
            .map(|cluster| cluster.name)
            .collect(),
        nodes: nodes
            .into_iter()
            .filter(|node| on_node && in_service(node))
            .map(|node| node.name)
            .collect(),
        on_nothing: targets.contains(&StepTarget::None),
        name: action.name,
        kind: action.kind,
        layout,
    })
}
