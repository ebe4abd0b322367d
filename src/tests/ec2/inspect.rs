//! Instances without a node, nodes without an instance, and what a person does about them.

use headroom::actions::ec2::adopting::adopt;
use headroom::actions::ec2::inspect::inspect;
use headroom::actions::ec2::settle::{self, Adopted, Settler};
use headroom::models::finding::Finding;
use headroom::models::node::Node;
use headroom::models::{FindingKind, NodeState, OnFailure, RunState, Via};
use serde_json::json;

use super::world::{World, deploy};
use crate::runs::lab::id;
use crate::support::faults::Fault;

impl World {
    /// Looks; gives what disagrees.
    async fn look(&self, now_ms: i64) -> Vec<Finding> {
        let look = inspect(&self.lab.db, &self.lab.ctx.tools.cloud, now_ms)
            .await
            .unwrap();
        assert_eq!(look.faults, [""; 0]);
        self.lab.write(Finding::all)
    }

    fn forget_row(&self, node: &Node) {
        self.lab.write(|conn| Node::delete(conn, node.id));
    }
}

fn ann() -> Settler {
    Settler {
        actor: "ann".into(),
        via: Via::Page,
        now_ms: 9,
    }
}

fn kinds(findings: &[Finding]) -> Vec<FindingKind> {
    findings.iter().map(|finding| finding.kind).collect()
}

#[tokio::test]
async fn an_orphan_is_found_adopted_or_reaped_by_a_run() {
    let world = World::new();
    let (one, two) = (world.deployed().await, world.deployed().await);
    assert!(world.look(1).await.is_empty());
    world.forget_row(&one);
    world.forget_row(&two);
    let found = world.look(2).await;
    assert_eq!(kinds(&found), [FindingKind::Orphan; 2]);
    assert_eq!(
        (
            found[0].cluster_name.as_str(),
            found[0].node_name.as_deref()
        ),
        ("web", Some("web01"))
    );
    assert_eq!(
        world.look(3).await[0].first_seen_ms,
        2,
        "it keeps when it was seen first"
    );

    // n1 has no SSH profile, so there is nobody to log in like.
    let adopted = Adopted {
        instance_id: one.instance_id.clone().unwrap(),
        address: one.address.clone(),
    };
    let refused = world
        .lab
        .db
        .write_blocking(|conn| settle::adopt(conn, found[0].id, &adopted, &ann()));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("reap the instance, or name it in the fleet file")
    );
    let helper = world.deployed().await;
    assert_eq!(helper.name, "web01", "its row is gone, so its name is free");
    let name = world
        .lab
        .write(|conn| settle::adopt(conn, found[0].id, &adopted, &ann()));
    assert_eq!(name, "web02", "the name it carries is taken by now");
    assert_eq!(world.node("web02").unwrap().instance_id, one.instance_id);

    let plan = world.lab.write(|conn| {
        let plan = settle::reap(conn, found[1].id, &ann())?;
        Ok(plan.insert(conn)?.0.id)
    });
    let again = world
        .lab
        .db
        .write_blocking(|conn| settle::reap(conn, found[1].id, &ann()));
    assert!(again.unwrap_err().to_string().contains("is at it already"));
    assert_eq!(
        world.lab.drive(plan).await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(plan)
    );
    assert!(world.look(4).await.is_empty());
    world.no_leak("adopted and reaped").await;
}

#[tokio::test]
async fn a_ghost_is_found_and_forgotten_and_a_served_instance_is_never_reaped() {
    let world = World::new();
    let node = world.deployed().await;
    let instance = node.instance_id.clone().unwrap();
    world.cloud.ask_ec2(&format!(
        "Action=TerminateInstances&InstanceId.1={instance}"
    ));
    let found = world.look(1).await;
    assert_eq!(kinds(&found), [FindingKind::Ghost]);
    let reap = world
        .lab
        .db
        .write_blocking(|conn| settle::reap(conn, found[0].id, &ann()));
    assert!(
        reap.unwrap_err()
            .to_string()
            .contains("there is no instance to reap")
    );
    world
        .lab
        .write(|conn| settle::forget(conn, found[0].id, &ann()));
    assert!(world.nodes().is_empty());
    assert!(world.former()[0].reason.starts_with("forgotten by ann"));

    let other = world.deployed().await;
    let id = other.instance_id.clone().unwrap();
    let run = world.lab.plan(
        OnFailure::Stop,
        &[crate::runs::lab::Planned::new(
            "reap",
            "RemoveEc2Node",
            json!({"instance_id": id, "ec2_profile": "small"}),
        )
        .within(20)],
    );
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    assert!(
        world
            .lab
            .error(run, "reap")
            .contains("web01 stands for it and is in service")
    );
    world.no_leak("not reaped").await;
}

#[tokio::test]
async fn stopped_and_moved_instances_are_told_and_a_new_address_is_adopted() {
    let world = World::new();
    let node = world.deployed().await;
    let instance = node.instance_id.clone().unwrap();
    world.lab.write(|conn| {
        use diesel::prelude::*;
        use headroom::schema::nodes;
        diesel::update(nodes::table.find(node.id))
            .set(nodes::address.eq("10.1.1.1"))
            .execute(conn)?;
        Ok(())
    });
    let found = world.look(1).await;
    assert_eq!(kinds(&found), [FindingKind::Moved]);
    assert!(
        found[0].detail.contains("127.0.0.2 now, not 10.1.1.1"),
        "{}",
        found[0].detail
    );
    let adopted = Adopted {
        instance_id: instance.clone(),
        address: "127.0.0.2".into(),
    };
    world
        .lab
        .write(|conn| settle::adopt(conn, found[0].id, &adopted, &ann()));
    assert_eq!(world.node("web01").unwrap().address, "127.0.0.2");
    world
        .cloud
        .ask_ec2(&format!("Action=StopInstances&InstanceId.1={instance}"));
    assert_eq!(kinds(&world.look(2).await), [FindingKind::Stopped]);
}

#[tokio::test]
async fn a_launch_that_nobody_goes_on_with_is_told_and_reaped() {
    let world = World::new();
    world.edit(|profile| profile.instance_type = "mute.small".into());
    let run = world
        .lab
        .plan(OnFailure::Stop, &[deploy(json!({})).within(3)]);
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    let found = world.look(1).await;
    assert_eq!(kinds(&found), [FindingKind::Unfinished]);
    let reap = world.lab.write(|conn| {
        let plan = settle::reap(conn, found[0].id, &ann())?;
        Ok(plan.insert(conn)?.0.id)
    });
    assert_eq!(
        world.lab.drive(reap).await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(reap)
    );
    assert!(world.look(2).await.is_empty());
    assert!(world.nodes().is_empty());
    world.no_leak("unfinished").await;
    assert!(id(&world.lab.step(run, "add")).0 > 0);
}

#[tokio::test]
async fn an_account_that_cannot_be_asked_changes_nothing_that_is_known() {
    let world = World::new();
    let node = world.deployed().await;
    world.forget_row(&node);
    assert_eq!(world.look(1).await.len(), 1);
    world
        .faults
        .inject("DescribeInstances", Fault::Refuse(400, "AuthFailure"), 1);
    let look = inspect(&world.lab.db, &world.lab.ctx.tools.cloud, 2)
        .await
        .unwrap();
    assert!(
        look.faults[0].contains("look at the credentials"),
        "{:?}",
        look.faults
    );
    let found = world.lab.write(Finding::all);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].seen_ms, 1);
    assert_eq!(NodeState::InService, node.state);
}

#[tokio::test]
async fn a_node_whose_removal_nobody_goes_on_with_is_adopted_back_behind_its_balancers() {
    let world = World::new();
    let node = world.deployed().await;
    let id = node.instance_id.clone().unwrap();
    world.cloud.remove_members("web-elb");
    world.lab.write(|conn| {
        use diesel::prelude::*;
        use headroom::schema::nodes;
        diesel::update(nodes::table.find(node.id))
            .set(nodes::state.eq(NodeState::Draining))
            .execute(conn)?;
        Ok(())
    });
    let found = world.look(1).await;
    assert_eq!(kinds(&found), [FindingKind::Unfinished]);
    let cloud = &world.lab.ctx.tools.cloud;
    let name = adopt(&world.lab.db, cloud, found[0].id, ann())
        .await
        .unwrap();
    assert_eq!(name, "web01");
    assert_eq!(world.node("web01").unwrap().state, NodeState::InService);
    assert_eq!(world.cloud.members("web-elb"), [id]);
    assert!(world.look(2).await.is_empty());
}
