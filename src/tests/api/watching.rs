//! What is told without changing anything.

use headroom::models::audit::{AuditEvent, NewAuditEvent};
use headroom::models::cluster::{Cluster, NewCluster};
use headroom::models::counter::{Counter, NewCounter};
use headroom::models::node::{NewNode, Node, OWN_HOST};
use headroom::models::{Comparison, CounterKind, Missing, Role, Via};
use headroom::samples::{SeriesKey, Write};
use serde_json::json;

use crate::support::app::TestApp;

fn counter(test: &TestApp, kind: CounterKind) -> Counter {
    let new = NewCounter {
        name: "load1".into(),
        kind,
        settings: "{\"script\":\"true\"}".into(),
        comparison: Comparison::Greater,
        threshold: 4.0,
        unit: None,
        every_secs: None,
        timeout_secs: 10,
        missing: Missing::Hold,
        updated_ms: 0,
    };
    Counter::insert(&mut test.app.db.connection().unwrap(), &new).unwrap()
}

fn nodes(test: &TestApp, names: &[&str]) -> Vec<Node> {
    let conn = &mut *test.app.db.connection().unwrap();
    let cluster = Cluster::insert(conn, &NewCluster::named("web", 0)).unwrap();
    let insert = |name: &&str| {
        let new = NewNode::in_service(*name, cluster.id, OWN_HOST, 0);
        Node::insert(conn, &new).unwrap()
    };
    names.iter().map(insert).collect()
}

#[tokio::test]
async fn a_series_has_a_label_and_nulls_where_samples_are_missing() {
    let test = TestApp::start().await;
    let nodes = nodes(&test, &["web01", "web02"]);
    let counter = counter(&test, CounterKind::Local);
    let tick_ms = 60_000;
    let writes: Vec<Write> = [0, 1, 4]
        .into_iter()
        .map(|tick| Write {
            key: SeriesKey::Local {
                node: nodes[0].id,
                counter: counter.id,
            },
            tick_ms: 1_700_000_040_000 + tick * tick_ms,
            measured_ms: 0,
            took_ms: 1,
            outcome: Ok(f64::from(i32::try_from(tick).unwrap()) + 0.5),
            breach: None,
        })
        .collect();
    test.app.store.write(&writes).await.unwrap();
    let viewer = test.bearer(Role::Viewer);
    let begin = 1_700_000_040_000_i64;
    let path = format!(
        "/api/v1/series?cluster=web&counter=load1&from={begin}&to={}",
        begin + 10 * tick_ms
    );
    let answer = viewer.get(&path).await.expect(200).json();
    assert_eq!(
        answer,
        json!([
            {"label": "web01", "data": [
                [begin, 0.5], [begin + tick_ms, 1.5],
                [begin + 2 * tick_ms, null], [begin + 3 * tick_ms, null],
                [begin + 4 * tick_ms, 4.5],
            ]},
            {"label": "web02", "data": []},
        ])
    );
    let from = "2023-11-14T22:14:00Z";
    let path = format!("/api/v1/series?node=web01&counter=load1&from={from}&to={from}");
    let answer = viewer.get(&path).await.expect(200).json();
    assert_eq!(answer[0]["data"], json!([[begin, 0.5]]), "both ends count");
}

#[tokio::test]
async fn a_series_that_makes_no_sense_is_refused_with_the_parameter() {
    let test = TestApp::start().await;
    nodes(&test, &["web01"]);
    counter(&test, CounterKind::Local);
    let viewer = test.bearer(Role::Viewer);
    for (query, status, path, message) in [
        (
            "node=web01&cluster=web&counter=load1",
            422,
            "cluster",
            "either cluster or node",
        ),
        ("counter=load1", 422, "cluster", "either cluster or node"),
        (
            "node=web01&counter=load1&from=noon",
            422,
            "from",
            "neither a time",
        ),
        (
            "node=web01&counter=load1&from=0",
            422,
            "from",
            "500000 are the most",
        ),
    ] {
        let answer = viewer.get(&format!("/api/v1/series?{query}")).await;
        let problem = answer.expect(status).json();
        assert_eq!(problem["faults"][0]["path"], path, "{query}");
        let told = problem["faults"][0]["message"].as_str().unwrap();
        assert!(told.contains(message), "{query}: {told}");
    }
    for (query, status, detail) in [
        (
            "node=nobody&counter=load1",
            404,
            "Node \"nobody\" does not exist.",
        ),
        (
            "node=web01&counter=none",
            404,
            "Counter \"none\" does not exist.",
        ),
        ("node=web01", 400, "missing field `counter`"),
        (
            "node=web01&counter=load1&form=0",
            400,
            "unknown field `form`",
        ),
    ] {
        let answer = viewer.get(&format!("/api/v1/series?{query}")).await;
        let told = answer.expect(status).detail();
        assert!(told.contains(detail), "{query}: {told}");
    }
}

#[tokio::test]
async fn the_audit_is_told_newest_first_and_in_pieces() {
    let test = TestApp::start().await;
    for n in 1..=5 {
        let event = NewAuditEvent {
            at_ms: n * 1_000,
            actor: "ann".into(),
            via: Via::Page,
            verb: "changed".into(),
            object: if n == 3 { "trigger hot" } else { "node web01" }.into(),
            before: None,
            after: Some(format!("{{\"n\":{n}}}")),
        };
        AuditEvent::record(&mut test.app.db.connection().unwrap(), &event).unwrap();
    }
    let viewer = test.bearer(Role::Viewer);
    let mut path = "/api/v1/audit?limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = viewer.get(&path).await.expect(200).json();
        for item in page["items"].as_array().unwrap() {
            seen.push(item["after"]["n"].as_i64().unwrap());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/api/v1/audit?limit=2&cursor={next}");
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let one = viewer.get("/api/v1/audit?object=trigger%20hot").await;
    let one = one.expect(200).json();
    assert_eq!(
        one["items"],
        json!([{
            "id": 3, "at": "1970-01-01T00:00:03Z", "actor": "ann", "via": "page",
            "verb": "changed", "object": "trigger hot", "before": null, "after": {"n": 3},
        }])
    );
}

#[tokio::test]
async fn the_status_counts_what_there_is() {
    let test = TestApp::start().await;
    nodes(&test, &["web01", "web02"]);
    counter(&test, CounterKind::Local);
    let status = test.bearer(Role::Viewer).get("/api/v1/status").await;
    let status = status.expect(200).json();
    assert_eq!(status["clusters"], 1);
    assert_eq!(status["nodes"], json!({"in_service": 2}));
    assert_eq!(status["counters"], 1);
    assert_eq!(status["runs"]["stuck"], 0);
    assert_eq!(status["tick_secs"], 60);
    assert_eq!(status["parts"]["database"], "ok");
    assert_eq!(status["parts"]["store"], "ok");
    assert_eq!(status["failed_tasks"], json!([]));
}

#[tokio::test]
async fn tasks_are_told_with_their_last_result() {
    use headroom::models::task::Task;
    let test = TestApp::start().await;
    {
        let conn = &mut *test.app.db.connection().unwrap();
        Task::begin(conn, "collect", 60_000, 60_000).unwrap();
        Task::skip(conn, "collect", 2).unwrap();
    }
    let tasks = test.bearer(Role::Viewer).get("/api/v1/tasks").await;
    let tasks = tasks.expect(200).json();
    let task = &tasks["tasks"][0];
    assert_eq!(task["name"], "collect");
    assert_eq!(task["started"], "1970-01-01T00:01:00Z");
    assert_eq!(task["skipped"], 2);
    assert!(task["succeeded"].is_null());
}
