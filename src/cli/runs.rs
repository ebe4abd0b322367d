//! `headroom run`: inserts the same run that a firing or a button does.

use std::process::ExitCode;

use super::args::{Run, RunHow};
use super::people::actor;
use super::{follow, output};
use crate::actions::plan::RunTarget;
use crate::app::App;
use crate::error::Error;
use crate::models::run::Run as Row;
use crate::models::step_run::StepRun;
use crate::models::{Role, Via};
use crate::web::auth::Caller;
use crate::web::commands;

pub(super) async fn run(app: &App, what: Run) -> anyhow::Result<ExitCode> {
    // Who may read the database and the master key may do everything.
    let caller = Caller {
        name: actor(),
        role: Role::Admin,
        via: Via::Cli,
    };
    let (how, (run, steps)) = match what {
        Run::Trigger { name, reason, how } => (
            how,
            commands::run_trigger(app, &caller, name, reason).await?,
        ),
        Run::Action {
            name,
            target,
            reason,
            how,
        } => {
            let target = target.map_or(Ok(RunTarget::None), |text| text.parse());
            let target = target.map_err(|message| Error::invalid("--target", message))?;
            (
                how,
                commands::run_action(app, &caller, name, target, reason).await?,
            )
        }
    };
    print(&how, &run, &steps)?;
    if how.wait {
        return follow::follow(app, run.id).await;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(how: &RunHow, run: &Row, steps: &[StepRun]) -> anyhow::Result<()> {
    if !how.json {
        println!("{}", run.id);
        return Ok(());
    }
    let steps: Vec<_> = steps
        .iter()
        .map(|step| {
            serde_json::json!({
                "id": step.id, "order": step.position, "action": step.action_name, "target": step.target,
            })
        })
        .collect();
    output::json(&serde_json::json!({ "id": run.id, "state": run.state, "steps": steps }))?;
    Ok(())
}
