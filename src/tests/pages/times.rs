//! How long launches take, and when the nodes that are on their way may be counted on.

use chrono::Utc;
use headroom::models::cluster::Cluster;
use headroom::models::node::{NewNode, Node};
use headroom::models::run::{NewRun, Run};
use headroom::models::step_run::{NewStepRun, StepRun};
use headroom::models::{NodeState, OnFailure, Origin, Role, RunState, StepState, StepTarget};
use serde_json::json;

use super::scene;
use crate::support::app::TestApp;

/// A run in the cluster `web` whose one step launched a node that was in service after so many seconds, or did not succeed.
fn launch(test: &TestApp, in_service_secs: i64, succeeded: bool) {
    let (run_state, state) = if succeeded {
        (RunState::Succeeded, StepState::Succeeded)
    } else {
        (RunState::Failed, StepState::Failed)
    };
    let conn = &mut *test.app.db.connection().unwrap();
    let cluster = Cluster::by_name(conn, "web").unwrap();
    let run = NewRun {
        trigger_id: None,
        trigger_name: None,
        cluster_id: Some(cluster.id),
        cluster_name: Some("web".into()),
        origin: Origin::Action,
        requested_by: "ann".into(),
        reason: "the shop is slow".into(),
        state: run_state,
        on_failure: OnFailure::Stop,
        changes_capacity: true,
        claimed_by: None,
        claimed_until_ms: None,
        cancel_requested_by: None,
        created_ms: 1_000,
        started_ms: Some(1_000),
        finished_ms: Some(9_000),
    };
    let run = Run::insert(conn, &run).unwrap();
    let step = NewStepRun {
        run_id: run.id,
        position: 1,
        name: "grow".into(),
        action_name: "grow".into(),
        kind: "DeployEc2Node".into(),
        settings: r#"{"ec2_profile": "web-small", "ssh_profile": "ops"}"#.into(),
        target: StepTarget::Cluster,
        target_name: Some("web".into()),
        depends_on: "[]".into(),
        timeout_secs: 60,
        retries: None,
        state,
        token: None,
        attempt: 1,
        outputs: json!({"running_secs": 4.5, "in_service_secs": in_service_secs}).to_string(),
        report: "[]".into(),
        error: None,
        started_ms: Some(1_000),
        finished_ms: Some(9_000),
        approval_secs: None,
    };
    StepRun::insert(conn, &step).unwrap();
}

/// A node that has been on its way for so many seconds.
fn coming(test: &TestApp, cluster: &str, name: &str, secs: i64) {
    let conn = &mut *test.app.db.connection().unwrap();
    let cluster = Cluster::by_name(conn, cluster).unwrap();
    let begun_ms = Utc::now().timestamp_millis() - secs * 1_000;
    let node = NewNode {
        state: NodeState::Provisioning,
        ..NewNode::in_service(name, cluster.id, "10.0.9.9", begun_ms)
    };
    Node::insert(conn, &node).unwrap();
}

fn row(what: &str, half: &str, most: &str, count: usize) -> String {
    format!(
        "<th scope=\"row\" data-label=\"What\">{what}</th><td data-label=\"Half within\" class=\"num nowrap\">{half}</td>\
         <td data-label=\"95 % within\" class=\"num nowrap\">{most}</td><td data-label=\"Measured\" class=\"num\">{count}</td>"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_tells_what_its_launches_took_and_which_node_is_late_by_that() {
    let test = TestApp::start().await;
    scene::define(&test.app, Utc::now().timestamp_millis(), scene::FLEET);
    for in_service_secs in [35 * 60, 50 * 60, 30 * 60] {
        launch(&test, in_service_secs, true);
    }
    launch(&test, 7 * 60 * 60, false);
    // Half a minute beside what is told, so that a slow machine tells the same.
    coming(&test, "web", "web10", 20 * 60 + 30);
    coming(&test, "web", "web11", 60 * 60 + 30);
    coming(&test, "web", "web12", 180 * 60 + 30);
    coming(&test, "db", "db10", 180 * 60 + 30);
    let viewer = test.login(Role::Viewer).await;
    let page = viewer.get("/clusters/web").await.expect(200).body;
    let rule = "95 % of the launches here are in service within 50 min";
    for part in [
        "How long it takes".to_owned(),
        row("launch to running", "4.5 s", "4.5 s", 3),
        row("launch to in service", "35 min", "50 min", 3),
        format!(
            "<p class=\"flash\" role=\"status\">web10 has been on its way for 20 min, and is expected in service within 29 min from now: {rule}.</p>"
        ),
        format!(
            "<p class=\"flash\" role=\"status\">web11 has been on its way for 1 h, and is expected in service at any moment: {rule}.</p>"
        ),
        format!(
            "<p class=\"flash flash-bad\" role=\"status\">web12 has been on its way for 3 h, and {rule}: look at its run, and do not count on it.</p>"
        ),
    ] {
        assert!(page.contains(&part), "{part} is not in {page}");
    }
    for absent in [
        "launch to SSH",
        "<th scope=\"row\" data-label=\"What\">drain",
    ] {
        assert!(!page.contains(absent), "nobody measured {absent}: {page}");
    }

    let page = viewer.get("/clusters/db").await.expect(200).body;
    let said = "<p class=\"flash\" role=\"status\">db10 has been on its way for 3 h.</p>";
    assert!(page.contains(said), "nothing was launched here: {page}");
    assert!(!page.contains("How long it takes"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_launches_tell_no_time_for_the_next() {
    let test = TestApp::start().await;
    scene::define(&test.app, Utc::now().timestamp_millis(), scene::FLEET);
    launch(&test, 60, true);
    launch(&test, 90, true);
    coming(&test, "web", "web10", 180 * 60 + 30);
    let viewer = test.login(Role::Viewer).await;
    let page = viewer.get("/clusters/web").await.expect(200).body;
    let times = row("launch to in service", "1 min", "1 min 30 s", 2);
    assert!(page.contains(&times), "{times} is not in {page}");
    let said = "<p class=\"flash\" role=\"status\">web10 has been on its way for 3 h.</p>";
    assert!(page.contains(said), "{page}");
}
