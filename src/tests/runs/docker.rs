//! DockerScale: a real engine, Compose 1 and 2, Swarm.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use headroom::actions::Entry;
use headroom::config::Tooling;
use headroom::models::step_run::{StepChange, StepRun};
use headroom::models::{OnFailure, RunId, RunState, StepState, service_claim};
use headroom::runs::execute;
use serde_json::{Value, json};

use super::crash::die;
use super::lab::{Gear, Lab, Planned};
use crate::support::disk::{SmallDisk, mounts_below};
use crate::support::docker::{Docker, IMAGE, clear_dead, compose_v1, compose_v2};
use crate::support::process::Headroom;
use crate::support::wait;

const SOON: Duration = Duration::from_secs(60);
/// A health check that never passes.
const NEVER_HEALTHY: &str = "    healthcheck: {test: [\"CMD\", \"false\"], interval: 1s, retries: 1000, start_period: 1s}\n";

struct Site {
    lab: Lab,
    docker: Docker,
    project: String,
}

fn site(compose: &Path, worker: &str) -> Site {
    let lab = Lab::new();
    let tooling = Tooling {
        docker_compose: Some(compose.to_owned()),
        ..Tooling::new(&lab.path("data"))
    };
    let docker = Docker::start();
    docker.compose_file(worker);
    let project = format!("p{}", rand::random::<u32>());
    Site {
        lab: lab.with_tooling(true, tooling),
        docker,
        project,
    }
}

impl Site {
    fn settings(&self, more: Value) -> Value {
        let mut settings = json!({
            "driver": "compose", "project": self.project, "file": [self.docker.file("compose.yml")],
            "service": "worker", "host": self.docker.host(),
        });
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        settings
    }

    fn plan(&self, more: Value, timeout_secs: i64) -> RunId {
        let step = Planned::new("scale", "DockerScale", self.settings(more)).within(timeout_secs);
        self.lab.plan(OnFailure::Stop, &[step])
    }

    async fn scale(&self, more: Value) -> (RunState, Entry) {
        let run = self.plan(more, 60);
        let state = self.lab.drive(run).await;
        let error = self.lab.error(run, "scale");
        let mut report = self.lab.report(run, "scale").0;
        assert!(!report.is_empty(), "{error}");
        (state, report.remove(0))
    }
}

/// Up, to its maximum, to a number and down; the other service of the project is left alone.
async fn up_and_down(compose: &Path) {
    let site = site(compose, "");
    let other = site.settings(json!({"service": "web", "to": 2}));
    let run = site.lab.plan(
        OnFailure::Stop,
        &[Planned::new("web", "DockerScale", other)],
    );
    assert_eq!(
        site.lab.drive(run).await,
        RunState::Succeeded,
        "{}",
        site.lab.error(run, "web")
    );

    let limits = json!({"by": 2, "min": 1, "max": 3});
    for (before, after) in [(0, 2), (2, 3), (3, 3)] {
        let (state, entry) = site.scale(limits.clone()).await;
        assert_eq!(state, RunState::Succeeded, "{entry:?}");
        assert_eq!(site.docker.running("worker"), after);
        let said = if before == after {
            "worker stays at 3".into()
        } else {
            format!("Scaled worker from {before} to {after}")
        };
        assert!(entry.stdout.ends_with(&said), "{entry:?}");
    }
    let (state, _) = site.scale(json!({"by": -9, "min": 1})).await;
    assert_eq!(
        (state, site.docker.running("worker")),
        (RunState::Succeeded, 1)
    );
    assert_eq!(
        site.docker.running("web"),
        2,
        "the other service stays as it was"
    );
}

#[tokio::test]
async fn a_service_of_compose_2_is_scaled_within_its_bounds() {
    up_and_down(&compose_v2()).await;
}

#[tokio::test]
async fn a_service_of_compose_1_is_scaled_within_its_bounds() {
    up_and_down(&compose_v1()).await;
}

#[tokio::test]
async fn an_undo_scales_back_unless_somebody_else_has_scaled_meanwhile() {
    let site = site(&compose_v2(), "");
    assert_eq!(site.scale(json!({"to": 1})).await.0, RunState::Succeeded);
    let steps = |script: &str| {
        [
            Planned::new("scale", "DockerScale", site.settings(json!({"by": 1}))),
            Planned::script("then", script),
        ]
    };
    let run = site.lab.plan(OnFailure::Undo, &steps("exit 3"));
    assert_eq!(
        site.lab.drive(run).await,
        RunState::Undone,
        "{}",
        site.lab.error(run, "scale")
    );
    assert_eq!(site.docker.running("worker"), 1);

    let other = format!(
        "{} --project-name {} --file {} up -d --no-recreate --no-deps --scale worker=4 worker; exit 3",
        compose_v2().display(),
        site.project,
        site.docker.file("compose.yml").display()
    );
    let run = site.lab.plan(
        OnFailure::Undo,
        &steps(&format!(
            "export DOCKER_HOST={}; {other}",
            site.docker.host()
        )),
    );
    site.lab.drive(run).await;
    assert_eq!(site.lab.step(run, "scale").state, StepState::UndoFailed);
    let error = site.lab.error(run, "scale");
    assert!(
        error.contains("worker has 4 replicas, and this step scaled it from 1 to 2: somebody else"),
        "{error}"
    );
    assert_eq!(site.docker.running("worker"), 4);
}

#[tokio::test]
async fn killed_at_every_boundary_an_undo_scales_back_and_nobody_is_asked() {
    let docker = Docker::start();
    docker.compose_file("");
    let lab = Lab::new().with_gear(Gear {
        compose: Some(compose_v2()),
        ..Gear::default()
    });
    let project = format!("p{}", rand::random::<u32>());
    let scale = |key: &str, number: i64| {
        let settings = json!({
            "driver": "compose", "project": project, "file": [docker.file("compose.yml")], "service": "worker",
            "host": docker.host(), key: number,
        });
        Planned::new("scale", "DockerScale", settings)
    };
    let one = lab.plan(OnFailure::Stop, &[scale("to", 1)]);
    let state = lab.drive(one).await;
    assert_eq!(state, RunState::Succeeded, "{}", lab.error(one, "scale"));
    let mut met = Vec::new();
    for at in 0.. {
        let fails = json!({"script": "exit 3", "repeatable": true});
        let then = Planned::new("then", "LocalScript", fails);
        let run = lab.plan(OnFailure::Undo, &[scale("by", 1), then]);
        let Some(boundary) = die(&lab, &lab.url(), run, at) else {
            let state = lab.run(run).state;
            assert_eq!(state, RunState::Undone, "nobody was killed");
            break;
        };
        let state = lab.recover(run).await;
        let steps = lab.steps(run);
        assert_eq!(state, RunState::Undone, "{boundary}: {steps:#?}");
        assert_eq!(
            lab.states(run),
            [StepState::Undone, StepState::Failed],
            "{boundary}"
        );
        assert_eq!(docker.running("worker"), 1, "{boundary}");
        met.push(boundary);
    }
    for boundary in ["Effected", "Undoing", "Reverted", "Undone"] {
        let is_met = met.iter().any(|one| one.starts_with(boundary));
        assert!(is_met, "{boundary} is not in {met:?}");
    }
}

#[tokio::test]
async fn after_a_crash_the_number_aimed_for_is_known_and_nothing_is_scaled_twice() {
    let site = site(&compose_v2(), "");
    assert_eq!(site.scale(json!({"to": 1})).await.0, RunState::Succeeded);
    // Killed after the note, before and after the effect; "one more" is never counted again.
    for there in [1, 2] {
        let run = crashed(&site, json!({"service": "worker", "from": 1, "to": 2}));
        assert_eq!(
            site.lab.drive(run).await,
            RunState::Succeeded,
            "{}",
            site.lab.error(run, "scale")
        );
        assert_eq!(site.docker.running("worker"), 2, "there were {there}");
    }
    // Killed before the note: nothing had begun.
    let run = crashed(&site, json!({}));
    assert_eq!(site.lab.drive(run).await, RunState::Succeeded);
    assert_eq!(site.docker.running("worker"), 3);
    // Somebody else has scaled it meanwhile.
    let run = crashed(&site, json!({"service": "worker", "from": 5, "to": 6}));
    assert_eq!(site.lab.drive(run).await, RunState::Stuck);
    let error = site.lab.error(run, "scale");
    assert!(
        error.contains("somebody else has scaled it since"),
        "{error}"
    );
}

#[tokio::test]
async fn two_runs_scale_one_service_one_after_the_other() {
    let site = site(&compose_v2(), "");
    assert_eq!(site.scale(json!({"to": 1})).await.0, RunState::Succeeded);
    let runs = [0, 1].map(|_| site.plan(json!({"by": 1}), 120));
    let driven = runs.map(|run| {
        let ctx = site.lab.ctx.clone();
        tokio::spawn(async move { execute::drive(&ctx, run).await })
    });
    for run in driven {
        run.await.unwrap().unwrap();
    }
    let mut moved = runs.map(|run| {
        let error = site.lab.error(run, "scale");
        assert_eq!(site.lab.run(run).state, RunState::Succeeded, "{error}");
        ["from", "to"].map(|name| site.lab.output(run, "scale", name).as_u64().unwrap())
    });
    moved.sort_unstable();
    assert_eq!(moved, [[1, 2], [2, 3]]);
    assert_eq!(site.docker.running("worker"), 3);
}

#[tokio::test]
async fn what_a_crash_has_left_in_the_middle_of_a_scaling_keeps_others_from_it() {
    let site = site(&compose_v2(), "");
    assert_eq!(site.scale(json!({"to": 1})).await.0, RunState::Succeeded);
    let left = crashed(&site, json!({"service": "worker", "from": 1, "to": 2}));
    let (name, token) = (
        format!("compose {}/worker at {}", site.project, site.docker.host()),
        format!("headroom-{}", left.0),
    );
    let taken = site
        .lab
        .write(move |conn| service_claim::take(conn, &name, left, &token));
    assert_eq!(taken, None, "the step before has ended");

    let second = site.plan(json!({"by": 1}), 11);
    assert_eq!(site.lab.drive(second).await, RunState::Failed);
    let error = site.lab.error(second, "scale");
    let said = format!("not begun: run {left} is scaling worker, and too little of the time limit");
    assert!(error.starts_with(&said), "{error}");

    let compose = compose_v2().display().to_string();
    let (url, file) = (site.lab.url(), site.docker.file("compose.yml"));
    let headroom = Headroom::new(&[
        ("HEADROOM_DOCKER_COMPOSE", &compose),
        ("DATABASE_URL", &url),
    ]);
    let (file, host) = (file.display().to_string(), site.docker.host());
    let words = ["scale", "up", "worker", "--project", &site.project];
    let command = || headroom.call(&[&words[..], &["--file", &file, "--host", &host]].concat());
    let refused = command();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    let why = format!("refused, worker was not scaled: run {left} is scaling it at the moment");
    assert!(said.contains(&why), "{said}");

    assert_eq!(site.docker.running("worker"), 1);
    assert_eq!(site.lab.drive(left).await, RunState::Succeeded);
    assert!(command().status.success());
    assert_eq!(site.docker.running("worker"), 3);
}

/// A run that adds one, as a crash leaves it.
fn crashed(site: &Site, noted: Value) -> RunId {
    let run = site.plan(json!({"by": 1}), 60);
    site.lab.announce(run, "scale");
    let step = site.lab.step(run, "scale");
    let change = StepChange {
        outputs: Some(noted.to_string()),
        token: Some(Some(format!("headroom-{}", run.0))),
        ..StepChange::default()
    };
    site.lab
        .write(|conn| StepRun::change(conn, step.id, &[StepState::Started], &change));
    run
}

#[tokio::test]
async fn what_never_becomes_healthy_and_an_engine_that_goes_away_fail_with_the_reason() {
    let mut site = site(&compose_v2(), NEVER_HEALTHY);
    let run = site.plan(json!({"to": 1}), 8);
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let error = site.lab.error(run, "scale");
    assert!(
        error.contains(
            "worker did not come to 1: 0 of 1 run at the time limit; a container is running: Up"
        ),
        "{error}"
    );
    assert_eq!(
        site.lab.output(run, "scale", "to"),
        1,
        "the undo knows what to take back"
    );

    let run = site.plan(json!({"to": 2}), 120);
    let ctx = site.lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let begin = Instant::now();
    while site.docker.running("worker") < 2 {
        assert!(
            begin.elapsed() < SOON,
            "never began: {}",
            site.lab.error(run, "scale")
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    site.docker.kill();
    driven.await.unwrap().unwrap();
    assert_eq!(site.lab.run(run).state, RunState::Failed);
    let error = site.lab.error(run, "scale");
    assert!(
        error.contains("Cannot connect to the Docker daemon"),
        "{error}"
    );
    assert!(begin.elapsed() < SOON, "long before its limit");
}

#[tokio::test]
async fn a_service_of_a_swarm_is_scaled_taken_back_and_given_up_when_no_task_runs() {
    let site = site(&compose_v2(), "");
    let docker = &site.docker;
    let listen = format!("127.0.0.1:{}", crate::support::ports::free());
    docker.docker(&[
        "swarm",
        "init",
        "--advertise-addr",
        "127.0.0.1",
        "--listen-addr",
        &listen,
    ]);
    let create = |name: &str, more: &[&str]| {
        let mut words = vec![
            "service",
            "create",
            "--detach",
            "--quiet",
            "--no-resolve-image",
            "--network",
            "host",
            "--stop-grace-period",
            "0s",
            "--name",
            name,
        ];
        words.extend(more);
        words.extend([IMAGE, "sleep", "100000"]);
        docker.docker(&words);
    };
    create("shop_worker", &["--replicas", "1"]);
    create(
        "stuck",
        &["--replicas", "0", "--constraint", "node.labels.never==true"],
    );
    let settings = |more: Value| {
        let mut settings = json!({"driver": "swarm", "project": "shop", "service": "worker", "host": docker.host()});
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        settings
    };
    let wanted = || {
        docker.docker(&[
            "service",
            "inspect",
            "--format",
            "{{.Spec.Mode.Replicated.Replicas}}",
            "shop_worker",
        ])
    };
    let up = Planned::new("up", "DockerScale", settings(json!({"by": 2, "max": 3})));
    let run = site.lab.plan(OnFailure::Stop, &[up]);
    assert_eq!(
        site.lab.drive(run).await,
        RunState::Succeeded,
        "{}",
        site.lab.error(run, "up")
    );
    assert_eq!(wanted(), "3");

    let down = Planned::new("down", "DockerScale", settings(json!({"by": -1, "min": 1})));
    let run = site
        .lab
        .plan(OnFailure::Undo, &[down, Planned::script("then", "false")]);
    assert_eq!(
        site.lab.drive(run).await,
        RunState::Undone,
        "{}",
        site.lab.error(run, "down")
    );
    assert_eq!(wanted(), "3");

    let never = json!({"driver": "swarm", "service": "stuck", "to": 1, "host": docker.host()});
    let run = site.lab.plan(
        OnFailure::Stop,
        &[Planned::new("never", "DockerScale", never).within(6)],
    );
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    let error = site.lab.error(run, "never");
    assert!(
        error.contains("stuck did not come to 1: 0 of 1 run") && error.contains("no suitable node"),
        "{error}"
    );

    let none = json!({"driver": "swarm", "service": "none", "to": 1, "host": docker.host()});
    let run = site.lab.plan(
        OnFailure::Stop,
        &[Planned::new("none", "DockerScale", none)],
    );
    assert_eq!(site.lab.drive(run).await, RunState::Failed);
    assert!(
        site.lab
            .error(run, "none")
            .contains("no such service: none"),
        "{}",
        site.lab.error(run, "none")
    );
}

#[test]
fn the_command_scales_for_zabbix_and_refuses_a_macro_that_expanded_to_nothing() {
    let docker = Docker::start();
    let file = docker.compose_file("").display().to_string();
    let compose = compose_v2().display().to_string();
    let headroom = Headroom::new(&[("HEADROOM_DOCKER_COMPOSE", &compose)]);
    let host = docker.host();
    let call = |words: &[&str]| {
        let more = ["--project", "shop", "--file", &file, "--host", &host];
        let all: Vec<&str> = ["scale"]
            .iter()
            .chain(words)
            .chain(&more)
            .copied()
            .collect();
        let output = headroom.call(&all);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    assert_eq!(
        call(&["up", "worker", "0", "2"]),
        (Some(0), "Scaled worker from 0 to 2\n".into())
    );
    // The inventory still says 0: fired again before it was brought up to date, it scales no further.
    assert_eq!(
        call(&["up", "worker", "0", "2"]),
        (Some(0), "worker stays at 2\n".into())
    );
    assert_eq!(
        call(&["down", "worker"]),
        (Some(0), "Scaled worker from 2 to 1\n".into())
    );
    let (status, list) = call(&["ps", "worker"]);
    assert!(
        status == Some(0) && list.contains("worker") && list.contains("Up"),
        "{list}"
    );
    for words in [
        &["up", "worker", "1"][..],
        &["up", "worker", "", "1"],
        &["up", "worker", "*UNKNOWN*", "1"],
    ] {
        let (status, said) = call(words);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("macro of Zabbix"), "{said}");
    }
    assert_eq!(docker.running("worker"), 1);
    let (status, said) = call(&["up", "none", "0", "1"]);
    assert!(
        status == Some(1) && said.contains("no such service"),
        "{said}"
    );
    assert!(
        !headroom.file("data").exists()
            || fs::read_dir(headroom.file("data"))
                .unwrap()
                .next()
                .is_none()
    );
}

#[test]
fn the_command_is_refused_while_all_acting_is_stopped_or_everything_is_held() {
    let docker = Docker::start();
    let file = docker.compose_file("").display().to_string();
    let compose = compose_v2().display().to_string();
    let mut headroom = Headroom::new(&[("HEADROOM_DOCKER_COMPOSE", &compose)]);
    let host = docker.host();
    let call = |headroom: &Headroom, verb: &str, host: &str| {
        let words = [
            "scale",
            verb,
            "worker",
            "--project",
            "shop",
            "--file",
            &file,
        ];
        let output = headroom.call(&[&words[..], &["--host", host]].concat());
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    headroom.say(&["migrate"]);
    assert_eq!(call(&headroom, "up", &host).0, Some(0));
    headroom.say(&["stop", "--reason", "wrong machines are going"]);
    for verb in ["up", "down"] {
        // It is refused before the engine is asked.
        for host in [&host, "unix:///nowhere"] {
            let (status, said) = call(&headroom, verb, host);
            assert_eq!(status, Some(2), "{said}");
            for part in [
                "refused, worker was not scaled: all acting is stopped by ",
                ": wrong machines are going (since 20",
                "Z, until a person lifts it); to lift it: `headroom stop --lift`, or the page Holds",
            ] {
                assert!(said.contains(part), "{said}");
            }
        }
    }
    assert_eq!(docker.running("worker"), 1);
    let (status, list) = call(&headroom, "ps", &host);
    assert!(status == Some(0) && list.contains("Up"), "{list}");
    headroom.say(&["stop", "--lift"]);

    headroom.say(&[
        "hold",
        "add",
        "everything",
        "--for",
        "2h",
        "--reason",
        "the night",
    ]);
    let (status, said) = call(&headroom, "up", &host);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("everything is held by ") && said.contains(": the night (since 20"),
        "{said}"
    );
    assert!(
        said.contains("to lift it: `headroom hold lift 2`"),
        "{said}"
    );
    headroom.say(&["hold", "lift", "2"]);
    assert_eq!(
        call(&headroom, "up", &host),
        (Some(0), "Scaled worker from 1 to 2\n".into())
    );

    // What cannot be read may hold a stop.
    let damaged = headroom.file("damaged");
    fs::write(&damaged, "no database").unwrap();
    headroom.set("DATABASE_URL", &format!("sqlite://{}", damaged.display()));
    let (status, said) = call(&headroom, "down", &host);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains(
            "not scaled: whether all acting is stopped, or a run scales it, is not known"
        ),
        "{said}"
    );
    assert_eq!(call(&headroom, "ps", &host).0, Some(0));
    assert_eq!(docker.running("worker"), 2);
}

#[test]
fn a_signal_takes_the_certificates_away() {
    let docker = Docker::start_tls();
    let file = docker.compose_file(NEVER_HEALTHY).display().to_string();
    let compose = compose_v2().display().to_string();
    let folder = docker.file("certificates");
    fs::create_dir(&folder).unwrap();
    for (from, to) in [
        ("ca.pem", "ca.pem"),
        ("client-cert.pem", "cert.pem"),
        ("client-key.pem", "key.pem"),
    ] {
        fs::copy(docker.file(from), folder.join(to)).unwrap();
    }
    let temp = docker.file("temp");
    fs::create_dir(&temp).unwrap();
    let headroom = Headroom::new(&[
        ("HEADROOM_DOCKER_COMPOSE", &compose),
        ("TMPDIR", temp.to_str().unwrap()),
    ]);
    let folder = folder.display().to_string();
    let host = docker.tls_host();
    let words = [
        "scale",
        "up",
        "worker",
        "--project",
        "shop",
        "--file",
        &file,
        "--host",
        &host,
        "--tls-dir",
        &folder,
        "--timeout",
        "2m",
    ];
    let mut child = headroom.spawn(&words);
    wait::until("the container to be there", SOON, || {
        (docker.running("worker") == 1).then_some(())
    });
    assert_eq!(
        fs::read_dir(&temp).unwrap().count(),
        1,
        "the certificates lie in a private folder"
    );
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id().try_into().unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    let ended = wait::until("headroom to end", SOON, || child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(143));
    assert_eq!(fs::read_dir(&temp).unwrap().count(), 0, "and are gone");
}

#[tokio::test]
async fn certificates_are_gone_after_a_scaling_that_failed() {
    let docker = Docker::start_tls();
    docker.compose_file(NEVER_HEALTHY);
    let lab = Lab::new();
    let tooling = Tooling {
        docker_compose: Some(compose_v2()),
        ..Tooling::new(&lab.path("data"))
    };
    let private = tooling.private.clone();
    let lab = lab.with_tooling(true, tooling);
    let settings = json!({
        "driver": "compose", "project": "shop", "file": [docker.file("compose.yml")], "service": "worker", "to": 1,
        "host": docker.tls_host(), "tls_ca_file": docker.file("ca.pem"), "tls_cert_file": docker.file("client-cert.pem"),
        "tls_key_file": docker.file("client-key.pem"),
    });
    let step = Planned::new("scale", "DockerScale", settings).within(10);
    let run = lab.plan(OnFailure::Stop, &[step]);
    let ctx = lab.ctx.clone();
    let driven = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let watched = private.clone();
    tokio::task::spawn_blocking(move || {
        wait::until("the certificates to be laid out", SOON, || {
            let folders = fs::read_dir(&watched).ok()?.flatten();
            let mut keys = folders.map(|folder| folder.path().join("key.pem"));
            keys.find(|key| key.exists()).map(drop)
        });
    })
    .await
    .unwrap();
    driven.await.unwrap().unwrap();
    assert_eq!(lab.run(run).state, RunState::Failed);
    let error = lab.error(run, "scale");
    assert!(
        error.contains("worker did not come to 1: 0 of 1 run at the time limit"),
        "{error}"
    );
    assert_eq!(docker.running("worker"), 1, "the engine let it in");
    assert_eq!(
        fs::read_dir(&private).unwrap().count(),
        0,
        "the certificates are gone"
    );
}

#[test]
fn an_engine_goes_with_its_mounts_and_its_folder_even_when_it_was_killed_and_its_test_fails() {
    let mut docker = Docker::start();
    let folder = docker.file("");
    docker.docker(&["run", "--network", "host", IMAGE, "true"]);
    assert!(
        mounts_below(&folder).len() > 1,
        "its data, and the network of the host"
    );
    let failed = catch_unwind(AssertUnwindSafe(move || {
        docker.kill();
        let _fails_with = docker;
        panic!("the test fails");
    }));
    let said = failed.unwrap_err();
    assert_eq!(said.downcast_ref(), Some(&"the test fails"));
    assert!(mounts_below(&folder).is_empty());
    assert!(!folder.exists());
}

#[test]
fn what_a_killed_test_left_of_its_engine_is_cleared_and_a_living_one_is_left_alone() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let engine = |owner: u32| {
        let folder = disk.path().join(format!("headroom-docker-{owner}-x"));
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "tmpfs"])
            .arg(&data)
            .status();
        assert!(mount.unwrap().success());
        folder
    };
    let (dead, alive) = (engine(ended.id()), engine(std::process::id()));
    let orphan = engine(ended.id() + 1_000_000_000);
    fs::write(orphan.join("pid"), std::process::id().to_string()).unwrap();
    clear_dead(disk.path());
    assert!(!dead.exists());
    assert_eq!(
        mounts_below(&alive),
        [alive.join("data")],
        "its test goes on"
    );
    assert_eq!(
        mounts_below(&orphan),
        [orphan.join("data")],
        "its engine goes on"
    );
}
