//! Follows a run to its end, line by line.

use std::process::ExitCode;
use std::time::Duration;

use crate::app::App;
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{RunId, RunState, StepRunId, StepState};

/// The run is driven by another process, so its rows are asked.
const POLL: Duration = Duration::from_millis(200);

/// Prints every change of a step to standard error until the run is over; success only if the run succeeded.
pub(super) async fn follow(app: &App, id: RunId) -> anyhow::Result<ExitCode> {
    let mut shown: Vec<StepState> = Vec::new();
    let mut told: Vec<StepRunId> = Vec::new();
    loop {
        let (run, steps) = app
            .db
            .read(move |conn| Ok((Run::find(conn, id)?, StepRun::of_runs(conn, &[id])?)))
            .await?;
        shown.resize(steps.len(), StepState::Planned);
        for (step, seen) in steps
            .iter()
            .zip(&mut shown)
            .filter(|(step, seen)| step.state != **seen)
        {
            let error = step
                .error
                .as_ref()
                .map_or(String::new(), |error| format!(": {error}"));
            eprintln!("step {} {} {}{error}", step.position, step.name, step.state);
            *seen = step.state;
        }
        match run.state {
            RunState::Queued | RunState::Running => tokio::time::sleep(POLL).await,
            RunState::Waiting => {
                for step in steps.iter().filter(|step| step.waits_until_ms().is_some()) {
                    if !told.contains(&step.id) {
                        eprintln!(
                            "step {} {} waits for approval: headroom run approve {id}",
                            step.position, step.name
                        );
                        told.push(step.id);
                    }
                }
                tokio::time::sleep(POLL).await;
            }
            RunState::Succeeded => {
                eprintln!("run {id} succeeded");
                return Ok(ExitCode::SUCCESS);
            }
            other => {
                eprintln!("run {id} {other}");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
}
