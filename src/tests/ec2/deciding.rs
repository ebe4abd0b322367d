//! A person has a step tried again whose effect may have happened: it is found and gone on with, never done a second time.

use headroom::models::{NodeState, OnFailure, RunId, RunState, StepState, Via};
use headroom::runs::control::{self, Decision};
use serde_json::json;

use super::world::{World, deploy, remove};
use crate::runs::lab::{KINDS, id};
use crate::support::faults::Fault;

/// Enough for what must fail.
const SHORT_LIMIT_SECS: i64 = 5;

impl World {
    fn ask(&self, verb: &str, run: RunId, step: &str) {
        let step = id(&self.lab.step(run, step));
        let ann = Decision {
            kinds: KINDS,
            ..Decision::new("ann", Via::Page, "EC2 answers again", 1)
        };
        self.lab.write(|conn| match verb {
            "retry" => control::retry_step(conn, run, step, &ann),
            _ => control::undo_step(conn, run, step, &ann),
        });
    }

    /// Presses "Try again" and drives the run on.
    async fn retried(&self, run: RunId, step: &str) -> RunState {
        self.ask("retry", run, step);
        self.lab.drive(run).await
    }

    fn launch(&self) -> RunId {
        let step = deploy(json!({})).within(SHORT_LIMIT_SECS);
        self.lab.plan(OnFailure::Stop, &[step])
    }

    /// A launch that fails with its instance running, and is not taken back.
    async fn half_launched(&self) -> RunId {
        let refused = Fault::Refuse(400, "LoadBalancerNotFound");
        let call = "RegisterInstancesWithLoadBalancer";
        self.faults.inject(call, refused, 1);
        let run = self.launch();
        assert_eq!(self.lab.drive(run).await, RunState::Failed);
        assert_eq!(self.nodes()[0].state, NodeState::Provisioning);
        run
    }
}

#[tokio::test]
async fn a_removal_whose_end_was_not_seen_is_finished_and_takes_no_second_node() {
    // The instance is terminated and nobody hears of it; or it is not.
    for fault in [Fault::LoseReply, Fault::LoseRequest] {
        let world = World::new();
        world.edit(|profile| {
            profile.load_balancer = None;
            profile.wait_for = "running".into();
        });
        for _ in 0..3 {
            world.deployed().await;
        }
        world
            .faults
            .inject("TerminateInstances", fault.clone(), 1000);
        // Too short for a second attempt, which would find out by itself.
        let step = remove(json!({})).within(2);
        let run = world.lab.plan(OnFailure::Stop, &[step]);
        assert_eq!(world.lab.drive(run).await, RunState::Failed);
        let leaving = world.node("web03").unwrap();
        assert_eq!(leaving.state, NodeState::Draining, "{fault:?}");
        world.faults.clear();
        world.lab.write(|conn| {
            use diesel::prelude::*;
            use headroom::schema::step_runs;
            diesel::update(step_runs::table)
                .filter(step_runs::run_id.eq(run))
                .set(step_runs::timeout_secs.eq(20_i64))
                .execute(conn)?;
            Ok(())
        });

        assert_eq!(
            world.retried(run, "remove").await,
            RunState::Succeeded,
            "{:#?}",
            world.lab.steps(run)
        );
        let left: Vec<_> = world.nodes().into_iter().map(|node| node.name).collect();
        assert_eq!(
            left,
            ["web01", "web02"],
            "one decision, one node: {fault:?}"
        );
        let former: Vec<_> = world.former().into_iter().map(|node| node.name).collect();
        assert_eq!(former, ["web03"], "{fault:?}");
        assert_eq!(world.cloud.alive().await.len(), 2);
        world.no_leak("removal tried again").await;
    }
}

#[tokio::test]
async fn a_launch_that_stands_is_gone_on_with_and_not_made_a_second_time() {
    let world = World::new();
    let run = world.half_launched().await;
    let instance = world.nodes()[0].instance_id.clone();
    assert_eq!(
        world.retried(run, "add").await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(run)
    );
    assert_eq!(world.nodes().len(), 1);
    assert_eq!(world.nodes()[0].instance_id, instance);
    assert_eq!(world.nodes()[0].state, NodeState::InService);
    assert_eq!(world.cloud.instances().await.len(), 1);
    world.no_leak("launch tried again").await;
}

#[tokio::test]
async fn a_launch_tried_again_in_vain_is_still_taken_back_whole() {
    let world = World::new();
    world.edit(|profile| profile.instance_type = "mute.small".into());
    let run = world.launch();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    assert_eq!(world.retried(run, "add").await, RunState::Failed);
    let error = world.lab.error(run, "add");
    assert!(error.contains("waited in vain for an SSH"), "{error}");
    assert_eq!(world.cloud.instances().await.len(), 1, "launched twice");
    assert_eq!(world.nodes().len(), 1, "one row for it");
    world.ask("undo", run, "add");
    assert_eq!(world.lab.drive(run).await, RunState::Undone);
    assert!(world.cloud.alive().await.is_empty());
    assert!(world.nodes().is_empty());
}

#[tokio::test]
async fn a_launch_whose_instance_has_died_wants_its_undo_first() {
    let world = World::new();
    let run = world.half_launched().await;
    let instance = world.nodes()[0].instance_id.clone().unwrap();
    let terminate = format!("Action=TerminateInstances&InstanceId.1={instance}");
    world.cloud.ask_ec2(&terminate);
    assert_eq!(world.retried(run, "add").await, RunState::Failed);
    let error = world.lab.error(run, "add");
    assert!(
        error.contains(&instance) && error.contains("undo the step first"),
        "{error}"
    );
    assert_eq!(world.cloud.instances().await.len(), 1);
    world.ask("undo", run, "add");
    assert_eq!(world.lab.drive(run).await, RunState::Undone);
    assert_eq!(world.lab.states(run), [StepState::Undone]);
    assert!(world.nodes().is_empty());
}

#[tokio::test]
async fn a_launch_that_was_refused_is_begun_anew() {
    let world = World::new();
    let refused = Fault::Refuse(400, "InvalidAMIID.NotFound");
    world.faults.inject("RunInstances", refused, 1);
    let run = world.launch();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    assert_eq!(
        world.retried(run, "add").await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(run)
    );
    assert_eq!(world.faults.calls("RunInstances"), 2);
    world.no_leak("refused and tried again").await;
}
