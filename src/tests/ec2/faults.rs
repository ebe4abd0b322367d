//! What goes wrong with EC2 on bad days: nothing is leaked, nothing is doubled, and the run says why.

use std::time::Duration;

use headroom::error::Result;
use headroom::models::run::Run;
use headroom::models::{NodeState, OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use serde_json::json;
use tokio::time::Instant;

use super::world::{World, deploy};
use crate::runs::lab::{KINDS, Planned};
use crate::support::faults::Fault;
use crate::support::ports;

/// Drives a launch that must fail, be taken back and leave nothing; gives its error.
pub async fn fails(world: &World, expected: RunState) -> String {
    let run = world
        .lab
        .plan(OnFailure::Undo, &[deploy(json!({})).within(6)]);
    assert_eq!(
        world.lab.drive(run).await,
        expected,
        "{:#?}",
        world.lab.steps(run)
    );
    world.faults.clear();
    assert!(world.cloud.alive().await.is_empty(), "leaked");
    assert!(world.nodes().is_empty(), "a node without an instance");
    world.lab.error(run, "add")
}

#[tokio::test]
async fn a_launch_whose_reply_was_lost_is_not_made_twice() {
    let world = World::new();
    world.faults.inject("RunInstances", Fault::LoseReply, 2);
    world.deployed().await;
    assert_eq!(world.faults.calls("RunInstances"), 3);
    assert_eq!(world.cloud.instances().await.len(), 1);
    world.no_leak("reply lost").await;
}

#[tokio::test]
async fn a_launch_whose_replies_are_all_lost_is_found_and_taken_back() {
    let world = World::new();
    world.faults.inject("RunInstances", Fault::LoseReply, 1000);
    let error = fails(&world, RunState::Undone).await;
    assert!(error.contains("or the reply was lost"), "{error}");
    assert_eq!(world.cloud.instances().await.len(), 1);
}

#[tokio::test]
async fn what_was_never_sent_is_not_told_as_a_reply_that_may_be_lost() {
    let world = World::new();
    let nobody = format!("http://127.0.0.1:{}", ports::free());
    world.edit(|profile| profile.endpoint_url = Some(nobody.clone()));
    let error = fails(&world, RunState::Failed).await;
    assert!(error.contains("Connection refused"), "{error}");
    assert!(!error.contains("lost"), "{error}");

    let listens = world.faults.url();
    world.edit(|profile| profile.endpoint_url = Some(listens.clone()));
    let site = world.lab.ctx.tools.cloud.site("small").await.unwrap();
    let over = Instant::now() - Duration::from_secs(1);
    let fault = site.ec2.instances(&["i-1".into()], over).await.unwrap_err();
    let said = fault.to_string();
    assert!(said.ends_with(": the time limit was over before"), "{said}");
    assert_eq!(world.faults.calls("DescribeInstances"), 0);
}

#[tokio::test]
async fn throttled_and_slow_calls_are_repeated_within_the_time_limit() {
    let world = World::new();
    world.faults.inject(
        "RunInstances",
        Fault::Refuse(503, "RequestLimitExceeded"),
        2,
    );
    world.faults.inject("RunInstances", Fault::LoseRequest, 1);
    world
        .faults
        .inject("DescribeInstances", Fault::Refuse(500, "InternalError"), 2);
    world.faults.inject(
        "RegisterInstancesWithLoadBalancer",
        Fault::Delay(Duration::from_millis(800)),
        1,
    );
    world.deployed().await;
    assert_eq!(world.faults.calls("RunInstances"), 4);
    world.no_leak("throttled").await;
}

#[tokio::test]
async fn no_capacity_is_asked_for_again_until_there_is_some() {
    let world = World::new();
    let none = Fault::Refuse(500, "InsufficientInstanceCapacity");
    world.faults.inject("RunInstances", none, 2);
    world.deployed().await;
    assert_eq!(world.faults.calls("RunInstances"), 3);
    assert_eq!(world.former().len(), 2, "each refused launch is told");
    assert_eq!(world.cloud.instances().await.len(), 1);
    world.no_leak("no capacity").await;
}

#[tokio::test]
async fn no_capacity_within_the_time_limit_fails_and_leaves_nothing() {
    let world = World::new();
    world.edit(|profile| profile.instance_type = "scarce.small".into());
    let error = fails(&world, RunState::Failed).await;
    assert!(error.contains("InsufficientInstanceCapacity"), "{error}");
    assert!(
        error.contains("name another instance type or subnet"),
        "{error}"
    );
    assert!(world.former()[0].reason.starts_with("it was not launched"));
}

#[tokio::test]
async fn an_instance_that_dies_while_pending_is_told_and_taken_back() {
    let world = World::new();
    world.edit(|profile| profile.instance_type = "doomed.small".into());
    let error = fails(&world, RunState::Undone).await;
    assert!(
        error.contains("is terminated instead of running: Server.InternalError"),
        "{error}"
    );
}

#[tokio::test]
async fn an_instance_that_never_answers_ssh_is_taken_back() {
    let world = World::new();
    world.edit(|profile| profile.instance_type = "mute.small".into());
    let error = fails(&world, RunState::Undone).await;
    assert!(
        error.contains("waited in vain for an SSH server on 127.0.0.250"),
        "{error}"
    );
    assert_eq!(world.cloud.instances().await.len(), 1);
}

#[tokio::test]
async fn an_instance_that_its_balancer_never_finds_healthy_is_taken_back() {
    let world = World::new();
    world.edit(|profile| profile.instance_type = "sick.small".into());
    let error = fails(&world, RunState::Undone).await;
    assert!(
        error.contains("waited in vain for load balancer web-elb to find i-")
            && error.contains("seen last: not healthy (OutOfService Instance has failed"),
        "{error}"
    );
    assert_eq!(world.faults.calls("DeregisterInstancesFromLoadBalancer"), 1);
    assert!(world.cloud.members("web-elb").is_empty());
    assert_eq!(world.former()[0].reason, "its launch was taken back");
    assert_eq!(world.cloud.instances().await.len(), 1);
}

#[tokio::test]
async fn a_balancer_that_refuses_has_the_instance_taken_back() {
    let world = World::new();
    world.faults.inject(
        "RegisterInstancesWithLoadBalancer",
        Fault::Refuse(400, "LoadBalancerNotFound"),
        1,
    );
    // Nor may a balancer that refuses everything keep the instance alive.
    let refused = Fault::Refuse(400, "AccessDenied");
    world
        .faults
        .inject("DeregisterInstancesFromLoadBalancer", refused, 100);
    let error = fails(&world, RunState::Undone).await;
    assert!(
        error.contains("could not register i-") && error.contains("LoadBalancerNotFound"),
        "{error}"
    );
}

/// Has a person take the launch of a run back.
fn undo(world: &World, run: RunId) -> Result<Run> {
    let step = world.lab.step(run, "add");
    world.lab.db.write_blocking(|conn| {
        let ann = Decision {
            kinds: KINDS,
            ..Decision::new("ann", Via::Cli, "not wanted", 1)
        };
        control::undo_step(conn, run, step.id, &ann)
    })
}

#[tokio::test]
async fn a_protected_instance_that_cannot_be_taken_back_is_told() {
    let world = World::new();
    let protected = Fault::Refuse(400, "OperationNotPermitted");
    world.faults.inject("TerminateInstances", protected, 1);
    let run = world.lab.plan(
        OnFailure::Undo,
        &[
            deploy(json!({})).within(20),
            Planned::script("bad", "exit 3").within(20),
        ],
    );
    world.lab.drive(run).await;
    assert_eq!(
        world.lab.states(run),
        [StepState::UndoFailed, StepState::Failed]
    );
    let error = world.lab.error(run, "add");
    assert!(
        error.contains("take the protection off the instance"),
        "{error}"
    );
    assert_eq!(world.nodes().len(), 1, "what is there stays known");
    undo(&world, run).unwrap();
    world.lab.drive(run).await;
    assert_eq!(
        world.lab.states(run),
        [StepState::Undone, StepState::Failed]
    );
    world.no_leak("protected").await;
}

#[tokio::test]
async fn a_launch_whose_run_is_over_is_not_taken_back_but_removed() {
    let world = World::new();
    let node = world.deployed().await;
    let error = undo(&world, RunId(1)).unwrap_err().to_string();
    assert!(
        error.contains("web01 is in_service since then")
            && error.contains("remove it with a RemoveEc2Node on web01"),
        "{error}"
    );
    assert_eq!(world.lab.states(RunId(1)), [StepState::Succeeded]);
    assert_eq!(world.node("web01"), Some(node));
    assert_eq!(world.faults.calls("TerminateInstances"), 0);
}

#[tokio::test]
async fn credentials_that_are_refused_or_expired_are_told_and_nothing_is_launched() {
    for (code, told) in [
        ("AuthFailure", "look at the credentials"),
        ("RequestExpired", "the credentials have expired"),
    ] {
        let world = World::new();
        world
            .faults
            .inject("RunInstances", Fault::Refuse(400, code), 1000);
        let error = fails(&world, RunState::Failed).await;
        assert!(error.contains(code) && error.contains(told), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_of_a_run_are_read_again() {
    let world = World::new();
    world
        .faults
        .inject("DescribeInstances", Fault::Refuse(400, "RequestExpired"), 1);
    let node = world.deployed().await;
    assert_eq!(node.state, NodeState::InService);
}

#[tokio::test]
async fn an_account_that_is_full_says_so() {
    let world = World::new();
    world.faults.inject(
        "RunInstances",
        Fault::Refuse(400, "InstanceLimitExceeded"),
        1,
    );
    let error = fails(&world, RunState::Failed).await;
    assert!(error.contains("ask AWS for a higher quota"), "{error}");
}

#[tokio::test]
async fn an_undo_asks_again_for_an_instance_that_ec2_does_not_know_yet() {
    let world = World::new();
    world.edit(|profile| profile.wait_for = "running".into());
    let refused = Fault::Refuse(400, "LoadBalancerNotFound");
    world
        .faults
        .inject("RegisterInstancesWithLoadBalancer", refused, 1);
    let unknown = Fault::Refuse(400, "InvalidInstanceID.NotFound");
    world.faults.inject("TerminateInstances", unknown, 2);
    fails(&world, RunState::Undone).await;
    assert_eq!(world.faults.calls("TerminateInstances"), 3);
}

#[tokio::test]
async fn a_token_that_was_used_for_something_else_is_no_proof_that_nothing_was_launched() {
    let world = World::new();
    let reused = Fault::Refuse(400, "IdempotentParameterMismatch");
    world.faults.inject("RunInstances", Fault::LoseReply, 1);
    world.faults.inject("RunInstances", reused, 1);
    // The instance is there, and EC2's lists do not know it yet.
    world
        .faults
        .inject("DescribeInstances", Fault::ListNothing, 1000);
    let run = world
        .lab
        .plan(OnFailure::Stop, &[deploy(json!({})).within(6)]);
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    let error = world.lab.error(run, "add");
    assert!(
        error.contains("EC2 has accepted an earlier launch") && error.contains("undo the step"),
        "{error}"
    );
    assert_eq!(world.nodes().len(), 1, "its node stays, for the undo");
    world.faults.clear();
    assert_eq!(world.cloud.alive().await.len(), 1);
    undo(&world, run).unwrap();
    world.lab.drive(run).await;
    assert_eq!(world.lab.states(run), [StepState::Undone]);
    world.no_leak("token reused").await;
    assert_eq!(world.former()[0].reason, "its launch was taken back");
}

#[tokio::test]
async fn a_token_whose_instance_is_terminated_gives_nothing_to_look_for() {
    let world = World::new();
    let spent = Fault::Refuse(400, "IdempotentInstanceTerminated");
    world.faults.inject("RunInstances", spent, 1);
    let error = fails(&world, RunState::Failed).await;
    assert!(error.contains("IdempotentInstanceTerminated"), "{error}");
    assert!(world.former()[0].reason.starts_with("it was not launched"));
}
