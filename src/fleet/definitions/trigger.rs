//! Counters of a cluster, a timing and ordered steps.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::step::{self, Step};
use super::{Reference, Secs};
use crate::error::Result;
use crate::fleet::Kind;
use crate::fleet::ids::Ids;
use crate::fleet::reader::Object;
use crate::fleet::value::Value;
use crate::models::trigger::{NewTrigger, QUORUM_PERCENT, Trigger as Row};
use crate::models::{Mode, OnFailure, When};

/// How the series of a trigger combine: `any`, `all`, `average`, or `{percent: P}` of the nodes in service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combine {
    /// One series is enough.
    Any,
    /// Every fresh node has one.
    All,
    /// The mean over the fresh nodes.
    Average,
    /// At least so many percent of the nodes in service.
    Percent(i32),
}

impl Combine {
    fn read(object: &mut Object<'_>) -> Self {
        let percent = match object.raw("when") {
            None => return Self::Any,
            Some(Value::Text(text)) => match text.trim() {
                "any" => return Self::Any,
                "all" => return Self::All,
                "average" => return Self::Average,
                other => other
                    .strip_prefix("percent:")
                    .and_then(|number| number.trim().parse().ok()),
            },
            Some(Value::Map(entries)) => match entries.as_slice() {
                [(key, Value::Number(number))] if key == "percent" => number.as_i64(),
                _ => None,
            },
            Some(_) => None,
        };
        let percent = percent
            .filter(|percent| (1..=100).contains(percent))
            .and_then(|percent| i32::try_from(percent).ok());
        percent.map_or_else(
            || {
                object.fault(
                    "when",
                    "must be any, all, average or percent: P with P from 1 to 100",
                );
                Self::Any
            },
            Self::Percent,
        )
    }

    const fn columns(self) -> (When, Option<i32>) {
        match self {
            Self::Any => (When::Any, None),
            Self::All => (When::All, None),
            Self::Average => (When::Average, None),
            Self::Percent(percent) => (When::Percent, Some(percent)),
        }
    }

    fn from_columns(when: When, percent: Option<i32>) -> Self {
        match when {
            When::Any => Self::Any,
            When::All => Self::All,
            When::Average => Self::Average,
            When::Percent => Self::Percent(percent.unwrap_or(100)),
        }
    }
}

impl Serialize for Combine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self::Percent(percent) = self else {
            return serializer.serialize_str(self.columns().0.as_str());
        };
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("percent", percent)?;
        map.end()
    }
}

/// Counters of a cluster, how long they must breach, and what is done then.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Trigger {
    /// Unique name.
    pub name: String,
    /// Whose nodes it watches.
    pub cluster: String,
    /// What it watches; none = started by a person only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<String>,
    /// How long a breach must last; none = started by a person only.
    #[schema(value_type = Option<String>)]
    pub timing: Option<Secs>,
    /// How series combine; `any` by default.
    #[schema(value_type = String)]
    pub when: Combine,
    /// Silence after a firing; none by default.
    #[schema(value_type = String)]
    pub cooldown: Secs,
    /// Percent of the nodes that must be fresh for a removal; 80 by default.
    pub quorum: i32,
    /// Whether a firing acts; `live` by default.
    pub mode: Mode,
    /// Whether it may fire by itself; true by default.
    pub enabled: bool,
    /// What its runs do after a failed step; none = the kinds' default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// What is done, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
}

impl Trigger {
    pub(in crate::fleet) fn read(object: &mut Object<'_>) -> Self {
        let name = object.required_name("name");
        let trigger = Self {
            name,
            cluster: object.required_name("cluster"),
            counters: object.names("counters"),
            timing: object.duration_or_minutes("timing").map(Secs),
            when: Combine::read(object),
            cooldown: Secs(object.duration("cooldown", 0).unwrap_or(0)),
            quorum: object.small("quorum", 0..=100).unwrap_or(QUORUM_PERCENT),
            mode: object.word("mode").unwrap_or(Mode::Live),
            enabled: object.switch("enabled").unwrap_or(true),
            on_failure: object.word("on_failure"),
            steps: step::name_all(object.list("steps", Step::read)),
        };
        for (index, message) in step::faults(&trigger.steps) {
            object.fault(&format!("steps[{index}]"), message);
        }
        trigger
    }

    pub(in crate::fleet) fn references(&self, found: &mut Vec<Reference>) {
        found.push(Reference::new(
            "cluster",
            Kind::Cluster.noun(),
            &self.cluster,
        ));
        for (index, name) in self.counters.iter().enumerate() {
            let path = format!("counters[{index}]");
            found.push(Reference::new(path, Kind::Counter.noun(), name));
        }
        for (index, step) in self.steps.iter().enumerate() {
            let path = format!("steps[{index}].action");
            found.push(Reference::new(path, Kind::Action.noun(), &step.action));
        }
    }

    pub(in crate::fleet) fn from_row(
        row: Row,
        counters: Vec<String>,
        steps: Vec<Step>,
        ids: &Ids,
    ) -> Result<Self> {
        Ok(Self {
            name: row.name,
            cluster: ids.clusters.name(row.cluster_id)?,
            counters,
            timing: row.timing_secs.map(Secs),
            when: Combine::from_columns(row.when_rule, row.when_percent),
            cooldown: Secs(row.cooldown_secs),
            quorum: row.quorum_percent,
            mode: row.mode,
            enabled: row.enabled,
            on_failure: row.on_failure,
            steps,
        })
    }

    pub(in crate::fleet) fn row(&self, ids: &Ids, now_ms: i64) -> Result<NewTrigger> {
        let (when_rule, when_percent) = self.when.columns();
        Ok(NewTrigger {
            name: self.name.clone(),
            cluster_id: ids.clusters.id(&self.cluster)?,
            timing_secs: self.timing.map(|timing| timing.0),
            when_rule,
            when_percent,
            cooldown_secs: self.cooldown.0,
            quorum_percent: self.quorum,
            mode: self.mode,
            enabled: self.enabled,
            on_failure: self.on_failure,
            updated_ms: now_ms,
        })
    }
}
