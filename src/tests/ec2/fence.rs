//! A worker stands still while another takes its run up, and wakes in the middle of that or after it: it undoes nothing and adds nothing.

use std::process::Child;
use std::time::Duration;

use headroom::models::{NodeState, RunId, RunState};
use headroom::runs::execute;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::world::World;
use crate::runs::crash::{NEVER, command};
use crate::support::faults::Fault;
use crate::support::wait;

const SOON: Duration = Duration::from_secs(30);

/// A process that drives a run and stands still at a call.
struct Frozen(Option<Child>);

impl Frozen {
    fn at(world: &World, run: RunId, action: &'static str) -> Self {
        let mut command = command(&world.lab, &world.lab.url(), run, NEVER);
        let frozen = Self(Some(command.spawn().unwrap()));
        world.faults.pause_at(frozen.pid(), action);
        let paused = || world.faults.has_paused().then_some(());
        wait::until("the worker to stand still", SOON, paused);
        frozen
    }

    fn pid(&self) -> Pid {
        let child = self.0.as_ref().unwrap();
        Pid::from_raw(i32::try_from(child.id()).unwrap())
    }

    /// Lets it go on until it ends; what it said.
    fn wake(mut self) -> String {
        kill(self.pid(), Signal::SIGCONT).unwrap();
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn lost(said: &str) {
    assert!(said.contains("was lost to another worker"), "{said}");
}

#[tokio::test]
async fn a_launch_that_another_worker_has_finished_is_not_given_up_by_the_first() {
    let world = World::new();
    let run = world.deployment();
    // The first worker is told that there is no capacity, and hears it late; the second gets an instance.
    let none = Fault::Refuse(500, "InsufficientInstanceCapacity");
    world.faults.inject("RunInstances", none, 1);
    let frozen = Frozen::at(&world, run, "RunInstances");
    assert_eq!(world.lab.recover(run).await, RunState::Succeeded);
    lost(&frozen.wake());
    let nodes = world.nodes();
    assert_eq!(
        nodes.len(),
        1,
        "the row of a node in service was taken away"
    );
    assert_eq!(nodes[0].state, NodeState::InService);
    assert!(world.former().is_empty(), "{:?}", world.former());
    world.no_leak("a launch across a pause").await;
}

#[tokio::test]
async fn a_removal_that_another_worker_is_at_is_not_called_off_by_the_first() {
    let world = World::new();
    for _ in 0..3 {
        world.deployed().await;
    }
    let run = world.removal();
    // The first worker hears late that it may not terminate, which puts a node back into service; the second is in the middle of it then.
    let protected = Fault::Refuse(400, "OperationNotPermitted");
    world.faults.inject("TerminateInstances", protected, 1);
    let slow = Fault::Delay(Duration::from_secs(6));
    world.faults.inject("TerminateInstances", slow, 1);
    let frozen = Frozen::at(&world, run, "TerminateInstances");
    let late = world.lab.late_worker("b");
    let other = tokio::spawn(async move { execute::drive(&late, run).await });
    let faults = world.faults.clone();
    let said = tokio::task::spawn_blocking(move || {
        let asked = || (faults.calls("TerminateInstances") == 2).then_some(());
        wait::until("the other worker to terminate", SOON, asked);
        frozen.wake()
    });
    lost(&said.await.unwrap());
    let leaving = world.node("web03").map(|node| node.state);
    assert_eq!(leaving, Some(NodeState::Draining), "it was called off");
    other.await.unwrap().unwrap();
    assert_eq!(world.lab.run(run).state, RunState::Succeeded);
    let gone = world.former().remove(0);
    assert_eq!(
        (gone.name.as_str(), gone.reason.as_str()),
        ("web03", "removed")
    );
    let members = world.cloud.members("web-elb");
    assert!(!members.contains(&gone.instance_id.unwrap()), "{members:?}");
    assert_eq!(
        world.nodes().len(),
        2,
        "a node in service without an instance"
    );
    world.no_leak("a removal across a pause").await;
}
