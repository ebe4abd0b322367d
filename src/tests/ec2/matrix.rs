//! All kinds x faults x kill points: `make chaos`, which writes the table of docs/reliability.md.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::LocalBoxFuture;
use headroom::models::RunState;

use super::chaos::{Plan, Point, Trouble, every_point};
use super::world::World;
use crate::runs::killed::{self, Heirs, Tally};
use crate::support::faults::Fault;

const HEAD: &str = "| run | fault | killed | tried | leaked | doubled | stuck and explained |\n|---|---|---|---:|---:|---:|---:|\n";
/// Rows at a time: a row waits more than it works.
const LANES: usize = 2;

const BOUNDARIES: Points = ("every journal boundary", Point::Boundary);
const BEFORE: Points = ("before every call", Point::before);
const AFTER: Points = ("after every call", Point::after);

/// A way to count points, and its name.
type Points = (&'static str, fn(usize) -> Point);

/// Kills a kind that does not work with EC2 everywhere.
type Killing = fn(Heirs) -> LocalBoxFuture<'static, Tally>;

/// A row of the table.
struct Row {
    run: &'static str,
    fault: &'static str,
    killed: &'static str,
    work: Work,
}

enum Work {
    Cloud(Plan, Trouble, fn(usize) -> Point),
    /// With a target group in place of the classic balancer.
    Group(Plan, fn(usize) -> Point),
    Kind(Killing, Heirs),
}

impl Row {
    fn work(self) -> Tally {
        let work = async {
            match self.work {
                Work::Cloud(plan, trouble, points) => {
                    // A cloud of its own: moto slows down with every instance it ever had.
                    let world = World::new();
                    every_point(&world, plan, &trouble, points).await.1
                }
                Work::Group(plan, points) => {
                    let world = World::new();
                    world.only_group();
                    every_point(&world, plan, &Trouble::None, points).await.1
                }
                Work::Kind(kind, heirs) => kind(heirs).await,
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(work)
    }
}

/// A call that fails once; the other ways in which EC2 has bad days.
fn troubles(plan: Plan) -> Vec<(&'static str, Trouble)> {
    use Fault::{LoseReply, Refuse};
    let once = |action, fault| Trouble::Calls(action, fault, 1);
    let expired = (
        "credentials expire in the middle",
        once("DescribeInstances", Refuse(400, "RequestExpired")),
    );
    let listing = (
        "list: server error",
        once("DescribeInstances", Refuse(500, "InternalError")),
    );
    let deregister = (
        "deregister: reply lost",
        once("DeregisterInstancesFromLoadBalancer", LoseReply),
    );
    let terminate = (
        "terminate: reply lost",
        once("TerminateInstances", LoseReply),
    );
    let refused = ("balancer refuses the instance", Trouble::Refused);
    let two = ("two processes take it up", Trouble::Two);
    let throttled = |action| once(action, Refuse(503, "RequestLimitExceeded"));
    match plan {
        Plan::Deploy => vec![
            ("launch: reply lost", once("RunInstances", LoseReply)),
            (
                "launch: throttled",
                Trouble::Calls("RunInstances", Refuse(503, "RequestLimitExceeded"), 2),
            ),
            (
                "launch: no capacity",
                Trouble::Type("scarce.small", RunState::Failed),
            ),
            (
                "dies while pending",
                Trouble::Type("doomed.small", RunState::Undone),
            ),
            (
                "never opens SSH",
                Trouble::Type("mute.small", RunState::Undone),
            ),
            ("token reused with other parameters", Trouble::Edited),
            refused,
            listing,
            expired,
            two,
        ],
        Plan::DeployAndUndo => vec![
            ("launch: reply lost", once("RunInstances", LoseReply)),
            deregister,
            terminate,
            ("terminate: throttled", throttled("TerminateInstances")),
            listing,
            two,
        ],
        Plan::Register => vec![
            (
                "register: reply lost",
                once("RegisterInstancesWithLoadBalancer", LoseReply),
            ),
            refused,
            two,
        ],
        Plan::Remove => vec![
            deregister,
            terminate,
            ("terminate: refused by protection", Trouble::Protected),
            listing,
            expired,
            two,
            ("another removal comes in between", Trouble::Race),
        ],
    }
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (plan, run) in [
        (Plan::Deploy, "DeployEc2Node"),
        (Plan::DeployAndUndo, "DeployEc2Node, taken back"),
        (Plan::Register, "RegisterEc2Node"),
        (Plan::Remove, "RemoveEc2Node"),
    ] {
        let mut add = |fault, trouble: &Trouble, points: &[Points]| {
            for (killed, point) in points {
                let work = Work::Cloud(plan, trouble.clone(), *point);
                rows.push(Row {
                    run,
                    fault,
                    killed,
                    work,
                });
            }
        };
        add("none", &Trouble::None, &[BOUNDARIES, BEFORE, AFTER]);
        for (fault, trouble) in troubles(plan) {
            // An instance that is waited for in vain is asked about again and again: each call is the same point.
            let mute = matches!(trouble, Trouble::Type("mute.small", _));
            let points: &[Points] = if mute {
                &[BOUNDARIES]
            } else {
                &[BOUNDARIES, AFTER]
            };
            add(fault, &trouble, points);
        }
    }
    rows.extend(groups());
    rows.extend(others());
    rows
}

/// The kinds that do not work with EC2.
fn others() -> impl Iterator<Item = Row> {
    let kinds: [(_, Killing); 6] = [
        ("LocalScript", |it| killed::local_script(it).boxed_local()),
        ("Email", |it| killed::email(it).boxed_local()),
        ("DistributedScript", |it| {
            killed::distributed_script(it).boxed_local()
        }),
        ("OSConfiguration", |it| {
            killed::os_configuration(it).boxed_local()
        }),
        ("DockerScale", |it| killed::docker_scale(it).boxed_local()),
        ("ZabbixBackup", |it| killed::zabbix_backup(it).boxed_local()),
    ];
    let heirs = [
        ("none", Heirs::One),
        ("two processes take it up", Heirs::Two),
    ];
    kinds.into_iter().flat_map(move |(run, kind)| {
        heirs.map(|(fault, heirs)| Row {
            run,
            fault,
            killed: BOUNDARIES.0,
            work: Work::Kind(kind, heirs),
        })
    })
}

/// The kinds that are at work on balancers, with a target group.
fn groups() -> impl Iterator<Item = Row> {
    let (killed, point) = AFTER;
    [
        (Plan::Deploy, "DeployEc2Node into a target group"),
        (Plan::Remove, "RemoveEc2Node from a target group"),
    ]
    .into_iter()
    .map(move |(plan, run)| Row {
        run,
        fault: "none",
        killed,
        work: Work::Group(plan, point),
    })
}

/// What has been found out so far.
#[derive(Default)]
struct Table {
    lines: BTreeMap<usize, String>,
    sums: Tally,
    failed: Vec<String>,
}

impl Table {
    fn take(&mut self, index: usize, name: &str, outcome: thread::Result<Tally>) {
        let Ok(Tally {
            tried,
            leaked,
            doubled,
            stuck,
        }) = outcome
        else {
            self.failed.push(name.to_owned());
            return;
        };
        self.sums.tried += tried;
        self.sums.leaked += leaked;
        self.sums.doubled += doubled;
        self.sums.stuck += stuck;
        let line = format!("{name} {tried} | {leaked} | {doubled} | {stuck} |\n");
        self.lines.insert(index, line);
    }

    fn text(&self) -> String {
        let Tally {
            tried,
            leaked,
            doubled,
            stuck,
        } = &self.sums;
        let lines: String = self.lines.values().map(String::as_str).collect();
        let sum =
            format!("| **all** | | | **{tried}** | **{leaked}** | **{doubled}** | **{stuck}** |\n");
        format!("{HEAD}{lines}{sum}")
    }
}

#[test]
#[ignore = "takes a quarter of an hour: make chaos"]
fn the_whole_matrix() {
    let path = std::env::var("HEADROOM_CHAOS_TABLE").unwrap_or_else(|_| "/dev/stdout".into());
    let only = std::env::var("HEADROOM_CHAOS_ROWS").unwrap_or_default();
    let rows: Vec<(String, Row)> = rows()
        .into_iter()
        .map(|row| {
            (
                format!("| {} | {} | {} |", row.run, row.fault, row.killed),
                row,
            )
        })
        .filter(|(name, _)| name.contains(&only))
        .collect();
    let rows: Vec<Mutex<Option<(String, Row)>>> =
        rows.into_iter().map(|row| Mutex::new(Some(row))).collect();
    let (next, table) = (AtomicUsize::new(0), Mutex::new(Table::default()));
    let lane = || {
        loop {
            let index = next.fetch_add(1, Ordering::SeqCst);
            let Some(row) = rows.get(index) else { return };
            let (name, row) = row.lock().unwrap().take().unwrap();
            let begin = Instant::now();
            // A row that fails must not keep the others from being tried.
            let outcome = thread::spawn(move || row.work()).join();
            eprintln!(
                "{name} {:.0} s{}",
                begin.elapsed().as_secs_f32(),
                if outcome.is_err() { ": FAILED" } else { "" }
            );
            let mut table = table.lock().unwrap();
            table.take(index, &name, outcome);
            // Row by row, so that a matrix that is interrupted has its rows all the same.
            std::fs::write(&path, table.text()).unwrap();
        }
    };
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(lane);
        }
    });
    let failed = table.into_inner().unwrap().failed;
    assert!(failed.is_empty(), "{failed:#?}");
}
