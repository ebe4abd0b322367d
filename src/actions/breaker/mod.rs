//! The breaker of a cluster: after launches in a row that gave no node, further ones are refused until a person closes it or one launch on
//! trial, the canary, gives a node again. Beside it, a bound on launches per hour.
//!
//! ```text
//! closed ── max_failed_launches in a row ──▶ open ── cool-down over: one launch ──▶ half open
//!    ▲                                        ▲  ▲                                    │  │
//!    │                                        │  └───────────── it gave no node ──────┘  │
//!    └── a person closes it ──────────────────┘◀──────────────── it gave a node: closed ─┘
//! ```
//! Refused is at the decision, when a person starts a run, and for certain in the transaction that announces a launch.

mod rules;

use std::collections::BTreeMap;

use serde_json::json;

use super::Kind;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::audit::{AuditEvent, NewAuditEvent};
use crate::models::breaker::Breaker;
use crate::models::cluster::Cluster;
use crate::models::run::Run;
use crate::models::run_event::RunEvent;
use crate::models::step_run::StepRun;
use crate::models::{BreakerState, ClusterId, RunId, RunState, StepRunId, Via, node_claim};
use rules::{HOUR_MS, Says, after, is_heard, over_the_rate, says, verdict};

/// Who the audit names for what the breaker does by itself.
const ACTOR: &str = "breaker";

/// Whether steps of this kind launch.
pub fn launches(kinds: &[Kind], kind: &str) -> bool {
    names(kinds).contains(&kind)
}

fn names(kinds: &[Kind]) -> Vec<&'static str> {
    let launching = kinds.iter().filter(|kind| kind.facts.capacity_change > 0);
    launching.map(|kind| kind.name).collect()
}

/// The launches of the last hour, where a cluster bounds them.
fn begun(
    conn: &mut Connection,
    kinds: &[Kind],
    clusters: &[&Cluster],
    now_ms: i64,
) -> Result<Vec<(ClusterId, i64, StepRunId)>> {
    if clusters
        .iter()
        .all(|cluster| cluster.max_launches_per_hour.is_none())
    {
        return Ok(Vec::new());
    }
    StepRun::begun_since(conn, &names(kinds), now_ms.saturating_sub(HOUR_MS))
}

/// Why no run that launches may be started in these clusters now, for those where it may not; `open`: the runs that are not over.
///
/// # Errors
/// The database fails.
pub fn refusals(
    conn: &mut Connection,
    kinds: &[Kind],
    clusters: &[&Cluster],
    open: &[Run],
    now_ms: i64,
) -> Result<BTreeMap<ClusterId, String>> {
    let begun = begun(conn, kinds, clusters, now_ms)?;
    let breakers = Breaker::all(conn)?;
    let refusal = |cluster: &&Cluster| {
        let known = breakers.iter().find(|it| it.cluster_id == cluster.id);
        let said = known.map_or(Says::Go, |breaker| {
            let canary = open.iter().any(|run| breaker.canary_run_id == Some(run.id));
            says(breaker, cluster, None, !canary, now_ms)
        });
        let here = begun.iter().filter(|(id, ..)| *id == cluster.id);
        let here: Vec<i64> = here.map(|(_, at_ms, _)| *at_ms).collect();
        let why = match said {
            Says::No(why) => why,
            Says::Go | Says::OnTrial => over_the_rate(cluster, &here)?,
        };
        Some((cluster.id, why))
    };
    Ok(clusters.iter().filter_map(refusal).collect())
}

/// Why no run that launches may be started in a cluster now, if so.
///
/// # Errors
/// There is no such cluster, or the database fails.
pub fn refusal(
    conn: &mut Connection,
    kinds: &[Kind],
    cluster: ClusterId,
    now_ms: i64,
) -> Result<Option<String>> {
    let cluster = Cluster::find(conn, cluster)?;
    let open = Run::open(conn)?;
    let refusals = refusals(conn, kinds, &[&cluster], &open, now_ms)?;
    Ok(refusals.into_values().next())
}

/// Lets a launch through, in the transaction that announces it, or says why not; one on trial makes its run the canary.
///
/// # Errors
/// The cluster is gone, or the database fails.
pub fn admit(
    conn: &mut Connection,
    kinds: &[Kind],
    cluster: ClusterId,
    (run, step): (RunId, StepRunId),
    now_ms: i64,
) -> Result<Option<String>> {
    // A launch that is gone on with was let through before: its node is there.
    let token = StepRun::find(conn, run, step)?.token;
    if let Some(token) = token
        && node_claim::node_of(conn, &token)?.is_some()
    {
        return Ok(None);
    }
    // Whoever counts launches, or makes a run the canary, does so alone.
    let cluster = Cluster::lock(conn, cluster)?;
    let breaker = Breaker::of(conn, cluster.id)?;
    let open = Run::open(conn)?;
    let trial_is_over = !open.iter().any(|run| breaker.canary_run_id == Some(run.id));
    let said = says(&breaker, &cluster, Some(run), trial_is_over, now_ms);
    if let Says::No(why) = &said {
        return Ok(Some(why.clone()));
    }
    let others = begun(conn, kinds, &[&cluster], now_ms)?.into_iter();
    let others = others.filter(|(id, _, other)| *id == cluster.id && *other != step);
    let others: Vec<i64> = others.map(|(_, at_ms, _)| at_ms).collect();
    if let Some(why) = over_the_rate(&cluster, &others) {
        return Ok(Some(why));
    }
    if said == Says::OnTrial && breaker.canary_run_id != Some(run) {
        let trial = Breaker {
            state: BreakerState::HalfOpen,
            canary_run_id: Some(run),
            updated_ms: now_ms,
            ..breaker.clone()
        };
        let line = format!(
            "the breaker of {} lets this launch through on trial",
            cluster.name
        );
        change(conn, &cluster, (&breaker, &trial), (run, &line))?;
    }
    Ok(None)
}

/// Draws the consequence of a run that is over, in the transaction that ends it. A run speaks once: what a person has taken back of it later
/// says nothing about launching, and only that it gave a node after all is still heard.
///
/// # Errors
/// The database fails.
pub fn settle(
    conn: &mut Connection,
    kinds: &[Kind],
    run: &Run,
    state: RunState,
    now_ms: i64,
) -> Result<()> {
    let steps = StepRun::of_run(conn, run.id)?;
    let Some(id) = run.cluster_id else {
        return Ok(());
    };
    if !steps.iter().any(|step| launches(kinds, &step.kind)) {
        return Ok(());
    }
    let cluster = Cluster::lock(conn, id)?;
    let before = Breaker::of(conn, id)?;
    let said = verdict(kinds, &steps, state);
    if !is_heard(&before, run, state) {
        return Ok(());
    }
    let counted = said.is_some() || run.launch_counted == Some(true);
    Run::count_launch(conn, run.id, counted)?;
    let Some(after) = after(&before, &cluster, run.id, said, now_ms) else {
        return Ok(());
    };
    let line = match after.state {
        BreakerState::Open if before.state != BreakerState::Open => {
            format!("the breaker of {} opens: {}", cluster.name, after.reason)
        }
        BreakerState::Closed if before.state != BreakerState::Closed => {
            format!(
                "the breaker of {} closes: this launch gave a node",
                cluster.name
            )
        }
        _ => {
            return after.keep(conn);
        }
    };
    change(conn, &cluster, (&before, &after), (run.id, &line))
}

/// A person closes the breaker of a cluster.
///
/// # Errors
/// It is closed already, no reason is given, there is no such cluster, or the database fails.
pub fn close(
    conn: &mut Connection,
    name: &str,
    (actor, via, reason): (&str, Via, &str),
    now_ms: i64,
) -> Result<Breaker> {
    if reason.trim().is_empty() {
        return Err(Error::invalid("reason", "is required: say what you saw"));
    }
    let cluster = Cluster::by_name(conn, name)?;
    let cluster = Cluster::lock(conn, cluster.id)?;
    let before = Breaker::of(conn, cluster.id)?;
    if before.state == BreakerState::Closed {
        return Err(Error::Conflict(format!(
            "the breaker of {name} is closed already"
        )));
    }
    let closed = Breaker {
        updated_ms: now_ms,
        ..Breaker::closed(cluster.id)
    };
    closed.keep(conn)?;
    audit(
        conn,
        &cluster,
        (&before, &closed),
        (actor, via, reason),
        now_ms,
    )?;
    Ok(closed)
}

fn change(
    conn: &mut Connection,
    cluster: &Cluster,
    (before, after): (&Breaker, &Breaker),
    (run, line): (RunId, &str),
) -> Result<()> {
    let now_ms = after.updated_ms;
    after.keep(conn)?;
    RunEvent::record(conn, run, None, now_ms, line)?;
    audit(
        conn,
        cluster,
        (before, after),
        (ACTOR, Via::System, line),
        now_ms,
    )
}

fn audit(
    conn: &mut Connection,
    cluster: &Cluster,
    (before, after): (&Breaker, &Breaker),
    (actor, via, reason): (&str, Via, &str),
    at_ms: i64,
) -> Result<()> {
    let verb = match after.state {
        BreakerState::Closed => "close breaker",
        BreakerState::Open => "open breaker",
        BreakerState::HalfOpen => "try breaker",
    };
    let state = |breaker: &Breaker| json!({"state": breaker.state, "failures": breaker.failures});
    let mut told = state(after);
    if let Some(map) = told.as_object_mut() {
        map.insert("reason".into(), reason.into());
        map.insert("run".into(), json!(after.canary_run_id));
    }
    AuditEvent::record(
        conn,
        &NewAuditEvent {
            at_ms,
            actor: actor.to_owned(),
            via,
            verb: verb.to_owned(),
            object: format!("cluster {}", cluster.name),
            before: Some(state(before).to_string()),
            after: Some(told.to_string()),
        },
    )
}
