use headroom::models::Role;
use serde_json::{Value, json};

use super::collect::fleet;
use super::*;
use crate::support::app::TestApp;
use crate::support::http::Request;
use crate::support::jvm::Mode;

#[tokio::test]
async fn operators_look_into_a_jvm_and_take_a_counter_with_them() {
    let mut jvm = Jvm::start(Mode::Plain);
    let test = TestApp::start().await;
    fleet(
        &test,
        &format!("  - {{ name: app, port: {} }}", jvm.port),
        &[],
    )
    .await;
    let operator = test.login(Role::Operator).await;
    let node = operator.get("/nodes/web01").await.expect(200);
    assert!(
        node.body.contains("/nodes/web01/jvms/app"),
        "the node's page leads there"
    );
    let list = operator
        .get("/nodes/web01/jvms/app?q=memory")
        .await
        .expect(200);
    assert!(list.body.contains(">type=Memory<"), "{}", list.body);
    assert!(
        !list.body.contains(">type=Threading<"),
        "it is not searched for"
    );

    let memory = "/nodes/web01/jvms/app?mbean=java.lang%3Atype%3DMemory";
    let page = operator.get(memory).await.expect(200).body;
    for shown in ["HeapMemoryUsage", "used", "committed", "Verbose"] {
        assert!(page.contains(shown), "{shown} is missing:\n{page}");
    }
    let chosen = format!("{memory}&attribute=HeapMemoryUsage&key=used");
    let page = operator.get(&chosen).await.expect(200).body;
    assert!(
        page.contains("name: heapmemoryusage-used, kind: jmx"),
        "{page}"
    );

    let live = Request::new("GET", "/nodes/web01/jvms/app").header("x-requested-with", "live");
    let quiet = operator.send(live).await.expect(200).body;
    assert!(
        !quiet.contains(">type=Memory<"),
        "a refresh asks nothing of the JVM"
    );

    operator.get("/nodes/web01/jvms/other").await.expect(404);
    operator.get("/nodes/nobody/jvms/app").await.expect(404);
    let missing = operator
        .get("/nodes/web01/jvms/app?mbean=a%3Ab%3Dc")
        .await
        .expect(404);
    assert!(missing.body.contains("MBean"), "{}", missing.body);
    jvm.kill();
    let dead = operator.get("/nodes/web01/jvms/app").await.expect(200).body;
    assert!(dead.contains("The JVM gave no answer"), "{dead}");
    assert!(dead.contains(&format!("127.0.0.1:{}", jvm.port)), "{dead}");
    let viewer = test.login(Role::Viewer).await;
    viewer.get("/nodes/web01/jvms/app").await.expect(403);
    let node = viewer.get("/nodes/web01").await.expect(200);
    assert!(
        !node.body.contains("/nodes/web01/jvms/app"),
        "no link that leads nowhere"
    );
}

#[tokio::test]
async fn the_api_lists_mbeans_and_their_attributes() {
    let jvm = Jvm::start(Mode::Plain);
    let test = TestApp::start().await;
    fleet(
        &test,
        &format!("  - {{ name: app, port: {} }}", jvm.port),
        &[],
    )
    .await;
    let program = test.bearer(Role::Operator);
    let base = "/api/v1/nodes/web01/jvms/app";
    let names = program
        .get(&format!("{base}/mbeans"))
        .await
        .expect(200)
        .json();
    let names = names.as_array().unwrap();
    assert!(names.contains(&json!("java.lang:type=Memory")), "{names:?}");
    assert!(names.is_sorted_by_key(|name| name.as_str().unwrap().to_owned()));
    let all = format!("{base}/attributes?mbean=lab%3Atype%3DApp%2Cname%3D%22x%2Cy%22");
    let attributes = program.get(&all).await.expect(200).json();
    let of = |name: &str| -> Value {
        let all = attributes.as_array().unwrap();
        all.iter().find(|it| it["name"] == name).unwrap().clone()
    };
    assert_eq!(of("QueueDepth")["value"], 7);
    assert_eq!(of("QueueDepth")["type"], "int");
    assert_eq!(of("Version")["value"], "1.2-é😀\0");
    assert_eq!(of("Price")["value"], -1234567890123.45);
    assert_eq!(of("Total")["value"], 5_000_000_000_i64);
    assert_eq!(of("History")["value"], "a list of 3");
    assert_eq!(of("Nothing")["value"], Value::Null);
    assert_eq!(of("Nothing")["error"], Value::Null);
    assert!(
        of("Broken")["error"]
            .as_str()
            .unwrap()
            .contains("the pool is closed")
    );
    let pools = format!("{base}/attributes?mbean=lab%3Atype%3DPools");
    let pools = program.get(&pools).await.expect(200).json();
    let eden = &pools[0]["value"]["Eden Space"];
    assert_eq!(eden, &json!({"used": 42, "parts": {"a.b": 3, "c": 4}}));
    let missing = program
        .get(&format!("{base}/attributes?mbean=a%3Ab%3Dc"))
        .await;
    let place = format!("127.0.0.1:{}", jvm.port);
    assert_eq!(
        missing.expect(404).detail(),
        format!("MBean \"a:b=c\" of the JVM at {place} does not exist.")
    );
}
