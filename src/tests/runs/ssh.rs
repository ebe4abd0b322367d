//! LocalScript over a real sshd.

use std::path::Path;
use std::time::{Duration, Instant};

use headroom::models::cluster::Cluster;
use headroom::models::node::{NewNode, Node};
use headroom::models::ssh_profile::{NewSshProfile, SshProfile};
use headroom::models::{HostKeyPolicy, OnFailure, RunState, StepTarget, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::execute;

use serde_json::json;

use super::lab::{Lab, Planned, new_node};
use crate::support::sshd::{BadHost, Manners, Sshd, USER};
use crate::support::{ports, wait};

const SOON: Duration = Duration::from_secs(20);

impl Lab {
    /// Adds a node that is reached over SSH.
    pub fn add_ssh_node(&self, name: &str, address: &str, port: u16, sshd: &Sshd) {
        self.add_ssh_node_as(USER, name, address, port, sshd);
    }

    /// Adds a node that is reached over SSH by a certain user.
    pub fn add_ssh_node_as(&self, login: &str, name: &str, address: &str, port: u16, sshd: &Sshd) {
        self.write(|conn| {
            let profile = SshProfile::insert(
                conn,
                &NewSshProfile {
                    name: format!("to-{name}"),
                    login: login.into(),
                    port: port.into(),
                    private_key_file: Some(sshd.key_file().display().to_string()),
                    private_key_secret: None,
                    passphrase_env: None,
                    passphrase_secret: None,
                    agent: false,
                    certificate_file: None,
                    proxy_jump: None,
                    connect_timeout_secs: None,
                    host_keys: HostKeyPolicy::FirstUse,
                    known_hosts_file: None,
                    known_hosts: None,
                    updated_ms: 0,
                },
            )?;
            let cluster = Cluster::by_name(conn, "web")?;
            let node = NewNode {
                address: address.into(),
                ssh_profile_id: Some(profile.id),
                ..new_node(name, &cluster, 50)
            };
            Node::insert(conn, &node)
        });
    }
}

fn lab() -> Lab {
    Lab::new().with_nodes(true)
}

/// Whether the process that wrote its id into a file is gone.
fn ended(file: &Path) -> bool {
    let pid = std::fs::read_to_string(file).unwrap();
    !Path::new(&format!("/proc/{}", pid.trim())).exists()
}

#[tokio::test]
async fn a_script_runs_on_every_node_and_a_dead_one_keeps_none_waiting() {
    let sshd = Sshd::start(3);
    let lab = lab();
    for (address, number) in sshd.addresses().iter().zip(1..) {
        lab.add_ssh_node(&format!("web0{number}"), address, sshd.port(), &sshd);
    }
    let script = "whoami; echo {{ node.address }}";
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("all", script).on(StepTarget::Cluster)],
    );
    assert_eq!(
        lab.drive(run).await,
        RunState::Succeeded,
        "{}",
        lab.error(run, "all")
    );
    let report = lab.report(run, "all").0;
    let told: Vec<_> = report.iter().map(|entry| entry.stdout.clone()).collect();
    let own = |last| format!("{USER}\n127.0.0.{last}\n");
    assert_eq!(told[1..], [own(1), own(2), own(3)]);
    assert!(told[0].ends_with("\nlocalhost\n"), "n1 is this machine");

    lab.add_ssh_node("web04", "127.0.0.1", ports::free(), &sshd);
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("all", script).on(StepTarget::Cluster)],
    );
    assert_eq!(lab.drive(run).await, RunState::Failed);
    let error = lab.error(run, "all");
    assert!(
        error.starts_with("the script failed on 1 of 5 hosts: web04: "),
        "{error}"
    );
    assert_eq!(
        lab.report(run, "all")
            .0
            .iter()
            .filter(|entry| entry.succeeded)
            .count(),
        4
    );
    assert_eq!(
        lab.step(run, "all").attempt,
        1,
        "four nodes have run it: it is not repeated for the fifth"
    );
}

#[tokio::test]
async fn a_script_that_began_on_no_node_is_tried_again_within_its_time_limit() {
    let sshd = Sshd::start(1);
    let lab = lab();
    lab.add_ssh_node("web01", "127.0.0.1", ports::free(), &sshd);
    let run = lab.plan(OnFailure::Stop, &[Planned::script("one", "true").within(6)]);
    assert_eq!(lab.drive(run).await, RunState::Failed);
    let (step, error) = (lab.step(run, "one"), lab.error(run, "one"));
    assert!(step.attempt > 1, "{error}");
    assert!(
        error.contains("connection refused")
            && error.contains("attempts were made within the time limit of 6 s"),
        "{error}"
    );
}

#[tokio::test]
async fn a_script_that_was_lost_sight_of_is_repeated_only_where_it_may_be() {
    for repeatable in [false, true] {
        let mut sshd = Sshd::start(1);
        let lab = lab();
        lab.add_ssh_node("web01", "127.0.0.1", sshd.port(), &sshd);
        let log = sshd.scratch().join("log");
        let file = log.display();
        // The first time it goes on until its connection is lost.
        let script = format!("echo here >> {file}; [ $(wc -l < {file}) -gt 1 ] || sleep 20");
        let step = Planned::new(
            "one",
            "LocalScript",
            json!({"script": script, "repeatable": repeatable}),
        );
        let run = lab.plan(OnFailure::Stop, &[step.within(15)]);
        let ctx = lab.ctx.clone();
        let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
        let begun = log.clone();
        tokio::task::spawn_blocking(move || {
            wait::until("the script to begin", SOON, || begun.exists().then_some(()))
        })
        .await
        .unwrap();
        sshd.restart();
        driven.await.unwrap().unwrap();
        let step = lab.step(run, "one");
        let lines = std::fs::read_to_string(&log).unwrap().lines().count();
        if repeatable {
            assert_eq!(lab.run(run).state, RunState::Succeeded, "{step:?}");
            let lost = &step.tried().unwrap()[0].error;
            assert!(lost.contains("the connection was lost"), "{lost}");
            assert_eq!(lines, 2);
        } else {
            assert_eq!(lab.run(run).state, RunState::Failed, "{step:?}");
            assert_eq!((step.attempt, lines), (1, 1), "{step:?}");
            assert!(step.error.unwrap().contains("the connection was lost"));
        }
    }
}

#[tokio::test]
async fn a_script_on_a_node_is_stopped_at_its_time_limit() {
    let sshd = Sshd::start(1);
    let lab = lab();
    lab.add_ssh_node("web01", "127.0.0.1", sshd.port(), &sshd);
    let pid = sshd.scratch().join("pid");
    let script = format!("echo begun; echo $$ > {}; sleep 60", pid.display());
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("slow", script).within(2)],
    );
    let begin = Instant::now();
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(begin.elapsed() < SOON);
    let error = lab.error(run, "slow");
    assert_eq!(
        error,
        "the script failed on 1 of 1 host: web01: the script was stopped at its time limit"
    );
    assert_eq!(
        lab.report(run, "slow").0[0].stdout,
        "begun\n",
        "what it said before is kept"
    );
    tokio::task::spawn_blocking(move || {
        wait::until("the script to end", SOON, || ended(&pid).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_cancelled_run_stops_its_script_on_the_node() {
    let sshd = Sshd::start(1);
    let lab = lab();
    lab.add_ssh_node("web01", "127.0.0.1", sshd.port(), &sshd);
    let pid = sshd.scratch().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; sleep 60", pid.display());
    let run = lab.plan(OnFailure::Stop, &[Planned::script("long", script)]);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let file = pid.clone();
    tokio::task::spawn_blocking(move || {
        wait::until("the script to begin", SOON, || file.exists().then_some(()))
    })
    .await
    .unwrap();
    lab.write(|conn| control::cancel(conn, run, &Decision::new("ann", Via::Page, "", 9)));
    driven.await.unwrap().unwrap();
    assert_eq!(lab.run(run).state, RunState::Cancelled);
    assert!(
        lab.error(run, "long")
            .contains("stopped: the run was cancelled")
    );
    tokio::task::spawn_blocking(move || {
        wait::until("the script to end", SOON, || ended(&pid).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_node_that_says_nothing_fails_the_step_soon_after_its_limit() {
    let (sshd, silent) = (Sshd::start(1), BadHost::start(Manners::Silent));
    let lab = lab();
    lab.add_ssh_node("web01", "127.0.0.1", silent.port(), &sshd);
    let run = lab.plan(OnFailure::Stop, &[Planned::script("one", "true").within(1)]);
    let begin = Instant::now();
    assert_eq!(
        lab.drive(run).await,
        RunState::Failed,
        "not stuck: {}",
        lab.error(run, "one")
    );
    assert!(begin.elapsed() < SOON);
    let error = lab.error(run, "one");
    assert!(
        error.contains("no command could be started before its time was over"),
        "{error}"
    );
}

#[tokio::test]
async fn scripts_on_headrooms_own_host_need_to_be_allowed() {
    let lab = Lab::new().with_nodes(false);
    let run = lab.plan(OnFailure::Stop, &[Planned::script("one", "true")]);
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(
        lab.error(run, "one")
            .contains("HEADROOM_ALLOW_LOCAL=true allows it")
    );
}

#[tokio::test]
async fn a_node_without_a_profile_is_named() {
    let lab = lab();
    lab.write(|conn| {
        let cluster = Cluster::by_name(conn, "web")?;
        Node::insert(
            conn,
            &NewNode {
                address: "10.0.0.9".into(),
                ..new_node("n2", &cluster, 9)
            },
        )
    });
    let run = lab.plan(OnFailure::Stop, &[Planned::script("one", "true")]);
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(
        lab.error(run, "one")
            .contains("node \"n2\" has no ssh profile"),
        "{}",
        lab.error(run, "one")
    );
}
