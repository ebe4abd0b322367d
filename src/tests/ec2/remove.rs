//! A node leaves: never one too many, never without draining, and back into service when it may not go after all.

use headroom::models::counter::{Counter, NewCounter};
use headroom::models::node::Node;
use headroom::models::step_run::{StepChange, StepRun};
use headroom::models::{
    Comparison, CounterId, CounterKind, Missing, NodeState, OnFailure, RunId, RunState, StepState,
    StepTarget, to_ms,
};
use headroom::samples::{SeriesKey, Store, Write};
use serde_json::json;

use super::world::{World, remove};
use crate::runs::lab::Planned;
use crate::support::faults::Fault;
use crate::support::postgres::Postgres;

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

/// Two runs remove a node at the same moment where one may go.
async fn two_at_once(world: World) {
    three(&world).await;
    // n1 and the three: one may go.
    world.bound(3, None);
    let (one, two) = (world.removal(), world.removal());
    let error = world.one_of_two(one, two, "remove").await;
    assert!(
        error.contains("3 nodes in service and min_nodes is 3"),
        "{error}"
    );
    assert_eq!(in_service(&world).len(), 2);
    world.no_leak("two at once").await;
}

#[tokio::test]
async fn an_instance_that_another_hand_has_terminated_leaves_its_balancer_with_its_node() {
    let world = World::new();
    world.deployed().await;
    let gone = world.deployed().await.instance_id.unwrap();
    world
        .cloud
        .ask_ec2(&format!("Action=TerminateInstances&InstanceId.1={gone}"));
    assert!(world.cloud.members("web-elb").contains(&gone));
    let run = world.removal();
    let state = world.lab.drive(run).await;
    assert_eq!(state, RunState::Succeeded, "{:#?}", world.lab.steps(run));
    let members = world.cloud.members("web-elb");
    assert!(!members.contains(&gone), "a dead member stays: {members:?}");
    assert_eq!(world.faults.calls("TerminateInstances"), 0);
    assert_eq!(in_service(&world), ["web01"]);
    world.no_leak("terminated by another hand").await;
}

#[tokio::test]
async fn of_the_last_two_behind_a_balancer_two_removals_take_one() {
    let world = World::new();
    for _ in 0..2 {
        world.deployed().await;
    }
    world.bound(0, None);
    let (one, two) = (world.removal(), world.removal());
    let error = world.one_of_two(one, two, "remove").await;
    assert!(error.contains("has no other healthy instance"), "{error}");
    // The one that stays served all the while.
    assert_eq!(world.faults.calls("DeregisterInstancesFromLoadBalancer"), 1);
    assert_eq!(in_service(&world).len(), 1);
    world.no_leak("the last two").await;
}

#[tokio::test]
async fn min_nodes_holds_against_two_removals_at_once() {
    two_at_once(World::new()).await;
}

#[tokio::test]
async fn min_nodes_holds_against_two_removals_at_once_on_postgres() {
    let server = Postgres::start();
    two_at_once(World::on_postgres(&server)).await;
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
                retries: None,
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

#[tokio::test]
async fn an_instance_that_is_missing_from_the_list_is_terminated_by_name() {
    let world = World::new();
    three(&world).await;
    world
        .faults
        .inject("DescribeInstances", Fault::ListNothing, 3);
    let run = world.removal();
    assert_eq!(
        world.lab.drive(run).await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(run)
    );
    assert!(world.faults.calls("TerminateInstances") >= 1);
    assert_eq!(world.former()[0].reason, "removed");
    world.no_leak("missing from the list").await;
}

/// EC2 as another account sees it: neither listed nor known.
fn elsewhere(world: &World) {
    let unknown = Fault::Refuse(400, "InvalidInstanceID.NotFound");
    world
        .faults
        .inject("DescribeInstances", Fault::ListNothing, 1000);
    world.faults.inject("TerminateInstances", unknown, 1000);
}

#[tokio::test]
async fn what_ec2_does_not_know_is_gone_only_after_a_while_and_with_the_key_of_its_launch() {
    let world = World::new();
    three(&world).await;
    world.lab.write(|conn| {
        use headroom::models::ec2_profile::Ec2Profile;
        let profile = Ec2Profile::by_name(conn, "small")?;
        let now_ms = headroom::models::to_ms(chrono::Utc::now());
        Ec2Profile::note_access_change(conn, profile.id, now_ms)
    });
    elsewhere(&world);
    let doubted = world.removal();
    assert_eq!(world.lab.drive(doubted).await, RunState::Failed);
    let error = world.lab.error(doubted, "remove");
    assert!(
        error.contains("may be in another account") && error.contains("web03 is back in service"),
        "{error}"
    );
    world.faults.clear();
    assert_eq!(in_service(&world).len(), 3);
    world.no_leak("another account").await;

    world.lab.write(|conn| {
        use headroom::models::ec2_profile::Ec2Profile;
        let profile = Ec2Profile::by_name(conn, "small")?;
        Ec2Profile::note_access_change(conn, profile.id, 0)
    });
    elsewhere(&world);
    let begun = std::time::Instant::now();
    let run = world.removal();
    assert_eq!(world.lab.drive(run).await, RunState::Succeeded);
    assert!(begun.elapsed() >= std::time::Duration::from_millis(600));
    assert_eq!(
        world.former()[0].reason,
        "removed; EC2 does not know its instance any more"
    );
    let report = world.lab.report(run, "remove").0;
    let last = report.last().unwrap();
    assert!(
        last.stdout.starts_with("EC2 does not know i-"),
        "{}",
        last.stdout
    );
}

/// A run with a step on the whole cluster, which nobody drives.
fn release(world: &World) -> (RunId, StepRun) {
    let release = Planned::script("release", "true").on(StepTarget::Cluster);
    let run = world.lab.plan(OnFailure::Stop, &[release]);
    (run, world.lab.step(run, "release"))
}

/// The step is under way since an instant.
fn started(world: &World, step: &StepRun, at_ms: i64) {
    let change = StepChange {
        started_ms: Some(Some(at_ms)),
        ..StepChange::to(StepState::Started)
    };
    let from = [StepState::Planned];
    assert!(
        world
            .lab
            .write(|conn| StepRun::change(conn, step.id, &from, &change))
    );
}

#[tokio::test]
async fn a_node_stays_while_another_run_is_at_work_on_its_cluster() {
    let world = World::new();
    three(&world).await;
    let (other, step) = release(&world);
    started(&world, &step, 1);
    let run = world.removal();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    let error = world.lab.error(run, "remove");
    let told = format!("run {other} is at work on web03 (step \"release\")");
    assert!(error.contains(&told), "{error}");
    assert_eq!(in_service(&world).len(), 3);
    assert_eq!(world.faults.calls("DeregisterInstancesFromLoadBalancer"), 0);
}

#[tokio::test]
async fn what_began_while_the_node_was_being_taken_out_puts_it_back() {
    let world = World::new();
    three(&world).await;
    let (other, step) = release(&world);
    let slow = Fault::Delay(std::time::Duration::from_secs(1));
    world
        .faults
        .inject("DeregisterInstancesFromLoadBalancer", slow, 1);
    let run = world.removal();
    let meanwhile = async {
        while world.faults.calls("DeregisterInstancesFromLoadBalancer") == 0 {
            tokio::task::yield_now().await;
        }
        started(&world, &step, to_ms(chrono::Utc::now()));
    };
    let (state, ()) = tokio::join!(world.lab.drive(run), meanwhile);
    assert_eq!(state, RunState::Failed);
    let error = world.lab.error(run, "remove");
    assert!(
        error.contains(&format!("run {other} is at work on web03"))
            && error.contains("web03 is back in service"),
        "{error}"
    );
    world.no_leak("released meanwhile").await;
}

/// What the collectors would have kept of a counter.
async fn keep(world: &World, key: SeriesKey, age_ms: i64, value: f64) {
    let tick_ms = (to_ms(chrono::Utc::now()) - age_ms) / 1_000 * 1_000;
    let write = Write {
        key,
        tick_ms,
        measured_ms: tick_ms,
        took_ms: 1,
        outcome: Ok(value),
        breach: None,
    };
    let store = Store::embedded(&world.lab.path("samples.db")).unwrap();
    store.write(&[write]).await.unwrap();
}

fn counter(world: &World) -> CounterId {
    let new = NewCounter {
        name: "load1".into(),
        kind: CounterKind::Ssh,
        settings: json!({"script": "cut -d' ' -f1 /proc/loadavg"}).to_string(),
        threshold: 4.0,
        comparison: Comparison::Greater,
        unit: None,
        every_secs: None,
        timeout_secs: 10,
        missing: Missing::Hold,
        updated_ms: 0,
    };
    world.lab.write(|conn| Counter::insert(conn, &new)).id
}

#[tokio::test]
async fn the_node_with_the_lowest_fresh_value_goes_and_none_by_what_it_was_once() {
    let world = World::new();
    let nodes = three(&world).await;
    let counter = counter(&world);
    let key = |at: usize| SeriesKey::Ssh {
        node: nodes[at].id,
        counter,
    };
    let lowest = || {
        let step = remove(json!({"select": "lowest:load1"})).within(20);
        world.lab.plan(OnFailure::Stop, &[step])
    };
    keep(&world, key(0), 3_600_000, 0.1).await;
    let stale = lowest();
    assert_eq!(world.lab.drive(stale).await, RunState::Failed);
    let error = world.lab.error(stale, "remove");
    assert!(
        error.contains("no node has a value of load1 from the last 180 s"),
        "{error}"
    );
    keep(&world, key(1), 1_000, 2.0).await;
    keep(&world, key(2), 1_000, 3.0).await;
    let run = lowest();
    assert_eq!(world.lab.drive(run).await, RunState::Succeeded);
    assert_eq!(in_service(&world), ["web01", "web03"]);
    world.no_leak("lowest").await;
}
