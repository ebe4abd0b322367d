//! What another program needs to log in as this client does.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use crate::clients::ssh::{Host, Identity, Request, Ssh, known_hosts, label, upstream};
use crate::error::{Error, Result};

/// A login and the host keys that are trusted for it.
pub struct Credentials {
    /// Name or address.
    pub address: String,
    /// TCP port of sshd.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The private key, OpenSSH or PEM text.
    pub key: SecretString,
    /// Lines of known_hosts with the plain name of this host and the keys that are trusted for it, at least one.
    pub known_hosts: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            user,
            address,
            port,
            ..
        } = self;
        write!(f, "Credentials({user}@{address}:{port})")
    }
}

/// The private key of a host, where another program could log in with nothing else.
fn plain_key(host: &Host) -> Result<SecretString> {
    let why = match (&host.login.identity, &host.login.via) {
        (_, Some(_)) => {
            "is reached through a jump host, which only counters and LocalScript can do"
        }
        (Identity::Agent, _) => "logs in with an ssh-agent, whose keys cannot be handed on",
        (
            Identity::Key {
                passphrase: Some(_),
                ..
            },
            _,
        ) => "logs in with a key that has a passphrase, which cannot be handed on",
        (
            Identity::Key {
                certificate: Some(_),
                ..
            },
            _,
        ) => "logs in with a certificate, which cannot be handed on",
        (Identity::Key { key, .. }, None) => return Ok(key.clone()),
    };
    Err(Error::Conflict(format!("{} {why}", label(host))))
}

impl Ssh {
    /// The credentials of a host. Logs in first: a key of first use is on record then, and a changed one is refused here, where a person is told.
    ///
    /// # Errors
    /// As [`Ssh::exec`].
    pub async fn credentials(&self, host: &Host, time_limit: Duration) -> Result<Credentials> {
        let key = plain_key(host)?;
        let request = Request {
            script: ":".into(),
            stdin: Vec::new(),
            time_limit,
            max_output: 0,
            eager: true,
        };
        self.exec(host, request).await?;
        let record = self.engine.record(host).await;
        let record = record.map_err(|why| upstream(host, &why))?;
        let name = known_hosts::name(&host.address, host.port);
        let lines = record.accepted.iter().filter(|key| record.accepts(key));
        let lines: String = lines
            .map(|key| format!("{name} {} {}\n", key.key_type(), key.to_base64()))
            .collect();
        if lines.is_empty() {
            let why = format!("no host key is on record for {}", label(host));
            return Err(upstream(host, &why));
        }
        Ok(Credentials {
            address: host.address.clone(),
            port: host.port,
            user: host.login.user.clone(),
            key,
            known_hosts: lines,
        })
    }
}
