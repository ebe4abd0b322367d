//! A named, configured instance of an action kind.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Reference, Secs};
use crate::actions::{self, MOST_RETRIES};
use crate::error::{Error, Result};
use crate::fleet::reader::Object;
use crate::models::action::{Action as Row, NewAction};
use crate::models::uses::named_in_settings;

/// A named, configured instance of an action kind; the keys beside these are the kind's own.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Action {
    /// Unique name.
    pub name: String,
    /// The action kind's name: `LocalScript`.
    pub kind: String,
    /// Time limit; none = the kind's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub timeout: Option<Secs>,
    /// How often it is tried again after a fault that may pass; 0 = never, none = as often as the time limit allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
    /// The kind's own settings.
    #[serde(flatten)]
    #[schema(value_type = Object, additional_properties)]
    pub settings: Map<String, Value>,
}

impl Action {
    pub(in crate::fleet) fn read(object: &mut Object<'_>) -> Self {
        let name = object.required_name("name");
        let kind = object.required_text("kind");
        let timeout = object.duration("timeout", 1).map(Secs);
        let retries = object.small("retries", 0..=MOST_RETRIES);
        let (settings, path, faults) = object.rest();
        if !kind.is_empty() {
            let settings = Value::Object(settings.clone());
            actions::check_settings(&kind, &settings, path, faults);
        }
        Self {
            name,
            kind,
            timeout,
            retries,
            settings,
        }
    }

    pub(in crate::fleet) fn references(&self, found: &mut Vec<Reference>) {
        for named in named_in_settings(&self.settings) {
            found.push(Reference::new(named.path, named.noun, named.name));
        }
    }

    pub(in crate::fleet) fn from_row(row: Row) -> Result<Self> {
        let settings = serde_json::from_str(&row.settings).map_err(|cause| {
            Error::internal(format!("action \"{}\" is damaged", row.name), cause)
        })?;
        Ok(Self {
            name: row.name,
            kind: row.kind,
            timeout: row.timeout_secs.map(Secs),
            retries: row.retries,
            settings,
        })
    }

    pub(in crate::fleet) fn row(&self, now_ms: i64) -> NewAction {
        NewAction {
            name: self.name.clone(),
            kind: self.kind.clone(),
            settings: Value::Object(self.settings.clone()).to_string(),
            timeout_secs: self.timeout.map(|timeout| timeout.0),
            retries: self.retries,
            updated_ms: now_ms,
        }
    }
}
