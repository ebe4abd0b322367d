//! What pruning removes, and what it leaves or refuses.

use diesel::prelude::*;
use headroom::fleet::Options;
use headroom::models::action::Action;
use headroom::models::cluster::Cluster;
use headroom::models::{ClusterId, NodeState, RunState, StepTarget};
use headroom::schema::{nodes, runs, step_runs};

use super::support::{Bench, NOW_MS, WEB, conflict, faults};

pub fn set_state(bench: &Bench, name: &str, state: NodeState, instance: Option<&str>) {
    diesel::update(nodes::table.filter(nodes::name.eq(name)))
        .set((nodes::state.eq(state), nodes::instance_id.eq(instance)))
        .execute(&mut *bench.db.connection().unwrap())
        .unwrap();
}

/// Inserts an open run on a cluster, with a step on a node.
fn open_run(bench: &Bench, cluster: &str, node: &str) {
    let conn = &mut *bench.db.connection().unwrap();
    let cluster: ClusterId = Cluster::by_name(conn, cluster).unwrap().id;
    diesel::insert_into(runs::table)
        .values((
            runs::cluster_id.eq(cluster),
            runs::origin.eq("action"),
            runs::requested_by.eq("ada"),
            runs::reason.eq("test"),
            runs::state.eq(RunState::Running),
            runs::on_failure.eq("stop"),
            runs::changes_capacity.eq(false),
            runs::created_ms.eq(NOW_MS),
        ))
        .execute(conn)
        .unwrap();
    let run: i64 = runs::table.select(runs::id).first(conn).unwrap();
    diesel::insert_into(step_runs::table)
        .values((
            step_runs::run_id.eq(run),
            step_runs::position.eq(1),
            step_runs::name.eq("a"),
            step_runs::action_name.eq("a"),
            step_runs::kind.eq("LocalScript"),
            step_runs::settings.eq("{}"),
            step_runs::target.eq(StepTarget::Node),
            step_runs::target_name.eq(node),
            step_runs::depends_on.eq("[]"),
            step_runs::timeout_secs.eq(60),
            step_runs::state.eq("started"),
            step_runs::attempt.eq(1),
            step_runs::outputs.eq("{}"),
            step_runs::report.eq("[]"),
        ))
        .execute(conn)
        .unwrap();
}

const SMALL: &str = "counters: [{ name: load5, kind: ssh, script: x, threshold: 1 }]";

#[test]
fn pruning_removes_what_the_file_does_not_name_users_first() {
    for bench in [Bench::sqlite(), Bench::postgres()] {
        bench.apply(WEB);
        assert_eq!(
            bench.prune(SMALL).unwrap().to_string(),
            "+ created counter load5\n\
             - pruned trigger web-hot\n\
             - pruned action tell\n\
             - pruned action restart\n\
             - pruned node web02\n\
             - pruned node web01\n\
             - pruned cluster web\n\
             - pruned counter load1\n\
             - pruned counter heap\n\
             - pruned counter disk\n\
             - pruned ec2 profile web-small\n\
             - pruned jvm profile tomcat\n\
             - pruned ssh profile ops\n\
             = 0 unchanged"
        );
        assert_eq!(bench.export(), headroom::fleet::parse(SMALL).unwrap());
        assert_eq!(bench.audit().last().unwrap(), "ada deleted ssh profile ops");
    }
}

#[test]
fn a_reference_to_what_would_be_pruned_is_a_fault() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    let text = "clusters: [{ name: web, nodes: [{ name: web01, address: h, ssh_profile: ops }] }]";
    assert_eq!(
        faults(bench.prune(text)),
        "clusters[0].nodes[0].ssh_profile: ssh profile \"ops\" is not in this file, and pruning would remove it"
    );
}

#[test]
fn a_node_that_headroom_launched_is_kept_and_said() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    set_state(&bench, "web02", NodeState::InService, Some("i-1"));
    let without = WEB
        .lines()
        .filter(|line| !line.contains("web02"))
        .collect::<Vec<_>>()
        .join("\n");
    let diff = bench.prune(&without).unwrap();
    assert_eq!(
        diff.to_string(),
        "! kept node web02: Headroom launched it or is adding or removing it; an action takes it away\n= 11 unchanged"
    );
    let exported = bench.export();
    assert_eq!(
        exported.clusters[0].nodes.len(),
        1,
        "a file must not bring it back one day"
    );
    assert!(
        bench
            .prune(&exported.to_yaml().unwrap())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_a_kept_node_needs_is_not_pruned_from_under_it() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    set_state(&bench, "web02", NodeState::Provisioning, None);
    assert_eq!(
        conflict(bench.prune(SMALL)),
        "nothing was pruned: cluster \"web\" is used by node \"web02\"; ssh profile \"ops\" is used by node \"web02\"; \
         ec2 profile \"web-small\" is used by node \"web02\""
    );
    assert_eq!(
        bench.export().counters.len(),
        3,
        "nothing of it was written"
    );
}

#[test]
fn what_an_open_run_acts_on_is_not_pruned() {
    for bench in [Bench::sqlite(), Bench::postgres()] {
        bench.apply(WEB);
        open_run(&bench, "web", "web01");
        assert_eq!(
            conflict(bench.prune(SMALL)),
            "nothing was pruned: cluster \"web\" is used by run \"1\", which is not over; \
             node \"web01\" is used by run \"1\", which is not over"
        );
    }
}

#[test]
fn naming_a_launched_node_changes_it_but_not_what_it_was_launched_from() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    set_state(&bench, "web02", NodeState::InService, Some("i-1"));
    let text = "clusters: [{ name: web, min_nodes: 2, max_nodes: 10, nodes: [{ name: web02, address: new, ssh_profile: ops }] }]";
    assert_eq!(
        bench.apply(text).to_string(),
        "~ changed node web02 (address: web02.example.org -> new)\n= 1 unchanged"
    );
    let conn = &mut *bench.db.connection().unwrap();
    let node = headroom::models::node::Node::by_name(conn, "web02").unwrap();
    assert_eq!(node.instance_id.as_deref(), Some("i-1"));
    assert!(node.ec2_profile_id.is_some());
}

const SMALL_PROFILE: &str = "name: web-small, image_id: ami-2, instance_type: t3.small";

#[test]
fn where_a_launched_instance_is_looked_for_stays_while_its_node_stands() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    set_state(&bench, "web02", NodeState::Provisioning, None);
    let other = format!(
        "ec2_profiles:\n  - {{ {SMALL_PROFILE}, region: us-east-1, endpoint_url: \"http://ec2.example.org\", role_arn: \"arn:aws:iam::1:role/x\" }}\n  \
         - {{ name: other, region: eu-west-1, image_id: ami-1, instance_type: t3.small }}\n\
         clusters: [{{ name: web, min_nodes: 2, max_nodes: 10, nodes: [{{ name: web02, address: new, ssh_profile: ops, ec2_profile: other }}] }}]"
    );
    let told = faults(bench.apply_with(&other, Options::default()));
    for expected in [
        "ec2_profiles[0].region: cannot change while the instances of web02 are reached by it",
        "ec2_profiles[0].endpoint_url: cannot change",
        "ec2_profiles[0].role_arn: cannot change",
        "remove these nodes first",
        "clusters[0].nodes[0].ec2_profile: must stay \"web-small\"",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let unnamed = "clusters: [{ name: web, min_nodes: 2, max_nodes: 10, nodes: [{ name: web02, address: new, ssh_profile: ops }] }]";
    bench.apply(unnamed);
    let standing = || {
        let conn = &mut *bench.db.connection().unwrap();
        let node = headroom::models::node::Node::by_name(conn, "web02").unwrap();
        let profile = headroom::models::ec2_profile::Ec2Profile::by_name(conn, "web-small");
        (node.ec2_profile_id.is_some(), profile.unwrap())
    };
    assert!(standing().0, "a launch under way keeps its profile");
    assert_eq!(standing().1.access_changed_ms, 0);

    let rotated = format!(
        "ec2_profiles: [{{ {SMALL_PROFILE}, region: eu-west-1, access_key_id: AKIA2, secret_access_key: s }}]"
    );
    bench.apply(&rotated);
    assert_eq!(
        standing().1.access_changed_ms,
        NOW_MS,
        "another key is noted"
    );

    set_state(&bench, "web02", NodeState::InService, None);
    bench.apply(&format!(
        "ec2_profiles: [{{ {SMALL_PROFILE}, region: us-east-1 }}]"
    ));
    assert_eq!(standing().1.region, "us-east-1");
}

#[test]
fn a_pruned_action_is_gone_from_the_rows() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    bench.prune(SMALL).unwrap();
    assert!(
        Action::all(&mut bench.db.connection().unwrap())
            .unwrap()
            .is_empty()
    );
}
