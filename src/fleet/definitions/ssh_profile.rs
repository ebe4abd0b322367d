//! How to log in to a node.

use serde::Serialize;

use super::{Inline, Reference, SECRET, Secs};
use crate::error::Result;
use crate::fleet::ids::Ids;
use crate::fleet::reader::Object;
use crate::models::HostKeyPolicy;
use crate::models::ssh_profile::{NewSshProfile, SshProfile as Row, jump};

/// How to log in to a node: a user, a private key, and whom to believe to be the host.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct SshProfile {
    /// Unique name.
    pub name: String,
    /// User to log in as.
    pub user: String,
    /// TCP port of sshd, 22 by default.
    pub port: i32,
    /// A private key on Headroom's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key_file: Option<String>,
    /// The vault's name of a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_key_secret: Option<String>,
    /// A private key to put into the vault; never given back.
    #[serde(skip)]
    #[schema(value_type = Option<String>, write_only)]
    pub private_key: Option<Inline>,
    /// A variable of Headroom's environment with the passphrase of the private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase_env: Option<String>,
    /// The vault's name of the passphrase of the private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passphrase_secret: Option<String>,
    /// The passphrase, to put into the vault; never given back.
    #[serde(skip)]
    #[schema(value_type = Option<String>, write_only)]
    pub passphrase: Option<Inline>,
    /// Whether the keys of the ssh-agent that `SSH_AUTH_SOCK` names are used instead of a private key.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub agent: bool,
    /// The OpenSSH certificate of the private key, on Headroom's host: a `-cert.pub` file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<String>,
    /// The host that nodes are reached through: `host`, `user@host` or `user@host:port`; the same key logs in there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_jump: Option<String>,
    /// How long reaching the host may take, and again how long key exchange and login may; 10 s if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub connect_timeout: Option<Secs>,
    /// How a host's key is trusted: `pinned` by default where known hosts are given, else `first_use`.
    pub host_keys: HostKeyPolicy,
    /// Where pinned keys stand, on Headroom's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts_file: Option<String>,
    /// Pinned keys, in known_hosts lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
}

impl SshProfile {
    pub(in crate::fleet) fn read(object: &mut Object<'_>) -> Self {
        let name = object.required_name("name");
        let user = object.text_that("user", is_login, "must be a login name");
        let profile = Self {
            name,
            user: object.need("user", user, String::new()),
            port: object.small("port", 1..=65_535).unwrap_or(22),
            private_key_file: object.file_path("private_key_file"),
            private_key_secret: object.name("private_key_secret"),
            private_key: object.secret("private_key").map(Inline),
            passphrase_env: object.text("passphrase_env"),
            passphrase_secret: object.name("passphrase_secret"),
            passphrase: object.secret("passphrase").map(Inline),
            agent: object.switch("agent").unwrap_or_default(),
            certificate_file: object.file_path("certificate_file"),
            proxy_jump: object.text_that(
                "proxy_jump",
                |text| jump(text).is_some(),
                "must be a host, user@host or user@host:port",
            ),
            connect_timeout: object.duration("connect_timeout", 1).map(Secs),
            host_keys: HostKeyPolicy::FirstUse,
            known_hosts_file: object.file_path("known_hosts_file"),
            known_hosts: object.text("known_hosts"),
        };
        profile.check_keys(object);
        let pins = object.has("known_hosts") || object.has("known_hosts_file");
        let host_keys = object.word("host_keys").unwrap_or(if pins {
            HostKeyPolicy::Pinned
        } else {
            HostKeyPolicy::FirstUse
        });
        profile.check_host_keys(object, host_keys, pins);
        Self {
            host_keys,
            ..profile
        }
    }

    fn check_keys(&self, object: &mut Object<'_>) {
        let keys = ["private_key_file", "private_key_secret", "private_key"];
        let phrases = ["passphrase_env", "passphrase_secret", "passphrase"];
        match keys.iter().filter(|key| object.has(key)).count() {
            0 | 1 if self.agent => {
                for key in keys.into_iter().chain(phrases).chain(["certificate_file"]) {
                    if object.has(key) {
                        object.fault(key, "stands beside agent: the agent has the keys and their certificates");
                    }
                }
            }
            1 => {}
            0 => object.fault("private_key_file", "is required (or private_key_secret, private_key, or agent: true); there is no login by password"),
            _ => object.fault("private_key_file", "only one of private_key_file, private_key_secret and private_key may stand here"),
        }
        if phrases.iter().filter(|key| object.has(key)).count() > 1 {
            object.fault(
                "passphrase",
                "only one of passphrase_env, passphrase_secret and passphrase may stand here",
            );
        }
    }

    fn check_host_keys(&self, object: &mut Object<'_>, policy: HostKeyPolicy, pins: bool) {
        if policy == HostKeyPolicy::Pinned && !pins {
            object.fault("host_keys", "pinned needs known_hosts_file or known_hosts");
        }
        if policy == HostKeyPolicy::FirstUse && pins {
            object.fault(
                "host_keys",
                "first_use takes no known_hosts; use pinned, or leave the known hosts out",
            );
        }
        if object.has("known_hosts") && object.has("known_hosts_file") {
            object.fault(
                "known_hosts",
                "stands beside known_hosts_file; only one of them may",
            );
        }
        for (number, line) in (1..).zip(self.known_hosts.iter().flat_map(|text| text.lines())) {
            if !is_known_host(line) {
                object.fault(
                    "known_hosts",
                    format!("line {number} is not of the form: host key-type key"),
                );
            }
        }
    }

    pub(in crate::fleet) fn references(&self, found: &mut Vec<Reference>) {
        if let Some(name) = &self.private_key_secret {
            found.push(Reference::new("private_key_secret", SECRET, name));
        }
        if let Some(name) = &self.passphrase_secret {
            found.push(Reference::new("passphrase_secret", SECRET, name));
        }
    }

    /// The vault's name for a secret that stands in the file.
    pub(in crate::fleet) fn own_secret(&self, field: &str) -> String {
        format!("ssh_profile.{}.{field}", self.name)
    }

    pub(in crate::fleet) fn from_row(row: Row, ids: &Ids) -> Result<Self> {
        Ok(Self {
            name: row.name,
            user: row.login,
            port: row.port,
            private_key_file: row.private_key_file,
            private_key_secret: ids.secrets.name_if(row.private_key_secret)?,
            private_key: None,
            passphrase_env: row.passphrase_env,
            passphrase_secret: ids.secrets.name_if(row.passphrase_secret)?,
            passphrase: None,
            agent: row.agent,
            certificate_file: row.certificate_file,
            proxy_jump: row.proxy_jump,
            connect_timeout: row.connect_timeout_secs.map(Secs),
            host_keys: row.host_keys,
            known_hosts_file: row.known_hosts_file,
            known_hosts: row.known_hosts,
        })
    }

    pub(in crate::fleet) fn row(&self, ids: &Ids, now_ms: i64) -> Result<NewSshProfile> {
        Ok(NewSshProfile {
            name: self.name.clone(),
            login: self.user.clone(),
            port: self.port,
            private_key_file: self.private_key_file.clone(),
            private_key_secret: ids.secrets.id_if(self.private_key_secret.as_deref())?,
            passphrase_env: self.passphrase_env.clone(),
            passphrase_secret: ids.secrets.id_if(self.passphrase_secret.as_deref())?,
            agent: self.agent,
            certificate_file: self.certificate_file.clone(),
            proxy_jump: self.proxy_jump.clone(),
            connect_timeout_secs: self.connect_timeout.map(|timeout| timeout.0),
            host_keys: self.host_keys,
            known_hosts_file: self.known_hosts_file.clone(),
            known_hosts: self.known_hosts.clone(),
            updated_ms: now_ms,
        })
    }
}

/// A leading dash would be read as an option by programs that get `user@host`.
fn is_login(text: &str) -> bool {
    !text.starts_with('-')
        && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '@')
}

fn is_known_host(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#') || line.split_whitespace().count() >= 3
}
