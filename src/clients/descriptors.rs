//! How many files this process may hold open: every connection is one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as this process may, and gives what it is then; none if it cannot be known.
pub fn raise() -> Option<u64> {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        }
        Ok(hard)
    });
    raised
        .inspect_err(|cause| tracing::warn!(%cause, "could not raise the limit of open files"))
        .ok()
        .or_else(limit)
}

/// The limit as it is.
pub fn limit() -> Option<u64> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    limit.ok().map(|(soft, _)| soft)
}
