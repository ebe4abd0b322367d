//! The one error of the domain. It knows no HTTP: `web/` turns it into a page or a problem document, `cli/` into an exit status.
//!
//! Rule: a message says what was attempted, on what, what came back and what to do next; it never carries a secret.

use std::fmt;

/// One thing that is wrong with what a person or a file gave, and where.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Fault {
    /// Where, as a path a person can follow: `clusters[0].nodes[2].address`. Empty for the whole.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Fault {
    /// A fault at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// What can go wrong, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named thing does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Bad input, refused whole; every fault is listed and nothing was written.
    #[error("{}", list(.0))]
    Invalid(Vec<Fault>),
    /// The request is well formed but the present state refuses it.
    #[error("{0}")]
    Conflict(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// Something outside Headroom failed.
    #[error("{what}")]
    Upstream {
        /// What was attempted, on what, and what came back.
        what: String,
        /// Whether the same attempt may succeed later.
        retryable: bool,
    },
    /// A fault of Headroom's own or of its database; the text is for the log, people see a neutral sentence.
    #[error("{0}")]
    Internal(String),
}

/// `Result` with the domain's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Bad input with a single fault.
    pub fn invalid(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![Fault::new(path, message)])
    }

    /// An internal fault: what was attempted, and the cause.
    pub fn internal(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Internal(format!("{what}: {cause}"))
    }
}

impl From<diesel::result::Error> for Error {
    fn from(error: diesel::result::Error) -> Self {
        match error {
            diesel::result::Error::NotFound => Self::NotFound("the requested row".into()),
            other => Self::Internal(format!("database: {other}")),
        }
    }
}

fn list(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(Fault::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}
