//! Target groups: an instance goes into its group and leaves it drained, alone or together with a classic balancer.

use headroom::models::node::Node;
use headroom::models::{OnFailure, RunId, RunState, StepState};
use serde_json::json;

use super::faults::fails;
use super::world::{World, deploy};
use crate::runs::lab::Planned;
use crate::support::faults::Fault;

const CLASSIC: &str = "web-elb";

/// Drives a run; gives how it ended and the calls that it made, those left out that only look.
async fn calls_of(world: &World, run: RunId) -> (RunState, Vec<String>) {
    let before = world.faults.called().len();
    let state = world.lab.drive(run).await;
    let called = world.faults.called().into_iter().skip(before);
    let changes = called.filter(|call| !call.starts_with("Describe"));
    (state, changes.collect())
}

/// Has the newest node removed, which must stay in service; gives why.
async fn stays(world: &World) -> String {
    let run = world.removal();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    world.lab.error(run, "remove")
}

fn instances(nodes: &[&Node]) -> Vec<String> {
    let ids = nodes.iter().map(|node| node.instance_id.clone().unwrap());
    ids.collect()
}

/// What a group says where these nodes are in it and none is leaving.
fn healthy(nodes: &[&Node]) -> Vec<(String, String)> {
    let ids = instances(nodes).into_iter();
    ids.map(|id| (id, "healthy".to_owned())).collect()
}

#[tokio::test]
async fn a_removed_instance_is_drained_from_its_target_group_before_it_is_terminated() {
    let world = World::new();
    let group = world.only_group();
    let (one, two) = (world.deployed().await, world.deployed().await);
    assert_eq!(world.cloud.targets(&group), healthy(&[&one, &two]));
    let run = world.removal();
    let (state, calls) = calls_of(&world, run).await;
    assert_eq!(state, RunState::Succeeded, "{:#?}", world.lab.steps(run));
    assert_eq!(calls, ["DeregisterTargets", "TerminateInstances"]);
    assert_eq!(world.lab.output(run, "remove", "node"), two.name.as_str());
    let drained = world.lab.output(run, "remove", "drain_secs");
    assert!(drained.as_f64().unwrap() >= 0.2, "it was drained");
    assert_eq!(world.cloud.targets(&group), healthy(&[&one]));
    assert_eq!(world.former()[0].reason, "removed");
    assert!(world.cloud.members(CLASSIC).is_empty());
    world.no_leak("removed from a group").await;
}

#[tokio::test]
async fn the_last_healthy_target_of_a_group_stays_though_another_one_is_stopped() {
    let world = World::new();
    let group = world.only_group();
    let one = world.deployed().await;
    let alone = stays(&world).await;
    let two = world.deployed().await;
    let stopped = one.instance_id.as_ref().unwrap();
    world
        .cloud
        .ask_ec2(&format!("Action=StopInstances&InstanceId.1={stopped}"));
    let beside_a_stopped_one = stays(&world).await;
    for (node, error) in [(&one, alone), (&two, beside_a_stopped_one)] {
        let id = node.instance_id.as_ref().unwrap();
        let why = format!("has no other healthy instance than {id}");
        let back = format!("{} is back in service", node.name);
        assert!(
            error.contains("target group targetgroup/web-group/")
                && error.contains(&why)
                && error.contains(&back),
            "{error}"
        );
    }
    assert_eq!(world.faults.calls("DeregisterTargets"), 0);
    assert_eq!(world.faults.calls("TerminateInstances"), 0);
    assert_eq!(world.cloud.targets(&group).len(), 2);
    world.no_leak("the last one stays").await;
}

#[tokio::test]
async fn a_launch_that_is_taken_back_leaves_its_target_group_first() {
    let world = World::new();
    let group = world.only_group();
    let launch = deploy(json!({})).within(20);
    let bad = Planned::script("bad", "exit 3").within(20);
    let run = world.lab.plan(OnFailure::Undo, &[launch, bad]);
    let (state, calls) = calls_of(&world, run).await;
    assert_eq!(state, RunState::Undone, "{:#?}", world.lab.steps(run));
    assert_eq!(
        world.lab.states(run),
        [StepState::Undone, StepState::Failed]
    );
    let error = world.lab.error(run, "bad");
    assert!(error.contains("exit status 3"), "{error}");
    assert_eq!(
        calls,
        [
            "RunInstances",
            "RegisterTargets",
            "DeregisterTargets",
            "TerminateInstances"
        ]
    );
    assert!(world.cloud.targets(&group).is_empty());
    assert_eq!(world.former()[0].reason, "its launch was taken back");
    world.no_leak("taken back").await;
}

#[tokio::test]
async fn a_target_group_that_refuses_has_the_instance_taken_back() {
    let world = World::new();
    let group = world.only_group();
    for (code, advice) in [
        ("TargetGroupNotFound", ""),
        ("TooManyTargets", "ask AWS for a higher quota"),
    ] {
        let refused = Fault::Refuse(400, code);
        world.faults.inject("RegisterTargets", refused, 1);
        let error = fails(&world, RunState::Undone).await;
        assert!(
            error.contains("could not register i-")
                && error.contains("with target group targetgroup/web-group/")
                && error.contains(code)
                && error.contains(advice),
            "{error}"
        );
        assert!(world.cloud.targets(&group).is_empty(), "{code}");
    }
    assert_eq!(world.faults.calls("RegisterTargets"), 2, "asked once each");
}

#[tokio::test]
async fn an_instance_that_its_target_group_never_finds_healthy_is_taken_back() {
    let world = World::new();
    let group = world.only_group();
    world.edit(|profile| profile.instance_type = "sick.small".into());
    let error = fails(&world, RunState::Undone).await;
    assert!(
        error.contains("waited in vain for target group targetgroup/web-group/")
            && error.contains("seen last: not healthy (unhealthy Health checks failed)"),
        "{error}"
    );
    assert_eq!(world.faults.calls("DeregisterTargets"), 1);
    assert!(world.cloud.targets(&group).is_empty());
    assert_eq!(world.cloud.instances().await.len(), 1);
}

#[tokio::test]
async fn behind_a_classic_balancer_and_in_a_group_a_node_comes_and_goes_with_both() {
    let world = World::new();
    let group = world.add_group();
    let (one, two) = (world.deployed().await, world.deployed().await);
    assert_eq!(world.cloud.members(CLASSIC), instances(&[&one, &two]));
    assert_eq!(world.cloud.targets(&group), healthy(&[&one, &two]));
    let run = world.removal();
    let (state, calls) = calls_of(&world, run).await;
    assert_eq!(state, RunState::Succeeded, "{:#?}", world.lab.steps(run));
    assert_eq!(
        calls,
        [
            "DeregisterInstancesFromLoadBalancer",
            "DeregisterTargets",
            "TerminateInstances"
        ]
    );
    assert_eq!(world.cloud.members(CLASSIC), instances(&[&one]));
    assert_eq!(world.cloud.targets(&group), healthy(&[&one]));
    assert_eq!(world.former()[0].name, two.name);
    world.no_leak("both").await;
}

#[tokio::test]
async fn a_healthy_instance_behind_the_classic_balancer_does_not_stand_in_for_one_of_the_group() {
    let world = World::new();
    let group = world.add_group();
    world.cloud.add_member(CLASSIC);
    let node = world.deployed().await;
    let error = stays(&world).await;
    assert!(
        error.contains("target group targetgroup/web-group/")
            && error.contains("has no other healthy instance than i-")
            && error.contains("web01 is back in service"),
        "{error}"
    );
    assert_eq!(world.faults.calls("DeregisterInstancesFromLoadBalancer"), 0);
    assert_eq!(world.faults.calls("DeregisterTargets"), 0);
    assert_eq!(world.cloud.members(CLASSIC).len(), 2);
    assert_eq!(world.cloud.targets(&group), healthy(&[&node]));
    world.no_leak("the last one of the group").await;
}

#[tokio::test]
async fn an_instance_that_may_not_be_terminated_goes_back_behind_both() {
    let world = World::new();
    let group = world.add_group();
    let (one, two) = (world.deployed().await, world.deployed().await);
    world.protect(&two, true);
    let run = world.removal();
    let (state, calls) = calls_of(&world, run).await;
    assert_eq!(state, RunState::Failed);
    let error = world.lab.error(run, "remove");
    assert!(
        error.contains("OperationNotPermitted") && error.contains("web02 is back in service"),
        "{error}"
    );
    assert_eq!(
        calls,
        [
            "DeregisterInstancesFromLoadBalancer",
            "DeregisterTargets",
            "TerminateInstances",
            "RegisterInstancesWithLoadBalancer",
            "RegisterTargets"
        ]
    );
    assert_eq!(world.cloud.members(CLASSIC), instances(&[&one, &two]));
    assert_eq!(world.cloud.targets(&group), healthy(&[&one, &two]));
    world.no_leak("back behind both").await;
}
