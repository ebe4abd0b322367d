//! The database of definitions, the journal and the audit: SQLite or PostgreSQL, one code, chosen by URL.
//!
//! A PostgreSQL that falls silent is given up on (`silence.rs`), by those who cannot wait sooner ([`Db::within`]).
//!
//! Diesel blocks, so [`Db::read`] and [`Db::write`] run it on the blocking pool; the number of connections bounds how many run at once.

mod silence;

use std::time::Duration;

use diesel::prelude::{Connection as _, ConnectionError, ConnectionResult, RunQueryDsl as _};
use diesel::r2d2::{ManageConnection, Pool, PooledConnection, R2D2Connection};
use diesel::{PgConnection, SqliteConnection, sql_query};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio::time::timeout;

use crate::error::{Error, Result};

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// How long a statement waits for another writer of the SQLite file before it fails.
const BUSY_TIMEOUT_MS: u32 = 5_000;
/// How long a caller waits for a free connection.
const POOL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long whoever asks whether the database answers waits.
const PING_LIMIT: Duration = Duration::from_secs(5);
/// Connections per process.
const POOL_SIZE: u32 = 8;

mod any {
    use diesel::{PgConnection, SqliteConnection};

    /// A connection to either database; in a module of its own, since the derive needs the name of Diesel's trait free.
    #[derive(diesel::MultiConnection)]
    pub enum AnyConnection {
        /// A SQLite file.
        Sqlite(SqliteConnection),
        /// A PostgreSQL server.
        Postgres(PgConnection),
    }
}

pub use any::AnyConnection as Connection;

/// Opens connections by URL and makes each one fit for use.
#[derive(Debug)]
pub struct Manager {
    url: String,
}

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = diesel::r2d2::Error;

    fn connect(&self) -> Result<Connection, Self::Error> {
        connect(&self.url).map_err(diesel::r2d2::Error::ConnectionError)
    }

    fn is_valid(&self, conn: &mut Connection) -> Result<(), Self::Error> {
        conn.ping().map_err(diesel::r2d2::Error::QueryError)
    }

    fn has_broken(&self, conn: &mut Connection) -> bool {
        std::thread::panicking() || conn.is_broken()
    }
}

fn connect(url: &str) -> ConnectionResult<Connection> {
    let Some(path) = url.strip_prefix("sqlite://") else {
        let mut conn = PgConnection::establish(&silence::limited(url))?;
        sql_query(silence::STANDSTILL)
            .execute(&mut conn)
            .map_err(ConnectionError::CouldntSetupConfiguration)?;
        return Ok(Connection::Postgres(conn));
    };
    let mut conn = SqliteConnection::establish(path)?;
    for pragma in [
        format!("PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}"),
        "PRAGMA journal_mode = WAL".into(),
        "PRAGMA synchronous = FULL".into(),
        "PRAGMA foreign_keys = ON".into(),
    ] {
        sql_query(pragma)
            .execute(&mut conn)
            .map_err(ConnectionError::CouldntSetupConfiguration)?;
    }
    Ok(Connection::Sqlite(conn))
}

/// A pool of connections; cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool<Manager>,
    /// After which a caller is told that there is no answer.
    patience: Option<Duration>,
}

impl Db {
    /// Opens the pool and brings the tables up to date.
    ///
    /// # Errors
    /// The URL is not understood, the server does not answer, or a migration fails.
    pub fn open(url: &str) -> Result<Self> {
        let db = Self::connect_only(url)?;
        db.migrate()?;
        Ok(db)
    }

    /// Opens the pool without touching the tables.
    ///
    /// # Errors
    /// The URL is not understood or the server does not answer.
    pub fn connect_only(url: &str) -> Result<Self> {
        if !["sqlite://", "postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(Error::invalid(
                "DATABASE_URL",
                "must start with sqlite:// or postgres://",
            ));
        }
        // One plain connection first: its error says what is wrong, the pool's only that time ran out.
        connect(url).map_err(|cause| Error::Upstream {
            what: format!("could not open the database: {cause}"),
            retryable: true,
        })?;
        let pool = Pool::builder()
            .max_size(POOL_SIZE)
            // None is opened that nobody waits for: one that comes late would make the files of a database that is gone anew.
            .min_idle(Some(0))
            .connection_timeout(POOL_TIMEOUT)
            .build(Manager {
                url: url.to_owned(),
            })
            .map_err(|cause| Error::internal("could not open the database pool", cause))?;
        Ok(Self {
            pool,
            patience: None,
        })
    }

    /// The same database for those who cannot wait: what is not answered after `limit` fails, and is left to end by itself. A write that was
    /// given up may still come to pass, so that this is for what can be asked again.
    #[must_use]
    pub fn within(&self, limit: Duration) -> Self {
        Self {
            pool: self.pool.clone(),
            patience: Some(limit),
        }
    }

    /// Applies the embedded migrations that are missing.
    ///
    /// # Errors
    /// A migration fails; what it did is rolled back.
    pub fn migrate(&self) -> Result<Vec<String>> {
        let conn = &mut *self.connection()?;
        let applied = match conn {
            Connection::Sqlite(conn) => conn.run_pending_migrations(SQLITE_MIGRATIONS),
            Connection::Postgres(conn) => conn.run_pending_migrations(POSTGRES_MIGRATIONS),
        };
        applied
            .map(|versions| versions.iter().map(ToString::to_string).collect())
            .map_err(|cause| Error::internal("could not migrate the database", cause))
    }

    /// Takes every migration back; for the test that goes up, down and up again.
    ///
    /// # Errors
    /// A migration fails; what it did is rolled back.
    pub fn revert_all(&self) -> Result<()> {
        let conn = &mut *self.connection()?;
        let reverted = match conn {
            Connection::Sqlite(conn) => conn.revert_all_migrations(SQLITE_MIGRATIONS),
            Connection::Postgres(conn) => conn.revert_all_migrations(POSTGRES_MIGRATIONS),
        };
        reverted
            .map(drop)
            .map_err(|cause| Error::internal("could not revert the migrations", cause))
    }

    /// A connection, for code that may block (the command line, tests).
    ///
    /// # Errors
    /// No connection became free or could be opened in time.
    pub fn connection(&self) -> Result<PooledConnection<Manager>> {
        self.pool.get().map_err(|cause| Error::Upstream {
            what: format!("no database connection: {cause}"),
            retryable: true,
        })
    }

    /// Runs `work` in a write transaction, blocking. SQLite takes the write lock at once, so that two writers queue instead of failing half-way.
    ///
    /// # Errors
    /// What `work` returns, after a rollback.
    pub fn write_blocking<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let conn = &mut *self.connection()?;
        if let Connection::Sqlite(_) = conn {
            return immediate(conn, work);
        }
        conn.transaction(work)
    }

    /// Runs `work` in a write transaction that is taken back at its end, whatever it comes to: what would be, without being it.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn rehearse_blocking<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let mut outcome = None;
        let taken_back = self.write_blocking(|conn| {
            outcome = Some(work(conn));
            Err::<(), _>(Error::Internal("taken back".into()))
        });
        match (outcome, taken_back) {
            (Some(outcome), _) => outcome,
            (None, Err(cause)) => Err(cause),
            (None, Ok(())) => Err(Error::Internal("a rehearsal did not run".into())),
        }
    }

    /// Runs queries off the async threads.
    ///
    /// # Errors
    /// What `work` returns, or that no connection is to be had.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let db = self.clone();
        self.blocking(move || work(&mut *db.connection()?)).await
    }

    /// Runs a write transaction off the async threads.
    ///
    /// # Errors
    /// What `work` returns, after a rollback.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let db = self.clone();
        self.blocking(move || db.write_blocking(work)).await
    }

    /// [`Db::rehearse_blocking`] off the async threads.
    ///
    /// # Errors
    /// What `work` returns.
    pub async fn rehearse<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let db = self.clone();
        self.blocking(move || db.rehearse_blocking(work)).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        let ping = |conn: &mut Connection| {
            sql_query("SELECT 1")
                .execute(conn)
                .map(drop)
                .map_err(Error::from)
        };
        self.within(PING_LIMIT).read(ping).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let task = tokio::task::spawn_blocking(work);
        let ended = match self.patience {
            None => task.await,
            Some(limit) => timeout(limit, task).await.map_err(|_| {
                let secs = limit.as_secs();
                Error::Upstream {
                    what: format!("the database has not answered for {secs} s"),
                    retryable: true,
                }
            })?,
        };
        ended.map_err(|cause| Error::internal("a database task did not finish", cause))?
    }
}

/// `BEGIN IMMEDIATE` by hand: Diesel offers it on `SqliteConnection` alone, while `work` wants the [`Connection`].
fn immediate<T>(
    conn: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<T>,
) -> Result<T> {
    sql_query("BEGIN IMMEDIATE").execute(conn)?;
    let outcome = work(conn).and_then(|value| {
        sql_query("COMMIT")
            .execute(conn)
            .map(|_| value)
            .map_err(Error::from)
    });
    if outcome.is_err()
        && let Err(cause) = sql_query("ROLLBACK").execute(conn)
    {
        // A failed COMMIT or a full disk may have rolled back already; the first error is the one to show.
        tracing::debug!(%cause, "rollback after a failed transaction");
    }
    outcome
}
