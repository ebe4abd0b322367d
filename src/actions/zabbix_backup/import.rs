//! Brings a server to what a backup says, object by object. Nothing that the backup does not name is touched.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::document::{self, Difference, Document};
use super::names::Names;
use super::{action, backup, files};
use crate::clients::zabbix::{Version, Zabbix};
use crate::error::{Error, Result};

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is not there yet.
    Created,
    /// These of its fields differ.
    Changed(Vec<String>),
    /// It is what the backup says.
    Unchanged,
    /// It could not be brought there; why.
    Failed(String),
}

/// What became of every object, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported(pub Vec<(String, Change)>);

impl Imported {
    /// How many came to this.
    pub fn count(&self, wanted: impl Fn(&Change) -> bool) -> usize {
        self.0.iter().filter(|(_, change)| wanted(change)).count()
    }

    /// How many could not be brought to what the backup says.
    pub fn failed(&self) -> usize {
        self.count(|change| matches!(change, Change::Failed(_)))
    }

    fn say(&mut self, what: &str, name: &str, change: Change) {
        self.0.push((format!("{what} {name}"), change));
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, change) in &self.0 {
            match change {
                Change::Created => writeln!(f, "+ created {what}")?,
                Change::Changed(fields) => writeln!(f, "~ changed {what} ({})", fields.join(", "))?,
                Change::Failed(why) => writeln!(f, "! failed {what}: {why}")?,
                Change::Unchanged => {}
            }
        }
        write!(
            f,
            "= {} unchanged",
            self.count(|change| *change == Change::Unchanged)
        )
    }
}

/// Imports a backup, or only says what that would change.
///
/// # Errors
/// The backup cannot be read or is of a newer version than the server, or the server cannot be asked. What a single object met is in the result.
pub async fn import(zabbix: &Zabbix, folder: &Path, dry_run: bool) -> Result<Imported> {
    let backup = Backup::read(folder, zabbix.version())?;
    let mut import = Import {
        zabbix,
        folder,
        dry_run,
        done: Imported::default(),
    };
    // Media types first: actions name them.
    import.media_types(&backup.media_types).await?;
    for (file, list) in [
        (files::HOST_GROUPS, "groups"),
        (files::TEMPLATES, "templates"),
        (files::HOSTS, "hosts"),
    ] {
        if let Some(document) = backup.documents.get(file) {
            import.document(document, list).await?;
        }
    }
    import.actions(&backup).await?;
    Ok(import.done)
}

/// The files of a backup.
struct Backup {
    documents: BTreeMap<&'static str, Document>,
    media_types: Vec<Value>,
    registration: Vec<Value>,
    on_triggers: Vec<Value>,
    names: Names,
}

impl Backup {
    fn read(folder: &Path, server: Version) -> Result<Self> {
        let mut documents = BTreeMap::new();
        for file in [files::HOST_GROUPS, files::TEMPLATES, files::HOSTS] {
            let document = Document::parse(&files::get(folder, file)?, file)?;
            if let Some(version) = document.version.filter(|version| *version > server) {
                return Err(Error::Conflict(format!(
                    "{file} is of Zabbix {version} and the server of {server}: a server does not read what a newer one wrote; nothing was changed"
                )));
            }
            documents.insert(file, document);
        }
        let names: Value = serde_json::from_str(&files::get(folder, files::NAMES)?)
            .map_err(|cause| Error::Conflict(format!("{} is no JSON: {cause}", files::NAMES)))?;
        Ok(Self {
            documents,
            media_types: files::get_list(folder, files::MEDIA_TYPES)?,
            registration: files::get_list(folder, files::REGISTRATION)?,
            on_triggers: files::get_list(folder, files::ON_TRIGGERS)?,
            names: Names::from_json(&names),
        })
    }
}

struct Import<'a> {
    zabbix: &'a Zabbix,
    folder: &'a Path,
    dry_run: bool,
    done: Imported,
}

impl Import<'_> {
    async fn media_types(&mut self, wanted: &[Value]) -> Result<()> {
        let there = backup::media_types(self.zabbix).await?;
        for media in wanted {
            let name = name(media);
            let present = there.iter().find(|other| self::name(other) == name);
            self.bring(
                "media type",
                &name,
                "mediatype",
                "mediatypeid",
                without_id(media, "mediatypeid"),
                present,
                |other| without_id(other, "mediatypeid"),
            )
            .await;
        }
        Ok(())
    }

    /// Creates or updates one object by a method of its own.
    #[expect(clippy::too_many_arguments, reason = "one object in all its forms")]
    async fn bring(
        &mut self,
        word: &str,
        name: &str,
        api: &str,
        id: &str,
        wanted: Value,
        present: Option<&Value>,
        plain: impl Fn(&Value) -> Value,
    ) {
        let (change, method, params) = match present {
            None => (Change::Created, "create", wanted),
            Some(other) => {
                let other_plain = plain(other);
                if other_plain == wanted {
                    return self.done.say(word, name, Change::Unchanged);
                }
                let fields = document::changed(&wanted, &other_plain);
                let mut params = wanted;
                if let (Some(fields), Some(own)) = (params.as_object_mut(), other.get(id)) {
                    // Where an action comes from cannot change.
                    fields.remove("eventsource");
                    fields.insert(id.to_owned(), own.clone());
                }
                (Change::Changed(fields), "update", params)
            }
        };
        let change = match self.dry_run {
            true => change,
            false => match self.zabbix.call(&format!("{api}.{method}"), params).await {
                Ok(_) => change,
                Err(cause) => Change::Failed(cause.to_string()),
            },
        };
        self.done.say(word, name, change);
    }

    async fn document(&mut self, wanted: &Document, list: &str) -> Result<()> {
        let lists: &[&str] = if list == "groups" {
            &["groups", "host_groups", "template_groups"]
        } else {
            &[list]
        };
        let names: Vec<String> = lists.iter().flat_map(|list| wanted.names(list)).collect();
        let there = backup::export(self.zabbix, list, Some(&names)).await?;
        let there = Document::parse(&there, "what the server exports")?;
        let differences = wanted.differences(&there);
        let unchanged = names.len().saturating_sub(
            differences
                .iter()
                .filter(|one| lists.contains(&one.list.as_str()))
                .count(),
        );
        let word = list.trim_end_matches('s');
        self.done
            .0
            .extend((0..unchanged).map(|_| (word.to_owned(), Change::Unchanged)));
        let met = if self.dry_run {
            BTreeMap::new()
        } else {
            self.import_objects(wanted, &differences).await
        };
        for (index, one) in differences.iter().enumerate() {
            let change = match (met.get(&index), &one.fields) {
                (Some(why), _) => Change::Failed(why.clone()),
                (None, None) => Change::Created,
                (None, Some(fields)) => Change::Changed(fields.clone()),
            };
            // Groups stand in the files of templates and hosts as well, and were told of with their own.
            if one.list.ends_with("groups")
                && !lists.contains(&one.list.as_str())
                && !matches!(change, Change::Failed(_))
            {
                continue;
            }
            let word = one.list.trim_end_matches('s').replace('_', " ");
            self.done.say(&word, &one.name, change);
        }
        Ok(())
    }

    /// Imports objects together; where that fails, one by one, so that a bad one keeps no other back. Gives what failed, and why.
    async fn import_objects(
        &self,
        wanted: &Document,
        differences: &[Difference],
    ) -> BTreeMap<usize, String> {
        let all: Vec<&Difference> = differences.iter().collect();
        if all.is_empty() || self.import_one(wanted, &all, true).await.is_ok() {
            return BTreeMap::new();
        }
        let mut open: Vec<usize> = (0..differences.len()).collect();
        // What hangs on others comes last.
        open.sort_by_key(|index| {
            differences
                .get(*index)
                .is_some_and(|one| document::is_dependent(&one.list))
        });
        loop {
            let mut failed = BTreeMap::new();
            for index in &open {
                let Some(one) = differences.get(*index) else {
                    continue;
                };
                if let Err(cause) = self.import_one(wanted, &[one], false).await {
                    failed.insert(*index, cause.to_string());
                }
            }
            // A template that another one builds on may have come after it: again, as long as that helps.
            if failed.is_empty() || failed.len() == open.len() {
                return failed;
            }
            open.retain(|index| failed.contains_key(index));
        }
    }

    async fn import_one(
        &self,
        wanted: &Document,
        objects: &[&Difference],
        together: bool,
    ) -> Result<()> {
        let part = if together {
            wanted.only(objects)
        } else {
            wanted.exactly(objects)
        };
        let params = json!({"format": "json", "rules": document::rules(self.zabbix.version(), together), "source": part.to_source()});
        self.zabbix
            .call("configuration.import", params)
            .await
            .map(drop)
    }

    async fn actions(&mut self, backup: &Backup) -> Result<()> {
        let triggers: Vec<String> =
            action::trigger_ids(&[backup.registration.as_slice(), &backup.on_triggers].concat())
                .iter()
                .filter_map(|id| backup.names.name(super::names::Noun::Trigger, id).ok())
                .filter_map(|name| Some(name.split_once(": ")?.1.to_owned()))
                .collect();
        let mut there = Names::of(self.zabbix, &[], &triggers).await?;
        if self.dry_run {
            there.promise(&backup.names);
        } else {
            files::put_json(self.folder, files::NAMES_THERE, &there.to_json())?;
        }
        for (source, wanted, file) in [
            ("2", &backup.registration, files::REGISTRATION_IMPORT),
            ("0", &backup.on_triggers, files::ON_TRIGGERS_IMPORT),
        ] {
            let present = backup::actions(self.zabbix, source).await?;
            let mut mapped = Vec::new();
            for one in wanted {
                let name = name(one);
                match with_ids(one, &backup.names, &there) {
                    Err(missing) => self.done.say(
                        "action",
                        &name,
                        Change::Failed(format!("not there: {}", missing.join(", "))),
                    ),
                    Ok(action) => {
                        mapped.push(action.clone());
                        let other = present.iter().find(|other| self::name(other) == name);
                        self.bring(
                            "action",
                            &name,
                            "action",
                            "actionid",
                            action,
                            other,
                            |other| {
                                // In its own words, an action of the server is one that is mapped onto itself.
                                with_ids(other, &there, &there)
                                    .unwrap_or_else(|_| action::stripped(other))
                            },
                        )
                        .await;
                    }
                }
            }
            if !self.dry_run {
                files::put_json(self.folder, file, &mapped.into())?;
            }
        }
        Ok(())
    }
}

fn with_ids(one: &Value, from: &Names, to: &Names) -> Result<Value, Vec<String>> {
    action::with_ids(&action::portable(one, from)?, to)
}

fn name(object: &Value) -> String {
    object
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn without_id(object: &Value, id: &str) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove(id);
    }
    object
}
