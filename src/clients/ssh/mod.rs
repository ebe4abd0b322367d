//! Commands on nodes over SSH.
//!
//! The seam: callers see [`Ssh`], [`Host`] and [`Request`], never a connection. Behind it, two event threads own every session; sessions are
//! non-blocking, so a host that hangs costs a timer and never a thread.

mod agent;
mod connect;
mod connection;
mod credentials;
mod engine;
mod fault;
mod guard;
mod jump;
mod keeper;
mod known_hosts;
mod ledger;
mod login;
mod offer;
mod program;
mod shell;
mod socket;
mod switch;
mod talk;
mod trust;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::clients::output::{ExecOutput, Exit};
use crate::error::{Error, Result};
use connection::label;
use engine::{Done, Engine, Job};
use fault::upstream;
use guard::Guard;
use keeper::Keeper;
use upload::Receipt;

pub use credentials::Credentials;
pub(crate) use engine::Answer;
pub use known_hosts::KnownHosts;
pub use login::{Identity, Login};
pub(crate) use program::{Program, quote};
pub(crate) use shell::{Inquirer, Known, Progress};
pub(crate) use talk::Listener;
pub use trust::{HostKey, HostKeys, Place, Trust};
pub use upload::Upload;

/// How often kept connections are looked after.
const MAINTENANCE: Duration = Duration::from_secs(5);
const EVENT_THREADS: usize = 2;

/// Limits; the defaults suit a fleet.
#[derive(Debug, Clone)]
pub struct Options {
    /// For the TCP connection, and again for the handshake and the login.
    pub connect_limit: Duration,
    /// For the start of a command on an open connection.
    pub answer_limit: Duration,
    /// Handshakes at once.
    pub handshakes: usize,
    /// A handshake that takes longer gives its place among those back: many hosts that hang in it do not keep the others waiting.
    pub slow_after: Duration,
    /// Hosts being dialled, or waiting for their handshake, at once: each holds a descriptor until its time limit.
    pub dials: usize,
    /// Between keep-alives; below the time-outs of NAT and firewalls.
    pub keepalive: Duration,
    /// A connection unused for so long is closed; above the tick.
    pub idle_limit: Duration,
    /// Pause after a first failure.
    pub backoff_first: Duration,
    /// The longest pause.
    pub backoff_longest: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_limit: Duration::from_secs(10),
            answer_limit: Duration::from_secs(10),
            handshakes: 16,
            slow_after: Duration::from_secs(1),
            dials: 512,
            keepalive: Duration::from_secs(30),
            idle_limit: Duration::from_secs(300),
            backoff_first: Duration::from_secs(1),
            backoff_longest: Duration::from_secs(60),
        }
    }
}

/// A machine and how to log in to it.
#[derive(Debug, Clone)]
pub struct Host {
    /// Name or address.
    pub address: String,
    /// TCP port of sshd.
    pub port: u16,
    /// How to log in.
    pub login: Arc<Login>,
}

/// Names the connection of a host. The login counts, and with it the way there: behind another jump host, or for another profile, the same
/// address is another connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct HostId {
    address: String,
    port: u16,
    login: [u8; 32],
}

impl Host {
    fn id(&self) -> HostId {
        HostId {
            address: self.address.clone(),
            port: self.port,
            login: self.login.digest,
        }
    }

    fn place(&self) -> Place {
        let via = self.login.via.as_ref();
        Place {
            address: self.address.clone(),
            port: self.port,
            through: via.map_or_else(String::new, |via| format!("{}:{}", via.address, via.port)),
        }
    }
}

/// A script to run on a host through `/bin/sh -c`.
#[derive(Debug, Clone)]
pub struct Request {
    /// The script.
    pub script: String,
    /// What it reads; empty = nothing.
    pub stdin: Vec<u8>,
    /// After which it is stopped, with its process group; connecting counts.
    pub time_limit: Duration,
    /// How much is kept of each of its streams, bytes.
    pub max_output: usize,
    /// Whether to try at once although the host failed a moment ago: someone asked for it.
    pub eager: bool,
}

/// The SSH client; cheap to clone.
#[derive(Clone)]
pub struct Ssh {
    engine: Arc<Engine>,
    threads: Arc<Threads>,
}

/// The event threads; they end with the last clone of the client.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Also called on async threads, where waiting is not allowed.
            runtime.shutdown_background();
        }
    }
}

impl Ssh {
    /// Starts the event threads.
    ///
    /// # Errors
    /// No thread is to be had.
    pub fn new(options: Options, keys: Arc<dyn HostKeys>) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(EVENT_THREADS)
            .thread_name("ssh")
            .enable_all()
            .build()
            .map_err(|cause| Error::internal("could not start the SSH threads", cause))?;
        let engine = Arc::new(Engine::new(options, keys, Guard::start()?));
        let looked_after = Arc::downgrade(&engine);
        runtime.spawn(async move {
            let mut ticks = tokio::time::interval(MAINTENANCE);
            loop {
                ticks.tick().await;
                let Some(engine) = looked_after.upgrade() else {
                    return;
                };
                engine.maintain(std::time::Instant::now());
            }
        });
        Ok(Self {
            engine,
            threads: Arc::new(Threads(Some(runtime))),
        })
    }

    /// Runs a script on a host. Dropping the future stops the script.
    ///
    /// # Errors
    /// `Upstream`: the host could not be reached, trusted or logged in to, or the connection was lost. That the script failed is no error.
    pub async fn exec(&self, host: &Host, request: Request) -> Result<ExecOutput> {
        let Request {
            script,
            stdin,
            time_limit,
            max_output,
            eager,
        } = request;
        if script.contains('\0') {
            return Err(Error::invalid("script", "contains a NUL character"));
        }
        let token = token();
        let job = Job {
            program: program::script(&token, &script, &stdin),
            listener: Keeper::new(&token, time_limit, max_output),
            deadline: Instant::now() + time_limit,
            eager,
        };
        let Done {
            exit,
            took,
            listener,
        } = self.run(host, job).await?;
        let (stdout, stderr) = listener.into_streams();
        Ok(ExecOutput {
            status: exit?,
            truncated: stdout.truncated() || stderr.truncated(),
            stdout: stdout.into_bytes(),
            stderr: stderr.into_bytes(),
            took,
        })
    }

    /// Puts a file on a host, for the user alone, in a folder of its own; returns where. Whoever asked removes the folder when it is done with.
    ///
    /// # Errors
    /// `Invalid`: the name is no plain file name. `Upstream`: as [`Ssh::exec`], or the host could not keep the whole file; nothing is left then.
    pub async fn upload(&self, host: &Host, file: Upload) -> Result<String> {
        let job = Job {
            program: upload::program(&file)?,
            listener: Receipt::new(file.time_limit),
            deadline: Instant::now() + file.time_limit,
            eager: true,
        };
        let Done { exit, listener, .. } = self.run(host, job).await?;
        let (exit, (place, complaint)) = (exit?, listener.into_words());
        if exit.success() && place.ends_with(&file.name) {
            return Ok(place);
        }
        let why = format!(
            "the file {} could not be kept: it {exit}: {complaint}",
            file.name
        );
        Err(upstream(host, &why))
    }

    /// Runs a program of `/bin/sh` on a host and lets a listener hear it; tells it to stop at the deadline, or when the future is dropped.
    /// The inner error is a connection lost on the way: what was heard until then counts.
    pub(crate) async fn listen<L: Listener + 'static>(
        &self,
        host: &Host,
        program: Program,
        listener: L,
        deadline: Instant,
    ) -> Result<(Result<Exit>, L)> {
        let job = Job {
            program,
            listener,
            deadline,
            eager: false,
        };
        let done = self.run(host, job).await?;
        Ok((done.exit, done.listener))
    }

    /// Asks in the shell that is held on a host, and opens one where there is none. Tells what runs to stop at the deadline, or when the
    /// future is dropped. What was heard counts, however it ended. Begins at once, so that the future need not hold the question too.
    pub(crate) fn ask<L: Inquirer + 'static>(
        &self,
        host: &Host,
        mut listener: L,
        deadline: Instant,
    ) -> impl Future<Output = Result<(Answer, L)>> + use<L> {
        let (engine, host) = (Arc::clone(&self.engine), host.clone());
        let (mut asker, answer) = oneshot::channel();
        let begun = self.spawn(async move {
            let answer = engine.ask(&host, &mut listener, deadline, &mut asker).await;
            tell(asker, answer.map(|answer| (answer, listener)));
        });
        async move {
            begun?;
            answer.await.map_err(|_| ended())?
        }
    }

    async fn run<L: Listener + 'static>(&self, host: &Host, job: Job<L>) -> Result<Done<L>> {
        let (engine, host) = (Arc::clone(&self.engine), host.clone());
        let (mut asker, answer) = oneshot::channel();
        self.spawn(async move {
            let done = engine.run(&host, job, &mut asker).await;
            tell(asker, done);
        })?;
        answer.await.map_err(|_| ended())?
    }

    /// Hands work to the event threads: a connection is only touched there, and never left half-way when the caller goes.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let runtime = self.threads.0.as_ref().ok_or_else(ended)?;
        runtime.spawn(work);
        Ok(())
    }

    /// Connections kept open at the moment.
    pub fn open_connections(&self) -> usize {
        self.engine.open_connections()
    }
}

/// What a program marks its own words with: new for each, so that no script can know it.
pub(crate) fn token() -> String {
    hex::encode(rand::random::<[u8; 8]>())
}

fn tell<T>(asker: oneshot::Sender<T>, answer: T) {
    if asker.send(answer).is_err() {
        tracing::trace!("nobody waited for the end of a command");
    }
}

fn ended() -> Error {
    Error::Internal("the SSH threads have ended".into())
}
