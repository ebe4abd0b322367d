//! How to reach a JVM's JMX on a node.

use serde::Serialize;

use super::{Inline, Reference, SECRET};
use crate::clients::jmx::Address;
use crate::error::Result;
use crate::fleet::ids::Ids;
use crate::fleet::reader::Object;
use crate::models::JmxTransport;
use crate::models::jvm_profile::{JvmProfile as Row, NewJvmProfile};

/// How to reach a JVM's JMX on a node: by the port of its registry or by a whole URL.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct JvmProfile {
    /// Unique name.
    pub name: String,
    /// Port of the RMI registry, or of the Jolokia agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// `service:jmx:rmi:///…`, or the `http://…` of a Jolokia agent, instead of the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How its MBeans are reached; `rmi` by default, `jolokia` where the URL is one of HTTP.
    #[serde(skip_serializing_if = "is_rmi")]
    pub transport: JmxTransport,
    /// The Jolokia agent's path at the port; `/jolokia` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
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
        let name = object.required_name("name");
        let url = object.text_that("url", is_url, URL_EXPECTED);
        let http = url.as_deref().is_some_and(is_http_url);
        let https = http && url.as_deref().is_some_and(|url| url.starts_with("https:"));
        let by_url = if http {
            JmxTransport::Jolokia
        } else {
            JmxTransport::Rmi
        };
        let profile = Self {
            name,
            port: object.small("port", 1..=65_535),
            url,
            transport: object.word("transport").unwrap_or(by_url),
            path: object.text_that("path", is_path, "must begin with / and have no blanks"),
            user: object.text("user"),
            password_env: object.text_that(
                "password_env",
                is_variable,
                "must be the name of an environment variable",
            ),
            password_secret: object.name("password_secret"),
            password: object.secret("password").map(Inline),
            tls: object.switch("tls").unwrap_or(https),
            ca_file: object.file_path("ca_file"),
        };
        if object.has("port") == object.has("url") {
            object.fault("port", "exactly one of port and url is required");
        }
        if profile.url.is_some() && profile.transport != by_url {
            object.fault(
                "transport",
                "does not go with the url, which says it already",
            );
        }
        if profile.path.is_some() && (profile.transport == JmxTransport::Rmi || http) {
            object.fault("path", "is only used with transport: jolokia and a port");
        }
        if http && profile.tls != https {
            object.fault(
                "tls",
                "does not go with the url: https is with TLS, http without",
            );
        }
        profile.check_login(object);
        profile
    }

    fn check_login(&self, object: &mut Object<'_>) {
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
        if self.ca_file.is_some() && !self.tls {
            object.fault("ca_file", "is only used with tls: true");
        }
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
            transport: row.transport,
            path: row.path,
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
            transport: self.transport,
            path: self.path.clone(),
            login: self.user.clone(),
            password_env: self.password_env.clone(),
            password_secret: ids.secrets.id_if(self.password_secret.as_deref())?,
            tls: self.tls,
            ca_file: self.ca_file.clone(),
            updated_ms: now_ms,
        })
    }
}

const URL_EXPECTED: &str = "must be service:jmx:rmi:///jndi/rmi://HOST:PORT/jmxrmi, or the http:// or https:// address of a Jolokia agent";

fn is_url(text: &str) -> bool {
    is_http_url(text) || Address::parse(text).is_ok()
}

fn is_http_url(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.username().is_empty())
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(char::is_whitespace)
}

fn is_rmi(transport: &JmxTransport) -> bool {
    *transport == JmxTransport::Rmi
}

fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
