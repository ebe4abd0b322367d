//! The whole fleet in one document.

use headroom::models::Role;
use serde_json::json;

use super::world::{self, FLEET};
use crate::support::app::Bearer;
use crate::support::http::{Answer, Request};

async fn put(admin: &Bearer, query: &str, text: &str) -> Answer {
    let request = Request::new("PUT", &format!("/api/v1/fleet{query}"));
    admin.send(request.body("application/yaml", text)).await
}

#[tokio::test]
async fn what_is_exported_changes_nothing_when_it_is_applied_again() {
    let (_test, admin) = world::start().await;
    let again = put(&admin, "", FLEET).await.expect(200).json();
    assert_eq!(again["changes"], json!([]));
    let yaml = admin.get("/api/v1/fleet").await.expect(200);
    assert!(yaml.header("content-type").starts_with("application/yaml"));
    let back = put(&admin, "?prune=true", &yaml.body)
        .await
        .expect(200)
        .json();
    assert_eq!(back["changes"], json!([]));
    let request = Request::new("GET", "/api/v1/fleet").header("accept", "application/json");
    let file = admin.send(request).await.expect(200);
    assert_eq!(file.json()["clusters"][1]["name"], "web");
    let back = put(&admin, "?prune=true", &file.body).await.expect(200);
    assert_eq!(back.json()["changes"], json!([]), "JSON is YAML");
}

#[tokio::test]
async fn a_dry_run_tells_what_would_change_and_changes_nothing() {
    let (_test, admin) = world::start().await;
    let text = "clusters: [{ name: db, min_nodes: 1 }]";
    let told = put(&admin, "?dry_run=true", text).await.expect(200).json();
    assert_eq!(told["changes"][0]["name"], "db", "{told}");
    admin.get("/api/v1/clusters/db").await.expect(404);
    put(&admin, "", text).await.expect(200);
    admin.get("/api/v1/clusters/db").await.expect(200);
}

#[tokio::test]
async fn a_misspelt_dry_run_is_refused_instead_of_applied() {
    let (_test, admin) = world::start().await;
    let text = "clusters: [{ name: db, min_nodes: 1 }]";
    let refusal = put(&admin, "?dryrun=true", text).await.expect(400);
    assert!(refusal.detail().contains("unknown field `dryrun`"));
    admin.get("/api/v1/clusters/db").await.expect(404);
}

#[tokio::test]
async fn a_file_with_faults_is_refused_whole_with_every_fault() {
    let (_test, admin) = world::start().await;
    let text =
        "clusters:\n  - { name: db, min_nodes: -1, nodez: [] }\n  - { name: ok, min_nodes: 0 }\n";
    let refusal = put(&admin, "", text).await.expect(422).json();
    let faults = refusal["faults"].to_string();
    assert!(faults.contains("clusters[0].min_nodes"), "{faults}");
    assert!(faults.contains("clusters[0].nodez"), "{faults}");
    admin.get("/api/v1/clusters/ok").await.expect(404);
    let refusal = put(&admin, "", "clusters: [").await.expect(422);
    assert_eq!(refusal.json()["faults"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_but_an_admin_applies_a_file() {
    let (test, _admin) = world::start().await;
    let operator = test.bearer(Role::Operator);
    let refusal = put(&operator, "", FLEET).await.expect(403).detail();
    assert!(
        refusal.starts_with(
            "This needs the role admin, and \"operator-program\" has the role operator."
        )
    );
}

#[tokio::test]
async fn a_secret_that_is_given_is_never_told_again() {
    let (test, admin) = world::start().await;
    let secret = "s3cret-passw0rd-of-jmx";
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmU=\\n-----END OPENSSH PRIVATE KEY-----\\n";
    let text = format!(
        "jvm_profiles: [{{ name: locked, port: 9010, user: monitor, password: {secret} }}]\n\
         ssh_profiles: [{{ name: keyed, user: ops, private_key: \"{key}\", host_keys: first_use }}]"
    );
    let mut answers = vec![put(&admin, "", &text).await.expect(200)];
    let changed = text.replace("9010", "9011");
    answers.push(put(&admin, "", &changed).await.expect(200));
    for path in [
        "jvm-profiles/locked",
        "ssh-profiles/keyed",
        "jvm-profiles",
        "ssh-profiles",
        "fleet",
        "audit",
        "status",
    ] {
        answers.push(admin.get(&format!("/api/v1/{path}")).await.expect(200));
    }
    for answer in answers {
        assert!(!answer.body.contains(secret), "{}", answer.body);
        assert!(!answer.body.contains("b3BlbnNzaC1rZXk"), "{}", answer.body);
    }
    drop(test);
}
