//! What is said of a host that cannot be worked on, and whether anything may have begun there.

use crate::clients::ssh::Host;
use crate::clients::ssh::connection::label;
use crate::error::Error;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What is wrong with the host itself.
    Host(String),
    /// What is wrong with the jump host in front of it: nothing is known of the host.
    Jump(String),
}

impl From<String> for Trouble {
    fn from(why: String) -> Self {
        Self::Host(why)
    }
}

/// Nothing was begun on the host. A key that is refused is refused again until a person has looked at it.
pub(super) fn upstream(host: &Host, why: &str) -> Error {
    Error::Upstream {
        what: format!("ssh {}: {why}", label(host)),
        retryable: !why.starts_with("refused: "),
    }
}

/// What was begun may be over, or go on.
pub(super) fn lost(host: &Host, cause: &std::io::Error) -> Error {
    Error::Upstream {
        what: format!(
            "ssh {}: the connection was lost while a command ran: {cause}",
            label(host)
        ),
        retryable: false,
    }
}
