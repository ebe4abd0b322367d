//! What stands in the way of acting, and who may take it away: holds, the stop of all acting, breakers.

use chrono::Utc;

use crate::actions::plan::Plan;
use crate::actions::{KINDS, breaker};
use crate::app::App;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::hold::{self, Hold};
use crate::models::{HoldId, HoldScope, Role, to_ms};
use crate::web::auth::Caller;
use crate::web::commands::bounded;

/// All acting is stopped.
///
/// # Errors
/// It is so, or the database fails.
pub fn refuse_any(conn: &mut Connection, now_ms: i64) -> Result<()> {
    match Hold::stop(conn, now_ms)? {
        Some(stop) => Err(Error::Conflict(format!(
            "All acting is {}. Nothing was started.",
            stop.stopped()
        ))),
        None => Ok(()),
    }
}

/// The breaker of the cluster is open, or it has launched as often as it may.
///
/// # Errors
/// It is so, or the database fails.
pub fn refuse_launch(conn: &mut Connection, plan: &Plan, now_ms: i64) -> Result<()> {
    let (Some(cluster), true) = (plan.run.cluster_id, plan.launches()) else {
        return Ok(());
    };
    match breaker::refusal(conn, KINDS, cluster, now_ms)? {
        Some(why) => Err(Error::Conflict(format!("{why}. Nothing was started."))),
        None => Ok(()),
    }
}

/// Closes the breaker of a cluster: it may launch again.
///
/// # Errors
/// It is closed already, no reason is given, there is no such cluster, or the database fails.
pub async fn close_breaker(
    app: &App,
    caller: &Caller,
    cluster: String,
    reason: Option<String>,
) -> Result<()> {
    let reason = bounded(reason)?;
    let (caller, now_ms) = (caller.clone(), to_ms(Utc::now()));
    let close = move |conn: &mut Connection| {
        let who = (caller.name.as_str(), caller.via, reason.as_str());
        breaker::close(conn, &cluster, who, now_ms)
    };
    app.db.write(close).await.map(drop)
}

/// Begins a hold; one that stops all acting is for admins.
///
/// # Errors
/// The thing does not exist, no reason is given, the end is not ahead, it is stopped already, or the database fails.
pub async fn begin_hold(app: &App, caller: &Caller, request: hold::Request) -> Result<Hold> {
    admins_stop(caller, request.scope)?;
    let (via, now_ms) = (caller.via, to_ms(Utc::now()));
    let begin = move |conn: &mut Connection| {
        if request.scope == HoldScope::Stop
            && let Some(stop) = Hold::stop(conn, now_ms)?
        {
            return Err(Error::Conflict(format!(
                "all acting is {} already",
                stop.stopped()
            )));
        }
        hold::begin(conn, &request, via, now_ms)
    };
    app.db.write(begin).await
}

/// Ends a hold before its time; one that stops all acting is for admins.
///
/// # Errors
/// There is no such hold, it is over already, or the database fails.
pub async fn lift_hold(app: &App, caller: &Caller, id: HoldId) -> Result<Hold> {
    let (caller, now_ms) = (caller.clone(), to_ms(Utc::now()));
    let lift = move |conn: &mut Connection| {
        admins_stop(&caller, Hold::find(conn, id)?.scope)?;
        hold::lift(conn, id, &caller.name, caller.via, now_ms)
    };
    app.db.write(lift).await
}

fn admins_stop(caller: &Caller, scope: HoldScope) -> Result<()> {
    if scope == HoldScope::Stop && !caller.may(Role::Admin) {
        let why = "Stopping all acting, and lifting that, needs the role admin; an operator can hold everything.";
        return Err(Error::Forbidden(why.into()));
    }
    Ok(())
}
