//! A fleet with a story: one node too hot, one silent, one with a gap, one with another host key, and runs in every state.

use chrono::Utc;
use headroom::app::App;
use headroom::collectors::Reading;
use headroom::fleet::{self, Context, Options};
use headroom::models::breaker::Breaker;
use headroom::models::cluster::Cluster;
use headroom::models::counter::Counter;
use headroom::models::host_key::{HostKey, NewHostKey};
use headroom::models::node::Node;
use headroom::models::run::{NewRun, Run};
use headroom::models::run_event::RunEvent;
use headroom::models::step_run::{NewStepRun, StepChange, StepRun};
use headroom::models::task::Task;
use headroom::models::trigger::Trigger;
use headroom::models::worker::{NewWorker, Worker};
use headroom::models::{
    BreakerState, HoldScope, HostKeyState, OnFailure, Origin, RunId, RunState, StepState,
    StepTarget, Via, hold,
};
use headroom::samples::SeriesKey;
use headroom::triggers::evaluate::{Rules, evaluate_all, observe};

pub const MINUTE_MS: i64 = 60_000;
/// Minutes of samples.
const PAST: i64 = 75;
/// Minutes of decisions.
const DECIDED: i64 = 12;

pub const FLEET: &str = r#"
ssh_profiles:
  - { name: ops, user: ops, private_key_file: /etc/headroom/id_ed25519, host_keys: first_use }
jvm_profiles:
  - { name: tomcat, port: 9010, tls: true }
ec2_profiles:
  - { name: web-small, region: eu-west-1, image_id: ami-0abc1234, instance_type: t3.small }
counters:
  - { name: cpu, kind: ssh, script: "top -bn1 | awk '/Cpu/ {print 100-$8}'", comparison: ">", threshold: 80, unit: "%" }
  - { name: load1, kind: ssh, script: "cut -d' ' -f1 /proc/loadavg", comparison: ">", threshold: 4 }
  - { name: free-memory, kind: ssh, script: "awk '/MemAvailable/ {print $2*1024}' /proc/meminfo", comparison: "<", threshold: 2e8, unit: bytes }
  - { name: heap, kind: jmx, mbean: "java.lang:type=Memory", attribute: HeapMemoryUsage, key: used, comparison: ">", threshold: 8e8, unit: bytes }
clusters:
  - name: web
    min_nodes: 2
    max_nodes: 20
    nodes:
      - { name: web01, address: 10.0.0.1, ssh_profile: ops }
      - { name: web02, address: 10.0.0.2, ssh_profile: ops }
      - { name: web03, address: 10.0.0.3, ssh_profile: ops }
      - { name: web04, address: 10.0.0.4, ssh_profile: ops }
      - { name: web05, address: 10.0.0.5, ssh_profile: ops }
      - { name: web06, address: 10.0.0.6, ssh_profile: ops }
      - { name: web07, address: 10.0.0.7, ssh_profile: ops }
      - { name: web08, address: 10.0.0.8, ssh_profile: ops }
      - { name: web09, address: 10.0.0.9, ssh_profile: ops }
  - name: db
    min_nodes: 2
    nodes:
      - { name: db01, address: 10.0.1.1, ssh_profile: ops }
      - { name: db02, address: 10.0.1.2, ssh_profile: ops }
  - { name: batch, min_nodes: 0 }
actions:
  - { name: restart, kind: LocalScript, script: "systemctl restart app" }
  - { name: tell, kind: Email, address: ops@example.org, title: "{{ trigger.name }} fired", content: "See the run." }
triggers:
  - name: web-hot
    cluster: web
    counters: [cpu, load1]
    timing: 5m
    cooldown: 30m
    steps:
      - { action: restart, target: cluster }
      - { action: tell, target: none }
  - name: web-memory
    cluster: web
    counters: [free-memory]
    timing: 10m
    when: { percent: 50 }
    mode: dry_run
    steps:
      - { action: tell, target: none }
  - name: db-load
    cluster: db
    counters: [load1]
    timing: 20m
    steps:
      - { action: tell, target: none }
"#;

/// Puts the story into an empty Headroom. The last tick is the minute that is running.
pub async fn play(app: &App) {
    let now_ms = Utc::now().timestamp_millis();
    let last_ms = now_ms / MINUTE_MS * MINUTE_MS;
    define(app, now_ms, FLEET);
    let rules = {
        let conn = &mut *app.db.connection().unwrap();
        hold::begin(
            conn,
            &hold::Request {
                scope: HoldScope::Trigger,
                scope_name: Some("web-memory".into()),
                reason: "heap dump under way".into(),
                author: "ann".into(),
                expires_ms: now_ms + 3_600_000,
            },
            Via::Page,
            now_ms,
        )
        .unwrap();
        beside(conn, now_ms, last_ms);
        Rules::load(conn, MINUTE_MS).unwrap()
    };
    let series = series(app);
    for minute in (0..PAST).rev() {
        let tick_ms = last_ms - minute * MINUTE_MS;
        let readings: Vec<Reading> = series
            .iter()
            .filter_map(|(node, counter)| reading(node, counter, minute, tick_ms))
            .collect();
        observe(&rules, &app.store, &readings).await.unwrap();
        if minute < DECIDED {
            evaluate_all(&app.db, &app.store, tick_ms, MINUTE_MS)
                .await
                .unwrap();
        }
    }
    runs(app, now_ms);
}

/// Applies a fleet file as the command line does.
pub fn define(app: &App, now_ms: i64, text: &str) {
    let context = Context {
        vault: app.vault.clone(),
        tick_secs: 60,
        allow_local: true,
        actor: "ann".into(),
        via: Via::Cli,
        now_ms,
    };
    let options = Options {
        prune: false,
        dry_run: false,
    };
    app.db
        .write_blocking(|conn| fleet::apply_text(conn, &context, text, options))
        .unwrap();
}

fn series(app: &App) -> Vec<(Node, Counter)> {
    let conn = &mut *app.db.connection().unwrap();
    let counters = Counter::all(conn).unwrap();
    let nodes = Node::all(conn).unwrap();
    let used = |node: &Node, counter: &Counter| {
        if node.name.starts_with("web") {
            ["cpu", "load1", "free-memory"].contains(&counter.name.as_str())
        } else {
            counter.name == "load1"
        }
    };
    let mut series = Vec::new();
    for node in &nodes {
        for counter in counters.iter().filter(|counter| used(node, counter)) {
            series.push((node.clone(), counter.clone()));
        }
    }
    series
}

/// What was read of a counter so many minutes ago.
fn reading(node: &Node, counter: &Counter, minute: i64, tick_ms: i64) -> Option<Reading> {
    let wave = ((tick_ms / MINUTE_MS) as f64 / 9.0 + node.id.0 as f64).sin();
    let outcome = match (node.name.as_str(), counter.name.as_str(), minute) {
        // A collector that was away.
        ("web05", _, 30..=44) => return None,
        ("web07", _, 0..=8) => Err("connection refused by 10.0.0.7:22".to_owned()),
        ("web03", "cpu", 0..=7) => Ok(91.0 + wave * 3.0),
        ("web04", "cpu", 50..=54) => Ok(86.0),
        ("db02", "load1", 0..=6) => Ok(6.5 + wave),
        (_, "cpu", _) => Ok(42.0 + wave * 18.0),
        (_, "load1", _) => Ok(1.6 + wave * 0.9),
        _ => Ok(9e8 + wave * 2e8),
    };
    Some(Reading {
        key: SeriesKey::Ssh {
            node: node.id,
            counter: counter.id,
        },
        node: node.id,
        counter: counter.id,
        tick_ms,
        measured_ms: tick_ms + 400,
        took_ms: 37,
        outcome,
    })
}

/// Workers, tasks and host keys.
fn beside(conn: &mut headroom::db::Connection, now_ms: i64, last_ms: i64) {
    let worker = NewWorker {
        name: "headroom-1:4711".into(),
        roles: "web,collect,evaluate,run".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        started_ms: now_ms - 3 * 3_600_000,
        // A test has no heart that beats.
        seen_ms: now_ms + 24 * 3_600_000,
    };
    Worker::seen(conn, &worker).unwrap();
    for (name, result) in [
        ("tick", "29 readings, 3 errors"),
        ("sweep", "nothing lost"),
        ("prune", "1204 samples"),
        ("heartbeat", ""),
    ] {
        Task::begin(conn, name, last_ms, MINUTE_MS).unwrap();
        Task::finish(conn, name, last_ms + 870, Ok(result)).unwrap();
    }
    Task::skip(conn, "tick", 2).unwrap();
    for (state, key) in [
        (HostKeyState::Accepted, "b2xkIGtleQ=="),
        (HostKeyState::Offered, "bmV3IGtleQ=="),
    ] {
        let new = NewHostKey {
            address: "10.0.0.9".into(),
            port: 22,
            through: String::new(),
            state,
            key_type: "ssh-ed25519".into(),
            key_base64: key.into(),
            seen_ms: now_ms - 7_200_000,
            accepted_by: None,
        };
        HostKey::put(conn, &new).unwrap();
    }
}

fn runs(app: &App, now_ms: i64) {
    let conn = &mut *app.db.connection().unwrap();
    for (state, minutes, steps) in [
        (
            RunState::Succeeded,
            190,
            [StepState::Succeeded, StepState::Succeeded],
        ),
        (
            RunState::Failed,
            95,
            [StepState::Failed, StepState::Skipped],
        ),
        (
            RunState::Cancelled,
            70,
            [StepState::Succeeded, StepState::Skipped],
        ),
        (
            RunState::Stuck,
            22,
            [StepState::Succeeded, StepState::Started],
        ),
    ] {
        run(conn, now_ms - minutes * MINUTE_MS, state, steps);
    }
}

/// A run of the trigger `web-hot` with its two steps.
pub fn run(
    conn: &mut headroom::db::Connection,
    at_ms: i64,
    state: RunState,
    steps: [StepState; 2],
) -> RunId {
    let trigger = Trigger::by_name(conn, "web-hot").unwrap();
    let open = matches!(
        state,
        RunState::Queued | RunState::Running | RunState::Waiting | RunState::Stuck
    );
    let run = Run::insert(
        conn,
        &NewRun {
            trigger_id: Some(trigger.id),
            trigger_name: Some(trigger.name.clone()),
            cluster_id: Some(trigger.cluster_id),
            cluster_name: Some("web".into()),
            origin: Origin::Trigger,
            requested_by: "ann".into(),
            reason: "the shop is slow".into(),
            state,
            on_failure: OnFailure::Stop,
            changes_capacity: false,
            claimed_by: None,
            claimed_until_ms: None,
            cancel_requested_by: None,
            created_ms: at_ms,
            started_ms: Some(at_ms + 40),
            finished_ms: (!open).then_some(at_ms + 6_000),
        },
    )
    .unwrap();
    for (position, state) in (1..).zip(steps) {
        StepRun::insert(conn, &step(run.id, position, state, at_ms)).unwrap();
    }
    RunEvent::record(conn, run.id, None, at_ms, "claimed by headroom-1:4711").unwrap();
    RunEvent::record(conn, run.id, None, at_ms + 40, "step 1 (restart) started").unwrap();
    run.id
}

/// The cluster `web` does not launch, since launches gave no node.
pub fn broken(conn: &mut headroom::db::Connection, now_ms: i64) {
    let cluster = Cluster::by_name(conn, "web").unwrap();
    let open = Breaker {
        state: BreakerState::Open,
        failures: 3,
        reason: "could not launch t3.small: InsufficientInstanceCapacity".into(),
        opened_ms: Some(now_ms - 5 * MINUTE_MS),
        ..Breaker::closed(cluster.id)
    };
    open.keep(conn).unwrap();
}

/// A run of the trigger `web-hot` whose second step waits for approval.
pub fn waiting(conn: &mut headroom::db::Connection, now_ms: i64) -> RunId {
    let at_ms = now_ms - MINUTE_MS;
    let steps = [StepState::Succeeded, StepState::Planned];
    let run = run(conn, at_ms, RunState::Waiting, steps);
    let step = StepRun::of_run(conn, run).unwrap()[1].id;
    let asked = StepChange {
        approval_until_ms: Some(Some(now_ms + 90 * MINUTE_MS)),
        ..StepChange::default()
    };
    assert!(StepRun::change(conn, step, &[StepState::Planned], &asked).unwrap());
    run
}

fn step(run_id: RunId, position: i32, state: StepState, at_ms: i64) -> NewStepRun {
    let begun = !matches!(state, StepState::Planned | StepState::Skipped);
    let failed = state == StepState::Failed;
    let report = if !begun || position == 2 {
        "[]".to_owned()
    } else {
        serde_json::json!([
            {"subject": "web01", "address": "10.0.0.1", "succeeded": true, "status": 0, "stdout": "app restarted\n", "took_ms": 812},
            {"subject": "web02", "address": "10.0.0.2", "succeeded": !failed, "status": if failed { 1 } else { 0 },
             "stdout": "", "stderr": if failed { "Job for app.service failed.\n" } else { "" }, "took_ms": 1204},
        ])
        .to_string()
    };
    let error = match state {
        StepState::Failed => Some("1 of 2 nodes failed: web02: exit status 1"),
        StepState::Started => Some(
            "the process ended while the mail was being sent; it cannot be told whether it went out",
        ),
        _ => None,
    };
    NewStepRun {
        run_id,
        position,
        name: if position == 1 { "restart" } else { "tell" }.into(),
        action_name: if position == 1 { "restart" } else { "tell" }.into(),
        kind: if position == 1 { "LocalScript" } else { "Email" }.into(),
        settings: if position == 1 {
            r#"{"script": "systemctl restart app"}"#
        } else {
            r#"{"address": ["ops@example.org"], "title": "{{ trigger.name }} fired", "content": "See the run."}"#
        }
        .into(),
        target: if position == 1 {
            StepTarget::Cluster
        } else {
            StepTarget::None
        },
        target_name: (position == 1).then(|| "web".to_owned()),
        depends_on: if position == 1 { "[]" } else { "[1]" }.into(),
        timeout_secs: 60,
        retries: None,
        state,
        token: None,
        attempt: i32::from(begun),
        outputs: if begun && position == 1 { r#"{"nodes": 2}"# } else { "{}" }.into(),
        report,
        error: error.map(str::to_owned),
        started_ms: begun.then_some(at_ms + 40),
        finished_ms: (begun && state != StepState::Started).then_some(at_ms + 5_200),
        approval_secs: None,
    }
}
