//! Runs: start one, see what it did, and decide what a worker cannot.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use actix_web::web::{Bytes, Data, Path, Query};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::{Attempt, LogLine};
use super::paging::Wanted;
use super::{ROOT, ok, optional, stored_json, time};
use crate::actions::plan::RunTarget;
use crate::app::App;
use crate::error::{Error, Result};
use crate::models::run::{Run as Row, Search};
use crate::models::run_event::RunEvent;
use crate::models::step_run::StepRun;
use crate::models::{
    OnFailure, Origin, RunId, RunState, StepRunId, StepState, StepTarget, from_ms,
};
use crate::web::auth::Caller;
use crate::web::commands::{self, StepVerb};
use crate::web::error::Answer;

/// A run in a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Run {
    /// Its number.
    #[schema(value_type = i64)]
    pub id: RunId,
    /// Where it is.
    pub state: RunState,
    /// Why it exists.
    pub origin: Origin,
    /// The trigger, as it was called then.
    pub trigger: Option<String>,
    /// The cluster, as it was called then.
    pub cluster: Option<String>,
    /// Who asked for it.
    pub requested_by: String,
    /// In a sentence.
    pub reason: String,
    /// What happens after a failed step.
    pub on_failure: OnFailure,
    /// Who asked to cancel it.
    pub cancel_requested_by: Option<String>,
    /// When it was asked for.
    pub created: DateTime<Utc>,
    /// When a worker took it up.
    pub started: Option<DateTime<Utc>>,
    /// When it reached its end.
    pub finished: Option<DateTime<Utc>>,
}

/// A run with its steps and its log.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RunDetail {
    #[serde(flatten)]
    run: Run,
    /// Its steps, in their order.
    steps: Vec<Step>,
    /// What happened, the oldest first.
    log: Vec<LogLine>,
}

/// A step of a run.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Step {
    /// Its number.
    #[schema(value_type = i64)]
    id: StepRunId,
    /// Its order, from 1.
    order: i32,
    /// Its name.
    name: String,
    /// The action, as it was called then.
    action: String,
    /// The action's kind.
    kind: String,
    /// What it acts on.
    target: StepTarget,
    /// The cluster or node it acts on.
    target_name: Option<String>,
    /// Orders of the steps it waits for.
    #[schema(value_type = Vec<i32>)]
    depends_on: Value,
    /// Where it is.
    state: StepState,
    /// How often its effect was begun.
    attempt: i32,
    /// The attempts before the present one, with why they failed.
    attempts: Vec<Attempt>,
    /// When the next attempt begins, after one that failed.
    retry_at: Option<DateTime<Utc>>,
    /// Seconds its effect may take.
    timeout_secs: i64,
    /// How often it is tried again after a fault that may pass; null = as often as the time limit allows.
    retries: Option<i32>,
    /// Seconds a person has to approve it; null when it needs no approval.
    approval_secs: Option<i64>,
    /// Until when it waits for its approval; null when it does not.
    waits_until: Option<DateTime<Utc>>,
    /// Who approved it.
    approved_by: Option<String>,
    /// What later steps can use.
    outputs: Value,
    /// What came back, per host.
    report: Value,
    /// Why it failed.
    error: Option<String>,
    /// When its effect was begun.
    started: Option<DateTime<Utc>>,
    /// When its effect was over.
    finished: Option<DateTime<Utc>>,
}

/// A run that was accepted.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Accepted {
    /// Its number; `GET /runs/{id}` tells how it goes.
    #[schema(value_type = i64)]
    id: RunId,
    /// Where it is.
    state: RunState,
    /// What it will do.
    steps: Vec<AcceptedStep>,
}

/// A step that will be done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AcceptedStep {
    /// Its number.
    #[schema(value_type = i64)]
    id: StepRunId,
    /// Its order, from 1.
    order: i32,
    /// The action.
    action: String,
    /// What it acts on.
    target: StepTarget,
    /// The cluster or node it acts on, where that is known beforehand.
    target_name: Option<String>,
}

/// A run of a trigger to start.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerRun {
    /// Why, for the run's page.
    reason: Option<String>,
}

/// A run of an action to start.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRun {
    /// What to run it on; left out for an action that needs nothing.
    target: Option<Target>,
    /// Why, for the run's page.
    reason: Option<String>,
}

/// What a person decides, and why.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// What was seen, for the run's log and the audit.
    pub(super) reason: Option<String>,
}

/// A cluster or a node.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Target {
    /// Every node in service of this cluster.
    Cluster(String),
    /// This node.
    Node(String),
}

/// Which runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    state: Option<RunState>,
    trigger: Option<String>,
    cluster: Option<String>,
    limit: Option<i64>,
    cursor: Option<String>,
}

/// `POST /triggers/{name}/runs`.
///
/// # Errors
/// The trigger does not exist or has no steps, another run stands in the way, or the database fails.
pub async fn start_trigger(
    app: Data<App>,
    caller: Caller,
    name: Path<String>,
    body: Bytes,
) -> Answer {
    let TriggerRun { reason } = optional(&body)?;
    let started = commands::run_trigger(&app, &caller, name.into_inner(), reason).await?;
    Ok(accepted(started))
}

/// `POST /actions/{name}/runs`.
///
/// # Errors
/// The action or its target does not exist or do not fit, another run stands in the way, or the database fails.
pub async fn start_action(
    app: Data<App>,
    caller: Caller,
    name: Path<String>,
    body: Bytes,
) -> Answer {
    let ActionRun { target, reason } = optional(&body)?;
    let target = match target {
        Some(Target::Cluster(name)) => RunTarget::Cluster(name),
        Some(Target::Node(name)) => RunTarget::Node(name),
        None => RunTarget::None,
    };
    let started = commands::run_action(&app, &caller, name.into_inner(), target, reason).await?;
    Ok(accepted(started))
}

/// `GET /runs`.
///
/// # Errors
/// The query makes no sense, or the database fails.
pub async fn list(app: Data<App>, filter: Query<Filter>) -> Answer {
    let filter = filter.into_inner();
    let wanted = Wanted::new(filter.limit, filter.cursor)?;
    let (before, count) = (wanted.before_id()?.map(RunId), wanted.rows());
    let search = Search {
        state: filter.state,
        trigger: filter.trigger,
        cluster: filter.cluster,
        before,
    };
    let rows = app
        .db
        .read(move |conn| Row::search(conn, &search, count))
        .await?;
    let page = wanted.page(rows, |row| row.id.to_string(), |row| Ok(Run::from(row)))?;
    Ok(ok(&page))
}

/// `GET /runs/{id}`.
///
/// # Errors
/// The run does not exist, or the database fails.
pub async fn one(app: Data<App>, id: Path<i64>) -> Answer {
    let id = RunId(id.into_inner());
    let (run, steps, log) = app
        .db
        .read(move |conn| {
            let run = Row::find(conn, id)?;
            Ok((run, StepRun::of_run(conn, id)?, RunEvent::of_run(conn, id)?))
        })
        .await?;
    Ok(ok(&RunDetail {
        run: run.into(),
        steps: steps
            .into_iter()
            .map(Step::try_from)
            .collect::<Result<_>>()?,
        log: log.into_iter().map(LogLine::from).collect(),
    }))
}

/// `POST /runs/{id}/cancellation`.
///
/// # Errors
/// The run does not exist or is over, or the database fails.
pub async fn cancel(app: Data<App>, caller: Caller, id: Path<i64>, body: Bytes) -> Answer {
    let Reason { reason } = optional(&body)?;
    let run = commands::cancel(&app, &caller, RunId(id.into_inner()), reason).await?;
    Ok(HttpResponse::Accepted().json(Run::from(run)))
}

/// `POST /runs/{id}/steps/{step}/retry|done|undo|approve|refuse`.
///
/// # Errors
/// Run or step do not exist or are in no state for it, no reason is given, or the database fails.
pub async fn decide(
    verb: StepVerb,
    app: Data<App>,
    caller: Caller,
    path: Path<(i64, i64)>,
    body: Bytes,
) -> Answer {
    let Reason { reason } = optional(&body)?;
    let (run, step) = path.into_inner();
    let (run, step) = (RunId(run), StepRunId(step));
    let run = commands::decide_step(&app, &caller, run, step, verb, reason).await?;
    Ok(HttpResponse::Accepted().json(Run::from(run)))
}

fn accepted((run, steps): (Row, Vec<StepRun>)) -> HttpResponse {
    let steps = steps.into_iter().map(|step| AcceptedStep {
        id: step.id,
        order: step.position,
        action: step.action_name,
        target: step.target,
        target_name: step.target_name,
    });
    HttpResponse::Accepted()
        .insert_header((LOCATION, format!("{ROOT}/runs/{}", run.id)))
        .json(Accepted {
            id: run.id,
            state: run.state,
            steps: steps.collect(),
        })
}

impl From<Row> for Run {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            state: row.state,
            origin: row.origin,
            trigger: row.trigger_name,
            cluster: row.cluster_name,
            requested_by: row.requested_by,
            reason: row.reason,
            on_failure: row.on_failure,
            cancel_requested_by: row.cancel_requested_by,
            created: from_ms(row.created_ms),
            started: time(row.started_ms),
            finished: time(row.finished_ms),
        }
    }
}

impl TryFrom<StepRun> for Step {
    type Error = Error;

    fn try_from(row: StepRun) -> Result<Self> {
        let attempts = row.tried()?.into_iter().map(Attempt::from);
        Ok(Self {
            attempts: attempts.collect(),
            retry_at: time(row.retry_at_ms),
            approval_secs: row.approval_secs,
            waits_until: time(row.waits_until_ms()),
            depends_on: stored_json("a step", &row.depends_on)?,
            outputs: stored_json("a step's outputs", &row.outputs)?,
            report: stored_json("a step's report", &row.report)?,
            id: row.id,
            order: row.position,
            name: row.name,
            action: row.action_name,
            kind: row.kind,
            target: row.target,
            target_name: row.target_name,
            state: row.state,
            attempt: row.attempt,
            timeout_secs: row.timeout_secs,
            retries: row.retries,
            approved_by: row.approved_by,
            error: row.error,
            started: time(row.started_ms),
            finished: time(row.finished_ms),
        })
    }
}
