use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use headroom::clients::ssh::{Host, Identity, Login, Options, Request, Trust, Upload};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use secrecy::SecretString;

use super::{Lab, SECOND, host_with, pinned, request};
use crate::support::ports;
use crate::support::sshd::{BadHost, Manners, Sshd, USER};

/// A host that is reached through another.
pub(super) fn behind(sshd: &Sshd, address: &str, port: u16, jump: &Host) -> Host {
    let identity = Identity::Key {
        key: SecretString::from(sshd.key()),
        passphrase: None,
        certificate: None,
    };
    Host {
        address: address.into(),
        port,
        login: Arc::new(Login::with(
            USER,
            identity,
            Trust::FirstUse,
            Some(jump.clone()),
        )),
    }
}

pub(super) fn bastion(sshd: &Sshd, trust: Trust) -> Host {
    host_with(&sshd.key(), sshd.port(), trust)
}

#[tokio::test]
async fn hosts_behind_a_jump_host_share_one_connection_to_it() {
    let sshd = Sshd::start(9);
    let lab = Lab::new();
    let jump = bastion(&sshd, Trust::FirstUse);
    let nodes: Vec<Host> = sshd.addresses()[1..]
        .iter()
        .map(|address| behind(&sshd, address, sshd.port(), &jump))
        .collect();
    for round in 0..2 {
        let script = format!("head -c 300000 /dev/zero | wc -c; echo $SSH_CLIENT; echo {round}");
        let all = join_all(nodes.iter().map(|node| lab.exec(node, &script))).await;
        for output in all {
            let text = output.unwrap().stdout_text();
            assert!(text.starts_with("300000\n127.0.0.1 "), "{text}");
            assert!(text.ends_with(&format!("{round}\n")), "{text}");
        }
    }
    assert_eq!(
        sshd.logins(),
        9,
        "one for the jump host and one for each node"
    );
    // Much of it, both ways.
    let bytes: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    let request = Request {
        stdin: bytes[..100_000].to_vec(),
        max_output: 4_000_000,
        ..request("cat; head -c 3000000 /dev/zero")
    };
    let output = lab.ssh.exec(&nodes[0], request).await.unwrap();
    assert_eq!(output.stdout.len(), 3_100_000);
    assert!(output.stdout[..100_000] == bytes[..100_000]);
}

#[tokio::test]
async fn a_host_behind_that_is_gone_or_silent_delays_no_other() {
    let sshd = Sshd::start(3);
    let silent = BadHost::start(Manners::Silent);
    let lab = Lab::with(Options {
        connect_limit: 3 * SECOND,
        ..Options::default()
    });
    let jump = bastion(&sshd, Trust::FirstUse);
    let gone = behind(&sshd, "127.0.0.1", ports::free(), &jump);
    let mute = behind(&sshd, "127.0.0.1", silent.port(), &jump);
    let good = behind(&sshd, "127.0.0.2", sshd.port(), &jump);
    let started = Instant::now();
    let (refused, unheard, word) = tokio::join!(lab.refusal(&gone), lab.refusal(&mute), async {
        (lab.word(&good, "echo in").await, started.elapsed())
    });
    assert!(
        refused.contains(&format!("the jump host {USER}@127.0.0.1:"))
            && refused.contains(" could not reach it: "),
        "{refused}"
    );
    assert!(unheard.contains("did not answer within"), "{unheard}");
    assert_eq!(word.0, "in");
    assert!(word.1 < 3 * SECOND, "{:?}", word.1);
}

#[tokio::test]
async fn the_key_of_a_jump_host_is_judged_and_a_lost_one_is_reached_anew() {
    let mut sshd = Sshd::start(2);
    let lab = Lab::new();
    let other = pinned(
        "elsewhere ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl",
    );
    let stranger = bastion(&sshd, other);
    let refusal = lab
        .refusal(&behind(&sshd, "127.0.0.2", sshd.port(), &stranger))
        .await;
    assert!(refusal.starts_with("the jump host "), "{refusal}");
    assert!(
        refusal.contains("refused: the profile pins no key for this host"),
        "{refusal}"
    );
    let jump = bastion(&sshd, pinned(&sshd.known_hosts()));
    let node = behind(&sshd, "127.0.0.2", sshd.port(), &jump);
    assert_eq!(lab.word(&node, "echo one").await, "one");
    sshd.restart();
    assert_eq!(lab.word(&node, "echo two").await, "two");
}

/// What this process has computed so far, on all its threads.
fn computed() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let times = [usage.user_time(), usage.system_time()];
    times
        .iter()
        .map(|time| Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap()))
        .sum()
}

#[tokio::test]
async fn a_stalled_tunnel_computes_nothing_and_holds_up_no_other() {
    let sshd = Sshd::start(2);
    let far = Sshd::start(1);
    let lab = Lab::new();
    let jump = bastion(&sshd, Trust::FirstUse);
    let stalled = behind(&far, "127.0.0.1", far.port(), &jump);
    let good = behind(&sshd, "127.0.0.2", sshd.port(), &jump);
    assert_eq!(lab.word(&stalled, "echo in").await, "in");
    assert_eq!(lab.word(&good, "echo in").await, "in");
    let idle = far.sessions().len();
    let file = Upload {
        name: "large".into(),
        content: vec![7; 64_000_000],
        time_limit: 8 * SECOND,
    };
    let upload = lab.ssh.upload(&stalled, file);
    let watch = async {
        // More is on its way than all buffers hold, to a node that stands still.
        while far.sessions().len() == idle {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        far.freeze_sessions();
        tokio::time::sleep(SECOND).await;
        let (before, started) = (computed(), Instant::now());
        tokio::time::sleep(3 * SECOND).await;
        let busy = computed() - before;
        assert!(
            busy < SECOND / 2,
            "{busy:?} of {:?} computed while nothing moved",
            started.elapsed()
        );
        assert_eq!(lab.word(&good, "echo well").await, "well");
        assert!(started.elapsed() < 5 * SECOND, "{:?}", started.elapsed());
    };
    let (refused, ()) = tokio::join!(upload, watch);
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("the node took no input"), "{text}");
    assert_eq!(lab.word(&good, "echo still").await, "still");
    assert_eq!((sshd.logins(), far.logins()), (2, 1));
}
