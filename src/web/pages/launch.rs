//! Run now: what it would do is shown first where a whole cluster is touched, then the same run is inserted that a firing inserts.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Form, Path, Query};
use askama::Template;
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use crate::actions;
use crate::actions::plan::{self, Plan, RunTarget};
use crate::error::{Error, Result};
use crate::models::action::Action;
use crate::models::cluster::Cluster;
use crate::models::node::Node;
use crate::models::trigger::Trigger;
use crate::models::{NodeState, Origin, StepTarget};
use crate::web::commands;
use crate::web::error::Answer;
use crate::web::pages::trigger::on;
use crate::web::pages::{Flash, Layout, Nav, Visit};
use crate::web::view::{duration, plural};

/// What the form holds.
#[derive(Debug, Default, Deserialize)]
pub struct Filled {
    #[serde(default)]
    target: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    confirmed: bool,
}

impl Filled {
    fn reason(&self) -> Option<String> {
        let reason = self.reason.trim();
        (!reason.is_empty()).then(|| reason.to_owned())
    }

    fn target(&self) -> Result<RunTarget> {
        self.target
            .parse()
            .map_err(|message: String| Error::invalid("target", message))
    }
}

/// A step as it would be done.
struct PlannedStep {
    position: i32,
    action: String,
    kind: String,
    on: String,
    summary: String,
    timeout: String,
    undo: &'static str,
}

#[derive(Template)]
#[template(path = "launch.html")]
struct LaunchPage {
    layout: Layout,
    /// `trigger web-hot`.
    subject: String,
    /// The page it came from.
    back: String,
    /// Where the form goes.
    to: String,
    /// What is touched: `3 nodes of the cluster web`.
    touched: String,
    steps: Vec<PlannedStep>,
    target: String,
    reason: String,
}

/// `GET /triggers/{name}/run`: what pressing Run now would do.
///
/// # Errors
/// There is no such trigger, it has no steps, or the database fails.
pub async fn preview_trigger(visit: Visit, name: Path<String>, filled: Query<Filled>) -> Answer {
    let name = name.into_inner();
    let (by, now_ms, wanted) = (visit.caller.name.clone(), visit.now_ms, name.clone());
    let (plan, nodes) = visit
        .app
        .db
        .read(move |conn| {
            let trigger = Trigger::by_name(conn, &wanted)?;
            let plan = plan::plan_trigger(conn, &trigger, Origin::Trigger, &by, "", now_ms)?;
            Ok((plan, Node::of_cluster(conn, trigger.cluster_id)?))
        })
        .await?;
    let layout = visit
        .layout(Nav::Triggers, format!("Run {name} now?"))
        .await?;
    visit.show(&LaunchPage {
        subject: format!("trigger {name}"),
        back: format!("/triggers/{name}"),
        to: format!("/triggers/{name}/runs"),
        touched: touched(&plan, &nodes),
        steps: planned(&plan),
        target: String::new(),
        reason: filled.reason.clone(),
        layout,
    })
}

/// `GET /actions/{name}/run?target=`: what pressing Run now would do.
///
/// # Errors
/// There is no such action or target, they do not fit, or the database fails.
pub async fn preview_action(visit: Visit, name: Path<String>, filled: Query<Filled>) -> Answer {
    let name = name.into_inner();
    let (by, now_ms, wanted) = (visit.caller.name.clone(), visit.now_ms, name.clone());
    let chosen = filled.target()?;
    let (plan, nodes) = visit
        .app
        .db
        .read(move |conn| {
            let action = Action::by_name(conn, &wanted)?;
            let plan = plan::plan_action(conn, &action, &chosen, &by, "", now_ms)?;
            let nodes = match &chosen {
                RunTarget::Cluster(cluster) => {
                    let cluster = Cluster::by_name(conn, cluster)?;
                    Node::of_cluster(conn, cluster.id)?
                }
                RunTarget::Node(node) => vec![Node::by_name(conn, node)?],
                RunTarget::None => Vec::new(),
            };
            Ok((plan, nodes))
        })
        .await?;
    let layout = visit
        .layout(Nav::Actions, format!("Run {name} now?"))
        .await?;
    visit.show(&LaunchPage {
        subject: format!("action {name}"),
        back: format!("/actions/{name}"),
        to: format!("/actions/{name}/runs"),
        touched: touched(&plan, &nodes),
        steps: planned(&plan),
        target: filled.target.clone(),
        reason: filled.reason.clone(),
        layout,
    })
}

fn planned(plan: &Plan) -> Vec<PlannedStep> {
    plan.steps
        .iter()
        .map(|step| PlannedStep {
            position: step.position,
            action: step.action_name.clone(),
            kind: step.kind.clone(),
            on: on(step.target, step.target_name.as_deref()),
            summary: actions::summary(&step.kind, &step.settings),
            timeout: duration(step.timeout_secs)
                + step
                    .approval_secs
                    .map_or("", |_| ", after a person's approval"),
            undo: actions::undo(&step.kind).unwrap_or("cannot be undone"),
        })
        .collect()
}

fn touched(plan: &Plan, nodes: &[Node]) -> String {
    let in_service = nodes
        .iter()
        .filter(|node| node.state == NodeState::InService)
        .count();
    match &plan.run.cluster_name {
        Some(cluster) if whole_cluster(plan) => {
            format!(
                "all {} of the cluster {cluster}",
                plural(in_service, "node")
            )
        }
        Some(cluster) => format!("a node of the cluster {cluster}"),
        None => "no node".to_owned(),
    }
}

fn whole_cluster(plan: &Plan) -> bool {
    plan.run.changes_capacity
        || plan
            .steps
            .iter()
            .any(|step| step.target == StepTarget::Cluster)
}

/// `POST /triggers/{name}/runs`. A trigger acts on a cluster: without a confirmation the plan is shown first.
///
/// # Errors
/// There is no such trigger, or the database fails.
pub async fn run_trigger(visit: Visit, name: Path<String>, form: Form<Filled>) -> Answer {
    let name = name.into_inner();
    if !form.confirmed {
        return Ok(preview(&format!("/triggers/{name}/run"), &form));
    }
    let outcome =
        commands::run_trigger(&visit.app, &visit.caller, name.clone(), form.reason()).await;
    visit.changed().await;
    match outcome {
        Ok((run, steps)) => {
            let text = format!(
                "Run {} was started with {}.",
                run.id,
                plural(steps.len(), "step")
            );
            visit.go(&format!("/runs/{}", run.id), &Flash::done(text))
        }
        Err(cause) => visit.went(&format!("/triggers/{name}"), Err(cause)),
    }
}

/// `POST /actions/{name}/runs`. On a whole cluster, the plan is shown first.
///
/// # Errors
/// There is no such action, or the database fails.
pub async fn run_action(visit: Visit, name: Path<String>, form: Form<Filled>) -> Answer {
    let name = name.into_inner();
    let back = format!("/actions/{name}");
    let target = match form.target() {
        Ok(target) => target,
        Err(cause) => return visit.went(&back, Err(cause)),
    };
    if matches!(target, RunTarget::Cluster(_)) && !form.confirmed {
        return Ok(preview(&format!("/actions/{name}/run"), &form));
    }
    let outcome =
        commands::run_action(&visit.app, &visit.caller, name, target, form.reason()).await;
    visit.changed().await;
    match outcome {
        Ok((run, _)) => {
            let flash = Flash::done(format!("Run {} was started.", run.id));
            visit.go(&format!("/runs/{}", run.id), &flash)
        }
        Err(cause) => visit.went(&back, Err(cause)),
    }
}

fn preview(path: &str, form: &Filled) -> HttpResponse {
    let query = Serializer::new(String::new())
        .append_pair("target", &form.target)
        .append_pair("reason", &form.reason)
        .finish();
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, format!("{path}?{query}")))
        .finish()
}
