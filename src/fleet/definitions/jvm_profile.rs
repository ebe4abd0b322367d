//! How to reach a JVM's JMX on a node.

use serde::Serialize;

use super::{Inline, Reference, SECRET};
use crate::error::Result;
use crate::fleet::ids::Ids;
use crate::fleet::reader::Object;
use crate::models::jvm_profile::{JvmProfile as Row, NewJvmProfile};

/// How to reach a JVM's JMX on a node: by the port of its registry or by a whole URL.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct JvmProfile {
    /// Unique name.
    pub name: String,
    /// Port of the RMI registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// `service:jmx:rmi:///…` instead of the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// User to log in as; none = without a login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Environment variable of Headroom that holds the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    /// The vault's name of the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<String>,
    /// A password to put into the vault; never given back.
    #[serde(skip)]
    #[schema(value_type = Option<String>, write_only)]
    pub password: Option<Inline>,
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Certificate authority to trust, PEM, on Headroom's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

impl JvmProfile {
    pub(in crate::fleet) fn read(object: &mut Object<'_>) -> Self {
        let profile = Self {
            name: object.required_name("name"),
            port: object.small("port", 1..=65_535),
            url: object.text_that("url", is_jmx_url, "must begin with service:jmx:rmi:"),
            user: object.text("user"),
            password_env: object.text_that(
                "password_env",
                is_variable,
                "must be the name of an environment variable",
            ),
            password_secret: object.name("password_secret"),
            password: object.secret("password").map(Inline),
            tls: object.switch("tls").unwrap_or(false),
            ca_file: object.file_path("ca_file"),
        };
        if object.has("port") == object.has("url") {
            object.fault("port", "exactly one of port and url is required");
        }
        let ways = ["password_env", "password_secret", "password"];
        let given = ways.iter().filter(|key| object.has(key)).count();
        if given > 1 {
            object.fault(
                "password_env",
                "only one of password_env, password_secret and password may stand here",
            );
        }
        if object.has("user") != (given > 0) {
            object.fault(
                "user",
                "a user and a password belong together (password_env, password_secret or password)",
            );
        }
        if profile.ca_file.is_some() && !profile.tls {
            object.fault("ca_file", "is only used with tls: true");
        }
        profile
    }

    pub(in crate::fleet) fn references(&self, found: &mut Vec<Reference>) {
        if let Some(name) = &self.password_secret {
            found.push(Reference::new("password_secret", SECRET, name));
        }
    }

    /// The vault's name for the password that stands in the file.
    pub(in crate::fleet) fn own_secret(&self) -> String {
        format!("jvm_profile.{}.password", self.name)
    }

    pub(in crate::fleet) fn from_row(row: Row, ids: &Ids) -> Result<Self> {
        Ok(Self {
            name: row.name,
            port: row.port,
            url: row.url,
            user: row.login,
            password_env: row.password_env,
            password_secret: ids.secrets.name_if(row.password_secret)?,
            password: None,
            tls: row.tls,
            ca_file: row.ca_file,
        })
    }

    pub(in crate::fleet) fn row(&self, ids: &Ids, now_ms: i64) -> Result<NewJvmProfile> {
        Ok(NewJvmProfile {
            name: self.name.clone(),
            port: self.port,
            url: self.url.clone(),
            login: self.user.clone(),
            password_env: self.password_env.clone(),
            password_secret: ids.secrets.id_if(self.password_secret.as_deref())?,
            tls: self.tls,
            ca_file: self.ca_file.clone(),
            updated_ms: now_ms,
        })
    }
}

fn is_jmx_url(text: &str) -> bool {
    text.starts_with("service:jmx:rmi:") && !text.contains(char::is_whitespace)
}

fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
