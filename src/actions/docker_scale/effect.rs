//! Scaling as a step of a run: noted, looked up after a crash, taken back.

use std::time::Duration;

use chrono::Utc;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use super::scaling::LOOK;
use super::{DockerScale, scale};
use crate::actions::{Attempt, Effect, Found, Outcome, Outputs, Report};
use crate::clients::docker::{Certificates, Docker, Service};
use crate::clients::zabbix;
use crate::config::Tooling;
use crate::error::{Error, Result};
use crate::models::hold::Hold;
use crate::models::{service_claim, to_ms};

/// What a scaling needs of its time limit once it is its turn.
const LEAST: Duration = Duration::from_secs(10);

/// A prepared step.
pub(super) struct Scaling {
    pub action: DockerScale,
    pub service: Service,
    pub component: String,
}

impl Effect for Scaling {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let work = async {
                self.take(attempt, true).await?;
                let docker = self.docker(attempt).await?;
                let (from, to) = self.aim(attempt, &docker).await?;
                Ok::<_, Error>((from, to, docker))
            };
            let (from, to, docker) = match work.await {
                Ok(ready) => ready,
                Err(fault) => {
                    return Outcome {
                        outputs: attempt.noted.clone(),
                        ..Outcome::failed(fault)
                    };
                }
            };
            self.bring(attempt, &docker, from, to).await
        }
        .boxed()
    }

    fn look_up<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Found>> {
        async move {
            let Some((from, to)) = self.noted(&attempt.noted) else {
                return Ok(Found::NotDone);
            };
            let docker = self.docker(attempt).await?;
            let now = docker.replicas().await?;
            if now.count == to && now.ready == to {
                return Ok(Found::Done(Outcome {
                    outputs: self.outputs(from, to),
                    ..Outcome::default()
                }));
            }
            if between(now.count, from, to) {
                return Ok(Found::NotDone);
            }
            Ok(Found::Unclear(self.touched(now.count, from, to)))
        }
        .boxed()
    }

    fn undo<'a>(&'a self, attempt: &'a Attempt, outputs: &'a Outputs) -> BoxFuture<'a, Outcome> {
        async move {
            let Some((from, to)) = self.noted(outputs) else {
                return Outcome::default();
            };
            let look = async {
                self.take(attempt, false).await?;
                let docker = self.docker(attempt).await?;
                Ok::<_, Error>((docker.replicas().await?.count, docker))
            };
            match look.await {
                Ok((now, _)) if !between(now, from, to) => {
                    Outcome::failed(Error::Conflict(self.touched(now, from, to)))
                }
                Ok((now, docker)) => self.bring(attempt, &docker, now, from).await,
                Err(fault) => Outcome::failed(fault),
            }
        }
        .boxed()
    }
}

impl Scaling {
    /// Waits until no other step scales the service: whoever reads a number that another is about to change aims for a wrong one.
    async fn take(&self, attempt: &Attempt, heeds_stop: bool) -> Result<()> {
        let mut waited = false;
        loop {
            let (service, token) = (self.service.to_string(), attempt.token.clone());
            let (run, asks) = (attempt.fence.run, waited && heeds_stop);
            let taken = attempt.write(move |conn| {
                if asks && let Some(stop) = Hold::stop(conn, to_ms(Utc::now()))? {
                    return Err(Error::Conflict(format!(
                        "not begun: all acting was {}",
                        stop.stopped()
                    )));
                }
                service_claim::take(conn, &service, run, &token)
            });
            let other = taken.await?;
            if let (Some(run), true) = (other, Instant::now() + LEAST >= attempt.deadline) {
                return Err(Error::Conflict(format!(
                    "not begun: run {run} is scaling {}, and too little of the time limit is left to wait for it",
                    self.service.name
                )));
            }
            let Some(run) = other else {
                return Ok(());
            };
            waited = true;
            tokio::select! {
                () = sleep(LOOK) => {}
                () = attempt.cancelled() => return Err(Error::Conflict(format!(
                    "not begun: {} while run {run} was scaling {}",
                    attempt.why_stopped(),
                    self.service.name
                ))),
            }
        }
    }

    /// From how many to how many; noted before anything is done, so that a repetition aims for the same.
    async fn aim(&self, attempt: &Attempt, docker: &Docker) -> Result<(u32, u32)> {
        let now = docker.replicas().await?.count;
        if let Some((from, to)) = self.noted(&attempt.noted) {
            if between(now, from, to) {
                return Ok((from, to));
            }
            return Err(Error::Conflict(self.touched(now, from, to)));
        }
        let to = self.action.bounds.aim(now, self.action.change);
        attempt.note(&self.outputs(now, to)).await?;
        Ok((now, to))
    }

    async fn bring(&self, attempt: &Attempt, docker: &Docker, from: u32, to: u32) -> Outcome {
        // The number may be an old one by now.
        if let Err(lost) = attempt.still_ours().await {
            return Outcome {
                outputs: self.outputs(from, to),
                ..Outcome::failed(lost)
            };
        }
        let scaled = tokio::select! {
            scaled = scale(docker, &self.service.name, from, to, attempt.deadline) => scaled,
            () = attempt.cancelled() => {
                let fault = Error::Conflict(format!("stopped: {} while {} was being scaled from {from} to {to}", attempt.why_stopped(), self.service.name));
                return Outcome { outputs: self.outputs(from, to), ..Outcome::failed(fault) };
            }
        };
        let mut entry = scaled.entry;
        entry.address.clone_from(&self.service.engine);
        Outcome {
            outputs: self.outputs(from, to),
            report: Report(vec![entry]),
            fault: scaled.fault,
            ..Outcome::default()
        }
    }

    fn outputs(&self, from: u32, to: u32) -> Outputs {
        let mut outputs = Outputs::new();
        outputs.insert("service".into(), self.service.name.clone().into());
        outputs.insert("from".into(), from.into());
        outputs.insert("to".into(), to.into());
        outputs
    }

    fn noted(&self, outputs: &Outputs) -> Option<(u32, u32)> {
        let number = |key: &str| u32::try_from(outputs.get(key)?.as_u64()?).ok();
        number("from").zip(number("to"))
    }

    fn touched(&self, now: u32, from: u32, to: u32) -> String {
        format!(
            "{} has {now} replicas, and this step scaled it from {from} to {to}: somebody else has scaled it since, so it is left alone",
            self.service.name
        )
    }

    async fn docker(&self, attempt: &Attempt) -> Result<Docker> {
        let tooling = &attempt.tools.tooling;
        let certificates = self.certificates(tooling).await?;
        // An undo and a look-up have a deadline of their own.
        let deadline = attempt.deadline.max(Instant::now());
        let (compose, private) = (tooling.docker_compose.as_deref(), tooling.private.as_path());
        Docker::open(
            self.service.clone(),
            certificates.as_ref(),
            compose,
            private,
            deadline,
        )
        .await
    }

    async fn certificates(&self, tooling: &Tooling) -> Result<Option<Certificates>> {
        if self.action.certificates_from_zabbix {
            return zabbix::certificates(tooling.require_zabbix()?, &self.component)
                .await
                .map(Some);
        }
        let Some(files) = &self.action.tls else {
            return Ok(None);
        };
        let read = |path: &String| {
            std::fs::read_to_string(path)
                .map_err(|cause| Error::Conflict(format!("{path} cannot be read: {cause}")))
        };
        Ok(Some(Certificates {
            ca: read(&files.ca)?,
            cert: read(&files.cert)?,
            key: SecretString::from(read(&files.key)?),
        }))
    }
}

fn between(now: u32, from: u32, to: u32) -> bool {
    (from.min(to)..=from.max(to)).contains(&now)
}
