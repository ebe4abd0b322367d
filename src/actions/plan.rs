//! From a trigger's steps or a single action to the rows of a run. The same for a firing, a page, the API and the command line.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::actions::{self, refuse_target};
use crate::config::nearest;
use crate::db::Connection;
use crate::error::{Error, Fault, Result};
use crate::models::action::Action;
use crate::models::cluster::Cluster;
use crate::models::node::Node;
use crate::models::run::{NewRun, Run};
use crate::models::step::Step;
use crate::models::step_run::{NewStepRun, StepRun};
use crate::models::trigger::Trigger;
use crate::models::{OnFailure, Origin, RunId, RunState, StepState, StepTarget};

/// A run that has not been inserted yet: what would be done, in which order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The run.
    pub run: NewRun,
    /// Its steps, in their order; their run is set when they are inserted.
    pub steps: Vec<NewStepRun>,
}

impl Plan {
    /// Whether a step launches a node.
    pub fn launches(&self) -> bool {
        let mut kinds = self.steps.iter().map(|step| step.kind.as_str());
        kinds.any(|kind| actions::capacity_change(kind) > 0)
    }

    /// Inserts the run and its steps; call it in the transaction that gives the reason. Whoever called wakes the queue once it is committed.
    ///
    /// # Errors
    /// The database fails.
    pub fn insert(&self, conn: &mut Connection) -> Result<(Run, Vec<StepRun>)> {
        let run = Run::insert(conn, &self.run)?;
        let mut steps = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let step = NewStepRun {
                run_id: run.id,
                ..step.clone()
            };
            steps.push(StepRun::insert(conn, &step)?);
        }
        Ok((run, steps))
    }
}

/// What a single action is run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunTarget {
    /// A cluster, by name.
    Cluster(String),
    /// A node, by name.
    Node(String),
    /// Nothing.
    None,
}

impl FromStr for RunTarget {
    type Err = String;

    /// Reads `cluster:web`, `node:web01` or `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("cluster", name)) if !name.is_empty() => Ok(Self::Cluster(name.into())),
            Some(("node", name)) if !name.is_empty() => Ok(Self::Node(name.into())),
            None if text == "none" => Ok(Self::None),
            _ => Err(format!(
                "\"{text}\" is no target; write cluster:NAME, node:NAME or none"
            )),
        }
    }
}

impl fmt::Display for RunTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name) => write!(f, "cluster:{name}"),
            Self::Node(name) => write!(f, "node:{name}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Plans a run of a trigger's steps.
///
/// # Errors
/// The trigger has no steps, a step waits for one that does not exist or for itself, or the database fails.
pub fn plan_trigger(
    conn: &mut Connection,
    trigger: &Trigger,
    origin: Origin,
    requested_by: &str,
    reason: &str,
    now_ms: i64,
) -> Result<Plan> {
    let cluster = Cluster::find(conn, trigger.cluster_id)?;
    let steps = Step::of_trigger(conn, trigger.id)?;
    if steps.is_empty() {
        let name = &trigger.name;
        return Err(Error::Conflict(format!(
            "the trigger \"{name}\" has no steps, so there is nothing to run; add one first"
        )));
    }
    let names: Vec<_> = steps
        .iter()
        .map(|step| Ok((step.name.as_str(), step_names(step)?)))
        .collect::<Result<_>>()?;
    let waits = dependencies(&names)?;
    let mut planned = Vec::with_capacity(steps.len());
    for ((step, waits), position) in steps.iter().zip(waits).zip(1..) {
        let action = Action::find(conn, step.action_id)?;
        let target_name = match step.target {
            StepTarget::Cluster => Some(cluster.name.clone()),
            StepTarget::LastNode | StepTarget::Node | StepTarget::None => None,
        };
        planned.push(NewStepRun {
            name: step.name.clone(),
            depends_on: to_json(&waits)?,
            approval_secs: step.approval_secs,
            ..new_step(&action, position, step.target, target_name)
        });
    }
    let run = NewRun {
        trigger_id: Some(trigger.id),
        trigger_name: Some(trigger.name.clone()),
        ..new_run(Some(&cluster), origin, requested_by, reason, now_ms)
    };
    Ok(finish(run, planned, trigger.on_failure))
}

/// Plans a run of a single action.
///
/// # Errors
/// The target does not exist, the kind does not act on such a target, or the database fails.
pub fn plan_action(
    conn: &mut Connection,
    action: &Action,
    target: &RunTarget,
    requested_by: &str,
    reason: &str,
    now_ms: i64,
) -> Result<Plan> {
    let (word, name, cluster) = match target {
        RunTarget::Cluster(name) => {
            let cluster = Cluster::by_name(conn, name)?;
            (StepTarget::Cluster, Some(name.clone()), Some(cluster))
        }
        RunTarget::Node(name) => {
            let node = Node::by_name(conn, name)?;
            let cluster = Cluster::find(conn, node.cluster_id)?;
            (StepTarget::Node, Some(name.clone()), Some(cluster))
        }
        RunTarget::None => (StepTarget::None, None, None),
    };
    actions::kind(&action.kind)?;
    if let Some(message) = refuse_target(&action.kind, word) {
        return Err(Error::invalid("target", message));
    }
    let step = NewStepRun {
        name: action.name.clone(),
        ..new_step(action, 1, word, name)
    };
    let run = new_run(
        cluster.as_ref(),
        Origin::Action,
        requested_by,
        reason,
        now_ms,
    );
    Ok(finish(run, vec![step], None))
}

/// Positions (from 1) of the steps that each step waits for, given each step's name and, by name, what it waits for; none = the one before it.
///
/// # Errors
/// `Invalid` with every fault: a name that no step has, a step that comes twice, a circle.
pub fn dependencies(steps: &[(&str, Option<Vec<String>>)]) -> Result<Vec<Vec<i32>>> {
    let mut faults = Vec::new();
    let mut positions = BTreeMap::new();
    for ((name, _), position) in steps.iter().zip(1..) {
        if positions.insert(*name, position).is_some() {
            let path = format!("steps[{}].name", position - 1);
            faults.push(Fault::new(path, format!("\"{name}\" comes twice")));
        }
    }
    let mut waits = Vec::with_capacity(steps.len());
    for ((_, named), position) in steps.iter().zip(1..) {
        let mut found = Vec::new();
        for (index, name) in named.iter().flatten().enumerate() {
            match positions.get(name.as_str()) {
                Some(other) if found.contains(other) => {}
                Some(other) => found.push(*other),
                None => {
                    let path = format!("steps[{}].depends_on[{index}]", position - 1);
                    let hint = nearest(name, positions.keys().copied())
                        .map(|near| format!("; did you mean \"{near}\"?"));
                    let hint = hint.unwrap_or_default();
                    faults.push(Fault::new(
                        path,
                        format!("there is no step \"{name}\"{hint}"),
                    ));
                }
            }
        }
        if named.is_none() && position > 1 {
            found.push(position - 1);
        }
        waits.push(found);
    }
    if let Some(circle) = circle(&waits) {
        let names: Vec<_> = (steps.iter().zip(1..))
            .filter(|(_, position)| circle.contains(position))
            .map(|((name, _), _)| *name)
            .collect();
        let message = format!("these steps wait for each other: {}", names.join(", "));
        faults.push(Fault::new("steps", message));
    }
    if faults.is_empty() {
        Ok(waits)
    } else {
        Err(Error::Invalid(faults))
    }
}

/// Positions that can never start, since what they wait for waits for them.
fn circle(waits: &[Vec<i32>]) -> Option<Vec<i32>> {
    let mut blocked: Vec<(i32, &Vec<i32>)> = (1..).zip(waits).collect();
    loop {
        let left: Vec<i32> = blocked.iter().map(|(position, _)| *position).collect();
        let before = blocked.len();
        blocked.retain(|(_, waits)| waits.iter().any(|wait| left.contains(wait)));
        if blocked.len() == before {
            return (before > 0).then_some(left);
        }
    }
}

fn step_names(step: &Step) -> Result<Option<Vec<String>>> {
    let Some(json) = &step.depends_on else {
        return Ok(None);
    };
    serde_json::from_str(json).map(Some).map_err(|cause| {
        Error::internal(
            format!("depends_on of step \"{}\" is damaged", step.name),
            cause,
        )
    })
}

fn to_json(positions: &[i32]) -> Result<String> {
    serde_json::to_string(positions).map_err(|cause| Error::internal("positions as JSON", cause))
}

fn new_run(
    cluster: Option<&Cluster>,
    origin: Origin,
    requested_by: &str,
    reason: &str,
    now_ms: i64,
) -> NewRun {
    NewRun {
        trigger_id: None,
        trigger_name: None,
        cluster_id: cluster.map(|cluster| cluster.id),
        cluster_name: cluster.map(|cluster| cluster.name.clone()),
        origin,
        requested_by: requested_by.to_owned(),
        reason: reason.to_owned(),
        state: RunState::Queued,
        on_failure: OnFailure::Stop,
        changes_capacity: false,
        claimed_by: None,
        claimed_until_ms: None,
        cancel_requested_by: None,
        created_ms: now_ms,
        started_ms: None,
        finished_ms: None,
    }
}

fn new_step(
    action: &Action,
    position: i32,
    target: StepTarget,
    target_name: Option<String>,
) -> NewStepRun {
    let timeout_secs = action.timeout_secs;
    NewStepRun {
        run_id: RunId(0),
        position,
        name: String::new(),
        action_name: action.name.clone(),
        kind: action.kind.clone(),
        settings: action.settings.clone(),
        target,
        target_name,
        depends_on: "[]".into(),
        timeout_secs: timeout_secs.unwrap_or_else(|| actions::default_timeout(&action.kind)),
        retries: action.retries,
        state: StepState::Planned,
        token: None,
        attempt: 0,
        outputs: "{}".into(),
        report: "[]".into(),
        error: None,
        started_ms: None,
        finished_ms: None,
        approval_secs: None,
    }
}

fn finish(mut run: NewRun, steps: Vec<NewStepRun>, on_failure: Option<OnFailure>) -> Plan {
    let changes = || {
        steps
            .iter()
            .map(|step| actions::capacity_change(&step.kind))
    };
    run.changes_capacity = changes().any(|change| change != 0);
    // What was launched and then not finished would go on costing money unseen.
    let launches = changes().any(|change| change > 0);
    let default = if launches {
        OnFailure::Undo
    } else {
        OnFailure::Stop
    };
    run.on_failure = on_failure.unwrap_or(default);
    Plan { run, steps }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waits(steps: &[(&str, Option<&[&str]>)]) -> Result<Vec<Vec<i32>>> {
        let owned: Vec<_> = steps
            .iter()
            .map(|(name, on)| {
                (
                    *name,
                    on.map(|on| on.iter().map(|o| (*o).to_owned()).collect()),
                )
            })
            .collect();
        dependencies(&owned)
    }

    #[test]
    fn a_step_waits_for_the_one_before_it_unless_it_says_otherwise() {
        let found = waits(&[
            ("a", None),
            ("b", None),
            ("c", Some(&[])),
            ("d", Some(&["a", "c", "a"])),
        ]);
        assert_eq!(found.unwrap(), [vec![], vec![1], vec![], vec![1, 3]]);
    }

    #[test]
    fn every_wrong_dependency_is_listed() {
        let fault = waits(&[
            ("a", Some(&["b"])),
            ("b", Some(&["a"])),
            ("b", None),
            ("deploy", Some(&["deplyo"])),
        ]);
        let Err(Error::Invalid(faults)) = fault else {
            panic!("{fault:?}")
        };
        let texts: Vec<_> = faults.iter().map(Fault::to_string).collect();
        assert_eq!(texts[0], "steps[2].name: \"b\" comes twice");
        assert_eq!(
            texts[1],
            "steps[3].depends_on[0]: there is no step \"deplyo\"; did you mean \"deploy\"?"
        );
    }

    #[test]
    fn a_circle_is_refused_by_name() {
        for steps in [
            &[("a", Some(&["a"][..]))][..],
            &[("a", Some(&["c"][..])), ("b", None), ("c", None)][..],
        ] {
            let message = waits(steps).unwrap_err().to_string();
            assert!(
                message.starts_with("steps: these steps wait for each other: a"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for text in ["cluster:web", "node:web01", "none"] {
            assert_eq!(text.parse::<RunTarget>().unwrap().to_string(), text);
        }
        for text in ["", "web", "cluster:", "node", "none:x", "trigger:x"] {
            let message = text.parse::<RunTarget>().unwrap_err();
            assert!(
                message.contains("write cluster:NAME, node:NAME or none"),
                "{message}"
            );
        }
    }

    proptest! {
        /// Whatever waits for what: either there is a circle, or starting what is ready again and again starts everything.
        #[test]
        fn what_has_no_circle_can_be_run_to_its_end(waits in prop::collection::vec(prop::collection::vec(1..9_i32, 0..3), 1..9)) {
            let count = i32::try_from(waits.len()).unwrap();
            let waits: Vec<Vec<i32>> = waits.into_iter().map(|w| w.into_iter().filter(|p| *p <= count).collect()).collect();
            let mut done: Vec<i32> = Vec::new();
            loop {
                let ready = (1..).zip(&waits).find(|(p, w)| !done.contains(p) && w.iter().all(|x| done.contains(x)));
                let Some((position, _)) = ready else { break };
                done.push(position);
            }
            prop_assert_eq!(circle(&waits).is_none(), done.len() == waits.len());
        }
    }
}
