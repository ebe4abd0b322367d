//! Headroom is killed at every boundary of the journal and at every call to EC2; whoever takes the run up leaks nothing and doubles nothing.
//!
//! What is believed is the API's own list. The full matrix ([`super::matrix`], `make chaos`) also lets things go wrong beside the kill.

use headroom::models::node::Node;
use headroom::models::{NodeState, OnFailure, RunId, RunState, StepState, StepTarget, Via};
use headroom::runs::control::{self, Decision};
use headroom::runs::execute;
use serde_json::json;

use super::world::{World, deploy};
use crate::runs::crash::{NEVER, command, die};
use crate::runs::killed::Tally;
use crate::runs::lab::{KINDS, Planned, id};
use crate::support::faults::{Call, Fault};

/// More kill points than any run has.
const MOST: usize = 60;
/// Kill points of a launch that is refused for good: three attempts of it.
const ENOUGH: usize = 11;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Deploy,
    /// Launches, fails, takes back.
    DeployAndUndo,
    Register,
    Remove,
}

impl Plan {
    fn insert(self, world: &World, limit_secs: i64) -> RunId {
        let launch = deploy(json!({})).within(limit_secs);
        match self {
            Self::Deploy => world.lab.plan(OnFailure::Undo, &[launch]),
            Self::DeployAndUndo => {
                let settings = json!({"script": "exit 1", "repeatable": true});
                let bad = Planned::new("bad", "LocalScript", settings).within(5);
                world.lab.plan(OnFailure::Undo, &[launch, bad])
            }
            Self::Register => {
                let join = Planned::new("join", "RegisterEc2Node", json!({}));
                let join = join.on(StepTarget::LastNode).within(limit_secs);
                world.lab.plan(OnFailure::Stop, &[join])
            }
            Self::Remove => world.removal(),
        }
    }

    /// The nodes to begin with.
    fn begins_with(self) -> usize {
        match self {
            Self::Deploy | Self::DeployAndUndo => 0,
            Self::Register => 1,
            Self::Remove => 2,
        }
    }

    /// The nodes that a run without trouble leaves, and how it ends.
    fn ends_with(self) -> (usize, RunState) {
        match self {
            Self::Deploy => (1, RunState::Succeeded),
            Self::DeployAndUndo => (0, RunState::Undone),
            Self::Register => (1, RunState::Succeeded),
            Self::Remove => (1, RunState::Succeeded),
        }
    }
}

/// Enough for a busy machine, since a step that is too late ends otherwise than a row expects.
const LIMIT_SECS: i64 = 20;
/// For an instance that is waited for in vain.
const SHORT_LIMIT_SECS: i64 = 6;

/// What goes wrong beside the kill.
#[derive(Debug, Clone)]
pub enum Trouble {
    None,
    /// So many calls of an action fail, before the kill or after it.
    Calls(&'static str, Fault, usize),
    /// Instances of this type misbehave; the run ends so, with nothing left.
    Type(&'static str, RunState),
    /// The balancer refuses every instance.
    Refused,
    /// The instance to be removed may not be terminated.
    Protected,
    /// The profile is edited between the kill and the recovery: the token comes back with other parameters.
    Edited,
    /// Two processes take the run up at once.
    Two,
    /// Another removal comes in between, and only one of them may go.
    Race,
}

impl Trouble {
    /// The nodes that are left, and how the run ends.
    fn outcome(&self, plan: Plan) -> (usize, &'static [RunState]) {
        match (self, plan) {
            // Whoever has no time left to ask again cannot know that nothing was launched, and takes back what is not there.
            (Self::Type(_, RunState::Failed), _) => (0, &[RunState::Failed, RunState::Undone]),
            (Self::Type(..), _) | (Self::Refused, Plan::Deploy) => (0, &[RunState::Undone]),
            (Self::Refused, _) => (plan.begins_with(), &[RunState::Failed]),
            (Self::Protected, _) => (plan.begins_with(), &[RunState::Failed]),
            (Self::Race, _) => (1, &[RunState::Succeeded, RunState::Failed]),
            _ => match plan.ends_with() {
                (left, RunState::Undone) => (left, &[RunState::Undone]),
                (left, _) => (left, &[RunState::Succeeded]),
            },
        }
    }

    fn begin(&self, world: &World) {
        match self {
            Self::Calls(action, fault, times) => world.faults.inject(action, fault.clone(), *times),
            Self::Refused => {
                let refused = Fault::Refuse(400, "LoadBalancerNotFound");
                world
                    .faults
                    .inject("RegisterInstancesWithLoadBalancer", refused, 1000);
            }
            Self::Protected => {
                for node in world.nodes() {
                    world.protect(&node, true);
                }
            }
            // n1 and the two: one of them may go.
            Self::Race => world.bound(2, None),
            Self::Type(..) | Self::Edited | Self::Two | Self::None => {}
        }
    }

    fn end(&self, world: &World) {
        world.faults.clear();
        if matches!(self, Self::Protected) {
            for node in world.nodes() {
                world.protect(&node, false);
            }
        }
    }
}

/// Where a process died.
#[derive(Debug, Clone)]
pub enum Point {
    Boundary(usize),
    Before(Call),
    After(Call),
}

impl Point {
    pub fn before(at: usize) -> Self {
        Self::Before(Call::Nth(at))
    }

    pub fn after(at: usize) -> Self {
        Self::After(Call::Nth(at))
    }

    /// The same at the first call of an action.
    fn at_first(&self, action: &str) -> Option<Self> {
        let call = Call::First(action.to_owned());
        match self {
            Self::Boundary(_) => None,
            Self::Before(_) => Some(Self::Before(call)),
            Self::After(_) => Some(Self::After(call)),
        }
    }
}

/// Kills a process that drives a run; says where it died, or nothing when the run ended before.
fn kill(world: &World, run: RunId, point: Point) -> Option<String> {
    let url = world.lab.url();
    match point {
        Point::Boundary(at) => die(&world.lab, &url, run, at),
        Point::Before(ref at) | Point::After(ref at) => {
            let mut child = command(&world.lab, &url, run, NEVER).spawn().unwrap();
            let after = matches!(point, Point::After(_));
            world.faults.kill_at(child.id(), at.clone(), after);
            child.wait().unwrap();
            world.faults.killed_at()
        }
    }
}

/// Has the run taken up, as the trouble wants it.
async fn recover(world: &World, run: RunId, trouble: &Trouble) -> RunState {
    match trouble {
        Trouble::Edited => {
            world.edit(|profile| {
                let other = if profile.instance_type == "t3.small" {
                    "t3.large"
                } else {
                    "t3.small"
                };
                profile.instance_type = other.into();
            });
            world.lab.recover(run).await
        }
        Trouble::Two => {
            let (one, two) = (world.lab.late_worker("b"), world.lab.late_worker("c"));
            let (one, two) = tokio::join!(execute::drive(&one, run), execute::drive(&two, run));
            one.and(two).unwrap();
            world.lab.run(run).state
        }
        Trouble::Race => {
            let other = world.removal();
            let rival = world.lab.drive(other).await;
            let state = world.lab.recover(run).await;
            let succeeded = [rival, state].map(|state| usize::from(state == RunState::Succeeded));
            assert_eq!(
                succeeded,
                if state == RunState::Succeeded {
                    [0, 1]
                } else {
                    [1, 0]
                }
            );
            state
        }
        _ => world.lab.recover(run).await,
    }
}

/// Kills one run at a point, recovers it, and holds what is there against what should be.
async fn try_point(
    world: &World,
    plan: Plan,
    trouble: &Trouble,
    point: Point,
    tally: &mut Tally,
) -> Option<String> {
    trouble.begin(world);
    let in_vain = matches!(trouble, Trouble::Type("mute.small", _));
    let limit_secs = if in_vain {
        SHORT_LIMIT_SECS
    } else {
        LIMIT_SECS
    };
    let run = plan.insert(world, limit_secs);
    let Some(place) = kill(world, run, point) else {
        trouble.end(world);
        return None;
    };
    tally.tried += 1;
    let what = format!("{plan:?} with {trouble:?} killed {place}");
    let state = recover(world, run, trouble).await;
    trouble.end(world);
    let (left, states) = trouble.outcome(plan);
    if state == RunState::Stuck {
        tally.stuck += 1;
    } else {
        let steps = world.lab.steps(run);
        assert!(states.contains(&state), "{what}: {state}: {steps:#?}");
    }
    let alive = world.cloud.alive().await;
    let nodes = world.nodes();
    let known = |id: &String| {
        nodes
            .iter()
            .any(|node| node.instance_id.as_ref() == Some(id))
    };
    tally.leaked += alive.iter().filter(|instance| !known(&instance.id)).count();
    tally.doubled += alive.len().saturating_sub(left).max(world.doubled().await);
    assert_eq!(alive.len(), left, "{what}: {:#?}", world.lab.steps(run));
    assert!(
        nodes.iter().all(|node| node.state == NodeState::InService),
        "{what}"
    );
    if plan == Plan::Register {
        let members = world.cloud.members("web-elb");
        let wanted = if matches!(trouble, Trouble::Refused) {
            0
        } else {
            1
        };
        assert_eq!(members.len(), wanted, "{what}");
    }
    world.no_leak(&what).await;
    Some(place)
}

/// The fleet that a plan starts from.
async fn prepare(world: &World, plan: Plan) {
    world.bound(0, None);
    while world.nodes().len() < plan.begins_with() {
        world.deployed().await;
    }
    while world.nodes().len() > plan.begins_with() {
        let node = world.nodes().pop().unwrap();
        let id = node.instance_id.clone().unwrap();
        world
            .cloud
            .ask_ec2(&format!("Action=TerminateInstances&InstanceId.1={id}"));
        world.lab.write(|conn| Node::delete(conn, node.id));
    }
    if plan == Plan::Register {
        world.cloud.remove_members("web-elb");
    }
}

/// Every kill point of a plan, one after the other; gives the places and what came of it.
pub async fn every_point(
    world: &World,
    plan: Plan,
    trouble: &Trouble,
    points: impl Fn(usize) -> Point,
) -> (Vec<String>, Tally) {
    let (mut met, mut tally) = (Vec::new(), Tally::default());
    if let Trouble::Type(instance_type, _) = trouble {
        world.edit(|profile| profile.instance_type = (*instance_type).into());
    }
    // What is tried again and again has the same points again and again.
    let scarce = matches!(trouble, Trouble::Type(_, RunState::Failed));
    for at in 0..if scarce { ENOUGH } else { MOST } {
        prepare(world, plan).await;
        let Some(place) = try_point(world, plan, trouble, points(at), &mut tally).await else {
            // How often something is asked again is a matter of time, so that the n-th call of one run is not that of the next.
            for action in world.faults.called() {
                let is_met = |place: &String| place.ends_with(&format!(" {action}"));
                let point = points(at).at_first(&action);
                if let Some(point) = point.filter(|_| !met.iter().any(is_met)) {
                    prepare(world, plan).await;
                    met.extend(try_point(world, plan, trouble, point, &mut tally).await);
                }
            }
            return (met, tally);
        };
        met.push(place);
    }
    if scarce {
        return (met, tally);
    }
    panic!("{plan:?} has more than {MOST} points: {met:?}");
}

/// The points at which such a run was killed, one after the other, with nothing wrong beside.
async fn met_by(plan: Plan, points: fn(usize) -> Point) -> Vec<String> {
    let world = World::new();
    every_point(&world, plan, &Trouble::None, points).await.0
}

#[tokio::test]
async fn killed_at_every_boundary_of_a_launch_nothing_leaks_or_is_doubled() {
    let met = met_by(Plan::Deploy, Point::Boundary).await;
    assert_eq!(met.len(), 7, "{met:?}");
}

#[tokio::test]
async fn killed_at_every_boundary_of_a_launch_that_is_taken_back_nothing_leaks() {
    let met = met_by(Plan::DeployAndUndo, Point::Boundary).await;
    assert!(met.len() >= 12, "{met:?}");
}

#[tokio::test]
async fn killed_at_every_boundary_of_a_registration_it_is_behind_its_balancer_once() {
    let met = met_by(Plan::Register, Point::Boundary).await;
    assert_eq!(met.len(), 7, "{met:?}");
}

#[tokio::test]
async fn killed_at_every_boundary_of_a_removal_exactly_one_node_goes() {
    let met = met_by(Plan::Remove, Point::Boundary).await;
    assert_eq!(met.len(), 7, "{met:?}");
}

#[tokio::test]
async fn killed_after_every_call_of_a_launch_nothing_leaks_or_is_doubled() {
    let met = met_by(Plan::Deploy, Point::after).await;
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
    let met = met_by(Plan::Remove, Point::after).await;
    for call in ["DeregisterInstancesFromLoadBalancer", "TerminateInstances"] {
        assert!(met.contains(&format!("after {call}")), "{met:?}");
    }
}

#[tokio::test]
async fn killed_after_every_call_of_a_removal_from_a_target_group_exactly_one_node_goes() {
    let world = World::new();
    let group = world.only_group();
    let (met, _) = every_point(&world, Plan::Remove, &Trouble::None, Point::after).await;
    for call in ["DeregisterTargets", "TerminateInstances"] {
        assert!(met.contains(&format!("after {call}")), "{met:?}");
    }
    let left = world.nodes().remove(0).instance_id.unwrap();
    let targets = world.cloud.targets(&group);
    assert_eq!(targets, [(left, "healthy".to_owned())]);
}

/// A deployment whose process is killed when EC2 has launched and nobody has noted it.
fn killed_once_launched(world: &World) -> RunId {
    let run = world.deployment();
    let mut child = command(&world.lab, &world.lab.url(), run, NEVER)
        .spawn()
        .unwrap();
    world.faults.kill_at(child.id(), Call::Nth(0), true);
    child.wait().unwrap();
    assert_eq!(world.faults.killed_at().unwrap(), "after RunInstances");
    run
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_nobody_drives_it_leaves_a_node_that_is_known() {
    let world = World::new();
    let run = killed_once_launched(&world);
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
    let run = killed_once_launched(&world);
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
