//! What goes wrong at a jump host, or behind it, and what the other hosts behind it see of that: nothing, if it can be helped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use headroom::clients::ssh::{Host, Options, Request, Trust};
use headroom::error::Result;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::jump::{bastion, behind};
use super::ramp::greeter;
use super::{Lab, SECOND, pinned, request};
use crate::support::sshd::{Sshd, USER};

/// Hosts on all loopback addresses that never answer a connection: whoever listens there has no room.
struct Void {
    port: u16,
    _listener: Socket,
    _taken: Vec<TcpStream>,
}

impl Void {
    fn open() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let port = listener.local_addr().unwrap().as_socket().unwrap().port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut taken = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, SECOND / 5) {
            taken.push(stream);
        }
        Self {
            port,
            _listener: listener,
            _taken: taken,
        }
    }
}

/// A host that greets and then sends as much as is taken.
struct Flood {
    port: u16,
    sent: Arc<AtomicU64>,
    cut: Arc<AtomicBool>,
}

impl Flood {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sent, cut) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let flood = Self {
            port,
            sent: Arc::clone(&sent),
            cut: Arc::clone(&cut),
        };
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            SockRef::from(&stream).set_send_buffer_size(65_536).unwrap();
            stream.write_all(b"SSH-2.0-Flood_1.0\r\n").await.unwrap();
            while let Ok(count) = stream.write(&[7; 16_384]).await {
                sent.fetch_add(count as u64, Ordering::SeqCst);
            }
            cut.store(true, Ordering::SeqCst);
        });
        flood
    }
}

/// What a TCP connection may hold for whoever reads from it.
fn most_received() -> u64 {
    let limits = fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap();
    limits.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// As a collector asks: not at once again where it has just failed.
async fn patient(lab: &Lab, host: &Host) -> Result<String> {
    let request = Request {
        eager: false,
        ..request("echo in")
    };
    let output = lab.ssh.exec(host, request).await?;
    Ok(output.stdout_text().trim().to_owned())
}

async fn timed_word(lab: &Lab, host: &Host) -> Duration {
    let started = Instant::now();
    assert_eq!(lab.word(host, "echo well").await, "well");
    started.elapsed()
}

#[tokio::test]
async fn what_a_host_behind_sends_and_nobody_takes_is_bounded_and_delays_no_other() {
    let sshd = Sshd::start(2);
    let lab = Lab::with(Options {
        connect_limit: 60 * SECOND,
        slow_after: 60 * SECOND,
        ..Options::default()
    });
    let jump = bastion(&sshd, Trust::FirstUse);
    let good = behind(&sshd, "127.0.0.2", sshd.port(), &jump);
    assert_eq!(lab.word(&good, "echo in").await, "in");
    // All slots for handshakes are taken, so that who comes next has a tunnel but is not listened to.
    let spoken_to = Arc::new(AtomicUsize::new(0));
    let ports = join_all((0..8).map(|_| greeter(&spoken_to))).await;
    let mute = ports.into_iter();
    let mute: Vec<Host> = mute
        .map(|port| behind(&sshd, "127.0.0.1", port, &jump))
        .collect();
    let others = join_all(mute.iter().map(|host| lab.exec(host, "echo ran")));
    let flood = Flood::start().await;
    let flooding = behind(&sshd, "127.0.0.1", flood.port, &jump);
    let watch = async {
        let sent = || flood.sent.load(Ordering::SeqCst);
        let started = Instant::now();
        let mut before = 0;
        while before < 1024 * 1024 || sent() > before {
            before = sent();
            sleep(SECOND).await;
            let took = timed_word(&lab, &good).await;
            assert!(took < 2 * SECOND, "{took:?} while {} bytes wait", sent());
            assert!(started.elapsed() < 20 * SECOND, "{} bytes", sent());
        }
        // libssh2's window, what the jump host's kernel holds, and what is on its way.
        let most = 2 * 1024 * 1024 + most_received() + 1024 * 1024;
        assert!(sent() < most, "{} of {most} bytes were taken", sent());
        while !flood.cut.load(Ordering::SeqCst) {
            let took = timed_word(&lab, &good).await;
            assert!(took < 2 * SECOND, "{took:?}");
            assert!(started.elapsed() < 30 * SECOND, "the tunnel is kept");
            sleep(SECOND / 5).await;
        }
        assert!(sent() < most, "{} of {most} bytes were taken", sent());
    };
    let flooded = async {
        while spoken_to.load(Ordering::SeqCst) < 8 {
            sleep(SECOND / 50).await;
        }
        tokio::select! {
            ended = lab.exec(&flooding, "echo ran") => panic!("{ended:?}"),
            () = watch => {}
        }
    };
    tokio::select! {
        all = others => panic!("all gave up before: {all:?}"),
        () = flooded => {}
    }
    assert_eq!(sshd.logins(), 2, "the good one kept its connection");
}

#[tokio::test]
async fn hosts_behind_that_never_answer_hold_up_no_other() {
    let sshd = Sshd::start(9);
    let later = Sshd::start(2);
    let void = Void::open();
    let lab = Lab::new();
    let jump = bastion(&sshd, Trust::FirstUse);
    let dead: Vec<Host> = (1..=6)
        .map(|last| behind(&sshd, &format!("127.0.0.{last}"), void.port, &jump))
        .collect();
    let good: Vec<Host> = (2..=9)
        .map(|last| behind(&sshd, &format!("127.0.0.{last}"), sshd.port(), &jump))
        .collect();
    // The dead come first, more of them than there are connections.
    let (refused, took) = tokio::join!(
        join_all(dead.iter().map(|host| lab.refusal(host))),
        join_all(good.iter().map(|host| timed_word(&lab, host)))
    );
    for why in refused {
        assert!(why.starts_with("no connection: the jump host "), "{why}");
        assert!(why.contains(" did not reach it within "), "{why}");
    }
    let took = took.into_iter().max().unwrap();
    assert!(took < 9 * SECOND, "{took:?}");
    // From now on they are in nobody's way.
    let again = join_all(dead.iter().map(|host| lab.refusal(host)));
    let fresh = async {
        sleep(SECOND).await;
        for address in ["127.0.0.1", "127.0.0.2"] {
            let host = behind(&later, address, later.port(), &jump);
            let took = timed_word(&lab, &host).await;
            assert!(took < 2 * SECOND, "{took:?}");
        }
    };
    tokio::select! {
        all = again => panic!("all gave up before: {all:?}"),
        () = fresh => {}
    }
}

#[tokio::test]
async fn a_jump_host_that_is_gone_is_named_for_every_host_behind_and_brings_them_back() {
    let mut front = Sshd::start(1);
    let far = Sshd::start(8);
    let lab = Lab::with(Options {
        backoff_first: 600 * SECOND,
        backoff_longest: 600 * SECOND,
        ..Options::default()
    });
    let jump = bastion(&front, Trust::FirstUse);
    let nodes: Vec<Host> = far
        .addresses()
        .iter()
        .map(|address| behind(&far, address, far.port(), &jump))
        .collect();
    let all = || join_all(nodes.iter().map(|node| patient(&lab, node)));
    for word in all().await {
        assert_eq!(word.unwrap(), "in");
    }
    front.stop();
    for _ in 0..3 {
        for (refused, node) in all().await.into_iter().zip(&nodes) {
            let text = refused.unwrap_err().to_string();
            let expected = format!(
                "ssh {USER}@{}:{}: the jump host {USER}@127.0.0.1:{}: connection refused",
                node.address,
                node.port,
                front.port()
            );
            assert!(text.contains(&expected), "{text}");
        }
    }
    front.restart();
    // None of them has a pause of its own, ten minutes of it.
    let started = Instant::now();
    while all().await.iter().any(Result::is_err) {
        assert!(started.elapsed() < 20 * SECOND, "{:?}", all().await);
        sleep(SECOND / 10).await;
    }
    assert_eq!((front.logins(), far.logins()), (2, 16));
}

#[tokio::test]
async fn a_jump_host_that_stands_still_is_asked_over_a_new_connection() {
    let front = Sshd::start(1);
    let far = Sshd::start(2);
    let lab = Lab::with(Options {
        connect_limit: 3 * SECOND,
        ..Options::default()
    });
    let jump = bastion(&front, Trust::FirstUse);
    let first = behind(&far, "127.0.0.1", far.port(), &jump);
    let second = behind(&far, "127.0.0.2", far.port(), &jump);
    let third = Host {
        address: "127.0.0.3".into(),
        ..second.clone()
    };
    assert_eq!(lab.word(&first, "echo in").await, "in");
    front.freeze_sessions();
    let (_, took) = tokio::join!(lab.refusal(&third), async {
        sleep(SECOND / 10).await;
        timed_word(&lab, &second).await
    });
    assert!(took < 3 * SECOND, "{took:?}");
}

#[tokio::test]
async fn the_same_address_behind_two_jump_hosts_is_two_hosts() {
    let (one, two) = (Sshd::start(1), Sshd::start(1));
    let far = Sshd::start(1);
    let lab = Lab::new();
    let hosts = [&one, &two].map(|front| {
        let jump = bastion(front, pinned(&front.known_hosts()));
        behind(&far, "127.0.0.1", far.port(), &jump)
    });
    for _ in 0..3 {
        for host in &hosts {
            assert_eq!(lab.word(host, "echo in").await, "in");
        }
    }
    assert_eq!((one.logins(), two.logins(), far.logins()), (1, 1, 2));
}

#[tokio::test]
async fn a_jump_host_that_forwards_nothing_says_which_setting_that_is() {
    let front = Sshd::start_with(1, "AllowTcpForwarding no");
    let far = Sshd::start(1);
    let lab = Lab::new();
    let jump = bastion(&front, Trust::FirstUse);
    let why = lab
        .refusal(&behind(&far, "127.0.0.1", far.port(), &jump))
        .await;
    assert!(why.contains(" could not reach it: "), "{why}");
    assert!(why.contains("AllowTcpForwarding"), "{why}");
}

#[tokio::test]
async fn many_hosts_behind_are_shared_out_among_a_few_connections() {
    let front = Sshd::start(1);
    let lab = Lab::new();
    let jump = bastion(&front, Trust::FirstUse);
    // Hosts on all loopback addresses that greet and say no more.
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let many: Vec<Host> = (0..300)
        .map(|nth| {
            behind(
                &front,
                &format!("127.0.{}.{}", 1 + nth / 100, 1 + nth % 100),
                port,
                &jump,
            )
        })
        .collect();
    let others = join_all(many.iter().map(|host| lab.exec(host, "echo ran")));
    let reached = async {
        let mut streams = Vec::new();
        while streams.len() < many.len() {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"SSH-2.0-Slow_1.0\r\n").await.unwrap();
            streams.push(stream);
        }
        // More where the machine is slow, and never one for each.
        let logins = front.logins();
        assert!((2..=6).contains(&logins), "{logins}");
    };
    tokio::select! {
        all = others => panic!("all gave up before: {all:?}"),
        () = reached => {}
    }
}
