//! Reaping that nobody asked for: one at a time, never a mass, never what the journal does not know, never twice a day.

use diesel::prelude::*;
use headroom::actions::ec2::inspect::{Look, inspect};
use headroom::actions::ec2::unasked::{Unasked, reap_one};
use headroom::models::finding::Finding;
use headroom::models::node::Node;
use headroom::models::{OnFailure, RunId, RunState};
use headroom::schema::step_runs;
use serde_json::json;

use super::world::World;
use crate::runs::lab::Planned;
use crate::support::faults::Fault;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

impl World {
    async fn orphan(&self) -> Node {
        let node = self.deployed().await;
        self.lab.write(|conn| Node::delete(conn, node.id));
        node
    }

    async fn orphans(&self, count: usize) {
        let mut nodes = Vec::new();
        for _ in 0..count {
            nodes.push(self.deployed().await);
        }
        for node in nodes {
            self.lab.write(|conn| Node::delete(conn, node.id));
        }
    }

    async fn looked(&self, now_ms: i64) -> Look {
        inspect(&self.lab.db, &self.lab.ctx.tools.cloud, now_ms)
            .await
            .unwrap()
    }

    /// Looks, and has an orphan reaped that was found a second ago.
    async fn unasked(&self, now_ms: i64) -> Unasked {
        let look = self.looked(now_ms).await;
        reap_one(&self.lab.db, &look, 1_000, now_ms).await.unwrap()
    }

    fn details(&self) -> Vec<String> {
        let findings = self.lab.write(Finding::all).into_iter();
        findings.map(|finding| finding.detail).collect()
    }
}

fn run_of(unasked: &Unasked) -> RunId {
    match unasked {
        Unasked::Begun(run) => *run,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_orphan_is_reaped_per_look_and_none_of_many() {
    let world = World::new();
    world.orphans(4).await;
    world.looked(0).await;
    let many = world.unasked(5_000).await;
    let told = "4 orphans were found at once, so none is reaped by itself: adopt or reap each on the page Instances";
    assert_eq!(many, Unasked::LeftAlone(told.into()));
    assert!(world.details().iter().all(|detail| detail.ends_with(told)));
    assert_eq!(world.cloud.alive().await.len(), 4);

    for instance in world.cloud.alive().await.into_iter().take(2) {
        world.cloud.ask_ec2(&format!(
            "Action=TerminateInstances&InstanceId.1={}",
            instance.id
        ));
    }
    let run = run_of(&world.unasked(6_000).await);
    assert_eq!(
        world.lab.drive(run).await,
        RunState::Succeeded,
        "{:#?}",
        world.lab.steps(run)
    );
    assert_eq!(world.cloud.alive().await.len(), 1, "one per look");
    let next = run_of(&world.unasked(7_000).await);
    assert_eq!(world.lab.drive(next).await, RunState::Succeeded);
    assert!(world.cloud.alive().await.is_empty());
}

#[tokio::test]
async fn what_the_journal_does_not_know_is_left_to_a_person() {
    let world = World::new();
    world.orphan().await;
    // As in a database that was restored, or copied, before the launch.
    world.lab.write(|conn| {
        diesel::update(step_runs::table)
            .set(step_runs::token.eq(None::<String>))
            .execute(conn)?;
        Ok(())
    });
    world.looked(0).await;
    assert_eq!(world.unasked(5_000).await, Unasked::Nothing);
    let detail = &world.details()[0];
    assert!(
        detail.contains("the journal knows no launch of it") && detail.contains("restored backup"),
        "{detail}"
    );
    assert_eq!(world.cloud.alive().await.len(), 1);
}

#[tokio::test]
async fn what_was_found_once_in_an_account_that_cannot_be_asked_now_is_not_reaped() {
    let world = World::new();
    world.orphan().await;
    world.looked(0).await;
    let refused = Fault::Refuse(400, "AuthFailure");
    world.faults.inject("DescribeInstances", refused, 1);
    assert_eq!(world.unasked(5_000).await, Unasked::Nothing);
    assert_eq!(world.details().len(), 1, "it is still known");
    run_of(&world.unasked(6_000).await);
}

#[tokio::test]
async fn a_reaping_that_was_refused_is_not_begun_again_for_a_day() {
    let world = World::new();
    let node = world.orphan().await;
    world.protect(&node, true);
    world.looked(0).await;
    let now_ms = headroom::models::to_ms(chrono::Utc::now());
    let run = run_of(&world.unasked(now_ms).await);
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    assert_eq!(world.unasked(now_ms + 300_000).await, Unasked::Nothing);
    let detail = &world.details()[0];
    assert!(detail.contains("within the last 24 h"), "{detail}");
    run_of(&world.unasked(now_ms + DAY_MS + 1_000).await);
}

#[tokio::test]
async fn an_instance_without_this_headrooms_tag_is_not_reaped() {
    let world = World::new();
    let node = world.orphan().await;
    let id = node.instance_id.unwrap();
    world.cloud.ask_ec2(&format!(
        "Action=DeleteTags&ResourceId.1={id}&Tag.1.Key=headroom:site"
    ));
    let reap = |id: &str| {
        let settings = json!({"instance_id": id, "ec2_profile": "small"});
        let step = Planned::new("reap", "RemoveEc2Node", settings).within(20);
        world.lab.plan(OnFailure::Stop, &[step])
    };
    let run = reap(&id);
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    let error = world.lab.error(run, "reap");
    assert!(
        error.contains("does not carry this Headroom's tag headroom:site"),
        "{error}"
    );
    let unknown = reap("i-0123456789abcdef0");
    assert_eq!(world.lab.drive(unknown).await, RunState::Failed);
    let error = world.lab.error(unknown, "reap");
    assert!(error.contains("does not list it"), "{error}");
    assert_eq!(world.faults.calls("TerminateInstances"), 0);
    assert_eq!(world.cloud.alive().await.len(), 1);
}
