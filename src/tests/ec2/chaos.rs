//! Headroom is killed at every boundary of the journal and at every call to EC2; whoever takes the run up leaks nothing and doubles nothing.
//!
//! What is believed is the API's own list. The full matrix (`make chaos`) also lets calls fail before the kill.

use std::io::Write as _;

use headroom::models::node::Node;
use headroom::models::{NodeState, OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use serde_json::json;

use super::world::{World, deploy};
use crate::runs::crash::{NEVER, command, die};
use crate::runs::lab::{KINDS, Planned, id};
use crate::support::faults::Fault;

/// The head of the table.
const HEAD: &str = "| run | fault | killed | tried | leaked | doubled | stuck and explained |\n|---|---|---|---:|---:|---:|---:|\n";
/// More kill points than any run has.
const MOST: usize = 60;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Deploy,
    /// Launches, fails, takes back.
    DeployAndUndo,
    Remove,
}

impl Plan {
    fn insert(self, world: &World) -> RunId {
        match self {
            Self::Deploy => world.deployment(),
            Self::DeployAndUndo => world.lab.plan(
                OnFailure::Undo,
                &[
                    deploy(json!({})).within(20),
                    Planned::new(
                        "bad",
                        "LocalScript",
                        json!({"script": "exit 1", "repeatable": true}),
                    )
                    .within(5),
                ],
            ),
            Self::Remove => world.removal(),
        }
    }
}

/// Where a process died.
#[derive(Debug, Clone, Copy)]
enum Point {
    Boundary(usize),
    Before(usize),
    After(usize),
}

/// The n-th point of a kind.
type Points = fn(usize) -> Point;

/// What came of the kills of one row of the table.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    leaked: usize,
    doubled: usize,
    stuck: usize,
}

/// Kills a process that drives a run; says where it died, or nothing when the run ended before.
fn kill(world: &World, run: RunId, point: Point) -> Option<String> {
    let url = world.lab.url();
    match point {
        Point::Boundary(at) => die(&world.lab, &url, run, at),
        Point::Before(at) | Point::After(at) => {
            let mut child = command(&world.lab, &url, run, NEVER).spawn().unwrap();
            world
                .faults
                .kill_at(child.id(), at, matches!(point, Point::After(_)));
            child.wait().unwrap();
            world.faults.killed_at()
        }
    }
}

/// Kills one run at a point, recovers it, and holds what is there against what should be.
async fn try_point(
    world: &World,
    plan: Plan,
    point: Point,
    fault: Option<(&str, Fault)>,
    tally: &mut Tally,
) -> Option<String> {
    let before = world.nodes().len();
    if let Some((action, fault)) = fault {
        world.faults.inject(action, fault, 1);
    }
    let run = plan.insert(world);
    let place = kill(world, run, point);
    world.faults.clear();
    let place = place?;
    tally.tried += 1;
    let state = world.lab.recover(run).await;
    let what = format!("{plan:?} killed {place}");
    match state {
        RunState::Stuck => tally.stuck += 1,
        RunState::Undone => assert_eq!(plan, Plan::DeployAndUndo, "{what}"),
        state => assert_eq!(
            state,
            RunState::Succeeded,
            "{what}: {:#?}",
            world.lab.steps(run)
        ),
    }
    let expected = match plan {
        Plan::Deploy => before + 1,
        Plan::DeployAndUndo => before,
        Plan::Remove => before - 1,
    };
    let alive = world.cloud.alive().await.len();
    tally.leaked += alive.saturating_sub(world.nodes().len());
    tally.doubled += usize::from(alive > expected);
    assert_eq!(alive, expected, "{what}");
    assert!(
        world
            .nodes()
            .iter()
            .all(|node| node.state == NodeState::InService),
        "{what}"
    );
    world.no_leak(&what).await;
    Some(place)
}

/// The fleet that a plan starts from: two nodes to remove one of, none to add to.
async fn prepare(world: &World, plan: Plan) {
    let wanted = if plan == Plan::Remove { 2 } else { 0 };
    while world.nodes().len() < wanted {
        world.deployed().await;
    }
    while world.nodes().len() > wanted {
        let node = world.nodes().pop().unwrap();
        let id = node.instance_id.clone().unwrap();
        world
            .cloud
            .ask_ec2(&format!("Action=TerminateInstances&InstanceId.1={id}"));
        world.lab.write(|conn| Node::delete(conn, node.id));
    }
}

/// Every kill point of a plan, one after the other; gives the places.
async fn every_point(
    world: &World,
    plan: Plan,
    fault: Option<(&str, Fault)>,
    points: impl Fn(usize) -> Point,
    tally: &mut Tally,
) -> Vec<String> {
    let mut met = Vec::new();
    for at in 0..MOST {
        prepare(world, plan).await;
        let Some(place) = try_point(world, plan, points(at), fault.clone(), tally).await else {
            return met;
        };
        met.push(place);
    }
    panic!("{plan:?} has more than {MOST} points: {met:?}");
}

#[tokio::test]
async fn killed_at_every_boundary_of_a_launch_nothing_leaks_or_is_doubled() {
    let world = World::new();
    let met = every_point(
        &world,
        Plan::Deploy,
        None,
        Point::Boundary,
        &mut Tally::default(),
    )
    .await;
    assert_eq!(met.len(), 7, "{met:?}");
}

#[tokio::test]
async fn killed_at_every_boundary_of_a_launch_that_is_taken_back_nothing_leaks() {
    let world = World::new();
    let met = every_point(
        &world,
        Plan::DeployAndUndo,
        None,
        Point::Boundary,
        &mut Tally::default(),
    )
    .await;
    assert!(met.len() >= 12, "{met:?}");
}

#[tokio::test]
async fn killed_at_every_boundary_of_a_removal_exactly_one_node_goes() {
    let world = World::new();
    let met = every_point(
        &world,
        Plan::Remove,
        None,
        Point::Boundary,
        &mut Tally::default(),
    )
    .await;
    assert_eq!(met.len(), 7, "{met:?}");
}

#[tokio::test]
async fn killed_after_every_call_of_a_launch_nothing_leaks_or_is_doubled() {
    let world = World::new();
    let met = every_point(
        &world,
        Plan::Deploy,
        None,
        Point::After,
        &mut Tally::default(),
    )
    .await;
    assert!(
        met.iter().any(|place| place == "after RunInstances"),
        "{met:?}"
    );
    assert!(
        met.iter()
            .any(|place| place == "after RegisterInstancesWithLoadBalancer"),
        "{met:?}"
    );
}

#[tokio::test]
async fn killed_after_every_call_of_a_removal_exactly_one_node_goes() {
    let world = World::new();
    let met = every_point(
        &world,
        Plan::Remove,
        None,
        Point::After,
        &mut Tally::default(),
    )
    .await;
    for call in ["DeregisterInstancesFromLoadBalancer", "TerminateInstances"] {
        assert!(met.contains(&format!("after {call}")), "{met:?}");
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_nobody_drives_it_leaves_a_node_that_is_known() {
    let world = World::new();
    let run = world.deployment();
    let mut child = command(&world.lab, &world.lab.url(), run, NEVER)
        .spawn()
        .unwrap();
    world.faults.kill_at(child.id(), 0, true);
    child.wait().unwrap();
    assert_eq!(world.faults.killed_at().unwrap(), "after RunInstances");
    let ann = Decision {
        kinds: KINDS,
        ..Decision::new("ann", Via::Cli, "not wanted any more", 1)
    };
    world.lab.write(|conn| control::cancel(conn, run, &ann));
    assert_eq!(world.lab.recover(run).await, RunState::Cancelled);
    let error = world.lab.error(run, "add");
    assert!(
        error.contains("the launch of web01") && error.contains("undo the step to terminate it"),
        "{error}"
    );
    assert_eq!(world.cloud.alive().await.len(), 1);
    let step = world.lab.step(run, "add");
    world
        .lab
        .write(|conn| control::undo_step(conn, run, id(&step), &ann));
    world.lab.drive(run).await;
    assert_eq!(world.lab.states(run), [StepState::Undone]);
    assert!(world.cloud.alive().await.is_empty());
    world.no_leak("cancelled").await;
}

#[tokio::test]
async fn a_profile_edited_between_a_lost_launch_and_its_repetition_gives_the_same_instance() {
    let world = World::new();
    let run = world.deployment();
    let mut child = command(&world.lab, &world.lab.url(), run, NEVER)
        .spawn()
        .unwrap();
    world.faults.kill_at(child.id(), 0, true);
    child.wait().unwrap();
    assert_eq!(world.faults.killed_at().unwrap(), "after RunInstances");
    world.edit(|profile| profile.instance_type = "t3.large".into());
    assert_eq!(
        world.lab.recover(run).await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(run)
    );
    assert_eq!(world.cloud.instances().await.len(), 1);
    world.no_leak("token reused").await;
}

#[tokio::test]
async fn two_processes_that_pick_up_one_run_launch_one_instance() {
    let world = World::new();
    let run = world.deployment();
    let url = world.lab.url();
    let mut children: Vec<_> = (0..2)
        .map(|_| command(&world.lab, &url, run, NEVER).spawn().unwrap())
        .collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(world.lab.run(run).state, RunState::Succeeded);
    assert_eq!(world.cloud.instances().await.len(), 1);
    world.no_leak("two processes").await;
}

/// All kinds x faults x kill points, and the table of docs/reliability.md.
#[tokio::test]
#[ignore = "takes a quarter of an hour: make chaos"]
async fn the_whole_matrix() {
    let faults: [(&str, Option<(&str, Fault)>); 6] = [
        ("none", None),
        (
            "launch: reply lost",
            Some(("RunInstances", Fault::LoseReply)),
        ),
        (
            "launch: throttled",
            Some(("RunInstances", Fault::Refuse(503, "RequestLimitExceeded"))),
        ),
        (
            "terminate: reply lost",
            Some(("TerminateInstances", Fault::LoseReply)),
        ),
        (
            "list: server error",
            Some(("DescribeInstances", Fault::Refuse(500, "InternalError"))),
        ),
        (
            "deregister: reply lost",
            Some(("DeregisterInstancesFromLoadBalancer", Fault::LoseReply)),
        ),
    ];
    let path = std::env::var("HEADROOM_CHAOS_TABLE").unwrap_or_else(|_| "/dev/stdout".into());
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(HEAD.as_bytes()).unwrap();
    for plan in [Plan::Deploy, Plan::DeployAndUndo, Plan::Remove] {
        for (name, fault) in &faults {
            let points: [(&str, Points); 3] = [
                ("every journal boundary", Point::Boundary),
                ("before every call", Point::Before),
                ("after every call", Point::After),
            ];
            for (place, points) in points {
                // A cloud of its own: moto slows down with every instance it ever had.
                let world = World::new();
                let mut tally = Tally::default();
                every_point(&world, plan, fault.clone(), points, &mut tally).await;
                let Tally {
                    tried,
                    leaked,
                    doubled,
                    stuck,
                } = tally;
                let row = format!(
                    "| {plan:?} | {name} | {place} | {tried} | {leaked} | {doubled} | {stuck} |\n"
                );
                // Row by row, so that a matrix that is interrupted has its rows all the same.
                file.write_all(row.as_bytes()).unwrap();
            }
        }
    }
}
