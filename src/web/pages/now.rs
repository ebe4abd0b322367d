//! What is wrong now, what is about to happen and how Headroom itself does: made at most once a second, however many pages ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::app::App;
use crate::db::Connection;
use crate::error::Result;
use crate::models::breaker::Breaker;
use crate::models::decision::Decision;
use crate::models::finding::Finding;
use crate::models::hold::Hold;
use crate::models::host_key::HostKey;
use crate::models::node::Node;
use crate::models::run::Run;
use crate::models::ssh_profile::SshProfile;
use crate::models::step_run::StepRun;
use crate::models::task::Task;
use crate::models::worker::Worker;
use crate::models::{HoldScope, NodeId, RunState, SshProfileId, TriggerId};
use crate::samples::SeriesState;
use crate::web::pages::inventory::{Inventory, Series};
use crate::web::pages::standing::{self, Standing};
use crate::web::pages::{lines, soon, wrong};
use crate::web::view::{Badge, Status};

/// Pages that ask within this time share an answer.
const KEEP_MS: i64 = 1_000;

/// Something a person should know, in a sentence, with the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// How it stands.
    pub badge: Badge,
    /// What it is about.
    pub subject: String,
    /// Where to look.
    pub href: String,
    /// Why, or what will happen.
    pub text: String,
    /// Since when, or when, ms.
    pub at_ms: Option<i64>,
}

/// Everything as it was read at one moment.
#[derive(Debug, Default)]
pub struct Gathered {
    /// When, ms.
    pub now_ms: i64,
    /// Length of a tick, ms.
    pub tick_ms: i64,
    /// The definitions.
    pub inventory: Inventory,
    /// What is read.
    pub series: Vec<Series>,
    /// What was last read, in the order of `series`.
    pub states: Vec<Option<SeriesState>>,
    /// Why the samples could not be read.
    pub store_fault: Option<String>,
    /// The latest decision about each trigger.
    pub latest: BTreeMap<TriggerId, Decision>,
    /// Runs that are not at an end, and stuck ones.
    pub open: Vec<Run>,
    /// Steps of the open runs.
    pub steps: Vec<StepRun>,
    /// How many runs are in each state.
    pub by_state: Vec<(RunState, i64)>,
    /// Processes.
    pub workers: Vec<Worker>,
    /// Periodic tasks.
    pub tasks: Vec<Task>,
    /// Where EC2 and the nodes disagree.
    pub findings: Vec<Finding>,
    /// What keeps clusters from launching.
    pub breakers: Vec<Breaker>,
    /// Host keys that changed and wait for a person.
    pub offered: Vec<HostKey>,
    /// The jump hosts that profiles go through.
    pub ways: BTreeMap<SshProfileId, String>,
}

impl Gathered {
    fn read(conn: &mut Connection, now_ms: i64, tick_ms: i64) -> Result<Self> {
        let inventory = Inventory::load(conn, now_ms)?;
        let open = Run::open(conn)?;
        let ids: Vec<_> = open.iter().map(|run| run.id).collect();
        let latest = Decision::latest(conn)?;
        Ok(Self {
            now_ms,
            tick_ms,
            series: inventory.series(&inventory.nodes),
            inventory,
            latest: latest
                .into_iter()
                .filter_map(|(trigger, decision)| Some((trigger, decision?)))
                .collect(),
            steps: StepRun::of_runs(conn, &ids)?,
            open,
            by_state: Run::count_by_state(conn)?,
            workers: Worker::all(conn)?,
            tasks: Task::all(conn)?,
            findings: Finding::all(conn)?,
            breakers: Breaker::all(conn)?,
            offered: HostKey::offered(conn)?,
            ways: SshProfile::all(conn)?
                .into_iter()
                .map(|profile| (profile.id, profile.through()))
                .collect(),
            ..Self::default()
        })
    }

    /// How every series stands, in the order of `series`.
    pub fn standings(&self) -> Vec<Standing> {
        let rhythms = self.inventory.rhythms(self.tick_ms);
        let states = self.states.iter().map(Option::as_ref);
        let states = states.chain(std::iter::repeat(None));
        let stands = |(series, state): (&Series, Option<&SeriesState>)| {
            rhythms.standing(series, state, self.now_ms)
        };
        self.series.iter().zip(states).map(stands).collect()
    }

    /// How each node stands, by the statuses of its series.
    pub fn node_badges(&self, standings: &[Standing]) -> BTreeMap<NodeId, Badge> {
        let mut of: BTreeMap<NodeId, Vec<Status>> = BTreeMap::new();
        for (series, standing) in self.series.iter().zip(standings) {
            of.entry(series.node)
                .or_default()
                .push(standing.badge.status);
        }
        let badge = |node: &Node| {
            let series = of.remove(&node.id).unwrap_or_default();
            let held = self.inventory.is_held(node);
            (node.id, standing::node(node.state, held, series))
        };
        self.inventory.nodes.iter().map(badge).collect()
    }

    /// How many runs are in a state.
    pub fn runs_in(&self, state: RunState) -> usize {
        let found = self.by_state.iter().find(|(known, _)| *known == state);
        found.map_or(0, |(_, count)| usize::try_from(*count).unwrap_or(0))
    }
}

/// What every page tells of the whole.
#[derive(Debug, Default)]
pub struct Now {
    /// When it was made, ms.
    pub at_ms: i64,
    /// What is wrong, the worst first.
    pub wrong: Vec<Item>,
    /// What is about to happen, the next first.
    pub soon: Vec<Item>,
    /// One line per cluster, the worst first.
    pub clusters: Vec<lines::ClusterLine>,
    /// Nodes in service, and how many of them are fresh.
    pub nodes: usize,
    /// Nodes in service all of whose series answer.
    pub answering: usize,
    /// Series that are read.
    pub series: usize,
    /// Series over their threshold.
    pub breaching: usize,
    /// Runs that wait for a worker.
    pub queued: usize,
    /// Runs under way.
    pub running: usize,
    /// Runs that wait for a person's approval.
    pub waiting: usize,
    /// Runs that wait for a person.
    pub stuck: usize,
    /// Where EC2 and the nodes disagree.
    pub findings: usize,
    /// Active holds.
    pub holds: usize,
    /// Who stopped all acting and why, if so.
    pub stop: Option<String>,
    /// Triggers.
    pub triggers: usize,
    /// Why the samples could not be read.
    pub store_fault: Option<String>,
    /// When the last tick began, ms.
    pub last_tick_ms: Option<i64>,
}

impl Now {
    /// Puts together what was gathered.
    pub fn of(gathered: &Gathered) -> Self {
        let standings = gathered.standings();
        let badges = gathered.node_badges(&standings);
        let in_service = |badge: &&Badge| !["draining", "provisioning"].contains(&&*badge.word);
        let silent = |badge: &&Badge| badge.status == Status::NoData;
        let nodes = badges.values().filter(in_service).count();
        let breaching =
            |it: &&Standing| matches!(it.badge.status, Status::Pending | Status::Firing);
        Self {
            at_ms: gathered.now_ms,
            wrong: wrong::items(gathered, &standings, &badges),
            soon: soon::items(gathered),
            clusters: lines::clusters(gathered, &badges),
            nodes,
            answering: nodes - badges.values().filter(in_service).filter(silent).count(),
            series: gathered.series.len(),
            breaching: standings.iter().filter(breaching).count(),
            queued: gathered.runs_in(RunState::Queued),
            running: gathered.runs_in(RunState::Running),
            waiting: gathered.runs_in(RunState::Waiting),
            stuck: gathered.runs_in(RunState::Stuck),
            findings: gathered.findings.len(),
            holds: gathered.inventory.holds.len(),
            stop: gathered
                .inventory
                .holds
                .iter()
                .find(|hold| hold.scope == HoldScope::Stop)
                .map(Hold::stopped),
            triggers: gathered.inventory.triggers.len(),
            store_fault: gathered.store_fault.clone(),
            last_tick_ms: gathered
                .tasks
                .iter()
                .find(|task| task.name == crate::jobs::schedule::TICK.name)
                .and_then(|task| task.started_ms),
        }
    }

    /// Whether nothing is defined yet.
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }
}

/// Keeps the last answer for a moment.
#[derive(Debug, Default)]
pub struct Watch {
    kept: Mutex<Option<Arc<Now>>>,
}

impl Watch {
    /// What is so now. Whoever asks while another computes waits for that answer instead of computing the same.
    ///
    /// # Errors
    /// The database fails. A store that fails is told as something that is wrong.
    pub async fn now(&self, app: &App, now_ms: i64) -> Result<Arc<Now>> {
        let mut kept = self.kept.lock().await;
        if let Some(now) = kept.as_ref()
            && (0..KEEP_MS).contains(&now_ms.saturating_sub(now.at_ms))
        {
            return Ok(now.clone());
        }
        let now = Arc::new(Now::of(&gather(app, now_ms).await?));
        *kept = Some(now.clone());
        Ok(now)
    }

    /// Makes the next page look anew: something was just changed.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
    }
}

async fn gather(app: &App, now_ms: i64) -> Result<Gathered> {
    let tick_ms = app.config.sampling.tick_secs().saturating_mul(1000);
    let mut gathered = app
        .db
        .read(move |conn| Gathered::read(conn, now_ms, tick_ms))
        .await?;
    let keys: Vec<_> = gathered.series.iter().map(|series| series.key).collect();
    match app.store.states(&keys).await {
        Ok(states) => gathered.states = states,
        Err(cause) => gathered.store_fault = Some(cause.to_string()),
    }
    Ok(gathered)
}
