//! Reads a server's configuration into the seven files.

use std::path::Path;

use serde_json::{Value, json};

use super::document::Document;
use super::names::Names;
use super::{action, files};
use crate::clients::zabbix::{Version, Zabbix};
use crate::error::{Error, Result};

/// Since then templates have groups of their own.
const GROUPS_APART_SINCE: Version = Version { major: 6, minor: 2 };

/// A file and how many objects it holds.
pub type Written = (&'static str, usize);

/// Writes a backup. All is read before anything is written, so that a folder never holds half of one and half of another.
///
/// # Errors
/// The server refuses something, or a file cannot be written.
pub async fn backup(zabbix: &Zabbix, folder: &Path) -> Result<Vec<Written>> {
    let templates = export(zabbix, "templates", None).await?;
    let groups = export(zabbix, "groups", None).await?;
    let hosts = export(zabbix, "hosts", None).await?;
    let media = media_types(zabbix).await?;
    let registration = actions(zabbix, "2").await?;
    let on_triggers = actions(zabbix, "0").await?;
    let triggers = [
        action::trigger_ids(&registration),
        action::trigger_ids(&on_triggers),
    ]
    .concat();
    let names = Names::of(zabbix, &triggers, &[]).await?;
    let mut written = Vec::new();
    for (file, list, text) in [
        (files::TEMPLATES, "templates", templates),
        (files::HOST_GROUPS, "groups", groups),
        (files::HOSTS, "hosts", hosts),
    ] {
        let document = Document::parse(&text, file)?;
        let count = document.count(list)
            + if list == "groups" {
                document.count("host_groups") + document.count("template_groups")
            } else {
                0
            };
        files::put_json(
            folder,
            file,
            &serde_json::from_str(&text).map_err(|cause| Error::internal(file, cause))?,
        )?;
        written.push((file, count));
    }
    for (file, items) in [
        (files::MEDIA_TYPES, media),
        (files::REGISTRATION, registration),
        (files::ON_TRIGGERS, on_triggers),
    ] {
        written.push((file, items.len()));
        files::put_json(folder, file, &Value::Array(items))?;
    }
    files::put_json(folder, files::NAMES, &names.to_json())?;
    written.push((files::NAMES, 1));
    Ok(written)
}

/// A list as Zabbix exports it: all objects, or those of these names.
pub(super) async fn export(
    zabbix: &Zabbix,
    list: &str,
    names: Option<&[String]>,
) -> Result<String> {
    let (calls, name_key): (&[(&str, &str, &str)], &str) =
        match (list, zabbix.version() < GROUPS_APART_SINCE) {
            ("templates", _) => (&[("template.get", "templateid", "templates")], "host"),
            ("hosts", _) => (&[("host.get", "hostid", "hosts")], "host"),
            (_, true) => (&[("hostgroup.get", "groupid", "groups")], "name"),
            (_, false) => (
                &[
                    ("hostgroup.get", "groupid", "host_groups"),
                    ("templategroup.get", "groupid", "template_groups"),
                ],
                "name",
            ),
        };
    let mut options = serde_json::Map::new();
    for (method, id, option) in calls {
        let mut params = json!({ "output": [id] });
        if let (Some(names), Some(fields)) = (names, params.as_object_mut()) {
            fields.insert("filter".into(), json!({ name_key: names }));
        }
        let found = zabbix.list(method, params).await?;
        let ids: Vec<Value> = found
            .into_iter()
            .filter_map(|mut item| Some(item.get_mut(*id)?.take()))
            .collect();
        options.insert((*option).into(), ids.into());
    }
    match zabbix
        .call(
            "configuration.export",
            json!({"format": "json", "options": options}),
        )
        .await?
    {
        Value::String(text) => Ok(text),
        _ => Err(Error::Upstream {
            what: "Zabbix: configuration.export gave no text".into(),
            retryable: false,
        }),
    }
}

/// All media types, with their passwords.
pub(super) async fn media_types(zabbix: &Zabbix) -> Result<Vec<Value>> {
    zabbix.list("mediatype.get", json!({"output": "extend", "selectMessageTemplates": "extend", "sortfield": "mediatypeid"})).await
}

/// All actions of a source.
pub(super) async fn actions(zabbix: &Zabbix, source: &str) -> Result<Vec<Value>> {
    let params = json!({
        "output": "extend", "selectOperations": "extend", "selectRecoveryOperations": "extend", "selectUpdateOperations": "extend",
        "selectFilter": "extend", "filter": {"eventsource": source}, "sortfield": "actionid",
    });
    zabbix.list("action.get", params).await
}
