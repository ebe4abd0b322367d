//! Definitions one at a time.

use serde_json::{Value, json};

use super::world;
use crate::support::http::Request;

/// For every kind a definition that nothing uses yet, and a change of it.
fn examples() -> Vec<(&'static str, Value, &'static str, Value)> {
    vec![
        (
            "clusters",
            json!({"name": "new", "min_nodes": 1}),
            "min_nodes",
            json!(2),
        ),
        (
            "nodes",
            json!({"name": "new", "address": "10.9.0.1", "cluster": "web", "ssh_profile": "ops"}),
            "address",
            json!("10.9.0.2"),
        ),
        (
            "ssh-profiles",
            json!({"name": "new", "user": "ops", "private_key_file": "/k", "host_keys": "first_use"}),
            "user",
            json!("root"),
        ),
        (
            "jvm-profiles",
            json!({"name": "new", "port": 9010}),
            "port",
            json!(9011),
        ),
        (
            "ec2-profiles",
            json!({"name": "new", "region": "eu-west-1", "image_id": "ami-1", "instance_type": "t3.small"}),
            "image_id",
            json!("ami-2"),
        ),
        (
            "counters",
            json!({"name": "new", "kind": "ssh", "script": "echo 1", "comparison": ">", "threshold": 1}),
            "script",
            json!("echo 2"),
        ),
        (
            "actions",
            json!({"name": "new", "kind": "LocalScript", "script": "true"}),
            "script",
            json!("false"),
        ),
        (
            "triggers",
            json!({"name": "new", "cluster": "web", "counters": ["load1"], "timing": "5m"}),
            "timing",
            json!("10m"),
        ),
    ]
}

#[tokio::test]
async fn every_kind_is_created_read_replaced_listed_and_removed() {
    let (_test, admin) = world::start().await;
    for (section, body, field, changed) in examples() {
        let all = format!("/api/v1/{section}");
        let one = format!("{all}/new");
        admin.get(&one).await.expect(404);
        let created = admin.post(&all, &body).await.expect(201);
        assert_eq!(created.header("location"), one);
        assert_eq!(created.json()[field], body[field], "{section}");
        let again = admin.post(&all, &body).await.expect(409).detail();
        assert!(again.contains("\"new\" already"), "{section}: {again}");
        let read = admin.get(&one).await.expect(200).json();
        assert_eq!(read, created.json(), "{section}");
        // What was read can be sent back as it is.
        admin.put(&one, &read).await.expect(200);
        let mut other = read.clone();
        other[field] = changed.clone();
        let replaced = admin.put(&one, &other).await.expect(200).json();
        assert_eq!(replaced[field], changed, "{section}");
        let list = admin.get(&format!("{all}?limit=1000")).await.expect(200);
        let list = list.json()["items"].as_array().unwrap().clone();
        let names: Vec<_> = list.iter().map(|it| it["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"new"), "{section}: {names:?}");
        assert!(names.is_sorted(), "{section}: {names:?}");
        admin.delete(&one).await.expect(204);
        admin.delete(&one).await.expect(404);
        let anew = admin.put(&one, &body).await.expect(201);
        assert_eq!(anew.header("location"), one, "PUT of a new name creates it");
        admin.delete(&one).await.expect(204);
    }
}

#[tokio::test]
async fn what_is_used_is_not_removed_and_the_refusal_names_every_user() {
    let (_test, admin) = world::start().await;
    for (path, users) in [
        (
            "clusters/web",
            &[
                "node \"web01\"",
                "node \"web02\"",
                "trigger \"idle\"",
                "trigger \"web-hot\"",
            ][..],
        ),
        ("ssh-profiles/ops", &["node \"web01\"", "node \"web02\""]),
        ("jvm-profiles/tomcat", &["node \"web01\""]),
        (
            "counters/load1",
            &["trigger \"idle\"", "trigger \"web-hot\""],
        ),
        ("actions/restart", &["trigger \"web-hot\""]),
    ] {
        let refusal = admin.delete(&format!("/api/v1/{path}")).await.expect(409);
        let refusal = refusal.detail();
        for user in users {
            assert!(refusal.contains(user), "{path}: {user} in {refusal}");
        }
        admin.get(&format!("/api/v1/{path}")).await.expect(200);
    }
}

#[tokio::test]
async fn every_fault_of_a_body_is_told_by_its_path_and_nothing_is_written() {
    let (_test, admin) = world::start().await;
    let body = json!({"name": "bad", "cluster": "webb", "counters": ["load1", "none"], "timing": "5 apples", "coolddown": "1m"});
    let refusal = admin
        .post("/api/v1/triggers", &body)
        .await
        .expect(422)
        .json();
    let faults = refusal["faults"].as_array().unwrap();
    let at = |path: &str| {
        let found = faults.iter().find(|fault| fault["path"] == path);
        let fault = found.unwrap_or_else(|| panic!("{path} in {faults:?}"));
        fault["message"].as_str().unwrap().to_owned()
    };
    assert!(
        at("cluster").contains("\"web\""),
        "the nearest name: {faults:?}"
    );
    assert!(
        at("coolddown").contains("cooldown"),
        "the nearest key: {faults:?}"
    );
    at("counters[1]");
    at("timing");
    admin.get("/api/v1/triggers/bad").await.expect(404);
}

#[tokio::test]
async fn a_definition_keeps_the_name_of_its_address() {
    let (_test, admin) = world::start().await;
    let body = json!({"name": "other", "min_nodes": 0});
    let refusal = admin.put("/api/v1/clusters/web", &body).await.expect(422);
    assert_eq!(refusal.json()["faults"][0]["path"], "name");
    admin.get("/api/v1/clusters/other").await.expect(404);
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused_in_words() {
    let (_test, admin) = world::start().await;
    let put = |kind: &str, body: &str| {
        Request::new("PUT", "/api/v1/clusters/web").body(kind, body.as_bytes())
    };
    let refusal = admin.send(put("application/json", "{\"name\":")).await;
    assert!(
        refusal
            .expect(400)
            .detail()
            .contains("The body is not what was expected")
    );
    let refusal = admin.send(put("text/plain", "{}")).await.expect(415);
    assert!(refusal.detail().contains("Content-Type: application/json"));
    let refusal = admin.send(put("application/json", "[1]")).await.expect(422);
    assert!(refusal.body.contains("must be a JSON object"));
}

#[tokio::test]
async fn a_list_comes_in_pieces() {
    let (_test, admin) = world::start().await;
    let first = admin.get("/api/v1/nodes?limit=1").await.expect(200).json();
    assert_eq!(first["items"][0]["name"], "web01");
    assert_eq!(first["items"][0]["cluster"], "web");
    let next = first["next"].as_str().unwrap();
    let path = format!("/api/v1/nodes?limit=1&cursor={next}");
    let second = admin.get(&path).await.expect(200).json();
    assert_eq!(second["items"][0]["name"], "web02");
    assert!(second["next"].is_null());
    admin.get("/api/v1/nodes?limit=0").await.expect(422);
    admin.get("/api/v1/nodes?page=2").await.expect(400);
}

#[tokio::test]
async fn a_change_leaves_an_audit_event_with_who_and_what() {
    let (_test, admin) = world::start().await;
    let body = json!({"name": "web", "min_nodes": 2, "max_nodes": 5});
    admin.put("/api/v1/clusters/web", &body).await.expect(200);
    let events = admin
        .get("/api/v1/audit?object=cluster%20web&limit=1")
        .await;
    let event = events.expect(200).json()["items"][0].clone();
    assert_eq!(event["actor"], "admin-program");
    assert_eq!(event["via"], "api");
    assert_eq!(event["verb"], "changed");
    assert_eq!(event["before"]["min_nodes"], 1);
    assert_eq!(event["after"]["min_nodes"], 2);
}
