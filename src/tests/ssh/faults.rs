use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use headroom::clients::ssh::{Host, Identity, Login, Options, Request, Trust};
use secrecy::SecretString;

use super::{Lab, SECOND, host, host_with, request};
use crate::support::sshd::{BadHost, Manners, Sshd, USER};
use crate::support::{ports, wait};

/// Limits that a test can wait for.
fn quick() -> Options {
    Options {
        connect_limit: SECOND,
        answer_limit: SECOND,
        ..Options::default()
    }
}

#[tokio::test]
async fn each_way_not_to_be_reached_is_told_apart() {
    let sshd = Sshd::start(1);
    let lab = Lab::with(quick());
    let cases = [
        (
            BadHost::start(Manners::Silent).port(),
            "no connection: the host did not answer within 1 s",
        ),
        (
            BadHost::start(Manners::GreetsOnly).port(),
            "no connection: the server did not finish the login within 1 s",
        ),
        (
            BadHost::start(Manners::Garbage).port(),
            "the SSH handshake failed",
        ),
        (
            BadHost::start(Manners::HangsUp).port(),
            "the SSH handshake failed",
        ),
        (ports::free(), "connection refused: no sshd listens there"),
    ];
    for (port, expected) in cases {
        let started = Instant::now();
        let refusal = lab
            .refusal(&host_with(&sshd.key(), port, Trust::FirstUse))
            .await;
        assert!(refusal.starts_with(expected), "{expected}: {refusal}");
        assert!(started.elapsed() < 5 * SECOND, "{expected}");
    }
}

#[tokio::test]
async fn a_profile_may_allow_more_or_less_time_for_connecting() {
    let sshd = Sshd::start(1);
    let lab = Lab::with(quick());
    let slow = BadHost::start(Manners::GreetsOnly).port();
    for secs in [2, 3] {
        let identity = Identity::Key {
            key: SecretString::from(sshd.key()),
            passphrase: None,
            certificate: None,
        };
        let login = Login::with(USER, identity, Trust::FirstUse, None);
        let host = Host {
            login: Arc::new(login.within(Some(secs * SECOND))),
            ..host_with(&sshd.key(), slow, Trust::FirstUse)
        };
        let started = Instant::now();
        let refusal = lab.refusal(&host).await;
        let late = format!("no connection: the server did not finish the login within {secs} s");
        assert_eq!(refusal, late);
        assert!(started.elapsed() >= secs * SECOND);
    }
}

#[tokio::test]
async fn hanging_hosts_never_delay_the_others() {
    let sshd = Sshd::start(8);
    let options = Options {
        connect_limit: 5 * SECOND,
        handshakes: 4,
        ..Options::default()
    };
    let lab = Lab::with(options);
    let bad: Vec<_> = (0..40).map(|_| BadHost::start(Manners::Silent)).collect();
    let hang = join_all(bad.iter().map(|bad| {
        let host = host_with(&sshd.key(), bad.port(), Trust::FirstUse);
        let lab = &lab;
        async move { drop(lab.refusal(&host).await) }
    }));
    let good = async {
        let started = Instant::now();
        let mut good = host(&sshd, Trust::FirstUse);
        for address in sshd.addresses() {
            good.address = address;
            assert_eq!(lab.word(&good, "echo up").await, "up");
        }
        started.elapsed()
    };
    tokio::select! {
        took = good => assert!(took < 5 * SECOND, "{took:?}"),
        _ = hang => panic!("the hanging hosts gave up before the good ones were done"),
    }
}

#[tokio::test]
async fn a_host_that_failed_is_left_alone_for_a_while_unless_someone_insists() {
    let sshd = Sshd::start(1);
    let port = ports::free();
    let lab = Lab::with(Options {
        backoff_first: 600 * SECOND,
        backoff_longest: 600 * SECOND,
        ..quick()
    });
    let gone = host_with(&sshd.key(), port, Trust::FirstUse);
    let patient = || Request {
        eager: false,
        ..request("echo ran")
    };
    lab.ssh.exec(&gone, patient()).await.unwrap_err();
    let error = lab.ssh.exec(&gone, patient()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("connection refused") && text.contains("; tried again in "),
        "{text}"
    );
    assert!(text.ends_with(" s, after 1 failure"), "{text}");
    let refusal = lab.refusal(&gone).await;
    assert!(!refusal.contains("tried again"), "{refusal}");
}

#[tokio::test]
async fn a_restarted_sshd_is_reconnected_without_a_lost_command() {
    let mut sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    assert_eq!(lab.word(&host, "echo one").await, "one");
    sshd.restart();
    assert_eq!(lab.word(&host, "echo two").await, "two");
    assert_eq!(sshd.logins(), 2);
}

#[tokio::test]
async fn a_connection_lost_while_a_script_runs_is_an_error_that_says_so() {
    let mut sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let file = sshd.scratch().join("begun");
    let script = format!("touch {}; sleep 20", file.display());
    let run = lab.exec(&host, &script);
    let stop = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sshd.stop();
    };
    let (output, ()) = tokio::join!(run, stop);
    let text = output.unwrap_err().to_string();
    assert!(
        text.contains("the connection was lost while a command ran"),
        "{text}"
    );
}

#[tokio::test]
async fn a_frozen_host_costs_its_time_limit_and_is_reached_again_once_it_is_back() {
    let mut sshd = Sshd::start(1);
    let lab = Lab::with(quick());
    let host = host(&sshd, Trust::FirstUse);
    lab.word(&host, "echo one").await;
    sshd.freeze_sessions();
    let started = Instant::now();
    let refusal = lab.refusal(&host).await;
    assert_eq!(
        refusal,
        "connected, but the server did not answer within 1 s"
    );
    assert!(started.elapsed() < 4 * SECOND);
    sshd.restart();
    assert_eq!(lab.word(&host, "echo two").await, "two");
}

#[tokio::test]
async fn a_server_too_old_is_told_so() {
    let sshd = Sshd::start_with(1, "KexAlgorithms diffie-hellman-group14-sha1");
    let lab = Lab::new();
    let refusal = lab.refusal(&host(&sshd, Trust::FirstUse)).await;
    assert!(
        refusal.starts_with("no common key exchange, host key type or cipher with the server"),
        "{refusal}"
    );
    assert!(refusal.contains("update its sshd"), "{refusal}");
    assert!(
        refusal.contains("; it offers key exchange diffie-hellman-group14-sha1"),
        "{refusal}"
    );
    assert!(refusal.contains("; host keys ssh-ed25519"), "{refusal}");
}

#[tokio::test]
async fn an_unused_connection_is_closed() {
    let sshd = Sshd::start(1);
    let lab = Lab::with(Options {
        idle_limit: SECOND,
        ..Options::default()
    });
    lab.word(&host(&sshd, Trust::FirstUse), "echo in").await;
    assert_eq!(lab.ssh.open_connections(), 1);
    wait::until("the connection to be closed", 20 * SECOND, || {
        (lab.ssh.open_connections() == 0 && sshd.sessions().is_empty()).then_some(())
    });
}
