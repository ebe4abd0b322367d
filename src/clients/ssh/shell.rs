//! A shell that is kept open on a connection and asked again and again: one round trip for each question, and no process that sshd starts.
//!
//! What the shell says is only listened to once it has shown that it is one: a forced command or a login shell of another kind must not pass
//! for it. Whoever asks must leave it as it was found; a shell that does not answer in time is ended with all that runs in it.

use std::collections::HashMap;
use std::io::{self, Read};
use std::pin::pin;
use std::time::Duration;

use ssh2::{Channel, ErrorCode, ExtendedData};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::clients::output::Exit;
use crate::clients::ssh::connection::Connection;
use crate::clients::ssh::program;
use crate::clients::ssh::talk::{
    self, CLOSE_LIMIT, KEEP_ALIVE_CHECK, Listener, STOP_GRACE, before, while_awaited,
};

/// Ends all that runs in the shell, and the shell.
const STOP: &[u8] = b"\nkill -s KILL -- -$$\n";
/// After the first word of an answer, how long the others are let come: one wake-up for several packets.
const GATHER: Duration = Duration::from_millis(30);
/// How long the last details of an answer are awaited.
const LINGER: Duration = Duration::from_millis(20);
/// What may stand in front of the greeting: a banner, the mail notice of a login shell.
const MAX_NOISE: usize = 16 * 1024;
/// What may be said before the answer is complete: a hundred times what the frames of a batch take.
const MAX_ANSWER: usize = 1024 * 1024;
/// After so many questions a new shell is opened: whatever a shell might gather over time is bounded.
const MAX_ASKED: u32 = 1000;
/// What a shell may be taught, bytes.
const MAX_TAUGHT: usize = 512 * 1024;
const BUFFER: usize = 4 * 1024;
const REFUSED: [ErrorCode; 2] = [ErrorCode::Session(-21), ErrorCode::Session(-22)];

/// A listener that asks in a shell that is kept.
pub(crate) trait Inquirer: Listener {
    /// The functions that every shell is taught when it is opened. Descriptor 3 leads to the listener, what goes to 1 and 2 is lost.
    fn preamble(&self) -> &'static str;

    /// What to write: the question, and the definitions it needs that the shell lacks.
    fn question(&mut self, known: &mut Known) -> String;

    /// What to write when the answer has not come after a while.
    fn hurry(&self) -> (Duration, String);

    /// How much of the answer is there.
    fn progress(&self) -> Progress;
}

/// How much of an answer is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something is missing.
    Open,
    /// What is missing is not worth more than a moment.
    Almost,
    /// All of it.
    Complete,
}

/// The definitions that a shell has been taught, by what they are of; each has a number.
#[derive(Debug, Default)]
pub(crate) struct Known {
    numbers: HashMap<u64, usize>,
    bytes: usize,
}

impl Known {
    /// The number of a definition, and whether it is new.
    pub(crate) fn number(&mut self, of: u64, bytes: usize) -> (usize, bool) {
        let next = self.numbers.len();
        let number = *self.numbers.entry(of).or_insert(next);
        let new = number == next;
        if new {
            self.bytes += bytes;
        }
        (number, new)
    }
}

/// How a question went.
#[derive(Debug)]
pub(super) enum Reply {
    /// The answer is there, and the shell is ready for the next question.
    Complete,
    /// It did not come in time; whether the shell is known to have ended.
    Stopped { confirmed: bool },
    /// The shell ended, in this way.
    Ended(Exit),
    /// No shell can be held there, for this reason.
    Never(String),
    /// The shell of an earlier question was gone before this one was heard.
    Stale,
    /// The connection was of no use, for this reason; nothing has run.
    Gone(String),
    /// The server did not answer at all; nothing has run.
    Silent,
    /// It talks and talks, and the answer is not complete.
    Endless,
}

/// A shell on a connection.
pub(super) struct Shell {
    channel: Channel,
    known: Known,
    asked: u32,
    /// What is awaited from a new shell, and what came instead so far.
    greeting: Option<(Vec<u8>, Vec<u8>)>,
}

impl Shell {
    async fn open(connection: &Connection) -> Result<Box<Self>, ssh2::Error> {
        let mut channel = talk::begin_next(connection, program::COMMAND).await?;
        let merged = connection.drive(|| channel.handle_extended_data(ExtendedData::Merge));
        merged.await?;
        Ok(Box::new(Self {
            channel,
            known: Known::default(),
            asked: 0,
            greeting: None,
        }))
    }

    fn worn(&self) -> bool {
        self.asked >= MAX_ASKED || self.known.bytes >= MAX_TAUGHT
    }

    /// The text of a question, after all that a new shell must be told.
    fn text<L: Inquirer>(&mut self, listener: &mut L) -> String {
        let mut text = String::new();
        if self.asked == 0 {
            let token = super::token();
            text.push_str(&opening(&token));
            text.push_str(listener.preamble());
            self.greeting = Some((format!("\nheld.{token}\n").into_bytes(), Vec::new()));
        }
        self.asked += 1;
        text.push_str(&listener.question(&mut self.known));
        text
    }

    async fn write(&self, connection: &Connection, bytes: &[u8]) -> io::Result<()> {
        talk::write(connection, &self.channel, bytes).await
    }

    /// What comes next; nothing at the end. While it is awaited no buffer is held: thousands of shells are listened to at once.
    async fn read(&self, connection: &Connection) -> io::Result<Vec<u8>> {
        let mut stream = self.channel.stream(0);
        loop {
            let read = connection.drive(|| {
                let mut buffer = [0; BUFFER];
                let count = stream.read(&mut buffer)?;
                Ok::<_, io::Error>(buffer.get(..count).unwrap_or_default().to_vec())
            });
            if let Ok(bytes) = timeout(KEEP_ALIVE_CHECK, read).await {
                connection.heard(bytes.as_ref().map_or(0, Vec::len));
                return bytes;
            }
            connection.keep_alive().map_err(io::Error::from)?;
        }
    }

    /// Hands on what is said after the greeting. False: so much was said before one that this is no shell.
    fn hear<L: Listener>(&mut self, bytes: &[u8], listener: &mut L, at: Duration) -> bool {
        let Some((awaited, noise)) = &mut self.greeting else {
            listener.stdout(bytes, at);
            return true;
        };
        noise.extend_from_slice(bytes);
        let length = awaited.len();
        let Some(start) = noise.windows(length).position(|part| part == awaited) else {
            return noise.len() <= MAX_NOISE;
        };
        listener.stdout(noise.get(start + length..).unwrap_or_default(), at);
        self.greeting = None;
        true
    }

    /// What was said instead of a greeting, in a few words.
    fn noise(&self) -> Option<String> {
        let (_, noise) = self.greeting.as_ref()?;
        let text = String::from_utf8_lossy(noise);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().take(80).collect())
    }

    /// Ends it with all that runs in it.
    async fn stop(mut self: Box<Self>, connection: &Connection) -> io::Result<Reply> {
        let stopped = async {
            self.write(connection, STOP).await?;
            while !self.read(connection).await?.is_empty() {}
            self.farewell(connection).await
        };
        match timeout(STOP_GRACE, stopped).await {
            Ok(ended) => ended.map(|_| Reply::Stopped { confirmed: true }),
            Err(_) => Ok(Reply::Stopped { confirmed: false }),
        }
    }

    /// How it ended.
    async fn farewell(&mut self, connection: &Connection) -> io::Result<Exit> {
        let channel = &mut self.channel;
        connection.drive(|| channel.wait_close()).await?;
        let signal = channel.exit_signal().ok();
        let exit = match signal.and_then(|signal| signal.exit_signal) {
            Some(signal) => Exit::Signal(signal),
            None => Exit::Status(channel.exit_status()?),
        };
        connection.drive(|| channel.close()).await?;
        Ok(exit)
    }

    /// Closes it; nothing runs in it any more.
    pub(super) async fn close(mut self: Box<Self>, connection: &Connection) {
        let channel = &mut self.channel;
        // libssh2 takes any packet for the answer to its farewell: the server's own is waited for, since only then it counts a session less.
        let farewell = async {
            connection.drive(|| channel.close()).await?;
            connection.drive(|| channel.wait_eof()).await?;
            connection.drive(|| channel.wait_close()).await
        };
        let closed = timeout(CLOSE_LIMIT, farewell).await;
        tracing::trace!(?closed, "closed a held shell");
    }
}

/// What a shell is told first. Its own words are nobody's business; when its input ends while something still runs in it (the processes
/// that tell results, in `_hp`), nobody would hear of that any more: it is ended.
fn opening(token: &str) -> String {
    format!(
        "exec 3>&1 >/dev/null 2>&1\n_hp=\n\
         trap 'jobs;for _hn in $_hp;do kill -0 $_hn&&kill -s KILL -- -$$;done' 0\n\
         printf '\\n%s.%s\\n' held {token} >&3\n"
    )
}

/// Asks in the shell of a connection, or in a new one, and leaves it there where it is ready for the next question. `answer_limit` is for
/// the start of a new shell.
///
/// # Errors
/// The connection was lost.
pub(super) async fn ask<L: Inquirer, R>(
    connection: &mut Connection,
    listener: &mut L,
    deadline: Instant,
    answer_limit: Duration,
    asker: &mut oneshot::Sender<R>,
) -> io::Result<Reply> {
    let mut kept = connection.shell.take();
    if kept.as_ref().is_some_and(|shell| shell.worn())
        && let Some(shell) = kept.take()
    {
        shell.close(connection).await;
    }
    let was_kept = kept.is_some();
    let shell = match kept {
        Some(shell) => shell,
        None => match timeout(answer_limit, Shell::open(connection)).await {
            Ok(Ok(shell)) => shell,
            Ok(Err(cause)) if REFUSED.contains(&cause.code()) => {
                return Ok(Reply::Never(cause.message().into()));
            }
            Ok(Err(cause)) => return Ok(Reply::Gone(cause.message().into())),
            Err(_) => return Ok(Reply::Silent),
        },
    };
    let mut spoken = false;
    let heard = converse(connection, shell, listener, deadline, asker, &mut spoken).await;
    match heard {
        Ok((Reply::Ended(_), _)) if was_kept && !spoken => Ok(Reply::Stale),
        Err(cause) if was_kept && !spoken => Ok(Reply::Gone(cause.to_string())),
        Ok((reply, shell)) => {
            connection.shell = shell;
            Ok(reply)
        }
        Err(cause) => Err(cause),
    }
}

/// Asks and listens; gives the shell back where it is ready for the next question.
async fn converse<L: Inquirer, R>(
    connection: &Connection,
    mut shell: Box<Shell>,
    listener: &mut L,
    deadline: Instant,
    asker: &mut oneshot::Sender<R>,
    spoken: &mut bool,
) -> io::Result<(Reply, Option<Box<Shell>>)> {
    let started = Instant::now();
    let text = shell.text(listener);
    let written = timeout_at(deadline, shell.write(connection, text.as_bytes())).await;
    written.map_err(|_| no_input())??;
    let (after, hurry) = listener.hurry();
    let mut hurried = Some(started + after);
    let mut almost: Option<Instant> = None;
    let mut said = 0;
    loop {
        let end = deadline.min(started + listener.limit());
        let until = almost.into_iter().chain(hurried).fold(end, Instant::min);
        let heard = {
            let read = pin!(shell.read(connection));
            while_awaited(read, until, asker).await
        };
        let is_full = match heard {
            Some(Ok(bytes)) if bytes.is_empty() => return ended(connection, shell).await,
            Some(bytes) => {
                *spoken = true;
                let bytes = bytes?;
                said += bytes.len();
                if said > MAX_ANSWER {
                    return Ok((Reply::Endless, None));
                }
                if !shell.hear(&bytes, listener, started.elapsed()) {
                    return never(connection, shell).await;
                }
                bytes.len() == BUFFER
            }
            None if asker.is_closed() => return Ok((shell.stop(connection).await?, None)),
            None if almost.is_some_and(|at| at <= Instant::now()) => {
                return Ok((Reply::Complete, Some(shell)));
            }
            None if hurried.is_some_and(|at| at < end && at <= Instant::now()) => {
                hurried = None;
                let hurry = pin!(shell.write(connection, hurry.as_bytes()));
                before(end, hurry).await.ok_or_else(no_input)??;
                continue;
            }
            None if shell.noise().is_some() => return never(connection, shell).await,
            None => return Ok((shell.stop(connection).await?, None)),
        };
        match listener.progress() {
            Progress::Complete => return Ok((Reply::Complete, Some(shell))),
            Progress::Almost => almost = almost.or(Some(Instant::now() + LINGER)),
            // More is there already.
            Progress::Open if is_full => {}
            Progress::Open => sleep(GATHER).await,
        }
    }
}

fn no_input() -> io::Error {
    io::Error::other("the node took no input")
}

/// The channel came to its end.
async fn ended(
    connection: &Connection,
    mut shell: Box<Shell>,
) -> io::Result<(Reply, Option<Box<Shell>>)> {
    let farewell = timeout(CLOSE_LIMIT, shell.farewell(connection)).await;
    let exit = farewell.map_err(|_| io::Error::other("the server did not close the channel"))??;
    let reply = match (&shell.greeting, shell.noise()) {
        (None, _) => Reply::Ended(exit),
        (Some(_), None) => Reply::Never(format!("it {exit}")),
        (Some(_), Some(noise)) => Reply::Never(format!("it {exit} and said {noise:?}")),
    };
    Ok((reply, None))
}

/// Something else than a shell talks there.
async fn never(
    connection: &Connection,
    shell: Box<Shell>,
) -> io::Result<(Reply, Option<Box<Shell>>)> {
    let noise = shell.noise().unwrap_or_default();
    shell.close(connection).await;
    Ok((Reply::Never(format!("it said {noise:?}")), None))
}
