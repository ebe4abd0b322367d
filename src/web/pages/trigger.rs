//! `/triggers/{name}`: what it watches, what it does, and for every evaluation why it fired or did not.

use actix_web::web::{Path, Query};
use askama::Template;
use serde::Deserialize;

use crate::actions;
use crate::models::action::Action;
use crate::models::decision::Decision;
use crate::models::run::Run;
use crate::models::step::Step;
use crate::models::trigger::Trigger;
use crate::models::{DecisionId, HoldScope, Mode, OnFailure, RunId, StepTarget};
use crate::triggers::decide::{Detail, Input};
use crate::triggers::gates::Gate;
use crate::triggers::survey;
use crate::web::error::Answer;
use crate::web::pages::holds::HoldLine;
use crate::web::pages::inventory::Inventory;
use crate::web::pages::runs::RunLine;
use crate::web::pages::standing::{self, Standing};
use crate::web::pages::{Layout, Nav, Visit, triggers};
use crate::web::view::{Badge, Moment, Status, bound, count, duration, value};

/// Rows of the ledger on one page.
const LEDGER: i64 = 20;
/// Inputs shown of a decision without anything notable.
const CALM_SHOWN: usize = 5;
/// Runs shown.
const RUNS: i64 = 5;

/// A counter as the trigger watches it.
struct CounterLine {
    name: String,
    bound: String,
}

/// A step as it is defined.
struct StepLine {
    position: i32,
    name: String,
    action: String,
    kind: String,
    on: String,
    summary: String,
    waits: String,
    undo: &'static str,
}

/// One row of the ledger.
struct DecisionLine {
    id: DecisionId,
    badge: Badge,
    reason: String,
    first: Moment,
    last: Moment,
    count: String,
    run: Option<RunId>,
    detail: Detail,
}

impl DecisionLine {
    fn of(decision: Decision, visit: &Visit) -> Self {
        Self {
            id: decision.id,
            badge: decision.outcome.into(),
            first: visit.moment(decision.first_ms),
            last: visit.moment(decision.last_ms),
            count: count(decision.count),
            run: decision.run_id,
            detail: standing::detail(&decision),
            reason: decision.reason,
        }
    }

    /// The inputs that were not simply fresh and within their threshold; of a calm decision, the first few.
    fn worth_showing(detail: &Detail) -> Vec<&Input> {
        let inputs = || detail.inputs.iter();
        let notable: Vec<&Input> = inputs()
            .filter(|input| input.standing != survey::Standing::Within)
            .collect();
        if notable.is_empty() {
            return inputs().take(CALM_SHOWN).collect();
        }
        notable
    }

    /// How many inputs are left unsaid.
    fn calm(detail: &Detail) -> usize {
        detail.inputs.len() - Self::worth_showing(detail).len()
    }

    /// A gate as shape, word and colour.
    fn gate(gate: &Gate) -> Badge {
        if gate.passed {
            Status::Ok.says("passed")
        } else {
            Status::Paused.says("refused")
        }
    }

    /// The name of a gate as a person says it.
    fn gate_name(gate: &Gate) -> String {
        gate.name.as_str().replace('_', " ")
    }

    /// How an input stood.
    fn standing(input: &Input) -> Badge {
        use survey::Standing;
        match input.standing {
            Standing::Qualifies => Status::Firing.says("qualifies"),
            Standing::Breaching => Status::Pending.says("breaching"),
            Standing::StaleBreach => Status::NoData.says("stale breach"),
            Standing::Ahead => Status::NoData.says("ahead of the clock"),
            Standing::NoSample => Status::NoData.says("no sample"),
            Standing::Stale => Status::NoData.says("stale"),
            Standing::Within => Status::Ok.says("within"),
            Standing::Held => Status::Paused.says("held"),
        }
    }

    /// What an input is of: `cpu on web03`.
    fn subject(input: &Input) -> String {
        let jvm = input
            .jvm
            .as_ref()
            .map_or_else(String::new, |it| format!("/{it}"));
        match &input.node {
            Some(node) => format!("{} on {node}{jvm}", input.counter),
            None => format!("{} on average", input.counter),
        }
    }

    /// The value of an input with its unit.
    fn value(input: &Input) -> String {
        input
            .value
            .map_or_else(|| "–".to_owned(), |it| value(it, input.unit.as_deref()))
    }

    /// How old an input was.
    fn age(input: &Input) -> String {
        input.age_ms.map_or_else(String::new, |age_ms| {
            format!("{} old", duration(age_ms / 1000))
        })
    }

    /// How long an input had breached.
    fn breached(input: &Input) -> String {
        match input.breach_count {
            0 => String::new(),
            times => format!("{} ({times} in a row)", duration(input.breached_ms / 1000)),
        }
    }
}

#[derive(Template)]
#[template(path = "trigger.html")]
struct TriggerPage {
    layout: Layout,
    trigger: Trigger,
    cluster: String,
    standing: Standing,
    rule: String,
    cooldown: String,
    live: bool,
    on_failure: &'static str,
    fired: Option<Moment>,
    counters: Vec<CounterLine>,
    steps: Vec<StepLine>,
    latest: Option<DecisionLine>,
    ledger: Vec<DecisionLine>,
    older: Option<String>,
    newest: Option<String>,
    holds: Vec<HoldLine>,
    runs: Vec<RunLine>,
}

/// What the address asks for.
#[derive(Deserialize)]
pub struct Wish {
    before: Option<i64>,
}

struct Found {
    inventory: Inventory,
    trigger: Trigger,
    steps: Vec<Step>,
    actions: Vec<Action>,
    latest: Option<Decision>,
    ledger: Vec<Decision>,
    runs: Vec<Run>,
}

/// `GET /triggers/{name}`.
///
/// # Errors
/// There is no such trigger, or the database fails.
pub async fn show(visit: Visit, name: Path<String>, wish: Query<Wish>) -> Answer {
    let layout = visit.layout(Nav::Triggers, name.as_str()).await?;
    let before = wish.before.map(DecisionId);
    let found = find(&visit, name.into_inner(), before).await?;
    let Found {
        inventory,
        trigger,
        latest,
        mut ledger,
        ..
    } = found;
    let size = usize::try_from(LEDGER).unwrap_or(usize::MAX);
    let more = ledger.len() > size;
    ledger.truncate(size);
    let path = format!("/triggers/{}", trigger.name);
    let last = ledger.last().filter(|_| more);
    let older = last.map(|last| format!("{path}?before={}#decisions", last.id));
    let cluster = inventory.cluster_name(trigger.cluster_id).to_owned();
    let holds = inventory.holds_on(HoldScope::Trigger, &trigger.name, &cluster);
    visit.show(&TriggerPage {
        standing: standing::trigger(&trigger, latest.as_ref(), visit.tick_ms(), visit.now_ms),
        rule: triggers::rule(&inventory, &trigger),
        cooldown: cooldown(&trigger),
        live: trigger.mode == Mode::Live,
        on_failure: on_failure(trigger.on_failure),
        fired: trigger.last_fired_ms.map(|at_ms| visit.moment(at_ms)),
        counters: inventory
            .counters_of(trigger.id)
            .map(|counter| CounterLine {
                name: counter.name.clone(),
                bound: bound(
                    counter.comparison,
                    counter.threshold,
                    counter.unit.as_deref(),
                ),
            })
            .collect(),
        steps: step_lines(&found.steps, &found.actions),
        latest: latest.map(|decision| DecisionLine::of(decision, &visit)),
        ledger: ledger
            .into_iter()
            .map(|decision| DecisionLine::of(decision, &visit))
            .collect(),
        older,
        newest: before.map(|_| path),
        holds: holds
            .into_iter()
            .map(|hold| HoldLine::of(hold, visit.now_ms))
            .collect(),
        runs: found
            .runs
            .iter()
            .map(|run| RunLine::of(run, visit.now_ms))
            .collect(),
        cluster,
        trigger,
        layout,
    })
}

async fn find(
    visit: &Visit,
    name: String,
    before: Option<DecisionId>,
) -> crate::error::Result<Found> {
    let now_ms = visit.now_ms;
    visit
        .app
        .db
        .read(move |conn| {
            let trigger = Trigger::by_name(conn, &name)?;
            Ok(Found {
                inventory: Inventory::load(conn, now_ms)?,
                steps: Step::of_trigger(conn, trigger.id)?,
                actions: Action::all(conn)?,
                latest: Decision::latest_of(conn, trigger.id)?,
                ledger: Decision::page(conn, Some(trigger.id), before, LEDGER + 1)?,
                runs: Run::of_trigger(conn, trigger.id, RUNS)?,
                trigger,
            })
        })
        .await
}

fn cooldown(trigger: &Trigger) -> String {
    match trigger.cooldown_secs {
        0 => "none".to_owned(),
        secs => duration(secs),
    }
}

const fn on_failure(wish: Option<OnFailure>) -> &'static str {
    match wish {
        Some(OnFailure::Undo) => "finished steps are undone, in reverse order",
        Some(OnFailure::Stop) => "everything stays as it is",
        None => "runs that launch are undone, others stay as they are",
    }
}

fn step_lines(steps: &[Step], known: &[Action]) -> Vec<StepLine> {
    let line = |step: &Step| {
        let action = known.iter().find(|action| action.id == step.action_id)?;
        Some(StepLine {
            position: step.position,
            name: step.name.clone(),
            action: action.name.clone(),
            kind: action.kind.clone(),
            on: on(step.target, None),
            summary: actions::summary(&action.kind, &action.settings),
            waits: waits(step) + &approval(step),
            undo: actions::undo(&action.kind).unwrap_or("cannot be undone"),
        })
    };
    steps.iter().filter_map(line).collect()
}

/// What a step acts on, in words that follow its kind: ` on the cluster web`; nothing for a step that acts on nothing.
pub fn on(target: StepTarget, name: Option<&str>) -> String {
    let what = match target {
        StepTarget::Cluster => " on the cluster",
        StepTarget::LastNode => " on its newest node",
        StepTarget::Node => " on the node",
        StepTarget::None => return String::new(),
    };
    match name {
        Some(name) => format!("{what} {name}"),
        None => what.to_owned(),
    }
}

/// Whom a step waits for, in words that follow what it waits for.
fn approval(step: &Step) -> String {
    step.approval_secs.map_or_else(String::new, |secs| {
        format!(" · needs approval within {}", duration(secs))
    })
}

/// What a step waits for, in words.
fn waits(step: &Step) -> String {
    let named = step.depends_on.as_deref();
    let named: Option<Vec<String>> = named.and_then(|json| serde_json::from_str(json).ok());
    match named {
        None if step.position == 1 => "nothing".to_owned(),
        None => "the step before".to_owned(),
        Some(names) if names.is_empty() => "nothing".to_owned(),
        Some(names) => names.join(", "),
    }
}
