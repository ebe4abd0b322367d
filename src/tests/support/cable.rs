//! A cable to a server that can be cut: what goes through it is reset, as when a firewall forgets a connection or a machine dies. Or it falls
//! silent: what is sent is taken and goes nowhere, as with a lost host behind a proxy.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// The last packet of a key exchange: twelve bytes long, ten of them padding, of the type NEWKEYS.
const KEYS_AGREED: [u8; 6] = [0, 0, 0, 12, 10, 21];

/// A cable; cut for good when dropped.
pub struct Cable {
    address: SocketAddr,
    through: Arc<Mutex<JoinSet<()>>>,
    server: AbortHandle,
    silent: watch::Sender<bool>,
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
        let server = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let carried = carry(near, port, cut, hushed.clone());
                connections.lock().unwrap().spawn(carried);
            }
        });
        Self {
            address,
            through,
            server: server.abort_handle(),
            silent,
        }
    }

    /// From now on nothing arrives at the other end, or all that was held back does.
    pub fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
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

async fn carry(near: TcpStream, port: u16, cut: Cut, mut hushed: watch::Receiver<bool>) {
    if hushed.wait_for(|silent| !silent).await.is_err() {
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
        () = copy(near_in, far_out, Cut::ByHand, hushed.clone()) => {}
        () = copy(far_in, near_out, cut, hushed) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    cut: Cut,
    mut hushed: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        let passes = hushed.wait_for(|silent| !silent).await.is_ok();
        if !passes || to.write_all(bytes).await.is_err() {
            return;
        }
        let agreed = bytes
            .windows(KEYS_AGREED.len())
            .any(|part| part == KEYS_AGREED);
        if agreed && cut == Cut::AfterKeys {
            return;
        }
    }
}
