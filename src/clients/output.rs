//! What came out of a command, here or on a node.

use std::fmt;
use std::time::Duration;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself, with this status.
    Status(i32),
    /// A signal ended it.
    Signal(String),
    /// Its time ran out, or the caller lost interest.
    Stopped {
        /// Whether it is known to have ended; if not, it may still be running.
        confirmed: bool,
    },
}

impl Exit {
    /// Whether it ended by itself with status 0.
    pub fn success(&self) -> bool {
        matches!(self, Self::Status(0))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exited with status {status}"),
            Self::Signal(name) => write!(f, "was ended by signal {name}"),
            Self::Stopped { confirmed: true } => f.write_str("was stopped at its time limit"),
            Self::Stopped { confirmed: false } => f.write_str(
                "reached its time limit and could not be stopped: it may still be running",
            ),
        }
    }
}

/// What came out of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended.
    pub status: Exit,
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
    /// From its start to its end.
    pub took: Duration,
    /// Whether either stream was longer than what is kept of it.
    pub truncated: bool,
}

impl ExecOutput {
    /// Whether it ended by itself with status 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// The first bytes of a stream; the rest is read and dropped, so that the writer never blocks.
#[derive(Debug)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    limit: usize,
    truncated: bool,
}

impl Kept {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            truncated: false,
        }
    }

    pub(crate) fn push(&mut self, more: &[u8]) {
        let room = self.limit.saturating_sub(self.bytes.len());
        let (kept, dropped) = more.split_at(room.min(more.len()));
        self.bytes.extend_from_slice(kept);
        self.truncated |= !dropped.is_empty();
    }

    pub(crate) fn truncated(&self) -> bool {
        self.truncated
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_kept_up_to_its_limit_and_says_when_it_was_longer() {
        let mut kept = Kept::new(4);
        kept.push(b"abc");
        assert!(!kept.truncated());
        kept.push(b"d");
        assert!(!kept.truncated(), "exactly the limit is not too much");
        kept.push(b"e");
        assert!(kept.truncated());
        assert_eq!(kept.into_bytes(), b"abcd");
    }

    #[test]
    fn only_status_zero_is_success_and_each_end_says_what_happened() {
        let cases = [
            (Exit::Status(0), true, "exited with status 0"),
            (Exit::Status(3), false, "exited with status 3"),
            (
                Exit::Signal("KILL".into()),
                false,
                "was ended by signal KILL",
            ),
            (
                Exit::Stopped { confirmed: true },
                false,
                "was stopped at its time limit",
            ),
            (
                Exit::Stopped { confirmed: false },
                false,
                "reached its time limit and could not be stopped: it may still be running",
            ),
        ];
        for (exit, success, text) in cases {
            assert_eq!(exit.success(), success, "{exit:?}");
            assert_eq!(exit.to_string(), text);
        }
    }
}
