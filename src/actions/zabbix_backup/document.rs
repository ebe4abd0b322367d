//! Zabbix's exported documents: what differs between two, and a document of what differs. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::clients::zabbix::Version;
use crate::error::{Error, Result};

/// Lists that hang on the objects of other lists: they go along whenever one of those is imported, or they would be taken for deleted.
const DEPENDENT: [&str; 2] = ["triggers", "graphs"];

/// An exported document, list by list.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Document {
    /// Of which version.
    pub version: Option<Version>,
    head: Map<String, Value>,
    lists: BTreeMap<String, Vec<Value>>,
}

/// An object of a document, held against a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// Its list.
    pub list: String,
    /// Its name.
    pub name: String,
    /// The fields that differ; none = it is not there.
    pub fields: Option<Vec<String>>,
}

impl Document {
    /// Reads an export.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str, what: &str) -> Result<Self> {
        let refused = |why: &str| Error::Conflict(format!("{what} is no export of Zabbix: {why}"));
        let mut document: Value =
            serde_json::from_str(text).map_err(|cause| refused(&cause.to_string()))?;
        let Some(Value::Object(fields)) = document.get_mut("zabbix_export").map(Value::take) else {
            return Err(refused("it has no zabbix_export"));
        };
        let mut found = Self::default();
        for (key, value) in fields {
            match value {
                Value::Array(items) => drop(found.lists.insert(key, items)),
                other => drop(found.head.insert(key, other)),
            }
        }
        found.version = found
            .head
            .get("version")
            .and_then(Value::as_str)
            .and_then(Version::parse);
        if found.version.is_none() {
            return Err(refused("it has no version"));
        }
        Ok(found)
    }

    /// How many objects a list has.
    pub fn count(&self, list: &str) -> usize {
        self.lists.get(list).map_or(0, Vec::len)
    }

    /// The names of the objects of a list.
    pub fn names(&self, list: &str) -> Vec<String> {
        self.lists
            .get(list)
            .into_iter()
            .flatten()
            .map(name)
            .collect()
    }

    /// What differs from what a server has; what the server has beside is none of this document's business.
    pub fn differences(&self, server: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        for (list, items) in &self.lists {
            let there: BTreeMap<String, &Value> = server
                .lists
                .get(list)
                .into_iter()
                .flatten()
                .map(|item| (name(item), item))
                .collect();
            for item in items {
                let name = name(item);
                let fields = match there.get(&name) {
                    None => None,
                    Some(other) if *other == item => continue,
                    Some(other) => Some(changed(item, other)),
                };
                found.push(Difference {
                    list: list.clone(),
                    name,
                    fields,
                });
            }
        }
        found
    }

    /// A document that holds these objects, and all that hangs on them or on others of their kind.
    pub fn only(&self, differences: &[&Difference]) -> Self {
        let wanted = |list: &str, item: &Value| {
            differences
                .iter()
                .any(|one| one.list == list && one.name == name(item))
        };
        let hosts = differences
            .iter()
            .any(|one| matches!(one.list.as_str(), "hosts" | "templates"));
        let lists = self.lists.iter().map(|(list, items)| {
            let all = hosts && DEPENDENT.contains(&list.as_str());
            let kept = items.iter().filter(|item| all || wanted(list, item));
            (list.clone(), kept.cloned().collect())
        });
        Self {
            lists: lists.collect(),
            ..self.clone()
        }
    }

    /// A document that holds these objects and nothing that hangs on them.
    pub fn exactly(&self, differences: &[&Difference]) -> Self {
        let wanted = |list: &str, item: &Value| {
            differences
                .iter()
                .any(|one| one.list == list && one.name == name(item))
        };
        let lists = self.lists.iter().map(|(list, items)| {
            let kept = items.iter().filter(|item| wanted(list, item));
            (list.clone(), kept.cloned().collect())
        });
        Self {
            lists: lists.collect(),
            ..self.clone()
        }
    }

    /// As `configuration.import` takes it.
    pub fn to_source(&self) -> String {
        let mut fields = self.head.clone();
        for (list, items) in &self.lists {
            if !items.is_empty() {
                fields.insert(list.clone(), items.clone().into());
            }
        }
        json!({ "zabbix_export": fields }).to_string()
    }
}

/// Whether an object hangs on others.
pub(super) fn is_dependent(list: &str) -> bool {
    DEPENDENT.contains(&list)
}

/// The name of an object, unique in its list.
fn name(item: &Value) -> String {
    let word = |key: &str| item.get(key).and_then(Value::as_str);
    let one = word("template").or_else(|| word("host"));
    match (one, word("name"), word("expression")) {
        (Some(one), ..) => one.to_owned(),
        (None, Some(name), Some(expression)) => format!("{name} ({expression})"),
        (None, Some(name), None) => name.to_owned(),
        (None, None, _) => item.to_string(),
    }
}

/// The fields in which two objects differ.
pub(super) fn changed(one: &Value, other: &Value) -> Vec<String> {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return Vec::new();
    };
    let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| one.get(*key) != other.get(*key))
        .cloned()
        .collect()
}

/// What `configuration.import` may do, in the words of a server's version. Inside of the objects that are imported, what the document does
/// not have is deleted; other objects are left alone.
pub(super) fn rules(version: Version, dependents: bool) -> Value {
    const GROUPS_APART_SINCE: Version = Version { major: 6, minor: 2 };
    let both = json!({"createMissing": true, "updateExisting": true});
    let all = json!({"createMissing": true, "updateExisting": true, "deleteMissing": true});
    let mut rules = Map::new();
    for key in ["hosts", "templates"] {
        rules.insert(key.into(), both.clone());
    }
    for key in [
        "discoveryRules",
        "httptests",
        "items",
        "templateDashboards",
        "valueMaps",
    ] {
        rules.insert(key.into(), all.clone());
    }
    for key in ["triggers", "graphs"] {
        rules.insert(
            key.into(),
            if dependents {
                all.clone()
            } else {
                both.clone()
            },
        );
    }
    rules.insert(
        "templateLinkage".into(),
        json!({"createMissing": true, "deleteMissing": true}),
    );
    let groups: &[&str] = if version < GROUPS_APART_SINCE {
        &["groups"]
    } else {
        &["host_groups", "template_groups"]
    };
    for key in groups {
        rules.insert((*key).into(), both.clone());
    }
    Value::Object(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(lists: Value) -> Document {
        let mut fields = lists.as_object().unwrap().clone();
        fields.insert("version".into(), "6.0".into());
        Document::parse(
            &json!({ "zabbix_export": fields }).to_string(),
            "hosts.json",
        )
        .unwrap()
    }

    #[test]
    fn only_what_is_new_or_different_is_imported() {
        let file = document(json!({
            "groups": [{"name": "web"}],
            "hosts": [{"host": "a", "name": "A", "items": [1]}, {"host": "b", "name": "B"}, {"host": "c"}],
            "triggers": [{"name": "hot", "expression": "x"}],
        }));
        let server = document(json!({
            "groups": [{"name": "web"}],
            "hosts": [{"host": "a", "name": "A", "items": [2], "status": "1"}, {"host": "b", "name": "B"}, {"host": "z"}],
            "triggers": [{"name": "hot", "expression": "x"}],
        }));
        let found = file.differences(&server);
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.name.as_str(), one.fields.clone()))
            .collect();
        assert_eq!(
            told,
            [
                ("a", Some(vec!["items".to_owned(), "status".to_owned()])),
                ("c", None)
            ]
        );
        let part = file.only(&found.iter().collect::<Vec<_>>());
        assert_eq!(part.names("hosts"), ["a", "c"]);
        assert_eq!(part.count("triggers"), 1, "or the server would delete it");
        assert_eq!(file.differences(&file), []);
    }

    #[test]
    fn rules_are_switches_in_the_words_of_the_version() {
        let old = rules(Version { major: 6, minor: 0 }, true);
        assert_eq!(old["groups"]["createMissing"], json!(true));
        assert_eq!(old["templateLinkage"].get("updateExisting"), None);
        let new = rules(Version { major: 7, minor: 0 }, true);
        assert!(new.get("groups").is_none() && new.get("host_groups").is_some());
    }

    #[test]
    fn what_is_no_export_is_refused() {
        for (text, why) in [
            ("[", "EOF"),
            ("{}", "no zabbix_export"),
            (r#"{"zabbix_export": {}}"#, "no version"),
        ] {
            let error = Document::parse(text, "hosts.json").unwrap_err().to_string();
            assert!(
                error.starts_with("hosts.json is no export of Zabbix") && error.contains(why),
                "{error}"
            );
        }
    }
}
