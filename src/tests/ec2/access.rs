//! Who signs what EC2 is asked: the key of the profile, a role that is taken on with it, or what AWS's library finds by itself.

use headroom::models::RunState;

use super::faults::fails;
use super::world::World;
use crate::runs::crash::{NEVER, command};
use crate::support::faults::Fault;

/// A role of the account in which everything else of a test is.
const ROLE: &str = "arn:aws:iam::123456789012:role/headroom";
/// What a launch asks for, of EC2 and of its balancer.
const ACTIONS: [&str; 4] = [
    "RunInstances",
    "DescribeInstances",
    "RegisterInstancesWithLoadBalancer",
    "DescribeInstanceHealth",
];

impl World {
    fn with_a_role() -> Self {
        let world = Self::new();
        world.edit(|profile| {
            profile.role_arn = Some(ROLE.into());
            profile.external_id = Some("of the owner".into());
        });
        world
    }
}

#[tokio::test]
async fn a_role_is_taken_on_once_and_signs_everything_else() {
    let world = World::with_a_role();
    for _ in 0..2 {
        world.deployed().await;
    }
    assert_eq!(world.faults.calls("AssumeRole"), 1);
    assert_eq!(world.faults.signers("AssumeRole"), ["AKIATEST"]);
    let signers = world.faults.signers("RunInstances");
    assert_eq!(signers.len(), 1, "{signers:?}");
    // What STS hands out for a while begins so.
    assert!(signers[0].starts_with("ASIA"), "{signers:?}");
    for action in ACTIONS {
        assert_eq!(world.faults.signers(action), signers, "{action}");
    }
    world.no_leak("with a role").await;
}

#[tokio::test]
async fn a_role_whose_credentials_have_expired_is_taken_on_anew() {
    let world = World::with_a_role();
    let expired = Fault::Refuse(400, "RequestExpired");
    world.faults.inject("DescribeInstances", expired, 1);
    world.deployed().await;
    assert_eq!(world.faults.calls("AssumeRole"), 2);
    assert_eq!(world.faults.signers("AssumeRole"), ["AKIATEST"]);
    let (before, after) = (
        world.faults.signers("RunInstances"),
        world.faults.signers("RegisterInstancesWithLoadBalancer"),
    );
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after, "the old credentials were used again");
}

#[tokio::test]
async fn a_role_that_cannot_be_taken_on_for_a_moment_is_asked_for_again() {
    for fault in [Fault::LoseReply, Fault::Refuse(503, "ServiceUnavailable")] {
        let world = World::with_a_role();
        world.faults.inject("AssumeRole", fault, 1);
        world.deployed().await;
        assert_eq!(world.faults.calls("AssumeRole"), 2);
        world.no_leak("a role that came late").await;
    }
}

#[tokio::test]
async fn a_role_that_may_not_be_taken_on_is_told_and_nothing_is_launched() {
    let world = World::with_a_role();
    let refused = Fault::Refuse(403, "AccessDenied");
    world.faults.inject("AssumeRole", refused, 1000);
    let error = fails(&world, RunState::Failed).await;
    assert!(
        error.contains("AccessDenied")
            && error.contains("look at the credentials (access key, role)"),
        "{error}"
    );
    assert!(world.former()[0].reason.starts_with("it was not launched"));
    assert_eq!(world.faults.calls("RunInstances"), 0);
}

#[tokio::test]
async fn without_a_key_in_the_profile_the_one_in_the_environment_signs() {
    let world = World::new();
    world.edit(|profile| {
        profile.access_key_id = None;
        profile.secret_access_key_secret = None;
    });
    let run = world.deployment();
    // In a process of its own: the environment of this one belongs to every test.
    let output = command(&world.lab, &world.lab.url(), run, NEVER)
        .env("AWS_ACCESS_KEY_ID", "AKIAOFTHEENVIRONMENT")
        .env("AWS_SECRET_ACCESS_KEY", "of the environment")
        .env_remove("AWS_SESSION_TOKEN")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let steps = world.lab.steps(run);
    assert_eq!(world.lab.run(run).state, RunState::Succeeded, "{steps:#?}");
    for action in ACTIONS {
        let signers = world.faults.signers(action);
        assert_eq!(signers, ["AKIAOFTHEENVIRONMENT"], "{action}");
    }
    assert_eq!(world.faults.calls("AssumeRole"), 0);
    world.no_leak("with a key of the environment").await;
}
