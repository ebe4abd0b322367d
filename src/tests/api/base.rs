//! What every answer has, and what is refused before any handler sees it.

use headroom::models::Role;
use headroom::web::assets;

use crate::support::app::TestApp;
use crate::support::http::Request;

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let test = TestApp::start().await;
    for path in ["/login", "/healthz", "/nothing-here", "/api/v1/nothing"] {
        let answer = test.anonymous().get(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {answer:?}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn an_unknown_address_is_a_page_for_people_and_a_problem_for_programs() {
    let test = TestApp::start().await;
    let page = test.anonymous().get("/nothing-here").await.expect(404);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.body.contains("There is nothing at this address"));
    assert!(page.body.contains("href=\"/\""), "a way back");
    let problem = test.anonymous().get("/api/v1/nothing").await.expect(404);
    assert!(problem.detail().contains("nothing at this address"));
    assert_eq!(problem.json()["status"], 404);
    assert_eq!(problem.json()["title"], "Not Found");
    assert!(problem.json()["faults"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn a_method_that_an_address_does_not_take_is_told_which_it_takes() {
    let test = TestApp::start().await;
    let answer = test
        .anonymous()
        .send(Request::new("DELETE", "/login"))
        .await;
    let answer = answer.expect(405);
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
    assert!(answer.body.contains("it takes GET, HEAD, POST"));
}

#[tokio::test]
async fn ten_megabytes_are_refused_with_a_sentence_and_the_server_goes_on() {
    let test = TestApp::start().await;
    let body = vec![b'x'; 10 * 1024 * 1024];
    for path in ["/login", "/api/v1/nothing"] {
        let request = Request::new("POST", path).header("sec-fetch-site", "same-origin");
        let answer = request.body("application/json", body.clone());
        let answer = test.anonymous().send(answer).await.expect(413);
        assert!(
            answer.body.contains("larger than 4 MiB"),
            "{path}: {}",
            answer.body
        );
        let problem = answer.header("content-type") == "application/problem+json";
        assert_eq!(problem, path.starts_with("/api/"), "{path}");
    }
    test.anonymous().get("/healthz").await.expect(200);
}

#[tokio::test]
async fn a_large_body_that_does_not_announce_its_size_is_refused_too() {
    let test = TestApp::start().await;
    let mut body = Vec::new();
    for _ in 0..10 {
        body.extend_from_slice(b"80000\r\nname=");
        body.extend_from_slice(&vec![b'x'; 0x80000 - 5]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    let request = Request::new("POST", "/login")
        .header("sec-fetch-site", "same-origin")
        .header("transfer-encoding", "chunked")
        .body("application/x-www-form-urlencoded", body);
    let answer = test.anonymous().send(request).await.expect(413);
    assert!(answer.body.contains("larger than 4 MiB"), "{}", answer.body);
}

#[tokio::test]
async fn files_are_kept_by_browsers_under_the_address_of_their_contents() {
    let test = TestApp::start().await;
    let address = assets::url("headroom.css");
    let first = test.anonymous().get(address).await.expect(200);
    assert!(first.header("cache-control").contains("immutable"));
    assert_eq!(first.header("content-type"), "text/css; charset=utf-8");
    let again = Request::new("GET", address).header("if-none-match", first.header("etag"));
    let again = test.anonymous().send(again).await.expect(304);
    assert!(again.body.is_empty());
    let old = test
        .anonymous()
        .get("/static/0000000000000000/headroom.css")
        .await;
    assert_eq!(old.clone().expect(200).header("cache-control"), "no-cache");
    test.anonymous()
        .get("/static/0/../../Cargo.toml")
        .await
        .expect(404);
}

#[tokio::test]
async fn it_is_alive_and_ready() {
    let test = TestApp::start().await;
    let alive = test.anonymous().get("/healthz").await.expect(200);
    assert_eq!(alive.body, "alive\n");
    let ready = test.anonymous().get("/readyz").await.expect(200);
    assert_eq!(ready.body, "database: ok\nstore: ok\nqueue: ok\n");
}

#[tokio::test]
async fn metrics_need_a_token_unless_they_are_open() {
    let test = TestApp::start().await;
    let refused = test.anonymous().get("/metrics").await.expect(401);
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    test.app.metrics.readings("value", 3);
    let told = test.bearer(Role::Viewer).get("/metrics").await.expect(200);
    assert!(
        told.body
            .contains("headroom_readings_total{outcome=\"value\"} 3")
    );
    assert!(told.body.contains("headroom_runs{state=\"stuck\"} 0"));
    assert!(
        told.header("content-type")
            .starts_with("application/openmetrics-text")
    );

    let open = TestApp::with(&[("metrics_open", "true")]).await;
    open.anonymous().get("/metrics").await.expect(200);
}

#[tokio::test]
async fn a_taken_port_is_told_by_its_setting() {
    let test = TestApp::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut app = test.app.clone();
    let mut config = (*app.config).clone();
    config.http.listen = taken.local_addr().unwrap();
    app.config = config.into();
    let refusal = headroom::web::Web::bind(&app).err().unwrap().to_string();
    assert!(refusal.starts_with("HEADROOM_LISTEN: cannot listen on 127.0.0.1:"));
}
