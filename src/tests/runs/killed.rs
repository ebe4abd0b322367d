//! Every kind with the real tool behind it, killed at every boundary of the journal: each effect happens once, or a person is asked first.
//!
//! The kinds that work with EC2 have a matrix of their own: `ec2::chaos`.

use std::fs;

use headroom::models::{OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::execute;
use serde_json::json;

use super::crash::die;
use super::lab::{Gear, Lab, Planned, id};
use crate::support::docker::{Docker, compose_v2};
use crate::support::smtp::{Mode, Smtp};
use crate::support::sshd::Sshd;
use crate::support::tools;
use crate::support::zabbix::Zabbix;

/// Boundaries of a run of one step that succeeds.
const BOUNDARIES: usize = 7;

/// What came of the kills of one row of the table.
#[derive(Debug, Default)]
pub struct Tally {
    pub tried: usize,
    pub leaked: usize,
    pub doubled: usize,
    pub stuck: usize,
}

/// Who takes up what was killed.
#[derive(Debug, Clone, Copy)]
pub enum Heirs {
    One,
    /// Two processes at the same moment.
    #[cfg_attr(
        not(feature = "aws"),
        expect(dead_code, reason = "used by the matrix, which launches")
    )]
    Two,
}

impl Heirs {
    async fn recover(self, lab: &Lab, run: RunId) -> RunState {
        match self {
            Self::One => lab.recover(run).await,
            Self::Two => {
                let (one, two) = (lab.late_worker("b"), lab.late_worker("c"));
                let (one, two) = tokio::join!(execute::drive(&one, run), execute::drive(&two, run));
                one.and(two).unwrap();
                lab.run(run).state
            }
        }
    }
}

/// A kind under test.
struct Subject<'a> {
    lab: &'a Lab,
    /// The step that is to have the n-th effect.
    step: &'a dyn Fn(usize) -> Planned,
    /// How often the n-th effect happened.
    happened: &'a dyn Fn(usize) -> usize,
    /// Whether a person is asked where that is not known.
    asks: bool,
}

impl Subject<'_> {
    async fn killed_everywhere(&self, heirs: Heirs) -> Tally {
        let (mut met, mut tally) = (Vec::new(), Tally::default());
        for at in 0.. {
            let run = self.lab.plan(OnFailure::Stop, &[(self.step)(at)]);
            let Some(boundary) = die(self.lab, &self.lab.url(), run, at) else {
                assert_eq!((self.happened)(at), 1, "nobody was killed");
                break;
            };
            tally.tried += 1;
            let state = heirs.recover(self.lab, run).await;
            let unknown = boundary.starts_with("Started") || boundary.starts_with("Effected");
            if self.asks && unknown {
                assert_eq!(state, RunState::Stuck, "{boundary}");
                let happened = (self.happened)(at) > 0;
                assert_eq!(happened, boundary.starts_with("Effected"), "{boundary}");
                self.decide(run, happened).await;
                tally.stuck += 1;
            } else {
                let steps = self.lab.steps(run);
                assert_eq!(state, RunState::Succeeded, "{boundary}: {steps:#?}");
            }
            let times = (self.happened)(at);
            tally.doubled += times.saturating_sub(1);
            assert_eq!(times, 1, "{boundary}");
            met.push(boundary);
        }
        assert_eq!(met.len(), BOUNDARIES, "{met:?}");
        tally
    }

    /// A person has looked: what had no effect is retried, what had is marked done.
    async fn decide(&self, run: RunId, happened: bool) {
        let steps = self.lab.steps(run);
        let error = steps[0].error.clone().unwrap();
        assert_eq!(steps[0].state, StepState::Started);
        assert!(
            error.contains("it is not known whether it had its effect")
                && error.contains("mark the step done or retry it"),
            "{error}"
        );
        let verb = if happened {
            control::mark_done
        } else {
            control::retry_step
        };
        let ann = Decision::new("ann", Via::Cli, "looked", 1);
        self.lab.write(|conn| verb(conn, run, id(&steps[0]), &ann));
        assert_eq!(self.lab.drive(run).await, RunState::Succeeded);
    }
}

pub async fn local_script(heirs: Heirs) -> Tally {
    let lab = Lab::new();
    let log = lab.path("log").display().to_string();
    Subject {
        lab: &lab,
        step: &|at| Planned::script("note", format!("echo {at} >> {log}")),
        happened: &|at| times(&lab.lines("log"), at),
        asks: true,
    }
    .killed_everywhere(heirs)
    .await
}

pub async fn email(heirs: Heirs) -> Tally {
    let server = Smtp::start(Mode::Plain);
    let lab = Lab::new().with_gear(Gear {
        smtp: Some(format!("smtp://localhost:{}?tls=none", server.port())),
        ..Gear::default()
    });
    Subject {
        lab: &lab,
        step: &|at| {
            let settings = json!({"address": "ops@example.org", "title": format!("{at}"), "content": "it is hot"});
            Planned::new("tell", "Email", settings)
        },
        happened: &|at| {
            let subject = json!(at.to_string());
            let mailbox = server.mailbox().into_iter();
            mailbox.filter(|mail| mail["subject"] == subject).count()
        },
        asks: true,
    }
    .killed_everywhere(heirs)
    .await
}

pub async fn distributed_script(heirs: Heirs) -> Tally {
    let sshd = Sshd::start_with(1, "Subsystem sftp internal-sftp");
    let lab = Lab::new().with_gear(Gear {
        ssh: true,
        fab: Some(tools::fab()),
        ..Gear::default()
    });
    lab.add_ssh_node("web01", "127.0.0.1", sshd.port(), &sshd);
    let log = sshd.scratch().join("log");
    let fabfile = format!(
        "from fabric import task\n\n@task\ndef note(c, line):\n    c.run(f\"echo {{line}} >> {}\")\n",
        log.display()
    );
    let folder = lab.path("data/fabric-scripts");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("note.py"), fabfile).unwrap();
    let mut tally = Subject {
        lab: &lab,
        step: &|at| {
            let settings =
                json!({"fabfile": "note.py", "task": "note", "args": ["--line", at.to_string()]});
            Planned::new("fab", "DistributedScript", settings)
        },
        happened: &|at| times(&super::lab::lines(&log), at),
        asks: true,
    }
    .killed_everywhere(heirs)
    .await;
    let left = fs::read_dir(lab.path("data/private"));
    tally.leaked = left.map_or(0, Iterator::count);
    assert_eq!(tally.leaked, 0, "keys were left");
    tally
}

pub async fn os_configuration(heirs: Heirs) -> Tally {
    let sshd = Sshd::start(1);
    let lab = Lab::new().with_gear(Gear {
        ssh: true,
        ..Gear::default()
    });
    lab.add_ssh_node_as("root", "web01", "127.0.0.1", sshd.port(), &sshd);
    let (folder, place) = (lab.path("data/puppet"), sshd.scratch());
    fs::create_dir_all(&folder).unwrap();
    Subject {
        lab: &lab,
        step: &|at| {
            let (name, file) = (format!("role-{at}.pp"), place.join(at.to_string()));
            let manifest = format!(
                "exec {{ 'role': command => '/bin/sh -c \"echo {at} >> {0}\"', creates => '{0}' }}\n",
                file.display()
            );
            fs::write(folder.join(&name), manifest).unwrap();
            let settings = json!({"puppetfile": name, "install_puppet": false});
            Planned::new("puppet", "OSConfiguration", settings).within(120)
        },
        happened: &|at| times(&super::lab::lines(&place.join(at.to_string())), at),
        asks: false,
    }
    .killed_everywhere(heirs)
    .await
}

pub async fn docker_scale(heirs: Heirs) -> Tally {
    let docker = Docker::start();
    docker.compose_file("");
    let lab = Lab::new().with_gear(Gear {
        compose: Some(compose_v2()),
        ..Gear::default()
    });
    let project = format!("p{}", rand::random::<u32>());
    Subject {
        lab: &lab,
        step: &|_| {
            let settings = json!({
                "driver": "compose", "project": project, "file": [docker.file("compose.yml")], "service": "worker",
                "host": docker.host(), "by": 1,
            });
            Planned::new("scale", "DockerScale", settings)
        },
        // One more for each that went before.
        happened: &|at| docker.running("worker") - at,
        asks: false,
    }
    .killed_everywhere(heirs)
    .await
}

pub async fn zabbix_backup(heirs: Heirs) -> Tally {
    let zabbix = Zabbix::start().await;
    let lab = Lab::new().with_gear(Gear {
        zabbix: Some(zabbix.url()),
        ..Gear::default()
    });
    Subject {
        lab: &lab,
        step: &|at| {
            Planned::new(
                "keep",
                "ZabbixBackup",
                json!({"dir": format!("zabbix-{at}")}),
            )
        },
        happened: &|at| {
            let files = fs::read_dir(lab.path(&format!("data/zabbix-{at}")));
            let names = files
                .into_iter()
                .flatten()
                .map(|file| file.unwrap().file_name().into_string().unwrap());
            // All of them, whole, and nothing half-written beside.
            usize::from(names.filter(|name| name.ends_with(".json")).count() == 7)
        },
        asks: false,
    }
    .killed_everywhere(heirs)
    .await
}

fn times(lines: &[String], at: usize) -> usize {
    lines.iter().filter(|line| **line == at.to_string()).count()
}

#[tokio::test]
async fn killed_at_every_boundary_a_line_is_written_once_or_a_person_is_asked() {
    assert_eq!(local_script(Heirs::One).await.stuck, 2);
}

#[tokio::test]
async fn killed_at_every_boundary_a_mail_is_sent_once_or_a_person_is_asked() {
    assert_eq!(email(Heirs::One).await.stuck, 2);
}

#[tokio::test]
async fn killed_at_every_boundary_a_task_of_fabric_runs_once_or_a_person_is_asked() {
    assert_eq!(distributed_script(Heirs::One).await.stuck, 2);
}

#[tokio::test]
async fn killed_at_every_boundary_puppet_brings_a_node_to_its_state_and_nobody_is_asked() {
    assert_eq!(os_configuration(Heirs::One).await.stuck, 0);
}

#[tokio::test]
async fn killed_at_every_boundary_a_service_gets_one_replica_more_and_not_two() {
    assert_eq!(docker_scale(Heirs::One).await.stuck, 0);
}

#[tokio::test]
async fn killed_at_every_boundary_a_backup_of_zabbix_is_whole() {
    assert_eq!(zabbix_backup(Heirs::One).await.stuck, 0);
}
