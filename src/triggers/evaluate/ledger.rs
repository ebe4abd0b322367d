//! What is written of a tick: decisions, run-length, and for a firing the run in the same transaction.
//!
//! Whatever a decision was made from may have changed until its transaction begins, so everything that could let two firings
//! through is asked again inside it: of two evaluators of one tick, of a firing and a person, one wins.

use std::collections::HashMap;

use super::snapshot::Watched;
use crate::actions::plan::{Plan, plan_trigger};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::decision::{Decision as Row, NewDecision};
use crate::models::hold::Hold;
use crate::models::run::Run;
use crate::models::trigger::Trigger;
use crate::models::{HoldScope, Mode, Origin, RunId, TriggerId};
use crate::triggers::decide::{Decision, Outcome};
use crate::triggers::gates::GateName;
use crate::triggers::reason::CLOCK_TOLERANCE_TICKS;

/// A decision that is still to be written, with what it rests on.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub trigger: TriggerId,
    pub cluster_name: String,
    /// As it was read for the decision.
    pub last_fired_ms: Option<i64>,
    pub decision: Decision,
}

/// The tick that is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick {
    pub at_ms: i64,
    pub length_ms: i64,
}

impl Tick {
    fn tolerance_ms(self) -> i64 {
        self.length_ms.saturating_mul(CLOCK_TOLERANCE_TICKS)
    }

    /// Whether an evaluator wrote this tick, or one shortly after it, already.
    fn is_written(self, latest: &Row) -> bool {
        let ahead_ms = latest.last_ms.saturating_sub(self.at_ms);
        (0..=self.tolerance_ms()).contains(&ahead_ms)
    }

    /// Whether a stretch reaches up to this tick: where Headroom stood still, a new row begins and the gap can be seen.
    fn follows(self, latest: &Row) -> bool {
        let behind_ms = self.at_ms.saturating_sub(latest.last_ms);
        (1..=self.tolerance_ms()).contains(&behind_ms)
    }
}

impl Verdict {
    /// The verdict on a trigger.
    pub fn of(watched: &Watched, decision: Decision) -> Self {
        Self {
            trigger: watched.trigger.id,
            cluster_name: watched.cluster.row.name.clone(),
            last_fired_ms: watched.trigger.last_fired_ms,
            decision,
        }
    }
}

/// Writes the decisions that start nothing.
pub(super) fn record(conn: &mut Connection, verdicts: &[Verdict], tick: Tick) -> Result<()> {
    Row::lock_ledger(conn)?;
    let latest: HashMap<_, _> = Row::latest(conn)?.into_iter().collect();
    for verdict in verdicts {
        // A trigger that was deleted meanwhile has no ledger any more.
        let Some(latest) = latest.get(&verdict.trigger) else {
            continue;
        };
        if latest.as_ref().is_some_and(|row| tick.is_written(row)) {
            continue;
        }
        forgive_future_firing(conn, verdict, tick)?;
        let mut decision = verdict.decision.clone();
        if decision.outcome == Outcome::DryRun {
            rehearse(conn, verdict, &mut decision, tick)?;
        }
        write(conn, verdict, &decision, latest.as_ref(), tick)?;
    }
    Ok(())
}

/// Writes a firing with its run, or why it came to nothing at the last moment; the run, if it is to be woken.
pub(super) fn fire(conn: &mut Connection, verdict: &Verdict, tick: Tick) -> Result<Option<RunId>> {
    Row::lock_ledger(conn)?;
    let latest = Row::latest_of(conn, verdict.trigger)?;
    if latest.as_ref().is_some_and(|row| tick.is_written(row)) {
        return Ok(None);
    }
    let trigger = match Trigger::find(conn, verdict.trigger) {
        Err(Error::NotFound(_)) => return Ok(None),
        found => found?,
    };
    let mut decision = verdict.decision.clone();
    let plan = match late_refusal(conn, verdict, &trigger, tick)? {
        Some((gate, reason)) => Err((Some(gate), reason)),
        None => plan(conn, &trigger, &decision.reason, tick)?.map_err(|reason| (None, reason)),
    };
    let plan = match plan {
        Ok(plan) => plan,
        Err((gate, reason)) => {
            refuse(&mut decision, gate, &reason);
            write(conn, verdict, &decision, latest.as_ref(), tick)?;
            return Ok(None);
        }
    };
    if !Trigger::fire(conn, trigger.id, verdict.last_fired_ms, tick.at_ms)? {
        return Ok(None);
    }
    let (run, _) = plan.insert(conn)?;
    decision.detail.steps = steps(&plan);
    let row = NewDecision {
        run_id: Some(run.id),
        ..new_row(verdict.trigger, &decision, tick)?
    };
    Row::insert(conn, &row)?;
    Ok(Some(run.id))
}

/// What has come in the way since the decision was made.
fn late_refusal(
    conn: &mut Connection,
    verdict: &Verdict,
    trigger: &Trigger,
    tick: Tick,
) -> Result<Option<(GateName, String)>> {
    if !trigger.enabled || trigger.mode != Mode::Live || trigger.timing_secs.is_none() {
        let reason = "the trigger was changed while it was decided".into();
        return Ok(Some((GateName::Enabled, reason)));
    }
    let holds = Hold::active(conn, tick.at_ms)?;
    let hold = holds.iter().find(|hold| match hold.scope {
        HoldScope::Everything => true,
        HoldScope::Cluster => hold.scope_name.as_ref() == Some(&verdict.cluster_name),
        HoldScope::Trigger => hold.scope_name.as_ref() == Some(&trigger.name),
        HoldScope::Node => false,
    });
    if let Some(hold) = hold {
        let reason = format!(
            "{} has just been held by {}: {}",
            hold.subject(),
            hold.author,
            hold.reason
        );
        return Ok(Some((GateName::Hold, reason)));
    }
    let open = Run::open(conn)?;
    if let Some(run) = open.iter().find(|run| run.trigger_id == Some(trigger.id)) {
        let reason = format!(
            "its run {} has just been started by {}",
            run.id, run.requested_by
        );
        return Ok(Some((GateName::OpenRun, reason)));
    }
    let of_cluster = |run: &&Run| run.cluster_id == Some(trigger.cluster_id);
    if let Some(run) = open
        .iter()
        .filter(of_cluster)
        .find(|run| run.capacity_change != 0)
    {
        let reason = format!(
            "run {}, which changes the capacity of {}, has just been started",
            run.id, verdict.cluster_name
        );
        return Ok(Some((GateName::CapacityRun, reason)));
    }
    Ok(None)
}

/// The run of a firing, or why it cannot be planned; faults of the database remain errors.
fn plan(
    conn: &mut Connection,
    trigger: &Trigger,
    reason: &str,
    tick: Tick,
) -> Result<std::result::Result<Plan, String>> {
    let by = format!("trigger {}", trigger.name);
    match plan_trigger(conn, trigger, Origin::Firing, &by, reason, tick.at_ms) {
        Ok(plan) => Ok(Ok(plan)),
        Err(fault @ (Error::Internal(_) | Error::Upstream { .. })) => Err(fault),
        Err(fault) => Ok(Err(format!("its run cannot be planned: {fault}"))),
    }
}

/// Plans the run that a rehearsal does not start.
fn rehearse(
    conn: &mut Connection,
    verdict: &Verdict,
    decision: &mut Decision,
    tick: Tick,
) -> Result<()> {
    let trigger = Trigger::find(conn, verdict.trigger)?;
    match plan(conn, &trigger, &decision.reason, tick)? {
        Ok(plan) => decision.detail.steps = steps(&plan),
        Err(reason) => decision.reason = format!("{}; {reason}", decision.reason),
    }
    Ok(())
}

fn refuse(decision: &mut Decision, gate: Option<GateName>, reason: &str) {
    decision.outcome = Outcome::Refused;
    decision.reason = format!("{}, but {reason}", decision.reason);
    let name = gate.map_or("plan", GateName::as_str);
    decision.fingerprint = format!("late|{name}|{}", decision.fingerprint);
    let gates = decision.detail.gates.iter_mut();
    for refusing in gates.filter(|each| Some(each.name) == gate) {
        refusing.passed = false;
        reason.clone_into(&mut refusing.reason);
    }
}

/// The clock was set back over a firing: it counts as of now, or the trigger would be silent until the clock is there again.
fn forgive_future_firing(conn: &mut Connection, verdict: &Verdict, tick: Tick) -> Result<()> {
    let latest_ms = tick.at_ms.saturating_add(tick.tolerance_ms());
    if let Some(fired_ms) = verdict
        .last_fired_ms
        .filter(|fired_ms| *fired_ms > latest_ms)
        && Trigger::fire(conn, verdict.trigger, Some(fired_ms), tick.at_ms)?
    {
        tracing::warn!(trigger.id = %verdict.trigger, fired_ms, now_ms = tick.at_ms, "the clock was set back over a firing, which now counts from this tick on");
    }
    Ok(())
}

fn write(
    conn: &mut Connection,
    verdict: &Verdict,
    decision: &Decision,
    latest: Option<&Row>,
    tick: Tick,
) -> Result<()> {
    let new = new_row(verdict.trigger, decision, tick)?;
    let same = latest.filter(|row| {
        row.outcome == new.outcome
            && row.fingerprint == new.fingerprint
            && row.run_id.is_none()
            && tick.follows(row)
    });
    match same {
        Some(row) => Row::extend(conn, row.id, &new),
        None => Row::insert(conn, &new).map(drop),
    }
}

fn new_row(trigger: TriggerId, decision: &Decision, tick: Tick) -> Result<NewDecision> {
    let detail = serde_json::to_string(&decision.detail)
        .map_err(|cause| Error::internal("could not write down a decision", cause))?;
    Ok(NewDecision {
        trigger_id: trigger,
        outcome: decision.outcome.into(),
        reason: decision.reason.clone(),
        fingerprint: decision.fingerprint.clone(),
        detail,
        first_ms: tick.at_ms,
        last_ms: tick.at_ms,
        count: 1,
        run_id: None,
    })
}

/// `1 add-node (DeployEc2Node) on cluster`
fn steps(plan: &Plan) -> Vec<String> {
    plan.steps
        .iter()
        .map(|step| {
            format!(
                "{} {} ({}) on {}",
                step.position, step.action_name, step.kind, step.target
            )
        })
        .collect()
}
