use std::collections::HashMap;
use std::time::{Duration, Instant};

use headroom::clients::jmx::{self, Jmx};
use headroom::clients::ssh::Options;
use headroom::collectors::{Collectors, Reading, load_one, load_targets};
use headroom::db::Connection;
use headroom::models::cluster::{Cluster, NewCluster};
use headroom::models::counter::{Counter, NewCounter};
use headroom::models::node::{NewNode, Node};
use headroom::models::ssh_profile::{NewSshProfile, SshProfile};
use headroom::models::trigger::{NewTrigger, Trigger, set_counters};
use headroom::models::{
    Comparison, CounterId, CounterKind, HostKeyPolicy, Missing, NodeId, SecretId, SshProfileId,
};
use headroom::vault::Vault;
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::mpsc;

use super::{Lab, SECOND, login};
use crate::support::ports;
use crate::support::sshd::{HOSTILE_USER, Sshd, USER};

const TICK_MS: i64 = 1_800_000_000_000;

fn jmx() -> Jmx {
    Jmx::new(jmx::Options::default()).unwrap()
}

/// One cluster whose one trigger uses every counter.
pub(super) struct Fleet {
    pub(super) lab: Lab,
    vault: Vault,
    cluster: Cluster,
    trigger: Trigger,
    pub(super) counters: Vec<CounterId>,
    made: usize,
}

impl Fleet {
    pub(super) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(super) fn with(options: Options) -> Self {
        let lab = Lab::with(options);
        let vault = Vault::open(&lab.folder.path().join("master.key")).unwrap();
        let conn = &mut *lab.db.connection().unwrap();
        let cluster = Cluster::insert(conn, &NewCluster::named("web", 0)).unwrap();
        let trigger = NewTrigger {
            timing_secs: Some(60),
            enabled: false,
            ..NewTrigger::named("hot", cluster.id, 0)
        };
        let trigger = Trigger::insert(conn, &trigger).unwrap();
        Self {
            lab,
            vault,
            cluster,
            trigger,
            counters: Vec::new(),
            made: 0,
        }
    }

    fn conn<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> T {
        work(&mut self.lab.db.connection().unwrap())
    }

    pub(super) fn profile(&self, sshd: &Sshd) -> SshProfileId {
        self.profile_as(sshd, USER)
    }

    pub(super) fn profile_as(&self, sshd: &Sshd, user: &str) -> SshProfileId {
        self.profile_of(sshd, user, sshd.port(), sshd.known_hosts())
    }

    /// The profile of an sshd, but at another port.
    pub(super) fn profile_at(&self, sshd: &Sshd, port: u16) -> SshProfileId {
        let known_hosts = format!("[127.0.0.1]:{port} {}\n", sshd.host_key());
        self.profile_of(sshd, USER, port, known_hosts)
    }

    pub(super) fn profile_of(
        &self,
        sshd: &Sshd,
        user: &str,
        port: u16,
        known_hosts: String,
    ) -> SshProfileId {
        self.insert(&profile_row(sshd, user, port, known_hosts))
    }

    fn insert(&self, profile: &NewSshProfile) -> SshProfileId {
        self.conn(|conn| SshProfile::insert(conn, profile))
            .unwrap()
            .id
    }

    /// Puts a text into the vault.
    fn secret(&self, name: &str, text: &str) -> SecretId {
        let secret = SecretString::from(text);
        self.conn(|conn| self.vault.put(conn, name, &secret, 0))
            .unwrap()
    }

    pub(super) fn node(&self, name: &str, address: &str, profile: Option<SshProfileId>) -> NodeId {
        let node = NewNode {
            ssh_profile_id: profile,
            ..NewNode::in_service(name, self.cluster.id, address, 0)
        };
        self.conn(|conn| Node::insert(conn, &node)).unwrap().id
    }

    pub(super) fn counter(
        &mut self,
        kind: CounterKind,
        script: &str,
        timeout_secs: i64,
    ) -> CounterId {
        let counter = NewCounter {
            name: format!("counter{}", self.made),
            kind,
            settings: json!({ "script": script }).to_string(),
            comparison: Comparison::Greater,
            threshold: 1.0,
            unit: None,
            every_secs: None,
            timeout_secs,
            missing: Missing::Hold,
            updated_ms: 0,
        };
        let counter = self
            .conn(|conn| Counter::insert(conn, &counter))
            .unwrap()
            .id;
        self.made += 1;
        self.counters.push(counter);
        self.conn(|conn| set_counters(conn, self.trigger.id, &self.counters))
            .unwrap();
        counter
    }

    pub(super) fn scripts(&mut self, scripts: &[&str]) {
        for script in scripts {
            self.counter(CounterKind::Ssh, script, 10);
        }
    }

    pub(super) fn collectors(&self) -> Collectors {
        Collectors::new(self.lab.ssh.clone(), jmx(), true)
    }

    /// One tick of the whole fleet; each series exactly once.
    pub(super) async fn tick(&self, collectors: &Collectors, within: Duration) -> Vec<Reading> {
        let targets = self
            .conn(|conn| load_targets(conn, &self.vault, TICK_MS))
            .unwrap();
        let expected: usize = targets.iter().map(|target| target.reads.len()).sum();
        let (sender, mut receiver) = mpsc::channel(100);
        let deadline = tokio::time::Instant::now() + within;
        collectors.collect(targets, TICK_MS, deadline, sender).await;
        let mut readings = Vec::new();
        while let Some(some) = receiver.recv().await {
            readings.extend(some);
        }
        let mut keys: Vec<_> = readings
            .iter()
            .map(|reading| reading.key.to_string())
            .collect();
        keys.sort();
        keys.dedup();
        assert_eq!((keys.len(), readings.len()), (expected, expected));
        assert!(readings.iter().all(|reading| reading.tick_ms == TICK_MS));
        readings
    }

    /// The outcomes of one node's counters, in their order.
    pub(super) async fn outcomes(
        &self,
        collectors: &Collectors,
        node: NodeId,
    ) -> Vec<Result<f64, String>> {
        let readings = self.tick(collectors, 30 * SECOND).await;
        outcomes(&readings, node, &self.counters)
    }
}

fn profile_row(sshd: &Sshd, user: &str, port: u16, known_hosts: String) -> NewSshProfile {
    NewSshProfile {
        name: format!("{user}{port}"),
        login: user.into(),
        port: i32::from(port),
        private_key_file: Some(sshd.key_file().display().to_string()),
        private_key_secret: None,
        passphrase_env: None,
        passphrase_secret: None,
        agent: false,
        certificate_file: None,
        proxy_jump: None,
        connect_timeout_secs: None,
        host_keys: HostKeyPolicy::Pinned,
        known_hosts_file: None,
        known_hosts: Some(known_hosts),
        updated_ms: 0,
    }
}

pub(super) fn outcomes(
    readings: &[Reading],
    node: NodeId,
    counters: &[CounterId],
) -> Vec<Result<f64, String>> {
    let of: HashMap<_, _> = readings
        .iter()
        .filter(|reading| reading.node == node)
        .map(|reading| (reading.key.counter(), reading.outcome.clone()))
        .collect();
    counters.iter().map(|counter| of[counter].clone()).collect()
}

pub(super) fn error(text: &str) -> Result<f64, String> {
    Err(text.into())
}

#[tokio::test]
async fn every_counter_of_every_node_is_read_once_a_tick_over_one_kept_connection() {
    let sshd = Sshd::start(10);
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    fleet.scripts(&["echo 1", "cut -d' ' -f1 /proc/loadavg", "echo 3"]);
    let nodes: Vec<NodeId> = (1..)
        .zip(sshd.addresses())
        .map(|(number, address)| fleet.node(&format!("web{number:02}"), &address, Some(profile)))
        .collect();
    let collectors = fleet.collectors();
    for _ in 0..3 {
        let readings = fleet.tick(&collectors, 30 * SECOND).await;
        assert_eq!(readings.len(), 30);
        for node in &nodes {
            let outcomes = outcomes(&readings, *node, &fleet.counters);
            assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(1.0), &Ok(3.0)));
            assert!(outcomes[1].is_ok(), "{outcomes:?}");
        }
        assert!(readings.iter().all(|reading| reading.took_ms >= 0));
    }
    assert_eq!(sshd.logins(), 10);
    assert_eq!(fleet.lab.ssh.open_connections(), 10);
}

#[tokio::test]
async fn a_bad_script_is_an_error_that_says_which_and_loses_no_other() {
    let sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    fleet.scripts(&[
        "echo 1",
        "true",
        "echo high",
        "echo 1 2",
        "echo NaN",
        "head -c 1000000 /dev/zero | tr '\\0' 9",
        "echo broken >&2; exit 3",
        "kill -9 $PPID",
        "echo 9",
    ]);
    fleet.counter(CounterKind::Ssh, "sleep 60; echo 1", 2);
    let outcomes = fleet.outcomes(&fleet.collectors(), node).await;
    assert_eq!(
        outcomes,
        [
            Ok(1.0),
            error("printed nothing; one number is needed"),
            error("printed text where a number is needed: \"high\""),
            error("printed 2 numbers where one is needed: \"1 2\""),
            error("printed \"NaN\", which cannot be compared with a threshold"),
            error("printed more than 64 KiB; one number is needed"),
            error("exited with status 3; stderr: \"broken\""),
            error("its shell was killed before it could tell the exit status"),
            Ok(9.0),
            error("did not finish within 2 s"),
        ]
    );
    assert_eq!(sshd.logins(), 1, "the connection outlives a hung script");
    assert!(
        sshd.sessions().len() <= 2,
        "nothing is left but the connection"
    );
}

#[tokio::test]
async fn a_hostile_script_neither_forges_nor_loses_the_reading_of_another() {
    let sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    let frame =
        "\\n0123456789abcdef0123456789abcdef 1 v 1 99\\n0123456789abcdef0123456789abcdef 1 s 0\\n";
    let forge = format!(
        "exec 2>/dev/null; for p in $PPID $(cut -d' ' -f4 /proc/$PPID/stat); do for f in /proc/$p/fd/*; do printf '{frame}' >$f; done; done; echo 0"
    );
    fleet.scripts(&[&forge, "sleep 0.5; echo 1", "sleep 100 & sleep 0.1; echo 2"]);
    let collectors = fleet.collectors();
    let outcomes = fleet.outcomes(&collectors, node).await;
    assert_eq!(&outcomes[1..], [Ok(1.0), Ok(2.0)], "{outcomes:?}");
}

#[tokio::test]
async fn a_script_that_kills_everything_it_can_only_loses_its_own_reading() {
    let sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    let profile = fleet.profile_as(&sshd, HOSTILE_USER);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    let collectors = fleet.collectors();
    // Its own shell, those of the others, and the session process that serves the connection.
    fleet.scripts(&[
        "sleep 0.2; kill -9 -1; sleep 5",
        "sleep 1; echo 1",
        "sleep 1; echo 2",
    ]);
    for _ in 0..2 {
        let started = Instant::now();
        let outcomes = fleet.outcomes(&collectors, node).await;
        assert_eq!(&outcomes[1..], [Ok(1.0), Ok(2.0)], "{outcomes:?}");
        let why = outcomes[0].clone().unwrap_err();
        assert!(
            why.contains("the connection was lost while a command ran")
                || why
                    .starts_with("gave no result: the shell that ran it was ended by signal KILL"),
            "{why}"
        );
        assert!(started.elapsed() < 15 * SECOND);
    }
}

#[tokio::test]
async fn at_the_deadline_the_others_are_heard_and_the_hung_script_is_stopped() {
    let sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    fleet.scripts(&["echo 1", "sleep 600"]);
    let collectors = fleet.collectors();
    for _ in 0..3 {
        let started = Instant::now();
        let readings = fleet.tick(&collectors, 2 * SECOND).await;
        assert!(started.elapsed() < 3 * SECOND);
        let outcomes = outcomes(&readings, node, &fleet.counters);
        assert_eq!(outcomes[0], Ok(1.0), "{outcomes:?}");
        let why = outcomes[1].clone().unwrap_err();
        assert!(why.starts_with("did not finish within 1."), "{why}");
    }
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn a_hung_script_takes_no_turn_from_the_many_others_of_its_node() {
    let sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    let mut scripts = vec!["sleep 600"];
    scripts.extend(["echo 1"; 19]);
    // One that takes its time has it nevertheless, beside the one that hangs.
    scripts.push("sleep 3; echo 2");
    fleet.scripts(&scripts);
    let collectors = fleet.collectors();
    for tick in 0..4 {
        let readings = fleet.tick(&collectors, 5 * SECOND).await;
        let outcomes = outcomes(&readings, node, &fleet.counters);
        let read = outcomes[1..20]
            .iter()
            .filter(|outcome| **outcome == Ok(1.0));
        assert_eq!(read.count(), 19, "tick {tick}: {outcomes:?}");
        let why = outcomes[0].clone().unwrap_err();
        assert!(why.starts_with("did not finish within "), "{why}");
        if tick > 0 {
            assert_eq!(outcomes[20], Ok(2.0), "tick {tick}");
        }
    }
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn what_was_heard_counts_although_the_node_does_not_say_that_the_rest_was_stopped() {
    let mut sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    fleet.scripts(&["echo 1", "sleep 600", "echo 3"]);
    let collectors = fleet.collectors();
    let frozen = async {
        tokio::time::sleep(SECOND).await;
        sshd.freeze_sessions();
    };
    let (readings, ()) = tokio::join!(fleet.tick(&collectors, 3 * SECOND), frozen);
    assert_eq!(
        outcomes(&readings, node, &fleet.counters),
        [
            Ok(1.0),
            error("was not read before the tick's time was over"),
            Ok(3.0)
        ]
    );
    sshd.restart();
}

#[tokio::test]
async fn a_node_that_is_gone_or_frozen_loses_only_its_own_readings() {
    let mut frozen = Sshd::start(1);
    let sshd = Sshd::start(4);
    let mut fleet = Fleet::with(Options {
        answer_limit: 5 * SECOND,
        ..Options::default()
    });
    fleet.scripts(&["echo 1"]);
    let profile = fleet.profile(&sshd);
    let stuck = fleet.node("stuck", "127.0.0.1", Some(fleet.profile(&frozen)));
    let good: Vec<NodeId> = sshd
        .addresses()
        .iter()
        .map(|address| fleet.node(&format!("web{address}"), address, Some(profile)))
        .collect();
    let nowhere = fleet.profile_at(&sshd, ports::free());
    let gone = fleet.node("gone", "127.0.0.1", Some(nowhere));
    let collectors = fleet.collectors();
    fleet.tick(&collectors, 30 * SECOND).await;
    frozen.freeze_sessions();
    let readings = fleet.tick(&collectors, 2 * SECOND).await;
    for node in good {
        assert_eq!(outcomes(&readings, node, &fleet.counters), [Ok(1.0)]);
    }
    let why = outcomes(&readings, gone, &fleet.counters)[0]
        .clone()
        .unwrap_err();
    assert!(why.contains("connection refused"), "{why}");
    assert_eq!(
        outcomes(&readings, stuck, &fleet.counters),
        [error("was not read before the tick's time was over")]
    );
    frozen.restart();
    let readings = fleet.tick(&collectors, 30 * SECOND).await;
    assert_eq!(outcomes(&readings, stuck, &fleet.counters), [Ok(1.0)]);
}

#[tokio::test]
async fn the_key_of_a_profile_may_be_in_the_vault_and_a_missing_one_is_named() {
    let sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    fleet.scripts(&["echo 1"]);
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    let key = SecretString::from(sshd.key());
    fleet.conn(|conn| {
        let secret = fleet.vault.put(conn, "ssh/ops", &key, 0).unwrap();
        let row = SshProfile::find(conn, profile).unwrap();
        let new = |secret, file: Option<String>| NewSshProfile {
            name: row.name.clone(),
            login: row.login.clone(),
            port: row.port,
            private_key_file: file,
            private_key_secret: secret,
            passphrase_env: None,
            passphrase_secret: None,
            agent: false,
            certificate_file: None,
            proxy_jump: None,
            connect_timeout_secs: None,
            host_keys: row.host_keys,
            known_hosts_file: None,
            known_hosts: row.known_hosts.clone(),
            updated_ms: 0,
        };
        SshProfile::update(conn, profile, &new(Some(secret), None)).unwrap();
        let other = NewSshProfile {
            name: "broken".into(),
            ..new(None, Some("/no/such/key".into()))
        };
        SshProfile::insert(conn, &other).unwrap();
    });
    let broken = fleet.conn(|conn| SshProfile::by_name(conn, "broken").unwrap().id);
    let other = fleet.node("web02", "127.0.0.1", Some(broken));
    let readings = fleet.tick(&fleet.collectors(), 30 * SECOND).await;
    assert_eq!(outcomes(&readings, node, &fleet.counters), [Ok(1.0)]);
    let why = outcomes(&readings, other, &fleet.counters)[0]
        .clone()
        .unwrap_err();
    assert!(
        why.starts_with(
            "ssh profile \"broken\": its private key file /no/such/key cannot be read: "
        ),
        "{why}"
    );
}

/// What is read with a key from the vault, whose passphrase is where the change to the profile says.
async fn read_with(
    sshd: &Sshd,
    key: &str,
    change: impl FnOnce(&Fleet, &mut NewSshProfile),
) -> Result<f64, String> {
    let mut fleet = Fleet::new();
    fleet.scripts(&["echo 1"]);
    let mut row = profile_row(sshd, USER, sshd.port(), sshd.known_hosts());
    row.name = "ops".into();
    row.private_key_file = None;
    row.private_key_secret = Some(fleet.secret("ssh/ops", key));
    change(&fleet, &mut row);
    let profile = fleet.insert(&row);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    let mut outcomes = fleet.outcomes(&fleet.collectors(), node).await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

#[tokio::test]
async fn the_passphrase_of_a_key_may_be_in_the_vault_and_a_wrong_one_is_told_but_not_repeated() {
    let sshd = Sshd::start(1);
    let key = login::encrypted(&sshd, "open sesame");
    let in_vault = |passphrase: &'static str| {
        move |fleet: &Fleet, row: &mut NewSshProfile| {
            row.passphrase_secret = Some(fleet.secret("ssh/ops passphrase", passphrase));
        }
    };
    assert_eq!(
        read_with(&sshd, &key, in_vault("open sesame")).await,
        Ok(1.0)
    );
    let wrong = read_with(&sshd, &key, in_vault("open barley")).await;
    let missing = read_with(&sshd, &key, |_, _| {}).await;
    let hints = [
        (wrong, "its passphrase must be the right one"),
        (
            missing,
            "with a passphrase in the profile if it is encrypted",
        ),
    ];
    for (outcome, hint) in hints {
        let why = outcome.unwrap_err();
        let place = format!("ssh {USER}@127.0.0.1:{}: ", sshd.port());
        assert!(why.contains(&place), "{why}");
        assert!(why.contains("the private key could not be used"), "{why}");
        assert!(why.contains(hint), "{why}");
        for secret in ["sesame", "barley", "PRIVATE KEY"] {
            assert!(!why.contains(secret), "{why}");
        }
    }
    assert_eq!(sshd.logins(), 1, "only the right one logs in");
}

#[tokio::test]
async fn the_passphrase_may_be_in_the_environment_and_a_variable_that_is_not_set_is_named() {
    // A variable that every process has, since none can be set in the midst of one.
    let text = std::env::var("PATH").unwrap();
    let sshd = Sshd::start(1);
    let key = login::encrypted(&sshd, &text);
    let variable = |name: &'static str| {
        move |_: &Fleet, row: &mut NewSshProfile| row.passphrase_env = Some(name.into())
    };
    assert_eq!(read_with(&sshd, &key, variable("PATH")).await, Ok(1.0));
    let unset = read_with(&sshd, &key, variable("HEADROOM_TEST_UNSET")).await;
    assert_eq!(
        unset,
        error(
            "ssh profile \"ops\": its passphrase in HEADROOM_TEST_UNSET: environment variable not found"
        )
    );
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn local_counters_run_here_where_that_is_allowed() {
    let mut fleet = Fleet::new();
    let here = fleet.node("here", "localhost", None);
    for script in [
        "echo 4",
        "exit 3",
        "yes",
        "kill -9 $$",
        "env | grep -c CARGO_MANIFEST_DIR",
    ] {
        fleet.counter(CounterKind::Local, script, 2);
    }
    let outcomes = fleet.outcomes(&fleet.collectors(), here).await;
    assert_eq!(
        outcomes,
        [
            Ok(4.0),
            error("exited with status 3"),
            error("did not finish within 2 s"),
            error("its shell was killed before it could tell the exit status"),
            error("exited with status 1"),
        ]
    );
    let refusing = Collectors::new(fleet.lab.ssh.clone(), jmx(), false);
    for outcome in fleet.outcomes(&refusing, here).await {
        let why = outcome.unwrap_err();
        assert!(why.contains("HEADROOM_ALLOW_LOCAL=true"), "{why}");
    }
}

#[tokio::test]
async fn one_counter_of_one_node_can_be_read_by_itself() {
    let sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    fleet.scripts(&["echo 1", "echo 2"]);
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    let counter = fleet.counters[1];
    let target = fleet
        .conn(|conn| load_one(conn, &fleet.vault, node, counter))
        .unwrap();
    let deadline = tokio::time::Instant::now() + 20 * SECOND;
    let readings = fleet.collectors().read(&target, TICK_MS, deadline).await;
    assert_eq!(readings.len(), 1);
    assert_eq!(readings[0].key.counter(), counter);
    assert_eq!(readings[0].outcome, Ok(2.0));
}
