//! Whatever can be defined is written out and read back without a loss, through YAML, JSON and the database.

use headroom::fleet::{
    Action, Cluster, Combine, Counter, Ec2Profile, FleetFile, JvmProfile, Node, Secs, Source,
    SshProfile, Step, Trigger, parse,
};
use headroom::models::ec2_profile::{AddressFrom, WaitFor};
use headroom::models::{
    Comparison, HostKeyPolicy, JmxTransport, Missing, Mode, OnFailure, StepTarget,
};
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use super::support::Bench;

/// Text with everything that YAML could trip over; a definition's text is never blank.
fn text() -> impl Strategy<Value = String> {
    let tricky = [
        "yes",
        "null",
        "~",
        "1e3",
        "0x1F",
        "5m",
        "- a",
        "a: b",
        "#x",
        "{{ node.address }}",
        "'",
        "\"",
        "|\n x\n",
        "a\n\nb\n",
        "\ttab",
        "é ☃",
        " lead",
        "trail ",
        "*a",
        "&a",
        "!t",
        "%x",
        "@x",
        "`x`",
        "---",
        "2026-01-01",
        ".inf",
        "a\r\nb",
        "\u{85}x",
        "\u{2028}x",
        "x\u{feff}",
    ];
    prop_oneof![
        select(tricky.to_vec()).prop_map(str::to_owned),
        "[ -~\n]{0,40}[!-~][ -~\n]{0,40}",
        "\\PC{0,10}[a-z]\\PC{0,10}",
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9][a-z0-9_.-]{0,8}",
        select(vec!["1e3", "0x10", "null", "true", "12", "1.5", "no"]).prop_map(str::to_owned)
    ]
}

fn names(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<String>> {
    btree_set(name(), count).prop_map(|set| set.into_iter().collect())
}

fn ssh_profile(name: String) -> impl Strategy<Value = SshProfile> {
    let pins = of(vec("[a-z]{1,5} ssh-ed25519 [A-Za-z0-9]{5}", 1..3));
    ("[a-z]{1,8}", 1..=65_535, "/[ -~]{1,20}", pins).prop_map(move |(user, port, key, pins)| {
        SshProfile {
            name: name.clone(),
            user,
            port,
            private_key_file: Some(key),
            private_key_secret: None,
            private_key: None,
            passphrase_env: pins.is_some().then(|| "PHRASE".into()),
            passphrase_secret: None,
            passphrase: None,
            agent: false,
            certificate_file: pins.is_none().then(|| "/key-cert.pub".into()),
            connect_timeout: (port % 3 == 0).then_some(Secs(45)),
            proxy_jump: (port % 2 == 0).then(|| "ops@bastion:2222".into()),
            host_keys: if pins.is_some() {
                HostKeyPolicy::Pinned
            } else {
                HostKeyPolicy::FirstUse
            },
            known_hosts_file: None,
            known_hosts: pins.map(|lines| lines.join("\n")),
        }
    })
}

fn jvm_profile(name: String) -> impl Strategy<Value = JvmProfile> {
    let transport = select(vec![JmxTransport::Rmi, JmxTransport::Jolokia]);
    (
        1..=65_535,
        any::<bool>(),
        transport,
        of(text()),
        any::<bool>(),
    )
        .prop_map(move |(port, by_url, transport, user, tls)| JvmProfile {
            name: name.clone(),
            port: (!by_url).then_some(port),
            url: by_url.then(|| match (transport, tls) {
                (JmxTransport::Rmi, _) => format!("service:jmx:rmi:///jndi/rmi://h:{port}/jmxrmi"),
                (JmxTransport::Jolokia, false) => format!("http://h:{port}/jolokia"),
                (JmxTransport::Jolokia, true) => format!("https://h:{port}/jolokia"),
            }),
            transport,
            path: (transport == JmxTransport::Jolokia && !by_url).then(|| "/jmx".into()),
            password_env: user.as_ref().map(|_| "PASSWORD".into()),
            user,
            password_secret: None,
            password: None,
            tls,
            ca_file: tls.then(|| "/ca.pem".into()),
        })
}

fn ec2_profile(name: String) -> impl Strategy<Value = Ec2Profile> {
    let address = select(vec![
        AddressFrom::PublicDns,
        AddressFrom::PublicIp,
        AddressFrom::PrivateDns,
        AddressFrom::PrivateIp,
    ]);
    let wait = select(vec![WaitFor::Running, WaitFor::Ssh]);
    let groups = btree_set(text(), 0..3).prop_map(|set| set.into_iter().collect());
    (
        of(text()),
        groups,
        of(text()),
        of(text()),
        address,
        wait,
        of(text()),
    )
        .prop_map(
            move |(
                key_name,
                security_groups,
                user_data,
                load_balancer,
                address_from,
                wait_for,
                external_id,
            )| {
                Ec2Profile {
                    name: name.clone(),
                    region: "eu-west-1".into(),
                    image_id: "ami-1".into(),
                    instance_type: "t3.small".into(),
                    subnet_id: key_name.clone(),
                    key_name,
                    security_groups,
                    user_data,
                    load_balancer,
                    target_group_arn: None,
                    endpoint_url: None,
                    address_from,
                    wait_for,
                    access_key_id: None,
                    secret_access_key_secret: None,
                    secret_access_key: None,
                    role_arn: external_id.as_ref().map(|_| "arn:aws:iam::1:role/x".into()),
                    external_id,
                }
            },
        )
}

fn counter(name: String) -> impl Strategy<Value = Counter> {
    let source = prop_oneof![
        text().prop_map(|script| Source::Ssh { script }),
        text().prop_map(|script| Source::Local { script }),
        (text(), of(text())).prop_map(|(attribute, key)| Source::Jmx {
            mbean: "java.lang:type=Memory".into(),
            attribute,
            key
        }),
    ];
    let threshold = prop_oneof![
        any::<f64>().prop_filter("a threshold is finite", |n| n.is_finite()),
        any::<i32>().prop_map(f64::from)
    ];
    let shape = (select(Comparison::ALL), select(Missing::ALL));
    (
        source,
        threshold,
        of(text()),
        of(1..500_i64),
        1..5_000_i64,
        shape,
    )
        .prop_map(
            move |(source, threshold, unit, every, timeout, (comparison, missing))| Counter {
                name: name.clone(),
                source,
                comparison,
                threshold,
                unit,
                every: every.map(|ticks| Secs(ticks * 60)),
                timeout: Secs(timeout),
                missing,
            },
        )
}

fn node(
    name: String,
    ssh: Vec<String>,
    jvm: Vec<String>,
    ec2: Vec<String>,
) -> impl Strategy<Value = Node> {
    let address = prop_oneof![
        "[a-z0-9][a-z0-9.-]{0,12}",
        Just("fe80::1".to_owned()),
        Just("10.0.0.1".to_owned())
    ];
    let count = jvm.len();
    (
        address,
        select(ssh),
        subsequence(jvm, 0..=count),
        of(select(ec2)),
    )
        .prop_map(
            move |(address, ssh_profile, jvm_profiles, ec2_profile)| Node {
                name: name.clone(),
                address,
                ssh_profile: Some(ssh_profile),
                ec2_profile,
                jvm_profiles,
            },
        )
}

fn action(name: String) -> impl Strategy<Value = Action> {
    let template_free = text().prop_filter("a template of its own", |text| !text.contains("{{"));
    (
        of(1..5_000_i64),
        of(0..20_i32),
        template_free,
        any::<bool>(),
    )
        .prop_map(move |(timeout, retries, script, repeatable)| {
            let settings = json!({"script": script, "repeatable": repeatable});
            Action {
                name: name.clone(),
                kind: "LocalScript".into(),
                timeout: timeout.map(Secs),
                retries,
                settings: settings.as_object().unwrap().clone(),
            }
        })
}

fn steps(actions: Vec<String>) -> impl Strategy<Value = Vec<Step>> {
    let step = (
        select(actions),
        select(vec![StepTarget::Cluster, StepTarget::LastNode]),
        of(vec(any::<prop::sample::Index>(), 0..3)),
        any::<bool>(),
        of(1..100_000_i64),
    );
    vec(step, 0..5).prop_map(|drawn| {
        let mut steps: Vec<Step> = Vec::new();
        for (number, (action, target, depends_on, approve, within)) in drawn.into_iter().enumerate()
        {
            let earlier = depends_on.map(|picks| {
                let mut names: Vec<_> = picks
                    .iter()
                    .filter(|_| number > 0)
                    .map(|pick| format!("s{}", pick.index(number)))
                    .collect();
                names.sort();
                names.dedup();
                names
            });
            steps.push(Step {
                name: format!("s{number}"),
                action,
                target,
                depends_on: earlier,
                approve,
                // The default is left out.
                approve_within: within.filter(|secs| approve && *secs != 86_400).map(Secs),
            });
        }
        steps
    })
}

fn trigger(
    name: String,
    cluster: String,
    counters: Vec<String>,
    actions: Vec<String>,
) -> impl Strategy<Value = Trigger> {
    let when = prop_oneof![
        Just(Combine::Any),
        Just(Combine::All),
        Just(Combine::Average),
        (1..=100).prop_map(Combine::Percent)
    ];
    let count = counters.len();
    let flags = (
        select(Mode::ALL),
        any::<bool>(),
        of(select(OnFailure::ALL)),
        0..=100_i32,
    );
    (
        subsequence(counters, 0..=count),
        of(0..100_000_i64),
        when,
        0..100_000_i64,
        flags,
        steps(actions),
    )
        .prop_map(
            move |(
                counters,
                timing,
                when,
                cooldown,
                (mode, enabled, on_failure, quorum),
                steps,
            )| Trigger {
                name: name.clone(),
                cluster: cluster.clone(),
                counters,
                timing: timing.map(Secs),
                when,
                cooldown: Secs(cooldown),
                quorum,
                mode,
                enabled,
                on_failure,
                steps,
            },
        )
}

/// One strategy per name, drawn together.
fn each<T: std::fmt::Debug, S: Strategy<Value = T>>(
    names: &[String],
    one: impl Fn(String) -> S,
) -> Vec<S> {
    names.iter().cloned().map(one).collect()
}

prop_compose! {
    fn drawn_names()(
        ssh in names(1..3), jvm in names(1..3), ec2 in names(1..3), counters in names(1..4),
        clusters in names(1..3), nodes in names(0..4), actions in names(1..3), triggers in names(0..3),
    ) -> [Vec<String>; 8] {
        [ssh, jvm, ec2, counters, clusters, nodes, actions, triggers]
    }
}

fn fleet() -> impl Strategy<Value = FleetFile> {
    drawn_names().prop_flat_map(
        |[ssh, jvm, ec2, counters, clusters, nodes, actions, triggers]| {
            let bounds = each(&clusters, |_| (0..50, of(50..100)));
            let drawn_nodes = each(&nodes, |name| {
                node(name, ssh.clone(), jvm.clone(), ec2.clone())
            });
            let first = clusters[0].clone();
            let drawn_triggers = each(&triggers, |name| {
                trigger(name, first.clone(), counters.clone(), actions.clone())
            });
            let profiles = (
                each(&ssh, ssh_profile),
                each(&jvm, jvm_profile),
                each(&ec2, ec2_profile),
            );
            (
                profiles,
                each(&counters, counter),
                bounds,
                drawn_nodes,
                each(&actions, action),
                drawn_triggers,
            )
                .prop_map(
                    move |(
                        (ssh_profiles, jvm_profiles, ec2_profiles),
                        counters,
                        bounds,
                        nodes,
                        actions,
                        triggers,
                    )| {
                        let mut file = FleetFile::default();
                        file.clusters = clusters
                            .iter()
                            .zip(bounds)
                            .map(|(name, (min_nodes, max_nodes))| Cluster {
                                max_failed_launches: (min_nodes % 2 == 0).then_some(min_nodes),
                                breaker_cooldown: (min_nodes % 3 == 0)
                                    .then_some(Secs(i64::from(min_nodes) + 1)),
                                max_launches_per_hour: max_nodes.map(|max| max + 1),
                                name: name.clone(),
                                min_nodes,
                                max_nodes,
                                nodes: Vec::new(),
                            })
                            .collect();
                        file.clusters[0].nodes = nodes;
                        file.ssh_profiles = ssh_profiles;
                        file.jvm_profiles = jvm_profiles;
                        file.ec2_profiles = ec2_profiles;
                        file.counters = counters;
                        file.actions = actions;
                        file.triggers = triggers;
                        file
                    },
                )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_file_survives_being_written_and_read(file in fleet()) {
        let yaml = file.to_yaml().unwrap();
        prop_assert_eq!(&parse(&yaml).map_err(|error| format!("{error}\n{yaml}")).unwrap(), &file);
        let json = serde_json::to_string(&file).unwrap();
        prop_assert_eq!(parse(&json).unwrap(), file);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_fleet_survives_the_database_and_a_second_apply_changes_nothing(file in fleet()) {
        let bench = Bench::sqlite();
        bench.write(|conn, context| headroom::fleet::apply(conn, context, &file, false)).unwrap();
        let exported = bench.export();
        // Names come sorted by the database; the drawn ones are sorted already.
        prop_assert_eq!(&exported, &file);
        let again = bench.prune(&exported.to_yaml().unwrap()).unwrap();
        prop_assert!(again.is_empty(), "{}", again);
    }
}
