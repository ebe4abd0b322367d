//! Logging in and out.

use headroom::models::Role;

use crate::support::app::{PASSWORD, TestApp};
use crate::support::http::Request;

#[tokio::test]
async fn a_login_gives_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let test = TestApp::start().await;
    test.user(Role::Viewer);
    let answer = test.anonymous().login("viewer", PASSWORD).await.expect(303);
    assert_eq!(answer.header("location"), "/");
    let cookie = answer.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=604800"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(
        !cookie.contains("Secure"),
        "plain HTTP on loopback: {cookie}"
    );
}

#[tokio::test]
async fn behind_a_proxy_that_speaks_tls_the_cookie_is_secure() {
    let test = TestApp::with(&[("trusted_proxies", "127.0.0.1")]).await;
    test.user(Role::Viewer);
    let request = Request::new("POST", "/login")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "headroom.example.org")
        .header("origin", "https://headroom.example.org")
        .form(&[("name", "viewer"), ("password", PASSWORD)]);
    let answer = test.anonymous().send(request).await.expect(303);
    assert!(answer.header("set-cookie").contains("Secure"));
}

#[tokio::test]
async fn the_database_holds_no_password_and_no_cookie() {
    let test = TestApp::start().await;
    let browser = test.login(Role::Viewer).await;
    let secret = browser.cookie.split_once('=').unwrap().1;
    assert_eq!(secret.len(), 43);
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(&test.app.config.data).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            kept.extend(std::fs::read(path).unwrap());
        }
    }
    let kept = String::from_utf8_lossy(&kept);
    assert!(
        kept.contains("$argon2id$"),
        "the hash is found in the files"
    );
    assert!(!kept.contains(secret));
    assert!(!kept.contains(PASSWORD));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_get_the_same_answer() {
    let test = TestApp::start().await;
    test.user(Role::Viewer);
    let wrong = test.anonymous().login("viewer", "not the password").await;
    let unknown = test.anonymous().login("nobody", "not the password").await;
    let (wrong, unknown) = (wrong.expect(401), unknown.expect(401));
    assert!(wrong.body.contains("Name and password do not match"));
    assert_eq!(
        wrong.body.replace("viewer", "nobody"),
        unknown.body,
        "only the name that was typed differs"
    );
    assert_eq!(wrong.header("set-cookie"), "");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_then_even_the_right_password_must_wait() {
    let test = TestApp::start().await;
    test.user(Role::Viewer);
    for _ in 0..5 {
        let answer = test.anonymous().login("viewer", "a wrong password").await;
        answer.expect(401);
    }
    let refused = test.anonymous().login("viewer", PASSWORD).await.expect(429);
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.body.contains("Wait 1 second and try again"));
}

#[tokio::test]
async fn a_cookie_planted_before_the_login_opens_nothing_after_it() {
    let test = TestApp::start().await;
    test.user(Role::Viewer);
    let planted = "headroom_session=planted-by-somebody-else";
    let form = Request::new("POST", "/login")
        .header("sec-fetch-site", "same-origin")
        .header("cookie", planted)
        .form(&[("name", "viewer"), ("password", PASSWORD)]);
    let answer = test.anonymous().send(form).await.expect(303);
    assert!(!answer.header("set-cookie").contains("planted"));
    let again = Request::new("POST", "/logout")
        .header("sec-fetch-site", "same-origin")
        .header("cookie", planted);
    let again = test.anonymous().send(again).await.expect(303);
    assert_eq!(again.header("location"), "/login", "as for any stranger");
}

#[tokio::test]
async fn logging_in_anew_ends_the_session_before() {
    let test = TestApp::start().await;
    let before = test.login(Role::Viewer).await;
    let form = Request::new("POST", "/login")
        .header("sec-fetch-site", "same-origin")
        .form(&[("name", "viewer"), ("password", PASSWORD)]);
    before.send(form).await.expect(303);
    before.get("/metrics").await.expect(401);
}

#[tokio::test]
async fn after_logging_out_the_cookie_opens_nothing() {
    let test = TestApp::start().await;
    let browser = test.login(Role::Viewer).await;
    browser.get("/metrics").await.expect(200);
    let answer = browser.post("/logout", &[]).await.expect(303);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    browser.get("/metrics").await.expect(401);
}

#[tokio::test]
async fn whoever_is_logged_in_is_sent_on_from_the_login_page() {
    let test = TestApp::start().await;
    let browser = test.login(Role::Viewer).await;
    let answer = browser.get("/login?next=/runs").await.expect(303);
    assert_eq!(answer.header("location"), "/runs");
}

#[tokio::test]
async fn a_login_that_another_site_sends_is_refused() {
    let test = TestApp::start().await;
    test.user(Role::Viewer);
    let forged = Request::new("POST", "/login")
        .header("origin", "http://evil.example")
        .form(&[("name", "viewer"), ("password", PASSWORD)]);
    let answer = test.anonymous().send(forged).await.expect(403);
    assert!(answer.body.contains("it comes from http://evil.example"));
    assert_eq!(answer.header("set-cookie"), "");
}
