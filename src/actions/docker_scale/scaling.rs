//! Brings a service to a number of replicas and waits until they run.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::actions::Entry;
use crate::clients::docker::{Docker, Replicas};
use crate::clients::{ExecOutput, Exit};
use crate::error::{Error, Result};

/// How long replicas must be seen running: one that fails at its start runs for a moment too.
const SETTLE: Duration = Duration::from_secs(3);
/// Between two looks at the engine, which tells nobody when a service has converged, or at who else scales it.
pub(super) const LOOK: Duration = Duration::from_millis(500);
/// How long the engine may be away while it is waited for.
const AWAY: Duration = Duration::from_secs(10);

/// What came of a change.
pub struct Scaled {
    /// For the report.
    pub entry: Entry,
    /// Why it failed.
    pub fault: Option<Error>,
}

/// Scales a service and waits for it until the deadline.
pub async fn scale(
    docker: &Docker,
    service: &str,
    from: u32,
    to: u32,
    deadline: Instant,
) -> Scaled {
    let begin = Instant::now();
    let mut entry = Entry {
        subject: service.to_owned(),
        ..Entry::default()
    };
    let result = attempt(docker, service, from, to, deadline, &mut entry).await;
    entry.took_ms = i64::try_from(begin.elapsed().as_millis()).unwrap_or(i64::MAX);
    entry.succeeded = result.is_ok();
    entry.error = result.as_ref().err().map(ToString::to_string);
    Scaled {
        entry,
        fault: result.err(),
    }
}

async fn attempt(
    docker: &Docker,
    service: &str,
    from: u32,
    to: u32,
    deadline: Instant,
    entry: &mut Entry,
) -> Result<()> {
    if from == to {
        // Nothing is asked of the engine: it may be at its limit because it cannot take more.
        entry.stdout = format!("{service} stays at {to}");
        return Ok(());
    }
    let said = docker.scale(to).await?;
    entry.stdout = said.stdout_text();
    entry.stderr = said.stderr_text();
    entry.truncated = said.truncated;
    if let Exit::Status(status) = said.status {
        entry.status = Some(status);
    }
    if !said.success() {
        return Err(failed(service, from, to, &said));
    }
    converge(docker, service, to, deadline).await?;
    if !entry.stdout.is_empty() && !entry.stdout.ends_with('\n') {
        entry.stdout.push('\n');
    }
    entry
        .stdout
        .push_str(&format!("Scaled {service} from {from} to {to}"));
    Ok(())
}

/// Waits until as many replicas run as are wanted, and have done so for a while.
async fn converge(docker: &Docker, service: &str, to: u32, deadline: Instant) -> Result<()> {
    let mut since: Option<Instant> = None;
    let mut answered = Instant::now();
    let mut last = Replicas::default();
    loop {
        match docker.replicas().await {
            Ok(replicas) => {
                answered = Instant::now();
                let there = replicas.count == to && replicas.ready == to;
                since = there.then(|| since.unwrap_or(answered));
                last = replicas;
            }
            Err(cause) if answered.elapsed() > AWAY => return Err(cause),
            Err(cause) => {
                tracing::debug!(service, %cause, "the engine does not answer at the moment")
            }
        }
        if since.is_some_and(|since| since.elapsed() >= SETTLE) {
            return Ok(());
        }
        if Instant::now() + LOOK >= deadline {
            let trouble = last
                .trouble
                .map(|text| format!("; {text}"))
                .unwrap_or_default();
            return Err(Error::Upstream {
                what: format!(
                    "{service} did not come to {to}: {} of {} run at the time limit{trouble}",
                    last.ready, last.count
                ),
                retryable: false,
            });
        }
        sleep(LOOK).await;
    }
}

fn failed(service: &str, from: u32, to: u32, said: &ExecOutput) -> Error {
    let text = said.stderr_text();
    let last = text
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("no reason is given");
    Error::Upstream {
        what: format!(
            "{service} was not scaled from {from} to {to}: docker {}: {last}",
            said.status
        ),
        retryable: false,
    }
}
