//! Launches that give no node open the cluster's breaker; a person or one launch on trial closes it.

use std::time::Duration;

use headroom::actions::breaker;
use headroom::db::Connection;
use headroom::models::audit::AuditEvent;
use headroom::models::breaker::Breaker;
use headroom::models::cluster::{Cluster, NewCluster};
use headroom::models::run::Run;
use headroom::models::{BreakerState, OnFailure, RunId, RunState, StepRunId, StepState, Via};
use headroom::runs::control::{self, Decision};
use serde_json::json;

use super::world::{World, deploy};
use crate::runs::crash::{NEVER, command, die};
use crate::runs::lab::{KINDS, id};
use crate::support::faults::Fault;
use crate::support::postgres::Postgres;

const BAD_IMAGE: Fault = Fault::Refuse(400, "InvalidAMIID.NotFound");

type Verb = fn(&mut Connection, RunId, StepRunId, &Decision<'_>) -> headroom::error::Result<Run>;

impl World {
    fn guarded(self, max_failed_launches: i32, max_launches_per_hour: Option<i32>) -> Self {
        self.edit(|profile| profile.wait_for = "running".into());
        self.lab.write(|conn| {
            let cluster = Cluster::by_name(conn, "web")?;
            let new = NewCluster {
                max_failed_launches,
                max_launches_per_hour,
                ..NewCluster::named(cluster.name, 0)
            };
            Cluster::update(conn, cluster.id, &new)
        });
        self
    }

    fn breaker(&self) -> Breaker {
        self.lab.write(|conn| {
            let cluster = Cluster::by_name(conn, "web")?;
            Breaker::of(conn, cluster.id)
        })
    }

    /// As if it had opened an hour earlier.
    fn cooled(&self) {
        let breaker = self.breaker();
        let opened_ms = breaker.opened_ms.map(|at_ms| at_ms - 3_600_000);
        self.lab.write(|conn| {
            Breaker {
                opened_ms,
                ..breaker
            }
            .keep(conn)
        });
    }

    async fn fails(&self) -> String {
        let run = self.deployment();
        assert_eq!(self.lab.drive(run).await, RunState::Failed);
        self.lab.error(run, "add")
    }

    async fn decided(&self, run: RunId, verb: Verb) {
        let step = id(&self.lab.step(run, "add"));
        let ann = Decision {
            kinds: KINDS,
            ..Decision::new("ann", Via::Cli, "looked", 1)
        };
        self.lab.write(|conn| verb(conn, run, step, &ann));
        self.lab.drive(run).await;
    }

    async fn undone(&self, run: RunId) {
        self.decided(run, control::undo_step).await;
        assert_eq!(self.lab.run(run).state, RunState::Undone);
    }

    fn audit(&self) -> Vec<(String, String)> {
        let events = self
            .lab
            .write(|conn| AuditEvent::page(conn, None, Some("cluster web"), 99));
        let told = events.into_iter().rev();
        told.map(|event| (event.actor, event.verb)).collect()
    }
}

#[tokio::test]
async fn failed_launches_in_a_row_open_it_and_a_person_closes_it() {
    let world = World::new().guarded(3, None);
    world.faults.inject("RunInstances", BAD_IMAGE, 2);
    world.fails().await;
    world.fails().await;
    world.deployed().await;
    assert_eq!(world.breaker().failures, 0, "in a row");
    world.faults.inject("RunInstances", BAD_IMAGE, 3);
    for failures in 1..=3 {
        assert_eq!(world.breaker().state, BreakerState::Closed);
        let error = world.fails().await;
        assert!(error.contains("InvalidAMIID.NotFound"), "{error}");
        assert_eq!(world.breaker().failures, failures);
    }
    let open = world.breaker();
    assert_eq!(open.state, BreakerState::Open);
    assert!(open.reason.contains("InvalidAMIID.NotFound"), "{open:?}");

    let calls = world.faults.calls("RunInstances");
    let refused = world.deployment();
    assert_eq!(world.lab.drive(refused).await, RunState::Failed);
    let error = world.lab.error(refused, "add");
    assert!(
        error.starts_with("not launched: the breaker of web is open since ")
            && error.contains("after 3 launches in a row that gave no node"),
        "{error}"
    );
    let step = world.lab.step(refused, "add");
    assert_eq!((step.state, step.attempt), (StepState::Failed, 0));
    assert_eq!(
        world.faults.calls("RunInstances"),
        calls,
        "nothing was asked"
    );
    assert_eq!(world.breaker().failures, 3, "a refusal is no failure");

    let ann = ("ann", Via::Page, "the image is there again");
    world.lab.write(|conn| breaker::close(conn, "web", ann, 9));
    world.deployed().await;
    assert_eq!(world.breaker().state, BreakerState::Closed);
    let told = world.audit();
    let wanted = [("breaker", "open breaker"), ("ann", "close breaker")];
    assert_eq!(
        told,
        wanted.map(|(who, what)| (who.to_owned(), what.to_owned()))
    );
    let again = world
        .lab
        .db
        .write_blocking(|conn| breaker::close(conn, "web", ann, 9));
    let why = again.unwrap_err().to_string();
    assert_eq!(why, "the breaker of web is closed already");
}

#[tokio::test]
async fn a_launch_on_trial_that_gives_no_node_opens_it_anew() {
    let world = World::new().guarded(1, None);
    world.faults.inject("RunInstances", BAD_IMAGE, 2);
    world.fails().await;
    world.cooled();
    let cooled_ms = world.breaker().opened_ms;
    let run = world.deployment();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    let told = world.lab.log(run);
    let trial = "the breaker of web lets this launch through on trial";
    assert!(told.iter().any(|line| line == trial), "{told:?}");
    let breaker = world.breaker();
    assert_eq!(breaker.state, BreakerState::Open);
    assert!(breaker.opened_ms > cooled_ms, "{breaker:?}");
    assert_eq!((breaker.failures, breaker.canary_run_id), (2, None));
    let error = world.fails().await;
    assert!(error.contains("is open since"), "{error}");
}

/// Two processes launch at the same moment once the cool-down is over: one of them does.
async fn one_of_two(world: World, url: &str) {
    world.faults.inject("RunInstances", BAD_IMAGE, 1);
    world.fails().await;
    world.cooled();
    let calls = world.faults.calls("RunInstances");
    let slow = Fault::Delay(Duration::from_secs(4));
    world.faults.inject("RunInstances", slow, 1);
    let runs = [world.deployment(), world.deployment()];
    let mut children: Vec<_> = runs
        .iter()
        .map(|run| command(&world.lab, url, *run, NEVER).spawn().unwrap())
        .collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let states = runs.map(|run| world.lab.run(run).state);
    let errors = runs.map(|run| world.lab.error(run, "add"));
    assert!(
        states.contains(&RunState::Succeeded) && states.contains(&RunState::Failed),
        "{states:?} {errors:?}"
    );
    assert!(
        errors
            .iter()
            .any(|error| error.contains("lets one launch through on trial, that of run")),
        "{errors:?}"
    );
    assert_eq!(world.faults.calls("RunInstances"), calls + 1);
    assert_eq!(world.cloud.alive().await.len(), 1);
    assert_eq!(world.breaker().state, BreakerState::Closed);
    let told: Vec<_> = world.audit().into_iter().map(|(_, verb)| verb).collect();
    assert_eq!(told, ["open breaker", "try breaker", "close breaker"]);
}

#[tokio::test]
async fn after_the_cooldown_one_of_two_processes_launches_on_trial() {
    let world = World::new().guarded(1, None);
    let url = world.lab.url();
    one_of_two(world, &url).await;
}

#[tokio::test]
async fn after_the_cooldown_one_of_two_processes_launches_on_trial_on_postgres() {
    let server = Postgres::start();
    let world = World::on_postgres(&server).guarded(1, None);
    one_of_two(world, &server.url()).await;
}

#[tokio::test]
async fn a_launch_on_trial_whose_process_is_killed_is_still_the_one_on_trial() {
    for at in [2, 3] {
        let world = World::new().guarded(1, None);
        world.faults.inject("RunInstances", BAD_IMAGE, 1);
        world.fails().await;
        world.cooled();
        let run = world.deployment();
        let boundary = die(&world.lab, &world.lab.url(), run, at).unwrap();
        let breaker = world.breaker();
        assert_eq!(breaker.state, BreakerState::HalfOpen, "{boundary}");
        assert_eq!(breaker.canary_run_id, Some(run), "{boundary}");
        let other = world.fails().await;
        assert!(other.contains("lets one launch through"), "{other}");
        assert_eq!(world.lab.recover(run).await, RunState::Succeeded);
        assert_eq!(world.breaker().state, BreakerState::Closed, "{boundary}");
        assert_eq!(world.cloud.alive().await.len(), 1, "{boundary}");
    }
}

#[tokio::test]
async fn so_many_launches_an_hour_and_no_more() {
    let world = World::new().guarded(0, Some(2));
    world.deployed().await;
    world.deployed().await;
    let error = world.fails().await;
    assert!(
        error.starts_with("not launched: 2 launches were begun in web within the last hour, and max_launches_per_hour is 2; the next may begin at "),
        "{error}"
    );
    assert_eq!(world.faults.calls("RunInstances"), 2);
    let id = world
        .lab
        .write(|conn| Ok(Cluster::by_name(conn, "web")?.id));
    let now_ms = (world.lab.ctx.clock)();
    let at = |at_ms| {
        world
            .lab
            .write(|conn| breaker::refusal(conn, KINDS, id, at_ms))
    };
    assert!(at(now_ms).is_some());
    assert_eq!(at(now_ms + 3_600_000), None, "an hour later");
}

#[tokio::test]
async fn what_a_person_takes_back_later_says_nothing_about_launching() {
    let world = World::new().guarded(3, None);
    world.edit(|profile| profile.wait_for = "healthy".into());
    let refused = Fault::Refuse(400, "LoadBalancerNotFound");
    let call = "RegisterInstancesWithLoadBalancer";
    world.faults.inject(call, refused, 1);
    let step = deploy(json!({})).within(10);
    let bad = world.lab.plan(OnFailure::Stop, &[step]);
    assert_eq!(world.lab.drive(bad).await, RunState::Failed);
    assert_eq!(world.breaker().failures, 1);
    world.undone(bad).await;
    assert_eq!(world.breaker().failures, 1, "the same launch");
}

#[tokio::test]
async fn a_launch_that_a_person_brings_to_a_good_end_is_one_that_gave_a_node() {
    let world = World::new().guarded(3, None);
    world.faults.inject("RunInstances", BAD_IMAGE, 2);
    let run = world.deployment();
    assert_eq!(world.lab.drive(run).await, RunState::Failed);
    for (failures, state) in [(1, RunState::Failed), (0, RunState::Succeeded)] {
        world.decided(run, control::retry_step).await;
        assert_eq!(world.lab.run(run).state, state);
        assert_eq!(world.breaker().failures, failures, "a run speaks once");
    }
}
