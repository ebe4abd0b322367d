//! Where definitions, the journal, samples and the queue are kept.

use std::path::Path;

use secrecy::SecretString;

use super::source::Source;

/// The database of definitions and the journal.
#[derive(Debug, Clone)]
pub struct Database {
    /// `DATABASE_URL`, default `sqlite://<data>/headroom.db`; may hold a password.
    pub url: SecretString,
}

/// Where samples and the queue are kept.
#[derive(Debug, Clone)]
pub struct Keeping {
    /// `REDIS_URL`; none = files in the data folder.
    pub redis_url: Option<SecretString>,
    /// `HEADROOM_REDIS_PREFIX`, default `headroom:`.
    pub redis_prefix: String,
}

impl Database {
    pub(super) fn from_source(source: &mut Source, data: &Path) -> Self {
        let url = source
            .text("database_url")
            .unwrap_or_else(|| format!("sqlite://{}/headroom.db", data.display()));
        if !["sqlite://", "postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            source.fault("database_url", "must start with sqlite:// or postgres://");
        }
        Self { url: url.into() }
    }
}

impl Keeping {
    pub(super) fn from_source(source: &mut Source) -> Self {
        let url = source.text("redis_url");
        if url.as_deref().is_some_and(|url| {
            !["redis://", "unix://"]
                .iter()
                .any(|scheme| url.starts_with(scheme))
        }) {
            source.fault(
                "redis_url",
                "must start with redis:// or unix://; TLS to Redis is not in this version",
            );
        }
        Self {
            redis_url: url.map(SecretString::from),
            redis_prefix: source
                .text("redis_prefix")
                .unwrap_or_else(|| "headroom:".into()),
        }
    }
}
