//! How to log in to a node.

use diesel::prelude::*;

use crate::models::named::named_queries;
use crate::models::{HostKeyPolicy, SecretId, SshProfileId};
use crate::schema::ssh_profiles;

/// How to log in to a node.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = ssh_profiles)]
pub struct SshProfile {
    /// Row id.
    pub id: SshProfileId,
    /// Unique name.
    pub name: String,
    /// User to log in as.
    pub login: String,
    /// TCP port of sshd.
    pub port: i32,
    /// A private key on Headroom's host.
    pub private_key_file: Option<String>,
    /// A private key in the vault.
    pub private_key_secret: Option<SecretId>,
    /// A variable of Headroom's environment with the passphrase of the private key.
    pub passphrase_env: Option<String>,
    /// The passphrase of the private key, in the vault.
    pub passphrase_secret: Option<SecretId>,
    /// Whether the keys of an ssh-agent are used instead of a private key.
    pub agent: bool,
    /// The OpenSSH certificate of the private key, on Headroom's host.
    pub certificate_file: Option<String>,
    /// The host that nodes are reached through: `user@host:port`.
    pub proxy_jump: Option<String>,
    /// How long connecting may take, where it is not the usual time.
    pub connect_timeout_secs: Option<i64>,
    /// How a host's key is trusted.
    pub host_keys: HostKeyPolicy,
    /// Where pinned keys stand.
    pub known_hosts_file: Option<String>,
    /// Pinned keys, in known_hosts lines.
    pub known_hosts: Option<String>,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`SshProfile`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = ssh_profiles, treat_none_as_null = true)]
pub struct NewSshProfile {
    /// See [`SshProfile::name`].
    pub name: String,
    /// See [`SshProfile::login`].
    pub login: String,
    /// See [`SshProfile::port`].
    pub port: i32,
    /// See [`SshProfile::private_key_file`].
    pub private_key_file: Option<String>,
    /// See [`SshProfile::private_key_secret`].
    pub private_key_secret: Option<SecretId>,
    /// See [`SshProfile::passphrase_env`].
    pub passphrase_env: Option<String>,
    /// See [`SshProfile::passphrase_secret`].
    pub passphrase_secret: Option<SecretId>,
    /// See [`SshProfile::agent`].
    pub agent: bool,
    /// See [`SshProfile::certificate_file`].
    pub certificate_file: Option<String>,
    /// See [`SshProfile::proxy_jump`].
    pub proxy_jump: Option<String>,
    /// See [`SshProfile::connect_timeout_secs`].
    pub connect_timeout_secs: Option<i64>,
    /// See [`SshProfile::host_keys`].
    pub host_keys: HostKeyPolicy,
    /// See [`SshProfile::known_hosts_file`].
    pub known_hosts_file: Option<String>,
    /// See [`SshProfile::known_hosts`].
    pub known_hosts: Option<String>,
    /// See [`SshProfile::updated_ms`].
    pub updated_ms: i64,
}

impl SshProfile {
    /// The jump host that the profile goes through, `host:port`; empty = none.
    pub fn through(&self) -> String {
        let jump = self.proxy_jump.as_deref().and_then(jump);
        jump.map_or_else(String::new, |(_, host, port)| {
            format!("{host}:{}", port.unwrap_or(22))
        })
    }
}

named_queries!(
    SshProfile,
    NewSshProfile,
    SshProfileId,
    ssh_profiles,
    "ssh profile"
);

/// The parts of a `proxy_jump`: user, host and port, as far as they are given; none if it is no such thing.
pub fn jump(text: &str) -> Option<(Option<&str>, &str, Option<u16>)> {
    let (user, place) = match text.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, text),
    };
    let (host, port) = match place
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = port.map(str::parse).transpose().ok()?;
    let odd = |word: &str| {
        word.is_empty()
            || word.starts_with('-')
            || word.contains(|c: char| c.is_whitespace() || c.is_control() || "@[]".contains(c))
    };
    if odd(host) || user.is_some_and(odd) || port == Some(0) {
        return None;
    }
    Some((user, host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_host_is_read_with_what_is_given() {
        let cases = [
            ("bastion", Some((None, "bastion", None))),
            ("ops@bastion", Some((Some("ops"), "bastion", None))),
            (
                "ops@10.0.0.1:2222",
                Some((Some("ops"), "10.0.0.1", Some(2222))),
            ),
            ("[fe80::1]:22", Some((None, "fe80::1", Some(22)))),
            ("ops@[fe80::1]", Some((Some("ops"), "fe80::1", None))),
            ("", None),
            ("ops@", None),
            ("@bastion", None),
            ("bastion:", None),
            ("bastion:0", None),
            ("bastion:99999", None),
            ("-oProxyCommand=x", None),
            ("two words", None),
        ];
        for (text, expected) in cases {
            assert_eq!(jump(text), expected, "{text}");
        }
    }
}
