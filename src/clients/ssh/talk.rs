//! One command on an open connection: start it, give it its program, listen until it ends or is stopped.

use std::io::{self, Read, Write};
use std::pin::{Pin, pin};
use std::time::Duration;

use ssh2::{Channel, ErrorCode};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::clients::output::Exit;
use crate::clients::ssh::connection::Connection;
use crate::clients::ssh::engine::Job;
use crate::clients::ssh::program::Program;

/// How long a stopped command may take to end: the watcher on the node kills after two seconds.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(4);
/// How long the farewell of a finished channel is awaited.
pub(super) const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long output is awaited from what a finished script left running in the background.
const LINGER: Duration = Duration::from_millis(200);
/// How often a talk without a word looks whether a keep-alive is due.
pub(super) const KEEP_ALIVE_CHECK: Duration = Duration::from_secs(5);
const BUFFER: usize = 32 * 1024;
/// One that is used, and one that was.
const CHANNELS: usize = 2;
/// Between tries where the server may still count a session that has ended; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LAST_PAUSE: Duration = Duration::from_millis(320);
/// A channel could not be opened.
pub(super) const NO_CHANNEL: ErrorCode = ErrorCode::Session(-21);
const CHANNEL_ENDED: [ErrorCode; 2] = [ErrorCode::Session(-26), ErrorCode::Session(-27)];

/// Listens to a command and says how long it may still run.
pub(crate) trait Listener: Send {
    /// Takes a piece of standard output that arrived so long after the start.
    fn stdout(&mut self, bytes: &[u8], at: Duration);

    /// Takes a piece of standard error.
    fn stderr(&mut self, bytes: &[u8]);

    /// The time after the start at which the command is stopped; may shrink with what was heard.
    fn limit(&self) -> Duration;

    /// Whether everything was heard that could be: the host runs what it is given.
    fn content(&self) -> bool {
        true
    }

    /// How the command ended, if it was heard to; the streams are not waited for any longer then.
    fn ended(&self) -> Option<Exit> {
        None
    }
}

/// How the talk ended.
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) took: Duration,
    /// Whether the connection is fit for the next command.
    pub(super) reusable: bool,
}

/// Opens a channel and starts the shell. Nothing has run yet if this fails.
pub(super) async fn begin(connection: &Connection, command: &str) -> Result<Channel, ssh2::Error> {
    let session = &connection.session;
    let mut channel = connection.drive(|| session.channel_session()).await?;
    connection.socket.set_channels(CHANNELS);
    connection
        .drive(|| channel.exec(command))
        .await
        .map(|()| channel)
}

/// As [`begin`], on a connection on which something may just have been closed: a server that allows few sessions counts that one until it
/// has reaped its process, of which it says nothing.
pub(super) async fn begin_next(
    connection: &Connection,
    command: &str,
) -> Result<Channel, ssh2::Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        match begin(connection, command).await {
            Err(cause) if cause.code() == NO_CHANNEL && pause <= LAST_PAUSE => {
                sleep(pause).await;
                pause *= 2;
            }
            begun => return begun,
        }
    }
}

/// Why a command could not be begun.
pub(super) fn refusal(cause: &ssh2::Error) -> String {
    let hint = if cause.code() == NO_CHANNEL {
        "; its MaxSessions may be reached, or too low for this account to run commands"
    } else {
        ""
    };
    format!("the server refused a command: {}{hint}", cause.message())
}

/// Where a talk is.
enum Phase {
    Running,
    /// It was heard to end; its streams may be held open by what it left behind.
    Leaving(Exit, Instant),
    /// It was told to stop.
    Stopping(Instant),
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
) -> io::Result<Ended> {
    let started = Instant::now();
    let deadline = job.deadline;
    let limit = |listener: &L| deadline.min(started + listener.limit());
    let listener = &mut job.listener;
    let fed = feed(connection, &mut channel, &job.program);
    let fed = timeout_at(limit(listener), fed).await;
    fed.map_err(|_| io::Error::other("the node took no input"))??;
    let mut pieces = Pieces::new(channel.clone());
    let mut phase = Phase::Running;
    loop {
        let until = match phase {
            Phase::Running => limit(listener),
            Phase::Leaving(_, until) | Phase::Stopping(until) => until,
        };
        let piece = {
            let piece = pin!(next(connection, &mut pieces));
            match phase {
                Phase::Running => while_awaited(piece, until, asker).await,
                Phase::Leaving(..) | Phase::Stopping(_) => before(until, piece).await,
            }
        };
        match (piece.transpose()?, &phase) {
            (Some(Piece::Out(count)), _) => {
                listener.stdout(pieces.bytes(count), started.elapsed());
            }
            (Some(Piece::Err(count)), _) => listener.stderr(pieces.bytes(count)),
            (Some(Piece::End), _) | (None, Phase::Leaving(..)) => break,
            // The time limit, or nobody waits for the answer any more.
            (None, Phase::Running) => {
                phase = Phase::Stopping(Instant::now() + STOP_GRACE);
                let told = write(connection, &channel, &job.program.stop);
                let told = timeout(CLOSE_LIMIT, told).await;
                tracing::debug!(?told, "told a command to stop");
            }
            (None, Phase::Stopping(_)) => {
                let exit = Exit::Stopped { confirmed: false };
                return Ok(ended(exit, started, false));
            }
        }
        if let (Phase::Running, Some(exit)) = (&phase, listener.ended()) {
            phase = Phase::Leaving(exit, Instant::now() + LINGER);
        }
    }
    let exit = match (phase, signal(&channel)) {
        (Phase::Stopping(_), _) => Exit::Stopped { confirmed: true },
        (Phase::Leaving(exit, _), _) => exit,
        (Phase::Running, Some(signal)) => Exit::Signal(signal),
        (Phase::Running, None) => Exit::Status(channel.exit_status()?),
    };
    let closed = timeout(CLOSE_LIMIT, connection.drive(|| channel.close())).await;
    Ok(ended(exit, started, matches!(closed, Ok(Ok(())))))
}

/// What work comes to; none: its time is over. The time is looked at first: from a node that never stops talking there is always something
/// to read. The work stays pinned with whoever waits: handed on, each function on the way would keep room for it once more, on thousands of
/// nodes at once.
pub(super) async fn before<F: Future>(until: Instant, work: Pin<&mut F>) -> Option<F::Output> {
    if Instant::now() >= until {
        return None;
    }
    timeout_at(until, work).await.ok()
}

/// As [`before`]; none also where nobody waits for the outcome any more.
pub(super) async fn while_awaited<F: Future, R>(
    work: Pin<&mut F>,
    until: Instant,
    asker: &mut oneshot::Sender<R>,
) -> Option<F::Output> {
    if asker.is_closed() {
        return None;
    }
    tokio::select! {
        biased;
        done = before(until, work) => done,
        () = asker.closed() => None,
    }
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

async fn feed(connection: &Connection, channel: &mut Channel, program: &Program) -> io::Result<()> {
    write(connection, channel, &program.text).await?;
    if program.ends {
        connection.drive(|| channel.send_eof()).await?;
    }
    Ok(())
}

/// Writes all of it, or what the other end takes: that a command ended early is heard when its end is read.
pub(super) async fn write(
    connection: &Connection,
    channel: &Channel,
    bytes: &[u8],
) -> io::Result<()> {
    let mut stream = channel.stream(0);
    let mut rest = bytes;
    while !rest.is_empty() {
        match connection.drive(|| stream.write(rest)).await {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(cause) if is_over(&cause) => return Ok(()),
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}

fn is_over(cause: &io::Error) -> bool {
    let cause = cause
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<ssh2::Error>());
    cause.is_some_and(|cause| CHANNEL_ENDED.contains(&cause.code()))
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
            if let Ok(Piece::Out(count) | Piece::Err(count)) = &piece {
                connection.heard(*count);
            }
            return piece;
        }
        connection.keep_alive().map_err(io::Error::from)?;
    }
}
