//! What another program needs to log in as this client does.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;

use crate::clients::ssh::{Host, Request, Ssh, known_hosts, label, upstream};
use crate::error::Result;

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

impl Ssh {
    /// The credentials of a host. Logs in first: a key of first use is on record then, and a changed one is refused here, where a person is told.
    ///
    /// # Errors
    /// As [`Ssh::exec`].
    pub async fn credentials(&self, host: &Host, time_limit: Duration) -> Result<Credentials> {
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
            key: host.login.key.clone(),
            known_hosts: lines,
        })
    }
}
