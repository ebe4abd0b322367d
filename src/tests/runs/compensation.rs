//! What is taken back, in which order and why, with parallel branches and after a crash at any moment; what a policy or a person keeps.

use headroom::models::{OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use serde_json::json;

use super::crash::die;
use super::lab::{KINDS, Lab, Planned};

impl Lab {
    fn probe(&self, name: &'static str) -> Planned {
        let folder = self.folder.path().display().to_string();
        Planned::new(name, "Probe", json!({"folder": folder, "mode": "look"}))
    }

    /// `base`, then `left` and `right` beside each other, then `top`, which fails.
    fn diamond(&self, on_failure: OnFailure) -> RunId {
        let steps = [
            self.probe("base"),
            self.probe("left").after(&["base"]),
            self.probe("right").after(&["base"]),
            Planned::script("top", "echo no >&2; exit 4").after(&["left", "right"]),
            Planned::script("never", "true"),
        ];
        self.plan(on_failure, &steps)
    }

    /// The names of the steps that were taken back, in the order in which that was begun last.
    fn taken_back(&self, run: RunId) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for token in self.lines("undone") {
            let steps = self.steps(run).into_iter();
            let mut of_token = steps.filter(|step| step.token.as_ref() == Some(&token));
            let name = of_token.next().unwrap().name;
            names.retain(|other| *other != name);
            names.push(name);
        }
        names
    }
}

/// Each branch before what both were built on, the last step first.
const ORDER: [&str; 3] = ["right", "left", "base"];
use StepState::{Failed, Skipped, Succeeded, Undone};

#[tokio::test]
async fn branches_are_taken_back_before_what_they_were_built_on() {
    let lab = Lab::new();
    let run = lab.diamond(OnFailure::Undo);
    assert_eq!(lab.drive(run).await, RunState::Undone);
    assert_eq!(lab.states(run), [Undone, Undone, Undone, Failed, Skipped]);
    assert_eq!(lab.taken_back(run), ORDER);
    let why = "the script failed on 1 of 1 host: n1: exit status 4";
    assert_eq!(lab.error(run, "top"), why);
    let log = lab.log(run);
    let at = |line: &str| log.iter().position(|each| each == line).expect(line);
    assert!(at(&format!("top: failed: {why}")) < at("base: is to be taken back"));
    assert!(at("right: undone") < at("left: undone") && at("left: undone") < at("base: undone"));
    assert_eq!(
        log.last().unwrap(),
        "the run has failed, and its steps were taken back"
    );
}

#[tokio::test]
async fn with_stop_everything_stays_and_the_run_says_what_failed() {
    let lab = Lab::new();
    let run = lab.diamond(OnFailure::Stop);
    assert_eq!(lab.drive(run).await, RunState::Failed);
    let states = [Succeeded, Succeeded, Succeeded, Failed, Skipped];
    assert_eq!(lab.states(run), states);
    assert!(lab.lines("undone").is_empty());
    assert_eq!(lab.log(run).last().unwrap(), "the run has failed");
}

#[tokio::test]
async fn killed_at_every_boundary_the_order_of_taking_back_holds() {
    let mut met = Vec::new();
    for at in 0.. {
        let lab = Lab::new();
        let run = lab.diamond(OnFailure::Undo);
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            break;
        };
        let mut state = lab.recover(run).await;
        if state == RunState::Stuck {
            // Only the script cannot be looked up; whoever looks sees that it failed, and has it begun again.
            assert!(
                boundary.starts_with("Started") || boundary.starts_with("Effected"),
                "{boundary}"
            );
            let top = lab.step(run, "top");
            assert_eq!(top.state, StepState::Started, "{boundary}");
            let ann = Decision {
                kinds: KINDS,
                ..Decision::new("ann", Via::Cli, "it did nothing", 1)
            };
            lab.write(|conn| control::retry_step(conn, run, top.id, &ann));
            state = lab.drive(run).await;
        }
        assert_eq!(state, RunState::Undone, "{boundary}: {:?}", lab.log(run));
        let states = [Undone, Undone, Undone, Failed, Skipped];
        assert_eq!(lab.states(run), states, "{boundary}");
        assert_eq!(lab.taken_back(run), ORDER, "{boundary}");
        assert_eq!(lab.lines("made").len(), 3, "{boundary}");
        met.push(boundary);
    }
    for kind in ["Undoing", "Reverted", "Undone", "Ending", "Ended"] {
        assert!(met.iter().any(|at| at.starts_with(kind)), "{kind}: {met:?}");
    }
}

#[tokio::test]
async fn a_run_cancelled_while_its_process_is_dead_ends_without_taking_anything_back() {
    for at in 0.. {
        let lab = Lab::new();
        let steps = [lab.probe("one"), lab.probe("two"), lab.probe("three")];
        let run = lab.plan(OnFailure::Undo, &steps);
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            break;
        };
        if lab.run(run).state.is_over() {
            continue;
        }
        let made = lab.lines("made").len();
        let ann = Decision::new("ann", Via::Page, "not wanted any more", 9);
        lab.write(|conn| control::cancel(conn, run, &ann));
        assert_eq!(lab.recover(run).await, RunState::Cancelled, "{boundary}");
        assert!(lab.lines("undone").is_empty(), "{boundary}");
        assert_eq!(
            lab.lines("made").len(),
            made,
            "{boundary}: nothing new is begun"
        );
        let open = |state: &StepState| !matches!(state, Succeeded | Failed | Skipped);
        assert!(!lab.states(run).iter().any(open), "{boundary}");
        let line = "cancellation asked for by ann: not wanted any more";
        assert!(lab.log(run).contains(&line.to_owned()), "{boundary}");
    }
}
