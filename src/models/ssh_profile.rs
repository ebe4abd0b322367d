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
    /// See [`SshProfile::host_keys`].
    pub host_keys: HostKeyPolicy,
    /// See [`SshProfile::known_hosts_file`].
    pub known_hosts_file: Option<String>,
    /// See [`SshProfile::known_hosts`].
    pub known_hosts: Option<String>,
    /// See [`SshProfile::updated_ms`].
    pub updated_ms: i64,
}

named_queries!(
    SshProfile,
    NewSshProfile,
    SshProfileId,
    ssh_profiles,
    "ssh profile"
);
