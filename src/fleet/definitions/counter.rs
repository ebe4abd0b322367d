//! One number to read.

use serde::{Deserialize, Serialize, Serializer};

use super::Secs;
use crate::error::{Error, Result};
use crate::fleet::reader::Object;
use crate::models::counter::{Counter as Row, NewCounter};
use crate::models::{Comparison, CounterKind, Missing};

/// The longest script that is kept and sent to a node at every reading.
const MAX_SCRIPT_BYTES: usize = 64 * 1024;
const DEFAULT_TIMEOUT: Secs = Secs(10);

/// Where a counter's number comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Source {
    /// A script on the node, over SSH.
    Ssh {
        /// Prints one number.
        script: String,
    },
    /// An attribute of an MBean of each of the node's JVMs.
    Jmx {
        /// `java.lang:type=Memory`.
        mbean: String,
        /// `HeapMemoryUsage`.
        attribute: String,
        /// Member of a composite, nested with dots.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A script on Headroom's own host.
    Local {
        /// Prints one number.
        script: String,
    },
}

impl Source {
    /// What reads it.
    pub const fn kind(&self) -> CounterKind {
        match self {
            Self::Ssh { .. } => CounterKind::Ssh,
            Self::Jmx { .. } => CounterKind::Jmx,
            Self::Local { .. } => CounterKind::Local,
        }
    }

    fn read(object: &mut Object<'_>) -> Self {
        let kind: Option<CounterKind> = object.word("kind");
        match object.need("kind", kind, CounterKind::Ssh) {
            CounterKind::Ssh => Self::Ssh {
                script: script(object),
            },
            CounterKind::Local => Self::Local {
                script: script(object),
            },
            CounterKind::Jmx => {
                let mbean = object.text_that(
                    "mbean",
                    is_object_name,
                    "must be an MBean's name such as java.lang:type=Memory",
                );
                Self::Jmx {
                    mbean: object.need("mbean", mbean, String::new()),
                    attribute: object.required_text("attribute"),
                    key: object.text("key"),
                }
            }
        }
    }
}

/// One number to read, and the bound it is held against.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Counter {
    /// Unique name.
    pub name: String,
    /// Where the number comes from.
    #[serde(flatten)]
    pub source: Source,
    /// How a sample is held against the threshold; `>` by default.
    pub comparison: Comparison,
    /// The bound.
    #[serde(serialize_with = "plain_number")]
    pub threshold: f64,
    /// Shown beside the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Period, a multiple of the tick; none = every tick.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub every: Option<Secs>,
    /// Time limit of one reading; 10 s by default.
    #[schema(value_type = String)]
    pub timeout: Secs,
    /// What an error reading does to a breach; `hold` by default.
    pub missing: Missing,
}

impl Counter {
    pub(in crate::fleet) fn read(object: &mut Object<'_>) -> Self {
        let name = object.required_name("name");
        let source = Source::read(object);
        let threshold = object.number("threshold");
        Self {
            name,
            source,
            comparison: object.word("comparison").unwrap_or(Comparison::Greater),
            threshold: object.need("threshold", threshold, 0.0),
            unit: object.text("unit"),
            every: object.duration("every", 1).map(Secs),
            timeout: object.duration("timeout", 1).map_or(DEFAULT_TIMEOUT, Secs),
            missing: object.word("missing").unwrap_or(Missing::Hold),
        }
    }

    pub(in crate::fleet) fn from_row(row: Row) -> Result<Self> {
        let damaged =
            |cause| Error::internal(format!("counter \"{}\" is damaged", row.name), cause);
        let mut settings: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&row.settings).map_err(damaged)?;
        settings.insert("kind".into(), row.kind.as_str().into());
        let source = serde_json::from_value(settings.into()).map_err(damaged)?;
        Ok(Self {
            name: row.name,
            source,
            comparison: row.comparison,
            threshold: row.threshold,
            unit: row.unit,
            every: row.every_secs.map(Secs),
            timeout: Secs(row.timeout_secs),
            missing: row.missing,
        })
    }

    pub(in crate::fleet) fn row(&self, now_ms: i64) -> Result<NewCounter> {
        let mut settings = serde_json::to_value(&self.source)
            .map_err(|cause| Error::internal("a counter's settings as JSON", cause))?;
        // The kind has a column of its own.
        if let Some(map) = settings.as_object_mut() {
            map.remove("kind");
        }
        Ok(NewCounter {
            name: self.name.clone(),
            kind: self.source.kind(),
            settings: settings.to_string(),
            comparison: self.comparison,
            threshold: self.threshold,
            unit: self.unit.clone(),
            every_secs: self.every.map(|every| every.0),
            timeout_secs: self.timeout.0,
            missing: self.missing,
            updated_ms: now_ms,
        })
    }
}

/// Whole numbers without a decimal point, as people write them.
fn plain_number<S: Serializer>(
    number: &f64,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and within bounds")]
        return serializer.serialize_i64(*number as i64);
    }
    serializer.serialize_f64(*number)
}

fn script(object: &mut Object<'_>) -> String {
    let script = object.text_that(
        "script",
        |text| text.len() <= MAX_SCRIPT_BYTES,
        "is longer than 64 KiB",
    );
    object.need("script", script, String::new())
}

fn is_object_name(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(_, keys)| keys.contains('='))
}
