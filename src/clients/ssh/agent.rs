//! Logins with the keys of an ssh-agent. It may wait for a person (a touch, a confirmation) or hang, and libssh2 asks it over a socket that
//! blocks without limit: it is asked on threads of its own, a few at a time, so that no other login ever waits for it.

use std::env;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use ssh2::Session;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::clients::ssh::connection::{AUTHENTICATION_FAILED, Connection, refusal};

/// Where the agent listens, as ssh knows it.
const PLACE: &str = "SSH_AUTH_SOCK";
/// Logins that may wait for the agent at once. One that it never answers stays until the agent ends.
const LOGINS: usize = 16;
/// Listing its keys takes an agent no thought.
const ALIVE: Duration = Duration::from_secs(2);
const REQUEST_IDENTITIES: [u8; 5] = [0, 0, 0, 1, 11];
const IDENTITIES_ANSWER: u8 = 12;

/// The agent of this process.
pub(super) struct Agent {
    logins: Arc<Semaphore>,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            logins: Arc::new(Semaphore::new(LOGINS)),
        }
    }
}

impl Agent {
    /// Shows its keys to a host, one after the other.
    pub(super) async fn login(
        &self,
        connection: &Connection,
        user: &str,
        limit: Duration,
    ) -> Result<(), String> {
        match timeout(ALIVE, alive()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => return Err(unusable(&cause)),
            Err(_) => return Err(unusable(&"it does not answer")),
        }
        let turn = Arc::clone(&self.logins).acquire_owned().await;
        let (session, user) = (connection.session.clone(), user.to_owned());
        let shown = spawn_blocking(move || {
            let _turn = turn;
            // libssh2 waits for the host itself here, and no longer than that.
            session.set_timeout(u32::try_from(limit.as_millis()).unwrap_or(u32::MAX));
            session.set_blocking(true);
            let shown = show(&session, &user);
            session.set_blocking(false);
            shown
        });
        shown
            .await
            .unwrap_or_else(|cause| Err(format!("the login was not tried: {cause}")))
    }
}

/// Asks for the list of keys: whoever does not answer that is not asked to sign.
async fn alive() -> io::Result<()> {
    let place = env::var_os(PLACE).ok_or(io::ErrorKind::NotFound)?;
    let mut agent = UnixStream::connect(place).await?;
    agent.write_all(&REQUEST_IDENTITIES).await?;
    let mut head = [0; 5];
    agent.read_exact(&mut head).await?;
    if head.last() == Some(&IDENTITIES_ANSWER) {
        Ok(())
    } else {
        Err(io::Error::other("it does not list its keys"))
    }
}

fn show(session: &Session, user: &str) -> Result<(), String> {
    let list = || {
        let mut agent = session.agent()?;
        agent.connect()?;
        agent.list_identities()?;
        let identities = agent.identities()?;
        Ok((agent, identities))
    };
    let (agent, identities) = list().map_err(|cause: ssh2::Error| unusable(&cause.message()))?;
    for identity in &identities {
        match agent.userauth(user, identity) {
            Ok(()) => return Ok(()),
            Err(cause) if cause.code() == AUTHENTICATION_FAILED => {}
            Err(cause) => return Err(refusal(user, &cause, false)),
        }
    }
    Err(format!(
        "the server refused all {} keys of the ssh-agent for user {user}",
        identities.len()
    ))
}

fn unusable(why: &dyn std::fmt::Display) -> String {
    format!("the ssh-agent cannot be used: {why}; {PLACE} must name its socket")
}
