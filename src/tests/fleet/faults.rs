//! What a file may do wrong, and what it is told: each with its path.

use headroom::fleet::{self, Options};

use super::support::{Bench, WEB, faults};

/// (text, the whole list of faults)
const OF_THE_TEXT: &[(&str, &str)] = &[
    (
        "",
        "the file is empty; it needs at least one section such as clusters:",
    ),
    (
        "# nothing but a comment\n",
        "the file is empty; it needs at least one section such as clusters:",
    ),
    (
        "- a\n- b\n",
        "must be a mapping of keys to values, not a list",
    ),
    (
        "cluster: []",
        "cluster: is not known here; did you mean \"clusters\"?",
    ),
    ("clusters: 5", "clusters: must be a list, not 5"),
    (
        "clusters: [web]",
        "clusters[0]: must be a mapping of keys to values, not text",
    ),
    ("clusters: []\nclusters: []\n", "clusters: comes twice"),
    (
        "clusters: [{ name: web, name: web }]",
        "clusters[0].name: comes twice",
    ),
    ("clusters: [{}]", "clusters[0].name: is required"),
    (
        "clusters: [{ name: null }]",
        "clusters[0].name: is required",
    ),
    (
        "clusters: [{ name: 7 }]",
        "clusters[0].name: must be text (write it in quotes), not 7",
    ),
    (
        "clusters: [{ name: \"a b\" }]",
        "clusters[0].name: must have 1 to 100 letters, digits, dots, dashes or underscores and begin with a letter or digit",
    ),
    (
        "clusters: [{ name: web, min_node: 1 }]",
        "clusters[0].min_node: is not known here; did you mean \"min_nodes\"?",
    ),
    (
        "clusters: [{ name: web, colour: red }]",
        "clusters[0].colour: is not known here; known are name, min_nodes, max_nodes, max_failed_launches, breaker_cooldown, max_launches_per_hour, nodes",
    ),
    (
        "clusters: [{ name: web, breaker_cooldown: soon }]",
        "clusters[0].breaker_cooldown: \"soon\" is not a duration such as 10s, 5m or 1h",
    ),
    (
        "triggers: [{ name: t, cluster: c, steps: [{ action: a, target: none, approve_within: 1h }] }]",
        "triggers[0].steps[0].approve_within: belongs to `approve: true`, which is missing",
    ),
    (
        "clusters: [{ name: web, min_nodes: -1 }]",
        "clusters[0].min_nodes: must be a whole number from 0 to 100000, not -1",
    ),
    (
        "clusters: [{ name: web, min_nodes: 1.5 }]",
        "clusters[0].min_nodes: must be a whole number from 0 to 100000, not 1.5",
    ),
    (
        "clusters: [{ name: web, min_nodes: two }]",
        "clusters[0].min_nodes: must be a whole number from 0 to 100000, not text",
    ),
    (
        "clusters: [{ name: web, min_nodes: 3, max_nodes: 2 }]",
        "clusters[0].max_nodes: is 2, less than min_nodes (3)",
    ),
    (
        "clusters: [{ name: web }, { name: web }]",
        "clusters[1].name: \"web\" is the name of clusters[0] already",
    ),
    (
        "clusters: [{ name: a, nodes: [{ name: n, address: localhost }] }, { name: b, nodes: [{ name: n, address: localhost }] }]",
        "clusters[1].nodes[0].name: \"n\" is the name of clusters[0].nodes[0] already",
    ),
    (
        "clusters: [{ name: a, nodes: [{ name: n, address: 10.0.0.1 }] }]",
        "clusters[0].nodes[0].ssh_profile: is required; only localhost is reached without one",
    ),
    (
        "clusters: [{ name: a, nodes: [{ name: n }] }]",
        "clusters[0].nodes[0].address: is required",
    ),
    (
        "clusters: [{ name: a, nodes: [{ name: n, address: \"-oProxyCommand=x\", ssh_profile: p }] }]",
        "clusters[0].nodes[0].address: must be a host name or an address, without user and port",
    ),
    (
        "clusters: [{ name: a, nodes: [{ name: n, address: \"root@host\", ssh_profile: p }] }]",
        "clusters[0].nodes[0].address: must be a host name or an address, without user and port",
    ),
    (
        "clusters: [{ name: a, nodes: [{ name: n, address: h, jvm_profiles: [t, t] }] }]",
        "clusters[0].nodes[0].jvm_profiles[1]: \"t\" comes twice",
    ),
    (
        "clusters: [{ name: a, nodes: [{ name: n, address: h, jvm_profiles: [1] }] }]",
        "clusters[0].nodes[0].jvm_profiles[0]: must be text, not a number",
    ),
    (
        "ssh_profiles: [{ name: ops, private_key_file: /k }]",
        "ssh_profiles[0].user: is required",
    ),
    (
        "ssh_profiles: [{ name: ops, user: \"-l\", private_key_file: /k }]",
        "ssh_profiles[0].user: must be a login name",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops }]",
        "ssh_profiles[0].private_key_file: is required (or private_key_secret, private_key, or agent: true); there is no login by password",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, private_key_secret: s }]",
        "ssh_profiles[0].private_key_file: only one of private_key_file, private_key_secret and private_key may stand here",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, agent: true }]",
        "ssh_profiles[0].private_key_file: stands beside agent: the agent has the keys and their certificates",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, passphrase_env: P, passphrase: p }]",
        "ssh_profiles[0].passphrase: only one of passphrase_env, passphrase_secret and passphrase may stand here",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, proxy_jump: \"ops@\" }]",
        "ssh_profiles[0].proxy_jump: must be a host, user@host or user@host:port",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: id_ed25519 }]",
        "ssh_profiles[0].private_key_file: must be an absolute path",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, port: 0 }]",
        "ssh_profiles[0].port: must be a whole number from 1 to 65535, not 0",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, host_keys: any }]",
        "ssh_profiles[0].host_keys: \"any\" is not one of pinned, first_use",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, host_keys: pinned }]",
        "ssh_profiles[0].host_keys: pinned needs known_hosts_file or known_hosts",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, host_keys: first_use, known_hosts_file: /h }]",
        "ssh_profiles[0].host_keys: first_use takes no known_hosts; use pinned, or leave the known hosts out",
    ),
    (
        "ssh_profiles: [{ name: ops, user: ops, private_key_file: /k, known_hosts: \"web01 ssh-ed25519 AAAA\\nweb02\" }]",
        "ssh_profiles[0].known_hosts: line 2 is not of the form: host key-type key",
    ),
    (
        "jvm_profiles: [{ name: t }]",
        "jvm_profiles[0].port: exactly one of port and url is required",
    ),
    (
        "jvm_profiles: [{ name: t, port: 1, url: \"service:jmx:rmi:///jndi/rmi://h/x\" }]",
        "jvm_profiles[0].port: exactly one of port and url is required",
    ),
    (
        "jvm_profiles: [{ name: t, url: \"service:jmx:jmxmp://x:1\" }]",
        "jvm_profiles[0].url: must be service:jmx:rmi:///jndi/rmi://HOST:PORT/jmxrmi, or the http:// or https:// address of a Jolokia agent",
    ),
    (
        "jvm_profiles: [{ name: t, transport: jolokia, url: \"service:jmx:rmi:///jndi/rmi://h:1/jmxrmi\" }]",
        "jvm_profiles[0].transport: does not go with the url, which says it already",
    ),
    (
        "jvm_profiles: [{ name: t, port: 1, path: /jolokia }]",
        "jvm_profiles[0].path: is only used with transport: jolokia and a port",
    ),
    (
        "jvm_profiles: [{ name: t, transport: jolokia, port: 1, path: jolokia }]",
        "jvm_profiles[0].path: must begin with / and have no blanks",
    ),
    (
        "jvm_profiles: [{ name: t, url: \"http://h:1/jolokia\", tls: true }]",
        "jvm_profiles[0].tls: does not go with the url: https is with TLS, http without",
    ),
    (
        "jvm_profiles: [{ name: t, port: 1, user: u }]",
        "jvm_profiles[0].user: a user and a password belong together (password_env, password_secret or password)",
    ),
    (
        "jvm_profiles: [{ name: t, port: 1, user: u, password_env: A, password: hunter2 }]",
        "jvm_profiles[0].password_env: only one of password_env, password_secret and password may stand here",
    ),
    (
        "jvm_profiles: [{ name: t, port: 1, user: u, password_env: \"A-B\" }]",
        "jvm_profiles[0].password_env: must be the name of an environment variable",
    ),
    (
        "jvm_profiles: [{ name: t, port: 1, ca_file: /ca.pem }]",
        "jvm_profiles[0].ca_file: is only used with tls: true",
    ),
    (
        "jvm_profiles: [{ name: t, port: 1, tls: maybe }]",
        "jvm_profiles[0].tls: must be true or false, not text",
    ),
    (
        "ec2_profiles: [{ name: e, region: eu, image_id: ami-1, instance_type: t3.small, wait_for: shh }]",
        "ec2_profiles[0].wait_for: \"shh\" is not one of running, ssh, healthy; did you mean \"ssh\"?",
    ),
    (
        "ec2_profiles: [{ name: e, region: eu, image_id: ami-1, instance_type: t3.small, wait_for: healthy }]",
        "ec2_profiles[0].wait_for: healthy needs a load_balancer or a target_group_arn to ask",
    ),
    (
        "ec2_profiles: [{ name: e, region: eu, image_id: ami-1, instance_type: t3.small, target_group_arn: tg }]",
        "ec2_profiles[0].target_group_arn: must begin with arn:",
    ),
    (
        "ec2_profiles: [{ name: e, region: eu, image_id: ami-1, instance_type: t3.small, endpoint_url: here }]",
        "ec2_profiles[0].endpoint_url: must be an http or https URL",
    ),
    (
        "counters: [{ name: c, kind: ssh, script: x, threshold: 1, comparison: \"=>\" }]",
        "counters[0].comparison: \"=>\" is not one of >, >=, =, <=, <",
    ),
    (
        "counters: [{ name: c, kind: ssh, script: x }]",
        "counters[0].threshold: is required",
    ),
    (
        "counters: [{ name: c, kind: ssh, script: x, threshold: .inf }]",
        "counters[0].threshold: must be a number, not text",
    ),
    (
        "counters: [{ name: c, kind: ssh, script: \" \", threshold: 1 }]",
        "counters[0].script: must not be empty; leave the key out instead",
    ),
    (
        "counters: [{ name: c, kind: shh, script: x, threshold: 1 }]",
        "counters[0].kind: \"shh\" is not one of ssh, jmx, local",
    ),
    (
        "counters: [{ name: c, kind: jmx, mbean: Memory, attribute: a, threshold: 1 }]",
        "counters[0].mbean: must be an MBean's name such as java.lang:type=Memory",
    ),
    (
        "counters: [{ name: c, kind: ssh, script: x, threshold: 1, every: 60 }]",
        "counters[0].every: needs a unit: write 10s, 5m or 1h",
    ),
    (
        "counters: [{ name: c, kind: ssh, script: x, threshold: 1, every: soon }]",
        "counters[0].every: \"soon\" is not a duration such as 10s, 5m or 1h",
    ),
    (
        "counters: [{ name: c, kind: ssh, script: x, threshold: 1, timeout: 0s }]",
        "counters[0].timeout: must be from 1s to 366d",
    ),
    (
        "actions: [{ name: a, kind: Emial, address: x }]",
        "actions[0].kind: \"Emial\" is no action kind; did you mean \"Email\"?",
    ),
    ("actions: [{ name: a }]", "actions[0].kind: is required"),
    (
        "actions: [{ name: a, kind: LocalScript, script: x, retries: 20 }]",
        "actions[0].retries: must be a whole number from 0 to 19, not 20",
    ),
    (
        "actions: [{ name: a, kind: LocalScript, script: x, retries: never }]",
        "actions[0].retries: must be a whole number from 0 to 19, not text",
    ),
    (
        "actions: [{ name: a, kind: LocalScript }]",
        "actions[0].script: is required",
    ),
    (
        "actions: [{ name: a, kind: LocalScript, scrpt: x, script: x }]",
        "actions[0].scrpt: is not known here; did you mean \"script\"?",
    ),
    (
        "actions: [{ name: a, kind: LocalScript, script: x, script: y }]",
        "actions[0].script: comes twice",
    ),
    (
        "triggers: [{ name: t }]",
        "triggers[0].cluster: is required",
    ),
    (
        "triggers: [{ name: t, cluster: c, timing: soon }]",
        "triggers[0].timing: \"soon\" is not a duration such as 10s, 5m or 1h",
    ),
    (
        "triggers: [{ name: t, cluster: c, timing: 1.5 }]",
        "triggers[0].timing: must be a whole number from 0 to 527040, not 1.5",
    ),
    (
        "triggers: [{ name: t, cluster: c, timing: -1 }]",
        "triggers[0].timing: must be a whole number from 0 to 527040, not -1",
    ),
    (
        "triggers: [{ name: t, cluster: c, cooldown: 10 }]",
        "triggers[0].cooldown: needs a unit: write 10s, 5m or 1h",
    ),
    (
        "triggers: [{ name: t, cluster: c, when: most }]",
        "triggers[0].when: must be any, all, average or percent: P with P from 1 to 100",
    ),
    (
        "triggers: [{ name: t, cluster: c, when: { percent: 0 } }]",
        "triggers[0].when: must be any, all, average or percent: P with P from 1 to 100",
    ),
    (
        "triggers: [{ name: t, cluster: c, when: \"percent: 101\" }]",
        "triggers[0].when: must be any, all, average or percent: P with P from 1 to 100",
    ),
    (
        "triggers: [{ name: t, cluster: c, quorum: 101 }]",
        "triggers[0].quorum: must be a whole number from 0 to 100, not 101",
    ),
    (
        "triggers: [{ name: t, cluster: c, mode: dry }]",
        "triggers[0].mode: \"dry\" is not one of live, dry_run",
    ),
    (
        "triggers: [{ name: t, cluster: c, on_failure: ignore }]",
        "triggers[0].on_failure: \"ignore\" is not one of undo, stop",
    ),
    (
        "triggers: [{ name: t, cluster: c, enabled: \"yes\" }]",
        "triggers[0].enabled: must be true or false, not text",
    ),
    (
        "triggers: [{ name: t, cluster: c, steps: [{ target: none }] }]",
        "triggers[0].steps[0].action: is required",
    ),
    (
        "triggers: [{ name: t, cluster: c, steps: [{ action: a }] }]",
        "triggers[0].steps[0].target: is required",
    ),
    (
        "triggers: [{ name: t, cluster: c, steps: [{ action: a, target: node }] }]",
        "triggers[0].steps[0].target: \"node\" is for running a single action; a step takes cluster, lastnode or none",
    ),
    (
        "triggers: [{ name: t, cluster: c, steps: [{ action: a, target: none, depends_on: [b] }, { action: b, target: none, depends_on: [a] }] }]",
        "triggers[0].steps[0]: depends_on goes in a circle: a -> b -> a",
    ),
    (
        "triggers: [{ name: t, cluster: c, steps: [{ action: tell, target: none, depends_on: [tel] }] }]",
        "triggers[0].steps[0]: depends_on names \"tel\", which is no step of this trigger; did you mean \"tell\"?",
    ),
];

#[test]
fn every_fault_of_a_text_is_told_with_its_path_and_nothing_else() {
    for (text, expected) in OF_THE_TEXT {
        assert_eq!(faults(fleet::parse(text)), *expected, "for {text}");
    }
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let bench = Bench::sqlite();
    let text = r#"
clusters:
  - name: web
    min_nodes: 5
    max_nodes: 2
    nodes:
      - { name: web01, adress: 10.0.0.11, ssh_profile: opps }
counters:
  - { name: load1, kind: ssh, script: x, threshold: high, every: 90s }
ssh_profiles:
  - { name: ops, user: ops, private_key_file: /k }
triggers:
  - { name: hot, cluster: web, counters: [load], timing: 5m, steps: [{ action: tell, target: none }] }
"#;
    assert_eq!(
        faults(bench.apply_with(text, Options::default())),
        "counters[0].threshold: must be a number, not text\n\
         clusters[0].nodes[0].address: is required\n\
         clusters[0].nodes[0].adress: is not known here; did you mean \"address\"?\n\
         clusters[0].max_nodes: is 2, less than min_nodes (5)\n\
         clusters[0].nodes[0].ssh_profile: there is no ssh profile \"opps\"; did you mean \"ops\"?\n\
         triggers[0].counters[0]: there is no counter \"load\"; did you mean \"load1\"?\n\
         triggers[0].steps[0].action: there is no action \"tell\"\n\
         counters[0].every: is 90 s, which is no multiple of the tick (60 s)"
    );
    assert_eq!(
        bench.export(),
        fleet::FleetFile::default(),
        "nothing is written"
    );
    assert_eq!(bench.audit(), Vec::<String>::new());
}

#[test]
fn references_are_judged_beside_what_stands_already() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    bench.apply("clusters: [{ name: web, min_nodes: 2, max_nodes: 10, nodes: [{ name: web03, address: h, ssh_profile: ops }] }]");
    for (text, expected) in [
        (
            "clusters: [{ name: db, nodes: [{ name: db01, address: h, ssh_profile: ops, jvm_profiles: [tomcta], ec2_profile: big }] }]",
            "clusters[0].nodes[0].ec2_profile: there is no ec2 profile \"big\"\n\
             clusters[0].nodes[0].jvm_profiles[0]: there is no jvm profile \"tomcta\"; did you mean \"tomcat\"?",
        ),
        (
            "triggers: [{ name: t, cluster: wbe }]",
            "triggers[0].cluster: there is no cluster \"wbe\"; did you mean \"web\"?",
        ),
        (
            "ssh_profiles: [{ name: s, user: u, private_key_secret: deploy-key }]",
            "ssh_profiles[0].private_key_secret: there is no secret \"deploy-key\"",
        ),
    ] {
        assert_eq!(faults(bench.apply_with(text, Options::default())), expected);
    }
}

#[test]
fn a_step_whose_action_cannot_act_on_its_target_is_refused() {
    let bench = Bench::sqlite();
    bench.apply(WEB);
    let text = "triggers: [{ name: t, cluster: web, steps: [{ action: tell, target: cluster }, { action: restart, target: none }] }]";
    assert_eq!(
        faults(bench.apply_with(text, Options::default())),
        "triggers[0].steps[0].target: must be none for an action of kind Email, not cluster\n\
         triggers[0].steps[1].target: must be cluster or lastnode for an action of kind LocalScript, not none"
    );
    let text =
        "actions: [{ name: restart, kind: Email, address: a@example.org, title: t, content: c }]";
    let told = faults(bench.apply_with(text, Options::default()));
    assert!(
        told.starts_with("actions[0].kind: trigger \"web-hot\" uses it: "),
        "{told}"
    );
}

#[test]
fn headrooms_own_host_is_refused_where_others_could_reach_headroom() {
    let mut bench = Bench::sqlite();
    bench.context.allow_local = false;
    let text = "
counters: [{ name: disk, kind: local, script: x, threshold: 1 }]
clusters: [{ name: me, nodes: [{ name: localhost, address: localhost }] }]
actions:
  - { name: release, kind: DistributedScript, fabfile: release.py, task: release }
  - { name: more, kind: DockerScale, driver: swarm, service: worker, by: 1 }
  - { name: keep, kind: ZabbixBackup }
";
    let told = faults(bench.apply_with(text, Options::default()));
    let lines: Vec<_> = told.lines().collect();
    assert!(
        lines[0].starts_with("counters[0].kind: a local counter runs on Headroom's own host"),
        "{told}"
    );
    assert!(
        lines[1].starts_with("clusters[0].nodes[0].address: localhost without"),
        "{told}"
    );
    assert!(told.contains("HEADROOM_ALLOW_LOCAL=true"), "{told}");
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        "ssh_profiles: [{ name: ops, user: ops, private_key: hunter2, port: 0 }]",
        "jvm_profiles: [{ name: t, port: 1, password: hunter2 }]",
        "jvm_profiles: [{ name: t, port: 1, user: u, password: [hunter2] }]",
        "jvm_profiles:\n  - password: \"hunter2\n",
    ] {
        let told = faults(fleet::parse(text));
        assert!(!told.contains("hunter2"), "{told}");
    }
    let file =
        fleet::parse("jvm_profiles: [{ name: t, port: 1, user: u, password: hunter2 }]").unwrap();
    assert!(!format!("{file:?}").contains("hunter2"));
    assert!(!file.to_yaml().unwrap().contains("hunter2"));
}

#[test]
fn the_file_of_the_documentation_applies() {
    let page =
        std::fs::read_to_string(crate::support::source::root().join("docs/fleet-file.md")).unwrap();
    let blocks: Vec<_> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        Bench::sqlite().apply(block);
    }
}
