//! What is about to happen: triggers that will fire if nothing changes, runs under way, cooldowns that end.

use crate::models::trigger::Trigger;
use crate::models::{Outcome, RunState, StepState};
use crate::web::pages::now::{Gathered, Item};
use crate::web::pages::standing;
use crate::web::view::{Badge, Status, relative};

/// What is under way or due, the next first.
pub fn items(gathered: &Gathered) -> Vec<Item> {
    let mut found: Vec<Item> = runs(gathered);
    let mut due: Vec<Item> = gathered
        .inventory
        .triggers
        .iter()
        .filter_map(|trigger| pending(gathered, trigger).or_else(|| cooling(gathered, trigger)))
        .collect();
    due.sort_by_key(|item| item.at_ms.unwrap_or(i64::MAX));
    found.append(&mut due);
    found
}

fn runs(gathered: &Gathered) -> Vec<Item> {
    let open = gathered
        .open
        .iter()
        .filter(|run| run.state != RunState::Stuck);
    open.map(|run| {
        let steps: Vec<_> = gathered
            .steps
            .iter()
            .filter(|step| step.run_id == run.id)
            .collect();
        let now = steps
            .iter()
            .find(|step| matches!(step.state, StepState::Started | StepState::Undoing));
        let awaited = steps.iter().find(|step| step.waits_until_ms().is_some());
        let text = match now.or(awaited) {
            Some(step) if step.state == StepState::Planned => {
                format!(
                    "step {} of {} waits for approval: {}",
                    step.position,
                    steps.len(),
                    step.name
                )
            }
            Some(step) => format!("step {} of {}: {}", step.position, steps.len(), step.name),
            None => "waits for a worker".to_owned(),
        };
        let about = run.trigger_name.as_ref().or(run.cluster_name.as_ref());
        let about = about.map_or_else(String::new, |name| format!(" of {name}"));
        Item {
            badge: Badge::from(run.state),
            subject: format!("Run {}{about}", run.id),
            href: format!("/runs/{}", run.id),
            text,
            at_ms: Some(run.started_ms.unwrap_or(run.created_ms)),
        }
    })
    .collect()
}

fn pending(gathered: &Gathered, trigger: &Trigger) -> Option<Item> {
    let latest = gathered.latest.get(&trigger.id)?;
    let stands = standing::trigger(trigger, Some(latest), gathered.tick_ms, gathered.now_ms);
    if latest.outcome != Outcome::Pending || stands.badge.status != Status::Pending {
        return None;
    }
    let due_ms = standing::due_ms(latest);
    let text = match due_ms {
        Some(due_ms) if due_ms > gathered.now_ms => {
            let verb = if standing::would_be_refused(latest) {
                "is due"
            } else {
                "fires"
            };
            let when = relative(due_ms, gathered.now_ms);
            format!("{verb} {when}: {}", latest.reason)
        }
        _ => latest.reason.clone(),
    };
    Some(Item {
        badge: stands.badge,
        subject: format!("Trigger {}", trigger.name),
        href: format!("/triggers/{}", trigger.name),
        text,
        at_ms: Some(due_ms.unwrap_or(latest.first_ms)),
    })
}

fn cooling(gathered: &Gathered, trigger: &Trigger) -> Option<Item> {
    let until_ms = trigger
        .last_fired_ms?
        .saturating_add(trigger.cooldown_secs.saturating_mul(1000));
    (trigger.enabled && until_ms > gathered.now_ms).then(|| Item {
        badge: Status::Cooldown.badge(),
        subject: format!("Trigger {}", trigger.name),
        href: format!("/triggers/{}", trigger.name),
        text: format!(
            "fired {}; may fire again {}",
            relative(trigger.last_fired_ms.unwrap_or_default(), gathered.now_ms),
            relative(until_ms, gathered.now_ms)
        ),
        at_ms: Some(until_ms),
    })
}
