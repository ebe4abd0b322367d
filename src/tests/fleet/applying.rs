//! What applying a file does to the database.

use headroom::fleet::{self, Kind, Options};
use headroom::models::node::Node;
use headroom::models::trigger::Trigger;
use headroom::models::{NodeState, StepTarget};

use super::support::{Bench, NOW_MS, WEB};

#[test]
fn the_first_time_everything_is_created_the_second_time_nothing_changes() {
    for bench in [Bench::sqlite(), Bench::postgres()] {
        let first = bench.apply(WEB).to_string();
        assert_eq!(
            first,
            "+ created ssh profile ops\n\
             + created jvm profile tomcat\n\
             + created ec2 profile web-small\n\
             + created counter load1\n\
             + created counter heap\n\
             + created counter disk\n\
             + created cluster web\n\
             + created node web01\n\
             + created node web02\n\
             + created action restart\n\
             + created action tell\n\
             + created trigger web-hot\n\
             = 0 unchanged"
        );
        let events = bench.audit();
        assert_eq!(events.len(), 12);
        assert_eq!(events[0], "ada created ssh profile ops");

        assert_eq!(bench.apply(WEB).to_string(), "= 12 unchanged");
        assert_eq!(
            bench.audit().len(),
            12,
            "nothing changed, nothing to record"
        );
        let exported = bench.export().to_yaml().unwrap();
        let again = bench.prune(&exported).unwrap();
        assert_eq!(again.to_string(), "= 12 unchanged", "{exported}");
    }
}

#[test]
fn a_change_names_its_fields_and_keeps_the_rows() {
    for bench in [Bench::sqlite(), Bench::postgres()] {
        bench.apply(WEB);
        let id = |name| {
            Node::by_name(&mut bench.db.connection().unwrap(), name)
                .unwrap()
                .id
        };
        let before = id("web01");
        let text = WEB
            .replace("timing: 5m", "timing: 10")
            .replace("threshold: 4,", "threshold: 4.5,")
            .replace("10.0.0.11", "10.0.0.12")
            .replace("when: any", "when: { percent: 50 }")
            .replace("counters: [load1, heap]", "counters: [heap]");
        assert_eq!(
            bench.apply(&text).to_string(),
            "~ changed counter load1 (threshold: 4 -> 4.5)\n\
             ~ changed node web01 (address: 10.0.0.11 -> 10.0.0.12)\n\
             ~ changed trigger web-hot (counters: [load1, heap] -> [heap], timing: 5m -> 10m, when: any -> {\"percent\":50})\n\
             = 9 unchanged"
        );
        assert_eq!(id("web01"), before, "samples belong to the row");
        assert_eq!(
            bench.audit()[12..],
            [
                "ada changed counter load1",
                "ada changed node web01",
                "ada changed trigger web-hot"
            ]
        );
    }
}

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    let bench = Bench::sqlite();
    let options = Options {
        dry_run: true,
        prune: false,
    };
    let announced = bench.apply_with(WEB, options).unwrap();
    assert_eq!(bench.export(), fleet::FleetFile::default());
    assert!(bench.audit().is_empty());
    assert_eq!(bench.apply(WEB), announced);
}

#[test]
fn a_file_may_leave_out_what_stands_already() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    let diff = bench.apply("counters: [{ name: load5, kind: ssh, script: x, threshold: 1 }]");
    assert_eq!(diff.to_string(), "+ created counter load5\n= 0 unchanged");
    assert_eq!(bench.export().counters.len(), 4);
    assert_eq!(bench.export().clusters[0].nodes.len(), 2);
}

#[test]
fn a_node_moves_to_another_cluster_with_its_row() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    let conn = &mut *bench.db.connection().unwrap();
    let before = Node::by_name(conn, "web02").unwrap();
    let text = "clusters: [{ name: spare, nodes: [{ name: web02, address: web02.example.org, ssh_profile: ops, ec2_profile: web-small }] }]";
    assert_eq!(
        bench.apply(text).to_string(),
        "+ created cluster spare\n~ changed node web02 (cluster: web -> spare)\n= 0 unchanged"
    );
    let after = Node::by_name(conn, "web02").unwrap();
    assert_eq!(after.id, before.id);
    assert_ne!(after.cluster_id, before.cluster_id);
    assert_eq!(
        after.created_ms, before.created_ms,
        "it is as old as it was"
    );
}

#[test]
fn a_node_on_its_way_in_or_out_stays_in_its_cluster() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    super::pruning::set_state(&bench, "web02", NodeState::Draining, Some("i-1"));
    let text =
        "clusters: [{ name: spare, nodes: [{ name: web02, address: h, ssh_profile: ops }] }]";
    let told = super::support::faults(bench.apply_with(text, Options::default()));
    assert_eq!(
        told,
        "clusters[0].nodes[0].name: node \"web02\" is draining and cannot move to another cluster now"
    );
}

#[test]
fn applying_keeps_when_a_trigger_last_fired() {
    use diesel::prelude::*;
    use headroom::schema::triggers;

    let bench = Bench::sqlite();
    bench.apply(WEB);
    let conn = &mut *bench.db.connection().unwrap();
    diesel::update(triggers::table)
        .set(triggers::last_fired_ms.eq(NOW_MS))
        .execute(conn)
        .unwrap();
    bench.apply(&WEB.replace("cooldown: 10m", "cooldown: 20m"));
    let trigger = Trigger::by_name(conn, "web-hot").unwrap();
    assert_eq!(trigger.last_fired_ms, Some(NOW_MS));
    assert_eq!(trigger.cooldown_secs, 1200);
}

#[test]
fn steps_have_names_and_defaults_that_an_export_shows() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    let steps = &bench.export().triggers[0].steps;
    let shown: Vec<_> = steps
        .iter()
        .map(|step| (step.name.as_str(), step.target, step.depends_on.clone()))
        .collect();
    assert_eq!(
        shown,
        [
            ("restart", StepTarget::Cluster, None),
            ("restart-2", StepTarget::LastNode, Some(vec![])),
            (
                "tell",
                StepTarget::None,
                Some(vec!["restart".into(), "restart-2".into()])
            ),
        ]
    );
}

#[test]
fn files_applied_at_the_same_moment_take_turns() {
    for bench in [Bench::sqlite(), Bench::postgres()] {
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.apply(WEB))).collect();
            let ends = starts.into_iter().map(|start| start.join().unwrap());
            ends.map(|diff| diff.changes.len()).collect()
        });
        let writers = outcomes.iter().filter(|changes| **changes == 12).count();
        let idle = outcomes.iter().filter(|changes| **changes == 0).count();
        assert_eq!((writers, idle), (1, 3), "{outcomes:?}");
        assert_eq!(bench.audit().len(), 12);
    }
}

#[test]
fn json_is_a_fleet_file_too() {
    let bench = Bench::sqlite();
    let text = serde_json::to_string(&fleet::parse(WEB).unwrap()).unwrap();
    bench.apply(WEB);
    assert_eq!(bench.apply(&text).to_string(), "= 12 unchanged");
}

#[test]
fn thousands_of_nodes_are_applied_and_loaded_in_one_go() {
    let bench = Bench::sqlite();
    let nodes: Vec<_> = (0..3_000)
        .map(|n| format!("      - {{ name: n{n}, address: 10.0.{}.{}, ssh_profile: ops, jvm_profiles: [tomcat] }}", n / 250, n % 250))
        .collect();
    let text = WEB.replace(
        "    nodes:\n",
        &format!("    nodes:\n{}\n", nodes.join("\n")),
    );
    assert_eq!(bench.apply(&text).changes.len(), 3_012);
    assert_eq!(bench.apply(&text).to_string(), "= 3012 unchanged");
    let conn = &mut *bench.db.connection().unwrap();
    assert_eq!(fleet::object::list(conn, Kind::Node).unwrap().len(), 3_002);
}

#[test]
fn an_export_reads_as_if_a_person_had_written_it() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    assert_eq!(bench.export().to_yaml().unwrap(), EXPORTED);
}

const EXPORTED: &str = r##"ssh_profiles:
- name: ops
  user: ops
  port: 22
  private_key_file: /etc/headroom/id_ed25519
  host_keys: first_use
jvm_profiles:
- name: tomcat
  port: 9010
  user: monitor
  password_env: TOMCAT_JMX_PASSWORD
  tls: false
ec2_profiles:
- name: web-small
  region: eu-west-1
  image_id: ami-1
  instance_type: t3.small
  key_name: ops
  security_groups:
  - web
  subnet_id: subnet-1
  user_data: "#cloud-config …"
  load_balancer: web-elb
  address_from: public_dns
  wait_for: ssh
counters:
- name: disk
  kind: local
  script: echo 1
  comparison: ">"
  threshold: 90
  timeout: 10s
  missing: hold
- name: heap
  kind: jmx
  mbean: java.lang:type=Memory
  attribute: HeapMemoryUsage
  key: used
  comparison: ">"
  threshold: 800000000
  unit: bytes
  timeout: 10s
  missing: hold
- name: load1
  kind: ssh
  script: cut -d' ' -f1 /proc/loadavg
  comparison: ">"
  threshold: 4
  unit: load
  every: 1m
  timeout: 10s
  missing: hold
clusters:
- name: web
  min_nodes: 2
  max_nodes: 10
  nodes:
  - name: web01
    address: "10.0.0.11"
    ssh_profile: ops
    jvm_profiles:
    - tomcat
  - name: web02
    address: web02.example.org
    ssh_profile: ops
    ec2_profile: web-small
actions:
- name: restart
  kind: LocalScript
  timeout: 2m
  script: systemctl restart app
- name: tell
  kind: Email
  address: ops@example.org
  content: See the run.
  title: "{{ trigger.name }} fired"
triggers:
- name: web-hot
  cluster: web
  counters:
  - load1
  - heap
  timing: 5m
  when: any
  cooldown: 10m
  quorum: 80
  mode: live
  enabled: true
  steps:
  - name: restart
    action: restart
    target: cluster
  - name: restart-2
    action: restart
    target: lastnode
    depends_on: []
  - name: tell
    action: tell
    target: none
    depends_on:
    - restart
    - restart-2
"##;
