//! The description of the API is true.

use std::collections::BTreeSet;

use headroom::models::Role;
use headroom::web::{api, routes};
use serde_json::Value;

use crate::support::app::TestApp;

async fn document(test: &TestApp) -> Value {
    let program = test.bearer(Role::Viewer);
    program.get("/api/v1/openapi.json").await.expect(200).json()
}

#[tokio::test]
async fn it_describes_every_route_of_the_api_and_no_other() {
    let test = TestApp::start().await;
    let document = document(&test).await;
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            described.insert((method.to_uppercase(), path.clone()));
        }
    }
    let routed = routes::table()
        .into_iter()
        .filter(|line| line.path.starts_with("/api/"))
        .map(|line| (line.method.to_string(), line.path))
        .collect();
    assert_eq!(described, routed);
}

#[tokio::test]
async fn every_reference_in_it_leads_somewhere() {
    let test = TestApp::start().await;
    let document = document(&test).await;
    let text = document.to_string();
    let mut found = 0;
    for part in text.split("\"$ref\":\"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} is dangling");
        found += 1;
    }
    assert!(found > 20, "only {found} references");
}

#[tokio::test]
async fn it_says_of_every_operation_who_may_use_it_and_how_it_refuses() {
    let test = TestApp::start().await;
    let document = document(&test).await;
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let place = format!("{method} {path}");
            let role = operation["description"].as_str().unwrap();
            assert!(role.starts_with("Needs the role "), "{place}: {role}");
            let refusal = &operation["responses"]["default"]["content"];
            assert!(refusal["application/problem+json"].is_object(), "{place}");
            assert!(
                !operation["summary"].as_str().unwrap().is_empty(),
                "{place}"
            );
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} stands twice");
            for part in path.split('{').skip(1) {
                let name = part.split('}').next().unwrap();
                let params = operation["parameters"].as_array().unwrap();
                let known = params.iter().any(|param| param["name"] == name);
                assert!(known, "{place} does not say what {name} is");
            }
        }
    }
}

#[test]
fn reading_is_for_viewers_and_nothing_that_changes_is() {
    use headroom::web::auth::Access;
    for operation in api::table::operations() {
        let place = format!("{} {}", operation.line.method, operation.line.path);
        let Access::Needs(role) = operation.line.access else {
            panic!("{place} is open");
        };
        // Looking into a JVM makes Headroom log in there.
        let connects = operation.line.path.contains("/jvms/");
        if operation.changes() || connects {
            assert!(role > Role::Viewer, "{place}");
        } else {
            assert_eq!(role, Role::Viewer, "{place}");
        }
    }
}
