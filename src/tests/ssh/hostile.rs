//! Nodes that do all they can to hold Headroom up: each costs its own readings, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use headroom::clients::Exit;
use headroom::clients::ssh::{Request, Trust};
use headroom::models::CounterKind;

use super::collect::{Fleet, error, outcomes};
use super::{Lab, SECOND, host, host_with, request};
use crate::support::hostile::{Hostile, REQUEST_SUCCESS, Wire};
use crate::support::sshd::{Sshd, USER};
use crate::support::wait;

/// An sshd whose shells greet as held ones do, and then do as they like.
fn impostor(addresses: u8, then: &str) -> Sshd {
    let shell = format!(
        "while read -r a b c t r; do if [ \"$c\" = held ]; then printf \"\\nheld.$t\\n\"; {then}; fi; done"
    );
    Sshd::start_with(addresses, &format!("ForceCommand {shell}"))
}

/// Waits until nobody is connected to it any more.
fn left_alone(sshd: &Sshd) {
    wait::until("the connections to be dropped", 8 * SECOND, || {
        sshd.sessions().is_empty().then_some(())
    });
}

#[tokio::test]
async fn nodes_that_never_stop_talking_are_left_and_delay_no_other() {
    let loud = impostor(4, "exec cat /dev/zero");
    let sshd = Sshd::start(1);
    let mut fleet = Fleet::new();
    let good = fleet.node("good", "127.0.0.1", Some(fleet.profile(&sshd)));
    fleet.counter(CounterKind::Ssh, "echo 1", 2);
    let profile = fleet.profile(&loud);
    let loud_nodes: Vec<_> = loud
        .addresses()
        .iter()
        .map(|address| fleet.node(&format!("loud{address}"), address, Some(profile)))
        .collect();
    let collectors = fleet.collectors();
    let started = Instant::now();
    let readings = fleet.tick(&collectors, 10 * SECOND).await;
    assert!(started.elapsed() < 8 * SECOND, "{:?}", started.elapsed());
    assert_eq!(outcomes(&readings, good, &fleet.counters), [Ok(1.0)]);
    for node in loud_nodes {
        let why = outcomes(&readings, node, &fleet.counters).remove(0);
        let why = why.unwrap_err();
        let expected = "the node said more than 1 MiB where a few readings were asked for";
        assert!(why.contains(expected), "{why}");
    }
    left_alone(&loud);
}

#[tokio::test]
async fn a_node_that_always_has_a_little_more_to_say_is_left_at_the_time_limit() {
    // A process for each byte: even a fast machine stays far below the megabyte that would end it sooner.
    let loud = impostor(1, "while :; do (printf x); done");
    let mut fleet = Fleet::new();
    let node = fleet.node("loud", "127.0.0.1", Some(fleet.profile(&loud)));
    fleet.counter(CounterKind::Ssh, "echo 1", 1);
    let collectors = fleet.collectors();
    let readings = fleet.tick(&collectors, 20 * SECOND).await;
    assert_eq!(
        outcomes(&readings, node, &fleet.counters),
        [error(
            "did not finish within 1 s and could not be stopped: it may still be running on the node"
        )]
    );
    left_alone(&loud);
}

#[tokio::test]
async fn a_command_that_never_stops_talking_is_stopped_at_its_time_limit() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let loud = Request {
        time_limit: SECOND,
        ..request("cat /dev/zero & cat /dev/zero >&2")
    };
    let started = Instant::now();
    let output = lab.ssh.exec(&host(&sshd, Trust::FirstUse), loud).await;
    assert!(started.elapsed() < 7 * SECOND, "{:?}", started.elapsed());
    let output = output.unwrap();
    assert!(
        matches!(output.status, Exit::Stopped { .. }),
        "{:?}",
        output.status
    );
}

/// Takes a question up to its last word, and nothing more.
fn only_the_question(wire: &mut Wire) -> std::io::Result<()> {
    wire.let_in()?;
    let channel = wire.open(0)?;
    let mut heard = Vec::new();
    while !heard.ends_with(b"\n") || !String::from_utf8_lossy(&heard).contains("\nE\n_hc ") {
        wire.widen(channel, 1)?;
        heard.extend(wire.input()?);
    }
    loop {
        wire.receive()?;
    }
}

#[tokio::test]
async fn a_node_that_takes_the_question_and_nothing_after_it_is_left_at_the_time_limit() {
    let sshd = Sshd::start(1);
    let deaf = Hostile::start(only_the_question);
    let mut fleet = Fleet::new();
    let profile = fleet.profile_of(&sshd, USER, deaf.port(), deaf.known_hosts());
    let node = fleet.node("deaf", "127.0.0.1", Some(profile));
    fleet.counter(CounterKind::Ssh, "echo 1", 2);
    let collectors = fleet.collectors();
    let started = Instant::now();
    let tick = fleet.tick(&collectors, 8 * SECOND);
    let watch = async {
        while deaf.left() == 0 {
            tokio::time::sleep(SECOND / 50).await;
        }
        started.elapsed()
    };
    let (readings, took) = tokio::join!(tick, watch);
    // Its time limit, and a quarter of a second for its turn.
    assert!((SECOND * 2..SECOND * 4).contains(&took), "{took:?}");
    let outcome = outcomes(&readings, node, &fleet.counters).remove(0);
    assert!(outcome.is_err(), "{outcome:?}");
}

/// The answer to a request that was never made, as large as libssh2 takes it.
fn junk(wire: &mut Wire, sent: &AtomicUsize) -> std::io::Result<()> {
    let mut message = vec![0; 32 * 1024];
    message[0] = REQUEST_SUCCESS;
    wire.send(&message)?;
    sent.fetch_add(message.len(), Ordering::SeqCst);
    Ok(())
}

const FLOODED: &str = "the server sent more than 1 MiB that nobody had asked for";
/// More than a fast machine takes in (in the clear, before the login) in the second or two until it is noticed; how long that takes is asked too.
const BOUND: usize = 4 * 1024 * 1024 * 1024;

#[tokio::test]
async fn a_server_that_sends_what_nobody_asked_for_is_left_before_the_login() {
    for pause in [Duration::ZERO, Duration::from_millis(10)] {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let hostile = Hostile::start(move |wire| {
            wire.greet()?;
            loop {
                junk(wire, &counter)?;
                std::thread::sleep(pause);
            }
        });
        let sshd = Sshd::start(1);
        let lab = Lab::new();
        let started = Instant::now();
        let host = host_with(&sshd.key(), hostile.port(), Trust::FirstUse);
        let refusal = lab.refusal(&host).await;
        let expected =
            format!("the SSH handshake failed (it says \"SSH-2.0-Hostile_1.0\"): {FLOODED}");
        assert_eq!(refusal, expected);
        assert!(started.elapsed() < 5 * SECOND, "{:?}", started.elapsed());
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < BOUND, "{sent}");
        let patient = Request {
            eager: false,
            ..request("echo ran")
        };
        let second = lab.ssh.exec(&host, patient).await.unwrap_err().to_string();
        assert!(second.contains("; tried again in "), "{second}");
    }
}

#[tokio::test]
async fn a_server_that_sends_what_nobody_asked_for_is_left_after_the_login() {
    for pause in [Duration::ZERO, Duration::from_millis(10)] {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&sent);
        let hostile = Hostile::start(move |wire| {
            wire.let_in()?;
            let channel = wire.open(1024 * 1024)?;
            wire.input()?;
            wire.output(channel, b"a word\n")?;
            loop {
                junk(wire, &counter)?;
                std::thread::sleep(pause);
            }
        });
        let sshd = Sshd::start(1);
        let lab = Lab::new();
        let started = Instant::now();
        let host = host_with(&sshd.key(), hostile.port(), Trust::FirstUse);
        let refusal = lab.refusal(&host).await;
        let expected = format!("the connection was lost while a command ran: {FLOODED}");
        assert_eq!(refusal, expected);
        assert!(started.elapsed() < 10 * SECOND, "{:?}", started.elapsed());
        let sent = sent.load(Ordering::SeqCst);
        assert!(sent < BOUND, "{sent}");
    }
}
