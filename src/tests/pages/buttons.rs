//! What buttons do: post, redirect, say what happened; and what they refuse.

use headroom::models::audit::AuditEvent;
use headroom::models::host_key::{HostKey, NewHostKey};
use headroom::models::run::Run;
use headroom::models::{HostKeyState, Role, RunState};

use super::scene;
use crate::support::app::{Browser, PASSWORD, TestApp};
use crate::support::http::{Answer, Request};

/// Follows an answer with the cookies it set, as a browser does.
pub(super) async fn follow(browser: &Browser, answer: &Answer) -> Answer {
    let flash = answer.header("set-cookie").split(';').next().unwrap();
    let request = Request::new("GET", answer.header("location"));
    let cookies = format!("{}; {flash}", browser.cookie);
    let followed = browser.with_cookie(&cookies);
    followed.send(request).await
}

async fn world() -> TestApp {
    let test = TestApp::start().await;
    scene::play(&test.app).await;
    test
}

fn runs(test: &TestApp) -> Vec<Run> {
    Run::page(&mut test.app.db.connection().unwrap(), &[], None, 50).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_is_run_after_its_plan_was_shown_and_confirmed() {
    let test = world().await;
    let operator = test.login(Role::Operator).await;
    let before = runs(&test).len();
    let asked = operator
        .post("/triggers/db-load/runs", &[("reason", "try it")])
        .await
        .expect(303);
    assert_eq!(
        asked.header("location"),
        "/triggers/db-load/run?target=&reason=try+it"
    );
    assert_eq!(runs(&test).len(), before, "asking starts nothing");
    let shown = operator
        .get(asked.header("location"))
        .await
        .expect(200)
        .body;
    assert!(
        shown.contains("value=\"try it\"") && shown.contains("Email</span>"),
        "{shown}"
    );
    let done = operator
        .post(
            "/triggers/db-load/runs",
            &[("reason", "try it"), ("confirmed", "true")],
        )
        .await
        .expect(303);
    let run = runs(&test).remove(0);
    assert_eq!(
        (run.state, run.reason.as_str(), run.requested_by.as_str()),
        (RunState::Queued, "try it", "operator")
    );
    assert_eq!(done.header("location"), format!("/runs/{}", run.id));
    let page = follow(&operator, &done).await.expect(200).body;
    assert!(
        page.contains(&format!("Run {} was started with 1 step.", run.id)),
        "{page}"
    );
    let events = AuditEvent::page(
        &mut test.app.db.connection().unwrap(),
        None,
        Some("trigger db-load"),
        1,
    )
    .unwrap();
    assert_eq!(
        (events[0].actor.as_str(), events[0].verb.as_str()),
        ("operator", "run")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_runs_at_once_on_a_node_and_after_a_second_page_on_a_cluster() {
    let test = world().await;
    let operator = test.login(Role::Operator).await;
    let on_node = operator
        .post(
            "/actions/restart/runs",
            &[("target", "node:web02"), ("reason", "")],
        )
        .await
        .expect(303);
    let run = runs(&test).remove(0);
    assert_eq!(on_node.header("location"), format!("/runs/{}", run.id));
    assert_eq!(run.reason, "started by hand");
    let on_cluster = operator
        .post(
            "/actions/restart/runs",
            &[("target", "cluster:db"), ("reason", "")],
        )
        .await
        .expect(303);
    assert_eq!(
        on_cluster.header("location"),
        "/actions/restart/run?target=cluster%3Adb&reason="
    );
    let shown = operator
        .get(on_cluster.header("location"))
        .await
        .expect(200)
        .body;
    assert!(
        shown.contains("Run on all 2 nodes of the cluster db"),
        "{shown}"
    );
    assert_eq!(runs(&test)[0].id, run.id, "nothing was started");
    let nowhere = operator
        .post(
            "/actions/restart/runs",
            &[("target", "node:none"), ("reason", "")],
        )
        .await
        .expect(404);
    assert!(nowhere.body.contains("does not exist"), "{nowhere:?}");
    let wrong = operator
        .post(
            "/actions/restart/runs",
            &[("target", "moon"), ("reason", "")],
        )
        .await
        .expect(303);
    let page = follow(&operator, &wrong).await.expect(200).body;
    assert!(page.contains("is no target"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_run_of_a_trigger_is_refused_with_its_reason() {
    let test = world().await;
    let operator = test.login(Role::Operator).await;
    let confirmed = [("confirmed", "true")];
    operator
        .post("/triggers/db-load/runs", &confirmed)
        .await
        .expect(303);
    let refused = operator
        .post("/triggers/db-load/runs", &confirmed)
        .await
        .expect(303);
    assert_eq!(refused.header("location"), "/triggers/db-load");
    let page = follow(&operator, &refused).await.expect(200).body;
    assert!(
        page.contains("flash-bad") && page.contains("queued already"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_begins_shows_everywhere_and_is_lifted() {
    let test = world().await;
    let operator = test.login(Role::Operator).await;
    let begun = operator
        .post(
            "/holds",
            &[
                ("scope", "cluster"),
                ("name", "db"),
                ("reason", "moving racks"),
                ("length", "4h"),
            ],
        )
        .await
        .expect(303);
    let page = follow(&operator, &begun).await.expect(200).body;
    assert!(
        page.contains("A hold on cluster db begins now and ends in 4 h."),
        "{page}"
    );
    let cluster = operator.get("/clusters/db").await.expect(200).body;
    assert!(
        cluster.contains("moving racks") && cluster.contains("held"),
        "{cluster}"
    );
    let id = cluster
        .split("/holds/")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        .unwrap();
    let lifted = operator
        .post(&format!("/holds/{id}/lift"), &[])
        .await
        .expect(303);
    let page = follow(&operator, &lifted).await.expect(200).body;
    assert!(page.contains("The hold on cluster db is lifted."), "{page}");
    let again = operator
        .post(&format!("/holds/{id}/lift"), &[])
        .await
        .expect(303);
    let page = follow(&operator, &again).await.expect(200).body;
    assert!(page.contains("was lifted by operator already"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_hold_keeps_what_was_typed_and_says_what_is_wrong_at_its_field() {
    let test = world().await;
    let operator = test.login(Role::Operator).await;
    let refused = operator
        .post(
            "/holds",
            &[
                ("scope", "node"),
                ("name", "web99"),
                ("reason", " "),
                ("length", "12h"),
            ],
        )
        .await
        .expect(422);
    let page = refused.body.replace("&#34;", "\"");
    assert!(
        page.contains("value=\"web99\"") && page.contains("value=\"12h\" selected"),
        "{page}"
    );
    assert!(page.contains("node \"web99\" does not exist"), "{page}");
    assert!(page.contains("is missing: say why"), "{page}");
    assert!(page.contains("aria-invalid=\"true\""), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_host_key_is_accepted_by_an_admin_alone_and_only_the_one_they_saw() {
    let test = world().await;
    let conn = &mut *test.app.db.connection().unwrap();
    let offered = HostKey::offered(conn).unwrap().remove(0);
    let key = offered.id.to_string();
    let operator = test.login(Role::Operator).await;
    let refused = operator
        .post("/nodes/web09/host-key", &[("key", &key)])
        .await
        .expect(403);
    assert!(refused.body.contains("needs the role admin"), "{refused:?}");
    let admin = test.login(Role::Admin).await;
    let other = admin
        .post("/nodes/web09/host-key", &[("key", "999")])
        .await
        .expect(303);
    let page = follow(&admin, &other).await.expect(200).body;
    assert!(page.contains("no longer shows that key"), "{page}");
    let done = admin
        .post("/nodes/web09/host-key", &[("key", &key)])
        .await
        .expect(303);
    let page = follow(&admin, &done).await.expect(200).body;
    assert!(
        page.contains("key of 10.0.0.9 is accepted from now on"),
        "{page}"
    );
    let keys = HostKey::of_host(conn, "10.0.0.9").unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(
        (keys[0].state, keys[0].key_base64.as_str()),
        (HostKeyState::Accepted, "bmV3IGtleQ==")
    );
    assert_eq!(keys[0].accepted_by.as_deref(), Some("admin"));
    let events = AuditEvent::page(conn, None, Some("node web09"), 1).unwrap();
    assert_eq!(events[0].verb, "accept host key");
    // Behind a jump host the same address is another machine.
    let elsewhere = NewHostKey {
        address: keys[0].address.clone(),
        port: keys[0].port,
        through: "bastion:22".into(),
        state: HostKeyState::Offered,
        key_type: keys[0].key_type.clone(),
        key_base64: "b3RoZXI=".into(),
        seen_ms: 0,
        accepted_by: None,
    };
    HostKey::put(conn, &elsewhere).unwrap();
    let key = HostKey::offered(conn).unwrap().remove(0).id.to_string();
    let other = admin
        .post("/nodes/web09/host-key", &[("key", &key)])
        .await
        .expect(303);
    let page = follow(&admin, &other).await.expect(200).body;
    assert!(page.contains("no longer shows that key"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_presses_nothing_and_a_forged_form_does_nothing() {
    let test = world().await;
    let viewer = test.login(Role::Viewer).await;
    for (path, fields) in [
        ("/triggers/db-load/runs", &[("confirmed", "true")][..]),
        ("/actions/restart/runs", &[("target", "node:web01")]),
        (
            "/holds",
            &[("scope", "everything"), ("reason", "x"), ("length", "1h")],
        ),
        ("/holds/1/lift", &[]),
    ] {
        let refused = viewer.post(path, fields).await.expect(403);
        assert!(
            refused.body.contains("needs the role operator"),
            "{path}: {refused:?}"
        );
    }
    let admin = test.login(Role::Admin).await;
    let before = runs(&test).len();
    let forged = Request::new("POST", "/actions/restart/runs")
        .header("sec-fetch-site", "cross-site")
        .header("origin", "https://evil.example")
        .form(&[("target", "node:web01")]);
    admin.send(forged).await.expect(403);
    assert_eq!(runs(&test).len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_changed_with_the_old_one_and_ends_every_session() {
    let test = TestApp::start().await;
    let viewer = test.login(Role::Viewer).await;
    let form = |current, new, again| [("current", current), ("new", new), ("again", again)];
    let refused = viewer
        .post("/account/password", &form("wrong", "short", "other"))
        .await
        .expect(422)
        .body;
    for said in [
        "is not your password",
        "is not the same as the new password",
        "The password was not changed",
    ] {
        assert!(refused.contains(said), "{said}: {refused}");
    }
    assert!(!refused.contains("short\""), "no password comes back");
    let changed = viewer
        .post(
            "/account/password",
            &form(PASSWORD, "a longer secret", "a longer secret"),
        )
        .await
        .expect(303);
    assert_eq!(changed.header("location"), "/login");
    viewer.get("/").await.expect(303);
    test.anonymous().login("viewer", PASSWORD).await.expect(401);
    test.anonymous()
        .login("viewer", "a longer secret")
        .await
        .expect(303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_theme_is_kept_by_the_browser_and_leads_back() {
    let test = TestApp::start().await;
    let viewer = test.login(Role::Viewer).await;
    let request = Request::new("POST", "/theme")
        .header("sec-fetch-site", "same-origin")
        .header(
            "referer",
            &format!("http://{}/runs?state=open", test.address),
        )
        .form(&[("theme", "dark")]);
    let chosen = viewer.send(request).await.expect(303);
    assert_eq!(chosen.header("location"), "/runs?state=open");
    let page = follow(&viewer, &chosen).await.expect(200).body;
    assert!(
        page.contains("<html lang=\"en\" data-theme=\"dark\">"),
        "{page:.200}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_step_is_decided_about_with_a_reason_and_the_run_goes_on() {
    let test = world().await;
    let operator = test.login(Role::Operator).await;
    let stuck = runs(&test)
        .into_iter()
        .find(|run| run.state == RunState::Stuck)
        .unwrap();
    let page = operator
        .get(&format!("/runs/{}", stuck.id))
        .await
        .expect(200)
        .body;
    let action = page
        .split("formaction=\"")
        .filter_map(|rest| rest.split('"').next())
        .find(|action| action.ends_with("/done"))
        .unwrap()
        .to_owned();
    let silent = operator.post(&action, &[("reason", " ")]).await.expect(303);
    let page = follow(&operator, &silent).await.expect(200).body;
    assert!(page.contains("is required: say what you saw"), "{page}");
    let done = operator
        .post(&action, &[("reason", "the mail arrived")])
        .await
        .expect(303);
    let page = follow(&operator, &done).await.expect(200).body;
    assert!(page.contains("Your word is taken"), "{page}");
    assert!(
        page.contains("the mail arrived"),
        "the journal says why: {page}"
    );
    assert!(!page.contains("This step needs a person"), "{page}");
    let again = operator
        .post(&action, &[("reason", "again")])
        .await
        .expect(303);
    let page = follow(&operator, &again).await.expect(200).body;
    assert!(page.contains("flash-bad"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiting_run_is_cancelled_and_says_by_whom() {
    let test = world().await;
    let operator = test.login(Role::Operator).await;
    let queued = runs(&test)
        .into_iter()
        .find(|run| run.state == RunState::Queued)
        .unwrap();
    let path = format!("/runs/{}", queued.id);
    let cancelled = operator
        .post(&format!("{path}/cancellation"), &[("reason", "")])
        .await
        .expect(303);
    let page = follow(&operator, &cancelled).await.expect(200).body;
    assert!(
        page.contains(&format!("Run {} is cancelled.", queued.id)),
        "{page}"
    );
    assert!(!page.contains("Cancel the run"), "{page}");
    let again = operator
        .post(&format!("{path}/cancellation"), &[("reason", "")])
        .await
        .expect(303);
    let page = follow(&operator, &again).await.expect(200).body;
    assert!(page.contains("flash-bad"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_waits_for_approval_is_on_the_dashboard_and_approved_on_its_runs_page() {
    let test = world().await;
    let now_ms = chrono::Utc::now().timestamp_millis();
    let run = {
        let conn = &mut *test.app.db.connection().unwrap();
        scene::waiting(conn, now_ms)
    };
    let viewer = test.login(Role::Viewer).await;
    let page = viewer.get("/").await.expect(200).body;
    assert!(page.contains("waits for you"), "{page}");
    assert!(page.contains("approve or refuse step tell"), "{page}");
    let page = viewer.get(&format!("/runs/{run}")).await.expect(200).body;
    assert!(page.contains("This step waits for approval"), "{page}");
    assert!(!page.contains("/approve\""), "a viewer has no button");
    let operator = test.login(Role::Operator).await;
    let page = operator.get(&format!("/runs/{run}")).await.expect(200).body;
    let step = {
        let conn = &mut *test.app.db.connection().unwrap();
        headroom::models::step_run::StepRun::of_run(conn, run).unwrap()[1].id
    };
    let path = format!("/runs/{run}/steps/{step}/approve");
    assert!(page.contains(&path), "{page}");
    viewer.post(&path, &[("reason", "")]).await.expect(403);
    let done = operator.post(&path, &[("reason", "")]).await.expect(303);
    let page = follow(&operator, &done).await.expect(200).body;
    assert!(page.contains("The step is approved"), "{page}");
    assert!(page.contains("approved by operator"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_is_tried_again_tells_its_attempts_with_their_reasons() {
    let test = world().await;
    let now_ms = chrono::Utc::now().timestamp_millis();
    let run = {
        use headroom::models::step_run::{StepChange, StepRun};
        use headroom::models::{RunState, StepState};
        let conn = &mut *test.app.db.connection().unwrap();
        let steps = [StepState::Started, StepState::Planned];
        let run = scene::run(conn, now_ms - 60_000, RunState::Running, steps);
        let step = StepRun::of_run(conn, run).unwrap()[0].id;
        let tried = serde_json::json!([
            {"attempt": 1, "failed_ms": now_ms - 9_000, "error": "<b>no</b> capacity"},
            {"attempt": 2, "failed_ms": now_ms - 5_000, "error": "no capacity either"},
        ]);
        let change = StepChange {
            attempt: Some(2),
            error: Some(Some("no capacity either".into())),
            retry_at_ms: Some(Some(now_ms + 90_000)),
            attempts: Some(tried.to_string()),
            ..StepChange::default()
        };
        assert!(StepRun::change(conn, step, &[StepState::Started], &change).unwrap());
        run
    };
    let viewer = test.login(Role::Viewer).await;
    let page = viewer.get(&format!("/runs/{run}")).await.expect(200).body;
    for part in [
        "It is tried again",
        "Attempts that failed before: 2",
        "attempt 1: &#60;b&#62;no&#60;/b&#62; capacity",
        "attempt 2: no capacity either",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let told = test.bearer(Role::Viewer);
    let told = told.get(&format!("/api/v1/runs/{run}")).await.json();
    let step = &told["steps"][0];
    assert_eq!(step["attempts"][1]["number"], 2);
    assert!(step["retry_at"].is_string(), "{step:#}");
}
