//! What is said of a host that cannot be worked on, and whether anything may have begun there.

use crate::clients::ssh::Host;
use crate::clients::ssh::connection::label;
use crate::error::Error;

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
