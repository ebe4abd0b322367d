use headroom::collectors::{Target, load_one};
use headroom::models::Role;
use headroom::models::counter::Counter;
use headroom::models::node::Node;

use super::*;
use crate::support::app::TestApp;
use crate::support::http::Request;
use crate::support::jvm::Mode;
use crate::support::sshd::Sshd;

const RUNTIME: &str = "java.lang:type=Runtime";

/// One node with these JVM profiles, and counters of them: name, MBean, attribute, key.
pub(super) async fn fleet(test: &TestApp, profiles: &str, counters: &[(&str, &str, &str, &str)]) {
    let names: Vec<&str> = profiles
        .lines()
        .filter_map(|line| line.split_once("name: ")?.1.split([',', ' ']).next())
        .collect();
    let mut text = format!("jvm_profiles:\n{profiles}\n");
    if !counters.is_empty() {
        text.push_str("counters:\n");
    }
    for (name, mbean, attribute, key) in counters {
        let key = if key.is_empty() {
            String::new()
        } else {
            format!(", key: {key:?}")
        };
        text.push_str(&format!(
            "  - {{ name: {name}, kind: jmx, mbean: {mbean:?}, attribute: {attribute}{key}, threshold: 1 }}\n"
        ));
    }
    text.push_str(&format!(
        "clusters:\n  - {{ name: web, nodes: [{{ name: web01, address: 127.0.0.1, jvm_profiles: [{}] }}] }}\n",
        names.join(", ")
    ));
    let admin = test.bearer(Role::Admin);
    let request = Request::new("PUT", "/api/v1/fleet").body("application/yaml", text);
    admin.send(request).await.expect(200);
}

/// Reads counters through the collectors, as a tick and `headroom sample` do.
async fn sample(test: &TestApp, counter: &str) -> Vec<Result<f64, String>> {
    let readings = test
        .app
        .read_now("web01".into(), counter.into())
        .await
        .unwrap();
    readings
        .into_iter()
        .map(|reading| reading.outcome)
        .collect()
}

async fn single(test: &TestApp, counter: &str) -> Result<f64, String> {
    let mut outcomes = sample(test, counter).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

#[tokio::test]
async fn values_equal_what_a_java_program_reads_at_the_same_moment() {
    let jvm = Jvm::start(Mode::Plain);
    let test = TestApp::start().await;
    let profiles = format!(
        "  - {{ name: app, port: {0} }}\n  - {{ name: again, url: \"service:jmx:rmi://127.0.0.1:{0}/jndi/rmi://127.0.0.1:{0}/jmxrmi\" }}",
        jvm.port
    );
    let counters = [
        ("depth", APP, "QueueDepth", ""),
        ("load", APP, "Load", ""),
        ("up", APP, "Up", ""),
        ("limit", APP, "Limit", ""),
        ("price", APP, "Price", ""),
        ("pool", "lab:type=Pools", "Pools", "Eden Space.used"),
        ("dotted", "lab:type=Pools", "Pools", "Old Gen.parts.a.b"),
        ("max", MEMORY, "HeapMemoryUsage", "max"),
        ("started", RUNTIME, "StartTime", ""),
        (
            "loaded",
            "java.lang:type=ClassLoading",
            "TotalLoadedClassCount",
            "",
        ),
        ("requests", APP, "Requests", ""),
        ("version", APP, "Version", ""),
        ("nan", APP, "NoNumber", ""),
        ("list", APP, "History", ""),
        ("none", APP, "Nothing", ""),
        ("whole", MEMORY, "HeapMemoryUsage", ""),
        ("typo", MEMORY, "HeapMemoryUsage", "usde"),
    ];
    fleet(&test, &profiles, &counters).await;
    assert_eq!(
        sample(&test, "depth").await,
        [Ok(7.0), Ok(7.0)],
        "one reading per JVM"
    );
    let first = async |counter| sample(&test, counter).await.remove(0);
    assert_eq!(first("load").await, Ok(0.25));
    assert_eq!(first("up").await, Ok(1.0));
    assert_eq!(first("limit").await, Ok(1000.0));
    assert_eq!(first("price").await, Ok(-1_234_567_890_123.45));
    assert_eq!(first("pool").await, Ok(42.0));
    assert_eq!(first("dotted").await, Ok(3.0));

    let loaded_before = first("loaded").await.unwrap();
    let by_java = jvm.read_by_java(&[
        (MEMORY, "HeapMemoryUsage", "max"),
        (RUNTIME, "StartTime", ""),
        ("java.lang:type=ClassLoading", "TotalLoadedClassCount", ""),
        (APP, "Requests", ""),
    ]);
    let number = |nth: usize| by_java[nth].parse::<f64>().unwrap();
    assert_eq!(first("max").await, Ok(number(0)));
    assert_eq!(first("started").await, Ok(number(1)));
    let loaded_after = first("loaded").await.unwrap();
    let between = loaded_before..=loaded_after;
    assert!(
        between.contains(&number(2)),
        "{} is not in {between:?}",
        number(2)
    );
    let mut requests = sample(&test, "requests").await;
    // Two JVM profiles reach the one JVM at the same time, in either order.
    requests.sort_by_key(|value| format!("{value:?}"));
    assert_eq!(
        requests,
        [Ok(number(3) + 1.0), Ok(number(3) + 2.0)],
        "read once by Java, then once for each series, never twice"
    );
    let jvm_way = reached(jvm.port, None, None);
    let names = test
        .app
        .jmx
        .mbeans(&jvm_way, Instant::now() + 10 * SECOND)
        .await
        .unwrap();
    assert_eq!(names.len().to_string(), *by_java.last().unwrap());

    let errors = [
        (
            "version",
            "\"Version\" is the text \"1.2-é😀 \"; a number is needed",
        ),
        (
            "nan",
            "\"NoNumber\" is NaN, which cannot be compared with a threshold",
        ),
        ("list", "\"History\" is a list of 3; a number is needed"),
        ("none", "\"Nothing\" is null; a number is needed"),
        (
            "whole",
            "\"HeapMemoryUsage\" is a composite of 4 members; name one of its members as key: committed, init, max, used",
        ),
        (
            "typo",
            "\"HeapMemoryUsage\" has no \"usde\": it has committed, init, max, used",
        ),
    ];
    for (counter, why) in errors {
        assert_eq!(first(counter).await, Err(why.to_owned()), "{counter}");
    }
    assert_eq!(
        test.app.jmx.open_connections(),
        3,
        "one login per way is kept, and one to look around with"
    );
}

/// Reads a JVM that asks for what the mode says, before and after a Java program reads it.
async fn equal_what_java_reads(mode: Mode) {
    let jvm = Jvm::truthful(mode);
    let (user, password) = LOGIN;
    let mut profile = format!("  - {{ name: app, port: {}", jvm.port);
    if mode.wants_login() {
        profile.push_str(&format!(", user: {user}, password: {password}"));
    }
    if mode.is_encrypted() {
        let certificate = jvm.certificate();
        profile.push_str(&format!(", tls: true, ca_file: {certificate:?}"));
    }
    profile.push_str(" }");
    let counters = [
        ("started", RUNTIME, "StartTime", ""),
        ("uptime", RUNTIME, "Uptime", ""),
        ("requests", APP, "Requests", ""),
        ("pool", "lab:type=Pools", "Pools", "Eden Space.used"),
        ("version", APP, "Version", ""),
    ];
    let test = TestApp::start().await;
    fleet(&test, &profile, &counters).await;

    let requests_before = single(&test, "requests").await.unwrap();
    let uptime_before = single(&test, "uptime").await.unwrap();
    let by_java = jvm.read_by_java(&[
        (RUNTIME, "StartTime", ""),
        (RUNTIME, "Uptime", ""),
        (APP, "Requests", ""),
    ]);
    let number = |nth: usize| by_java[nth].parse::<f64>().unwrap();
    let uptime_after = single(&test, "uptime").await.unwrap();
    assert_eq!(single(&test, "started").await, Ok(number(0)));
    let between = uptime_before..=uptime_after;
    assert!(
        between.contains(&number(1)),
        "{} is not in {between:?}",
        number(1)
    );
    // Each reading counts one more: Java had the next one, and nobody a second one.
    assert_eq!(requests_before + 1.0, number(2));
    assert_eq!(single(&test, "requests").await, Ok(number(2) + 1.0));
    assert_eq!(single(&test, "pool").await, Ok(42.0));
    let why = single(&test, "version").await.unwrap_err();
    assert!(why.starts_with("\"Version\" is the text "), "{why}");
    assert_eq!(test.app.jmx.open_connections(), 1, "one login for all");
}

#[tokio::test]
async fn values_behind_a_login_equal_what_a_java_program_reads() {
    equal_what_java_reads(Mode::Password).await;
}

#[tokio::test]
async fn values_over_tls_equal_what_a_java_program_reads() {
    equal_what_java_reads(Mode::Tls).await;
}

#[tokio::test]
async fn values_behind_a_login_over_tls_equal_what_a_java_program_reads() {
    equal_what_java_reads(Mode::PasswordOverTls).await;
}

#[tokio::test]
async fn tomcat_and_its_thread_pool() {
    let tomcat = Jvm::tomcat();
    let test = TestApp::start().await;
    let pool = format!(
        "Catalina:type=ThreadPool,name=\"http-nio-127.0.0.1-{}\"",
        tomcat.http_port
    );
    let counters = [
        ("most", pool.as_str(), "maxThreads", ""),
        ("busy", pool.as_str(), "currentThreadsBusy", ""),
    ];
    fleet(
        &test,
        &format!("  - {{ name: tomcat, port: {} }}", tomcat.port),
        &counters,
    )
    .await;
    assert_eq!(single(&test, "most").await, Ok(20.0));
    let asked = [
        (&*pool, "maxThreads", ""),
        (&*pool, "currentThreadsBusy", ""),
    ];
    let by_java = tomcat.read_by_java(&asked);
    assert_eq!(by_java[0], "20");
    let busy = by_java[1].parse().unwrap();
    assert_eq!(single(&test, "busy").await, Ok(busy));
}

#[tokio::test]
async fn jolokia_gives_the_same_numbers_in_one_request() {
    let mut jvm = Jvm::with_jolokia();
    let test = TestApp::start().await;
    let (user, password) = LOGIN;
    let profiles = format!(
        "  - {{ name: rmi, port: {} }}\n  - {{ name: http, transport: jolokia, port: {1}, user: {user}, password: {password} }}\n  - {{ name: url, url: \"http://127.0.0.1:{1}/jolokia\", user: {user}, password: hunter2 }}",
        jvm.port, jvm.http_port
    );
    let counters = [
        ("depth", APP, "QueueDepth", ""),
        ("up", APP, "Up", ""),
        ("pool", "lab:type=Pools", "Pools", "Eden Space.used"),
        ("max", MEMORY, "HeapMemoryUsage", "max"),
        ("started", RUNTIME, "StartTime", ""),
        ("nobody", "lab:type=Nobody", "QueueDepth", ""),
        ("missing", APP, "Missing", ""),
    ];
    fleet(&test, &profiles, &counters).await;
    for counter in ["depth", "up", "pool", "max", "started"] {
        let outcomes = sample(&test, counter).await;
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
        assert_eq!(outcomes[0], outcomes[1], "{counter}");
        let why = outcomes[2].clone().unwrap_err();
        let refused = "refused the login as \"monitorRole\" (401 Unauthorized)";
        assert!(why.contains(refused), "{why}");
    }
    let way = format!("http://127.0.0.1:{}/jolokia", jvm.http_port);
    assert_eq!(
        sample(&test, "nobody").await[1],
        Err(format!("the JVM at {way} has no MBean \"lab:type=Nobody\""))
    );
    assert_eq!(
        sample(&test, "missing").await[1],
        Err(format!(
            "MBean \"{APP}\" of the JVM at {way} has no attribute \"Missing\""
        ))
    );
    let base = "/api/v1/nodes/web01/jvms/http";
    let program = test.bearer(Role::Operator);
    let names = program
        .get(&format!("{base}/mbeans"))
        .await
        .expect(200)
        .json();
    assert!(
        names
            .as_array()
            .unwrap()
            .contains(&"java.lang:type=Memory".into()),
        "{names}"
    );
    let memory = program
        .get(&format!(
            "{base}/attributes?mbean=java.lang%3Atype%3DMemory"
        ))
        .await;
    let memory = memory.expect(200).json();
    let verbose = memory
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "Verbose");
    assert_eq!(verbose.unwrap()["value"], false);
    jvm.kill();
    let why = sample(&test, "depth").await[1].clone().unwrap_err();
    assert!(why.starts_with(&format!("could not ask {way}: ")), "{why}");
}

#[tokio::test]
async fn all_counters_of_a_jvm_are_read_in_one_tick_each_exactly_once() {
    let jvm = Jvm::start(Mode::Plain);
    let test = TestApp::start().await;
    fleet(
        &test,
        &format!("  - {{ name: app, port: {} }}", jvm.port),
        &[
            ("requests", APP, "Requests", ""),
            ("depth", APP, "QueueDepth", ""),
        ],
    )
    .await;
    let targets = targets(&test, ["requests", "depth"]);
    let [mut target, other] = targets;
    target.reads.extend(other.reads);
    let deadline = || Instant::now() + 10 * SECOND;
    for tick in 1..=3 {
        let readings = test
            .app
            .collectors
            .read(&target, tick * 1000, deadline())
            .await;
        let found: Vec<_> = readings
            .iter()
            .map(|reading| {
                (
                    reading.tick_ms,
                    reading.key.to_string(),
                    reading.outcome.clone(),
                )
            })
            .collect();
        let keys: Vec<String> = target.reads.iter().map(|it| it.key.to_string()).collect();
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let counted = tick as f64;
        assert_eq!(
            found,
            [
                (tick * 1000, keys[0].clone(), Ok(counted)),
                (tick * 1000, keys[1].clone(), Ok(7.0)),
            ]
        );
    }
    target.reads.reverse();
    let readings = test.app.collectors.read(&target, 0, deadline()).await;
    assert_eq!(
        readings[0].outcome,
        Ok(7.0),
        "in the order that was asked in"
    );
}

#[tokio::test]
async fn a_node_whose_ssh_side_hangs_keeps_the_readings_of_its_jvm() {
    let jvm = Jvm::start(Mode::Plain);
    let sshd = Sshd::start(1);
    // Takes connections and never says a word.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let test = TestApp::start().await;
    let file = format!(
        "ssh_profiles: [{{ name: ops, user: ops, port: {}, private_key_file: {:?}, host_keys: first_use }}]\n\
         jvm_profiles: [{{ name: app, port: {} }}]\n\
         counters:\n\
         \x20 - {{ name: load, kind: ssh, script: \"echo 1\", threshold: 1 }}\n\
         \x20 - {{ name: depth, kind: jmx, mbean: {APP:?}, attribute: QueueDepth, threshold: 1 }}\n\
         clusters: [{{ name: web, nodes: [{{ name: web01, address: 127.0.0.1, ssh_profile: ops, jvm_profiles: [app] }}] }}]\n",
        dead.local_addr().unwrap().port(),
        sshd.key_file(),
        jvm.port
    );
    let admin = test.bearer(Role::Admin);
    let request = Request::new("PUT", "/api/v1/fleet").body("application/yaml", file);
    admin.send(request).await.expect(200);
    let [mut target, other] = targets(&test, ["load", "depth"]);
    target.reads.extend(other.reads);
    target.jvms = other.jvms;
    for tick in 1..=3 {
        let deadline = Instant::now() + 2 * SECOND;
        let readings = test
            .app
            .collectors
            .read(&target, tick * 1000, deadline)
            .await;
        let outcomes: Vec<_> = readings.into_iter().map(|it| it.outcome).collect();
        assert_eq!(outcomes[1], Ok(7.0), "tick {tick}");
        assert!(outcomes[0].is_err(), "{outcomes:?}");
    }
}

/// The node as it is read for each of these counters.
fn targets<const N: usize>(test: &TestApp, counters: [&str; N]) -> [Target; N] {
    counters.map(|counter| {
        let conn = &mut *test.app.db.connection().unwrap();
        let node = Node::by_name(conn, "web01").unwrap().id;
        let counter = Counter::by_name(conn, counter).unwrap().id;
        load_one(conn, &test.app.vault, node, counter).unwrap()
    })
}
