//! Programs and folders that actions work with, and the Zabbix server.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::source::Source;
use crate::error::{Error, Result};

/// What actions find on Headroom's own host.
#[derive(Debug, Clone)]
pub struct Tooling {
    /// Whether programs may be started on Headroom's own host: `HEADROOM_ALLOW_LOCAL`.
    pub allow_local: bool,
    /// `HEADROOM_FAB`: the `fab` program of Fabric 2 or 3. Default: the one in the path.
    pub fab: PathBuf,
    /// `HEADROOM_DOCKER_COMPOSE`: a `docker-compose` program. Default: `docker compose`, else `docker-compose`, of the path.
    pub docker_compose: Option<PathBuf>,
    /// `<data>/fabric-scripts`: the operator's fabfiles.
    pub fabric_scripts: PathBuf,
    /// `<data>/puppet`: the operator's manifests.
    pub puppet: PathBuf,
    /// The data folder, below which backups of Zabbix are kept.
    pub data: PathBuf,
    /// `<data>/private`: keys and certificates while a program needs them as files.
    pub private: PathBuf,
    /// The Zabbix server, if one is set.
    pub zabbix: Option<Zabbix>,
}

/// A Zabbix server and how to log in.
#[derive(Debug, Clone)]
pub struct Zabbix {
    /// `HEADROOM_ZABBIX_URL`: its front end, such as `https://zabbix.example.org/zabbix`.
    pub url: String,
    /// How to log in.
    pub login: ZabbixLogin,
    /// `HEADROOM_ZABBIX_CA_FILE`: certificates to trust beside the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

/// How to log in to Zabbix.
#[derive(Debug, Clone)]
pub enum ZabbixLogin {
    /// `HEADROOM_ZABBIX_TOKEN`: a token made in Zabbix 5.4 or later.
    Token(SecretString),
    /// `HEADROOM_ZABBIX_USER` and `HEADROOM_ZABBIX_PASSWORD`.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
}

impl Tooling {
    /// Folders below the data folder, programs of the path, which may be started, no Zabbix.
    pub fn new(data: &Path) -> Self {
        Self {
            allow_local: true,
            fab: "fab".into(),
            docker_compose: None,
            fabric_scripts: data.join("fabric-scripts"),
            puppet: data.join("puppet"),
            data: data.to_owned(),
            private: data.join("private"),
            zabbix: None,
        }
    }

    /// The Zabbix server.
    ///
    /// # Errors
    /// None is set; the message says how.
    pub fn require_zabbix(&self) -> Result<&Zabbix> {
        self.zabbix.as_ref().ok_or_else(|| {
            Error::Conflict(
                "Zabbix is not set up: set HEADROOM_ZABBIX_URL, and HEADROOM_ZABBIX_TOKEN or HEADROOM_ZABBIX_USER and HEADROOM_ZABBIX_PASSWORD".into(),
            )
        })
    }

    pub(super) fn from_source(source: &mut Source, data: &Path, allow_local: bool) -> Self {
        let defaults = Self::new(data);
        Self {
            allow_local,
            fab: source.text("fab").map_or(defaults.fab, PathBuf::from),
            docker_compose: source.text("docker_compose").map(PathBuf::from),
            zabbix: zabbix(source),
            ..defaults
        }
    }
}

fn zabbix(source: &mut Source) -> Option<Zabbix> {
    let ca_file = source.text("zabbix_ca_file").map(PathBuf::from);
    let (user, password) = (source.text("zabbix_user"), source.secret("zabbix_password"));
    let token = source.secret("zabbix_token");
    let Some(url) = source.text("zabbix_url") else {
        for (key, is_set) in [
            ("zabbix_user", user.is_some()),
            ("zabbix_token", token.is_some()),
        ] {
            if is_set {
                source.fault(key, "needs HEADROOM_ZABBIX_URL");
            }
        }
        return None;
    };
    if !url::Url::parse(&url).is_ok_and(|url| ["http", "https"].contains(&url.scheme())) {
        source.fault(
            "zabbix_url",
            format!("\"{url}\" is not a URL such as https://zabbix.example.org/zabbix"),
        );
    }
    let login = match (token, user, password) {
        (Some(token), None, None) => ZabbixLogin::Token(token),
        (None, Some(user), Some(password)) => ZabbixLogin::Password { user, password },
        (Some(_), _, _) => {
            source.fault(
                "zabbix_token",
                "excludes HEADROOM_ZABBIX_USER and HEADROOM_ZABBIX_PASSWORD",
            );
            return None;
        }
        (None, _, _) => {
            source.fault(
                "zabbix_url",
                "needs HEADROOM_ZABBIX_TOKEN, or HEADROOM_ZABBIX_USER and HEADROOM_ZABBIX_PASSWORD",
            );
            return None;
        }
    };
    Some(Zabbix {
        url,
        login,
        ca_file,
    })
}
