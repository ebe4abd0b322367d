//! How series, nodes and triggers stand, from what is stored: pure, so that every page says the same.

use crate::models::decision::Decision;
use crate::models::trigger::Trigger;
use crate::models::{NodeState, Outcome};
use crate::samples::SeriesState;
use crate::triggers::decide::Detail;
use crate::triggers::gates::GateName;
use crate::web::view::{Badge, Status, duration};

/// Readings older than so many of their periods no longer count.
pub const STALE_PERIODS: i64 = 3;

/// How one series stands, and why in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Shape, word and colour.
    pub badge: Badge,
    /// Why.
    pub reason: String,
    /// Since when, where that is known, ms.
    pub since_ms: Option<i64>,
}

impl Standing {
    fn new(badge: Badge, reason: impl Into<String>) -> Self {
        Self {
            badge,
            reason: reason.into(),
            since_ms: None,
        }
    }

    fn since(self, since_ms: i64) -> Self {
        Self {
            since_ms: Some(since_ms),
            ..self
        }
    }
}

/// A series that is read every `period_ms`, watched by triggers of which the quickest waits `timing_ms`.
pub fn series(
    state: Option<&SeriesState>,
    period_ms: i64,
    timing_ms: Option<i64>,
    now_ms: i64,
) -> Standing {
    let Some(state) = state else {
        return Standing::new(Status::NoData.badge(), "not read yet");
    };
    if let Some(fault) = &state.error {
        let since_ms = state.last.map_or(fault.tick_ms, |last| last.tick_ms);
        return Standing::new(Status::NoData.says("error"), fault.message.clone()).since(since_ms);
    }
    let age_ms = now_ms.saturating_sub(state.tick_ms);
    if age_ms > STALE_PERIODS.saturating_mul(period_ms) {
        let reason = format!("last read {} ago", duration(age_ms / 1000));
        return Standing::new(Status::NoData.says("stale"), reason).since(state.tick_ms);
    }
    let Some(breach) = state.breach else {
        return Standing::new(Status::Ok.badge(), "within its threshold");
    };
    let lasted_ms = breach.last_ms.saturating_sub(breach.since_ms);
    let reason = format!(
        "over its threshold for {} ({} in a row)",
        duration(lasted_ms / 1000),
        breach.count
    );
    let long_enough = timing_ms.is_some_and(|timing_ms| lasted_ms >= timing_ms);
    let badge = if long_enough {
        Status::Firing.badge()
    } else {
        Status::Pending.says("breaching")
    };
    Standing::new(badge, reason).since(breach.since_ms)
}

/// A node with the statuses of its series; a held one is paused whatever it reads.
pub fn node(state: NodeState, held: bool, series: impl IntoIterator<Item = Status>) -> Badge {
    match state {
        NodeState::Provisioning | NodeState::Draining => state.into(),
        NodeState::InService if held => Status::Paused.says("held"),
        NodeState::InService => {
            let mut series = series.into_iter().peekable();
            if series.peek().is_none() {
                return Status::NoData.says("not watched");
            }
            match Status::worst(series) {
                Status::Pending => Status::Pending.says("breaching"),
                worst => worst.badge(),
            }
        }
    }
}

/// The recorded detail of a decision; one that cannot be read (an older version wrote it) is empty.
pub fn detail(decision: &Decision) -> Detail {
    serde_json::from_str(&decision.detail).unwrap_or_default()
}

/// A trigger, from the last decision about it.
pub fn trigger(
    trigger: &Trigger,
    latest: Option<&Decision>,
    tick_ms: i64,
    now_ms: i64,
) -> Standing {
    if !trigger.enabled {
        return Standing::new(
            Status::Paused.says("disabled"),
            "switched off; it never fires by itself",
        );
    }
    if trigger.timing_secs.is_none() {
        return Standing::new(
            Status::Paused.says("manual"),
            "has no timing; it runs when a person presses Run now",
        );
    }
    let Some(decision) = latest else {
        return Standing::new(Status::NoData.badge(), "not decided yet");
    };
    let silent_ms = now_ms.saturating_sub(decision.last_ms);
    if silent_ms > STALE_PERIODS.saturating_mul(tick_ms) {
        let reason = format!("not decided for {}", duration(silent_ms / 1000));
        return Standing::new(Status::NoData.badge(), reason).since(decision.last_ms);
    }
    Standing::new(decided(decision), decision.reason.clone()).since(decision.first_ms)
}

/// What a recent decision means for how its trigger stands.
fn decided(decision: &Decision) -> Badge {
    let refusal = || {
        let gates = detail(decision).gates;
        gates.into_iter().find(|gate| !gate.passed)
    };
    match decision.outcome {
        Outcome::Quiet if refused_by(decision, GateName::Hold) => Status::Paused.says("held"),
        Outcome::Quiet if refused_by(decision, GateName::Cooldown) => Status::Cooldown.badge(),
        Outcome::Quiet => Status::Ok.badge(),
        Outcome::Pending => Status::Pending.badge(),
        Outcome::Fired => Status::Firing.badge(),
        Outcome::DryRun => Status::Firing.says("dry run"),
        Outcome::Refused => match refusal().map(|gate| gate.name) {
            Some(GateName::Hold) => Status::Paused.says("held"),
            Some(GateName::Cooldown) => Status::Cooldown.badge(),
            Some(GateName::OpenRun | GateName::CapacityRun) => Status::Pending.says("running"),
            _ => Status::Firing.says("refused"),
        },
    }
}

fn refused_by(decision: &Decision, name: GateName) -> bool {
    let gates = detail(decision).gates;
    gates.iter().any(|gate| gate.name == name && !gate.passed)
}

/// Whether a gate would refuse the firing that is due.
pub fn would_be_refused(decision: &Decision) -> bool {
    detail(decision).gates.iter().any(|gate| !gate.passed)
}

/// When a pending trigger fires if nothing changes, ms.
pub fn due_ms(decision: &Decision) -> Option<i64> {
    let due_in_ms = detail(decision).due_in_ms?;
    Some(decision.last_ms.saturating_add(due_in_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{ClusterId, DecisionId, Mode, TriggerId, When};
    use crate::samples::{Breach, ReadingFault, Sample};

    const MINUTE: i64 = 60_000;
    const NOW: i64 = 100 * MINUTE;

    fn state() -> SeriesState {
        SeriesState {
            last: Some(Sample {
                tick_ms: NOW,
                value: 5.0,
            }),
            breach: None,
            error: None,
            measured_ms: NOW,
            took_ms: 3,
            tick_ms: NOW,
        }
    }

    fn breaching(minutes: i64) -> SeriesState {
        SeriesState {
            breach: Some(Breach {
                since_ms: NOW - minutes * MINUTE,
                count: u32::try_from(minutes + 1).unwrap(),
                last_ms: NOW,
            }),
            ..state()
        }
    }

    fn said(state: Option<&SeriesState>, now_ms: i64) -> (Status, String) {
        let standing = series(state, MINUTE, Some(5 * MINUTE), now_ms);
        (standing.badge.status, standing.reason)
    }

    #[test]
    fn a_series_says_how_it_stands_and_why() {
        assert_eq!(said(None, NOW), (Status::NoData, "not read yet".into()));
        assert_eq!(
            said(Some(&state()), NOW),
            (Status::Ok, "within its threshold".into())
        );
        assert_eq!(
            said(Some(&breaching(3)), NOW),
            (
                Status::Pending,
                "over its threshold for 3 min (4 in a row)".into()
            )
        );
        assert_eq!(said(Some(&breaching(5)), NOW).0, Status::Firing);
    }

    #[test]
    fn an_old_reading_or_an_error_is_no_data_whatever_it_read_before() {
        let (status, reason) = said(Some(&breaching(9)), NOW + 4 * MINUTE);
        assert_eq!(
            (status, reason.as_str()),
            (Status::NoData, "last read 4 min ago")
        );
        assert_eq!(said(Some(&state()), NOW + 3 * MINUTE).0, Status::Ok);
        let failed = SeriesState {
            error: Some(ReadingFault {
                tick_ms: NOW,
                message: "exit status 3".into(),
            }),
            ..breaching(9)
        };
        assert_eq!(
            said(Some(&failed), NOW),
            (Status::NoData, "exit status 3".into())
        );
    }

    #[test]
    fn a_node_shows_its_worst_series_unless_it_is_held_or_not_in_service() {
        let in_service =
            |held, series: &[Status]| node(NodeState::InService, held, series.to_vec());
        assert_eq!(
            in_service(false, &[Status::Ok, Status::Firing]).word,
            "firing"
        );
        assert_eq!(
            in_service(false, &[Status::Ok, Status::Pending]).word,
            "breaching"
        );
        assert_eq!(in_service(true, &[Status::Firing]).word, "held");
        assert_eq!(in_service(false, &[]).word, "not watched");
        assert_eq!(
            node(NodeState::Draining, false, [Status::Firing]).word,
            "draining"
        );
    }

    fn a_trigger() -> Trigger {
        Trigger {
            id: TriggerId(1),
            name: "web-hot".into(),
            cluster_id: ClusterId(1),
            timing_secs: Some(300),
            when_rule: When::Any,
            when_percent: None,
            cooldown_secs: 0,
            quorum_percent: 80,
            mode: Mode::Live,
            enabled: true,
            on_failure: None,
            last_fired_ms: None,
            updated_ms: 0,
        }
    }

    fn decision(outcome: Outcome, detail: &str) -> Decision {
        Decision {
            id: DecisionId(1),
            trigger_id: TriggerId(1),
            outcome,
            reason: "cpu on web03 has breached 3 of 5 min".into(),
            fingerprint: String::new(),
            detail: detail.into(),
            first_ms: NOW - MINUTE,
            last_ms: NOW,
            count: 2,
            run_id: None,
        }
    }

    fn refusal_of(gate: &str) -> Decision {
        let detail = format!(
            r#"{{"gates":[{{"name":"{gate}","passed":false,"reason":"no"}}],"inputs":[],"left_out":0,"nodes":{{"in_service":1,"held":0,"fresh":1,"qualifying":1}},"due_in_ms":null}}"#
        );
        decision(Outcome::Refused, &detail)
    }

    #[test]
    fn a_trigger_stands_as_its_last_decision_says() {
        let word = |decision: Option<&Decision>| {
            let standing = trigger(&a_trigger(), decision, MINUTE, NOW);
            standing.badge.word.into_owned()
        };
        assert_eq!(word(None), "no data");
        assert_eq!(word(Some(&decision(Outcome::Quiet, "{}"))), "ok");
        assert_eq!(word(Some(&decision(Outcome::Pending, ""))), "pending");
        assert_eq!(word(Some(&decision(Outcome::DryRun, ""))), "dry run");
        for (gate, said) in [
            ("hold", "held"),
            ("cooldown", "cooldown"),
            ("open_run", "running"),
            ("bounds", "refused"),
        ] {
            assert_eq!(word(Some(&refusal_of(gate))), said, "{gate}");
        }
    }

    #[test]
    fn a_trigger_without_a_recent_decision_is_not_green() {
        let old = decision(Outcome::Quiet, "{}");
        let standing = trigger(&a_trigger(), Some(&old), MINUTE, NOW + 10 * MINUTE);
        assert_eq!(standing.badge.status, Status::NoData);
        assert_eq!(standing.reason, "not decided for 10 min");
    }

    #[test]
    fn switched_off_and_manual_triggers_are_paused() {
        let off = Trigger {
            enabled: false,
            ..a_trigger()
        };
        assert_eq!(trigger(&off, None, MINUTE, NOW).badge.word, "disabled");
        let manual = Trigger {
            timing_secs: None,
            ..a_trigger()
        };
        assert_eq!(trigger(&manual, None, MINUTE, NOW).badge.word, "manual");
    }

    #[test]
    fn a_pending_decision_tells_when_it_is_due() {
        let mut pending = refusal_of("hold");
        pending.detail = pending.detail.replace("null", "120000");
        assert_eq!(due_ms(&pending), Some(NOW + 2 * MINUTE));
        assert_eq!(due_ms(&decision(Outcome::Pending, "not json")), None);
    }
}
