//! After a crash: which runs nobody drives, and what becomes of the steps that were under way.

use crate::actions::{self, Recovery};
use crate::db::Db;
use crate::error::Result;
use crate::models::hold::Hold;
use crate::models::run::Run;
use crate::models::step_run::{StepChange, StepRun};
use crate::models::{RunId, StepState};
use crate::runs::effects::{self, Ending, Finished};
use crate::runs::execute::Drive;
use crate::runs::journal::Journal;

/// How often an effect is begun and lost, before a person is asked: an effect that brings Headroom down would do so for ever.
const MAX_LOST: i32 = 5;

/// Runs that a worker should drive and none does: the wake-up was lost, or the process that drove them died and its claim has lapsed.
///
/// # Errors
/// The database fails.
pub async fn open_runs(db: &Db, now_ms: i64) -> Result<Vec<RunId>> {
    db.read(move |conn| {
        let open = Run::unclaimed(conn, now_ms)?;
        if open.is_empty() || Hold::stop(conn, now_ms)?.is_none() {
            return Ok(open);
        }
        // While all acting is stopped, only what is to be cancelled can be gone on with.
        let cancelled = Run::open(conn)?.into_iter();
        let cancelled = cancelled.filter(|run| run.cancel_requested_by.is_some());
        Ok(cancelled
            .map(|run| run.id)
            .filter(|run| open.contains(run))
            .collect())
    })
    .await
}

/// Goes on with the steps that an earlier driver had under way. An undo is safe to repeat, and the order of things begins it again.
pub(super) async fn take_up(drive: &mut Drive) -> Result<()> {
    let steps = drive.journal.steps.clone();
    let begun =
        |step: &&StepRun| step.state == StepState::Undoing && step.undo_started_ms.is_some();
    for step in steps.iter().filter(begun) {
        drive.go_on_undoing(step).await?;
    }
    // A step that waits to be tried again has nothing under way.
    let lost = |step: &&StepRun| step.state == StepState::Started && step.retry_at_ms.is_none();
    for step in steps.iter().filter(lost) {
        take_up_step(drive, step).await?;
    }
    Ok(())
}

async fn take_up_step(drive: &mut Drive, step: &StepRun) -> Result<()> {
    let ctx = drive.claim.ctx.clone();
    let unclear = |reason: String| Finished {
        step: step.id,
        ending: Ending::Unclear(reason),
    };
    let mut tried = step.tried()?.into_iter();
    let known = tried.rfind(|tried| !tried.undo);
    let known = known.map_or(0, |tried| tried.attempt);
    let lost = step.attempt.saturating_sub(known);
    if lost >= MAX_LOST {
        let reason = format!(
            "it was begun {lost} times and Headroom stopped each time before it ended; look on the target, then retry it or mark it done"
        );
        return drive.finish(unclear(reason)).await;
    }
    let asks = actions::parse(ctx.kinds, &step.kind, &step.settings)
        .is_ok_and(|action| action.recovery() == Recovery::AskAPerson);
    if asks {
        return drive.finish(unclear(effects::why_ask(step))).await;
    }
    let Journal { run, steps, .. } = &drive.journal;
    let begin = run.cancel_requested_by.is_none() && !steps.iter().any(halts);
    let prepared = match effects::prepare(&ctx, run, steps, step).await {
        Ok(prepared) => prepared,
        Err(cause) => {
            let reason = format!(
                "it was under way when Headroom stopped, and cannot be gone on with: {cause}"
            );
            return drive.finish(unclear(reason)).await;
        }
    };
    let line = format!(
        "{}: was under way when an earlier worker stopped",
        step.name
    );
    let change = StepChange {
        attempt: Some(step.attempt + 1),
        ..StepChange::default()
    };
    drive.change(step, change, line).await?;
    let token = step.token.clone().unwrap_or_else(effects::new_token);
    let attempt = effects::attempt(&drive.claim, step, &prepared, &token, &drive.cancelled());
    let effect = effects::resume(ctx, step.clone(), prepared, attempt, begin);
    drive.launch(step.id, Box::pin(effect));
    Ok(())
}

/// A step after which nothing new is begun.
fn halts(step: &StepRun) -> bool {
    use StepState::{Failed, Skipped, UndoFailed, Undoing, Undone};
    [Failed, Skipped, Undoing, Undone, UndoFailed].contains(&step.state)
}
