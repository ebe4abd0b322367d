//! An instance becomes a node.

use headroom::models::{NodeState, OnFailure, RunState, StepState, StepTarget};
use serde_json::json;

use super::world::{World, deploy, tags};
use crate::runs::lab::Planned;
use crate::support::postgres::Postgres;

#[tokio::test]
async fn a_deployed_node_runs_answers_ssh_is_behind_its_balancer_and_in_service() {
    let world = World::new();
    let node = world.deployed().await;
    assert_eq!(
        (node.name.as_str(), node.state),
        ("web01", NodeState::InService)
    );
    assert_eq!(node.address, "127.0.0.2");
    let instances = world.cloud.alive().await;
    assert_eq!(instances.len(), 1);
    let tag = |key: &str| instances[0].tags[key].clone();
    assert_eq!(
        (tag("Name"), tag("Cluster")),
        ("web01".into(), "web".into())
    );
    assert_eq!(
        (tag("headroom:run"), tag("headroom:step")),
        ("1".into(), "add".into())
    );
    assert_eq!(node.instance_id.as_ref(), Some(&instances[0].id));
    let run = headroom::models::RunId(1);
    for (output, expected) in [
        ("node", "web01"),
        ("address", "127.0.0.2"),
        ("instance_id", &instances[0].id),
    ] {
        assert_eq!(world.lab.output(run, "add", output), expected);
    }
    let secs = |name| world.lab.output(run, "add", name).as_f64().unwrap();
    assert!(0.2 <= secs("running_secs") && secs("running_secs") <= secs("ssh_secs"));
    assert!(secs("ssh_secs") <= secs("in_service_secs"));
    assert_eq!(world.faults.calls("RegisterInstancesWithLoadBalancer"), 1);
    assert!(world.faults.calls("DescribeInstanceHealth") >= 1);
    let report = world.lab.report(run, "add").0;
    let parts: Vec<_> = report.iter().map(|entry| entry.subject.as_str()).collect();
    assert_eq!(
        parts,
        ["node", "launch", "running", "ssh", "register", "in service"]
    );
}

#[tokio::test]
async fn names_are_the_lowest_free_ones_and_max_nodes_holds() {
    let world = World::new();
    world.edit(|profile| profile.wait_for = "running".into());
    assert_eq!(world.deployed().await.name, "web01");
    world.lab.add_node("web02", 5);
    assert_eq!(world.deployed().await.name, "web03");
    // n1, web01, web02 and web03.
    world.bound(0, Some(4));
    let run = world.deployment();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    let error = world.lab.error(run, "add");
    assert!(
        error.contains("has 4 nodes") && error.contains("max_nodes is 4"),
        "{error}"
    );
    assert_eq!(world.cloud.alive().await.len(), 2);
    assert_eq!(world.faults.calls("RunInstances"), 2);
}

/// Two runs launch at the same moment where there is room for one node.
async fn one_place_left(world: World) {
    // n1 and one more.
    world.bound(0, Some(2));
    let (one, two) = (world.deployment(), world.deployment());
    let error = world.one_of_two(one, two, "add").await;
    assert!(
        error.contains("has 2 nodes, those being launched among them, and max_nodes is 2"),
        "{error}"
    );
    assert_eq!(world.faults.calls("RunInstances"), 1);
    assert_eq!(world.nodes().len(), 1);
    world.no_leak("one place left").await;
}

#[tokio::test]
async fn max_nodes_holds_against_two_launches_at_once() {
    one_place_left(World::new()).await;
}

#[tokio::test]
async fn max_nodes_holds_against_two_launches_at_once_on_postgres() {
    let server = Postgres::start();
    one_place_left(World::on_postgres(&server)).await;
}

#[tokio::test]
async fn a_node_is_put_behind_its_balancer_by_a_later_step_after_it_was_configured() {
    let world = World::new();
    world.add_group();
    let run = world.lab.plan(
        OnFailure::Undo,
        &[
            deploy(json!({"register": "after"})).within(20),
            Planned::script("configure", "echo configured").within(20),
            Planned::new("join", "RegisterEc2Node", json!({}))
                .on(StepTarget::LastNode)
                .within(20),
        ],
    );
    // The lab runs scripts on this machine, wherever the node is.
    assert_eq!(
        world.lab.drive(run).await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(run)
    );
    let report = world.lab.report(run, "add").0;
    assert!(
        report.iter().all(|entry| entry.subject != "register"),
        "{report:?}"
    );
    assert_eq!(world.faults.calls("RegisterInstancesWithLoadBalancer"), 1);
    assert_eq!(world.faults.calls("RegisterTargets"), 1);
    assert_eq!(world.lab.output(run, "join", "node"), "web01");
}

#[tokio::test]
async fn a_registration_is_taken_back_when_a_later_step_fails_and_the_node_stays() {
    let world = World::new();
    let group = world.add_group();
    let launch = deploy(json!({"register": "after"})).within(20);
    let launched = world.lab.plan(OnFailure::Undo, &[launch]);
    assert_eq!(world.lab.drive(launched).await, RunState::Succeeded);
    let join = Planned::new("join", "RegisterEc2Node", json!({})).on(StepTarget::LastNode);
    let bad = Planned::script("bad", "exit 3").within(20);
    let run = world.lab.plan(OnFailure::Undo, &[join.within(20), bad]);
    let state = world.lab.drive(run).await;
    assert_eq!(state, RunState::Undone, "{:#?}", world.lab.steps(run));
    assert_eq!(
        world.lab.states(run),
        [StepState::Undone, StepState::Failed]
    );
    let error = world.lab.error(run, "bad");
    assert!(error.contains("exit status 3"), "{error}");
    for action in [
        "RegisterInstancesWithLoadBalancer",
        "RegisterTargets",
        "DeregisterInstancesFromLoadBalancer",
        "DeregisterTargets",
    ] {
        assert_eq!(world.faults.calls(action), 1, "{action}");
    }
    assert!(world.cloud.members("web-elb").is_empty());
    // What leaves a group is shown for a while.
    let targets = world.cloud.targets(&group);
    assert!(
        targets.iter().all(|(_, state)| state == "draining"),
        "{targets:?}"
    );
    let node = world.node("web01").unwrap();
    assert_eq!(node.state, NodeState::InService);
    assert_eq!(world.faults.calls("TerminateInstances"), 0);
    world.no_leak("a registration taken back").await;
}

#[tokio::test]
async fn a_launch_is_taken_back_when_a_later_step_fails() {
    let world = World::new();
    let run = world.lab.plan(
        OnFailure::Undo,
        &[
            deploy(json!({})).within(20),
            Planned::script("bad", "exit 3").within(20),
        ],
    );
    assert_eq!(world.lab.drive(run).await, RunState::Undone);
    assert_eq!(
        world.lab.states(run),
        [StepState::Undone, StepState::Failed]
    );
    assert!(world.cloud.alive().await.is_empty());
    assert!(world.nodes().is_empty());
    let former = world.former();
    assert_eq!(
        (former[0].name.as_str(), former[0].reason.as_str()),
        ("web01", "its launch was taken back")
    );
    assert_eq!(world.faults.calls("DeregisterInstancesFromLoadBalancer"), 1);
    // Its name is free again.
    assert_eq!(world.deployed().await.name, "web01");
    assert_eq!(tags(&world.cloud.alive().await, "Name"), ["web01"]);
}
