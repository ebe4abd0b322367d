//! Docker's engines, by the `docker` program: Compose has no other way in, and one way to an engine (its address, TLS, `ssh://`) serves
//! Swarm as well.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::ExecOutput;
use crate::clients::command::Command;
use crate::clients::private::PrivateFolder;
use crate::error::{Error, Result};

/// How much of what a program prints is kept, in bytes.
const MAX_OUTPUT: usize = 64 * 1024;

/// What runs a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// A Compose project, from its files.
    Compose {
        /// The project's name.
        project: String,
        /// The Compose files, absolute.
        files: Vec<PathBuf>,
    },
    /// A Swarm that the engine is a manager of.
    Swarm,
}

/// A service on an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// What runs it.
    pub driver: Driver,
    /// Its name, in Swarm with its stack's name in front.
    pub name: String,
    /// The engine, such as `tcp://10.0.0.5:2376`; none = the one that `docker` would use.
    pub engine: Option<String>,
}

/// By this name a service is kept from being scaled twice at once. An engine goes by its address as it is written: it has others.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.driver {
            Driver::Compose { project, .. } => write!(f, "compose {project}/{}", self.name)?,
            Driver::Swarm => write!(f, "swarm {}", self.name)?,
        }
        match &self.engine {
            Some(engine) => write!(f, " at {}", engine.trim_end_matches('/')),
            None => Ok(()),
        }
    }
}

/// Certificates for an engine, PEM.
pub struct Certificates {
    /// Who signed the engine's.
    pub ca: String,
    /// The client's.
    pub cert: String,
    /// The client's private key.
    pub key: secrecy::SecretString,
}

/// How many replicas there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicas {
    /// Those that are wanted (Swarm), or that exist and have not ended (Compose).
    pub count: u32,
    /// Those that run and are not unhealthy or still starting.
    pub ready: u32,
    /// What is said of one that is not ready.
    pub trouble: Option<String>,
}

/// A way to a service.
pub struct Docker {
    service: Service,
    compose: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
    deadline: Instant,
    /// The certificates; gone when this is dropped.
    _folder: Option<PrivateFolder>,
}

impl Docker {
    /// Finds the programs and lays out the certificates in a private folder below `private`. Nothing takes longer than the deadline.
    ///
    /// # Errors
    /// A program is missing, or a file cannot be written.
    pub async fn open(
        service: Service,
        certificates: Option<&Certificates>,
        compose: Option<&Path>,
        private: &Path,
        deadline: Instant,
    ) -> Result<Self> {
        let mut env: Vec<(&'static str, OsString)> = Vec::new();
        let folder = certificates.map(|pem| lay_out(private, pem)).transpose()?;
        if let Some(folder) = &folder {
            let path = std::path::absolute(folder.path());
            let path =
                path.map_err(|cause| Error::internal("where the private folder is", cause))?;
            env.push(("DOCKER_CERT_PATH", path.into()));
            env.push(("DOCKER_TLS_VERIFY", "1".into()));
        }
        if let Some(engine) = &service.engine {
            env.push(("DOCKER_HOST", engine.into()));
        }
        // Both default to a minute, whatever the action's own limit is.
        let secs = deadline
            .saturating_duration_since(Instant::now())
            .as_secs()
            .max(1);
        for name in ["COMPOSE_HTTP_TIMEOUT", "DOCKER_CLIENT_TIMEOUT"] {
            env.push((name, secs.to_string().into()));
        }
        let mut docker = Self {
            service,
            compose: Vec::new(),
            env,
            deadline,
            _folder: folder,
        };
        if matches!(docker.service.driver, Driver::Compose { .. }) {
            docker.compose = docker.find_compose(compose).await?;
        }
        Ok(docker)
    }

    /// The program that is asked for, else the plug-in of `docker`, else `docker-compose`.
    async fn find_compose(&self, set: Option<&Path>) -> Result<Vec<OsString>> {
        if let Some(program) = set {
            return Ok(vec![program.into()]);
        }
        let plugin: Vec<OsString> = vec!["docker".into(), "compose".into()];
        let alone: Vec<OsString> = vec!["docker-compose".into()];
        for program in [plugin, alone] {
            if self
                .call(&program, &["version"])
                .await
                .is_ok_and(|said| said.success())
            {
                return Ok(program);
            }
        }
        Err(Error::Upstream {
            what: "Docker Compose is needed on Headroom's own host: install the package docker-compose-plugin or docker-compose, or set \
                   HEADROOM_DOCKER_COMPOSE to where it is".into(),
            retryable: false,
        })
    }

    /// How many replicas there are.
    ///
    /// # Errors
    /// The engine cannot be asked, or does not know the service.
    pub async fn replicas(&self) -> Result<Replicas> {
        match &self.service.driver {
            Driver::Compose { project, .. } => {
                let label =
                    |name: &str, value: &str| format!("label=com.docker.compose.{name}={value}");
                let (project, service) = (
                    label("project", project),
                    label("service", &self.service.name),
                );
                let once = label("oneoff", "False");
                let words = [
                    "ps",
                    "--all",
                    "--filter",
                    &project,
                    "--filter",
                    &service,
                    "--filter",
                    &once,
                    "--format",
                    "{{.State}}\t{{.Status}}",
                ];
                Ok(containers(&self.ask(&words).await?))
            }
            Driver::Swarm => {
                let name = self.service.name.as_str();
                let mode = "{{if .Spec.Mode.Replicated}}{{.Spec.Mode.Replicated.Replicas}}{{end}}";
                let wanted = self
                    .ask(&["service", "inspect", "--format", mode, "--", name])
                    .await?;
                let count = wanted.trim().parse().map_err(|_| Error::Conflict(format!(
                    "the service \"{name}\" has no number of replicas: only replicated services can be scaled"
                )))?;
                let format = "{{.DesiredState}}\t{{.CurrentState}}\t{{.Error}}";
                let tasks = self
                    .ask(&[
                        "service",
                        "ps",
                        "--no-trunc",
                        "--format",
                        format,
                        "--",
                        name,
                    ])
                    .await?;
                Ok(Replicas {
                    count,
                    ..swarm_tasks(&tasks)
                })
            }
        }
    }

    /// Asks for so many replicas; gives what the program printed and its status, whatever that is.
    ///
    /// # Errors
    /// The program could not be started.
    pub async fn scale(&self, to: u32) -> Result<ExecOutput> {
        let scale = format!("{}={to}", self.service.name);
        match &self.service.driver {
            // The other services of the project stay as they are: named are this one alone, and not what it depends on.
            Driver::Compose { .. } => {
                let words = [
                    "up",
                    "-d",
                    "--no-deps",
                    "--no-recreate",
                    "--scale",
                    &scale,
                    &self.service.name,
                ];
                self.call(&self.compose, &self.project(&words)).await
            }
            Driver::Swarm => self.scale_swarm(&scale).await,
        }
    }

    /// Swarm refuses a change that meets another one of the same service, without any effect: a few more tries.
    async fn scale_swarm(&self, scale: &str) -> Result<ExecOutput> {
        for _ in 0..4 {
            let said = self
                .docker(&["service", "scale", "--detach", scale])
                .await?;
            if said.success() || !said.stderr_text().contains("update out of sequence") {
                return Ok(said);
            }
        }
        self.docker(&["service", "scale", "--detach", scale]).await
    }

    /// The list of replicas, as the program prints it.
    ///
    /// # Errors
    /// The program could not be started.
    pub async fn list(&self) -> Result<ExecOutput> {
        match &self.service.driver {
            Driver::Compose { .. } => {
                self.call(&self.compose, &self.project(&["ps", &self.service.name]))
                    .await
            }
            Driver::Swarm => {
                self.docker(&["service", "ps", "--", &self.service.name])
                    .await
            }
        }
    }

    fn project(&self, words: &[&str]) -> Vec<OsString> {
        let mut all: Vec<OsString> = Vec::new();
        if let Driver::Compose { project, files } = &self.service.driver {
            all.extend(["--project-name".into(), project.into()]);
            all.extend(files.iter().flat_map(|file| ["--file".into(), file.into()]));
        }
        all.extend(words.iter().map(OsString::from));
        all
    }

    /// What `docker` prints, if it succeeds.
    async fn ask(&self, words: &[&str]) -> Result<String> {
        let said = self.docker(words).await?;
        if said.success() {
            return Ok(said.stdout_text());
        }
        Err(Error::Upstream {
            what: format!(
                "docker {} {}: {}",
                words.first().copied().unwrap_or_default(),
                said.status,
                said.stderr_text().trim()
            ),
            retryable: true,
        })
    }

    async fn docker(&self, words: &[&str]) -> Result<ExecOutput> {
        self.call(&["docker".into()], words).await
    }

    async fn call(
        &self,
        program: &[OsString],
        words: &[impl AsRef<std::ffi::OsStr>],
    ) -> Result<ExecOutput> {
        let (first, rest) = program
            .split_first()
            .ok_or_else(|| Error::Internal("no program of Docker".into()))?;
        let words = rest
            .iter()
            .cloned()
            .chain(words.iter().map(|word| word.as_ref().to_owned()));
        let mut command = Command::new(first, &words.collect::<Vec<_>>()).max_output(MAX_OUTPUT);
        for (name, value) in &self.env {
            command = command.env(name, value);
        }
        let left = self.deadline.saturating_duration_since(Instant::now());
        command
            .time_limit(left.max(Duration::from_millis(1)))
            .run()
            .await
    }
}

fn lay_out(private: &Path, pem: &Certificates) -> Result<PrivateFolder> {
    use secrecy::ExposeSecret as _;
    let folder = PrivateFolder::new(private)?;
    folder.put("ca.pem", &pem.ca)?;
    folder.put("cert.pem", &pem.cert)?;
    folder.put("key.pem", pem.key.expose_secret())?;
    Ok(folder)
}

/// Reads lines of a container's state and status: `running`, `Up 3 seconds (health: starting)`.
fn containers(lines: &str) -> Replicas {
    let mut replicas = Replicas::default();
    for line in lines.lines() {
        let (state, status) = line.split_once('\t').unwrap_or((line, ""));
        let there = !matches!(state, "exited" | "dead" | "removing");
        let waits = ["(unhealthy)", "(health: starting)"]
            .iter()
            .any(|word| status.contains(word));
        replicas.count += u32::from(there);
        if state == "running" && !waits {
            replicas.ready += 1;
        } else {
            replicas.trouble = Some(format!("a container is {state}: {status}"));
        }
    }
    replicas
}

/// Reads lines of a task's desired state, its state and its error: `Running`, `Pending 3 seconds ago`, `"no suitable node"`.
fn swarm_tasks(lines: &str) -> Replicas {
    let mut replicas = Replicas::default();
    for line in lines.lines() {
        let mut words = line.split('\t');
        let mut next = || words.next().unwrap_or_default().trim();
        let (wanted, state, error) = (next(), next(), next().trim_matches('"'));
        if wanted == "Running" && state.starts_with("Running") {
            replicas.ready += 1;
        } else if (wanted == "Running" || !error.is_empty()) && replicas.trouble.is_none() {
            // The newest tasks come first.
            replicas.trouble = Some(format!("a task is {state} {error}").trim_end().to_owned());
        }
    }
    replicas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_count_unless_they_have_ended_and_are_ready_when_healthy() {
        let lines = "running\tUp 2 seconds\nrunning\tUp 1 second (health: starting)\nexited\tExited (1) 3 seconds ago\nrestarting\tRestarting (1)\n";
        let replicas = containers(lines);
        assert_eq!((replicas.count, replicas.ready), (3, 1));
        assert_eq!(
            replicas.trouble.unwrap(),
            "a container is restarting: Restarting (1)"
        );
        assert_eq!(containers(""), Replicas::default());
    }

    #[test]
    fn tasks_are_ready_when_they_run_and_the_newest_trouble_is_told() {
        let lines = "Running\tRunning 5 seconds ago\t\nRunning\tPending 2 seconds ago\t\"no suitable node (insufficient memory)\"\n\
            Shutdown\tFailed 9 seconds ago\t\"task: non-zero exit (1)\"\n";
        let replicas = swarm_tasks(lines);
        assert_eq!(replicas.ready, 1);
        assert_eq!(
            replicas.trouble.unwrap(),
            "a task is Pending 2 seconds ago no suitable node (insufficient memory)"
        );
        assert_eq!(
            swarm_tasks("Shutdown\tShutdown 1 second ago\t\n"),
            Replicas::default()
        );
    }
}
