//! Who gets through to which line of the URL table: every line is walked with every kind of caller.

use headroom::models::Role;
use headroom::web::auth::Access;
use headroom::web::routes;

use crate::support::app::TestApp;
use crate::support::http::Request;

/// A path with something in place of every parameter; what it names does not exist.
fn concrete(path: &str) -> String {
    path.split('/')
        .map(|part| if part.starts_with('{') { "0" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

fn lines() -> Vec<(String, String, Access)> {
    routes::table()
        .iter()
        .map(|line| (line.method.to_string(), concrete(&line.path), line.access))
        .collect()
}

#[tokio::test]
async fn a_stranger_is_sent_to_the_login_or_told_to_bring_a_token() {
    let test = TestApp::start().await;
    for (method, path, access) in lines() {
        let request = Request::new(&method, &path).header("sec-fetch-site", "same-origin");
        let answer = test.anonymous().send(request).await;
        match access {
            Access::Open => assert_ne!(answer.status, 401, "{method} {path}"),
            _ if path.starts_with("/api/") || path == "/metrics" => {
                assert_eq!(answer.status, 401, "{method} {path}");
                if path.starts_with("/api/") {
                    assert!(answer.detail().contains("Bearer hr_"), "{method} {path}");
                }
            }
            _ => {
                assert_eq!(answer.status, 303, "{method} {path}");
                assert!(answer.header("location").starts_with("/login"), "{path}");
            }
        }
    }
}

#[tokio::test]
async fn a_role_that_does_not_suffice_is_refused_with_a_sentence() {
    let test = TestApp::start().await;
    for role in [Role::Viewer, Role::Operator] {
        let program = test.bearer(role);
        for (method, path, access) in lines() {
            let Access::Needs(needed) = access else {
                continue;
            };
            if role >= needed {
                continue;
            }
            let answer = program.send(Request::new(&method, &path)).await;
            assert_eq!(answer.status, 403, "{role}: {method} {path}");
            let wanted = format!("This needs the role {needed}");
            if path.starts_with("/api/") {
                assert!(answer.detail().starts_with(&wanted), "{method} {path}");
            } else {
                assert!(answer.body.contains(&wanted), "{}", answer.body);
            }
        }
    }
}

#[tokio::test]
async fn a_role_that_suffices_is_never_refused_for_it() {
    let test = TestApp::start().await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let program = test.bearer(role);
        for (method, path, access) in lines() {
            if matches!(access, Access::Needs(needed) if role < needed) {
                continue;
            }
            let request = Request::new(&method, &path).header("sec-fetch-site", "same-origin");
            let answer = program.send(request).await;
            assert!(
                ![401, 403, 405, 500].contains(&answer.status),
                "{role}: {method} {path}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn no_change_with_a_session_comes_from_another_site() {
    let test = TestApp::start().await;
    let admin = test.login(Role::Admin).await;
    let forgeries: [&[(&str, &str)]; 4] = [
        &[("sec-fetch-site", "cross-site")],
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[],
    ];
    for (method, path, _) in lines().iter().filter(|line| line.0 != "GET") {
        for forgery in forgeries {
            let mut request = Request::new(method, path);
            for (name, value) in forgery {
                request = request.header(name, value);
            }
            let answer = admin.send(request).await;
            assert_eq!(answer.status, 403, "{method} {path} {forgery:?}");
            let reason = "was not sent by a page of this Headroom";
            assert!(answer.body.contains(reason), "{}", answer.body);
        }
    }
    admin.get("/metrics").await.expect(200);
}

#[tokio::test]
async fn an_expired_or_unknown_token_opens_nothing() {
    let test = TestApp::start().await;
    let expired = test.bearer_until(Role::Admin, Some(1));
    let answer = expired.get("/metrics").await.expect(401);
    assert!(answer.body.contains("has expired"), "{}", answer.body);
    assert!(!answer.body.contains(&expired.token));
    let unknown = Request::new("GET", "/metrics").header("authorization", "Bearer hr_unknown");
    let answer = test.anonymous().send(unknown).await.expect(401);
    assert!(answer.body.contains("This token is not known"));
}

#[tokio::test]
async fn a_token_notes_when_it_was_used() {
    let test = TestApp::start().await;
    test.bearer(Role::Viewer).get("/metrics").await.expect(200);
    let tokens = test
        .app
        .db
        .read(headroom::models::token::ApiToken::all)
        .await
        .unwrap();
    assert!(tokens[0].last_used_ms.is_some());
}
