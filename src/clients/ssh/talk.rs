//! One command on an open connection: start it, give it its program, listen until it ends or is stopped.

use std::io::{self, Read, Write};
use std::time::Duration;

use ssh2::Channel;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::clients::output::Exit;
use crate::clients::ssh::connection::Connection;
use crate::clients::ssh::engine::Job;
use crate::clients::ssh::program;

/// How long a stopped command may take to end: the watcher on the node kills after two seconds.
const STOP_GRACE: Duration = Duration::from_secs(4);
/// How long the farewell of a finished channel is awaited.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How often a talk without a word looks whether a keep-alive is due.
const KEEP_ALIVE_CHECK: Duration = Duration::from_secs(5);
const BUFFER: usize = 32 * 1024;

/// Listens to a command and says how long it may still run.
pub(crate) trait Listener: Send {
    /// Takes a piece of standard output that arrived so long after the start.
    fn stdout(&mut self, bytes: &[u8], at: Duration);

    /// Takes a piece of standard error.
    fn stderr(&mut self, bytes: &[u8]);

    /// The time after the start at which the command is stopped; may shrink with what was heard.
    fn limit(&self) -> Duration;
}

/// How the talk ended.
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) took: Duration,
    /// Whether the connection is fit for the next command.
    pub(super) reusable: bool,
}

/// Opens a channel and starts the shell. Nothing has run yet if this fails.
pub(super) async fn begin(connection: &Connection) -> Result<Channel, ssh2::Error> {
    let session = &connection.session;
    let mut channel = connection.drive(|| session.channel_session()).await?;
    connection
        .drive(|| channel.exec(program::COMMAND))
        .await
        .map(|()| channel)
}

/// Gives the shell its program and listens to the end.
///
/// # Errors
/// The connection was lost.
pub(super) async fn listen<L: Listener, R>(
    connection: &Connection,
    mut channel: Channel,
    job: &mut Job<L>,
    asker: &mut oneshot::Sender<R>,
) -> Result<Ended, io::Error> {
    let started = Instant::now();
    let limit = |listener: &L| {
        let own = started + listener.limit();
        job.deadline.map_or(own, |deadline| own.min(deadline))
    };
    let listener = &mut job.listener;
    let fed = timeout_at(limit(listener), write(connection, &channel, &job.program)).await;
    fed.map_err(|_| io::Error::other("the node took no input"))??;
    let mut pieces = Pieces::new(channel.clone());
    let mut stopping: Option<Instant> = None;
    loop {
        let until = stopping.unwrap_or_else(|| limit(listener));
        let piece = tokio::select! {
            biased;
            piece = timeout_at(until, next(connection, &mut pieces)) => Some(piece),
            () = asker.closed(), if stopping.is_none() => None,
        };
        match piece {
            Some(Ok(piece)) => match piece? {
                Piece::Out(count) => listener.stdout(pieces.bytes(count), started.elapsed()),
                Piece::Err(count) => listener.stderr(pieces.bytes(count)),
                Piece::End => break,
            },
            // The time limit, or nobody waits for the answer any more.
            Some(Err(_)) | None if stopping.is_none() => {
                stopping = Some(Instant::now() + STOP_GRACE);
                let told = timeout(CLOSE_LIMIT, write(connection, &channel, &job.stop)).await;
                tracing::debug!(?told, "told a command to stop");
            }
            Some(Err(_)) | None => {
                return Ok(ended(Exit::Stopped { confirmed: false }, started, false));
            }
        }
    }
    let exit = match (stopping, signal(&channel)) {
        (Some(_), _) => Exit::Stopped { confirmed: true },
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Status(channel.exit_status().map_err(io::Error::from)?),
    };
    let closed = timeout(CLOSE_LIMIT, connection.drive(|| channel.close())).await;
    Ok(ended(exit, started, matches!(closed, Ok(Ok(())))))
}

fn ended(exit: Exit, started: Instant, reusable: bool) -> Ended {
    Ended {
        exit,
        took: started.elapsed(),
        reusable,
    }
}

fn signal(channel: &Channel) -> Option<String> {
    channel.exit_signal().ok()?.exit_signal
}

async fn write(connection: &Connection, channel: &Channel, bytes: &[u8]) -> io::Result<()> {
    let mut stream = channel.stream(0);
    let mut rest = bytes;
    while !rest.is_empty() {
        let count = connection.drive(|| stream.write(rest)).await?;
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}

enum Piece {
    Out(usize),
    Err(usize),
    End,
}

/// Reads both streams of a channel as they come.
struct Pieces {
    channel: Channel,
    buffer: Vec<u8>,
    drained: bool,
}

impl Pieces {
    fn new(channel: Channel) -> Self {
        Self {
            channel,
            buffer: vec![0; BUFFER],
            drained: false,
        }
    }

    fn bytes(&self, count: usize) -> &[u8] {
        self.buffer.get(..count).unwrap_or_default()
    }

    /// One libssh2 step; the end is only told when the host has closed the channel, since the exit status comes before that.
    fn step(&mut self) -> io::Result<Piece> {
        if !self.drained {
            if let Some(count) = some(self.channel.stream(0).read(&mut self.buffer))? {
                return Ok(Piece::Out(count));
            }
            if let Some(count) = some(self.channel.stderr().read(&mut self.buffer))? {
                return Ok(Piece::Err(count));
            }
            if !self.channel.eof() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.drained = true;
        }
        self.channel.wait_close().map_err(io::Error::from)?;
        Ok(Piece::End)
    }
}

/// A read that brought something; none = nothing yet, or the end.
fn some(read: io::Result<usize>) -> io::Result<Option<usize>> {
    match read {
        Ok(0) => Ok(None),
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// The next piece; sends keep-alives while there is none.
async fn next(connection: &Connection, pieces: &mut Pieces) -> io::Result<Piece> {
    loop {
        let step = connection.drive(|| pieces.step());
        if let Ok(piece) = timeout(KEEP_ALIVE_CHECK, step).await {
            return piece;
        }
        connection.keep_alive().map_err(io::Error::from)?;
    }
}
