//! `headroom run`: inserts the same run that a firing or a button does.

use std::process::ExitCode;

use super::args::{Approval, Run, RunHow};
use super::people::actor;
use super::{follow, output};
use crate::actions::plan::RunTarget;
use crate::app::App;
use crate::error::Error;
use crate::models::run::Run as Row;
use crate::models::step_run::StepRun;
use crate::models::{Role, RunId, Via};
use crate::web::auth::Caller;
use crate::web::commands::{self, StepVerb};

pub(super) async fn run(app: &App, what: Run) -> anyhow::Result<ExitCode> {
    // Who may read the database and the master key may do everything.
    let caller = Caller {
        name: actor(),
        role: Role::Admin,
        via: Via::Cli,
    };
    let (how, (run, steps)) = match what {
        Run::Approve(args) => return decide(app, &caller, args, StepVerb::Approve).await,
        Run::Refuse(args) => return decide(app, &caller, args, StepVerb::Refuse).await,
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

/// Decides about the step of a run that waits for approval.
async fn decide(
    app: &App,
    caller: &Caller,
    args: Approval,
    verb: StepVerb,
) -> anyhow::Result<ExitCode> {
    let id = RunId(args.run);
    let steps = app.db.read(move |conn| {
        Row::find(conn, id)?;
        StepRun::of_run(conn, id)
    });
    let mut steps = steps.await?;
    match &args.step {
        Some(name) => steps.retain(|step| step.name == *name),
        None => steps.retain(|step| step.waits_until_ms().is_some()),
    }
    let names = || {
        let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
        names.join(", ")
    };
    let step = match (steps.as_slice(), &args.step) {
        ([step], _) => step,
        ([], Some(name)) => {
            return Err(Error::NotFound(format!("step \"{name}\" of run {id}")).into());
        }
        ([], None) => {
            let why = format!("no step of run {id} waits for approval");
            return Err(Error::Conflict(why).into());
        }
        _ => {
            let why = format!("several wait: name one of {}", names());
            return Err(Error::invalid("--step", why).into());
        }
    };
    let run = commands::decide_step(app, caller, id, step.id, verb, args.reason).await?;
    let done = match verb {
        StepVerb::Approve => "approved",
        _ => "refused",
    };
    if args.json {
        output::json(
            &serde_json::json!({ "id": run.id, "state": run.state, "step": step.name, "decision": done }),
        )?;
    } else {
        println!("step {} of run {id} is {done}", step.name);
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
