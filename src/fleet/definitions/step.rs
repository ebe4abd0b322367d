//! An action in a trigger: its name, its target, and what it waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Secs;
use crate::config::nearest;
use crate::error::{Error, Result};
use crate::fleet::ids::Ids;
use crate::fleet::reader::Object;
use crate::models::step::{NewStep, Step as Row};
use crate::models::{StepTarget, TriggerId};

const NAME_RULE: &str = "must have 1 to 100 letters, digits, dashes or underscores and begin with a letter or digit \
                         (no dots: {{ steps.<step>.<output> }} divides at them)";

/// An action in a trigger.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Step {
    /// Unique within the trigger; the action's name by default, with `-2` where that is taken.
    pub name: String,
    /// What it does.
    pub action: String,
    /// What it acts on: `cluster`, `lastnode` or `none`.
    pub target: StepTarget,
    /// Names of the steps it waits for; none = the one before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depends_on: Option<Vec<String>>,
    /// Whether a person must approve it before it begins; false by default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub approve: bool,
    /// How long a person has for that; 24h by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub approve_within: Option<Secs>,
}

/// How long a person has to approve a step that does not say.
const APPROVE_WITHIN: Secs = Secs(24 * 3_600);

impl Step {
    /// Reads a step; one without a name gets it from [`name_all`].
    pub(super) fn read(object: &mut Object<'_>) -> Self {
        let name = object
            .text_that("name", is_step_name, NAME_RULE)
            .unwrap_or_default();
        let action = object.required_name("action");
        let target: Option<StepTarget> = object.word("target");
        if target == Some(StepTarget::Node) {
            object.fault(
                "target",
                "\"node\" is for running a single action; a step takes cluster, lastnode or none",
            );
        }
        let approve = object.switch("approve").unwrap_or(false);
        let approve_within = object.duration("approve_within", 1).map(Secs);
        if approve_within.is_some() && !approve {
            object.fault(
                "approve_within",
                "belongs to `approve: true`, which is missing",
            );
        }
        let waits = object.has("depends_on");
        let depends_on = object.texts("depends_on", is_step_name, NAME_RULE);
        Self {
            name,
            action,
            target: object.need("target", target, StepTarget::None),
            depends_on: waits.then_some(depends_on),
            approve,
            approve_within: approve_within.filter(|within| *within != APPROVE_WITHIN),
        }
    }

    pub(in crate::fleet) fn from_row(row: Row, ids: &Ids) -> Result<Self> {
        let depends_on = row.depends_on.as_deref().map(serde_json::from_str);
        Ok(Self {
            action: ids.actions.name(row.action_id)?,
            target: row.target,
            depends_on: depends_on.transpose().map_err(|cause| {
                Error::internal(format!("step \"{}\" is damaged", row.name), cause)
            })?,
            name: row.name,
            approve: row.approval_secs.is_some(),
            approve_within: row
                .approval_secs
                .map(Secs)
                .filter(|within| *within != APPROVE_WITHIN),
        })
    }

    pub(in crate::fleet) fn row(
        &self,
        trigger_id: TriggerId,
        position: i32,
        ids: &Ids,
    ) -> Result<NewStep> {
        let depends_on = self.depends_on.clone();
        Ok(NewStep {
            trigger_id,
            position,
            name: self.name.clone(),
            action_id: ids.actions.id(&self.action)?,
            target: self.target,
            depends_on: depends_on.map(|names| serde_json::Value::from(names).to_string()),
            approval_secs: self
                .approve
                .then_some(self.approve_within.unwrap_or(APPROVE_WITHIN).0),
        })
    }
}

/// Gives every step without a name its action's, made unique; names that a person chose come first.
pub(super) fn name_all(mut steps: Vec<Step>) -> Vec<Step> {
    let mut taken: BTreeSet<String> = steps.iter().map(|step| step.name.clone()).collect();
    for step in &mut steps {
        if step.name.is_empty() {
            let base = step.action.replace('.', "-");
            let mut candidates = std::iter::once(base.clone())
                .chain((2..).map(|number: u32| format!("{base}-{number}")));
            step.name = candidates
                .find(|name| !taken.contains(name))
                .unwrap_or(base);
            taken.insert(step.name.clone());
        }
    }
    steps
}

/// More steps than a person can follow on a page.
const MAX_STEPS: usize = 100;

/// What is wrong between the steps of a trigger: (position, message).
pub(super) fn faults(steps: &[Step]) -> Vec<(usize, String)> {
    if steps.len() > MAX_STEPS {
        return vec![(
            MAX_STEPS,
            format!("is one too many: a trigger has up to {MAX_STEPS} steps"),
        )];
    }
    let mut found = Vec::new();
    let mut positions: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        if let Some(first) = positions.get(step.name.as_str()) {
            found.push((
                index,
                format!(
                    "is named \"{}\" like steps[{first}]; give it a name of its own",
                    step.name
                ),
            ));
        } else {
            positions.insert(&step.name, index);
        }
    }
    for (index, step) in steps.iter().enumerate() {
        for name in step.depends_on.iter().flatten() {
            if !positions.contains_key(name.as_str()) {
                let hint = nearest(name, positions.keys().copied())
                    .map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
                found.push((
                    index,
                    format!("depends_on names \"{name}\", which is no step of this trigger{hint}"),
                ));
            }
        }
    }
    if let Some((index, circle)) = circle(steps, &positions) {
        found.push((index, format!("depends_on goes in a circle: {circle}")));
    }
    found
}

/// The first circle of dependencies, counting the unwritten one on the step before.
fn circle(steps: &[Step], positions: &BTreeMap<&str, usize>) -> Option<(usize, String)> {
    let waits_for = |index: usize| -> Vec<usize> {
        match steps.get(index).map(|step| &step.depends_on) {
            Some(Some(names)) => names
                .iter()
                .filter_map(|name| positions.get(name.as_str()).copied())
                .collect(),
            _ => index.checked_sub(1).into_iter().collect(),
        }
    };
    let mut done = BTreeSet::new();
    // Takes away, again and again, the steps whose dependencies are gone; what is left waits for itself.
    while let Some(next) = (0..steps.len())
        .find(|index| !done.contains(index) && waits_for(*index).iter().all(|on| done.contains(on)))
    {
        done.insert(next);
    }
    let start = (0..steps.len()).find(|index| !done.contains(index))?;
    let mut trail = vec![start];
    let mut here = start;
    loop {
        here = waits_for(here).into_iter().find(|on| !done.contains(on))?;
        if let Some(from) = trail.iter().position(|seen| *seen == here) {
            let round = trail.get(from..).unwrap_or_default();
            let names = round
                .iter()
                .chain([&here])
                .filter_map(|index| steps.get(*index));
            let names: Vec<_> = names.map(|step| step.name.as_str()).collect();
            return Some((here, names.join(" -> ")));
        }
        trail.push(here);
    }
}

fn is_step_name(text: &str) -> bool {
    crate::fleet::names::is_name(text) && !text.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, action: &str, depends_on: Option<&[&str]>) -> Step {
        Step {
            name: name.into(),
            action: action.into(),
            target: StepTarget::None,
            depends_on: depends_on.map(|names| names.iter().map(|&name| name.into()).collect()),
            approve: false,
            approve_within: None,
        }
    }

    #[test]
    fn a_step_without_a_name_takes_its_actions_and_yields_to_chosen_ones() {
        let steps = name_all(vec![
            step("", "tell", None),
            step("", "add.node", None),
            step("", "tell", None),
            step("tell", "restart", None),
            step("tell-3", "restart", None),
            step("", "tell", None),
        ]);
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(
            names,
            ["tell-2", "add-node", "tell-4", "tell", "tell-3", "tell-5"]
        );
    }

    #[test]
    fn a_circle_is_shown_with_its_steps() {
        let steps = [
            step("a", "x", Some(&["c"])),
            step("b", "x", None),
            step("c", "x", Some(&["b"])),
        ];
        assert_eq!(
            faults(&steps),
            [(0, "depends_on goes in a circle: a -> c -> b -> a".into())]
        );
        let itself = [step("a", "x", Some(&["a"]))];
        assert_eq!(
            faults(&itself),
            [(0, "depends_on goes in a circle: a -> a".into())]
        );
    }

    #[test]
    fn waiting_for_a_later_step_is_fine_while_there_is_no_circle() {
        let steps = [
            step("a", "x", Some(&["b"])),
            step("b", "x", Some(&[])),
            step("c", "x", None),
        ];
        assert_eq!(faults(&steps), []);
    }

    #[test]
    fn a_name_twice_and_an_unknown_one_are_told_apart() {
        let steps = [
            step("deploy", "x", None),
            step("deploy", "x", None),
            step("tell", "x", Some(&["deplyo"])),
        ];
        let messages: Vec<_> = faults(&steps)
            .into_iter()
            .map(|(at, text)| format!("{at}: {text}"))
            .collect();
        assert_eq!(
            messages,
            [
                "1: is named \"deploy\" like steps[0]; give it a name of its own",
                "2: depends_on names \"deplyo\", which is no step of this trigger; did you mean \"deploy\"?",
            ]
        );
    }
}
