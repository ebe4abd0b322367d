//! Many hosts at once, as after a start: so many handshakes at a time, over all and through each jump host.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use headroom::clients::ssh::{Host, Options, Trust};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::{Lab, SECOND, host, host_with};
use crate::support::sshd::{BadHost, Manners, Sshd};

/// A host that greets, counts itself as spoken to, and says no more.
pub(super) async fn greeter(spoken_to: &Arc<AtomicUsize>) -> u16 {
    let notes = Arc::new(Notes {
        reached: Arc::default(),
        spoken_to: Arc::clone(spoken_to),
    });
    noting(&notes).await
}

/// What hosts have noticed.
#[derive(Default)]
struct Notes {
    reached: Arc<AtomicUsize>,
    spoken_to: Arc<AtomicUsize>,
}

async fn noting(notes: &Arc<Notes>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let notes = Arc::clone(notes);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        notes.reached.fetch_add(1, Ordering::SeqCst);
        stream.write_all(b"SSH-2.0-Slow_1.0\r\n").await.unwrap();
        let mut buffer = [0; 4096];
        // The first word of a client is its greeting: its handshake has begun.
        if let Ok(1..) = stream.read(&mut buffer).await {
            notes.spoken_to.fetch_add(1, Ordering::SeqCst);
            while let Ok(1..) = stream.read(&mut buffer).await {}
        }
    });
    port
}

/// How many of twenty hosts are reached and spoken to at a time: none of them ever answers, so that those are the first ones.
async fn at_once(lab: &Lab, expected: usize, host: impl Fn(u16) -> Host) -> (usize, usize) {
    let notes = Arc::new(Notes::default());
    let spoken_to = || notes.spoken_to.load(Ordering::SeqCst);
    let ports = join_all((0..20).map(|_| noting(&notes))).await;
    let hosts: Vec<Host> = ports.into_iter().map(host).collect();
    let connect = join_all(hosts.iter().map(|host| lab.refusal(host)));
    let watch = async {
        while spoken_to() < expected {
            sleep(SECOND / 50).await;
        }
        // Time for one too many; after a second a slot is given back.
        sleep(SECOND / 2).await;
        (notes.reached.load(Ordering::SeqCst), spoken_to())
    };
    tokio::select! {
        count = watch => count,
        all = connect => panic!("all gave up before: {all:?}"),
    }
}

#[tokio::test]
async fn handshakes_at_once_are_bounded_over_all() {
    let sshd = Sshd::start(1);
    let lab = Lab::with(Options {
        handshakes: 4,
        dials: 6,
        ..Options::default()
    });
    let key = sshd.key();
    let host = |port| host_with(&key, port, Trust::FirstUse);
    // Those that wait for their handshake still count as being dialled.
    assert_eq!(at_once(&lab, 4, host).await, (4 + 6, 4));
}

/// When each of so many silent hosts that are asked at once is dialled.
async fn dialled(lab: &Lab, count: usize) -> Vec<Duration> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = |nth: usize| Host {
        address: format!("127.0.{}.{}", 1 + nth / 100, 1 + nth % 100),
        // It is never shown.
        ..host_with("no key", port, Trust::FirstUse)
    };
    let hosts: Vec<Host> = (0..count).map(host).collect();
    let started = Instant::now();
    let connect = join_all(hosts.iter().map(|host| lab.exec(host, "echo ran")));
    let watch = async {
        let (mut streams, mut dialled) = (Vec::new(), Vec::new());
        while dialled.len() < count {
            streams.push(listener.accept().await.unwrap());
            dialled.push(started.elapsed());
        }
        dialled
    };
    tokio::select! {
        dialled = watch => dialled,
        all = connect => panic!("all gave up before: {all:?}"),
    }
}

#[tokio::test]
async fn hosts_of_one_start_are_dialled_at_random_within_the_time_that_their_handshakes_take() {
    let lab = Lab::with(Options {
        handshakes: 1,
        ..Options::default()
    });
    // 20 ms for each that is before it: the last waits four seconds at most.
    let longest = 4 * SECOND;
    let dialled = dialled(&lab, 200).await;
    let (half, last) = (dialled[99], dialled[199]);
    assert!(last > longest / 2 && last < 2 * longest, "{last:?}");
    // If each waited all of its time, half of them would be there after half of it; at random that is so after a fifth, as a rule.
    assert!(half < last.mul_f64(0.4), "{half:?} of {last:?}");
}

#[tokio::test]
async fn handshakes_at_once_are_bounded_through_each_jump_host() {
    let sshd = Sshd::start(1);
    let lab = Lab::new();
    let jump = host(&sshd, Trust::FirstUse);
    lab.word(&jump, "echo in").await;
    let behind = |port| super::jump::behind(&sshd, "127.0.0.1", port, &jump);
    assert_eq!(at_once(&lab, 8, behind).await.1, 8);
}

#[tokio::test]
async fn hosts_that_greet_and_hang_keep_no_other_waiting() {
    let sshd = Sshd::start(16);
    let lab = Lab::new();
    let key = sshd.key();
    let hung: Vec<BadHost> = (0..40)
        .map(|_| BadHost::start(Manners::GreetsOnly))
        .collect();
    let hang = join_all(hung.iter().map(|bad| {
        let host = host_with(&key, bad.port(), Trust::FirstUse);
        let lab = &lab;
        async move { lab.refusal(&host).await }
    }));
    let good = async {
        // The others come first.
        sleep(SECOND / 4).await;
        let started = Instant::now();
        let addresses = sshd.addresses();
        let words = addresses.iter().map(|address| {
            let good = Host {
                address: address.clone(),
                ..host(&sshd, Trust::FirstUse)
            };
            let lab = &lab;
            async move { lab.word(&good, "echo in").await }
        });
        assert_eq!(join_all(words).await, ["in"; 16]);
        started.elapsed()
    };
    let (refusals, took) = tokio::join!(hang, good);
    assert!(took < 5 * SECOND, "{took:?}");
    for refusal in refusals {
        let expected = "no connection: the server did not finish the login within 10 s";
        assert_eq!(refusal, expected);
    }
}

#[tokio::test]
async fn hosts_that_wait_for_their_jump_host_take_no_slot_from_others() {
    let sshd = Sshd::start(1);
    let lab = Lab::with(Options {
        handshakes: 9,
        ..Options::default()
    });
    let jump = host(&sshd, Trust::FirstUse);
    let spoken_to = Arc::new(AtomicUsize::new(0));
    let ports = join_all((0..20).map(|_| greeter(&spoken_to))).await;
    let behind = |port| super::jump::behind(&sshd, "127.0.0.1", port, &jump);
    let mute: Vec<Host> = ports.into_iter().map(behind).collect();
    let others = join_all(mute.iter().map(|host| lab.refusal(host)));
    let direct = async {
        while spoken_to.load(Ordering::SeqCst) < 8 {
            sleep(SECOND / 50).await;
        }
        let started = Instant::now();
        assert_eq!(lab.word(&jump, "echo in").await, "in");
        started.elapsed()
    };
    tokio::select! {
        took = direct => assert!(took < 3 * SECOND, "{took:?}"),
        all = others => panic!("all gave up before: {all:?}"),
    }
}
