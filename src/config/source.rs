//! Where settings come from: the environment over the file, a secret also from a file of its own.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::duration::parse_duration;
use crate::error::{Error, Fault, Result};

/// One setting: its key in `headroom.toml` and its environment variable.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Key in the file.
    pub key: &'static str,
    /// Environment variable, which wins.
    pub env: &'static str,
    /// Whether `<env>_FILE` may name a file that holds it, and its value is never shown.
    pub secret: bool,
}

const fn plain(key: &'static str, env: &'static str) -> Setting {
    Setting {
        key,
        env,
        secret: false,
    }
}

const fn secret(key: &'static str, env: &'static str) -> Setting {
    Setting {
        key,
        env,
        secret: true,
    }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    plain("listen", "HEADROOM_LISTEN"),
    plain("data", "HEADROOM_DATA"),
    secret("database_url", "DATABASE_URL"),
    secret("redis_url", "REDIS_URL"),
    plain("redis_prefix", "HEADROOM_REDIS_PREFIX"),
    plain("tick", "HEADROOM_TICK"),
    plain("retention", "HEADROOM_RETENTION"),
    secret("smtp_url", "HEADROOM_SMTP_URL"),
    plain("mail_from", "HEADROOM_MAIL_FROM"),
    plain("master_key_file", "HEADROOM_MASTER_KEY_FILE"),
    secret("admin_password", "HEADROOM_ADMIN_PASSWORD"),
    plain("log", "HEADROOM_LOG"),
    plain("log_format", "HEADROOM_LOG_FORMAT"),
    plain("log_dir", "HEADROOM_LOG_DIR"),
    plain("tls_cert", "HEADROOM_TLS_CERT"),
    plain("tls_key", "HEADROOM_TLS_KEY"),
    plain("trusted_proxies", "HEADROOM_TRUSTED_PROXIES"),
    plain("insecure", "HEADROOM_INSECURE"),
    plain("allow_local", "HEADROOM_ALLOW_LOCAL"),
    plain("metrics_open", "HEADROOM_METRICS_OPEN"),
    plain("reap_after", "HEADROOM_REAP_AFTER"),
    plain("fab", "HEADROOM_FAB"),
    plain("docker_compose", "HEADROOM_DOCKER_COMPOSE"),
    plain("zabbix_url", "HEADROOM_ZABBIX_URL"),
    plain("zabbix_user", "HEADROOM_ZABBIX_USER"),
    secret("zabbix_password", "HEADROOM_ZABBIX_PASSWORD"),
    secret("zabbix_token", "HEADROOM_ZABBIX_TOKEN"),
    plain("zabbix_ca_file", "HEADROOM_ZABBIX_CA_FILE"),
];

/// Variables of the same prefix that are read elsewhere: by the command line, by `make test`.
const OTHER_VARIABLES: &[&str] = &["HEADROOM_CONFIG", "HEADROOM_TEST_TOOLS"];

/// The values of file and environment, and the faults met while reading them.
#[derive(Debug)]
pub struct Source {
    values: BTreeMap<&'static str, String>,
    faults: Vec<Fault>,
}

impl Source {
    /// Reads the file and asks `env` for each variable.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML. Faults of single settings wait for [`Source::finish`].
    pub fn read(file: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut source = Self {
            values: BTreeMap::new(),
            faults: Vec::new(),
        };
        if let Some(path) = file {
            source.read_file(path)?;
        }
        for setting in SETTINGS {
            source.read_variable(setting, env);
        }
        source
            .unknown_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()));
        Ok(source)
    }

    /// A source of given keys and values; for tests.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        let mut source = Self {
            values: BTreeMap::new(),
            faults: Vec::new(),
        };
        for (key, value) in pairs {
            source.set(key, (*value).to_owned());
        }
        source
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|cause| Error::invalid(&place, format!("cannot be read: {cause}")))?;
        let table: toml::Table = text
            .parse()
            .map_err(|cause| Error::invalid(&place, format!("is not valid TOML: {cause}")))?;
        for (key, value) in table {
            match value {
                toml::Value::String(text) => self.set(&key, text),
                toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => {
                    self.set(&key, value.to_string())
                }
                toml::Value::Array(items) => {
                    let items: Vec<_> = items
                        .iter()
                        .map(|item| {
                            item.as_str()
                                .map_or_else(|| item.to_string(), str::to_owned)
                        })
                        .collect();
                    self.set(&key, items.join(","));
                }
                toml::Value::Table(_) | toml::Value::Datetime(_) => {
                    self.fault(&key, "must be a text, a number, true or false")
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: String) {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
            self.values.insert(setting.key, value);
            return;
        }
        let message = match nearest(key, SETTINGS.iter().map(|setting| setting.key)) {
            Some(known) => format!("unknown key, did you mean \"{known}\"?"),
            None => "unknown key".into(),
        };
        self.fault(key, message);
    }

    fn read_variable(&mut self, setting: &Setting, env: &dyn Fn(&str) -> Option<String>) {
        if let Some(value) = env(setting.env).filter(|value| !value.is_empty()) {
            self.values.insert(setting.key, value);
            return;
        }
        let file_variable = format!("{}_FILE", setting.env);
        if let Some(path) = env(&file_variable).filter(|_| setting.secret) {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    self.values
                        .insert(setting.key, text.trim_end_matches(['\n', '\r']).to_owned());
                }
                Err(cause) => self.fault(&file_variable, format!("{path} cannot be read: {cause}")),
            }
        }
    }

    fn unknown_variables(&mut self, names: impl Iterator<Item = String>) {
        let known: Vec<String> = SETTINGS
            .iter()
            .flat_map(|setting| [setting.env.to_owned(), format!("{}_FILE", setting.env)])
            .chain(OTHER_VARIABLES.iter().map(|name| (*name).to_owned()))
            .collect();
        for name in names.filter(|name| name.starts_with("HEADROOM_") && !known.contains(name)) {
            let hint = nearest(&name, known.iter().map(String::as_str))
                .map_or(String::new(), |near| format!(", did you mean {near}?"));
            self.fault(&name, format!("unknown variable{hint}"));
        }
    }

    /// The text of a setting.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.values.get(key).cloned()
    }

    /// The text of a secret setting.
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        self.text(key).map(SecretString::from)
    }

    /// A setting that is parsed from text.
    pub fn parsed<T: FromStr>(&mut self, key: &str, expected: &str) -> Option<T> {
        let text = self.text(key)?;
        let value = text.parse().ok();
        if value.is_none() {
            self.fault(key, format!("\"{text}\" is not {expected}"));
        }
        value
    }

    /// A switch: `true` or `false`.
    pub fn switch(&mut self, key: &str) -> Option<bool> {
        self.parsed(key, "true or false")
    }

    /// A duration such as `10s`, within bounds.
    pub fn duration(
        &mut self,
        key: &str,
        at_least: Duration,
        at_most: Duration,
    ) -> Option<Duration> {
        let text = self.text(key)?;
        match parse_duration(&text) {
            Ok(value) if (at_least..=at_most).contains(&value) => Some(value),
            Ok(_) => {
                let (low, high) = (
                    super::format_secs(at_least.as_secs()),
                    super::format_secs(at_most.as_secs()),
                );
                self.fault(key, format!("\"{text}\" is not between {low} and {high}"));
                None
            }
            Err(message) => {
                self.fault(key, message);
                None
            }
        }
    }

    /// Notes a fault of a setting, named as a person set it.
    pub fn fault(&mut self, key: &str, message: impl Into<String>) {
        let place = SETTINGS
            .iter()
            .find(|setting| setting.key == key)
            .map_or_else(
                || key.to_owned(),
                |setting| format!("{} ({})", setting.env, setting.key),
            );
        self.faults.push(Fault::new(place, message));
    }

    /// The value, unless anything was wrong.
    ///
    /// # Errors
    /// Every fault that was noted.
    pub fn finish<T>(self, value: T) -> Result<T> {
        if self.faults.is_empty() {
            Ok(value)
        } else {
            Err(Error::Invalid(self.faults))
        }
    }
}

/// The known word that a mistyped one most likely means, if any comes near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len() / 2)
        .map(|(_, candidate)| candidate)
}
