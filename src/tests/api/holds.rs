//! Holds begin, are seen, and end.

use headroom::models::Role;
use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_hold_begins_is_listed_and_is_lifted_once() {
    let test = TestApp::start().await;
    let operator = test.bearer(Role::Operator);
    let body = json!({"scope": "everything", "reason": "deploying", "for": "2h"});
    let hold = operator
        .post("/api/v1/holds", &body)
        .await
        .expect(201)
        .json();
    assert_eq!(hold["active"], true);
    assert_eq!(hold["author"], "operator-program");
    let active = operator.get("/api/v1/holds?active=true").await.expect(200);
    assert_eq!(active.json()["items"][0]["id"], hold["id"]);
    let path = format!("/api/v1/holds/{}", hold["id"]);
    let lifted = operator.delete(&path).await.expect(200).json();
    assert_eq!(lifted["active"], false);
    assert_eq!(lifted["lifted_by"], "operator-program");
    let again = operator.delete(&path).await.expect(409).detail();
    assert!(
        again.contains("was lifted by operator-program already"),
        "{again}"
    );
    let active = operator.get("/api/v1/holds?active=true").await.expect(200);
    assert_eq!(active.json()["items"], json!([]));
    let all = operator.get("/api/v1/holds").await.expect(200).json();
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
    let audit = operator.get("/api/v1/audit").await.expect(200).json();
    let verbs: Vec<_> = audit["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["verb"])
        .collect();
    assert_eq!(verbs, ["lift hold", "hold"]);
}

#[tokio::test]
async fn a_hold_without_an_end_or_a_reason_or_a_thing_is_refused_with_every_fault() {
    let test = TestApp::start().await;
    let operator = test.bearer(Role::Operator);
    let endless = json!({"scope": "everything", "reason": "x"});
    let refused = operator.post("/api/v1/holds", &endless).await.expect(422);
    assert_eq!(refused.json()["faults"][0]["path"], "expires");
    let body = json!({"scope": "cluster", "name": "none", "reason": " ", "expires": "2020-01-01T00:00:00Z"});
    let refused = operator
        .post("/api/v1/holds", &body)
        .await
        .expect(422)
        .json();
    let paths: Vec<_> = refused["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["path"])
        .collect();
    assert_eq!(paths, ["reason", "expires", "name"]);
    let unknown = json!({"scope": "everything", "reason": "x", "four": "2h"});
    let refused = operator.post("/api/v1/holds", &unknown).await.expect(400);
    assert!(refused.detail().contains("unknown field `four`"));
}

#[tokio::test]
async fn an_admin_stops_all_acting_until_it_is_lifted_and_nothing_is_started_meanwhile() {
    let (test, admin) = super::world::start().await;
    let operator = test.bearer(Role::Operator);
    let body = json!({"scope": "stop", "reason": "wrong machines are going"});
    let refused = operator.post("/api/v1/holds", &body).await.expect(403);
    assert!(
        refused.detail().contains("needs the role admin"),
        "{}",
        refused.body
    );
    let stop = admin.post("/api/v1/holds", &body).await.expect(201).json();
    assert_eq!(stop["expires"], "9999-12-31T23:59:59Z");
    let twice = admin
        .post("/api/v1/holds", &body)
        .await
        .expect(409)
        .detail();
    assert!(twice.contains("is stopped by admin-program"), "{twice}");
    let run = "/api/v1/triggers/web-hot/runs";
    let refused = operator.post(run, &json!({})).await.expect(409).detail();
    assert_eq!(
        refused,
        "All acting is stopped by admin-program: wrong machines are going. Nothing was started."
    );
    let status = operator.get("/api/v1/status").await.expect(200).json();
    let who = "stopped by admin-program: wrong machines are going";
    assert_eq!(status["stopped"], who);
    let person = test.login(Role::Viewer).await;
    for page in ["/", "/clusters/web", "/runs", "/holds", "/audit"] {
        let body = person.get(page).await.expect(200).body;
        let banner = "stopped by admin-program: wrong machines are going</a>";
        assert!(body.contains(banner), "{page}: {body}");
    }
    let path = format!("/api/v1/holds/{}", stop["id"]);
    operator.delete(&path).await.expect(403);
    admin.delete(&path).await.expect(200);
    operator.post(run, &json!({})).await.expect(202);
}
