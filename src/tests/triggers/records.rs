//! The rows of decisions, holds and firings.

use headroom::error::Error;
use headroom::models::audit::AuditEvent;
use headroom::models::decision::{Decision, NewDecision};
use headroom::models::hold::{self, Hold, Request};
use headroom::models::trigger::Trigger;
use headroom::models::{HoldScope, Outcome, TriggerId, Via};

use super::site::{Site, WEB, at, on_both};

on_both! {
    decisions_come_in_pages_newest_first
    the_latest_decision_of_every_trigger_is_found
    old_decisions_are_pruned_by_their_last_tick
    a_trigger_that_flaps_keeps_its_newest_stretches_and_those_with_a_run
    of_two_firings_one_wins
    a_hold_is_refused_with_every_fault
    a_hold_ends_by_itself_or_by_hand_and_once_only
}

fn decision(trigger: TriggerId, minute: i64) -> NewDecision {
    NewDecision {
        trigger_id: trigger,
        outcome: Outcome::Quiet,
        reason: format!("minute {minute}"),
        fingerprint: minute.to_string(),
        detail: "{}".into(),
        first_ms: at(minute),
        last_ms: at(minute),
        count: 1,
        run_id: None,
    }
}

async fn decisions_come_in_pages_newest_first(site: Site) {
    let id = site.trigger("web-hot").id;
    site.conn(|conn| {
        for minute in 0..5 {
            Decision::insert(conn, &decision(id, minute))?;
        }
        let reasons = |rows: &[Decision]| {
            rows.iter()
                .map(|row| row.reason.clone())
                .collect::<Vec<_>>()
        };
        let first = Decision::page(conn, Some(id), None, 2)?;
        assert_eq!(reasons(&first), ["minute 4", "minute 3"]);
        let next = Decision::page(conn, None, Some(first[1].id), 2)?;
        assert_eq!(reasons(&next), ["minute 2", "minute 1"]);
        assert_eq!(Decision::page(conn, Some(TriggerId(99)), None, 2)?, []);
        assert_eq!(Decision::find(conn, first[0].id)?, first[0]);
        Ok(())
    });
}

async fn the_latest_decision_of_every_trigger_is_found(site: Site) {
    let second = "  - { name: a-cold, cluster: web, steps: [{ action: tell, target: none }] }\n";
    let third = "  - { name: z-new, cluster: web, steps: [{ action: tell, target: none }] }\n";
    site.bench.apply(&format!("{WEB}{second}{third}"));
    let [hot, cold, new] = ["web-hot", "a-cold", "z-new"].map(|name| site.trigger(name).id);
    site.conn(|conn| {
        for (trigger, minute) in [(hot, 0), (cold, 1), (hot, 2), (cold, 3), (hot, 4)] {
            Decision::insert(conn, &decision(trigger, minute))?;
        }
        let latest = Decision::latest(conn)?;
        let latest: Vec<_> = latest
            .iter()
            .map(|(trigger, row)| (*trigger, row.as_ref().map(|row| row.last_ms)))
            .collect();
        let expected = [(hot, Some(at(4))), (cold, Some(at(3))), (new, None)];
        assert_eq!(latest, expected);
        let mut ticks = Decision::last_ticks(conn)?;
        ticks.sort();
        assert_eq!(ticks, expected);
        assert_eq!(Decision::latest_of(conn, hot)?.unwrap().last_ms, at(4));
        assert_eq!(Decision::latest_of(conn, new)?, None);
        Ok(())
    });
}

async fn old_decisions_are_pruned_by_their_last_tick(site: Site) {
    let id = site.trigger("web-hot").id;
    site.conn(|conn| {
        let long = Decision::insert(conn, &decision(id, 0))?;
        Decision::insert(conn, &decision(id, 1))?;
        Decision::extend(conn, long.id, &decision(id, 9))?;
        assert_eq!(Decision::prune(conn, at(5))?, 1);
        let left = Decision::page(conn, None, None, 9)?;
        assert_eq!(left.len(), 1);
        assert_eq!(
            (left[0].first_ms, left[0].last_ms, left[0].count),
            (at(0), at(9), 2)
        );
        assert_eq!(left[0].reason, "minute 9");
        Ok(())
    });
}

async fn a_trigger_that_flaps_keeps_its_newest_stretches_and_those_with_a_run(site: Site) {
    let calm = "  - { name: calm, cluster: web, steps: [{ action: tell, target: none }] }\n";
    site.bench
        .apply(&format!("{WEB}{calm}").replace("timing: 5m", "timing: 0"));
    let flapping = ["0X", "00"].repeat(4);
    site.ticks(0, &flapping).await;
    site.end_runs();
    site.ticks(8, &flapping).await;
    let before = site.told("web-hot");
    assert_eq!(before.len(), 16, "{before:?}");
    let fired = before
        .iter()
        .filter(|told| told.starts_with("fired"))
        .count();
    assert_eq!(fired, 2);
    assert_eq!(site.conn(|conn| Decision::trim(conn, 3)), 16 - 3 - fired);
    let mut expected: Vec<_> = before
        .iter()
        .filter(|told| told.starts_with("fired"))
        .collect();
    expected.extend(&before[13..]);
    assert_eq!(site.told("web-hot").iter().collect::<Vec<_>>(), expected);
    assert_eq!(site.conn(|conn| Decision::trim(conn, 3)), 0);
    assert_eq!(
        site.told("calm").len(),
        1,
        "a calm trigger keeps its one stretch"
    );
}

async fn of_two_firings_one_wins(site: Site) {
    let id = site.trigger("web-hot").id;
    site.conn(|conn| {
        assert!(Trigger::fire(conn, id, None, at(1))?);
        assert!(!Trigger::fire(conn, id, None, at(1))?, "it has fired since");
        assert!(!Trigger::fire(conn, id, Some(at(0)), at(2))?);
        assert!(Trigger::fire(conn, id, Some(at(1)), at(2))?);
        assert!(!Trigger::fire(conn, TriggerId(99), None, at(2))?);
        Ok(())
    });
    assert_eq!(site.trigger("web-hot").last_fired_ms, Some(at(2)));
}

fn request(scope: HoldScope, name: Option<&str>) -> Request {
    Request {
        scope,
        scope_name: name.map(str::to_owned),
        reason: " release 1.2 ".into(),
        author: "alice".into(),
        expires_ms: at(30),
    }
}

async fn a_hold_is_refused_with_every_fault(site: Site) {
    let faults = |request: &Request| {
        let refused = site
            .bench
            .db
            .write_blocking(|conn| hold::begin(conn, request, Via::Api, at(0)));
        match refused {
            Err(Error::Invalid(faults)) => {
                faults.iter().map(ToString::to_string).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    let empty = Request {
        reason: " ".into(),
        expires_ms: at(0),
        ..request(HoldScope::Cluster, None)
    };
    assert_eq!(
        faults(&empty),
        [
            "reason: is missing: say why, for whoever finds the hold at night",
            "expires: must lie ahead",
            "name: is missing: which cluster?",
        ]
    );
    assert_eq!(
        faults(&request(HoldScope::Everything, Some("web"))),
        ["name: must be left out: the hold is on everything"]
    );
    for (scope, what) in [
        (HoldScope::Cluster, "cluster"),
        (HoldScope::Trigger, "trigger"),
        (HoldScope::Node, "node"),
    ] {
        assert_eq!(
            faults(&request(scope, Some("nobody"))),
            [format!("name: {what} \"nobody\" does not exist")]
        );
    }
    site.conn(|conn| {
        assert_eq!(Hold::page(conn, None, 9)?, []);
        Ok(())
    });
}

async fn a_hold_ends_by_itself_or_by_hand_and_once_only(site: Site) {
    let begin = |minute| {
        let request = request(HoldScope::Node, Some("web01"));
        site.conn(|conn| hold::begin(conn, &request, Via::Api, at(minute)))
    };
    let (first, second) = (begin(0), begin(1));
    assert_eq!(
        (first.reason.as_str(), first.subject()),
        ("release 1.2", "node web01".into())
    );
    site.conn(|conn| {
        assert_eq!(Hold::active(conn, at(29))?.len(), 2);
        assert_eq!(Hold::active(conn, at(30))?, []);
        let lifted = hold::lift(conn, first.id, "bob", Via::Page, at(5))?;
        assert_eq!(
            (lifted.lifted_ms, lifted.lifted_by.as_deref()),
            (Some(at(5)), Some("bob"))
        );
        assert!(!lifted.is_active(at(5)) && second.is_active(at(5)));
        assert_eq!(Hold::active(conn, at(5))?, std::slice::from_ref(&second));
        assert_eq!(Hold::page(conn, Some(second.id), 9)?, [lifted]);
        Ok(())
    });
    let again = |id, minute| {
        let lifted = site
            .bench
            .db
            .write_blocking(|conn| hold::lift(conn, id, "eve", Via::Page, at(minute)));
        lifted.unwrap_err().to_string()
    };
    assert_eq!(
        again(first.id, 6),
        format!("hold {} was lifted by bob already", first.id)
    );
    assert_eq!(
        again(second.id, 30),
        format!("hold {} has expired already", second.id)
    );
    assert_eq!(
        again(headroom::models::HoldId(99), 6),
        "hold 99 does not exist"
    );
    let events = site.conn(|conn| AuditEvent::page(conn, None, None, 3));
    let events: Vec<_> = events
        .iter()
        .map(|event| format!("{} {} {}", event.actor, event.verb, event.object))
        .collect();
    assert_eq!(
        events,
        [
            "bob lift hold node web01",
            "alice hold node web01",
            "alice hold node web01"
        ]
    );
}
