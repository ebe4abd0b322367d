//! The held shell against real sshds: what cannot be held, what goes away, what comes back.

use std::time::{Duration, Instant};

use headroom::clients::ssh::Options;
use headroom::models::NodeId;

use super::collect::{Fleet, error, outcomes};
use super::{SECOND, host};
use crate::support::sshd::Sshd;

/// Execs that an sshd was asked for.
pub(super) fn execs(sshd: &Sshd) -> usize {
    sshd.log().matches("Starting session: ").count()
}

#[tokio::test]
async fn one_shell_serves_all_ticks_and_a_broken_one_is_replaced() {
    let sshd = Sshd::start_with(1, "LogLevel VERBOSE");
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    fleet.scripts(&[
        "echo 1",
        "cut -d' ' -f1 /proc/loadavg",
        "cd /; x=1; umask 0; echo 3",
    ]);
    let collectors = fleet.collectors();
    for _ in 0..5 {
        let outcomes = fleet.outcomes(&collectors, node).await;
        assert_eq!((&outcomes[0], &outcomes[2]), (&Ok(1.0), &Ok(3.0)));
    }
    assert_eq!(execs(&sshd), 1, "{}", sshd.log());
    // Somebody kills the shell between two ticks; the connection stays.
    let is_shell = |pid: &u32| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim() == "sh")
    };
    // What has ended in it is younger.
    let shell = sshd.sessions().into_iter().filter(is_shell).min().unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(shell).unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let outcomes = fleet.outcomes(&collectors, node).await;
    assert_eq!(outcomes[0], Ok(1.0), "{outcomes:?}");
    assert_eq!((execs(&sshd), sshd.logins()), (2, 1));
}

#[tokio::test]
async fn a_hung_script_costs_the_shell_and_a_command_each_tick_until_it_is_gone() {
    let sshd = Sshd::start_with(1, "LogLevel VERBOSE");
    let flag = sshd.scratch().join("hang");
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    let script = format!("[ ! -e {} ] || sleep 600; echo 2", flag.display());
    fleet.scripts(&["echo 1"]);
    fleet.counter(headroom::models::CounterKind::Ssh, &script, 1);
    let collectors = fleet.collectors();
    std::fs::write(&flag, "").unwrap();
    for _ in 0..2 {
        let outcomes = fleet.outcomes(&collectors, node).await;
        assert_eq!(outcomes, [Ok(1.0), error("did not finish within 1 s")]);
    }
    std::fs::remove_file(&flag).unwrap();
    let before = execs(&sshd);
    for _ in 0..4 {
        assert_eq!(fleet.outcomes(&collectors, node).await, [Ok(1.0), Ok(2.0)]);
    }
    // One command that behaved, then one shell for the rest.
    assert_eq!(execs(&sshd) - before, 2, "{}", sshd.log());
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn where_no_shell_answers_the_reading_says_what_the_node_said() {
    let cases = [
        (
            "ForceCommand echo this account is for backups",
            "the node said \"this account is for backups\"",
        ),
        (
            "ForceCommand /bin/cat",
            "did not finish within 1 s; the node said ",
        ),
    ];
    for (settings, expected) in cases {
        let sshd = Sshd::start_with(1, settings);
        let mut fleet = Fleet::new();
        let profile = fleet.profile(&sshd);
        let node = fleet.node("web01", "127.0.0.1", Some(profile));
        fleet.counter(headroom::models::CounterKind::Ssh, "echo 1", 1);
        let collectors = fleet.collectors();
        for _ in 0..2 {
            let why = fleet.outcomes(&collectors, node).await[0]
                .clone()
                .unwrap_err();
            assert!(why.contains(expected), "{settings}: {why}");
        }
    }
}

#[tokio::test]
async fn a_forced_command_that_passes_commands_on_is_held_like_any() {
    let sshd = Sshd::start_with(
        1,
        "ForceCommand sh -c \"$SSH_ORIGINAL_COMMAND\"\nMaxSessions 1",
    );
    let mut fleet = Fleet::new();
    let profile = fleet.profile(&sshd);
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    fleet.scripts(&["echo 1"]);
    let collectors = fleet.collectors();
    for _ in 0..2 {
        assert_eq!(fleet.outcomes(&collectors, node).await, [Ok(1.0)]);
        // The server allows one session: the shell gives way to a command.
        let pinned = super::pinned(&sshd.known_hosts());
        assert_eq!(fleet.lab.word(&host(&sshd, pinned), "echo in").await, "in");
    }
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn of_many_nodes_half_vanish_and_come_back_and_the_others_stay_on_time() {
    let mut sshds: Vec<Sshd> = (0..4).map(|_| Sshd::start(15)).collect();
    let mut fleet = Fleet::with(Options {
        backoff_first: Duration::from_millis(100),
        backoff_longest: Duration::from_millis(200),
        connect_limit: 5 * SECOND,
        ..Options::default()
    });
    fleet.scripts(&["echo 1", "cut -d' ' -f1 /proc/loadavg"]);
    let mut nodes: Vec<Vec<NodeId>> = Vec::new();
    for (index, sshd) in sshds.iter().enumerate() {
        let profile = fleet.profile(sshd);
        let addresses = sshd.addresses();
        let named = addresses
            .iter()
            .map(|address| fleet.node(&format!("n{index}-{address}"), address, Some(profile)));
        nodes.push(named.collect());
    }
    let collectors = fleet.collectors();
    let first = fleet.tick(&collectors, 60 * SECOND).await;
    assert!(first.iter().all(|reading| reading.outcome.is_ok()));
    for sshd in &mut sshds[2..] {
        sshd.stop();
    }
    for _ in 0..3 {
        let started = Instant::now();
        let readings = fleet.tick(&collectors, 20 * SECOND).await;
        assert!(started.elapsed() < 10 * SECOND, "{:?}", started.elapsed());
        for node in nodes[..2].iter().flatten() {
            assert_eq!(outcomes(&readings, *node, &fleet.counters)[0], Ok(1.0));
        }
        for node in nodes[2..].iter().flatten() {
            let why = outcomes(&readings, *node, &fleet.counters)[0]
                .clone()
                .unwrap_err();
            assert!(why.contains("connection refused"), "{why}");
        }
    }
    for sshd in &mut sshds[2..] {
        sshd.restart();
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
    let back = fleet.tick(&collectors, 60 * SECOND).await;
    assert!(
        back.iter().all(|reading| reading.outcome.is_ok()),
        "{back:?}"
    );
    assert_eq!(fleet.lab.ssh.open_connections(), 60);
}
