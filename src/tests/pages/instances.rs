//! The page Instances: a look, and what a person does about what it found.

use headroom::jobs::queue::Handler;
use headroom::jobs::schedule::INSPECT;
use headroom::jobs::supervise::stop_signal;
use headroom::models::former_node::FormerNode;
use headroom::models::step_run::StepRun;
use headroom::models::task::Task;
use headroom::models::{FindingId, FindingKind, NodeState, Role, RunState, Via};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::buttons::follow;
use crate::support::app::Browser;
use crate::support::strays::{ADDRESSES, SOON, Strays};

/// Presses the button of the page; gives the page that follows.
async fn look(operator: &Browser) -> String {
    let looked = operator.post("/instances/look", &[]).await.expect(303);
    assert_eq!(looked.header("location"), "/instances");
    follow(operator, &looked).await.expect(200).body
}

/// Presses a button of a finding that leads back to the page; gives the page.
async fn press(operator: &Browser, id: FindingId, button: &str) -> String {
    let path = format!("/instances/{id}/{button}");
    let pressed = operator.post(&path, &[]).await.expect(303);
    assert_eq!(pressed.header("location"), "/instances");
    follow(operator, &pressed).await.expect(200).body
}

fn parsed(json: Option<String>) -> Value {
    serde_json::from_str(&json.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_tells_what_disagrees_and_a_viewer_has_no_buttons() {
    let strays = Strays::start().await;
    let viewer = strays.test.login(Role::Viewer).await;
    let page = viewer.get("/instances").await.expect(200).body;
    assert!(page.contains("Nobody has looked yet."), "{page}");
    viewer.post("/instances/look", &[]).await.expect(403);

    let operator = strays.test.login(Role::Operator).await;
    let page = look(&operator).await;
    for part in [
        "3 instances were looked at; 3 disagree with the nodes.",
        "</svg>orphan</span>",
        "it is running and no node stands for it; the journal knows no launch of it",
        "It costs money and does nothing: adopt it as a node, or have it reaped.",
        "</svg>ghost</span>",
        "its instance is terminated. The node stands for nothing: forget it.",
        "web07",
        "web08",
        "web02",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    let buttons: [&[&str]; 3] = [&["adopt", "reap"], &["adopt", "reap"], &["forget"]];
    let seen = viewer.get("/instances").await.expect(200).body;
    for (instance, offered) in strays.instances.iter().zip(buttons) {
        assert!(seen.contains(instance.as_str()), "{seen}");
        let id = strays.finding(instance).id;
        for button in ["adopt", "reap", "forget"] {
            let form = format!("\"/instances/{id}/{button}\"");
            let is_there = page.contains(&form);
            assert_eq!(is_there, offered.contains(&button), "{form}: {page}");
            assert!(!seen.contains(&form), "{form}: {seen}");
            let path = form.trim_matches('"');
            viewer.post(path, &[]).await.expect(403);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_is_adopted_and_the_audit_says_by_whom_and_by_which_way() {
    let strays = Strays::start().await;
    let operator = strays.test.login(Role::Operator).await;
    look(&operator).await;
    let instance = &strays.instances[0];
    let found = strays.finding(instance);
    let page = press(&operator, found.id, "adopt").await;
    assert!(page.contains("web07 is in service."), "{page}");
    assert!(!page.contains(instance.as_str()), "it agrees now: {page}");

    let node = strays.node("web07").unwrap();
    assert_eq!(
        (node.state, node.address.as_str(), node.instance_id.as_ref()),
        (NodeState::InService, ADDRESSES[0], Some(instance))
    );
    assert_eq!(node.ec2_profile_id, Some(found.ec2_profile_id));
    let other = strays.node("web01").unwrap();
    assert!(other.ssh_profile_id.is_some());
    assert_eq!(
        node.ssh_profile_id, other.ssh_profile_id,
        "it is logged in to like the others of its cluster"
    );
    let event = strays.event(&format!("instance {instance}"));
    assert_eq!(
        (event.actor.as_str(), event.via, event.verb.as_str()),
        ("operator", Via::Page, "adopt")
    );
    assert_eq!(
        parsed(event.before),
        json!({"finding": "orphan", "detail": found.detail})
    );
    assert_eq!(
        parsed(event.after),
        json!({"node": "web07", "instance_id": instance, "address": ADDRESSES[0]})
    );

    let path = format!("/instances/{}/adopt", found.id);
    let again = operator.post(&path, &[]).await.expect(404).body;
    let said = format!("Finding {} does not exist.", found.id);
    assert!(again.contains(&said), "{again}");
    let page = look(&operator).await;
    assert!(page.contains("2 disagree with the nodes."), "{page}");
    let tasks = {
        let conn = &mut *strays.test.app.db.connection().unwrap();
        Task::all(conn).unwrap()
    };
    let noted = tasks.into_iter().find(|task| task.name == INSPECT.name);
    let noted = noted.unwrap();
    assert_eq!(noted.succeeded, Some(true), "{}", noted.result);
    assert!(
        noted.result.ends_with("2 disagree with the nodes."),
        "{}",
        noted.result
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_is_reaped_by_a_run_that_is_woken_and_by_no_second_one() {
    let strays = Strays::start().await;
    let operator = strays.test.login(Role::Operator).await;
    look(&operator).await;
    let instance = &strays.instances[1];
    let found = strays.finding(instance);
    let (sender, mut woken) = mpsc::unbounded_channel();
    let (stopper, stop) = stop_signal();
    let handler = Handler::new(move |id| sender.send(id).unwrap());
    let worker = tokio::spawn(strays.test.app.queue.work("test", handler, stop));

    let path = format!("/instances/{}/reap", found.id);
    let pressed = operator.post(&path, &[]).await.expect(303);
    let run = strays.runs().remove(0);
    assert_eq!(pressed.header("location"), format!("/runs/{}", run.id));
    let first = timeout(SOON, woken.recv()).await.expect("a wake-up");
    assert_eq!(first, Some(run.id.0));
    let page = follow(&operator, &pressed).await.expect(200).body;
    assert!(page.contains("The instance is being terminated."), "{page}");
    assert_eq!(
        (run.state, run.requested_by.as_str(), run.reason),
        (
            RunState::Queued,
            "operator",
            format!("reap {instance}: {}", found.detail)
        )
    );
    let steps = {
        let conn = &mut *strays.test.app.db.connection().unwrap();
        StepRun::of_run(conn, run.id).unwrap()
    };
    assert_eq!(steps.len(), 1);
    assert_eq!(
        (
            steps[0].kind.as_str(),
            parsed(Some(steps[0].settings.clone()))
        ),
        (
            "RemoveEc2Node",
            json!({"instance_id": instance, "ec2_profile": "small"})
        )
    );
    let event = strays.event(&format!("instance {instance}"));
    assert_eq!(
        (event.actor.as_str(), event.via, event.verb.as_str()),
        ("operator", Via::Page, "reap")
    );

    let page = press(&operator, found.id, "reap").await;
    let why = format!("run {} is at it already", run.id);
    assert!(page.contains("flash-bad") && page.contains(&why), "{page}");
    assert_eq!(strays.runs().len(), 1);
    stopper.stop();
    worker.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ghost_is_forgotten_into_the_history_and_nothing_else_is_done_about_it() {
    let strays = Strays::start().await;
    let operator = strays.test.login(Role::Operator).await;
    look(&operator).await;
    let ghost = strays.finding(&strays.instances[2]);
    assert_eq!(ghost.kind, FindingKind::Ghost);
    let orphan = strays.finding(&strays.instances[0]);
    for (id, button, why) in [
        (
            ghost.id,
            "adopt",
            "The instance is not running, so it is not adopted; look again.",
        ),
        (
            ghost.id,
            "reap",
            "there is no instance to reap: its instance is terminated; forget the node",
        ),
        (
            orphan.id,
            "forget",
            "an instance is there, so it is not forgotten: it is running and no node stands for it",
        ),
    ] {
        let page = press(&operator, id, button).await;
        assert!(page.contains("flash-bad"), "{button}: {page}");
        assert!(page.contains(why), "{button}: {page}");
    }
    assert!(strays.runs().is_empty(), "nothing was begun");
    assert!(strays.node("web02").is_some() && strays.node("web07").is_none());

    let page = press(&operator, ghost.id, "forget").await;
    let reason = "forgotten by operator: its instance is terminated";
    assert!(page.contains("web02 is forgotten."), "{page}");
    assert!(page.contains(reason), "the page has the history: {page}");
    assert!(strays.node("web02").is_none());
    let former = {
        let conn = &mut *strays.test.app.db.connection().unwrap();
        FormerNode::of_cluster(conn, "web", 10).unwrap()
    };
    assert_eq!(former.len(), 1);
    assert_eq!(
        (former[0].name.as_str(), former[0].reason.as_str()),
        ("web02", reason)
    );
    assert_eq!(former[0].instance_id.as_ref(), Some(&strays.instances[2]));
    let event = strays.event("node web02");
    assert_eq!(
        (event.actor.as_str(), event.via, event.verb.as_str()),
        ("operator", Via::Page, "forget")
    );
}
