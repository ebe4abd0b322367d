//! What applying a file changes, for a person and for the API.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::kind::Kind;

/// Longer values are cut in a diff; the whole stands in the audit.
const MAX_SHOWN_CHARS: usize = 60;

/// What applying a file changes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Diff {
    /// Every definition that comes, changes or goes.
    pub changes: Vec<Change>,
    /// Definitions in the file that stand like that already.
    pub unchanged: usize,
    /// What pruning leaves although the file does not name it, and why.
    pub kept: Vec<String>,
}

impl Diff {
    /// Whether applying changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What happens to one definition.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Change {
    /// Comes, changes or goes.
    pub verb: Verb,
    /// Kind of definition.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// For a change: which fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// What happens to a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// It is new.
    Created,
    /// It is there and becomes different.
    Changed,
    /// The file does not name it.
    Pruned,
}

impl Verb {
    /// The word, as in the audit.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Pruned => "pruned",
        }
    }
}

/// A field that becomes different.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum FieldChange {
    /// A plain value.
    Value {
        /// Its key.
        field: String,
        /// What stands.
        #[schema(value_type = Object)]
        old: Json,
        /// What will stand.
        #[schema(value_type = Object)]
        new: Json,
    },
    /// A secret, whose contents are never shown.
    Secret {
        /// Its key.
        field: String,
        /// Always true.
        secret_changed: bool,
    },
}

impl FieldChange {
    pub(super) fn secret(field: &str) -> Self {
        Self::Secret {
            field: field.to_owned(),
            secret_changed: true,
        }
    }

    /// The fields in which two states of a definition differ.
    pub(super) fn between(old: &Map<String, Json>, new: &Map<String, Json>) -> Vec<Self> {
        let added = new.keys().filter(|key| !old.contains_key(*key));
        let mut keys: Vec<_> = old.keys().chain(added).collect();
        keys.sort();
        let value = |map: &Map<String, Json>, key: &str| map.get(key).cloned().unwrap_or_default();
        keys.into_iter()
            .filter(|key| old.get(*key) != new.get(*key))
            .map(|key| Self::Value {
                field: key.clone(),
                old: value(old, key),
                new: value(new, key),
            })
            .collect()
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        for kept in &self.kept {
            writeln!(f, "! kept {kept}")?;
        }
        write!(f, "= {} unchanged", self.unchanged)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.verb {
            Verb::Created => '+',
            Verb::Changed => '~',
            Verb::Pruned => '-',
        };
        write!(
            f,
            "{sign} {} {} {}",
            self.verb.as_str(),
            self.kind,
            self.name
        )?;
        for (index, field) in self.fields.iter().enumerate() {
            f.write_str(if index == 0 { " (" } else { ", " })?;
            field.fmt(f)?;
        }
        f.write_str(if self.fields.is_empty() { "" } else { ")" })
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { field, old, new } => {
                write!(f, "{field}: {} -> {}", shown(old), shown(new))
            }
            Self::Secret { field, .. } => write!(f, "{field}: changed"),
        }
    }
}

fn shown(value: &Json) -> String {
    let text = match value {
        Json::Null => return "none".into(),
        Json::String(text) if is_plain(text) => text.clone(),
        Json::Array(items) if items.iter().all(Json::is_string) => {
            let words: Vec<_> = items.iter().filter_map(Json::as_str).collect();
            format!("[{}]", words.join(", "))
        }
        other => other.to_string(),
    };
    if text.chars().count() <= MAX_SHOWN_CHARS {
        return text;
    }
    text.chars()
        .take(MAX_SHOWN_CHARS - 1)
        .chain(['…'])
        .collect()
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || " ,()\"".contains(c))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Json) -> Map<String, Json> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_diff_reads_like_the_command_line_prints_it() {
        let old =
            map(json!({"name": "web-hot", "timing": "5m", "counters": ["load1"], "unit": "x"}));
        let new = map(
            json!({"name": "web-hot", "timing": "10m", "counters": ["load1", "heap"], "script": "a\nb"}),
        );
        let mut fields = FieldChange::between(&old, &new);
        fields.push(FieldChange::secret("private_key"));
        let change = |verb, kind, name: &str, fields| Change {
            verb,
            kind,
            name: name.into(),
            fields,
        };
        let diff = Diff {
            changes: vec![
                change(Verb::Created, Kind::Counter, "load1", vec![]),
                change(Verb::Changed, Kind::Trigger, "web-hot", fields),
                change(Verb::Pruned, Kind::SshProfile, "ops", vec![]),
            ],
            unchanged: 12,
            kept: vec!["node web07: Headroom launched it".into()],
        };
        assert_eq!(
            diff.to_string(),
            "+ created counter load1\n\
             ~ changed trigger web-hot (counters: [load1] -> [load1, heap], script: none -> \"a\\nb\", timing: 5m -> 10m, unit: x -> none, private_key: changed)\n\
             - pruned ssh profile ops\n\
             ! kept node web07: Headroom launched it\n\
             = 12 unchanged"
        );
    }

    #[test]
    fn a_long_value_is_cut() {
        let text = shown(&Json::from("x".repeat(500)));
        assert_eq!(text.chars().count(), MAX_SHOWN_CHARS);
        assert!(text.ends_with('…'));
    }
}
