//! Zabbix's API, 6.0 and later: JSON-RPC over HTTP.

mod inventory;
mod wire;

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::config::{Zabbix as Access, ZabbixLogin};
use crate::error::{Error, Result};
use wire::{Fault, Wire};

pub use inventory::certificates;

/// The oldest version whose API is spoken here.
const OLDEST: Version = Version { major: 6, minor: 0 };
/// Since then the session goes in a header.
const HEADER_SINCE: Version = Version { major: 6, minor: 4 };

/// How often a call logs in again when its session has ended.
const LOGINS: u32 = 3;

/// A version of Zabbix, as far as its API depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `6` of `6.0.14`.
    pub major: u32,
    /// `0` of `6.0.14`.
    pub minor: u32,
}

impl Version {
    /// Reads `6.0` or `6.0.14`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut number = || parts.next()?.parse().ok();
        Some(Self {
            major: number()?,
            minor: number()?,
        })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A server that has let us in.
pub struct Zabbix {
    wire: Wire,
    login: ZabbixLogin,
    version: Version,
    /// Replaced when the server has ended it.
    session: Mutex<SecretString>,
}

impl Zabbix {
    /// Asks for the version and logs in. No call takes longer than the limit.
    ///
    /// # Errors
    /// The server cannot be reached, is none or too old, or refuses the login.
    pub async fn connect(access: &Access, call_limit: Duration) -> Result<Self> {
        let wire = Wire::new(
            &access.url,
            access.ca_file.as_deref().map(Path::new),
            call_limit,
        )?;
        let said = wire.call("apiinfo.version", &json!({}), None, false).await;
        let said = said.map_err(|fault| wire.error("apiinfo.version", &fault))?;
        let version = said.as_str().and_then(Version::parse);
        let Some(version) = version.filter(|version| *version >= OLDEST) else {
            return Err(Error::Conflict(format!(
                "the Zabbix at {} is of version {said}; {OLDEST} or later is needed",
                access.url
            )));
        };
        let session = log_in(&wire, &access.login).await?;
        Ok(Self {
            wire,
            login: access.login.clone(),
            version,
            session: Mutex::new(session),
        })
    }

    /// The server's version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Calls a method. A session that the server has ended is replaced: what it refused has had no effect.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses; the message has its own words.
    pub async fn call(&self, method: &str, params: Value) -> Result<Value> {
        let mut session = self.session.lock().await.clone();
        for _ in 0..LOGINS {
            match self.ask(method, &params, &session).await {
                Err(fault)
                    if fault.is_ended_session()
                        && matches!(self.login, ZabbixLogin::Password { .. }) =>
                {
                    session = self.log_in_again(&session).await?;
                }
                result => return result.map_err(|fault| self.wire.error(method, &fault)),
            }
        }
        let last = self.ask(method, &params, &session).await;
        last.map_err(|fault| self.wire.error(method, &fault))
    }

    /// Calls a method that gives a list.
    ///
    /// # Errors
    /// As [`Zabbix::call`], or what came is no list.
    pub async fn list(&self, method: &str, params: Value) -> Result<Vec<Value>> {
        match self.call(method, params).await? {
            Value::Array(items) => Ok(items),
            _ => Err(Error::Upstream {
                what: format!("Zabbix: {method} gave no list"),
                retryable: false,
            }),
        }
    }

    /// Ends the session; a token has none.
    ///
    /// # Errors
    /// As [`Zabbix::call`].
    pub async fn close(self) -> Result<()> {
        if matches!(self.login, ZabbixLogin::Password { .. }) {
            self.call("user.logout", json!([])).await?;
        }
        Ok(())
    }

    async fn ask(
        &self,
        method: &str,
        params: &Value,
        session: &SecretString,
    ) -> Result<Value, Fault> {
        self.wire
            .call(method, params, Some(session), self.version >= HEADER_SINCE)
            .await
    }

    async fn log_in_again(&self, ended: &SecretString) -> Result<SecretString> {
        let mut session = self.session.lock().await;
        // Another call may have been faster.
        if session.expose_secret() == ended.expose_secret() {
            tracing::info!("the Zabbix session has ended; logging in again");
            *session = log_in(&self.wire, &self.login).await?;
        }
        Ok(session.clone())
    }
}

async fn log_in(wire: &Wire, login: &ZabbixLogin) -> Result<SecretString> {
    let (user, password) = match login {
        ZabbixLogin::Token(token) => return Ok(token.clone()),
        ZabbixLogin::Password { user, password } => (user, password),
    };
    let params = json!({"username": user, "password": password.expose_secret()});
    let said = wire.call("user.login", &params, None, false).await;
    match said.map_err(|fault| wire.error("user.login", &fault))? {
        Value::String(session) => Ok(session.into()),
        _ => Err(Error::Upstream {
            what: "Zabbix: user.login gave no session".into(),
            retryable: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let version = |text| Version::parse(text).unwrap();
        assert!(version("6.0.14") < version("6.4") && version("6.4.0") < version("10.0"));
        assert_eq!(version("7.0.3rc1").to_string(), "7.0");
        assert_eq!(Version::parse("six"), None);
    }
}
