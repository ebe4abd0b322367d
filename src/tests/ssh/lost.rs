//! What goes away: the name, the connection, the server's patience.

use std::process::Command;

use headroom::clients::ssh::{Host, Options, Request, Trust};
use tempfile::TempDir;

use super::collect::{Fleet, outcomes};
use super::{Lab, SECOND, host, host_with, request};
use crate::support::cable::{Cable, Cut};
use crate::support::sshd::Sshd;

#[tokio::test]
async fn a_name_that_no_longer_resolves_is_told_backed_off_from_and_delays_no_other() {
    // Names come from a file that only the processes below see.
    let folder = TempDir::with_prefix("headroom-hosts-").unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("hosts"), "127.0.0.1 localhost web01.test\n").unwrap();
    std::fs::write(file("nsswitch"), "hosts: files\n").unwrap();
    let script = format!(
        "mount --bind {} /etc/hosts && mount --bind {} /etc/nsswitch.conf && exec \"$@\"",
        file("hosts"),
        file("nsswitch")
    );
    let run = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--ignored", "ssh::lost::with_names_of_its_own"])
        .env("HEADROOM_TEST_HOSTS", file("hosts"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "run by a_name_that_no_longer_resolves_is_told_backed_off_from_and_delays_no_other"]
async fn with_names_of_its_own() {
    let names = std::env::var("HEADROOM_TEST_HOSTS").unwrap();
    let mut sshd = Sshd::start(2);
    let lab = Lab::with(Options {
        backoff_first: 600 * SECOND,
        backoff_longest: 600 * SECOND,
        ..Options::default()
    });
    let named = Host {
        address: "web01.test".into(),
        ..host(&sshd, Trust::FirstUse)
    };
    let other = Host {
        address: "127.0.0.2".into(),
        ..host(&sshd, Trust::FirstUse)
    };
    assert_eq!(lab.word(&named, "echo in").await, "in");
    std::fs::write(&names, "127.0.0.1 localhost\n").unwrap();
    // What is connected stays so, whatever becomes of the name.
    assert_eq!(lab.word(&named, "echo still").await, "still");
    sshd.restart();
    let patient = || Request {
        eager: false,
        ..request("echo ran")
    };
    let first = lab
        .ssh
        .exec(&named, patient())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        first.contains("the name web01.test does not resolve"),
        "{first}"
    );
    let second = lab
        .ssh
        .exec(&named, patient())
        .await
        .unwrap_err()
        .to_string();
    assert!(second.contains("; tried again in "), "{second}");
    assert_eq!(lab.word(&other, "echo well").await, "well");
    std::fs::write(&names, "127.0.0.1 localhost web01.test\n").unwrap();
    assert_eq!(lab.word(&named, "echo back").await, "back");
}

#[tokio::test]
async fn a_connection_reset_in_mid_channel_loses_that_reading_and_no_other() {
    let sshd = Sshd::start(2);
    let cable = Cable::to(sshd.port(), Cut::ByHand).await;
    let lab = Lab::new();
    let through = host_with(&sshd.key(), cable.port(), Trust::FirstUse);
    let beside = Host {
        address: "127.0.0.2".into(),
        ..host(&sshd, Trust::FirstUse)
    };
    let file = sshd.scratch().join("begun");
    let script = format!("touch {}; sleep 20", file.display());
    let cut = async {
        while !file.exists() {
            tokio::time::sleep(SECOND / 50).await;
        }
        cable.cut();
    };
    let (lost, (), word) = tokio::join!(
        lab.exec(&through, &script),
        cut,
        lab.word(&beside, "sleep 1; echo well")
    );
    let text = lost.unwrap_err().to_string();
    assert!(
        text.contains("the connection was lost while a command ran: "),
        "{text}"
    );
    assert_eq!(word, "well");
    assert_eq!(lab.word(&through, "echo back").await, "back");
}

#[tokio::test]
async fn a_held_shell_whose_connection_is_reset_between_ticks_costs_no_reading() {
    let sshd = Sshd::start(1);
    let cable = Cable::to(sshd.port(), Cut::ByHand).await;
    let mut fleet = Fleet::new();
    let profile = fleet.profile_at(&sshd, cable.port());
    let node = fleet.node("web01", "127.0.0.1", Some(profile));
    fleet.scripts(&["echo 1"]);
    let collectors = fleet.collectors();
    for _ in 0..3 {
        let readings = fleet.tick(&collectors, 30 * SECOND).await;
        assert_eq!(outcomes(&readings, node, &fleet.counters), [Ok(1.0)]);
        cable.cut();
    }
    assert_eq!(sshd.logins(), 3);
}

#[tokio::test]
async fn a_server_that_drops_after_the_key_exchange_is_told_and_backed_off_from() {
    let sshd = Sshd::start(1);
    let cable = Cable::to(sshd.port(), Cut::AfterKeys).await;
    let lab = Lab::with(Options {
        backoff_first: 600 * SECOND,
        backoff_longest: 600 * SECOND,
        ..Options::default()
    });
    let through = host_with(&sshd.key(), cable.port(), Trust::FirstUse);
    let refusal = lab.refusal(&through).await;
    // The reset may come before or after we have said our last word on the keys.
    let reasons = [
        "the key exchange broke off (it says \"SSH-2.0-OpenSSH",
        "the server hung up during the login as headroom-test",
    ];
    let told = reasons.iter().any(|reason| refusal.starts_with(reason));
    assert!(told && refusal.contains("its log says why"), "{refusal}");
    let patient = Request {
        eager: false,
        ..request("echo ran")
    };
    let second = lab
        .ssh
        .exec(&through, patient)
        .await
        .unwrap_err()
        .to_string();
    assert!(second.contains("; tried again in "), "{second}");
    assert_eq!(
        lab.word(&host(&sshd, Trust::FirstUse), "echo in").await,
        "in"
    );
}

#[tokio::test]
async fn a_server_that_allows_no_session_says_so_and_still_serves_as_a_jump_host() {
    let bastion = Sshd::start_with(1, "MaxSessions 0");
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let jump = host(&bastion, Trust::FirstUse);
    let refusal = lab.refusal(&jump).await;
    assert!(
        refusal.starts_with("the server refused a command: "),
        "{refusal}"
    );
    assert!(refusal.contains("MaxSessions"), "{refusal}");
    let behind = super::jump::behind(&sshd, "127.0.0.1", sshd.port(), &jump);
    assert_eq!(lab.word(&behind, "echo in").await, "in");
}

#[tokio::test]
async fn more_commands_at_once_than_the_server_has_sessions_get_connections_of_their_own() {
    let sshd = Sshd::start_with(1, "MaxSessions 1");
    let lab = Lab::new();
    let host = host(&sshd, Trust::FirstUse);
    let words = futures::future::join_all((0..4).map(|_| lab.word(&host, "sleep 1; echo in")));
    assert_eq!(words.await, ["in"; 4]);
}
