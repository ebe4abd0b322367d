//! How to reach a JVM's JMX on a node.

use diesel::prelude::*;

use crate::models::named::named_queries;
use crate::models::{JmxTransport, JvmProfileId, SecretId};
use crate::schema::jvm_profiles;

/// How to reach a JVM's JMX on a node.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = jvm_profiles)]
pub struct JvmProfile {
    /// Row id.
    pub id: JvmProfileId,
    /// Unique name.
    pub name: String,
    /// Port of the RMI registry, or of the Jolokia agent.
    pub port: Option<i32>,
    /// A `service:jmx:rmi:` URL, or that of a Jolokia agent, instead of the port.
    pub url: Option<String>,
    /// How its MBeans are reached.
    pub transport: JmxTransport,
    /// The Jolokia agent's path at the port.
    pub path: Option<String>,
    /// User to log in as.
    pub login: Option<String>,
    /// Environment variable that holds the password.
    pub password_env: Option<String>,
    /// The password in the vault.
    pub password_secret: Option<SecretId>,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Certificate authority to trust, PEM.
    pub ca_file: Option<String>,
    /// Last change, ms.
    pub updated_ms: i64,
}

/// What is written of a [`JvmProfile`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = jvm_profiles, treat_none_as_null = true)]
pub struct NewJvmProfile {
    /// See [`JvmProfile::name`].
    pub name: String,
    /// See [`JvmProfile::port`].
    pub port: Option<i32>,
    /// See [`JvmProfile::url`].
    pub url: Option<String>,
    /// See [`JvmProfile::transport`].
    pub transport: JmxTransport,
    /// See [`JvmProfile::path`].
    pub path: Option<String>,
    /// See [`JvmProfile::login`].
    pub login: Option<String>,
    /// See [`JvmProfile::password_env`].
    pub password_env: Option<String>,
    /// See [`JvmProfile::password_secret`].
    pub password_secret: Option<SecretId>,
    /// See [`JvmProfile::tls`].
    pub tls: bool,
    /// See [`JvmProfile::ca_file`].
    pub ca_file: Option<String>,
    /// See [`JvmProfile::updated_ms`].
    pub updated_ms: i64,
}

named_queries!(
    JvmProfile,
    NewJvmProfile,
    JvmProfileId,
    jvm_profiles,
    "jvm profile"
);
