//! Runs are started, listed and told.

use headroom::models::run::Run;
use headroom::models::run_event::RunEvent;
use headroom::models::step_run::{StepChange, StepRun};
use headroom::models::{Role, RunId, RunState, StepRunId, StepState};
use serde_json::json;

use super::world;
use crate::support::app::{Bearer, TestApp};
use crate::support::http::Request;
use crate::support::postgres::Postgres;

#[tokio::test]
async fn running_a_trigger_answers_at_once_with_its_steps_and_ids() {
    let (test, _admin) = world::start().await;
    let operator = test.bearer(Role::Operator);
    let path = "/api/v1/triggers/web-hot/runs";
    let started = operator.send(Request::new("POST", path)).await.expect(202);
    let run = started.json();
    assert_eq!(run["state"], "queued");
    assert_eq!(
        started.header("location"),
        format!("/api/v1/runs/{}", run["id"])
    );
    let steps = run["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0]["order"], 1);
    assert_eq!(steps[0]["action"], "restart");
    assert_eq!(steps[0]["target"], "cluster");
    assert_eq!(steps[0]["target_name"], "web");
    assert_eq!(steps[1]["action"], "tell");
    assert_eq!(steps[1]["target"], "none");
    assert!(steps[0]["id"].as_i64().unwrap() < steps[1]["id"].as_i64().unwrap());
}

#[tokio::test]
async fn a_run_is_told_with_its_steps_and_its_log() {
    let (test, admin) = world::start().await;
    let body = json!({"reason": "the disk is full"});
    let run = admin
        .post("/api/v1/triggers/web-hot/runs", &body)
        .await
        .expect(202)
        .json();
    let id = RunId(run["id"].as_i64().unwrap());
    RunEvent::record(
        &mut test.app.db.connection().unwrap(),
        id,
        None,
        1_000,
        "claimed",
    )
    .unwrap();
    let told = admin
        .get(&format!("/api/v1/runs/{id}"))
        .await
        .expect(200)
        .json();
    assert_eq!(told["reason"], "the disk is full");
    assert_eq!(told["requested_by"], "admin-program");
    assert_eq!(told["origin"], "trigger");
    assert_eq!(told["trigger"], "web-hot");
    assert_eq!(told["cluster"], "web");
    assert_eq!(told["steps"][0]["state"], "planned");
    assert_eq!(told["steps"][1]["depends_on"], json!([1]));
    assert_eq!(told["steps"][0]["outputs"], json!({}));
    let log = told["log"].as_array().unwrap();
    let line = log
        .iter()
        .find(|line| line["message"] == "claimed")
        .unwrap();
    assert_eq!(line["at"], "1970-01-01T00:00:01Z");
    admin.get("/api/v1/runs/999999").await.expect(404);
    admin.get("/api/v1/runs/first").await.expect(404);
}

#[tokio::test]
async fn an_action_runs_on_a_node_or_a_cluster_that_fits_it() {
    let (_test, admin) = world::start().await;
    let path = "/api/v1/actions/restart/runs";
    for (target, word, name) in [
        (json!({"node": "web01"}), "node", "web01"),
        (json!({"cluster": "web"}), "cluster", "web"),
    ] {
        let run = admin
            .post(path, &json!({"target": target}))
            .await
            .expect(202)
            .json();
        assert_eq!(run["steps"][0]["target"], word);
        assert_eq!(run["steps"][0]["target_name"], name);
    }
    let refusal = admin.post(path, &json!({})).await.expect(422).json();
    assert_eq!(refusal["faults"][0]["path"], "target");
    let body = json!({"target": {"node": "nobody"}});
    let refusal = admin.post(path, &body).await.expect(404).detail();
    assert_eq!(refusal, "Node \"nobody\" does not exist.");
    let body = json!({"target": {"nodes": "web01"}});
    admin.post(path, &body).await.expect(400);
    let tell = admin
        .send(Request::new("POST", "/api/v1/actions/tell/runs"))
        .await;
    assert_eq!(tell.expect(202).json()["steps"][0]["target"], "none");
    let body = Request::new("POST", path).body("application/json", "{\"target\":");
    admin.send(body).await.expect(400);
}

#[tokio::test]
async fn a_trigger_that_runs_already_is_not_started_twice() {
    let (_test, admin) = world::start().await;
    let path = "/api/v1/triggers/web-hot/runs";
    let first = admin.post(path, &json!({})).await.expect(202).json();
    let refusal = admin.post(path, &json!({})).await.expect(409).detail();
    let wanted = format!(
        "Run {} of the trigger \"web-hot\" is queued already",
        first["id"]
    );
    assert!(refusal.starts_with(&wanted), "{refusal}");
    let runs = admin.get("/api/v1/runs").await.expect(200).json();
    assert_eq!(runs["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn two_presses_at_once_start_one_run() {
    let (_test, admin) = world::start().await;
    let path = "/api/v1/triggers/web-hot/runs";
    let body = json!({});
    let presses = (0..4).map(|_| admin.post(path, &body));
    let answers = futures::future::join_all(presses).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 409, 409, 409]);
}

/// A fleet with what launches, and what launches and removes.
const ELASTIC: &str = r#"
ssh_profiles: [{ name: ops, user: ops, private_key_file: /etc/headroom/id_ed25519, host_keys: first_use }]
ec2_profiles: [{ name: small, region: eu-west-1, image_id: ami-1, instance_type: t3.small }]
clusters: [{ name: web, min_nodes: 0 }]
actions:
  - { name: add, kind: DeployEc2Node, ec2_profile: small, ssh_profile: ops }
  - { name: shrink, kind: RemoveEc2Node, select: oldest }
triggers:
  - name: swap
    cluster: web
    steps: [{ action: add, target: cluster }, { action: shrink, target: cluster }]
"#;

async fn elastic(test: &TestApp) -> Bearer {
    let admin = test.bearer(Role::Admin);
    let fleet = Request::new("PUT", "/api/v1/fleet").body("application/yaml", ELASTIC);
    admin.send(fleet).await.expect(200);
    admin
}

#[tokio::test]
async fn on_postgres_two_presses_at_once_start_one_run_and_the_other_is_told_why() {
    let server = Postgres::start();
    let test = TestApp::with(&[("database_url", &server.url())]).await;
    let admin = elastic(&test).await;
    let body = json!({"target": {"cluster": "web"}});
    for path in ["/api/v1/actions/add/runs", "/api/v1/triggers/swap/runs"] {
        let nothing = json!({});
        let body = if path.contains("actions") {
            &body
        } else {
            &nothing
        };
        let presses = (0..6).map(|_| admin.post(path, body));
        let answers = futures::future::join_all(presses).await;
        let (good, bad): (Vec<_>, Vec<_>) =
            answers.into_iter().partition(|answer| answer.status == 202);
        assert_eq!(good.len(), 1, "{path}");
        let run = good[0].json()["id"].clone();
        for refused in bad {
            let why = refused.expect(409).detail();
            assert!(why.starts_with(&format!("Run {run} ")), "{why}");
        }
        let cancel = format!("/api/v1/runs/{run}/cancellation");
        admin.post(&cancel, &json!({})).await.expect(202);
    }
}

#[tokio::test]
async fn a_run_that_adds_one_node_and_removes_one_changes_the_capacity_of_its_cluster() {
    let test = TestApp::start().await;
    let admin = elastic(&test).await;
    let swap = admin.post("/api/v1/triggers/swap/runs", &json!({})).await;
    let run = swap.expect(202).json()["id"].clone();
    let body = json!({"target": {"cluster": "web"}});
    let refusal = admin.post("/api/v1/actions/shrink/runs", &body).await;
    let wanted = format!("Run {run} that changes the nodes of this cluster is queued already");
    let why = refusal.expect(409).detail();
    assert!(why.starts_with(&wanted), "{why}");
}

#[tokio::test]
async fn a_trigger_without_steps_or_one_that_is_not_there_is_refused() {
    let (_test, admin) = world::start().await;
    let refusal = admin.post("/api/v1/triggers/idle/runs", &json!({})).await;
    assert!(refusal.expect(409).detail().contains("has no steps"));
    let refusal = admin.post("/api/v1/triggers/none/runs", &json!({})).await;
    assert_eq!(
        refusal.expect(404).detail(),
        "Trigger \"none\" does not exist."
    );
}

#[tokio::test]
async fn a_viewer_who_presses_run_is_told_who_may() {
    let (test, admin) = world::start().await;
    let viewer = test.bearer(Role::Viewer);
    let refusal = viewer
        .post("/api/v1/triggers/web-hot/runs", &json!({}))
        .await;
    let refusal = refusal.expect(403).detail();
    assert!(refusal.starts_with(
        "This needs the role operator, and \"viewer-program\" has the role viewer. Ask an admin"
    ));
    let runs = admin.get("/api/v1/runs").await.expect(200).json();
    assert_eq!(runs["items"], json!([]));
}

#[tokio::test]
async fn runs_are_listed_by_state_trigger_and_cluster() {
    let (_test, admin) = world::start().await;
    admin
        .post("/api/v1/triggers/web-hot/runs", &json!({}))
        .await
        .expect(202);
    let body = json!({"target": {"node": "web01"}});
    admin
        .post("/api/v1/actions/restart/runs", &body)
        .await
        .expect(202);
    for (query, count) in [
        ("", 2),
        ("?state=queued", 2),
        ("?state=failed", 0),
        ("?trigger=web-hot", 1),
        ("?cluster=web", 2),
        ("?cluster=empty", 0),
        ("?limit=1", 1),
    ] {
        let runs = admin.get(&format!("/api/v1/runs{query}")).await.expect(200);
        let runs = runs.json()["items"].as_array().unwrap().len();
        assert_eq!(runs, count, "{query}");
    }
    admin.get("/api/v1/runs?state=broken").await.expect(400);
}

#[tokio::test]
async fn starting_a_run_leaves_an_audit_event() {
    let (_test, admin) = world::start().await;
    let run = admin
        .post("/api/v1/triggers/web-hot/runs", &json!({}))
        .await
        .expect(202)
        .json();
    let events = admin.get("/api/v1/audit?limit=1").await.expect(200).json();
    let event = &events["items"][0];
    assert_eq!(event["verb"], "run");
    assert_eq!(event["object"], "trigger web-hot");
    assert_eq!(event["actor"], "admin-program");
    assert_eq!(event["after"]["run"], run["id"]);
}

#[tokio::test]
async fn a_queued_run_is_cancelled_once_and_nothing_of_it_begins() {
    let (_test, admin) = world::start().await;
    let run = admin
        .post("/api/v1/triggers/web-hot/runs", &json!({}))
        .await;
    let run = format!("/api/v1/runs/{}", run.expect(202).json()["id"]);
    let path = format!("{run}/cancellation");
    let body = json!({"reason": "wrong button"});
    let cancelled = admin.post(&path, &body).await.expect(202).json();
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(cancelled["cancel_requested_by"], "admin-program");
    let told = admin.get(&run).await.expect(200).json();
    assert_eq!(told["steps"][0]["state"], "skipped");
    assert!(told["log"].to_string().contains("wrong button"), "{told}");
    let again = admin.send(Request::new("POST", &path)).await.expect(409);
    assert!(again.detail().contains("it is cancelled already"));
    let audit = admin.get("/api/v1/audit?limit=1").await.expect(200).json();
    assert_eq!(audit["items"][0]["verb"], "cancel");
    let anew = admin
        .post("/api/v1/triggers/web-hot/runs", &json!({}))
        .await;
    anew.expect(202);
}

/// A run whose first step began and whose outcome nobody knows.
async fn stuck(test: &TestApp, admin: &Bearer) -> (String, String) {
    let run = admin
        .post("/api/v1/triggers/web-hot/runs", &json!({}))
        .await;
    let run = run.expect(202).json();
    let id = RunId(run["id"].as_i64().unwrap());
    let step = StepRunId(run["steps"][0]["id"].as_i64().unwrap());
    test.app
        .db
        .write(move |conn| {
            let started = StepChange::to(StepState::Started);
            assert!(StepRun::change(
                conn,
                step,
                &[StepState::Planned],
                &started
            )?);
            let moved = Run::change_state(conn, id, &[RunState::Queued], RunState::Stuck, None)?;
            assert!(moved);
            Ok(())
        })
        .await
        .unwrap();
    (
        format!("/api/v1/runs/{id}"),
        format!("/api/v1/runs/{id}/steps/{step}"),
    )
}

#[tokio::test]
async fn a_step_that_is_stuck_is_begun_anew_for_a_reason() {
    let (test, admin) = world::start().await;
    let (_, step) = stuck(&test, &admin).await;
    let path = format!("{step}/retry");
    let refusal = admin.post(&path, &json!({})).await.expect(422).json();
    assert_eq!(refusal["faults"][0]["path"], "reason");
    let body = json!({"reason": "it never reached the node"});
    let run = admin.post(&path, &body).await.expect(202).json();
    assert_eq!(run["state"], "queued");
    admin.post(&path, &body).await.expect(409);
}

#[tokio::test]
async fn a_persons_word_that_a_step_was_done_lets_the_run_go_on() {
    let (test, admin) = world::start().await;
    let (run, step) = stuck(&test, &admin).await;
    let body = json!({"reason": "the service was restarted, I looked"});
    admin.post(&format!("{step}/done"), &body).await.expect(202);
    let told = admin.get(&run).await.expect(200).json();
    assert_eq!(told["state"], "queued");
    assert_eq!(told["steps"][0]["state"], "succeeded");
    assert!(told["log"].to_string().contains("I looked"), "{told}");
}

#[tokio::test]
async fn a_step_without_an_undo_says_so() {
    let (test, admin) = world::start().await;
    let (run, step) = stuck(&test, &admin).await;
    let body = json!({"reason": "take it back"});
    let refusal = admin.post(&format!("{step}/undo"), &body).await.expect(409);
    assert!(!refusal.detail().is_empty());
    let (other, _) = run.rsplit_once('/').unwrap();
    admin
        .post(&format!("{other}/999/steps/1/undo"), &body)
        .await
        .expect(404);
}

/// A run of `web-hot` whose first step waits for approval.
async fn waiting(test: &TestApp, admin: &Bearer) -> (RunId, StepRunId) {
    let path = "/api/v1/triggers/web-hot/runs";
    let run = admin.post(path, &json!({})).await.expect(202).json();
    let id = RunId(run["id"].as_i64().unwrap());
    let step = StepRunId(run["steps"][0]["id"].as_i64().unwrap());
    let conn = &mut *test.app.db.connection().unwrap();
    let asked = StepChange {
        approval_until_ms: Some(Some(i64::MAX / 4)),
        ..StepChange::default()
    };
    assert!(StepRun::change(conn, step, &[StepState::Planned], &asked).unwrap());
    let queued = [RunState::Queued];
    assert!(Run::change_state(conn, id, &queued, RunState::Waiting, None).unwrap());
    (id, step)
}

#[tokio::test]
async fn a_waiting_step_is_approved_once_and_refused_with_a_reason() {
    let (test, admin) = world::start().await;
    let operator = test.bearer(Role::Operator);
    let (run, step) = waiting(&test, &admin).await;
    let told = admin.get(&format!("/api/v1/runs/{run}")).await.json();
    assert_eq!(told["state"], "waiting");
    assert!(told["steps"][0]["waits_until"].is_string(), "{told:#}");
    assert_eq!(told["steps"][0]["attempts"], json!([]));
    let path = |verb: &str| format!("/api/v1/runs/{run}/steps/{step}/{verb}");
    let viewer = test.bearer(Role::Viewer);
    viewer.post(&path("approve"), &json!({})).await.expect(403);
    let unsaid = operator.post(&path("refuse"), &json!({})).await.expect(422);
    assert!(unsaid.body.contains("say what you saw"), "{}", unsaid.body);
    let approved = operator
        .post(&path("approve"), &json!({}))
        .await
        .expect(202);
    assert_eq!(approved.json()["state"], "queued");
    let again = operator
        .post(&path("approve"), &json!({}))
        .await
        .expect(409);
    assert!(
        again
            .detail()
            .contains("was approved by operator-program already"),
        "{}",
        again.body
    );
    let told = admin.get(&format!("/api/v1/runs/{run}")).await.json();
    assert_eq!(told["steps"][0]["approved_by"], "operator-program");
}
