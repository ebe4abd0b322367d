//! Instances and nodes that disagree are told, and settled by programs.

use headroom::models::{NodeState, Role};
use headroom::web::commands;
use serde_json::{Value, json};

use crate::support::app::Bearer;
use crate::support::http::Answer;
use crate::support::strays::{ADDRESSES, Strays};

/// What the API tells, after a look.
async fn told(strays: &Strays, program: &Bearer) -> Vec<Value> {
    let looked = commands::look(&strays.test.app).await.unwrap();
    assert!(looked.starts_with("3 instances were looked at"), "{looked}");
    let told = program.get("/api/v1/instances").await.expect(200).json();
    assert_eq!(told["next"], Value::Null);
    told["items"].as_array().unwrap().clone()
}

fn about<'a>(items: &'a [Value], instance: &str) -> &'a Value {
    let mut items = items.iter();
    items.find(|item| item["instance"] == instance).unwrap()
}

fn path(item: &Value, verb: &str) -> String {
    format!("/api/v1/instances/{}/{verb}", item["id"])
}

async fn call(program: &Bearer, item: &Value, verb: &str) -> Answer {
    program.post(&path(item, verb), &json!({})).await
}

#[tokio::test]
async fn what_disagrees_is_told_with_its_kind_and_its_reason() {
    let strays = Strays::start().await;
    let viewer = strays.test.bearer(Role::Viewer);
    let before = viewer.get("/api/v1/instances").await.expect(200).json();
    assert_eq!(before["items"], json!([]), "nobody has looked");
    let items = told(&strays, &viewer).await;
    assert_eq!(items.len(), 3);
    for (instance, kind, node, detail) in [
        (
            &strays.instances[0],
            "orphan",
            "web07",
            "it is running and no node stands for it",
        ),
        (
            &strays.instances[1],
            "orphan",
            "web08",
            "it is running and no node stands for it",
        ),
        (
            &strays.instances[2],
            "ghost",
            "web02",
            "its instance is terminated",
        ),
    ] {
        let item = about(&items, instance);
        assert_eq!(
            (&item["kind"], &item["node"], &item["cluster"]),
            (&json!(kind), &json!(node), &json!("web"))
        );
        let said = item["detail"].as_str().unwrap();
        assert!(said.starts_with(detail), "{said}");
        assert_eq!(item["first_seen"], item["seen"]);
        for verb in ["adopt", "forget", "reap"] {
            call(&viewer, item, verb).await.expect(403);
        }
    }
    assert!(strays.node("web07").is_none() && strays.runs().is_empty());
}

#[tokio::test]
async fn what_disagrees_is_settled_and_the_audit_names_the_program() {
    let strays = Strays::start().await;
    let operator = strays.test.bearer(Role::Operator);
    let items = told(&strays, &operator).await;
    let [adopted, reaped, ghost] = strays
        .instances
        .each_ref()
        .map(|instance| about(&items, instance));

    let answer = call(&operator, adopted, "adopt").await.expect(200).json();
    assert_eq!(answer, json!({"node": "web07"}));
    let node = strays.node("web07").unwrap();
    assert_eq!(
        (node.state, node.address.as_str()),
        (NodeState::InService, ADDRESSES[0])
    );
    let answer = call(&operator, reaped, "reap").await.expect(202).json();
    let run = strays.runs().remove(0);
    assert_eq!(answer, json!({"run": run.id}));
    assert_eq!(run.requested_by, "operator-program");
    let refused = call(&operator, reaped, "reap").await.expect(409).detail();
    assert_eq!(refused, format!("run {} is at it already", run.id));
    let refused = call(&operator, reaped, "forget").await.expect(409).detail();
    assert!(
        refused.starts_with("an instance is there, so it is not forgotten: it is running"),
        "{refused}"
    );
    let refused = call(&operator, ghost, "reap").await.expect(409).detail();
    assert_eq!(
        refused,
        "there is no instance to reap: its instance is terminated; forget the node"
    );
    let answer = call(&operator, ghost, "forget").await.expect(200).json();
    assert_eq!(answer, json!({"node": "web02"}));
    assert!(strays.node("web02").is_none());
    let again = call(&operator, ghost, "forget").await.expect(404).detail();
    assert_eq!(again, format!("Finding {} does not exist.", ghost["id"]));

    for (object, verb) in [
        (format!("instance {}", strays.instances[0]), "adopt"),
        (format!("instance {}", strays.instances[1]), "reap"),
        ("node web02".to_owned(), "forget"),
    ] {
        let query = object.replace(' ', "%20");
        let audit = operator.get(&format!("/api/v1/audit?object={query}")).await;
        let event = audit.expect(200).json()["items"][0].clone();
        assert_eq!(
            (&event["verb"], &event["via"], &event["actor"]),
            (&json!(verb), &json!("api"), &json!("operator-program")),
            "{object}"
        );
    }
}

#[tokio::test]
async fn while_all_acting_is_stopped_nothing_is_reaped() {
    let strays = Strays::start().await;
    let operator = strays.test.bearer(Role::Operator);
    let items = told(&strays, &operator).await;
    let stop = json!({"scope": "stop", "reason": "wrong machines are going"});
    let stopped = strays.admin.post("/api/v1/holds", &stop).await;
    stopped.expect(201);
    let orphan = about(&items, &strays.instances[0]);
    let refused = call(&operator, orphan, "reap").await.expect(409).detail();
    assert!(
        refused.starts_with("All acting is stopped by ")
            && refused.ends_with(": wrong machines are going. Nothing was started."),
        "{refused}"
    );
    assert!(strays.runs().is_empty());
}
