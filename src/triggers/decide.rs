//! The decision: facts in, outcome with its reason out. Pure, so that production, a preview and a backtest cannot differ.

use serde::{Deserialize, Serialize};

use super::facts::{Facts, When};
use super::gates::{self, Gate, GateName};
use super::reason;
use super::survey::{Found, Standing, Survey};

/// What a decision came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing breaches.
    Quiet,
    /// Something breaches, but not yet for long enough or on enough nodes.
    Pending,
    /// It would fire, but a gate refuses.
    Refused,
    /// It would fire, but the trigger only rehearses.
    DryRun,
    /// It fires.
    Fired,
}

/// One answer with all that led to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What it came to.
    pub outcome: Outcome,
    /// Why, in a sentence without its full stop.
    pub reason: String,
    /// Equal for decisions that tell the same story; ages and times are left out.
    pub fingerprint: String,
    /// Gates and inputs, as they are stored.
    pub detail: Detail,
}

/// What is stored of a decision beside its sentence.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Detail {
    /// Every gate in its order.
    pub gates: Vec<Gate>,
    /// The series that matter most, the leading ones first.
    pub inputs: Vec<Input>,
    /// Series that are not among the inputs, since they are too many.
    pub left_out: usize,
    /// How the nodes stand.
    pub nodes: Nodes,
    /// For a pending trigger: when it fires if the leading breach goes on.
    pub due_in_ms: Option<i64>,
    /// The steps that it starts, or would start.
    #[serde(default)]
    pub steps: Vec<String>,
}

/// Nodes by how they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Nodes {
    /// In service and not held.
    pub in_service: usize,
    /// Held, so that they do not count.
    pub held: usize,
    /// With a fresh sample of every counter.
    pub fresh: usize,
    /// With a series that qualifies.
    pub qualifying: usize,
}

/// One series as the decision saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Its counter.
    pub counter: String,
    /// Its node; none for the mean over the nodes.
    pub node: Option<String>,
    /// Its JVM profile.
    pub jvm: Option<String>,
    /// Where it stands.
    pub standing: Standing,
    /// Its last sample.
    pub value: Option<f64>,
    /// What the value must not do: `> 4`.
    pub rule: String,
    /// Shown beside the value.
    pub unit: Option<String>,
    /// Age of the last sample; negative when it lies ahead of the clock.
    pub age_ms: Option<i64>,
    /// How long the breach has lasted for this trigger.
    pub breached_ms: i64,
    /// Samples in the breach.
    pub breach_count: u32,
    /// Why the latest reading gave no value.
    pub error: Option<String>,
}

/// Decides.
pub fn decide(facts: &Facts<'_>) -> Decision {
    let survey = Survey::of(facts);
    let gates = gates::all(facts, &survey);
    let outcome = outcome(facts, &survey, &gates);
    Decision {
        outcome,
        reason: reason::sentence(facts, &survey, &gates, outcome),
        fingerprint: fingerprint(facts, &survey, &gates, outcome),
        detail: Detail {
            inputs: survey.inputs().map(|found| input(facts, found)).collect(),
            left_out: survey.left_out(),
            nodes: Nodes {
                in_service: survey.nodes,
                held: survey.held,
                fresh: survey.fresh,
                qualifying: survey.qualifying,
            },
            due_in_ms: due_in_ms(facts, &survey, outcome),
            steps: Vec::new(),
            gates,
        },
    }
}

fn outcome(facts: &Facts<'_>, survey: &Survey, gates: &[Gate]) -> Outcome {
    let refusal = refusal(gates);
    let breaching = survey.lead.is_some_and(|lead| lead.standing.is_fresh());
    if !breaching || facts.trigger.timing_ms.is_none() {
        Outcome::Quiet
    } else if !qualifies(facts, survey) {
        Outcome::Pending
    } else {
        match refusal.map(|gate| gate.name) {
            None => Outcome::Fired,
            // The mode is asked last: it refuses alone only when everything else would let the trigger fire.
            Some(GateName::Mode) => Outcome::DryRun,
            Some(_) => Outcome::Refused,
        }
    }
}

/// The first gate that refuses.
pub(super) fn refusal(gates: &[Gate]) -> Option<&Gate> {
    gates.iter().find(|gate| !gate.passed)
}

/// Whether enough series qualify, gates aside.
fn qualifies(facts: &Facts<'_>, survey: &Survey) -> bool {
    let nodes = survey.qualifying;
    match facts.trigger.when {
        When::Any => nodes > 0,
        When::All => nodes > 0 && nodes == survey.heard,
        When::Percent(percent) => nodes > 0 && gates::reaches(nodes, survey.nodes, percent),
        When::Average => survey
            .lead
            .is_some_and(|lead| lead.standing == Standing::Qualifies),
    }
}

/// When the leading breach will have lasted; unknown where more nodes are waited for.
fn due_in_ms(facts: &Facts<'_>, survey: &Survey, outcome: Outcome) -> Option<i64> {
    let lead = survey.lead.filter(|_| outcome == Outcome::Pending)?;
    let timing_ms = facts.trigger.timing_ms?;
    (lead.standing == Standing::Breaching).then(|| timing_ms.saturating_sub(lead.elapsed_ms).max(0))
}

fn fingerprint(facts: &Facts<'_>, survey: &Survey, gates: &[Gate], outcome: Outcome) -> String {
    let refusals: Vec<_> = gates
        .iter()
        .filter(|gate| !gate.passed)
        .map(|gate| gate.name.as_str())
        .collect();
    let subject = match (outcome, survey.lead) {
        (Outcome::Quiet, _) | (_, None) => reason::calm(facts, survey).as_str().to_owned(),
        (_, Some(lead)) => reason::name(facts, lead),
    };
    let enough = if qualifies(facts, survey) { "+" } else { "-" };
    let clock = if reason::clock_went_back(facts).is_some() {
        "clock"
    } else {
        ""
    };
    format!(
        "{outcome:?}|{}|{enough}{subject}|{clock}",
        refusals.join(",")
    )
}

fn input(facts: &Facts<'_>, found: Found) -> Input {
    let node = found.place.node.and_then(|at| facts.nodes.get(at));
    let series = facts.series(found.place);
    let counter = series.and_then(|series| facts.counter(series));
    Input {
        counter: counter.map_or_else(String::new, |counter| counter.name.to_owned()),
        node: node.map(|node| node.name.to_owned()),
        jvm: series.and_then(|series| series.jvm).map(str::to_owned),
        standing: found.standing,
        value: series
            .and_then(|series| series.last)
            .map(|(_, value)| value),
        rule: counter.map_or_else(String::new, |counter| counter.rule.to_string()),
        unit: counter.and_then(|counter| counter.unit).map(str::to_owned),
        age_ms: series
            .and_then(|series| series.last)
            .map(|(tick_ms, _)| facts.now_ms.saturating_sub(tick_ms)),
        breached_ms: found.elapsed_ms,
        breach_count: series
            .and_then(|series| series.breach)
            .map_or(0, |breach| breach.count),
        error: series.and_then(|series| series.error).map(str::to_owned),
    }
}
