//! A real Zabbix 6.0 backed up, wiped, imported and imported again; certificates out of its inventory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use headroom::actions::zabbix_backup::{Change, Imported, backup, import};
use headroom::clients::zabbix::{Zabbix as Client, certificates};
use headroom::config::{Tooling, Zabbix as Access, ZabbixLogin};
use headroom::models::{OnFailure, RunState};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::lab::{Lab, Planned};
use crate::support::docker::{Docker, compose_v2};
use crate::support::process::Headroom;
use crate::support::zabbix::{Zabbix, in_the_shape_of_7};

const ACTIONS: [&str; 2] = ["scale shop", "register shop"];

/// Makes an object and gives its id.
async fn make(client: &Client, api: &str, ids: &str, params: Value) -> String {
    let made = client.call(&format!("{api}.create"), params).await.unwrap();
    made[ids][0].as_str().unwrap().to_owned()
}

async fn make_script(client: &Client, name: &str) -> String {
    let script = json!({"name": name, "command": "headroom scale up {HOST.HOST}", "type": 0, "scope": 1, "execute_on": 1});
    make(client, "script", "scriptids", script).await
}

async fn make_people(client: &Client, name: &str) -> String {
    make(client, "usergroup", "usrgrpids", json!({ "name": name })).await
}

/// A small shop: a group, a template, a host, and actions that name all kinds of things.
async fn seed(client: &Client) {
    let group = make(client, "hostgroup", "groupids", json!({"name": "shop"})).await;
    let template = make(
        client,
        "template",
        "templateids",
        json!({"host": "shop-template", "groups": [{"groupid": group}]}),
    )
    .await;
    let item = json!({"hostid": template, "name": "load", "key_": "load", "type": 2, "value_type": 0, "delay": "0"});
    make(client, "item", "itemids", item).await;
    let trigger = json!({"description": "load high", "expression": "last(/shop-template/load)>5", "priority": 3});
    make(client, "trigger", "triggerids", trigger).await;
    let interface =
        json!({"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": "10050"});
    let host = json!({"host": "shop-01", "groups": [{"groupid": group}], "templates": [{"templateid": template}], "inventory_mode": 0,
        "inventory": {"deployment_status": "3"}, "interfaces": [interface], "tags": [{"tag": "tier", "value": "web"}], "macros": [{"macro": "{$MAX}", "value": "9"}]});
    let host = make(client, "host", "hostids", host).await;
    let triggers = client
        .list(
            "trigger.get",
            json!({"hostids": [host], "output": ["triggerid"]}),
        )
        .await
        .unwrap();
    let trigger = triggers[0]["triggerid"].clone();
    let script = make_script(client, "scale up").await;
    let people = make_people(client, "shop people").await;
    let media = json!({"name": "shop mail", "type": 0, "smtp_server": "mail.example.org", "smtp_helo": "example.org", "smtp_email": "zabbix@example.org", "smtp_authentication": 1, "username": "zabbix", "passwd": "hunter2"});
    let media = make(client, "mediatype", "mediatypeids", media).await;
    let condition = |letter: &str, kind: u8, value: &Value| json!({"conditiontype": kind, "operator": 0, "value": value, "formulaid": letter});
    let conditions = json!([
        condition("A", 0, &json!(group)), condition("B", 1, &json!(host)), condition("C", 2, &trigger), condition("D", 13, &json!(template)),
        {"conditiontype": 16, "operator": 11, "formulaid": "E"},
    ]);
    let message = json!({"operationtype": 0, "esc_step_from": 1, "esc_step_to": 2, "evaltype": 0,
        "opmessage": {"default_msg": 0, "subject": "s", "message": "m", "mediatypeid": media},
        "opmessage_grp": [{"usrgrpid": people}], "opmessage_usr": [{"userid": "1"}], "opconditions": [{"conditiontype": 14, "operator": 0, "value": "0"}]});
    let command = json!({"operationtype": 1, "esc_period": "180s", "esc_step_from": 1, "esc_step_to": 0, "opcommand": {"scriptid": script},
        "opcommand_hst": [{"hostid": "0"}, {"hostid": host}], "opcommand_grp": [{"groupid": group}]});
    let recovery = json!([{"operationtype": 11, "opmessage": {"default_msg": 1}}, {"operationtype": 1, "opcommand": {"scriptid": script}, "opcommand_hst": [{"hostid": "0"}]}]);
    let scale = json!({"name": "scale shop", "eventsource": 0, "esc_period": "2m",
        "filter": {"evaltype": 3, "formula": "A and (B or C) and D and E", "conditions": conditions},
        "operations": [message, command], "recovery_operations": recovery, "update_operations": [{"operationtype": 12, "opmessage": {"default_msg": 1}}]});
    make(client, "action", "actionids", scale).await;
    let register = json!({"name": "register shop", "eventsource": 2,
    "filter": {"evaltype": 0, "conditions": [{"conditiontype": 22, "operator": 2, "value": "shop"}, {"conditiontype": 24, "operator": 2, "value": "x"}]},
    "operations": [
        {"operationtype": 4, "opgroup": [{"groupid": group}]}, {"operationtype": 6, "optemplate": [{"templateid": template}]},
        {"operationtype": 10, "opinventory": {"inventory_mode": 1}},
        {"operationtype": 0, "opmessage": {"default_msg": 1, "mediatypeid": media}, "opmessage_grp": [{"usrgrpid": people}]},
        {"operationtype": 1, "opcommand": {"scriptid": script}, "opcommand_hst": [{"hostid": "0"}]},
    ]});
    make(client, "action", "actionids", register).await;
}

/// Deletes the objects of a name.
async fn delete(client: &Client, api: &str, id: &str, name_key: &str, names: &[&str]) {
    let found = client
        .list(
            &format!("{api}.get"),
            json!({"output": [id], "filter": {name_key: names}}),
        )
        .await
        .unwrap();
    let ids: Vec<Value> = found.iter().map(|one| one[id].clone()).collect();
    assert_eq!(ids.len(), names.len(), "{api} {names:?}");
    client
        .call(&format!("{api}.delete"), json!(ids))
        .await
        .unwrap();
}

/// All of the shop that a backup brings back, and with it the ids; what it does not bring back is made anew.
async fn wipe(client: &Client) {
    delete(client, "action", "actionid", "name", &ACTIONS).await;
    delete(client, "host", "hostid", "host", &["shop-01"]).await;
    delete(
        client,
        "template",
        "templateid",
        "host",
        &["shop-template", "Zabbix server health"],
    )
    .await;
    delete(client, "hostgroup", "groupid", "name", &["shop"]).await;
    delete(client, "mediatype", "mediatypeid", "name", &["shop mail"]).await;
    delete(client, "script", "scriptid", "name", &["scale up"]).await;
    delete(client, "usergroup", "usrgrpid", "name", &["shop people"]).await;
    // What is made next takes the ids that were free.
    make(client, "hostgroup", "groupids", json!({"name": "another"})).await;
    make_script(client, "another").await;
    make_people(client, "another").await;
    make_script(client, "scale up").await;
    make_people(client, "shop people").await;
}

/// Names by the kind and the number of an id.
type Names = BTreeMap<(String, String), String>;

fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What a server's ids stand for.
async fn names(client: &Client) -> Names {
    let mut names = Names::new();
    for (method, id, name) in [
        ("hostgroup.get", "groupid", "name"),
        ("template.get", "templateid", "host"),
        ("host.get", "hostid", "host"),
        ("usergroup.get", "usrgrpid", "name"),
        ("user.get", "userid", "username"),
        ("mediatype.get", "mediatypeid", "name"),
        ("script.get", "scriptid", "name"),
    ] {
        let asked = json!({"output": [id, name]});
        for one in client.list(method, asked).await.unwrap() {
            names.insert((id.to_owned(), word(&one[id])), word(&one[name]));
        }
    }
    let asked = json!({"output": ["triggerid", "description"], "selectHosts": ["host"]});
    for one in client.list("trigger.get", asked).await.unwrap() {
        let host = word(&one["hosts"][0]["host"]);
        let name = format!("{host}: {}", word(&one["description"]));
        names.insert(("triggerid".to_owned(), word(&one["triggerid"])), name);
    }
    names
}

fn id_of<'a>(names: &'a Names, kind: &str, name: &str) -> &'a str {
    let mut all = names.iter();
    let found = all.find(|((known, _), called)| known == kind && called.as_str() == name);
    let ((_, id), _) = found.unwrap();
    id
}

/// What a server says, with names for ids, and its lists in an order of their own.
fn named(value: &Value, names: &Names) -> Value {
    match value {
        Value::Object(fields) => {
            let compared = match fields.get("conditiontype").and_then(Value::as_str) {
                Some("0") => "groupid",
                Some("1") => "hostid",
                Some("2") => "triggerid",
                Some("13") => "templateid",
                _ => "",
            };
            let one = |(key, field): (&String, &Value)| {
                let kind = if key == "value" {
                    compared
                } else {
                    key.as_str()
                };
                let number = field.as_str().unwrap_or_default();
                let name = names.get(&(kind.to_owned(), number.to_owned()));
                let told = name.map_or_else(|| named(field, names), |name| json!(name));
                (key.clone(), told)
            };
            Value::Object(fields.iter().map(one).collect())
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(|item| named(item, names)).collect();
            items.sort_by_key(place);
            Value::Array(items)
        }
        other => other.clone(),
    }
}

/// By what the items of a list are sorted.
fn place(item: &Value) -> String {
    let keys = [
        "conditiontype",
        "operationtype",
        "groupid",
        "hostid",
        "usrgrpid",
        "userid",
        "templateid",
    ];
    let found = keys.iter().find_map(|key| item.get(*key)?.as_str());
    found.unwrap_or_default().to_owned()
}

/// The part that is asked for; servers add much of their own.
fn picked(value: &Value, wanted: &Value) -> Value {
    match (value, wanted) {
        (Value::Object(fields), Value::Object(wanted)) => {
            let one = |(key, wanted): (&String, &Value)| {
                Some((key.clone(), picked(fields.get(key)?, wanted)))
            };
            Value::Object(wanted.iter().filter_map(one).collect())
        }
        (Value::Array(items), Value::Array(wanted)) if items.len() == wanted.len() => {
            let pairs = items.iter().zip(wanted);
            Value::Array(pairs.map(|(item, wanted)| picked(item, wanted)).collect())
        }
        (other, _) => other.clone(),
    }
}

/// The actions of the shop, with names for ids.
fn wanted_actions() -> [Value; 2] {
    let condition = |letter: &str, kind: &str, value: &str| json!({"conditiontype": kind, "operator": "0", "value": value, "formulaid": letter});
    let conditions = json!([
        condition("A", "0", "shop"), condition("B", "1", "shop-01"), condition("D", "13", "shop-template"),
        {"conditiontype": "16", "operator": "11", "formulaid": "E"}, condition("C", "2", "shop-01: load high"),
    ]);
    let message = json!({"operationtype": "0", "esc_step_from": "1", "esc_step_to": "2", "evaltype": "0",
        "opmessage": {"default_msg": "0", "subject": "s", "message": "m", "mediatypeid": "shop mail"},
        "opmessage_grp": [{"usrgrpid": "shop people"}], "opmessage_usr": [{"userid": "Admin"}],
        "opconditions": [{"conditiontype": "14", "operator": "0", "value": "0"}]});
    let command = json!({"operationtype": "1", "esc_period": "180s", "esc_step_from": "1", "esc_step_to": "0", "opcommand": {"scriptid": "scale up"},
        "opcommand_hst": [{"hostid": "0"}, {"hostid": "shop-01"}], "opcommand_grp": [{"groupid": "shop"}]});
    let here = json!({"operationtype": "1", "opcommand": {"scriptid": "scale up"}, "opcommand_hst": [{"hostid": "0"}]});
    let scale = json!({"name": "scale shop", "eventsource": "0", "esc_period": "2m",
        "filter": {"evaltype": "3", "formula": "A and (B or C) and D and E", "conditions": conditions},
        "operations": [message, command], "recovery_operations": [here, {"operationtype": "11", "opmessage": {"default_msg": "1"}}],
        "update_operations": [{"operationtype": "12", "opmessage": {"default_msg": "1"}}]});
    let register = json!({"name": "register shop", "eventsource": "2",
    "filter": {"evaltype": "0", "conditions": [
        {"conditiontype": "22", "operator": "2", "value": "shop"}, {"conditiontype": "24", "operator": "2", "value": "x"},
    ]},
    "operations": [
        {"operationtype": "0", "opmessage": {"default_msg": "1", "mediatypeid": "shop mail"}, "opmessage_grp": [{"usrgrpid": "shop people"}]},
        here, {"operationtype": "10", "opinventory": {"inventory_mode": "1"}},
        {"operationtype": "4", "opgroup": [{"groupid": "shop"}]}, {"operationtype": "6", "optemplate": [{"templateid": "shop-template"}]},
    ]});
    [scale, register]
}

/// The server has the actions as they were made.
async fn assert_actions(client: &Client, names: &Names) {
    let asked = json!({
        "output": "extend", "selectOperations": "extend", "selectRecoveryOperations": "extend", "selectUpdateOperations": "extend",
        "selectFilter": "extend", "filter": {"name": ACTIONS},
    });
    let found = client.list("action.get", asked).await.unwrap();
    assert_eq!(found.len(), ACTIONS.len());
    for wanted in wanted_actions() {
        let mut all = found.iter();
        let one = all.find(|one| one["name"] == wanted["name"]).unwrap();
        assert_eq!(picked(&named(one, names), &wanted), wanted, "{one:#}");
    }
}

fn told(done: &Imported, wanted: impl Fn(&Change) -> bool) -> Vec<&str> {
    done.0
        .iter()
        .filter(|(_, change)| wanted(change))
        .map(|(name, _)| name.as_str())
        .collect()
}

fn read(folder: &Path, file: &str) -> Value {
    let mut value: Value =
        serde_json::from_str(&fs::read_to_string(folder.join(file)).unwrap()).unwrap();
    if let Some(export) = value
        .get_mut("zabbix_export")
        .and_then(Value::as_object_mut)
    {
        export.remove("date");
    }
    value
}

#[tokio::test]
async fn a_site_that_was_wiped_comes_back_equal_and_a_second_import_changes_nothing() {
    let zabbix = Zabbix::start().await;
    let client = zabbix.client().await;
    seed(&client).await;
    let names_before = names(&client).await;
    assert_actions(&client, &names_before).await;
    let folder = TempDir::new().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let written = backup(&client, &first).await.unwrap();
    let files: Vec<&str> = written.iter().map(|(file, _)| *file).collect();
    assert_eq!(
        files,
        [
            "templates.json",
            "hostgroups.json",
            "hosts.json",
            "mediatypes.json",
            "reg_actions.json",
            "trigger_actions.json",
            "actions_data_orig.json"
        ]
    );
    assert!(written.iter().all(|(_, count)| *count > 0), "{written:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&first), mode(&first.join("mediatypes.json"))),
        (0o700, 0o600),
        "passwords stand in it"
    );

    let done = import(&client, &first, true).await.unwrap();
    assert_eq!(
        told(&done, |change| *change != Change::Unchanged),
        [""; 0],
        "it is what it is"
    );
    wipe(&client).await;
    let planned = import(&client, &first, true).await.unwrap();
    let expected = [
        "media type shop mail",
        "group shop",
        "template Zabbix server health",
        "template shop-template",
        "host Zabbix server",
        "host shop-01",
        "action register shop",
        "action scale shop",
    ];
    for name in expected {
        assert!(
            told(&planned, |change| *change != Change::Unchanged).contains(&name),
            "{name} is not in {planned}"
        );
    }
    assert_eq!(planned.failed(), 0, "{planned}");
    assert!(
        !first.join("actions_data_dest.json").exists(),
        "a dry run writes nothing"
    );

    let done = import(&client, &first, false).await.unwrap();
    assert_eq!(done.failed(), 0, "{done}");
    for file in [
        "actions_data_dest.json",
        "reg_actions_import.json",
        "trigger_actions_import.json",
    ] {
        assert!(first.join(file).exists(), "{file}");
    }
    let again = import(&client, &first, false).await.unwrap();
    assert_eq!(
        told(&again, |change| *change != Change::Unchanged),
        [""; 0],
        "{again}"
    );

    let names_after = names(&client).await;
    assert_actions(&client, &names_after).await;
    for (kind, name) in [
        ("groupid", "shop"),
        ("templateid", "shop-template"),
        ("hostid", "shop-01"),
        ("usrgrpid", "shop people"),
        ("mediatypeid", "shop mail"),
        ("scriptid", "scale up"),
        ("triggerid", "shop-01: load high"),
    ] {
        let ids = [&names_before, &names_after].map(|names| id_of(names, kind, name));
        assert_ne!(ids[0], ids[1], "{name} has another id");
    }

    delete(&client, "hostgroup", "groupid", "name", &["another"]).await;
    backup(&client, &second).await.unwrap();
    for file in ["templates.json", "hostgroups.json", "hosts.json"] {
        assert_eq!(read(&first, file), read(&second, file), "{file}");
    }
    let media = |folder: &Path| {
        let mut all = read(folder, "mediatypes.json");
        for one in all.as_array_mut().unwrap() {
            one.as_object_mut().unwrap().remove("mediatypeid");
        }
        all
    };
    assert_eq!(media(&first), media(&second));
    let passwords = |folder: &Path| {
        read(folder, "mediatypes.json")
            .to_string()
            .matches("hunter2")
            .count()
    };
    assert_eq!((passwords(&first), passwords(&second)), (1, 1));
    assert_ne!(
        read(&first, "trigger_actions.json"),
        read(&second, "trigger_actions.json"),
        "the ids are others"
    );
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_server_of_the_shape_of_zabbix_7_is_spoken_to_in_its_own_words() {
    let zabbix = Zabbix::start().await;
    let url = in_the_shape_of_7(&zabbix).await;
    let old = zabbix.client().await;
    seed(&old).await;
    let access = Access {
        url,
        ..zabbix.access()
    };
    let client = Client::connect(&access, Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(client.version().to_string(), "7.0");
    let folder = TempDir::new().unwrap();
    backup(&client, folder.path()).await.unwrap();
    wipe(&old).await;
    let done = import(&client, folder.path(), false).await.unwrap();
    assert_eq!(done.failed(), 0, "{done}");
    assert!(
        told(&done, |change| *change == Change::Created).contains(&"host shop-01"),
        "{done}"
    );
    let again = import(&client, folder.path(), true).await.unwrap();
    assert_eq!(told(&again, |change| *change != Change::Unchanged), [""; 0]);
    client.close().await.unwrap();
}

#[tokio::test]
async fn what_an_action_names_and_is_not_there_fails_that_action_alone() {
    let zabbix = Zabbix::start().await;
    let client = zabbix.client().await;
    seed(&client).await;
    let folder = TempDir::new().unwrap();
    backup(&client, folder.path()).await.unwrap();
    delete(&client, "action", "actionid", "name", &ACTIONS).await;
    delete(&client, "script", "scriptid", "name", &["scale up"]).await;
    let people = client
        .list("usergroup.get", json!({"filter": {"name": "shop people"}}))
        .await
        .unwrap();
    client
        .call(
            "usergroup.update",
            json!({"usrgrpid": people[0]["usrgrpid"], "name": "renamed"}),
        )
        .await
        .unwrap();
    let host = client
        .list("host.get", json!({"filter": {"host": "shop-01"}}))
        .await
        .unwrap();
    client
        .call(
            "host.update",
            json!({"hostid": host[0]["hostid"], "name": "Another name"}),
        )
        .await
        .unwrap();

    let headroom = Headroom::new(&[
        ("HEADROOM_ZABBIX_URL", &zabbix.url()),
        ("HEADROOM_ZABBIX_USER", "Admin"),
        ("HEADROOM_ZABBIX_PASSWORD", "zabbix"),
    ]);
    let output = headroom.call(&["zabbix", "import", "--dir", folder.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    for line in [
        "! failed action scale shop: not there: script \"scale up\", user group \"shop people\"",
        "! failed action register shop: not there: script \"scale up\", user group \"shop people\"",
        "~ changed host shop-01 (name)",
    ] {
        assert!(
            said.lines().any(|one| one == line),
            "{line} is not in\n{said}"
        );
    }
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        !log.contains("zabbix\"") && log.contains("2 objects could not be brought"),
        "{log}"
    );
    let host = client
        .list(
            "host.get",
            json!({"filter": {"host": "shop-01"}, "output": ["name"]}),
        )
        .await
        .unwrap();
    assert_eq!(host[0]["name"], "shop-01", "the others were imported");
}

#[tokio::test]
async fn a_session_that_ends_in_the_middle_is_replaced_and_nothing_is_lost() {
    let zabbix = Zabbix::start().await;
    let client = zabbix.client().await;
    seed(&client).await;
    let folder = TempDir::new().unwrap();
    backup(&client, folder.path()).await.unwrap();
    wipe(&client).await;
    // Ended again and again while the import runs.
    let (done, ended) = {
        let work = import(&client, folder.path(), false);
        let mut work = std::pin::pin!(work);
        let mut ended = 0;
        loop {
            let tick = tokio::time::sleep(Duration::from_millis(700));
            tokio::select! {
                done = &mut work => break (done.unwrap(), ended),
                () = tick => {
                    zabbix.sql("delete from sessions");
                    ended += 1;
                }
            }
        }
    };
    assert!(ended > 0);
    assert_eq!(done.failed(), 0, "{done}");
    let again = import(&client, folder.path(), true).await.unwrap();
    assert_eq!(told(&again, |change| *change != Change::Unchanged), [""; 0]);

    let login = ZabbixLogin::Token("no such token".to_owned().into());
    let stranger = Client::connect(
        &Access {
            login,
            ..zabbix.access()
        },
        Duration::from_secs(30),
    )
    .await
    .unwrap();
    let error = stranger
        .call("host.get", json!({}))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("host.get") && !error.contains("no such token"),
        "{error}"
    );
    let login = ZabbixLogin::Password {
        user: "Admin".into(),
        password: "hunter2".to_owned().into(),
    };
    let refused = Client::connect(
        &Access {
            login,
            ..zabbix.access()
        },
        Duration::from_secs(30),
    )
    .await;
    let error = refused.err().unwrap().to_string();
    assert!(
        error.contains("Incorrect user name or password") && !error.contains("hunter2"),
        "{error}"
    );
}

#[tokio::test]
async fn a_backup_of_a_newer_zabbix_is_refused_before_anything_changes() {
    let zabbix = Zabbix::start().await;
    let client = zabbix.client().await;
    let folder = TempDir::new().unwrap();
    backup(&client, folder.path()).await.unwrap();
    let file = folder.path().join("hosts.json");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("\"version\": \"6.0\"", "\"version\": \"7.0\"");
    fs::write(&file, text).unwrap();
    let error = import(&client, folder.path(), false)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("hosts.json is of Zabbix 7.0 and the server of 6.0"),
        "{error}"
    );
    let elsewhere = folder.path().join("none");
    let error = import(&client, &elsewhere, true)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("make a backup with `headroom zabbix backup`"),
        "{error}"
    );
}

#[tokio::test]
async fn a_run_backs_up_and_another_scales_with_certificates_of_the_inventory() {
    let (zabbix, docker) = (Zabbix::start().await, Docker::start_tls());
    docker.compose_file("");
    let client = zabbix.client().await;
    let group = make(
        &client,
        "hostgroup",
        "groupids",
        json!({"name": "certificates"}),
    )
    .await;
    let pem = |name: &str| fs::read_to_string(docker.file(name)).unwrap();
    for (host, alias) in [("certs", "worker"), ("other", "worker-ui")] {
        let inventory = json!({"alias": alias, "notes": pem("client-key.pem"), "poc_1_notes": pem("ca.pem"), "poc_2_notes": pem("client-cert.pem")});
        make(&client, "host", "hostids", json!({"host": host, "groups": [{"groupid": group}], "inventory_mode": 0, "inventory": inventory})).await;
    }
    let lab = Lab::new();
    let data = lab.path("data");
    let tooling = Tooling {
        docker_compose: Some(compose_v2()),
        zabbix: Some(zabbix.access()),
        ..Tooling::new(&data)
    };
    let lab = lab.with_tooling(true, tooling);
    let scale = |more: Value| {
        let mut settings = json!({"driver": "compose", "project": "shop", "file": [docker.file("compose.yml")], "service": "worker", "to": 1, "host": docker.tls_host()});
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Planned::new("scale", "DockerScale", settings)
    };
    let keep = Planned::new("keep", "ZabbixBackup", json!({"dir": "kept/zabbix"}));
    let run = lab.plan(
        OnFailure::Stop,
        &[keep, scale(json!({"certificates": "zabbix"}))],
    );
    assert_eq!(
        lab.drive(run).await,
        RunState::Succeeded,
        "{}{}",
        lab.error(run, "keep"),
        lab.error(run, "scale")
    );
    assert!(data.join("kept/zabbix/hosts.json").exists());
    assert!(
        lab.report(run, "keep").0[0]
            .stdout
            .contains("hosts.json: 3\n")
    );
    assert_eq!(docker.running("worker"), 1);
    assert_eq!(
        fs::read_dir(data.join("private")).unwrap().count(),
        0,
        "the certificates are gone"
    );

    let run = lab.plan(OnFailure::Stop, &[scale(json!({}))]);
    assert_eq!(
        lab.drive(run).await,
        RunState::Failed,
        "the engine lets nobody in without a certificate"
    );
    let run = lab.plan(
        OnFailure::Stop,
        &[scale(
            json!({"certificates": "zabbix", "component": "work"}),
        )],
    );
    assert_eq!(lab.drive(run).await, RunState::Failed);
    assert!(
        lab.error(run, "scale")
            .contains("no host in Zabbix has the inventory alias \"work\""),
        "{}",
        lab.error(run, "scale")
    );
    let two = json!({"host": "twin", "groups": [{"groupid": group}], "inventory_mode": 0, "inventory": {"alias": "worker"}});
    make(&client, "host", "hostids", two).await;
    let error = certificates(&zabbix.access(), "worker")
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("2 hosts in Zabbix have the inventory alias"),
        "{error}"
    );
}
