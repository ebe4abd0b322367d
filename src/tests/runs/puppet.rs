//! OSConfiguration: the real `puppet apply` over real sshd.

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use headroom::actions::Entry;
use headroom::models::{OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::execute;
use serde_json::json;
use tempfile::TempDir;

use super::lab::{Lab, Planned, lines};
use crate::support::sshd::{HOSTILE_USER, SUDO_USER, Sshd, Sudo};
use crate::support::wait;

const SOON: Duration = Duration::from_secs(90);

struct Site {
    lab: Lab,
    sshd: Sshd,
}

/// One node, reached as `user`, and the manifests of the test.
fn site(user: &str, manifests: &[(&str, &str)]) -> Site {
    let lab = Lab::new().with_nodes(true);
    let folder = lab.path("data/puppet");
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in manifests {
        fs::write(folder.join(name), text).unwrap();
    }
    let sshd = Sshd::start(1);
    lab.add_ssh_node_as(user, "web01", "127.0.0.1", sshd.port(), &sshd);
    Site { lab, sshd }
}

impl Site {
    fn plan(&self, manifest: &str, timeout_secs: i64) -> RunId {
        let settings = json!({"puppetfile": manifest, "install_puppet": false});
        let step = Planned::new("puppet", "OSConfiguration", settings).within(timeout_secs);
        self.lab.plan(OnFailure::Stop, &[step])
    }

    async fn apply(&self, manifest: &str) -> (RunState, Entry, RunId) {
        let run = self.plan(manifest, 120);
        let state = self.lab.drive(run).await;
        (state, self.lab.report(run, "puppet").0.remove(0), run)
    }
}

/// Where manifests write.
fn place() -> TempDir {
    TempDir::with_prefix("headroom-puppet-test-").unwrap()
}

fn write_file(path: &Path) -> String {
    format!(
        "file {{ '{}': ensure => file, content => \"role web\\n\" }}\n",
        path.display()
    )
}

/// Nothing of a run is left on the node.
fn assert_clean() {
    let left = fs::read_dir("/tmp").unwrap().flatten();
    let left: Vec<_> = left
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("headroom-puppet.")
        })
        // Other tests run at the same time: theirs have an owner.
        .filter(|entry| !in_use(&entry.path()))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn in_use(folder: &Path) -> bool {
    let mark = format!("HEADROOM_PUPPET={}", folder.display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("environ")).ok())
        .any(|environ| {
            environ
                .split(|byte| *byte == 0)
                .any(|word| word == mark.as_bytes())
        })
}

#[tokio::test]
async fn a_manifest_changes_a_node_once_and_says_what_it_did() {
    let place = place();
    let file = place.path().join("role");
    let site = site("root", &[("web.pp", &write_file(&file))]);
    let (state, entry, run) = site.apply("web.pp").await;
    assert_eq!(state, RunState::Succeeded, "{entry:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "role web\n");
    assert_eq!(
        entry.status,
        Some(2),
        "puppet says that it changed something"
    );
    assert!(
        entry.stdout.contains("ensure: defined content"),
        "{entry:?}"
    );
    assert_eq!(entry.stderr, "1 resources changed, 0 failed, 0 skipped");
    assert_eq!(site.lab.output(run, "puppet", "changed"), 1);

    let (state, entry, run) = site.apply("web.pp").await;
    assert_eq!((state, entry.status), (RunState::Succeeded, Some(0)));
    assert_eq!(site.lab.output(run, "puppet", "changed"), 0);
    assert_clean();
}

#[tokio::test]
async fn failed_resources_fail_the_step_and_are_named() {
    let place = place();
    let file = place.path().join("role");
    let good = write_file(&file);
    let bad = "exec { 'break': command => '/bin/false' }\n";
    let site = site(
        "root",
        &[
            ("bad.pp", bad),
            ("both.pp", &format!("{good}{bad}")),
            ("broken.pp", "file {"),
        ],
    );
    for (manifest, status, changed) in [("both.pp", 6, 1), ("bad.pp", 4, 0)] {
        let (state, entry, run) = site.apply(manifest).await;
        assert_eq!(
            (state, entry.status),
            (RunState::Failed, Some(status)),
            "{entry:?}"
        );
        assert_eq!(
            site.lab.error(run, "puppet"),
            "puppet failed on 1 of 1 host: web01: 1 resources failed: Exec[break]"
        );
        assert_eq!(site.lab.output(run, "puppet", "changed"), changed);
    }
    let (state, entry, run) = site.apply("broken.pp").await;
    assert_eq!((state, entry.status), (RunState::Failed, Some(1)));
    assert!(
        site.lab
            .error(run, "puppet")
            .contains("puppet ended with status 1: Could not parse"),
        "{entry:?}"
    );
    let (_, _, run) = (RunState::Failed, entry, site.plan("none.pp", 60));
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    assert!(
        site.lab
            .error(run, "puppet")
            .contains("one that comes with Headroom: base.pp, tomcat.pp")
    );
    assert_clean();
}

#[tokio::test]
async fn a_hung_catalogue_is_killed_on_the_node_at_the_time_limit_and_when_cancelled() {
    let place = place();
    let flag = place.path().join("begun");
    let hang = format!(
        "exec {{ 'hang': command => '/bin/sh -c \"echo $$ > {}; exec sleep 86399\"', timeout => 0 }}",
        flag.display()
    );
    let site = site("root", &[("hang.pp", &hang)]);
    let run = site.plan("hang.pp", 20);
    let begin = Instant::now();
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    assert!(begin.elapsed() < SOON);
    let error = site.lab.error(run, "puppet");
    assert!(error.contains("time limit"), "{error}");
    gone(&flag).await;

    fs::remove_file(&flag).unwrap();
    let run = site.plan("hang.pp", 300);
    let ctx = site.lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let begun = flag.clone();
    tokio::task::spawn_blocking(move || {
        wait::until("puppet to hang", SOON, || pid(&begun).map(drop))
    })
    .await
    .unwrap();
    let cancel = Decision::new("ann", Via::Page, "", 9);
    site.lab.write(|conn| control::cancel(conn, run, &cancel));
    driven.await.unwrap().unwrap();
    assert_eq!(site.lab.run(run).state, RunState::Cancelled);
    gone(&flag).await;
    tokio::task::spawn_blocking(|| {
        wait::until("the folder to go", SOON, || {
            std::panic::catch_unwind(assert_clean).ok()
        })
    })
    .await
    .unwrap();
}

fn pid(file: &Path) -> Option<String> {
    fs::read_to_string(file)
        .ok()
        .filter(|text| text.ends_with('\n'))
}

/// Waits until the process that wrote its id is gone.
async fn gone(file: &Path) {
    let process = Path::new("/proc").join(pid(file).unwrap().trim());
    tokio::task::spawn_blocking(move || {
        wait::until("what puppet executed to end", SOON, || {
            // A zombie that nobody has reaped is as good as gone.
            let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        })
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_user_who_is_not_root_needs_sudo_and_is_told_so() {
    let place = place();
    let file = place.path().join("owner");
    let manifest = write_file(&file);
    let refused = site(HOSTILE_USER, &[("web.pp", &manifest)]);
    let (state, entry, run) = refused.apply("web.pp").await;
    assert_eq!(state, RunState::Failed, "{entry:?}");
    let error = refused.lab.error(run, "puppet");
    assert!(
        error.contains("root is needed, and sudo refuses"),
        "{error}"
    );
    assert!(!file.exists());

    let _sudo = Sudo::allow();
    let allowed = site(SUDO_USER, &[("web.pp", &manifest)]);
    let (state, entry, _) = allowed.apply("web.pp").await;
    assert_eq!(state, RunState::Succeeded, "{entry:?}");
    assert!(file.exists());
    assert!(allowed.sshd.logins() > 0);
    assert_clean();
}

#[tokio::test]
async fn the_manifests_that_come_along_are_compiled_by_the_real_puppet() {
    for manifest in ["base.pp", "tomcat.pp"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("puppet")
            .join(manifest);
        let command = tokio::process::Command::new("puppet")
            .args(["apply", "--noop", "--color=false"])
            .arg(path)
            .output();
        let output = command.await.unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && log.contains("Applied catalog"),
            "{manifest}: {log}"
        );
    }
}

#[tokio::test]
async fn a_killed_run_is_applied_again_by_the_next_worker() {
    let place = place();
    let file = place.path().join("role");
    let site = site("root", &[("web.pp", &write_file(&file))]);
    let run = site.plan("web.pp", 120);
    // As a crash leaves it: announced, and nothing known of its outcome.
    site.lab.announce(run, "puppet");
    assert_eq!(site.lab.drive(run).await, RunState::Succeeded);
    assert_eq!(site.lab.states(run), [StepState::Succeeded]);
    assert!(file.exists());
}

/// What runs as root on a node.
const APPLY: &str = include_str!("../../actions/os_configuration/apply.sh");
/// What would find the package manager and the puppet of this machine.
const EVERY_PLACE: &str =
    "PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/puppetlabs/bin\n";
/// What it calls besides puppet and what installs it.
const NEEDED: [&str; 4] = ["cat", "cp", "rm", "sleep"];

/// A machine without puppet: a PATH of its own, and a log of what was called.
struct Bare(TempDir);

impl Bare {
    /// With this package manager, whose only package is this one.
    fn with(manager: Option<&str>, package: &str) -> Self {
        let bare = Self(TempDir::with_prefix("headroom-bare-").unwrap());
        for folder in ["bin", "runs"] {
            fs::create_dir(bare.path(folder)).unwrap();
        }
        for program in NEEDED {
            symlink(real(program), bare.path("bin").join(program)).unwrap();
        }
        let place = bare.0.path().display();
        // Not where other tests look for what was left.
        let mktemp = format!("exec {} -d {place}/runs/XXXXXXXX", real("mktemp").display());
        let called = format!("echo \"${{0##*/}} $*\" >>{place}/called");
        let install = format!(
            "{called}\nfor last; do :; done\n[ \"$last\" != update ] || exit 0\n[ \"$last\" = {package} ] || exit 1\ncp {place}/puppet {place}/bin/puppet"
        );
        bare.program("bin/mktemp", &mktemp);
        bare.program("bin/systemctl", &called);
        // The manifest is its eighth word, and the place of its summary the fifth.
        bare.program("puppet", "cat \"$8\"; echo 'changed: 1' >\"$5\"; exit 2");
        if let Some(manager) = manager {
            bare.program(&format!("bin/{manager}"), &install);
        }
        bare
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let file = self.path(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Applies a manifest as a node does; gives the exit status, standard output and standard error.
    fn apply(&self, install: &str) -> (Option<i32>, String, String) {
        assert!(
            APPLY.contains(EVERY_PLACE),
            "it would install with the package manager of this machine"
        );
        let manifest = self.path("manifest.pp");
        fs::write(&manifest, "# the manifest\n").unwrap();
        // `timeout` leads a process group, which is what the script ends when its asker is gone.
        let output = Command::new(real("timeout"))
            .args(["-k", "3", "60", "/bin/sh", "-c"])
            .arg(APPLY.replace(EVERY_PLACE, ""))
            .arg("headroom")
            .arg(std::process::id().to_string())
            .args([install, "60"])
            .env("PATH", self.path("bin"))
            .stdin(File::open(&manifest).unwrap())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let left = fs::read_dir(self.path("runs")).unwrap().count();
        assert_eq!(left, 0, "the folder with the manifest was left");
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    /// What was called to install, in order.
    fn called(&self) -> Vec<String> {
        lines(&self.path("called"))
    }
}

/// Where this machine has a program.
fn real(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap();
    let mut places = env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|file| file.exists()).unwrap()
}

fn assert_installs(manager: &str, package: &str, calls: &[String]) {
    let bare = Bare::with(Some(manager), package);
    let (status, said, summary) = bare.apply("yes");
    assert_eq!(
        (status, said.as_str(), summary.as_str()),
        (
            Some(2),
            "puppet is missing: installing it\n# the manifest\n",
            "changed: 1\n"
        ),
        "{manager} that has {package}"
    );
    let mut called = bare.called();
    assert_eq!(
        called.pop().as_deref(),
        Some("systemctl disable --now puppet"),
        "an agent that the package has started asks nobody for orders"
    );
    assert_eq!(called, calls, "{manager} that has {package}");

    // It is there now, so nothing is installed.
    let (status, said, _) = bare.apply("no");
    assert_eq!((status, said.as_str()), (Some(2), "# the manifest\n"));
    assert_eq!(bare.called().len(), calls.len() + 1);
}

#[test]
fn a_missing_puppet_is_installed_by_the_package_manager_that_the_node_has() {
    let apt = |words: &str| format!("apt-get -y -q -o DPkg::Lock::Timeout=60 {words}");
    let agent = apt("install --no-install-recommends puppet-agent");
    let old = apt("install --no-install-recommends puppet");
    let both = [agent.clone(), apt("update"), agent.clone(), old];
    assert_installs("apt-get", "puppet-agent", &[agent]);
    assert_installs("apt-get", "puppet", &both);
    for (manager, words) in [
        ("dnf", "dnf -y -q install"),
        ("yum", "yum -y -q install"),
        ("zypper", "zypper --non-interactive install"),
    ] {
        let both = ["puppet-agent", "puppet"].map(|package| format!("{words} {package}"));
        assert_installs(manager, "puppet-agent", &both[..1]);
        assert_installs(manager, "puppet", &both);
    }
}

#[test]
fn a_puppet_that_cannot_or_must_not_be_installed_is_said_to_be_missing() {
    for manager in ["apt-get", "dnf", "yum", "zypper"] {
        let bare = Bare::with(Some(manager), "nothing-else");
        let (status, said, fault) = bare.apply("yes");
        assert_eq!(
            (status, fault.as_str()),
            (
                Some(73),
                "headroom: puppet is missing and could not be installed; see what its output says\n"
            ),
            "{manager}: {said}"
        );
        let called = bare.called();
        assert!(called.len() >= 2, "{called:?}");
        assert!(called.iter().all(|call| call.starts_with(manager)));
    }
    let none = Bare::with(None, "puppet-agent");
    let (status, _, fault) = none.apply("yes");
    assert_eq!(
        (status, fault.as_str()),
        (
            Some(72),
            "headroom: puppet is missing, and none of apt-get, dnf, yum and zypper is there to install it\n"
        )
    );
    let refused = Bare::with(Some("apt-get"), "puppet-agent");
    let (status, said, fault) = refused.apply("no");
    assert_eq!(
        (status, said.as_str(), fault.as_str()),
        (
            Some(72),
            "",
            "headroom: puppet is missing, and the action says install_puppet: false\n"
        )
    );
    assert!(refused.called().is_empty(), "nobody was asked to install");
}
