//! A node leaves: never one too many, never without draining, and back into service when it may not go after all.

use headroom::models::node::Node;
use headroom::models::{NodeState, RunState};
use serde_json::json;

use super::world::{World, remove};
use crate::support::faults::Fault;

fn in_service(world: &World) -> Vec<String> {
    let nodes = world.nodes().into_iter();
    nodes
        .filter(|node| node.state == NodeState::InService)
        .map(|node| node.name)
        .collect()
}

async fn three(world: &World) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(world.deployed().await);
    }
    nodes
}

#[tokio::test]
async fn the_newest_node_is_drained_terminated_and_kept_in_history() {
    let world = World::new();
    let nodes = three(&world).await;
    let run = world.removal();
    assert_eq!(
        world.lab.drive(run).await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(run)
    );
    assert_eq!(in_service(&world), ["web01", "web02"]);
    let gone = &nodes[2];
    assert_eq!(world.lab.output(run, "remove", "node"), gone.name.as_str());
    assert!(
        world
            .lab
            .output(run, "remove", "drain_secs")
            .as_f64()
            .unwrap()
            >= 0.2,
        "it was drained"
    );
    let former = world.former();
    assert_eq!(
        (former[0].name.as_str(), former[0].reason.as_str()),
        ("web03", "removed")
    );
    assert_eq!(former[0].instance_id, gone.instance_id);
    world.no_leak("removed").await;

    let oldest = world.lab.plan(
        headroom::models::OnFailure::Stop,
        &[remove(json!({"select": "oldest"})).within(20)],
    );
    assert_eq!(world.lab.drive(oldest).await, RunState::Succeeded);
    assert_eq!(in_service(&world), ["web02"]);
}

#[tokio::test]
async fn min_nodes_holds_against_two_removals_at_once() {
    let world = World::new();
    three(&world).await;
    // n1 and the three: two may go at most.
    world.bound(3, None);
    let (one, two) = (world.removal(), world.removal());
    let other = world.lab.other_worker();
    let (first, second) = tokio::join!(
        world.lab.drive(one),
        headroom::runs::execute::drive(&other, two)
    );
    second.unwrap();
    let states = [first, world.lab.run(two).state];
    assert!(
        states.contains(&RunState::Succeeded) && states.contains(&RunState::Failed),
        "{states:?}"
    );
    let failed = if first == RunState::Failed { one } else { two };
    let error = world.lab.error(failed, "remove");
    assert!(
        error.contains("3 nodes in service and min_nodes is 3"),
        "{error}"
    );
    assert_eq!(in_service(&world).len(), 2);
    world.no_leak("two at once").await;
}

#[tokio::test]
async fn the_last_healthy_node_of_a_balancer_stays() {
    let world = World::new();
    world.deployed().await;
    let run = world.removal();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    let error = world.lab.error(run, "remove");
    assert!(
        error.contains("load balancer web-elb has no other healthy instance"),
        "{error}"
    );
    assert!(error.contains("web01 is back in service"), "{error}");
    assert_eq!(in_service(&world), ["web01"]);
    assert_eq!(world.faults.calls("DeregisterInstancesFromLoadBalancer"), 0);
}

#[tokio::test]
async fn a_protected_instance_goes_back_behind_its_balancer() {
    let world = World::new();
    let nodes = three(&world).await;
    let id = nodes[2].instance_id.clone().unwrap();
    world.cloud.ask_ec2(&format!(
        "Action=ModifyInstanceAttribute&InstanceId={id}&DisableApiTermination.Value=true"
    ));
    let run = world.removal();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    let error = world.lab.error(run, "remove");
    assert!(
        error.contains("OperationNotPermitted") && error.contains("web03 is back in service"),
        "{error}"
    );
    assert_eq!(world.faults.calls("RegisterInstancesWithLoadBalancer"), 4);
    assert_eq!(in_service(&world).len(), 3);
    world.no_leak("protected").await;
}

#[tokio::test]
async fn a_removal_goes_through_although_replies_are_lost() {
    let world = World::new();
    three(&world).await;
    for action in [
        "DeregisterInstancesFromLoadBalancer",
        "TerminateInstances",
        "DescribeInstances",
    ] {
        world.faults.inject(action, Fault::LoseReply, 1);
    }
    let run = world.removal();
    assert_eq!(world.lab.drive(run).await, RunState::Succeeded);
    world.no_leak("lost replies").await;
}

#[tokio::test]
async fn a_named_node_goes_and_one_that_headroom_did_not_launch_is_refused() {
    let world = World::new();
    three(&world).await;
    let run = |name: &str| {
        world.lab.write(|conn| {
            use headroom::models::action::{Action, NewAction};
            let new = NewAction {
                name: format!("remove {name}"),
                kind: "RemoveEc2Node".into(),
                settings: "{}".into(),
                timeout_secs: Some(20),
                updated_ms: 0,
            };
            let action = Action::insert(conn, &new)?;
            let target = headroom::actions::plan::RunTarget::Node(name.into());
            let plan =
                headroom::actions::plan::plan_action(conn, &action, &target, "ann", "too many", 1)?;
            Ok(plan.insert(conn)?.0.id)
        })
    };
    let by_name = run("web01");
    assert_eq!(
        world.lab.drive(by_name).await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(by_name)
    );
    assert_eq!(in_service(&world), ["web02", "web03"]);
    let own = run("n1");
    assert_eq!(world.lab.drive(own).await, RunState::Failed);
    let error = world.lab.error(own, "remove n1");
    assert!(error.contains("n1 was not launched by Headroom"), "{error}");
    world.no_leak("by name").await;
}
