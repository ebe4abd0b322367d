//! Why a JVM gave no answer.

use std::fmt;
use std::io;

use super::graph::{Graph, Value};

/// How many causes are looked through for the first one.
const MAX_CAUSES: usize = 16;
/// How much of a JVM's own words stands in a message.
const QUOTED_CHARS: usize = 200;

/// What a JVM threw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thrown {
    /// The class of what was thrown.
    pub class: String,
    /// Its message.
    pub message: String,
    /// What caused it in the first place, where that is something else.
    pub root: Option<Box<Thrown>>,
}

impl Thrown {
    /// Reads what was thrown.
    pub(super) fn of(graph: &Graph, value: Value) -> Self {
        let mut thrown = Self::alone(graph, value);
        let mut at = value;
        for _ in 0..MAX_CAUSES {
            let deeper = ["detail", "exception", "target", "cause"]
                .into_iter()
                .find_map(|name| {
                    let cause = graph.field(at, name)?;
                    (cause != at && graph.is_a(cause, "java.lang.Throwable")).then_some(cause)
                });
            let Some(cause) = deeper else {
                break;
            };
            at = cause;
        }
        if at != value {
            thrown.root = Some(Box::new(Self::alone(graph, at)));
        }
        thrown
    }

    fn alone(graph: &Graph, value: Value) -> Self {
        let message = graph.field(value, "detailMessage");
        let message = message
            .and_then(|text| graph.text(text))
            .unwrap_or_default();
        Self {
            class: graph.class_name(value).unwrap_or("an exception").to_owned(),
            message: clipped(message),
            root: None,
        }
    }

    /// Whether it, or what caused it, is of this class.
    pub fn is(&self, class: &str) -> bool {
        self.class == class || self.root.as_ref().is_some_and(|root| root.is(class))
    }

    /// The words of what came first.
    pub(super) fn words(&self) -> &str {
        match &self.root {
            Some(root) if !root.message.is_empty() => &root.message,
            _ => &self.message,
        }
    }
}

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.class)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        match &self.root {
            Some(root) if !self.message.contains(&root.class) => write!(f, "; cause: {root}"),
            _ => Ok(()),
        }
    }
}

/// Why a JVM gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The connection could not be made, or broke.
    Lost(String),
    /// TLS was asked for, and the other end does not speak it.
    NotTls(String),
    /// What came back makes no sense; the connection is of no more use.
    Garbled(String),
    /// The JVM threw; the connection is as good as before.
    Thrown(Thrown),
    /// The JVM gave up in the middle of its answer; the connection is of no more use.
    Aborted(Thrown),
    /// The JVM, or what is to be asked of it, is not as the profile says; trying again does not help.
    Refused(String),
    /// There was no answer in time.
    Late,
}

impl Failure {
    pub(super) fn garbled(what: impl Into<String>) -> Self {
        Self::Garbled(what.into())
    }

    /// Whether the connection is of no more use: a JVM that could not read a call does not know where the next one begins.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Thrown(thrown) => {
                self.is_stale()
                    || thrown.class == "java.rmi.ServerException"
                    || thrown.class == "java.rmi.ServerError"
                    || thrown.class == "java.rmi.UnmarshalException"
            }
            _ => true,
        }
    }

    /// Whether the object that was called is no longer known: the JVM was restarted, or the lease ran out.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Self::Thrown(thrown) if thrown.class == "java.rmi.NoSuchObjectException")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(why) | Self::NotTls(why) | Self::Refused(why) => f.write_str(why),
            Self::Garbled(why) => write!(f, "what came back cannot be read: {why}"),
            Self::Thrown(thrown) => write!(f, "the JVM threw {thrown}"),
            Self::Aborted(thrown) => write!(f, "the JVM could not send its answer: {thrown}"),
            Self::Late => f.write_str("the JVM did not answer in time"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let closed = [
            BrokenPipe,
            ConnectionAborted,
            ConnectionReset,
            UnexpectedEof,
        ];
        if closed.contains(&error.kind()) {
            return Self::Lost("the JVM closed the connection".into());
        }
        Self::Lost(error.to_string())
    }
}

/// A JVM's own words, on one line and cut to a sentence's length.
pub(super) fn clipped(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(QUOTED_CHARS)
        .collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
