//! The socket under a session, watched by the event threads, and libssh2 calls driven on it.
//!
//! libssh2 answers "not yet" and says in which directions it waits. Readiness is forgotten for exactly these, and only after a call found
//! nothing there: so no wake-up is lost, and none comes that means nothing. `AsyncFd` rather than `TcpStream::try_io`, which takes a single
//! direction: given both it calls nothing and forgets nothing, and whoever waits for both spins.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};

use ssh2::{BlockDirections, ErrorCode, Session};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

const WOULD_BLOCK: ErrorCode = ErrorCode::Session(-37);
const SOCKET_GONE: ErrorCode = ErrorCode::Session(-13);

/// Errors that may only mean "not yet".
pub(super) trait Blocks {
    fn would_block(&self) -> bool;

    /// The socket can no longer be watched.
    fn lost(cause: io::Error) -> Self;
}

impl Blocks for ssh2::Error {
    fn would_block(&self) -> bool {
        self.code() == WOULD_BLOCK
    }

    fn lost(cause: io::Error) -> Self {
        tracing::debug!(%cause, "socket of an SSH connection");
        Self::new(SOCKET_GONE, "the socket is gone")
    }
}

impl Blocks for io::Error {
    fn would_block(&self) -> bool {
        self.kind() == io::ErrorKind::WouldBlock
    }

    fn lost(cause: io::Error) -> Self {
        cause
    }
}

/// What a session talks over: the network, or a tunnel through another session.
pub(super) struct Socket(AsyncFd<socket2::Socket>);

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
        Ok(Self(AsyncFd::new(socket)?))
    }

    /// Waits for the first word of the other side.
    pub(super) async fn spoken_to(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Whether something has come since this was last asked, or the other side has closed. Who is told so reads until nothing is left.
    pub(super) fn poll_news(&self, cx: &mut Context<'_>) -> Poll<io::Result<News>> {
        self.0.poll_read_ready(cx).map_ok(|mut guard| {
            let closed = guard.ready().is_read_closed();
            guard.clear_ready();
            if closed { News::Closed } else { News::Bytes }
        })
    }

    /// Ends all traffic, both ways.
    pub(super) fn shut(&self) -> io::Result<()> {
        self.0.get_ref().shutdown(Shutdown::Both)
    }
}

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    Bytes,
    Closed,
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
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

/// Runs a libssh2 call, again each time the socket is ready for what it waits for, to its end.
pub(super) async fn drive<T, E: Blocks>(
    session: &Session,
    socket: &Socket,
    mut call: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut outcome = call();
    while outcome.as_ref().is_err_and(E::would_block) {
        let (wanted, _) = awaited(session);
        let mut guard = socket.0.ready(wanted).await.map_err(E::lost)?;
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
        let mut guard = socket.0.writable().await.map_err(E::lost)?;
        outcome = call();
        if outcome.as_ref().is_err_and(E::would_block) && unsent(session) {
            guard.clear_ready();
        }
    }
    outcome.map(Some)
}
