//! The connection to Redis: made when it is needed, shared by all, replaced as soon as it fails.
//!
//! Not `redis`' own connection manager: that one keeps a connection whose answers have stopped coming, and answers the first call after an
//! outage with the last error of the outage.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::{Error, Result};

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// How long one round trip may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// How long a call may take in all, with a second attempt on a new connection.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// A connection that heals itself.
pub(super) struct Link {
    client: Client,
    /// With the number of connections made before it, so that only the one that failed is thrown away.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
}

impl Link {
    /// Understands the URL; connects at the first call.
    pub fn new(url: &str) -> Result<Self> {
        // The cause names what is wrong with the URL without repeating it: it may hold a password.
        let client =
            Client::open(url).map_err(|cause| Error::invalid("REDIS_URL", cause.to_string()))?;
        Ok(Self {
            client,
            current: Mutex::default(),
        })
    }

    /// Host and port, for messages.
    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// One round trip. A connection that turns out to be gone is replaced and the call made once more: every call of
    /// this store may be repeated.
    pub async fn call<T: FromRedisValue>(&self, what: &str, pipeline: &Pipeline) -> Result<T> {
        let answer = async {
            match self.attempt(pipeline).await {
                Err(cause) if cause.is_io_error() && !cause.is_timeout() => {
                    self.attempt(pipeline).await
                }
                answer => answer,
            }
        };
        let answer = timeout(CALL_LIMIT, answer)
            .await
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        answer.map_err(|cause| self.failed(what, &cause))
    }

    async fn attempt<T: FromRedisValue>(&self, pipeline: &Pipeline) -> RedisResult<T> {
        let (number, mut connection) = self.connection().await?;
        let answer = pipeline.query_async(&mut connection).await;
        if let Err(cause) = &answer
            && (cause.is_io_error() || cause.is_unrecoverable_error())
        {
            let mut current = self.current.lock().await;
            if current.0 == number {
                current.1 = None;
            }
        }
        answer
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut current = self.current.lock().await;
        let (number, connection) = &mut *current;
        if let Some(connection) = connection {
            return Ok((*number, connection.clone()));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_response_timeout(Some(ANSWER_LIMIT));
        let made = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        *number += 1;
        *connection = Some(made.clone());
        Ok((*number, made))
    }

    fn failed(&self, what: &str, cause: &RedisError) -> Error {
        let reason = if cause.is_timeout() {
            "it did not answer in time".to_owned()
        } else {
            cause.to_string()
        };
        Error::Upstream {
            what: format!("could not {what} Redis at {}: {reason}", self.address()),
            retryable: !matches!(
                cause.kind(),
                ErrorKind::AuthenticationFailed | ErrorKind::UnexpectedReturnType
            ),
        }
    }
}
