//! One definition at a time, as the API offers it.

use headroom::error::Error;
use headroom::fleet::object::{create, delete, get, list, put};
use headroom::fleet::{Kind, Verb};
use headroom::models::NodeState;
use serde_json::{Value, json};

use super::support::{Bench, WEB, conflict, faults};

fn bench() -> Bench {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    bench
}

fn fetch(bench: &Bench, kind: Kind, name: &str) -> Value {
    get(&mut bench.db.connection().unwrap(), kind, name).unwrap()
}

#[test]
fn everything_that_is_given_out_can_be_put_back_without_a_change() {
    let bench = bench();
    for kind in Kind::ALL {
        let all = list(&mut bench.db.connection().unwrap(), kind).unwrap();
        assert!(!all.is_empty(), "{kind}");
        for body in all {
            let name = body["name"].as_str().unwrap();
            assert_eq!(fetch(&bench, kind, name), body);
            let verb = bench.write(|conn, context| put(conn, context, kind, name, &body));
            assert_eq!(verb.unwrap(), None, "{kind} {name}");
        }
    }
}

#[test]
fn a_node_stands_alone_with_its_cluster_and_a_cluster_with_its_nodes() {
    let bench = bench();
    assert_eq!(
        fetch(&bench, Kind::Node, "web01"),
        json!({"name": "web01", "cluster": "web", "address": "10.0.0.11", "ssh_profile": "ops", "jvm_profiles": ["tomcat"]})
    );
    let cluster = fetch(&bench, Kind::Cluster, "web");
    assert_eq!(cluster["nodes"][0]["name"], "web01");
    assert_eq!(cluster["nodes"][0].get("cluster"), None);
}

#[test]
fn a_put_creates_changes_and_says_which() {
    let bench = bench();
    let mut body = json!({"cluster": "web", "address": "10.0.0.13", "ssh_profile": "ops"});
    let verb = |body: &Value| {
        bench
            .write(|conn, context| put(conn, context, Kind::Node, "web03", body))
            .unwrap()
    };
    assert_eq!(verb(&body), Some(Verb::Created));
    assert_eq!(verb(&body), None);
    body["address"] = "10.0.0.14".into();
    assert_eq!(verb(&body), Some(Verb::Changed));
    assert_eq!(fetch(&bench, Kind::Node, "web03")["address"], "10.0.0.14");
    assert_eq!(
        fetch(&bench, Kind::Cluster, "web")["min_nodes"],
        2,
        "the cluster is left as it is"
    );
}

#[test]
fn faults_have_paths_from_the_body_on() {
    let bench = bench();
    let bodies = [
        (
            Kind::Node,
            "web03",
            json!({"cluster": "wbe", "address": "h", "ssh_profil": "ops"}),
        ),
        (
            Kind::Trigger,
            "t",
            json!({"cluster": "web", "steps": [{"action": "tell", "target": "cluster"}]}),
        ),
        (
            Kind::Counter,
            "c",
            json!({"name": "d", "kind": "ssh", "script": "x", "threshold": 1, "every": "90s"}),
        ),
        (Kind::Action, "a", json!([1])),
        (
            Kind::Cluster,
            "c",
            json!({"nodes": [{"name": "n", "address": "h", "ssh_profile": "p"}]}),
        ),
    ];
    let told: Vec<_> = bodies
        .iter()
        .map(|(kind, name, body)| {
            faults(bench.write(|conn, context| put(conn, context, *kind, name, body)))
        })
        .collect();
    assert_eq!(
        told,
        [
            "ssh_profile: is required; only localhost is reached without one\n\
             ssh_profil: is not known here; did you mean \"ssh_profile\"?\n\
             cluster: there is no cluster \"wbe\"; did you mean \"web\"?",
            "steps[0].target: must be none for an action of kind Email, not cluster",
            "name: must be \"c\" as in the address; a definition keeps its name\n\
             every: is 90 s, which is no multiple of the tick (60 s)",
            "must be a mapping of keys to values, not a list",
            "nodes[0].ssh_profile: there is no ssh profile \"p\"",
        ]
    );
}

#[test]
fn creating_what_is_there_is_a_conflict() {
    let bench = bench();
    let body = json!({"name": "load1", "kind": "ssh", "script": "x", "threshold": 1});
    let outcome = bench.write(|conn, context| create(conn, context, Kind::Counter, &body));
    assert_eq!(conflict(outcome), "there is a counter \"load1\" already");
    let body = json!({"name": "load9", "kind": "ssh", "script": "x", "threshold": 1});
    let outcome = bench.write(|conn, context| create(conn, context, Kind::Counter, &body));
    assert_eq!(outcome.unwrap(), "load9");
    let outcome = bench.write(|conn, context| create(conn, context, Kind::Counter, &json!({})));
    assert!(faults(outcome).starts_with("name: is required"));
}

#[test]
fn what_is_used_is_not_deleted_and_every_user_is_named() {
    for bench in [Bench::sqlite(), Bench::postgres()] {
        bench.apply(WEB);
        for (kind, name, expected) in [
            (
                Kind::SshProfile,
                "ops",
                "ssh profile \"ops\" is used by node \"web01\", node \"web02\"",
            ),
            (
                Kind::JvmProfile,
                "tomcat",
                "jvm profile \"tomcat\" is used by node \"web01\"",
            ),
            (
                Kind::Ec2Profile,
                "web-small",
                "ec2 profile \"web-small\" is used by node \"web02\"",
            ),
            (
                Kind::Counter,
                "load1",
                "counter \"load1\" is used by trigger \"web-hot\"",
            ),
            (
                Kind::Cluster,
                "web",
                "cluster \"web\" is used by node \"web01\", node \"web02\", trigger \"web-hot\"",
            ),
            (
                Kind::Action,
                "tell",
                "action \"tell\" is used by trigger \"web-hot\"",
            ),
        ] {
            let outcome = bench.write(|conn, context| delete(conn, context, kind, name));
            assert_eq!(conflict(outcome), expected);
        }
        assert_eq!(
            bench.export(),
            headroom::fleet::parse(WEB).map(sorted).unwrap()
        );
    }
}

/// As an export orders it.
fn sorted(mut file: headroom::fleet::FleetFile) -> headroom::fleet::FleetFile {
    file.counters
        .sort_by(|one, other| one.name.cmp(&other.name));
    file
}

#[test]
fn what_nothing_uses_is_deleted_with_an_audit_event() {
    let bench = bench();
    for (kind, name) in [
        (Kind::Counter, "disk"),
        (Kind::Trigger, "web-hot"),
        (Kind::Action, "restart"),
        (Kind::Node, "web01"),
    ] {
        bench
            .write(|conn, context| delete(conn, context, kind, name))
            .unwrap();
        let gone = get(&mut bench.db.connection().unwrap(), kind, name);
        assert!(matches!(gone, Err(Error::NotFound(_))), "{gone:?}");
        assert_eq!(
            *bench.audit().last().unwrap(),
            format!("ada deleted {kind} {name}")
        );
    }
}

#[test]
fn a_launched_node_is_taken_away_by_an_action_not_by_deleting_it() {
    let bench = bench();
    super::pruning::set_state(&bench, "web02", NodeState::InService, Some("i-1"));
    let outcome = bench.write(|conn, context| delete(conn, context, Kind::Node, "web02"));
    assert!(conflict(outcome).contains("so that no machine is forgotten"));
}

#[test]
fn what_is_not_there_is_not_found() {
    let bench = bench();
    let outcome = bench.write(|conn, context| delete(conn, context, Kind::Trigger, "nope"));
    assert_eq!(
        outcome.unwrap_err().to_string(),
        "trigger \"nope\" does not exist"
    );
}

#[test]
fn a_kind_is_read_from_its_address() {
    assert_eq!("ssh-profiles".parse(), Ok(Kind::SshProfile));
    assert_eq!("ssh_profiles".parse(), Ok(Kind::SshProfile));
    assert_eq!(
        "trigers".parse::<Kind>(),
        Err("there are no \"trigers\"; did you mean \"triggers\"?".into())
    );
}
