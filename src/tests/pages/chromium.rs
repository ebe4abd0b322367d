//! Scripts that drive a real Chromium.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::app::{PASSWORD, TestApp};
use crate::support::tools::{folder, tool};

/// Runs a script of this folder as a user, with more that it is to know; it must find no fault.
pub async fn finds_no_fault(script: &str, test: &TestApp, user: &str, more: Value) {
    tool("node_modules/playwright-core");
    tool("node_modules/axe-core");
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/tests/pages")
        .join(script);
    let mut job = json!({
        "base": format!("http://{}", test.address),
        "user": user,
        "password": PASSWORD,
        "tools": folder(),
    });
    let known = job.as_object_mut().unwrap();
    known.extend(more.as_object().unwrap().clone());
    let ran = Command::new("node")
        .arg(script)
        .arg(job.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    let complaint = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}\n{complaint}");
    let found: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(found["faults"], json!([]), "{found:#}");
}
