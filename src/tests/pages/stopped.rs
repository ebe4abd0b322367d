//! An open page and the stop of all acting, in a real Chromium.

use headroom::models::Role;
use serde_json::json;

use super::{chromium, scene};
use crate::support::app::TestApp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_page_shows_and_says_that_all_acting_is_stopped_and_that_it_is_lifted() {
    let test = TestApp::start().await;
    scene::play(&test.app).await;
    let user = test.user(Role::Admin);
    let pages = ["/", "/runs/3", "/clusters/web", "/account"];
    let job = json!({"pages": pages});
    chromium::finds_no_fault("stopped.mjs", &test, &user.name, job).await;
}
