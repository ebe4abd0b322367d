//! What is written of a tick: decisions, run-length, and for a firing the run in the same transaction.
//!
//! Whatever a decision was made from may have changed until its transaction begins, so everything that could let two firings
//! through is asked again inside it: of two evaluators of one tick, of a firing and a person, one wins.

use std::collections::HashMap;

use super::snapshot::Watched;
use crate::actions::plan::{Plan, plan_trigger};
use crate::actions::{KINDS, breaker};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::decision::{Decision as Row, NewDecision};
use crate::models::hold::Hold;
use crate::models::run::Run;
use crate::models::trigger::Trigger;
use crate::models::{self, HoldScope, Mode, Origin, RunId, TriggerId};
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
    pub fn is_written(self, last_ms: i64) -> bool {
        let ahead_ms = last_ms.saturating_sub(self.at_ms);
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

/// Writes the decisions that start nothing; what those came to that were written.
pub(super) fn record(
    conn: &mut Connection,
    verdicts: &[Verdict],
    tick: Tick,
) -> Result<Vec<models::Outcome>> {
    let mut written = Vec::new();
    Row::lock_ledger(conn)?;
    let latest: HashMap<_, _> = Row::latest(conn)?.into_iter().collect();
    for verdict in verdicts {
        // A trigger that was deleted meanwhile has no ledger any more.
        let Some(latest) = latest.get(&verdict.trigger) else {
            continue;
        };
        if latest
            .as_ref()
            .is_some_and(|row| tick.is_written(row.last_ms))
        {
            continue;
        }
        forgive_future_firing(conn, verdict, tick)?;
        let mut decision = verdict.decision.clone();
        if decision.outcome == Outcome::DryRun {
            rehearse(conn, verdict, &mut decision, tick)?;
        }
        write(conn, verdict, &decision, latest.as_ref(), tick)?;
        written.push(decision.outcome.into());
    }
    Ok(written)
}

/// Writes a firing with its run, or why it came to nothing at the last moment; the run, if it is to be woken.
pub(super) fn fire(conn: &mut Connection, verdict: &Verdict, tick: Tick) -> Result<Option<RunId>> {
    Row::lock_ledger(conn)?;
    let latest = Row::latest_of(conn, verdict.trigger)?;
    if latest
        .as_ref()
        .is_some_and(|row| tick.is_written(row.last_ms))
    {
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
        HoldScope::Everything | HoldScope::Stop => true,
        HoldScope::Cluster => hold.scope_name.as_ref() == Some(&verdict.cluster_name),
        HoldScope::Trigger => hold.scope_name.as_ref() == Some(&trigger.name),
        HoldScope::Node => false,
    });
    if let Some(stop) = holds.iter().find(|hold| hold.scope == HoldScope::Stop) {
        let reason = format!("all acting has just been {}", stop.stopped());
        return Ok(Some((GateName::Hold, reason)));
    }
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
        .find(|run| run.changes_capacity)
    {
        let reason = format!(
            "run {}, which changes the capacity of {}, has just been started",
            run.id, verdict.cluster_name
        );
        return Ok(Some((GateName::CapacityRun, reason)));
    }
    late_launch(conn, verdict, trigger, tick)
}

/// Whether the cluster's breaker has opened since the decision, if the trigger launches.
fn late_launch(
    conn: &mut Connection,
    verdict: &Verdict,
    trigger: &Trigger,
    tick: Tick,
) -> Result<Option<(GateName, String)>> {
    let by = &verdict.cluster_name;
    let plan = match plan_trigger(conn, trigger, Origin::Firing, by, "", tick.at_ms) {
        Ok(plan) => plan,
        // What cannot be planned is told by whoever plans it.
        Err(Error::Invalid(_) | Error::Conflict(_) | Error::NotFound(_)) => return Ok(None),
        Err(cause) => return Err(cause),
    };
    if !plan.launches() {
        return Ok(None);
    }
    let refusal = breaker::refusal(conn, KINDS, trigger.cluster_id, tick.at_ms)?;
    Ok(refusal.map(|why| (GateName::Breaker, why)))
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

#[cfg(test)]
mod tests {
    use super::super::testing::Home;
    use super::*;
    use crate::db::Db;
    use crate::models::breaker::Breaker;
    use crate::models::hold::{self, Request};
    use crate::models::run::NewRun;
    use crate::models::trigger::NewTrigger;
    use crate::models::{BreakerState, OnFailure, Outcome as Word, RunState, Via};
    use crate::triggers::decide::{Detail, Outcome};
    use crate::triggers::gates::Gate;

    const TICK: Tick = Tick {
        at_ms: 600_000,
        length_ms: 60_000,
    };

    fn verdict(home: &Home, outcome: Outcome) -> Verdict {
        let gate = |name| Gate {
            name,
            passed: true,
            reason: "as it was".into(),
        };
        let names = [GateName::Enabled, GateName::Hold, GateName::OpenRun];
        let names = names
            .into_iter()
            .chain([GateName::CapacityRun, GateName::Breaker]);
        let gates = names.map(gate);
        Verdict {
            trigger: home.trigger.id,
            cluster_name: "web".into(),
            last_fired_ms: None,
            decision: Decision {
                outcome,
                reason: "load1 on web01 is > 4".into(),
                fingerprint: "hot".into(),
                detail: Detail {
                    gates: gates.collect(),
                    ..Detail::default()
                },
            },
        }
    }

    fn fire_on(db: &Db, verdict: &Verdict) -> Option<RunId> {
        db.write_blocking(|conn| fire(conn, verdict, TICK)).unwrap()
    }

    fn ledger(home: &Home) -> Vec<Row> {
        let conn = &mut *home.db.connection().unwrap();
        Row::page(conn, Some(home.trigger.id), None, 99).unwrap()
    }

    /// A firing is decided, then `meanwhile` happens, then it is written.
    #[track_caller]
    fn refused(meanwhile: impl FnOnce(&mut Connection, &Home), gate: GateName, reason: &str) {
        let home = Home::new();
        let verdict = verdict(&home, Outcome::Fired);
        meanwhile(&mut home.db.connection().unwrap(), &home);
        assert_eq!(fire_on(&home.db, &verdict), None);
        let row = ledger(&home).remove(0);
        assert_eq!(row.outcome, Word::Refused);
        assert_eq!(row.reason, format!("load1 on web01 is > 4, but {reason}"));
        assert_eq!(row.run_id, None);
        let detail: Detail = serde_json::from_str(&row.detail).unwrap();
        let refusing: Vec<_> = detail.gates.iter().filter(|gate| !gate.passed).collect();
        assert_eq!(refusing.len(), 1);
        assert_eq!(
            (refusing[0].name, refusing[0].reason.as_str()),
            (gate, reason)
        );
        let conn = &mut *home.db.connection().unwrap();
        let trigger = Trigger::find(conn, home.trigger.id).unwrap();
        assert_eq!(trigger.last_fired_ms, None, "it did not fire");
    }

    fn open_run(home: &Home, trigger: Option<TriggerId>, changes_capacity: bool) -> NewRun {
        NewRun {
            trigger_id: trigger,
            trigger_name: None,
            cluster_id: Some(home.trigger.cluster_id),
            cluster_name: None,
            origin: Origin::Trigger,
            requested_by: "alice".into(),
            reason: "by hand".into(),
            state: RunState::Running,
            on_failure: OnFailure::Stop,
            changes_capacity,
            claimed_by: None,
            claimed_until_ms: None,
            cancel_requested_by: None,
            created_ms: 0,
            started_ms: None,
            finished_ms: None,
        }
    }

    #[test]
    fn what_comes_in_the_way_after_the_decision_refuses_the_firing() {
        let disable = |conn: &mut Connection, home: &Home| {
            let changed = NewTrigger {
                enabled: false,
                ..home.new_trigger("web-hot")
            };
            Trigger::update(conn, home.trigger.id, &changed).unwrap();
        };
        let reason = "the trigger was changed while it was decided";
        refused(disable, GateName::Enabled, reason);

        let hold = |conn: &mut Connection, _: &Home| {
            let request = Request {
                scope: HoldScope::Cluster,
                scope_name: Some("web".into()),
                reason: "release".into(),
                author: "alice".into(),
                expires_ms: 999_999,
            };
            hold::begin(conn, &request, Via::Page, 0).unwrap();
        };
        let reason = "cluster web has just been held by alice: release";
        refused(hold, GateName::Hold, reason);

        let stop = |conn: &mut Connection, _: &Home| {
            let request = Request {
                scope: HoldScope::Stop,
                scope_name: None,
                reason: "wrong machines are going".into(),
                author: "alice".into(),
                expires_ms: 999_999,
            };
            hold::begin(conn, &request, Via::Page, 0).unwrap();
        };
        let reason = "all acting has just been stopped by alice: wrong machines are going";
        refused(stop, GateName::Hold, reason);

        let breaks = |conn: &mut Connection, home: &Home| {
            use crate::schema::actions;
            use diesel::prelude::*;
            diesel::update(actions::table)
                .set(actions::kind.eq("DeployEc2Node"))
                .execute(conn)
                .unwrap();
            let open = Breaker {
                state: BreakerState::Open,
                failures: 3,
                reason: "no capacity".into(),
                opened_ms: Some(TICK.at_ms),
                ..Breaker::closed(home.trigger.cluster_id)
            };
            open.keep(conn).unwrap();
        };
        let reason = "the breaker of web is open since 00:10 UTC after 3 launches in a row that gave no node (no capacity); one may try at 00:40 UTC, or a person closes it";
        refused(breaks, GateName::Breaker, reason);

        let by_hand = |conn: &mut Connection, home: &Home| {
            Run::insert(conn, &open_run(home, Some(home.trigger.id), false)).unwrap();
        };
        let reason = "its run 1 has just been started by alice";
        refused(by_hand, GateName::OpenRun, reason);

        let growing = |conn: &mut Connection, home: &Home| {
            Run::insert(conn, &open_run(home, None, true)).unwrap();
        };
        let reason = "run 1, which changes the capacity of web, has just been started";
        refused(growing, GateName::CapacityRun, reason);
    }

    #[test]
    fn what_does_not_concern_the_trigger_lets_it_fire() {
        let home = Home::new();
        let conn = &mut *home.db.connection().unwrap();
        Run::insert(conn, &open_run(&home, None, false)).unwrap();
        let request = Request {
            scope: HoldScope::Node,
            scope_name: Some("web01".into()),
            reason: "disk".into(),
            author: "alice".into(),
            expires_ms: 999_999,
        };
        hold::begin(conn, &request, Via::Page, 0).unwrap();
        let run = fire_on(&home.db, &verdict(&home, Outcome::Fired));
        let row = ledger(&home).remove(0);
        assert_eq!((row.outcome, row.run_id), (Word::Fired, run));
        assert!(run.is_some());
    }

    #[test]
    fn a_firing_that_another_evaluator_wrote_comes_to_nothing() {
        let home = Home::new();
        let fired = verdict(&home, Outcome::Fired);
        assert!(fire_on(&home.db, &fired).is_some());
        assert_eq!(fire_on(&home.db, &fired), None, "the tick is written");

        // Without the row the trigger's own memory decides.
        let home = Home::new();
        let conn = &mut *home.db.connection().unwrap();
        assert!(Trigger::fire(conn, home.trigger.id, None, TICK.at_ms).unwrap());
        assert_eq!(fire_on(&home.db, &verdict(&home, Outcome::Fired)), None);
        assert_eq!(Run::open(conn).unwrap(), []);
    }

    #[test]
    fn a_trigger_that_was_deleted_after_the_decision_leaves_the_others_alone() {
        let home = Home::new();
        let gone = home.add_trigger("gone");
        let of_gone = |outcome| Verdict {
            trigger: gone.id,
            ..verdict(&home, outcome)
        };
        let (fired, quiet) = (of_gone(Outcome::Fired), of_gone(Outcome::Quiet));
        Trigger::delete(&mut home.db.connection().unwrap(), gone.id).unwrap();
        assert_eq!(fire_on(&home.db, &fired), None);
        let both = [quiet, verdict(&home, Outcome::Quiet)];
        home.db
            .write_blocking(|conn| record(conn, &both, TICK))
            .unwrap();
        assert_eq!(ledger(&home).len(), 1);
    }

    #[test]
    fn a_firing_that_fails_half_way_leaves_neither_run_nor_decision() {
        let home = Home::new();
        let verdict = verdict(&home, Outcome::Fired);
        let failed = home.db.write_blocking(|conn| {
            fire(conn, &verdict, TICK)?;
            Err::<(), _>(Error::Internal("the disk is full".into()))
        });
        assert!(failed.is_err());
        let conn = &mut *home.db.connection().unwrap();
        assert_eq!(Run::open(conn).unwrap(), []);
        assert_eq!(ledger(&home), []);
        let trigger = Trigger::find(conn, home.trigger.id).unwrap();
        assert_eq!(trigger.last_fired_ms, None);
    }
}
