//! A cable to a server that can be cut: what goes through it is reset, as when a firewall forgets a connection or a machine dies. Or it falls
//! silent: what is sent is taken and goes nowhere, as with a lost host behind a proxy. Or it is long: all arrives, only later.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// The last packet of a key exchange: twelve bytes long, ten of them padding, of the type NEWKEYS.
const KEYS_AGREED: [u8; 6] = [0, 0, 0, 12, 10, 21];
/// Pieces on their way through a long cable at once: more than a test sends.
const ON_THEIR_WAY: usize = 1024;

/// A cable; cut for good when dropped.
pub struct Cable {
    address: SocketAddr,
    through: Arc<Mutex<JoinSet<()>>>,
    server: AbortHandle,
    silent: watch::Sender<bool>,
    delay: watch::Sender<Duration>,
    passed: Arc<AtomicUsize>,
}

/// What each connection knows of the cable that it goes through.
#[derive(Clone)]
struct Line {
    silent: watch::Receiver<bool>,
    delay: watch::Receiver<Duration>,
    passed: Arc<AtomicUsize>,
}

/// When a cable is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// When the test says so.
    ByHand,
    /// Each time keys have been agreed on.
    AfterKeys,
}

impl Cable {
    /// A cable to a port of this machine.
    pub async fn to(port: u16, cut: Cut) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let through = Arc::new(Mutex::new(JoinSet::new()));
        let connections = Arc::clone(&through);
        let (silent, hushed) = watch::channel(false);
        let (delay, delayed) = watch::channel(Duration::ZERO);
        let passed = Arc::new(AtomicUsize::new(0));
        let line = Line {
            silent: hushed,
            delay: delayed,
            passed: Arc::clone(&passed),
        };
        let server = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let carried = carry(near, port, cut, line.clone());
                connections.lock().unwrap().spawn(carried);
            }
        });
        Self {
            address,
            through,
            server: server.abort_handle(),
            silent,
            delay,
            passed,
        }
    }

    /// From now on nothing arrives at the other end, or all that was held back does.
    pub fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// From now on what is sent arrives so much later, each way; much at once takes no longer than little.
    pub fn delay(&self, delay: Duration) {
        self.delay.send_replace(delay);
    }

    /// Bytes that have arrived so far, both ways.
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub fn carried(&self) -> usize {
        self.through.lock().unwrap().len()
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Resets all that goes through it; new connections are carried again.
    pub fn cut(&self) {
        self.through.lock().unwrap().abort_all();
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.server.abort();
        self.cut();
    }
}

async fn carry(near: TcpStream, port: u16, cut: Cut, mut line: Line) {
    if line.silent.wait_for(|silent| !silent).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    for stream in [&near, &far] {
        // Closing it resets it.
        let linger = Some(Duration::ZERO);
        socket2::SockRef::from(stream).set_linger(linger).unwrap();
    }
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    tokio::select! {
        () = copy(near_in, far_out, Cut::ByHand, line.clone()) => {}
        () = copy(far_in, near_out, cut, line) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cut: Cut, mut line: Line) {
    let passed = Arc::clone(&line.passed);
    let (taken, mut on_their_way) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY);
    let take = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let passes = line.silent.wait_for(|silent| !silent).await.is_ok();
            let due = Instant::now() + *line.delay.borrow();
            let piece = buffer[..count].to_vec();
            if !passes || taken.send((due, piece)).await.is_err() {
                break;
            }
        }
        // What is on its way still arrives: the giving ends this.
        drop(taken);
        pending::<()>().await;
    };
    let give = async {
        while let Some((due, piece)) = on_their_way.recv().await {
            if due > Instant::now() {
                sleep_until(due).await;
            }
            if to.write_all(&piece).await.is_err() {
                return;
            }
            passed.fetch_add(piece.len(), Ordering::Relaxed);
            let agreed = piece
                .windows(KEYS_AGREED.len())
                .any(|part| part == KEYS_AGREED);
            if agreed && cut == Cut::AfterKeys {
                return;
            }
        }
    };
    tokio::select! {
        () = take => {}
        () = give => {}
    }
}
