//! What a trigger would have done.

use diesel::prelude::*;
use headroom::models::Role;
use headroom::models::counter::Counter;
use headroom::models::node::Node;
use headroom::samples::{SeriesKey, Write};
use headroom::schema::nodes;
use serde_json::json;

use super::world;
use crate::support::app::TestApp;

const BEGIN_MS: i64 = 1_700_000_040_000;
const TICK_MS: i64 = 60_000;

/// Ten minutes of samples on web01: quiet for two, then over the threshold.
async fn samples(test: &TestApp) {
    let (node, counter) = {
        let conn = &mut *test.app.db.connection().unwrap();
        let node = Node::by_name(conn, "web01").unwrap();
        // It was there at the time of the samples.
        diesel::update(nodes::table.find(node.id))
            .set(nodes::created_ms.eq(0))
            .execute(conn)
            .unwrap();
        (node.id, Counter::by_name(conn, "load1").unwrap().id)
    };
    let writes: Vec<_> = (0..10)
        .map(|tick| Write {
            key: SeriesKey::Ssh { node, counter },
            tick_ms: BEGIN_MS + tick * TICK_MS,
            measured_ms: BEGIN_MS + tick * TICK_MS,
            took_ms: 1,
            outcome: Ok(if tick < 2 { 1.0 } else { 9.0 }),
            breach: None,
        })
        .collect();
    test.app.store.write(&writes).await.unwrap();
}

fn span() -> serde_json::Value {
    json!({"from": "2023-11-14T22:14:00Z", "to": "2023-11-14T22:24:00Z"})
}

#[tokio::test]
async fn it_tells_when_the_trigger_would_have_fired_and_why_not_before() {
    let (test, admin) = world::start().await;
    samples(&test).await;
    let path = "/api/v1/triggers/web-hot/backtest";
    let report = admin.post(path, &span()).await.expect(200).json();
    assert_eq!(report["from"], "2023-11-14T22:14:00Z");
    assert_eq!(report["ticks"], 11);
    let outcomes: Vec<_> = report["stretches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["outcome"])
        .collect();
    assert_eq!(outcomes[..2], ["quiet", "pending"], "{report}");
    let firing = &report["firings"][0];
    // The first breaching sample is that of 22:16; five minutes later the timing is full.
    assert_eq!(firing["at"], "2023-11-14T22:21:00Z", "{report}");
    assert!(firing["reason"].as_str().unwrap().contains("load1"));
}

#[tokio::test]
async fn an_edited_definition_is_replayed_and_not_saved() {
    let (test, admin) = world::start().await;
    samples(&test).await;
    let path = "/api/v1/triggers/web-hot";
    let saved = admin.get(path).await.expect(200).json();
    let mut edited = saved.clone();
    edited["timing"] = json!("1m");
    let mut body = span();
    body["definition"] = edited;
    let with = admin
        .post(&format!("{path}/backtest"), &body)
        .await
        .expect(200)
        .json();
    let without = admin
        .post(&format!("{path}/backtest"), &span())
        .await
        .expect(200)
        .json();
    assert_ne!(
        with["stretches"], without["stretches"],
        "the timing matters"
    );
    assert_eq!(admin.get(path).await.expect(200).json(), saved);
    let new = json!({"definition": {"cluster": "web", "counters": ["load1"], "timing": "2m"}});
    admin
        .post("/api/v1/triggers/new/backtest", &new)
        .await
        .expect(200);
    admin.get("/api/v1/triggers/new").await.expect(404);
    let audit = admin.get("/api/v1/audit?object=trigger%20web-hot").await;
    assert_eq!(
        audit.expect(200).json()["items"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_definition_with_faults_and_a_time_that_makes_no_sense_are_refused() {
    let (test, admin) = world::start().await;
    let path = "/api/v1/triggers/web-hot/backtest";
    let body = json!({"definition": {"cluster": "none", "timing": "5m"}});
    let refusal = admin.post(path, &body).await.expect(422).json();
    assert_eq!(refusal["faults"][0]["path"], "cluster");
    let body = json!({"from": "2023-11-14T22:24:00Z", "to": "2023-11-14T22:14:00Z"});
    let refusal = admin.post(path, &body).await.expect(422).json();
    assert_eq!(refusal["faults"][0]["path"], "from");
    let missing = admin.post("/api/v1/triggers/none/backtest", &span()).await;
    missing.expect(404);
    let viewer = test.bearer(Role::Viewer);
    viewer.post(path, &span()).await.expect(403);
}
