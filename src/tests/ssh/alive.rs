//! Keep-alives: what firewalls hear of a connection while nobody asks anything, and what is learnt by them.

use std::time::Duration;

use headroom::clients::ssh::{Host, Options, Request, Trust};
use tokio::time::{sleep, timeout};

use super::{Lab, SECOND, host_with, request};
use crate::support::cable::{Cable, Cut};
use crate::support::sshd::Sshd;

/// A connection that is kept, and the cable that it goes through.
struct Kept {
    lab: Lab,
    cable: Cable,
    host: Host,
}

impl Kept {
    async fn with(sshd: &Sshd, keepalive: Duration) -> Self {
        let cable = Cable::to(sshd.port(), Cut::ByHand).await;
        let lab = Lab::with(Options {
            keepalive,
            ..Options::default()
        });
        let host = host_with(&sshd.key(), cable.port(), Trust::FirstUse);
        assert_eq!(lab.word(&host, "echo in").await, "in");
        let kept = Self { lab, cable, host };
        kept.settle().await;
        kept
    }

    /// Waits for the last packets of what was asked before.
    async fn settle(&self) {
        let mut before = 0;
        while self.cable.passed() > before {
            before = self.cable.passed();
            sleep(SECOND / 2).await;
        }
    }

    /// Waits until something has gone through the cable, so many times.
    async fn spoken(&self, times: usize) {
        for _ in 0..times {
            let before = self.cable.passed();
            until("a word on the cable", || self.cable.passed() > before).await;
        }
    }
}

/// Waits without holding up the cable, which lives on the same thread.
async fn until(what: &str, met: impl Fn() -> bool) {
    let waited = async {
        while !met() {
            sleep(SECOND / 50).await;
        }
    };
    let waited = timeout(60 * SECOND, waited).await;
    assert!(waited.is_ok(), "waited in vain for {what}");
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_kept_alive_as_often_as_is_asked() {
    let sshd = Sshd::start(1);
    let often = Kept::with(&sshd, SECOND).await;
    let rarely = Kept::with(&sshd, 600 * SECOND).await;
    let before = (often.cable.passed(), rarely.cable.passed());
    often.spoken(2).await;
    let words = often.cable.passed() - before.0;
    // A first keep-alive comes soon for everyone.
    let fewer = rarely.cable.passed() - before.1;
    assert!(fewer < words, "{fewer} and {words} bytes");
    for kept in [&often, &rarely] {
        assert_eq!(kept.lab.word(&kept.host, "echo still").await, "still");
        assert_eq!(kept.cable.carried(), 1, "on the same connection");
    }
    assert_eq!(sshd.logins(), 2);
}

#[tokio::test]
async fn a_connection_is_kept_alive_while_a_long_script_says_nothing() {
    let sshd = Sshd::start(1);
    let kept = Kept::with(&sshd, SECOND).await;
    let folder = sshd.scratch();
    let (begun, enough) = (folder.join("begun"), folder.join("enough"));
    let script = format!(
        "touch {}; while [ ! -e {} ]; do sleep 0.1; done; echo done",
        begun.display(),
        enough.display()
    );
    let patient = Request {
        time_limit: 100 * SECOND,
        ..request(&script)
    };
    let watch = async {
        until("the script to begin", || begun.exists()).await;
        kept.settle().await;
        kept.spoken(2).await;
        std::fs::write(&enough, "").unwrap();
    };
    let (output, ()) = tokio::join!(kept.lab.ssh.exec(&kept.host, patient), watch);
    assert_eq!(output.unwrap().stdout_text().trim(), "done");
    assert_eq!(sshd.logins(), 1);
}

#[tokio::test]
async fn a_connection_that_was_reset_is_found_out_although_nobody_asks_anything() {
    let sshd = Sshd::start(1);
    let kept = Kept::with(&sshd, SECOND).await;
    assert_eq!(kept.lab.ssh.open_connections(), 1);
    kept.cable.cut();
    until("the connection to be given up", || {
        kept.lab.ssh.open_connections() == 0
    })
    .await;
    assert_eq!(kept.lab.word(&kept.host, "echo back").await, "back");
    assert_eq!(sshd.logins(), 2);
}
