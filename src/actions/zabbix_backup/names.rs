//! What ids stand for: an id means nothing on another server, a name does.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::clients::zabbix::{Version, Zabbix};
use crate::error::Result;

/// Since then a proxy has a name of its own.
const PROXY_NAMES_SINCE: Version = Version { major: 7, minor: 0 };

/// What an id may stand for in an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Noun {
    /// By name.
    Group,
    /// By technical name.
    Template,
    /// By technical name.
    Host,
    /// By name.
    UserGroup,
    /// By login name.
    User,
    /// By name.
    MediaType,
    /// By name.
    Script,
    /// By name.
    Proxy,
    /// By host and description.
    Trigger,
}

impl Noun {
    const ALL: [Self; 9] = [
        Self::Template,
        Self::Group,
        Self::Host,
        Self::UserGroup,
        Self::User,
        Self::MediaType,
        Self::Script,
        Self::Proxy,
        Self::Trigger,
    ];

    /// In a sentence.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Group => "host group",
            Self::Template => "template",
            Self::Host => "host",
            Self::UserGroup => "user group",
            Self::User => "user",
            Self::MediaType => "media type",
            Self::Script => "script",
            Self::Proxy => "proxy",
            Self::Trigger => "trigger",
        }
    }

    /// Its list in `actions_data_*.json`, the key of its id and the key of its name there.
    const fn keys(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Group => ("hostgroups", "groupid", "name"),
            Self::Template => ("templates", "templateid", "host"),
            Self::Host => ("hosts", "hostid", "host"),
            Self::UserGroup => ("usergroups", "usrgrpid", "name"),
            Self::User => ("users", "userid", "username"),
            Self::MediaType => ("mediatypes", "mediatypeid", "name"),
            Self::Script => ("scripts", "scriptid", "name"),
            Self::Proxy => ("proxies", "proxyid", "name"),
            Self::Trigger => ("triggers", "triggerid", "name"),
        }
    }
}

/// The names of all ids of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    by_id: BTreeMap<(Noun, String), String>,
    /// Of which version the server was.
    pub version: Option<String>,
}

impl Names {
    /// Asks a server. Triggers are many, so only those of these ids are asked for.
    pub async fn of(zabbix: &Zabbix, triggers: &[String], descriptions: &[String]) -> Result<Self> {
        let mut names = Self {
            version: Some(zabbix.version().to_string()),
            ..Self::default()
        };
        for (noun, method) in [
            (Noun::Template, "template.get"),
            (Noun::Group, "hostgroup.get"),
            (Noun::Host, "host.get"),
            (Noun::UserGroup, "usergroup.get"),
            (Noun::User, "user.get"),
            (Noun::MediaType, "mediatype.get"),
            (Noun::Script, "script.get"),
        ] {
            let (_, id, name) = noun.keys();
            names.take(
                noun,
                id,
                name,
                &zabbix.list(method, json!({"output": [id, name]})).await?,
            );
        }
        let proxy = if zabbix.version() < PROXY_NAMES_SINCE {
            "host"
        } else {
            "name"
        };
        names.take(
            Noun::Proxy,
            "proxyid",
            proxy,
            &zabbix
                .list("proxy.get", json!({"output": ["proxyid", proxy]}))
                .await?,
        );
        let mut asked = json!({"output": ["triggerid", "description"], "selectHosts": ["host"]});
        if let Some(fields) = asked.as_object_mut() {
            if triggers.is_empty() {
                fields.insert("filter".into(), json!({ "description": descriptions }));
            } else {
                fields.insert("triggerids".into(), json!(triggers));
            }
        }
        if !triggers.is_empty() || !descriptions.is_empty() {
            for trigger in zabbix.list("trigger.get", asked).await? {
                let word = |path: &str| {
                    trigger
                        .pointer(path)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                };
                let name = format!("{}: {}", word("/hosts/0/host"), word("/description"));
                names
                    .by_id
                    .insert((Noun::Trigger, word("/triggerid").to_owned()), name);
            }
        }
        Ok(names)
    }

    fn take(&mut self, noun: Noun, id_key: &str, name_key: &str, items: &[Value]) {
        for item in items {
            let word = |key: &str| item.get(key).and_then(Value::as_str);
            if let (Some(id), Some(name)) = (word(id_key), word(name_key)) {
                self.by_id.insert((noun, id.to_owned()), name.to_owned());
            }
        }
    }

    /// Reads `actions_data_*.json`; also of a backup that another program made, which knows templates and groups alone.
    pub fn from_json(data: &Value) -> Self {
        let mut names = Self {
            version: data
                .get("version")
                .and_then(Value::as_str)
                .map(str::to_owned),
            ..Self::default()
        };
        for noun in Noun::ALL {
            let (list, id, name) = noun.keys();
            let items = data.get(list).and_then(Value::as_array);
            names.take(noun, id, name, items.map(Vec::as_slice).unwrap_or_default());
        }
        names
    }

    /// As `actions_data_*.json`.
    pub fn to_json(&self) -> Value {
        let mut data = Map::new();
        data.insert("version".into(), self.version.clone().into());
        for noun in Noun::ALL {
            let (list, id_key, name_key) = noun.keys();
            let items = self.by_id.iter().filter(|((known, _), _)| *known == noun);
            let items = items.map(|((_, id), name)| json!({id_key: id, name_key: name}));
            data.insert(list.into(), items.collect());
        }
        Value::Object(data)
    }

    /// Takes what an import would bring for being there, under ids that no server has.
    pub fn promise(&mut self, backup: &Self) {
        let brought = [
            Noun::Group,
            Noun::Template,
            Noun::Host,
            Noun::MediaType,
            Noun::Trigger,
        ];
        for ((noun, _), name) in &backup.by_id {
            if brought.contains(noun) && self.id(*noun, name).is_err() {
                let id = format!("the new {name}");
                self.by_id.insert((*noun, id), name.clone());
            }
        }
    }

    /// What an id stands for.
    pub fn name(&self, noun: Noun, id: &str) -> Result<String, String> {
        let found = self.by_id.get(&(noun, id.to_owned()));
        found.cloned().ok_or_else(|| {
            format!(
                "{} with the id {id}, which the backup does not name",
                noun.word()
            )
        })
    }

    /// The id of a name.
    pub fn id(&self, noun: Noun, name: &str) -> Result<String, String> {
        let found = self
            .by_id
            .iter()
            .filter(|((known, _), known_name)| *known == noun && *known_name == name);
        let ids: Vec<&String> = found.map(|((_, id), _)| id).collect();
        match ids.as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(format!("{} \"{name}\"", noun.word())),
            more => Err(format!(
                "{} \"{name}\", of which there are {}",
                noun.word(),
                more.len()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_through_the_file_unchanged() {
        let data = json!({
            "templates": [{"templateid": "10", "host": "A"}, {"templateid": "20", "host": "B"}],
            "hostgroups": [{"groupid": "10", "name": "A"}],
        });
        let names = Names::from_json(&data);
        assert_eq!(names.name(Noun::Template, "20").unwrap(), "B");
        assert_eq!(names.id(Noun::Group, "A").unwrap(), "10");
        assert_eq!(names.id(Noun::Host, "A").unwrap_err(), "host \"A\"");
        assert_eq!(Names::from_json(&names.to_json()), names);
    }
}
