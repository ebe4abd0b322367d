//! `/runs`: what was done and is being done, by state, the latest first.

use actix_web::web::Query;
use askama::Template;
use serde::Deserialize;

use crate::models::run::Run;
use crate::models::{Origin, RunId, RunState};
use crate::web::error::Answer;
use crate::web::pages::{Layout, Nav, Visit};
use crate::web::view::{Badge, Moment, count, duration};

/// Rows of a page.
const ROWS: i64 = 50;

/// A run in one line.
pub struct RunLine {
    /// Its number.
    pub id: RunId,
    /// Its state.
    pub badge: Badge,
    /// What was run.
    pub what: String,
    /// On which cluster.
    pub cluster: String,
    /// Why.
    pub why: String,
    /// How long it took, or has taken so far.
    pub took: String,
    /// When it was asked for.
    pub at: Moment,
}

impl RunLine {
    /// A run as seen at `now_ms`.
    pub fn of(run: &Run, now_ms: i64) -> Self {
        let what = match (&run.trigger_name, run.origin) {
            (Some(trigger), _) => format!("trigger {trigger}"),
            (None, Origin::Action) => "single action".to_owned(),
            (None, _) => "trigger".to_owned(),
        };
        Self {
            id: run.id,
            badge: run.state.into(),
            what,
            cluster: run.cluster_name.clone().unwrap_or_default(),
            why: match run.origin {
                Origin::Firing => run.reason.clone(),
                Origin::Trigger | Origin::Action => why(&run.requested_by, &run.reason),
            },
            took: took(run, now_ms),
            at: Moment::new(run.created_ms, now_ms),
        }
    }
}

fn why(by: &str, reason: &str) -> String {
    if reason.is_empty() {
        format!("asked for by {by}")
    } else {
        format!("{reason} ({by})")
    }
}

/// How long a run took, or has taken so far.
pub fn took(run: &Run, now_ms: i64) -> String {
    run.started_ms.map_or_else(String::new, |started_ms| {
        let end_ms = run.finished_ms.unwrap_or(now_ms);
        duration(end_ms.saturating_sub(started_ms) / 1000)
    })
}

/// A tab: some states together.
struct Tab {
    key: &'static str,
    label: &'static str,
    states: &'static [RunState],
    /// Whether a number here asks for a person.
    calls: bool,
}

const TABS: [Tab; 7] = [
    tab("", "All", &[]),
    tab("open", "Open", &[RunState::Queued, RunState::Running]),
    Tab {
        calls: true,
        ..tab("waiting", "Waiting", &[RunState::Waiting])
    },
    Tab {
        calls: true,
        ..tab("stuck", "Stuck", &[RunState::Stuck])
    },
    tab("failed", "Failed", &[RunState::Failed, RunState::Undone]),
    tab("succeeded", "Succeeded", &[RunState::Succeeded]),
    tab("cancelled", "Cancelled", &[RunState::Cancelled]),
];

const fn tab(key: &'static str, label: &'static str, states: &'static [RunState]) -> Tab {
    Tab {
        key,
        label,
        states,
        calls: false,
    }
}

/// A tab as it is shown.
struct TabLine {
    label: &'static str,
    href: String,
    here: bool,
    count: String,
    calls: bool,
}

#[derive(Template)]
#[template(path = "runs.html")]
struct RunsPage {
    layout: Layout,
    tabs: Vec<TabLine>,
    runs: Vec<RunLine>,
    filtered: bool,
    older: Option<String>,
    newest: Option<String>,
}

/// What the address asks for.
#[derive(Deserialize)]
pub struct Wish {
    #[serde(default)]
    state: String,
    before: Option<i64>,
}

/// `GET /runs`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit, wish: Query<Wish>) -> Answer {
    let layout = visit.layout(Nav::Runs, "Runs").await?;
    let chosen = TABS.iter().find(|tab| tab.key == wish.state);
    let (key, states) = chosen.map_or(("", &[][..]), |tab| (tab.key, tab.states));
    let before = wish.before.map(RunId);
    let (mut rows, counts) = visit
        .app
        .db
        .read(move |conn| {
            Ok((
                Run::page(conn, states, before, ROWS + 1)?,
                Run::count_by_state(conn)?,
            ))
        })
        .await?;
    let page_size = usize::try_from(ROWS).unwrap_or(usize::MAX);
    let more = rows.len() > page_size;
    rows.truncate(page_size);
    let path = |before: Option<RunId>| match before {
        Some(before) => format!("/runs?state={key}&before={before}"),
        None => format!("/runs?state={key}"),
    };
    visit.show(&RunsPage {
        tabs: TABS.iter().map(|tab| line(tab, key, &counts)).collect(),
        older: rows.last().filter(|_| more).map(|last| path(Some(last.id))),
        newest: before.map(|_| path(None)),
        filtered: !key.is_empty() || before.is_some(),
        runs: rows
            .iter()
            .map(|run| RunLine::of(run, visit.now_ms))
            .collect(),
        layout,
    })
}

fn line(tab: &Tab, chosen: &str, counts: &[(RunState, i64)]) -> TabLine {
    let total: i64 = counts
        .iter()
        .filter(|(state, _)| tab.states.is_empty() || tab.states.contains(state))
        .map(|(_, count)| count)
        .sum();
    TabLine {
        label: tab.label,
        href: if tab.key.is_empty() {
            "/runs".to_owned()
        } else {
            format!("/runs?state={}", tab.key)
        },
        here: tab.key == chosen,
        count: count(total),
        calls: tab.calls && total > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_tab() {
        for state in RunState::ALL {
            let tabs = TABS.iter().filter(|tab| tab.states.contains(state));
            assert_eq!(tabs.count(), 1, "{state}");
        }
    }
}
