//! Which step of a run scales a service, by the step's token. It holds while that step is under way.

use diesel::prelude::*;

use crate::db::Connection;
use crate::error::Result;
use crate::models::{RunId, RunState, StepState};
use crate::schema::{runs, service_claims, step_runs};

/// Takes a service for the step of a token; the run of another step that is scaling it, where there is one. Belongs in a write transaction.
///
/// # Errors
/// The database fails.
pub fn take(
    conn: &mut Connection,
    service: &str,
    run: RunId,
    token: &str,
) -> Result<Option<RunId>> {
    let insert = diesel::insert_into(service_claims::table)
        .values((
            service_claims::service.eq(service),
            service_claims::token.eq(token),
        ))
        .on_conflict_do_nothing();
    // On each database by itself: what both have in common cannot say "unless".
    match conn {
        Connection::Sqlite(conn) => insert.execute(conn)?,
        Connection::Postgres(conn) => insert.execute(conn)?,
    };
    // Both databases lock what they write: of two that try, the second sees what the first has done.
    let row = service_claims::table.filter(service_claims::service.eq(service));
    let holder: String = diesel::update(row)
        .set(service_claims::token.eq(service_claims::token))
        .returning(service_claims::token)
        .get_result(conn)?;
    if holder == token {
        return Ok(None);
    }
    // The undos of one run are driven one at a time, though all of them have begun.
    let other = at_work(conn, &holder)?;
    if let Some((other, _)) = other.filter(|found| *found != (run, StepState::Undoing)) {
        return Ok(Some(other));
    }
    diesel::update(row)
        .set(service_claims::token.eq(token))
        .execute(conn)?;
    Ok(None)
}

/// The run of the step that is scaling a service.
///
/// # Errors
/// The database fails.
pub fn under_way(conn: &mut Connection, service: &str) -> Result<Option<RunId>> {
    let holder = service_claims::table
        .filter(service_claims::service.eq(service))
        .select(service_claims::token)
        .first::<String>(conn)
        .optional()?;
    let step = holder.map(|token| at_work(conn, &token)).transpose()?;
    Ok(step.flatten().map(|(run, _)| run))
}

/// The step of a token if it may act. What a stuck run has left is for a person to judge; when they have it go on, it takes the service again.
fn at_work(conn: &mut Connection, token: &str) -> Result<Option<(RunId, StepState)>> {
    Ok(step_runs::table
        .inner_join(runs::table)
        .filter(step_runs::token.eq(token))
        .filter(step_runs::state.eq_any([StepState::Started, StepState::Undoing]))
        .filter(runs::state.ne(RunState::Stuck))
        .select((step_runs::run_id, step_runs::state))
        .first(conn)
        .optional()?)
}
