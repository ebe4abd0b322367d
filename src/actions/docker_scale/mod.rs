//! DockerScale: brings a service of Docker Compose or Swarm to a number of replicas.
//!
//! What it is about to do is noted in the journal before it does it, so after a crash the number aimed for is known, and asking the engine for
//! the same number again does nothing twice. A service that somebody else has scaled meanwhile is left alone, for a person to judge.

mod bounds;
mod effect;
mod scaling;

use std::path::{Path, PathBuf};

use askama::Template as _;

use super::{Action, Effect, Facts, Fields, Names, Recovery, Scope, Settings};
use crate::clients::docker::{Driver, Service};
use crate::error::{Error, Result};
use crate::models::StepTarget;
use effect::Scaling;

pub use bounds::{Bounds, Change};
pub use scaling::{Scaled, scale};

const DEFAULT_TIMEOUT_SECS: i64 = 300;
/// More replicas than this are a mistake.
const MAX_REPLICAS: i64 = 10_000;

/// The settings of a DockerScale.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/docker_scale.html")]
pub struct DockerScale {
    /// `compose` or `swarm`.
    pub driver: &'static str,
    /// The Compose project, or the Swarm stack.
    pub project: Option<String>,
    /// The Compose files; `/etc/docker/<project>/compose.yml` if none is named.
    pub file: Vec<String>,
    /// The service.
    pub service: String,
    /// By how many, or to how many.
    pub change: Change,
    /// Between what the number stays.
    pub bounds: Bounds,
    /// The engine.
    pub host: Option<String>,
    /// Files of certificates on Headroom's own host.
    pub tls: Option<TlsFiles>,
    /// Whether certificates are those of a Zabbix host.
    pub certificates_from_zabbix: bool,
    /// The alias in that host's inventory.
    pub component: String,
}

/// PEM files on Headroom's own host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who signed the engine's certificate.
    pub ca: String,
    /// The client's certificate.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

impl Settings for DockerScale {
    const FACTS: Facts = Facts {
        default_timeout_secs: DEFAULT_TIMEOUT_SECS,
        on_own_host: true,
        undo: Some(
            "Scales the service back to the number it had, unless somebody else has scaled it meanwhile.",
        ),
        ..Facts::plain(
            "Brings a service of Docker Compose or Swarm to a number of replicas, and waits until they run.",
            &[StepTarget::None],
        )
    };
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{"driver": "compose", "project": "shop", "service": "worker", "by": 1, "min": 1, "max": 20}"#;

    fn read(fields: &mut Fields<'_>) -> Self {
        let driver = fields.choice("driver", &["compose", "swarm"]);
        if driver.is_none() && !fields.has("driver") {
            fields.fault("driver", "is required: compose or swarm");
        }
        let service = fields.template("service", Names::Run);
        let action = Self {
            driver: driver.unwrap_or("compose"),
            project: fields.optional_text("project"),
            file: fields.optional_templates("file", Names::Run),
            change: change(fields),
            bounds: bounds(fields),
            host: fields.optional_text("host"),
            tls: tls(fields),
            certificates_from_zabbix: fields.choice("certificates", &["zabbix"]).is_some(),
            component: fields
                .optional_text("component")
                .unwrap_or_else(|| service.clone()),
            service,
        };
        action.check(fields);
        action
    }
}

fn change(fields: &mut Fields<'_>) -> Change {
    let by = fields.integer("by", -MAX_REPLICAS..=MAX_REPLICAS);
    let to = fields.integer("to", 0..=MAX_REPLICAS);
    match (by, to) {
        (Some(0), None) => fields.fault("by", "must not be 0"),
        (Some(by), None) => return Change::By(by),
        (None, Some(to)) => return Change::To(u32::try_from(to).unwrap_or_default()),
        (Some(_), Some(_)) => fields.fault("to", "excludes by: say one of them"),
        (None, None) if fields.has("by") || fields.has("to") => {}
        (None, None) => fields.fault(
            "by",
            "is required: by how many (by: 1, by: -1), or to how many (to: 5)",
        ),
    }
    Change::By(1)
}

fn bounds(fields: &mut Fields<'_>) -> Bounds {
    let mut read = |key| {
        fields
            .integer(key, 0..=MAX_REPLICAS)
            .and_then(|number| u32::try_from(number).ok())
    };
    Bounds {
        min: read("min").unwrap_or_default(),
        max: read("max"),
    }
}

fn tls(fields: &mut Fields<'_>) -> Option<TlsFiles> {
    let mut read = |key| fields.optional_text(key);
    let files = (
        read("tls_ca_file"),
        read("tls_cert_file"),
        read("tls_key_file"),
    );
    match files {
        (Some(ca), Some(cert), Some(key)) => Some(TlsFiles { ca, cert, key }),
        (None, None, None) => None,
        _ => {
            fields.fault(
                "tls_key_file",
                "tls_ca_file, tls_cert_file and tls_key_file belong together",
            );
            None
        }
    }
}

impl DockerScale {
    fn check(&self, fields: &mut Fields<'_>) {
        let Bounds { min, max } = self.bounds;
        if max.is_some_and(|max| max < min) {
            fields.fault("max", format!("is below min ({min})"));
        }
        if let Change::To(to) = self.change
            && (to < min || max.is_some_and(|max| to > max))
        {
            fields.fault("to", "is not between min and max");
        }
        if self.driver == "compose" && self.project.is_none() {
            fields.fault("project", "is required for compose");
        }
        if self.driver == "swarm" && !self.file.is_empty() {
            fields.fault("file", "is for compose alone: a Swarm knows its services");
        }
        for (index, file) in self.file.iter().enumerate() {
            if !Path::new(file).is_absolute() {
                fields.fault(
                    &format!("file[{index}]"),
                    "must be an absolute path on Headroom's own host",
                );
            }
        }
        for (key, name) in [
            ("project", self.project.as_deref()),
            ("service", Some(self.service.as_str())),
        ] {
            if let Some(name) = name.filter(|name| !name.is_empty() && !name.contains("{{"))
                && let Err(message) = check_name(name)
            {
                fields.fault(key, message);
            }
        }
        self.check_engine(fields);
    }

    fn check_engine(&self, fields: &mut Fields<'_>) {
        let scheme = |host: &String| {
            ["unix://", "tcp://", "ssh://"]
                .iter()
                .any(|scheme| host.starts_with(scheme))
        };
        if let Some(host) = self.host.as_ref().filter(|host| !scheme(host)) {
            fields.fault(
                "host",
                format!("\"{host}\" must begin with unix://, tcp:// or ssh://"),
            );
        }
        let with_tls = self.tls.is_some() || self.certificates_from_zabbix;
        if with_tls
            && !self
                .host
                .as_ref()
                .is_some_and(|host| host.starts_with("tcp://"))
        {
            fields.fault(
                "host",
                "must be a tcp:// address where there are certificates",
            );
        }
        if self.tls.is_some() && self.certificates_from_zabbix {
            fields.fault(
                "certificates",
                "exclude tls_ca_file, tls_cert_file and tls_key_file",
            );
        }
    }

    /// What is asked for, in words.
    fn words(&self) -> String {
        let Bounds { min, max } = self.bounds;
        let limits = match max {
            Some(max) => format!("between {min} and {max}"),
            None => format!("{min} at least"),
        };
        match self.change {
            Change::By(by) if by > 0 => format!("{by} more, {limits}"),
            Change::By(by) => format!("{} fewer, {limits}", -by),
            Change::To(to) => format!("to {to}"),
        }
    }
}

/// Refuses what Docker would take for an option, or for something else than one name.
///
/// # Errors
/// A sentence that says what a name looks like.
pub fn check_name(name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(good) {
        return Ok(());
    }
    Err(format!(
        "\"{name}\" must be letters, digits, dots, dashes and underscores, and begin with a letter or digit"
    ))
}

impl Action for DockerScale {
    fn recovery(&self) -> Recovery {
        Recovery::LookUp
    }

    fn summary(&self) -> String {
        format!("{} ({}): {}", self.service, self.driver, self.words())
    }

    fn may_shrink(&self) -> bool {
        match self.change {
            Change::By(by) => by < 0,
            // How many there are is known to the engine alone.
            Change::To(_) => true,
        }
    }

    fn html(&self) -> Result<String> {
        self.render()
            .map_err(|cause| Error::internal("the settings of a DockerScale as a page", cause))
    }

    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>> {
        let name = scope.fill("service", &self.service)?;
        check_name(&name).map_err(|message| Error::invalid("service", message))?;
        let component = scope.fill("component", &self.component)?;
        let service = service(
            self.driver,
            self.project.clone(),
            &self.file,
            name,
            self.host.clone(),
        );
        Ok(Box::new(Scaling {
            action: self.clone(),
            service,
            component,
        }))
    }
}

/// A service as it is named in settings and on the command line.
pub fn service(
    driver: &str,
    project: Option<String>,
    files: &[String],
    name: String,
    engine: Option<String>,
) -> Service {
    if driver == "swarm" {
        let name = project.map_or(name.clone(), |stack| format!("{stack}_{name}"));
        return Service {
            driver: Driver::Swarm,
            name,
            engine,
        };
    }
    let project = project.unwrap_or_default();
    let files = if files.is_empty() {
        vec![PathBuf::from(format!("/etc/docker/{project}/compose.yml"))]
    } else {
        files.iter().map(PathBuf::from).collect()
    };
    Service {
        driver: Driver::Compose { project, files },
        name,
        engine,
    }
}
