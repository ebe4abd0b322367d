//! An open breaker is told, refuses launches, and is closed by an operator.

use headroom::models::breaker::Breaker;
use headroom::models::cluster::Cluster;
use headroom::models::{BreakerState, Role};
use serde_json::json;

use super::world;
use crate::support::app::TestApp;
use crate::support::http::Request;

const GROWING: &str = "
actions:
  - { name: grow, kind: DeployEc2Node, ec2_profile: small, ssh_profile: ops }
triggers:
  - { name: grow, cluster: web, steps: [{ action: grow, target: cluster }] }
";

fn open(test: &TestApp) {
    let conn = &mut *test.app.db.connection().unwrap();
    let cluster = Cluster::by_name(conn, "web").unwrap();
    let open = Breaker {
        state: BreakerState::Open,
        failures: 3,
        reason: "there is no capacity".into(),
        opened_ms: Some(chrono::Utc::now().timestamp_millis() - 60_000),
        ..Breaker::closed(cluster.id)
    };
    open.keep(conn).unwrap();
}

#[tokio::test]
async fn an_open_breaker_refuses_what_launches_until_an_operator_closes_it() {
    let (test, admin) = world::start().await;
    let put = Request::new("PUT", "/api/v1/fleet").body("application/yaml", GROWING);
    admin.send(put).await.expect(200);
    let path = "/api/v1/clusters/web/breaker";
    let told = admin.get(path).await.expect(200).json();
    assert_eq!(
        (&told["state"], &told["refusal"]),
        (&json!("closed"), &json!(null))
    );
    open(&test);
    let told = admin.get(path).await.expect(200).json();
    assert_eq!(
        (&told["state"], &told["failures"]),
        (&json!("open"), &json!(3))
    );
    let refusal = told["refusal"].as_str().unwrap();
    assert!(refusal.contains("(there is no capacity)"), "{refusal}");
    let operator = test.bearer(Role::Operator);
    let run = "/api/v1/triggers/grow/runs";
    let refused = operator.post(run, &json!({})).await.expect(409).detail();
    assert!(
        refused.starts_with("the breaker of web is open since")
            && refused.ends_with("Nothing was started."),
        "{refused}"
    );
    // What does not launch is not concerned.
    operator
        .post("/api/v1/triggers/web-hot/runs", &json!({}))
        .await
        .expect(202);
    let metrics = admin.get("/metrics").await.expect(200).body;
    assert!(
        metrics.contains("headroom_breaker_open{cluster=\"web\"} 1"),
        "{metrics}"
    );
    let person = test.login(Role::Operator).await;
    let page = person.get("/clusters/web").await.expect(200).body;
    assert!(page.contains("3 launches in a row gave no node"), "{page}");
    assert!(page.contains("/clusters/web/breaker/close"), "{page}");
    let dashboard = person.get("/").await.expect(200).body;
    assert!(dashboard.contains("breaker open"), "{dashboard}");

    let close = "/api/v1/clusters/web/breaker/close";
    test.bearer(Role::Viewer)
        .post(close, &json!({}))
        .await
        .expect(403);
    operator.post(close, &json!({})).await.expect(422);
    let why = json!({"reason": "the quota was raised"});
    let closed = operator.post(close, &why).await.expect(200).json();
    assert_eq!(
        (&closed["state"], &closed["refusal"]),
        (&json!("closed"), &json!(null))
    );
    let again = operator.post(close, &why).await.expect(409).detail();
    assert_eq!(again, "the breaker of web is closed already");
    operator.post(run, &json!({})).await.expect(202);
    let audit = admin.get("/api/v1/audit?object=cluster%20web").await.json();
    assert_eq!(audit["items"][0]["verb"], "close breaker");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clusters_page_has_the_button_and_a_viewer_has_not() {
    let (test, _admin) = world::start().await;
    open(&test);
    let viewer = test.login(Role::Viewer).await;
    let page = viewer.get("/clusters/web").await.expect(200).body;
    assert!(
        page.contains("Launch breaker") && !page.contains("breaker/close"),
        "{page}"
    );
    let operator = test.login(Role::Operator).await;
    let path = "/clusters/web/breaker/close";
    operator
        .post(path, &[("reason", "quota raised")])
        .await
        .expect(303);
    let page = operator.get("/clusters/web").await.expect(200).body;
    assert!(!page.contains("Launch breaker"), "{page}");
}
