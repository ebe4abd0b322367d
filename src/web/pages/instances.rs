//! `/instances`: where EC2 and the nodes disagree, and what can be done about it.

use actix_web::web::Path;
use askama::Template;

use crate::models::cluster::Cluster;
use crate::models::ec2_profile::Ec2Profile;
use crate::models::finding::Finding;
use crate::models::former_node::FormerNode;
use crate::models::task::Task;
use crate::models::{FindingId, FindingKind};
use crate::web::commands;
use crate::web::error::Answer;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Badge, Moment, Status};

/// Nodes that are gone, shown per cluster.
const FORMER: i64 = 20;

/// A finding in one line.
struct Line {
    id: FindingId,
    badge: Badge,
    about: &'static str,
    cluster: String,
    node: Option<String>,
    instance: Option<String>,
    detail: String,
    since: Moment,
    adopt: bool,
    reap: bool,
    forget: bool,
}

impl Line {
    fn of(visit: &Visit, finding: Finding) -> Self {
        use FindingKind::{Ghost, Moved, Orphan, Replaced, Stopped, Unfinished};
        let (kind, has_instance) = (finding.kind, finding.instance_id.is_some());
        Self {
            id: finding.id,
            badge: match kind {
                Orphan | Ghost | Replaced => Status::Firing.says(kind.as_str()),
                Stopped | Moved | Unfinished => Status::Pending.says(kind.as_str()),
            },
            about: about(kind),
            cluster: finding.cluster_name,
            node: finding.node_name,
            instance: finding.instance_id,
            detail: finding.detail,
            since: visit.moment(finding.first_seen_ms),
            adopt: has_instance && matches!(kind, Orphan | Replaced | Moved | Unfinished),
            reap: has_instance && matches!(kind, Orphan | Unfinished),
            forget: kind == Ghost || (kind == Unfinished && !has_instance),
        }
    }
}

const fn about(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Orphan => {
            "It costs money and does nothing: adopt it as a node, or have it reaped."
        }
        FindingKind::Ghost => "The node stands for nothing: forget it.",
        FindingKind::Stopped => "Start it in EC2, or remove the node by an action.",
        FindingKind::Replaced => "Let the node stand for the new instance.",
        FindingKind::Moved => "Let the node have its new address.",
        FindingKind::Unfinished => {
            "Decide on the run's page, or here: put it into service, or have it reaped."
        }
    }
}

/// A node that is gone, in one line.
struct FormerLine {
    name: String,
    cluster: String,
    instance: String,
    address: String,
    reason: String,
    gone: Moment,
}

#[derive(Template)]
#[template(path = "instances.html")]
struct InstancesPage {
    layout: Layout,
    has_profiles: bool,
    lines: Vec<Line>,
    looked: Option<Moment>,
    result: String,
    failed: bool,
    former: Vec<FormerLine>,
}

/// `GET /instances`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit) -> Answer {
    let layout = visit.layout(Nav::Instances, "Instances").await?;
    let (profiles, findings, tasks, former) = visit
        .app
        .db
        .read(|conn| {
            let mut former = Vec::new();
            for cluster in Cluster::all(conn)? {
                former.extend(FormerNode::of_cluster(conn, &cluster.name, FORMER)?);
            }
            Ok((
                Ec2Profile::all(conn)?,
                Finding::all(conn)?,
                Task::all(conn)?,
                former,
            ))
        })
        .await?;
    let name = crate::jobs::schedule::INSPECT.name;
    let task = tasks.into_iter().find(|task| task.name == name);
    let line = |row: FormerNode| FormerLine {
        name: row.name,
        cluster: row.cluster_name,
        instance: row.instance_id.unwrap_or_default(),
        address: row.address,
        reason: row.reason,
        gone: visit.moment(row.gone_ms),
    };
    visit.show(&InstancesPage {
        has_profiles: !profiles.is_empty(),
        lines: findings
            .into_iter()
            .map(|finding| Line::of(&visit, finding))
            .collect(),
        looked: task
            .as_ref()
            .and_then(|task| task.finished_ms)
            .map(|at_ms| visit.moment(at_ms)),
        failed: task
            .as_ref()
            .is_some_and(|task| task.succeeded == Some(false)),
        result: task.map_or_else(String::new, |task| task.result),
        former: former.into_iter().map(line).collect(),
        layout,
    })
}

/// `POST /instances/look`.
///
/// # Errors
/// The database fails.
pub async fn look(visit: Visit) -> Answer {
    let outcome = commands::look(&visit.app).await;
    visit.changed().await;
    visit.went("/instances", outcome)
}

/// `POST /instances/{id}/adopt`.
///
/// # Errors
/// There is no such finding, or the database fails.
pub async fn adopt(visit: Visit, id: Path<i64>) -> Answer {
    let outcome = commands::adopt(&visit.app, &visit.caller, FindingId(id.into_inner())).await;
    visit.changed().await;
    visit.went(
        "/instances",
        outcome.map(|node| format!("{node} is in service.")),
    )
}

/// `POST /instances/{id}/forget`.
///
/// # Errors
/// There is no such finding, or the database fails.
pub async fn forget(visit: Visit, id: Path<i64>) -> Answer {
    let outcome = commands::forget(&visit.app, &visit.caller, FindingId(id.into_inner())).await;
    visit.changed().await;
    visit.went(
        "/instances",
        outcome.map(|node| format!("{node} is forgotten.")),
    )
}

/// `POST /instances/{id}/reap`.
///
/// # Errors
/// There is no such finding, or the database fails.
pub async fn reap(visit: Visit, id: Path<i64>) -> Answer {
    let outcome = commands::reap(&visit.app, &visit.caller, FindingId(id.into_inner())).await;
    visit.changed().await;
    match outcome {
        Ok(run) => visit.went(
            &format!("/runs/{}", run.id),
            Ok("The instance is being terminated.".into()),
        ),
        Err(cause) => visit.went("/instances", Err(cause)),
    }
}
