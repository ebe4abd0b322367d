//! A walk through every page in a real Chromium, with scripting and without.

use std::path::PathBuf;

use headroom::models::Role;
use serde_json::json;

use super::{chromium, scene};
use crate::support::app::TestApp;

/// Where the pictures go, to be looked at: a folder that stays, else one that goes with the test.
fn pictures(temp: &tempfile::TempDir) -> PathBuf {
    std::env::var_os("HEADROOM_SCREENSHOTS").map_or_else(|| temp.path().to_owned(), PathBuf::from)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_clean_for_axe_in_light_and_dark_and_works_without_scripting() {
    let temp = tempfile::tempdir().unwrap();
    let out = pictures(&temp);
    std::fs::create_dir_all(&out).unwrap();
    let test = TestApp::start().await;
    scene::play(&test.app).await;
    let waiting = {
        let conn = &mut *test.app.db.connection().unwrap();
        scene::broken(conn, chrono::Utc::now().timestamp_millis());
        scene::waiting(conn, chrono::Utc::now().timestamp_millis())
    };
    let user = test.user(Role::Admin);
    let job = json!({
        "out": out,
        "pages": {
            "dashboard": "/",
            "clusters": "/clusters",
            "cluster": "/clusters/web",
            "cluster-empty": "/clusters/batch",
            "node": "/nodes/web03",
            "node-key": "/nodes/web09",
            "counters": "/counters",
            "counter": "/counters/cpu",
            "triggers": "/triggers",
            "trigger": "/triggers/web-hot",
            "trigger-run": "/triggers/web-hot/run",
            "runs": "/runs",
            "run-stuck": "/runs/5",
            "run-failed": "/runs/3",
            "run-waiting": format!("/runs/{waiting}"),
            "actions": "/actions",
            "action": "/actions/tell",
            "profiles": "/profiles",
            "holds": "/holds",
            "tasks": "/tasks",
            "audit": "/audit",
            "account": "/account",
            "missing": "/clusters/none",
        },
    });
    chromium::finds_no_fault("walk.mjs", &test, &user.name, job).await;
}
