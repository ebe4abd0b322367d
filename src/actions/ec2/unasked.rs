//! Reaping that nobody asked for. Bounded, since to a database that is not what it seems (restored, copied) every machine is an orphan.

use super::inspect::Look;
use super::settle::{self, Settler};
use crate::db::{Connection, Db};
use crate::error::{Error, Result};
use crate::models::finding::Finding;
use crate::models::step_run::StepRun;
use crate::models::{FindingKind, RunId, Via};

/// More orphans than this at once are no accidents of single launches: something is wrong that a person must see.
const MOST_ORPHANS: usize = 3;
/// After a run that was to reap an instance, no other is begun by itself for so long: what refused it, a protection say, will do so again.
const PAUSE_MS: i64 = 24 * 60 * 60 * 1_000;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unasked {
    /// There is nothing to reap, or not yet.
    Nothing,
    /// A run was inserted, which a worker must be woken for.
    Begun(RunId),
    /// It leaves all of it to a person; why.
    LeftAlone(String),
}

/// Begins a run for one orphan of this look that was found so long ago: one per look, and only of what Headroom knows that it launched.
///
/// # Errors
/// The database fails.
pub async fn reap_one(db: &Db, look: &Look, after_ms: i64, now_ms: i64) -> Result<Unasked> {
    let orphans = look.orphans.clone();
    let begin = move |conn: &mut Connection| {
        let mut findings = Finding::all(conn)?;
        findings.retain(|finding| {
            finding.kind == FindingKind::Orphan
                && orphans
                    .iter()
                    .any(|orphan| finding.instance_id.as_ref() == Some(&orphan.instance_id))
        });
        if orphans.len() > MOST_ORPHANS {
            let why = format!(
                "{} orphans were found at once, so none is reaped by itself: adopt or reap each on the page Instances",
                orphans.len()
            );
            for finding in &findings {
                say(conn, finding, &why)?;
            }
            return Ok(Unasked::LeftAlone(why));
        }
        let settler = Settler {
            actor: "headroom".into(),
            via: Via::System,
            now_ms,
        };
        for finding in findings {
            let known = |id: &String| {
                orphans
                    .iter()
                    .any(|it| it.instance_id == *id && it.is_known)
            };
            let ripe = now_ms.saturating_sub(finding.first_seen_ms) >= after_ms;
            let Some(instance) = finding.instance_id.clone().filter(known).filter(|_| ripe) else {
                continue;
            };
            let last_ms = StepRun::last_asked_ms(conn, &settle::reaping(&instance))?;
            if last_ms.is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < PAUSE_MS) {
                let why = "a run was to reap it within the last 24 h, so none is begun by itself";
                say(conn, &finding, why)?;
                continue;
            }
            match settle::reap(conn, finding.id, &settler) {
                Ok(plan) => return Ok(Unasked::Begun(plan.insert(conn)?.0.id)),
                // Another run is at it, or its profile is gone.
                Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(Unasked::Nothing)
    };
    db.write(begin).await
}

fn say(conn: &mut Connection, finding: &Finding, why: &str) -> Result<()> {
    Finding::say(conn, finding.id, &format!("{}; {why}", finding.detail))
}
