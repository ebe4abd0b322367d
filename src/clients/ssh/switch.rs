//! One connection to a jump host and the tunnels through it. libssh2 wants a socket for each session, so each tunnel ends in a socket pair.
//!
//! All of it is one task: libssh2 allows one call at a time on a session, and what it reads for one tunnel may be for another.

use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream as Pair;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use ssh2::Channel;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use crate::clients::ssh::connection::Connection;
use crate::clients::ssh::socket::News;
use crate::clients::ssh::talk::NO_CHANNEL;

/// Between looks at keep-alives, and at whether anything still goes through.
const ROUND: Duration = Duration::from_secs(5);
/// A connection without tunnels is closed after so long.
const IDLE: Duration = Duration::from_secs(60);
const BUFFER: usize = 16 * 1024;
/// A host behind that sends more than this while our end takes nothing for so long loses its tunnel: what it sends would be kept here, up to
/// two megabytes, and be in the way of what comes for others.
const BACKLOG: u32 = 64 * 1024;
const STALLED: Duration = Duration::from_secs(5);

/// A wish for a tunnel.
pub(super) struct Order {
    pub(super) address: String,
    pub(super) port: u16,
    pub(super) reply: oneshot::Sender<Result<Pair, String>>,
    /// Ends when the tunnel is open or refused, also when nobody waits for it any more.
    pub(super) turn: Turn,
}

/// The right to have a tunnel opened; shows since when somebody has it.
pub(super) struct Turn {
    since: Arc<Mutex<Option<Instant>>>,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    pub(super) fn begin(permit: OwnedSemaphorePermit, since: &Arc<Mutex<Option<Instant>>>) -> Self {
        *since.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Self {
            since: Arc::clone(since),
            _permit: permit,
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Bytes on their way.
#[derive(Default)]
struct Load {
    bytes: Vec<u8>,
    sent: usize,
}

impl Load {
    fn of(buffer: &[u8], count: usize) -> Self {
        Self {
            bytes: buffer.get(..count).unwrap_or_default().to_vec(),
            sent: 0,
        }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    fn take(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.bytes.len() {
            *self = Self::default();
        }
    }
}

struct Tunnel {
    channel: Channel,
    stream: UnixStream,
    /// From the host behind to us, and the other way.
    down: Load,
    up: Load,
    /// Since when our end takes nothing.
    stalled: Option<Instant>,
    over: bool,
}

/// The connection, its tunnels and who waits for one.
pub(super) struct Switch {
    jump: String,
    connection: Connection,
    orders: mpsc::Receiver<Order>,
    waiting: Option<Order>,
    /// Whether the tunnel that is waited for is being opened: libssh2 goes on with that one whatever it is asked for.
    begun: bool,
    count: Arc<AtomicUsize>,
    tunnels: Vec<Tunnel>,
    closing: Vec<Channel>,
    used: Instant,
    scratch: Vec<u8>,
}

impl Switch {
    /// A switch over a connection to the jump host of this name; keeps count of its tunnels.
    pub(super) fn new(
        jump: String,
        connection: Connection,
        orders: mpsc::Receiver<Order>,
        count: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            jump,
            connection,
            orders,
            waiting: None,
            begun: false,
            count,
            tunnels: Vec::new(),
            closing: Vec::new(),
            used: Instant::now(),
            scratch: vec![0; BUFFER],
        }
    }

    /// Runs until the connection is lost or nobody needs it. Tunnels end with it.
    pub(super) async fn run(mut self) {
        match self.serve().await {
            Ok(()) => self.connection.close(),
            Err(cause) if self.tunnels.is_empty() => {
                tracing::debug!(jump = self.jump, %cause, "the connection to a jump host was lost");
            }
            Err(cause) => {
                let (jump, hosts) = (&self.jump, self.tunnels.len());
                tracing::warn!(jump, hosts, %cause, "the connection to a jump host was lost, and with it those to hosts behind it");
            }
        }
    }

    /// Serves until nobody needs it.
    async fn serve(&mut self) -> io::Result<()> {
        loop {
            self.work().await?;
            if !self.idle() {
                self.used = Instant::now();
            } else if self.used.elapsed() > IDLE {
                self.orders.close();
                return Ok(());
            }
            match timeout(ROUND, poll_fn(|cx| self.poll_wake(cx))).await {
                Ok(woken) => woken?,
                Err(_) => self.connection.keep_alive()?,
            }
        }
    }

    fn idle(&self) -> bool {
        self.tunnels.is_empty() && self.waiting.is_none() && self.closing.is_empty()
    }

    /// Moves what can be moved. What is read for one may be for another: only a pass in which nothing moved is the last.
    async fn work(&mut self) -> io::Result<()> {
        loop {
            self.drain().await?;
            let mut moved = self.open().await?;
            self.close().await;
            for tunnel in &mut self.tunnels {
                moved |= tunnel.pump(&self.connection, &mut self.scratch).await?;
            }
            let over = self.tunnels.extract_if(.., |tunnel| tunnel.over);
            self.closing.extend(over.map(|tunnel| tunnel.channel));
            self.count.store(self.tunnels.len(), Ordering::Relaxed);
            if !moved {
                return Ok(());
            }
            // The sessions at the other ends of the pairs live on the same threads.
            consume_budget().await;
        }
    }

    /// Closes channels as far as that goes without waiting.
    async fn close(&mut self) {
        for mut channel in std::mem::take(&mut self.closing) {
            // Closed or lost: gone either way.
            if let Ok(None) = self.connection.step(|| channel.close()).await {
                self.closing.push(channel);
            }
        }
    }

    /// Has libssh2 take in all that has arrived, whichever tunnel it is for: each has a window, so that is no more than two megabytes for
    /// one whose other end does not read. With no tunnel open, opening and closing take in what they need.
    async fn drain(&self) -> io::Result<()> {
        let open = self.tunnels.len() + self.closing.len();
        self.connection.socket.set_channels(open + 1);
        let tunnels = self.tunnels.iter().map(|tunnel| &tunnel.channel);
        let open = tunnels.chain(&self.closing).find(|channel| !channel.eof());
        if let Some(channel) = open {
            let mut stream = channel.stream(0);
            self.connection.step(|| stream.read(&mut [])).await?;
        }
        Ok(())
    }

    /// Waits for anything to do.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut woken = false;
        if self.waiting.is_none()
            && let Poll::Ready(Some(order)) = self.orders.poll_recv(cx)
        {
            self.waiting = Some(order);
            woken = true;
        }
        // Until nothing is left to be told: a waker stands only where the answer was "not yet".
        while let Poll::Ready(news) = self.connection.socket.poll_news(cx) {
            woken = true;
            if news? == News::Closed {
                if self.idle() {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                break;
            }
        }
        for tunnel in &self.tunnels {
            woken |= tunnel.poll_wake(cx);
        }
        if woken {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    /// Goes on opening the tunnel that is waited for; whether it was opened or refused.
    async fn open(&mut self) -> io::Result<bool> {
        let Some(order) = self.waiting.take() else {
            return Ok(false);
        };
        if !self.begun && order.reply.is_closed() {
            return Ok(true);
        }
        self.begun = true;
        let session = &self.connection.session;
        let open = || session.channel_direct_tcpip(&order.address, order.port, None);
        let answer = match self.connection.step(open).await {
            Ok(None) => {
                self.waiting = Some(order);
                return Ok(false);
            }
            Ok(Some(channel)) => self.tunnel(channel),
            Err(cause) if cause.code() == NO_CHANNEL => Err(refusal(&self.jump, cause.message())),
            Err(cause) => return Err(cause.into()),
        };
        self.begun = false;
        let Order { reply, turn, .. } = order;
        drop(turn);
        if let Err(Ok(unwanted)) = reply.send(answer) {
            // Its tunnel ends as soon as the pair is seen to be closed.
            drop(unwanted);
        }
        Ok(true)
    }

    fn tunnel(&mut self, channel: Channel) -> Result<Pair, String> {
        let pair = || {
            let (near, far) = Pair::pair()?;
            near.set_nonblocking(true)?;
            far.set_nonblocking(true)?;
            Ok((UnixStream::from_std(near)?, far))
        };
        let (stream, far) =
            pair().map_err(|cause: io::Error| format!("no socket pair: {cause}"))?;
        self.tunnels.push(Tunnel {
            channel,
            stream,
            down: Load::default(),
            up: Load::default(),
            stalled: None,
            over: false,
        });
        Ok(far)
    }
}

fn refusal(jump: &str, said: &str) -> String {
    let hint = if said.contains("prohibited") {
        "; its AllowTcpForwarding or PermitOpen does not allow it"
    } else {
        ""
    };
    format!("no connection: the jump host {jump} could not reach it: {said}{hint}")
}

impl Tunnel {
    /// Moves a piece each way; whether anything moved.
    async fn pump(&mut self, connection: &Connection, scratch: &mut [u8]) -> io::Result<bool> {
        let mut moved = false;
        let waits = self.channel.read_window().available > 0 || self.channel.eof();
        if self.down.rest().is_empty() && waits {
            let mut stream = self.channel.stream(0);
            match connection.step(|| stream.read(scratch)).await? {
                Some(0) => self.over = true,
                Some(count) => {
                    connection.heard(count);
                    self.down = Load::of(scratch, count);
                    moved = true;
                }
                None => {}
            }
        }
        if !self.down.rest().is_empty() {
            match self.stream.try_write(self.down.rest()) {
                Ok(count) => {
                    self.down.take(count);
                    self.stalled = None;
                    moved = true;
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => self.stall(),
                // Our end is closed: the session over it has ended.
                Err(_) => self.over = true,
            }
        }
        if self.up.rest().is_empty() {
            match self.stream.try_read(scratch) {
                Ok(0) => self.over = true,
                Ok(count) => self.up = Load::of(scratch, count),
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => self.over = true,
            }
        } else {
            // Nothing is read from our end while something waits, so its end has to be asked for.
            self.over |= self.abandoned();
        }
        if self.up.rest().is_empty() || self.over {
            return Ok(moved);
        }
        // A full window is waited for here and not in libssh2, where it would hold up all tunnels.
        let window = usize::try_from(self.channel.write_window().remaining).unwrap_or(usize::MAX);
        let rest = self.up.rest();
        let piece = rest.get(..window.min(rest.len())).unwrap_or_default();
        if !piece.is_empty() {
            let mut stream = self.channel.stream(0);
            if let Some(count) = connection.step(|| stream.write(piece)).await? {
                self.up.take(count);
                moved = true;
            }
        }
        Ok(moved)
    }

    /// Our end takes nothing.
    fn stall(&mut self) {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        if since.elapsed() > STALLED && self.channel.read_window().available > BACKLOG {
            tracing::debug!("a tunnel was ended: nobody takes what the host behind sends");
            self.over = true;
        }
    }

    /// Whether our end is closed.
    fn abandoned(&self) -> bool {
        let ready = self.stream.ready(Interest::WRITABLE).now_or_never();
        matches!(ready, Some(Ok(ready)) if ready.is_write_closed())
    }

    /// Wakes the task when one of its ends can be read, or written where something waits.
    fn poll_wake(&self, cx: &mut Context<'_>) -> bool {
        let readable = self.up.rest().is_empty() && self.stream.poll_read_ready(cx).is_ready();
        let writable = !self.down.rest().is_empty() && self.stream.poll_write_ready(cx).is_ready();
        readable || writable
    }
}
