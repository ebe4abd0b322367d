//! A database, a cluster of nodes that are this machine, and an engine on top of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use headroom::actions::plan::plan_trigger;
use headroom::actions::{
    self, Action, Attempt, Cloud, Effect, Facts, Fields, Found, Host, HostRequest, Hosts, Kind,
    Nodes, Outcome, Outputs, Pace, Recovery, Report, Scope, Settings, Tools,
};
use headroom::clients::mail::Mailer;
use headroom::clients::ssh::{Credentials, Options, Ssh};
use headroom::clients::{ExecOutput, command};
use headroom::collectors::RememberedKeys;
use headroom::config::{Tooling, Zabbix, ZabbixLogin};
use headroom::db::{Connection, Db};
use headroom::error::{Error, Result};
use headroom::models::action::{Action as ActionRow, NewAction};
use headroom::models::cluster::{Cluster, NewCluster};
use headroom::models::node::{NewNode, Node, OWN_HOST};
use headroom::models::run::Run;
use headroom::models::run_event::RunEvent;
use headroom::models::step::{NewStep, Step};
use headroom::models::step_run::{StepChange, StepRun};
use headroom::models::trigger::{NewTrigger, Trigger};
use headroom::models::{OnFailure, Origin, RunId, RunState, StepRunId, StepState, StepTarget};
use headroom::runs::{Context, Pauses, execute};
use headroom::samples::Store;
use headroom::vault::Vault;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

/// The real kinds, and one whose effects can be undone and looked up.
pub const KINDS: &[Kind] = &{
    let mut kinds = [Kind::of::<Probe>("Probe"); actions::KINDS.len() + 1];
    let mut at = 0;
    while at < actions::KINDS.len() {
        kinds[at] = actions::KINDS[at];
        at += 1;
    }
    kinds
};

/// What an engine works with beside its database; a process that is to be killed gets it as JSON.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Gear {
    /// Where mail goes.
    pub smtp: Option<String>,
    /// Whether nodes are reached over SSH, and not this machine.
    pub ssh: bool,
    pub fab: Option<PathBuf>,
    pub compose: Option<PathBuf>,
    /// The front end of a Zabbix.
    pub zabbix: Option<String>,
}

impl Gear {
    pub fn tools(&self, db: &Db, folder: &Path) -> Tools {
        let vault = Vault::open(&folder.join("master.key")).unwrap();
        let hosts: Arc<dyn Hosts> = if self.ssh {
            let keys = Arc::new(RememberedKeys::new(db.clone()));
            let ssh = Ssh::new(Options::default(), keys).unwrap();
            Arc::new(Nodes::new(db.clone(), vault.clone(), ssh, true))
        } else {
            Arc::new(Here)
        };
        let smtp = self.smtp.clone().map(SecretString::from);
        let from = smtp.is_some().then_some("Headroom <headroom@example.org>");
        let mut tooling = Tooling::new(&folder.join("data"));
        tooling.docker_compose.clone_from(&self.compose);
        if let Some(fab) = &self.fab {
            tooling.fab.clone_from(fab);
        }
        tooling.zabbix = self.zabbix.clone().map(|url| Zabbix {
            url,
            login: ZabbixLogin::Password {
                user: "Admin".into(),
                password: "zabbix".to_owned().into(),
            },
            ca_file: None,
        });
        Tools {
            db: db.clone(),
            hosts,
            mailer: Mailer::new(smtp.as_ref(), from).unwrap(),
            vault,
            tooling,
            cloud: cloud(db, folder),
        }
    }
}

/// A step to be planned.
pub struct Planned {
    name: &'static str,
    kind: &'static str,
    settings: Value,
    target: StepTarget,
    timeout_secs: i64,
    depends_on: Option<&'static [&'static str]>,
    approval_secs: Option<i64>,
    retries: Option<i32>,
}

impl Planned {
    pub fn new(name: &'static str, kind: &'static str, settings: Value) -> Self {
        let on_none = headroom::actions::refuse_target(kind, StepTarget::None).is_none();
        let target = if on_none || kind == "Probe" {
            StepTarget::None
        } else {
            StepTarget::LastNode
        };
        Self {
            name,
            kind,
            settings,
            target,
            timeout_secs: 60,
            depends_on: None,
            approval_secs: None,
            retries: None,
        }
    }

    /// It is tried again so often at most.
    pub fn retried(self, retries: i32) -> Self {
        Self {
            retries: Some(retries),
            ..self
        }
    }

    /// It needs approval within so many seconds.
    pub fn approved_within(self, secs: i64) -> Self {
        Self {
            approval_secs: Some(secs),
            ..self
        }
    }

    /// A script on one node.
    pub fn script(name: &'static str, script: impl Into<String>) -> Self {
        Self::new(name, "LocalScript", json!({ "script": script.into() }))
    }

    pub fn on(self, target: StepTarget) -> Self {
        Self { target, ..self }
    }

    pub fn within(self, timeout_secs: i64) -> Self {
        Self {
            timeout_secs,
            ..self
        }
    }

    pub fn after(self, names: &'static [&'static str]) -> Self {
        Self {
            depends_on: Some(names),
            ..self
        }
    }
}

/// Everything an engine needs.
pub struct Lab {
    pub db: Db,
    pub ctx: Context,
    pub stop: watch::Sender<bool>,
    pub gear: Gear,
    /// Goes last: whatever has a file open in it would make it anew.
    pub folder: TempDir,
}

impl Lab {
    /// A lab with one node, `n1`, in the cluster `web`.
    pub fn new() -> Self {
        Self::with_mail(Mailer::new(None, None).unwrap())
    }

    pub fn with_mail(mailer: Mailer) -> Self {
        let folder = TempDir::with_prefix("headroom-runs-").unwrap();
        let url = format!("sqlite://{}", folder.path().join("headroom.db").display());
        Self::on(folder, &url, mailer)
    }

    /// A lab on a database of the caller's.
    pub fn on(folder: TempDir, url: &str, mailer: Mailer) -> Self {
        let db = Db::open(url).unwrap();
        let (stop, stopped) = watch::channel(false);
        let ctx = context(folder.path(), &db, "worker-a", mailer, stopped);
        let lab = Self {
            folder,
            db,
            ctx,
            stop,
            gear: Gear::default(),
        };
        lab.write(|conn| {
            Cluster::insert(
                conn,
                &NewCluster {
                    max_failed_launches: 0,
                    ..NewCluster::named("web", 0)
                },
            )
        });
        lab.add_node("n1", 1);
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The lines of a file that scripts append to.
    pub fn lines(&self, name: &str) -> Vec<String> {
        lines(&self.path(name))
    }

    pub fn write<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> T {
        self.db.write_blocking(work).unwrap()
    }

    pub fn add_node(&self, name: &str, created_ms: i64) {
        self.write(|conn| {
            let cluster = Cluster::by_name(conn, "web")?;
            Node::insert(conn, &new_node(name, &cluster, created_ms))
        });
    }

    pub fn remove_node(&self, name: &str) {
        self.write(|conn| {
            let node = Node::by_name(conn, name)?;
            Node::delete(conn, node.id)
        });
    }

    /// Inserts a run of these steps, by way of a trigger.
    pub fn plan(&self, on_failure: OnFailure, steps: &[Planned]) -> RunId {
        let trigger = self.trigger(on_failure, steps);
        self.write(|conn| {
            let plan = plan_trigger(conn, &trigger, Origin::Firing, "trigger", "load is high", 7)?;
            Ok(plan.insert(conn)?.0.id)
        })
    }

    pub fn trigger(&self, on_failure: OnFailure, steps: &[Planned]) -> Trigger {
        self.write(|conn| {
            let cluster = Cluster::by_name(conn, "web")?;
            let count = Trigger::all(conn)?.len();
            let trigger = Trigger::insert(conn, &new_trigger(&cluster, count, on_failure))?;
            let mut rows = Vec::new();
            for (step, position) in steps.iter().zip(1..) {
                let action = ActionRow::insert(
                    conn,
                    &NewAction {
                        name: format!("{}-{count}", step.name),
                        kind: step.kind.into(),
                        settings: step.settings.to_string(),
                        timeout_secs: Some(step.timeout_secs),
                        retries: step.retries,
                        updated_ms: 0,
                    },
                )?;
                rows.push(NewStep {
                    trigger_id: trigger.id,
                    position,
                    name: step.name.into(),
                    action_id: action.id,
                    target: step.target,
                    depends_on: step.depends_on.map(|names| json!(names).to_string()),
                    approval_secs: step.approval_secs,
                });
            }
            Step::replace_all(conn, trigger.id, &rows)?;
            Ok(trigger)
        })
    }

    /// Drives a run and tells its state.
    pub async fn drive(&self, run: RunId) -> RunState {
        execute::drive(&self.ctx, run).await.unwrap();
        self.run(run).state
    }

    /// Leaves a step as a crash does: announced, with nothing known of its outcome.
    pub fn announce(&self, run: RunId, name: &str) {
        let step = self.step(run, name);
        let change = StepChange {
            state: Some(StepState::Started),
            token: Some(Some("headroom-token".into())),
            attempt: Some(1),
            target_name: (step.target == StepTarget::LastNode).then(|| "web01".into()),
            ..StepChange::default()
        };
        self.write(|conn| StepRun::change(conn, step.id, &[StepState::Planned], &change));
    }

    pub fn run(&self, run: RunId) -> Run {
        self.write(|conn| Run::find(conn, run))
    }

    pub fn steps(&self, run: RunId) -> Vec<StepRun> {
        self.write(|conn| StepRun::of_run(conn, run))
    }

    pub fn step(&self, run: RunId, name: &str) -> StepRun {
        let mut steps = self.steps(run).into_iter();
        steps.find(|step| step.name == name).unwrap()
    }

    pub fn states(&self, run: RunId) -> Vec<StepState> {
        self.steps(run).iter().map(|step| step.state).collect()
    }

    pub fn error(&self, run: RunId, name: &str) -> String {
        self.step(run, name).error.unwrap_or_default()
    }

    pub fn report(&self, run: RunId, name: &str) -> Report {
        Report::parse(&self.step(run, name).report)
    }

    pub fn output(&self, run: RunId, name: &str, output: &str) -> Value {
        let outputs: Value = serde_json::from_str(&self.step(run, name).outputs).unwrap();
        outputs[output].clone()
    }

    pub fn log(&self, run: RunId) -> Vec<String> {
        let events = self.write(|conn| RunEvent::of_run(conn, run));
        events.into_iter().map(|event| event.message).collect()
    }

    /// The same lab with real tools, for its own engine and for the processes that are killed.
    pub fn with_gear(mut self, gear: Gear) -> Self {
        self.ctx.tools = Arc::new(gear.tools(&self.db, self.folder.path()));
        self.gear = gear;
        self
    }

    /// Has the engine reach nodes as Headroom does: over SSH, or here.
    pub fn with_nodes(self, allow_local: bool) -> Self {
        let tooling = Tooling::new(&self.path("data"));
        self.with_tooling(allow_local, tooling)
    }

    /// As [`Lab::with_nodes`], with programs and folders of the test's own.
    pub fn with_tooling(mut self, allow_local: bool, tooling: Tooling) -> Self {
        let keys = Arc::new(RememberedKeys::new(self.db.clone()));
        let ssh = Ssh::new(Options::default(), keys).unwrap();
        let vault = Vault::open(&self.path("master.key")).unwrap();
        let hosts = Nodes::new(self.db.clone(), vault.clone(), ssh, allow_local);
        let mailer = Mailer::new(None, None).unwrap();
        self.ctx.tools = Arc::new(Tools {
            db: self.db.clone(),
            hosts: Arc::new(hosts),
            mailer,
            vault,
            tooling,
            cloud: cloud(&self.db, self.folder.path()),
        });
        self
    }

    /// The same engine with other programs.
    pub fn sharing(&self, tooling: Tooling) -> Context {
        let Tools {
            db,
            hosts,
            mailer,
            vault,
            cloud,
            ..
        } = &*self.ctx.tools;
        let tools = Tools {
            db: db.clone(),
            hosts: Arc::clone(hosts),
            mailer: mailer.clone(),
            vault: vault.clone(),
            cloud: cloud.clone(),
            tooling,
        };
        Context {
            tools: Arc::new(tools),
            ..self.ctx.clone()
        }
    }

    /// Another process with the same database.
    pub fn other_worker(&self) -> Context {
        let ctx = self.ctx.clone();
        Context {
            worker: "worker-b".into(),
            ..ctx
        }
    }
}

/// An engine with short times, whose nodes are this machine.
pub fn context(
    folder: &Path,
    db: &Db,
    worker: &str,
    mailer: Mailer,
    stop: watch::Receiver<bool>,
) -> Context {
    let tools = Tools {
        db: db.clone(),
        hosts: Arc::new(Here),
        mailer,
        vault: Vault::open(&folder.join("master.key")).unwrap(),
        tooling: Tooling::new(&folder.join("data")),
        cloud: cloud(db, folder),
    };
    let mut ctx = Context::new(Arc::new(tools), worker, stop);
    ctx.kinds = KINDS;
    ctx.beat = Duration::from_millis(20);
    ctx.pauses = Pauses {
        first: Duration::from_millis(20),
        longest: Duration::from_millis(50),
    };
    ctx
}

/// EC2 accounts, with secrets and samples in a folder.
pub fn cloud(db: &Db, folder: &Path) -> Cloud {
    let vault = Vault::open(&folder.join("master.key")).unwrap();
    let store = Store::embedded(&folder.join("samples.db")).unwrap();
    let pace = Pace {
        poll: Duration::from_millis(100),
        settle: Duration::from_millis(600),
        tick: Duration::from_mins(1),
    };
    Cloud::new(db.clone(), vault, store, pace)
}

pub fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub fn append(path: &Path, line: &str) {
    use std::io::Write as _;
    let file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path);
    writeln!(file.unwrap(), "{line}").unwrap();
}

pub fn new_node(name: &str, cluster: &Cluster, created_ms: i64) -> NewNode {
    NewNode::in_service(name, cluster.id, OWN_HOST, created_ms)
}

fn new_trigger(cluster: &Cluster, number: usize, on_failure: OnFailure) -> NewTrigger {
    NewTrigger {
        on_failure: Some(on_failure),
        ..NewTrigger::named(format!("hot-{number}"), cluster.id, 0)
    }
}

/// Runs every script on this machine.
pub struct Here;

impl Hosts for Here {
    fn run<'a>(
        &'a self,
        _host: &'a Host,
        request: &'a HostRequest,
    ) -> BoxFuture<'a, Result<ExecOutput>> {
        async move {
            let limit = request.deadline.duration_since(tokio::time::Instant::now());
            let mut cancelled = request.cancelled.clone();
            tokio::select! {
                output = command::run_script(&request.script, limit, request.max_output) => output,
                Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => Err(Error::Conflict("cancelled".into())),
            }
        }
        .boxed()
    }

    fn login<'a>(
        &'a self,
        _host: &'a Host,
        _deadline: tokio::time::Instant,
    ) -> BoxFuture<'a, Result<Credentials>> {
        async { Err(Error::Conflict("not over SSH".into())) }.boxed()
    }
}

/// A kind that makes a thing with a token, and can find it and take it away: like a cloud instance, but a file.
pub struct Probe {
    folder: PathBuf,
    recovery: Recovery,
    /// After the thing was made.
    fails: bool,
    /// So many attempts fail with a fault that passes.
    flaky: i64,
    /// They fail after the thing was made.
    after: bool,
    /// They say that nothing happened.
    harmless: bool,
    undo_fails: bool,
    /// So many attempts at taking it back fail with a fault that passes, every second one after the thing is gone.
    undo_flaky: i64,
    /// Nodes that the step adds to the cluster.
    adds: Option<String>,
}

impl Settings for Probe {
    const FACTS: Facts = Facts {
        undo: Some("Takes the thing away."),
        ..Facts::plain("Makes a thing.", &[StepTarget::None, StepTarget::Cluster])
    };

    fn read(fields: &mut Fields<'_>) -> Self {
        let mode = fields.required_text("mode");
        Self {
            folder: fields.required_text("folder").into(),
            recovery: match mode.as_str() {
                "repeat" => Recovery::Repeat,
                "ask" => Recovery::AskAPerson,
                _ => Recovery::LookUp,
            },
            fails: fields.switch("fails"),
            flaky: fields.integer("flaky", 0..=100).unwrap_or(0),
            after: fields.switch("after"),
            harmless: fields.switch("harmless"),
            undo_fails: fields.switch("undo_fails"),
            undo_flaky: fields.integer("undo_flaky", 0..=100).unwrap_or(0),
            adds: mode.strip_prefix("adds ").map(str::to_owned),
        }
    }
}

impl Action for Probe {
    fn recovery(&self) -> Recovery {
        self.recovery
    }

    fn summary(&self) -> String {
        "a thing".into()
    }

    fn html(&self) -> Result<String> {
        Ok(String::new())
    }

    fn prepare(&self, _scope: &Scope) -> Result<Box<dyn Effect>> {
        Ok(Box::new(Self {
            folder: self.folder.clone(),
            adds: self.adds.clone(),
            ..*self
        }))
    }
}

impl Probe {
    fn thing(&self, token: &str) -> PathBuf {
        self.folder.join(format!("thing-{token}"))
    }

    fn busy(&self, outputs: Outputs) -> Outcome {
        Outcome {
            outputs,
            harmless: self.harmless,
            ..Outcome::failed(Error::Upstream {
                what: "the maker is busy".into(),
                retryable: true,
            })
        }
    }

    fn outputs(token: &str) -> Outputs {
        let pairs = [("thing".to_owned(), Value::from(token))];
        pairs.into_iter().collect()
    }
}

impl Effect for Probe {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let token = &attempt.token;
            // A cloud makes no second instance for the same token; the log shows how often it was asked.
            append(&self.folder.join("asked"), token);
            let busy =
                i64::try_from(lines(&self.folder.join("asked")).len()).unwrap() <= self.flaky;
            if busy && !self.after {
                return self.busy(Outputs::new());
            }
            if !self.thing(token).exists() {
                append(&self.folder.join("made"), token);
                append(&self.thing(token), "here");
            }
            if busy {
                return self.busy(Self::outputs(token));
            }
            if let Some(name) = &self.adds {
                let name = name.clone();
                let add = move |conn: &mut Connection| {
                    let cluster = Cluster::by_name(conn, "web")?;
                    Node::insert(conn, &new_node(&name, &cluster, 1_000_000))
                };
                attempt.tools.db.write(add).await.unwrap();
            }
            Outcome {
                outputs: Self::outputs(token),
                fault: self.fails.then(|| Error::Upstream {
                    what: "the thing broke".into(),
                    retryable: false,
                }),
                ..Outcome::default()
            }
        }
        .boxed()
    }

    fn look_up<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Found>> {
        async move {
            if !self.thing(&attempt.token).exists() {
                return Ok(Found::NotDone);
            }
            Ok(Found::Done(Outcome {
                outputs: Self::outputs(&attempt.token),
                ..Outcome::default()
            }))
        }
        .boxed()
    }

    fn undo<'a>(&'a self, _attempt: &'a Attempt, outputs: &'a Outputs) -> BoxFuture<'a, Outcome> {
        async move {
            let token = outputs["thing"].as_str().unwrap();
            append(&self.folder.join("undone"), token);
            let count = i64::try_from(lines(&self.folder.join("undone")).len()).unwrap();
            let busy = count <= self.undo_flaky;
            if busy && count % 2 == 1 {
                return self.busy(Outputs::new());
            }
            if self.undo_fails {
                return Outcome::failed(Error::Conflict("the thing is protected".into()));
            }
            if self.thing(token).exists() {
                std::fs::remove_file(self.thing(token)).unwrap();
            }
            if busy {
                return self.busy(Outputs::new());
            }
            Outcome::default()
        }
        .boxed()
    }
}

/// How many lines say the same.
pub fn counts(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in lines {
        *counts.entry(line.as_str()).or_default() += 1;
    }
    counts
}

/// The id of a step.
pub fn id(step: &StepRun) -> StepRunId {
    step.id
}
