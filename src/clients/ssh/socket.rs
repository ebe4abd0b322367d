//! The socket under a session, watched by the event threads, and libssh2 calls driven on it.
//!
//! libssh2 answers "not yet" and says in which directions it waits. Readiness is forgotten for exactly these, and only after a call found
//! nothing there: so no wake-up is lost, and none comes that means nothing. `AsyncFd` rather than `TcpStream::try_io`, which takes a single
//! direction: given both it calls nothing and forgets nothing, and whoever waits for both spins.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use ssh2::{BlockDirections, ErrorCode, Session};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

use crate::clients::ssh::ledger::Ledger;

const WOULD_BLOCK: ErrorCode = ErrorCode::Session(-37);
const SOCKET_GONE: ErrorCode = ErrorCode::Session(-13);
const OUT_OF_BOUNDS: ErrorCode = ErrorCode::Session(-41);
/// Why a connection was left that has taken in what nobody asked for.
pub(super) const FLOODED: &str = "the server sent more than 1 MiB that nobody had asked for";

/// Errors that may only mean "not yet".
pub(super) trait Blocks {
    fn would_block(&self) -> bool;

    /// The socket can no longer be watched.
    fn lost(cause: io::Error) -> Self;

    /// More came than is taken.
    fn flooded() -> Self;
}

impl Blocks for ssh2::Error {
    fn would_block(&self) -> bool {
        self.code() == WOULD_BLOCK
    }

    fn lost(cause: io::Error) -> Self {
        tracing::debug!(%cause, "socket of an SSH connection");
        Self::new(SOCKET_GONE, "the socket is gone")
    }

    fn flooded() -> Self {
        Self::new(OUT_OF_BOUNDS, FLOODED)
    }
}

impl Blocks for io::Error {
    fn would_block(&self) -> bool {
        self.kind() == io::ErrorKind::WouldBlock
    }

    fn lost(cause: io::Error) -> Self {
        cause
    }

    fn flooded() -> Self {
        Self::other(FLOODED)
    }
}

/// What a session talks over: the network, or a tunnel through another session.
pub(super) struct Socket {
    fd: AsyncFd<socket2::Socket>,
    ledger: Mutex<Ledger>,
    /// Channels that may fill up before they are read.
    channels: AtomicUsize,
    flooded: AtomicBool,
}

impl Socket {
    pub(super) fn network(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Self::watched(stream.into_std()?.into())
    }

    /// One end of a pair, which must not block.
    pub(super) fn tunnel(stream: UnixStream) -> io::Result<Self> {
        Self::watched(stream.into())
    }

    #[expect(
        deprecated,
        reason = "the new form only adds an unsafe promise, that the descriptor is owned, which socket2 keeps"
    )]
    fn watched(socket: socket2::Socket) -> io::Result<Self> {
        Ok(Self {
            fd: AsyncFd::new(socket)?,
            ledger: Mutex::default(),
            channels: AtomicUsize::new(0),
            flooded: AtomicBool::new(false),
        })
    }

    /// Waits for the first word of the other side.
    pub(super) async fn spoken_to(&self) -> io::Result<()> {
        self.fd.readable().await.map(drop)
    }

    /// Whether something has come since this was last asked, or the other side has closed. Who is told so reads until nothing is left.
    pub(super) fn poll_news(&self, cx: &mut Context<'_>) -> Poll<io::Result<News>> {
        self.fd.poll_read_ready(cx).map_ok(|mut guard| {
            let closed = guard.ready().is_read_closed();
            guard.clear_ready();
            if closed { News::Closed } else { News::Bytes }
        })
    }

    /// Ends all traffic, both ways.
    pub(super) fn shut(&self) -> io::Result<()> {
        self.fd.get_ref().shutdown(Shutdown::Both)
    }

    /// Bytes that have arrived and were not read.
    pub(super) fn queued(&self) -> u64 {
        // A socket that cannot tell is found to be lost when it is read.
        rustix::io::ioctl_fionread(self.fd.get_ref()).unwrap_or(0)
    }

    /// Makes a call and notes what it took from the socket: all that had come before it, and some of what came meanwhile.
    pub(super) fn metered<T>(&self, call: impl FnOnce() -> T) -> T {
        let before = self.queued();
        let outcome = call();
        if before > 0 {
            let mut ledger = self.ledger();
            ledger.took(before.saturating_sub(self.queued()));
            let channels = to_u64(self.channels.load(Ordering::Relaxed));
            if ledger.flooded(channels) {
                self.flooded.store(true, Ordering::Relaxed);
            }
        }
        outcome
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Numbers that are whole between any two statements under the lock.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how many channels are open.
    pub(super) fn set_channels(&self, count: usize) {
        self.channels.store(count, Ordering::Relaxed);
    }

    /// Ends all traffic because too much of it came.
    pub(super) fn cut_off(&self) {
        self.flooded.store(true, Ordering::Relaxed);
        if let Err(cause) = self.shut() {
            tracing::trace!(%cause, "socket was closed already");
        }
    }

    /// Whether more came than is taken.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.load(Ordering::Relaxed)
    }
}

/// A count in bytes as the kernel tells it.
pub(super) fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    Bytes,
    Closed,
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Whether half a packet is left to be sent: until it is, only the call that began it may send.
pub(super) fn unsent(session: &Session) -> bool {
    matches!(
        session.block_directions(),
        BlockDirections::Outbound | BlockDirections::Both
    )
}

fn awaited(session: &Session) -> (Interest, Ready) {
    match session.block_directions() {
        BlockDirections::Outbound => (Interest::WRITABLE, Ready::WRITABLE),
        BlockDirections::Both => (
            Interest::READABLE | Interest::WRITABLE,
            Ready::READABLE | Ready::WRITABLE,
        ),
        BlockDirections::Inbound | BlockDirections::None => (Interest::READABLE, Ready::READABLE),
    }
}

/// Runs a libssh2 call, again each time the socket is ready for what it waits for, to its end. Gives way to the others on the thread now and
/// then: where the other side never pauses nothing here would ever wait, and no time limit around it would be looked at.
pub(super) async fn drive<T, E: Blocks>(
    session: &Session,
    socket: &Socket,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    consume_budget().await;
    let mut outcome = call();
    while outcome.as_ref().is_err_and(E::would_block) {
        consume_budget().await;
        let (wanted, _) = awaited(session);
        let mut guard = socket.fd.ready(wanted).await.map_err(E::lost)?;
        outcome = call();
        if outcome.as_ref().is_err_and(E::would_block) {
            guard.clear_ready_matching(awaited(session).1);
        }
    }
    outcome
}

/// Runs a libssh2 call that need not come to its end now; none: it waits for the other side. It is not left with half a packet unsent.
pub(super) async fn step<T, E: Blocks>(
    session: &Session,
    socket: &Socket,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<Option<T>, E> {
    let mut outcome = call();
    while outcome.as_ref().is_err_and(E::would_block) {
        if !unsent(session) {
            return Ok(None);
        }
        let mut guard = socket.fd.writable().await.map_err(E::lost)?;
        outcome = call();
        if outcome.as_ref().is_err_and(E::would_block) && unsent(session) {
            guard.clear_ready();
        }
    }
    outcome.map(Some)
}
