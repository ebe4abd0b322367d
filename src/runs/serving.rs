//! Launches whose nodes serve: they are not taken back but removed.

use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{StepState, node_claim};

/// Why a launch is not taken back any more: its run is over and its node is there. An undo terminates at once; what serves is drained first,
/// and asks whether the cluster can do without it, which is the work of a removal.
///
/// # Errors
/// The database fails.
pub fn serves(conn: &mut Connection, run: &Run, step: &StepRun) -> Result<Option<String>> {
    let (true, StepState::Succeeded, Some(token)) =
        (run.state.is_over(), step.state, step.token.as_deref())
    else {
        return Ok(None);
    };
    Ok(node_claim::node_of(conn, token)?.map(|node| {
        format!(
            "{0} is {1} since then, and an undo would terminate it at once, without a drain and whatever min_nodes says; remove it with a RemoveEc2Node on {0} instead",
            node.name, node.state
        )
    }))
}

/// Refuses what [`serves`] says.
///
/// # Errors
/// `Conflict` with the reason, or the database fails.
pub(super) fn refuse_serving(conn: &mut Connection, run: &Run, step: &StepRun) -> Result<()> {
    serves(conn, run, step)?.map_or(Ok(()), |why| Err(Error::Conflict(why)))
}
