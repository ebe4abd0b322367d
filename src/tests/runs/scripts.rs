//! LocalScript on several nodes.

use headroom::models::{OnFailure, RunState, StepTarget};
use serde_json::json;

use super::lab::{Lab, Planned};

#[tokio::test]
async fn a_script_runs_on_every_node_of_the_cluster_and_each_reports() {
    let lab = Lab::new();
    lab.add_node("n2", 2);
    lab.add_node("n3", 3);
    let script = "echo I am {{ node.name }}; case {{ node.name }} in n2) exit 3;; esac";
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("all", script).on(StepTarget::Cluster)],
    );
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert_eq!(
        lab.error(run, "all"),
        "the script failed on 1 of 3 hosts: n2: exit status 3"
    );
    let report = lab.report(run, "all").0;
    let told: Vec<_> = report
        .iter()
        .map(|entry| {
            (
                entry.subject.as_str(),
                entry.status,
                entry.stdout.as_str(),
                entry.succeeded,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("n1", Some(0), "I am n1\n", true),
            ("n2", Some(3), "I am n2\n", false),
            ("n3", Some(0), "I am n3\n", true),
        ]
    );
    assert_eq!(lab.output(run, "all", "nodes"), "n1 n2 n3");
    assert_eq!(lab.output(run, "all", "failed"), 1);
}

#[tokio::test]
async fn nodes_are_worked_on_at_the_same_time() {
    let lab = Lab::new();
    lab.add_node("n2", 2);
    let folder = lab.folder.path().display();
    // Each waits for both to have begun.
    let script = format!(
        "touch {folder}/{{{{ node.name }}}}; until [ -e {folder}/n1 ] && [ -e {folder}/n2 ]; do sleep 0.01; done"
    );
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("all", script)
            .on(StepTarget::Cluster)
            .within(20)],
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
}

#[tokio::test]
async fn long_output_is_bounded_and_says_so() {
    let lab = Lab::new();
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script(
            "loud",
            "head -c 3000000 /dev/zero | tr '\\0' x",
        )],
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    let entry = &lab.report(run, "loud").0[0];
    assert!(entry.truncated);
    assert_eq!(entry.stdout.len(), 32 * 1024);
    assert_eq!(
        lab.output(run, "loud", "output").as_str().unwrap().len(),
        4 * 1024
    );
}

#[tokio::test]
async fn bytes_that_are_no_text_do_not_lose_the_output() {
    let lab = Lab::new();
    let script = json!({"script": "printf 'a\\377b'"});
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::new("odd", "LocalScript", script)],
    );
    assert_eq!(lab.drive(run).await, RunState::Succeeded);
    assert_eq!(lab.output(run, "odd", "output"), "a\u{fffd}b");
}
