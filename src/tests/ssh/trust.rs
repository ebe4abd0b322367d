use std::process::Command;

use headroom::clients::ssh::Trust;
use headroom::models::HostKeyState;
use headroom::models::host_key::HostKey;

use super::{Lab, host, host_with, pinned};
use crate::support::sshd::Sshd;

impl Lab {
    /// What the database says of the one host: state and key.
    fn stored(&self) -> Vec<(HostKeyState, String)> {
        let rows = HostKey::of_host(&mut self.db.connection().unwrap(), "127.0.0.1").unwrap();
        rows.into_iter()
            .map(|row| (row.state, format!("{} {}", row.key_type, row.key_base64)))
            .collect()
    }
}

#[tokio::test]
async fn the_first_key_is_remembered() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    assert_eq!(
        lab.word(&host(&sshd, Trust::FirstUse), "echo in").await,
        "in"
    );
    assert_eq!(lab.stored(), [(HostKeyState::Accepted, sshd.host_key())]);
}

#[tokio::test]
async fn a_changed_key_is_refused_until_a_person_accepts_it() {
    let mut sshd = Sshd::start(1);
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    lab.word(&host, "echo in").await;
    let old = sshd.host_key();
    sshd.change_host_key();
    sshd.restart();
    for _ in 0..2 {
        let refusal = lab.refusal(&host).await;
        assert!(
            refusal.starts_with("refused: the host key changed: remembered ssh-ed25519 SHA256:"),
            "{refusal}"
        );
        assert!(refusal.contains("accept the new key on the node's page"));
    }
    assert_eq!(
        lab.stored(),
        [
            (HostKeyState::Accepted, old),
            (HostKeyState::Offered, sshd.host_key()),
        ]
    );
    let conn = &mut lab.db.connection().unwrap();
    let offered = HostKey::offered(conn).unwrap().remove(0);
    HostKey::accept(conn, offered.id, "ann").unwrap();
    assert_eq!(lab.word(&host, "echo in").await, "in");
    assert_eq!(lab.stored(), [(HostKeyState::Accepted, sshd.host_key())]);
}

#[tokio::test]
async fn a_pinned_key_lets_in_and_any_other_does_not() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    let name = format!("[127.0.0.1]:{}", sshd.port());
    let good = host(&sshd, pinned(&sshd.known_hosts()));
    assert_eq!(lab.word(&good, "echo in").await, "in");
    assert_eq!(lab.stored(), [], "nothing is remembered of a pinned host");

    let cases = [
        (
            format!("{name} {other}"),
            "refused: the host key is not the pinned one: expected ssh-ed25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU, got ",
        ),
        (
            format!("127.0.0.1 {}", sshd.host_key()),
            "refused: the profile pins no key for this host; it showed ",
        ),
        (
            format!("{}\n@revoked * {}", sshd.known_hosts(), sshd.host_key()),
            "refused: the host key ssh-ed25519 SHA256:",
        ),
    ];
    for (lines, expected) in cases {
        let refusal = lab.refusal(&host(&sshd, pinned(&lines))).await;
        assert!(refusal.starts_with(expected), "{refusal}");
    }
}

#[tokio::test]
async fn of_a_hosts_several_keys_the_one_on_record_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let rsa = folder.path().join("rsa");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f"])
        .arg(&rsa)
        .status()
        .unwrap();
    assert!(made.success());
    let sshd = Sshd::start_with(1, &format!("HostKey {}", rsa.display()));
    let public = std::fs::read_to_string(rsa.with_extension("pub")).unwrap();
    let lines = format!("[127.0.0.1]:{} {public}", sshd.port());
    let lab = Lab::new();
    assert_eq!(
        lab.word(&host(&sshd, pinned(&lines)), "echo rsa").await,
        "rsa"
    );
    assert_eq!(
        lab.word(&host(&sshd, pinned(&sshd.known_hosts())), "echo ed25519")
            .await,
        "ed25519"
    );
}

#[tokio::test]
async fn a_wrong_key_is_named_as_such() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let stranger = host_with(&sshd.stranger(), sshd.port(), Trust::FirstUse);
    let refusal = lab.refusal(&stranger).await;
    assert!(
        refusal.starts_with("the server refused the key of the profile for user headroom-test"),
        "{refusal}"
    );
    let nonsense = host_with("not a key", sshd.port(), Trust::FirstUse);
    let refusal = lab.refusal(&nonsense).await;
    assert!(
        refusal.contains("the private key could not be used"),
        "{refusal}"
    );
    assert!(!refusal.contains("not a key"), "a key is never shown");
}

#[tokio::test]
async fn a_new_login_never_uses_the_connection_of_the_old_one() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    lab.word(&host(&sshd, Trust::FirstUse), "echo in").await;
    // The same host and user, but another key: the profile was edited.
    let stranger = host_with(&sshd.stranger(), sshd.port(), Trust::FirstUse);
    let refusal = lab.refusal(&stranger).await;
    assert!(
        refusal.starts_with("the server refused the key"),
        "{refusal}"
    );
}

#[tokio::test]
async fn behind_another_jump_host_the_same_address_is_another_machine() {
    let (first, second) = (Sshd::start(1), Sshd::start(1));
    let mut sshd = Sshd::start(1);
    let lab = Lab::new();
    let behind = |jump: &Sshd| {
        let jump = host(jump, Trust::FirstUse);
        super::jump::behind(&sshd, "127.0.0.1", sshd.port(), &jump)
    };
    let (here, there) = (behind(&first), behind(&second));
    for _ in 0..3 {
        assert_eq!(lab.word(&here, "echo here").await, "here");
        assert_eq!(lab.word(&there, "echo there").await, "there");
    }
    assert_eq!(
        sshd.logins(),
        2,
        "neither throws the other's connection away"
    );
    // Another key on one of the two ways is none of the other's business.
    let lab = Lab::new();
    assert_eq!(lab.word(&here, "echo here").await, "here");
    sshd.change_host_key();
    sshd.restart();
    assert_eq!(lab.word(&there, "echo there").await, "there");
    let refusal = lab.refusal(&here).await;
    assert!(
        refusal.starts_with("refused: the host key changed: remembered ssh-ed25519 SHA256:"),
        "{refusal}"
    );
}
