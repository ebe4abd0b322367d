//! DistributedScript: real Fabric over real sshd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use headroom::actions::Entry;
use headroom::config::Tooling;
use headroom::models::{OnFailure, RunId, RunState, StepTarget, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::execute;
use serde_json::{Value, json};

use super::lab::{Lab, Planned};
use crate::support::sshd::{Sshd, USER};
use crate::support::{tools, wait};

const SOON: Duration = Duration::from_secs(60);

/// Says who it is; fails on the node with the address 127.0.0.2.
const FABFILE: &str = r#"
from fabric import task

@task
def release(c, version=""):
    print(f"version {version} to {c.host}")
    c.run("echo on $SSH_CONNECTION | cut -d' ' -f4")
    if c.host == "127.0.0.2":
        c.run("echo out of space >&2; exit 3")

@task
def wait_for_ever(c):
    print("begun", flush=True)
    c.run("sleep 60")

@task
def elsewhere(c, host, port):
    from fabric import Connection
    key = c.connect_kwargs["key_filename"]
    Connection(host, user=c.user, port=int(port), connect_kwargs={"key_filename": key}).run("echo never seen")
"#;

struct Site {
    lab: Lab,
    sshd: Sshd,
}

/// `count` nodes, web01 and so on, on real sshd; the node that every lab has is taken away.
fn site(count: u8) -> Site {
    site_as(USER, count)
}

/// The same, and the nodes are logged in to as this user.
fn site_as(login: &str, count: u8) -> Site {
    let lab = Lab::new();
    let data = lab.path("data");
    let tooling = Tooling {
        fab: tools::fab(),
        ..Tooling::new(&data)
    };
    let lab = lab.with_tooling(true, tooling);
    lab.remove_node("n1");
    fs::create_dir_all(data.join("fabric-scripts")).unwrap();
    fs::write(data.join("fabric-scripts/deploy.py"), FABFILE).unwrap();
    let sshd = Sshd::start_with(count, "Subsystem sftp internal-sftp");
    for (address, number) in sshd.addresses().iter().zip(1..) {
        lab.add_ssh_node_as(login, &format!("web0{number}"), address, sshd.port(), &sshd);
    }
    Site { lab, sshd }
}

impl Site {
    fn plan(&self, settings: Value) -> RunId {
        let step = Planned::new("fab", "DistributedScript", settings).on(StepTarget::Cluster);
        self.lab.plan(OnFailure::Stop, &[step])
    }

    fn report(&self, run: RunId) -> Vec<Entry> {
        self.lab.report(run, "fab").0
    }

    /// No key is left behind.
    fn assert_clean(&self) {
        let left = fs::read_dir(self.lab.path("data/private"));
        assert_eq!(
            left.map_or(0, Iterator::count),
            0,
            "private files were left"
        );
    }
}

fn release(more: Value) -> Value {
    let mut settings = json!({
        "fabfile": "deploy.py", "task": "release", "args": ["--version", "{{ node.name }} $HOME;'"],
    });
    let more = more.as_object().unwrap().clone();
    settings.as_object_mut().unwrap().extend(more);
    settings
}

#[tokio::test]
async fn a_task_that_fails_on_one_of_three_nodes_stops_there_and_each_node_has_its_own_report() {
    let site = site(3);
    let run = site.plan(release(json!({})));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let error = site.lab.error(run, "fab");
    assert_eq!(
        error,
        "the task failed on 2 of 3 hosts: web02: exit status 3; web03: not begun: the task failed on another node before"
    );
    let report = site.report(run);
    assert_eq!(
        report[0].stdout, "version web01 $HOME;' to 127.0.0.1\n127.0.0.1\n",
        "no shell reads an argument"
    );
    assert_eq!((report[0].status, report[0].succeeded), (Some(0), true));
    assert_eq!((report[1].status, report[1].succeeded), (Some(3), false));
    let said = format!("{}{}", report[1].stdout, report[1].stderr);
    assert!(said.contains("out of space"), "{said}");
    assert_eq!((report[2].status, report[2].stdout.as_str()), (None, ""));
    site.assert_clean();
}

#[tokio::test]
async fn the_other_nodes_are_worked_on_where_the_action_says_so() {
    let site = site(3);
    let run = site.plan(release(json!({"keep_going": true, "at_once": 3})));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    assert_eq!(
        site.lab.error(run, "fab"),
        "the task failed on 1 of 3 hosts: web02: exit status 3"
    );
    assert!(site.report(run)[2].succeeded);
    assert_eq!(site.lab.output(run, "fab", "failed"), 1);
}

#[tokio::test]
async fn a_changed_host_key_is_refused_before_anything_runs() {
    let mut site = site(1);
    let run = site.plan(release(json!({})));
    assert_eq!(
        site.lab.drive(run).await,
        RunState::Succeeded,
        "{}",
        site.lab.error(run, "fab")
    );

    site.sshd.change_host_key();
    site.sshd.restart();
    let run = site.plan(release(json!({})));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let error = site.lab.error(run, "fab");
    assert!(error.contains("the host key changed"), "{error}");
    assert_eq!(site.report(run)[0].stdout, "");
    site.assert_clean();
}

#[tokio::test]
async fn a_task_cannot_connect_to_a_machine_that_headroom_does_not_know() {
    let site = site(1);
    let stranger = Sshd::start(1);
    let run = site.plan(json!({
        "fabfile": "deploy.py", "task": "elsewhere",
        "args": ["--host=127.0.0.1", format!("--port={}", stranger.port())],
    }));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let report = &site.report(run)[0];
    assert!(
        report.stderr.contains("not found in known_hosts"),
        "{report:?}"
    );
    assert!(!report.stdout.contains("never seen"));
}

#[tokio::test]
async fn a_missing_or_foreign_fab_is_said_to_be_so() {
    let site = site(1);
    for (fab, said) in [
        ("/no/such/fab", "could not start /no/such/fab"),
        ("/bin/echo", "says \"echo (GNU coreutils)"),
    ] {
        let tooling = Tooling {
            fab: fab.into(),
            ..Tooling::new(&site.lab.path("data"))
        };
        let lab = site.lab.sharing(tooling);
        let run = site.plan(release(json!({})));
        execute::drive(&lab, run).await.unwrap();
        let error = site.lab.error(run, "fab");
        assert!(
            error.contains(said) && error.contains("set HEADROOM_FAB"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn fab_is_not_started_where_nothing_may_run_on_headrooms_own_host() {
    let site = site(1);
    let tooling = Tooling {
        allow_local: false,
        ..site.lab.ctx.tools.tooling.clone()
    };
    let lab = site.lab.sharing(tooling);
    let run = site.plan(release(json!({})));
    execute::drive(&lab, run).await.unwrap();
    assert_eq!(site.lab.run(run).state, RunState::Failed);
    let error = site.lab.error(run, "fab");
    assert_eq!(
        error,
        "a DistributedScript starts programs on Headroom's own host, which is refused while it listens beyond loopback; \
         HEADROOM_ALLOW_LOCAL=true allows it"
    );
    assert_eq!(site.sshd.logins(), 0);
}

#[tokio::test]
async fn a_missing_fabfile_and_a_missing_task_are_named() {
    let site = site(1);
    let run = site.plan(json!({"fabfile": "none.py", "task": "x"}));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let error = site.lab.error(run, "fab");
    assert!(
        error.contains("there is no file") && error.contains("rolling_restart.py"),
        "{error}"
    );
    let run = site.plan(json!({"fabfile": "deploy.py", "task": "nothing"}));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let report = &site.report(run)[0];
    assert!(report.stderr.contains("nothing"), "{report:?}");
}

#[tokio::test]
async fn a_task_is_stopped_at_its_time_limit_and_when_its_run_is_cancelled() {
    let site = site(1);
    let settings = json!({"fabfile": "deploy.py", "task": "wait-for-ever"});
    let step = Planned::new("fab", "DistributedScript", settings.clone());
    let run = site.lab.plan(OnFailure::Stop, &[step.within(6)]);
    let begin = Instant::now();
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    assert!(begin.elapsed() < SOON / 2);
    assert!(
        site.lab
            .error(run, "fab")
            .contains("was stopped at its time limit")
    );
    assert_eq!(site.report(run)[0].stdout, "begun\n");
    site.assert_clean();

    let run = site.plan(settings);
    let ctx = site.lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let private = site.lab.path("data/private");
    tokio::task::spawn_blocking(move || {
        wait::until("fab to begin", SOON, || {
            fs::read_dir(&private)
                .is_ok_and(|mut all| all.next().is_some())
                .then_some(())
        })
    })
    .await
    .unwrap();
    let cancel = Decision::new("ann", Via::Page, "", 9);
    site.lab.write(|conn| control::cancel(conn, run, &cancel));
    driven.await.unwrap().unwrap();
    assert_eq!(site.lab.run(run).state, RunState::Cancelled);
    site.assert_clean();
}

#[tokio::test]
async fn the_fabfiles_that_come_along_push_counters_and_restart_with_a_check() {
    let site = site(2);
    let place = site.sshd.scratch();
    let target = place.join("counters");
    let push = json!({
        "fabfile": "counter_scripts.py", "task": "push",
        "args": ["--no-sudo", "--target", target.to_str().unwrap()],
    });
    let run = site.plan(push.clone());
    assert_eq!(
        site.lab.drive(run).await,
        RunState::Succeeded,
        "{:?}",
        site.report(run)
    );
    let used = Command::new(target.join("memory_used")).output().unwrap();
    let used: f64 = String::from_utf8(used.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(used > 0.0 && used < 100.0);
    // Both nodes are this machine, so the second finds them.
    assert!(
        site.report(run)[1]
            .stdout
            .contains("0 scripts written, 4 were up to date")
    );

    let flag = place.join("healthy");
    let roll = |check: &str, command: &str| {
        json!({
            "fabfile": "rolling_restart.py", "task": "restart",
            "args": ["--command", command, "--check", check, "--wait", "2", "--settle", "0"],
        })
    };
    let check = format!("test -e {}", flag.display());
    let run = site.plan(roll(&check, &format!("touch {}", flag.display())));
    assert_eq!(
        site.lab.drive(run).await,
        RunState::Succeeded,
        "{:?}",
        site.report(run)
    );
    let run = site.plan(roll(&check, &format!("rm {}", flag.display())));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let report = site.report(run);
    assert!(
        report[0].stderr.contains("not healthy within 2 s"),
        "{report:?}"
    );
    assert!(site.lab.error(run, "fab").contains("web02: not begun"));
}

/// An archive of a release whose health is one word; gives its place.
fn archive(place: &Path, name: &str, health: &str) -> PathBuf {
    let content = place.join(name);
    fs::create_dir(&content).unwrap();
    fs::write(content.join("health"), format!("{health}\n")).unwrap();
    let archive = place.join(format!("{name}.tar.gz"));
    let packed = Command::new("tar")
        .arg("-czf")
        .arg(&archive)
        .arg("-C")
        .arg(&content)
        .arg("health")
        .status();
    assert!(packed.unwrap().success());
    archive
}

/// Releases an archive; what restarts the service writes down with which release it began.
fn release_of(archive: &Path, target: &Path) -> Value {
    let target = target.display();
    let restart = format!(
        "cat {target}/current/health >>{target}/restarts; ! grep -q broken {target}/current/health"
    );
    let check = format!("grep -q good {target}/current/health || (echo it is ill >&2; exit 1)");
    json!({
        "fabfile": "release.py", "task": "release",
        "args": ["--archive", archive.display().to_string(), "--target", target.to_string(), "--command", restart, "--check", check, "--wait", "1"],
    })
}

fn linked(target: &Path) -> PathBuf {
    fs::read_link(target.join("current")).unwrap()
}

#[tokio::test]
async fn a_release_with_which_a_node_is_not_healthy_is_switched_back_to_the_one_before() {
    let site = site_as("root", 1);
    let place = site.sshd.scratch();
    let target = place.join("srv");
    let good = archive(&place, "shop-1.0", "good");
    let bad = archive(&place, "shop-1.1", "bad");
    let run = site.plan(release_of(&good, &target));
    assert_eq!(
        site.lab.drive(run).await,
        RunState::Succeeded,
        "{:?}",
        site.report(run)
    );
    assert_eq!(linked(&target), Path::new("releases/shop-1.0"));

    let run = site.plan(release_of(&bad, &target));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let report = site.report(run);
    assert!(
        report[0]
            .stderr
            .contains("not healthy within 1 s with shop-1.1: it is ill; went back to shop-1.0"),
        "{report:?}"
    );
    assert_eq!(linked(&target), Path::new("releases/shop-1.0"));
    assert_eq!(
        super::lab::lines(&target.join("restarts")),
        ["good", "bad", "good"],
        "the service began again with the release before"
    );
    assert!(target.join("releases/shop-1.1/health").exists());

    // One that does not even start is worse.
    let broken = archive(&place, "shop-1.2", "broken");
    let run = site.plan(release_of(&broken, &target));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let report = site.report(run);
    let said = &report[0].stderr;
    assert!(said.contains("not started with shop-1.2: `cat "), "{said}");
    assert!(
        said.contains("ended with status 1; went back to shop-1.0"),
        "{said}"
    );
    assert_eq!(linked(&target), Path::new("releases/shop-1.0"));

    // The first release of all has none before it.
    let first = place.join("first");
    let run = site.plan(release_of(&bad, &first));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let report = site.report(run);
    assert!(
        report[0]
            .stderr
            .contains("it is ill; there was no release before, so it stays"),
        "{report:?}"
    );
    assert_eq!(linked(&first), Path::new("releases/shop-1.1"));
    site.assert_clean();
}

#[tokio::test]
async fn a_node_without_ssh_is_refused_by_name() {
    let site = site(1);
    site.lab.add_node("here", 90);
    let run = site.plan(release(json!({})));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let error = site.lab.error(run, "fab");
    assert!(
        error.contains("node \"here\" has no ssh profile"),
        "{error}"
    );
}
