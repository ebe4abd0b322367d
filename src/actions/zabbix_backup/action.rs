//! An action as it reads on any server: ids replaced by names, and nothing that a server made up itself. Pure.

use serde_json::{Map, Value};

use super::names::{Names, Noun};

/// What a server adds and does not take back.
const STRIPPED: [&str; 4] = [
    "actionid",
    "maintenance_mode",
    "eval_formula",
    "operationid",
];
/// Keys whose values are ids.
const IDS: [(&str, Noun); 7] = [
    ("groupid", Noun::Group),
    ("templateid", Noun::Template),
    ("hostid", Noun::Host),
    ("usrgrpid", Noun::UserGroup),
    ("userid", Noun::User),
    ("mediatypeid", Noun::MediaType),
    ("scriptid", Noun::Script),
];
/// "The current host", "all media types": no id.
const NONE: &str = "0";
/// The source of actions on triggers.
const TRIGGERS: &str = "0";
const CUSTOM_FORMULA: &str = "3";
/// "Problem is suppressed", which compares with nothing.
const SUPPRESSED: &str = "16";
/// "Tag value", which alone has a second value.
const TAG_VALUE: &str = "26";
/// A message to all who were told before: it names no medium.
const RECOVERY_MESSAGE: &str = "11";

/// What a condition compares with, by its type; none for text and numbers.
fn condition_noun(condition: &Map<String, Value>) -> Option<Noun> {
    match text(condition, "conditiontype") {
        "0" => Some(Noun::Group),
        "1" => Some(Noun::Host),
        "2" => Some(Noun::Trigger),
        "13" => Some(Noun::Template),
        "20" => Some(Noun::Proxy),
        _ => None,
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The action without what a server added at any depth, ids still in it.
pub(super) fn stripped(action: &Value) -> Value {
    match action {
        Value::Object(fields) => {
            let kept = fields
                .iter()
                .filter(|(key, _)| !STRIPPED.contains(&key.as_str()));
            Value::Object(
                kept.map(|(key, value)| (key.clone(), stripped(value)))
                    .collect(),
            )
        }
        Value::Array(items) => items.iter().map(stripped).collect(),
        other => other.clone(),
    }
}

/// The action as any server would take it, with names for ids. What has no name is listed.
pub(super) fn portable(action: &Value, names: &Names) -> Result<Value, Vec<String>> {
    let mut action = stripped(action);
    clean(&mut action);
    let mut missing = Vec::new();
    translate(
        &mut action,
        &mut |noun, id| names.name(noun, id),
        &mut missing,
    );
    // Lists that are sets come in any order.
    sort_sets(&mut action);
    finish(action, missing)
}

/// A portable action with the ids of a server. What is not there is listed by name.
pub(super) fn with_ids(portable: &Value, names: &Names) -> Result<Value, Vec<String>> {
    let mut action = portable.clone();
    let mut missing = Vec::new();
    translate(
        &mut action,
        &mut |noun, name| names.id(noun, name),
        &mut missing,
    );
    finish(action, missing)
}

fn finish(action: Value, mut missing: Vec<String>) -> Result<Value, Vec<String>> {
    missing.sort();
    missing.dedup();
    if missing.is_empty() {
        Ok(action)
    } else {
        Err(missing)
    }
}

/// The triggers that the conditions of actions name, by id.
pub(super) fn trigger_ids(actions: &[Value]) -> Vec<String> {
    let conditions = actions
        .iter()
        .filter_map(|action| action.pointer("/filter/conditions")?.as_array())
        .flatten();
    let triggers = conditions
        .filter_map(Value::as_object)
        .filter(|fields| condition_noun(fields) == Some(Noun::Trigger));
    triggers
        .map(|fields| text(fields, "value").to_owned())
        .collect()
}

fn translate(
    value: &mut Value,
    find: &mut dyn FnMut(Noun, &str) -> Result<String, String>,
    missing: &mut Vec<String>,
) {
    match value {
        Value::Object(fields) => {
            let condition = condition_noun(fields);
            for (key, field) in fields.iter_mut() {
                let known = IDS.iter().find(|(id, _)| id == key).map(|(_, noun)| *noun);
                let noun = if key == "value" { condition } else { known };
                match (noun, field.as_str()) {
                    (Some(_), Some(NONE)) => {}
                    (Some(noun), Some(id)) => match find(noun, id) {
                        Ok(found) => *field = found.into(),
                        Err(what) => missing.push(what),
                    },
                    _ => translate(field, find, missing),
                }
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| translate(item, find, missing)),
        _ => {}
    }
}

/// Takes away what the API gives but refuses to take, which depends on the source, the operation and the condition.
fn clean(action: &mut Value) {
    let Some(fields) = action.as_object_mut() else {
        return;
    };
    let on_triggers = text(fields, "eventsource") == TRIGGERS;
    if !on_triggers {
        for key in [
            "esc_period",
            "pause_suppressed",
            "pause_symptoms",
            "notify_if_canceled",
            "recovery_operations",
            "update_operations",
        ] {
            fields.remove(key);
        }
    }
    if let Some(filter) = fields.get_mut("filter").and_then(Value::as_object_mut) {
        clean_filter(filter);
    }
    for (list, escalates) in [
        ("operations", on_triggers),
        ("recovery_operations", false),
        ("update_operations", false),
    ] {
        let operations = fields.get_mut(list).and_then(Value::as_array_mut);
        for operation in operations
            .into_iter()
            .flatten()
            .filter_map(Value::as_object_mut)
        {
            clean_operation(operation, escalates);
        }
    }
}

fn clean_filter(filter: &mut Map<String, Value>) {
    let custom = text(filter, "evaltype") == CUSTOM_FORMULA;
    if !custom {
        filter.remove("formula");
    }
    let conditions = filter.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if !custom {
            condition.remove("formulaid");
        }
        if text(condition, "conditiontype") == SUPPRESSED {
            condition.remove("value");
        }
        if text(condition, "conditiontype") != TAG_VALUE {
            condition.remove("value2");
        }
    }
}

fn clean_operation(operation: &mut Map<String, Value>, escalates: bool) {
    if !escalates {
        for key in [
            "esc_period",
            "esc_step_from",
            "esc_step_to",
            "evaltype",
            "opconditions",
        ] {
            operation.remove(key);
        }
    }
    let kind = text(operation, "operationtype").to_owned();
    if let Some(message) = operation
        .get_mut("opmessage")
        .and_then(Value::as_object_mut)
    {
        if text(message, "default_msg") == "1" {
            message.remove("subject");
            message.remove("message");
        }
        if kind == RECOVERY_MESSAGE {
            message.remove("mediatypeid");
        }
    }
    for (list, id) in [
        ("opcommand_hst", "hostid"),
        ("opcommand_grp", "groupid"),
        ("opmessage_grp", "usrgrpid"),
        ("opmessage_usr", "userid"),
        ("opgroup", "groupid"),
        ("optemplate", "templateid"),
    ] {
        let items = operation.get_mut(list).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
            item.retain(|key, _| key == id);
        }
    }
    let conditions = operation
        .get_mut("opconditions")
        .and_then(Value::as_array_mut);
    for condition in conditions
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        condition.remove("opconditionid");
    }
}

fn sort_sets(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                sort_sets(field);
                // The order of operations is their own; everything else that is a list is a set.
                if let Value::Array(items) = field
                    && !key.ends_with("operations")
                {
                    items.sort_by_key(Value::to_string);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sort_sets),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(templates: &[(&str, &str)], groups: &[(&str, &str)]) -> Names {
        let list = |items: &[(&str, &str)], id: &str, name: &str| -> Value {
            items
                .iter()
                .map(|(number, text)| json!({id: number, name: text}))
                .collect()
        };
        Names::from_json(
            &json!({"templates": list(templates, "templateid", "host"), "hostgroups": list(groups, "groupid", "name")}),
        )
    }

    fn registration() -> Value {
        json!({
            "actionid": "8", "name": "register", "eventsource": "2", "status": "0", "esc_period": "1h",
            "filter": {"evaltype": "0", "formula": "", "eval_formula": "A", "conditions": [{"conditiontype": "22", "operator": "2", "value": "10", "value2": "", "formulaid": "A"}]},
            "operations": [
                {"operationid": "16", "actionid": "8", "operationtype": "6", "esc_period": "0", "evaltype": "0", "opconditions": [], "optemplate": [{"templateid": "10"}, {"templateid": "20"}]},
                {"operationid": "17", "operationtype": "4", "opgroup": [{"groupid": "10"}]},
                {"operationid": "18", "operationtype": "1", "opcommand_hst": [{"opcommand_hstid": "4", "hostid": "0"}]},
            ],
            "recovery_operations": [], "update_operations": [],
        })
    }

    #[test]
    fn ids_that_change_places_are_not_mapped_twice() {
        let here = names(&[("10", "A"), ("20", "B")], &[("10", "web")]);
        let there = names(&[("20", "A"), ("30", "B")], &[("11", "web")]);
        let portable = portable(&registration(), &here).unwrap();
        let action = with_ids(&portable, &there).unwrap();
        assert_eq!(
            action["operations"][0]["optemplate"],
            json!([{"templateid": "20"}, {"templateid": "30"}])
        );
        assert_eq!(
            action["operations"][1]["opgroup"],
            json!([{"groupid": "11"}])
        );
        assert_eq!(
            action["operations"][2]["opcommand_hst"],
            json!([{"hostid": "0"}]),
            "the current host has no id"
        );
        assert_eq!(
            action["filter"]["conditions"][0]["value"], "10",
            "a host's name is text"
        );
        assert_eq!(
            portable["operations"][0]["optemplate"][1]["templateid"],
            "B"
        );
    }

    #[test]
    fn what_a_server_made_up_is_gone_at_any_depth() {
        let text = stripped(&registration()).to_string();
        for key in STRIPPED {
            assert!(!text.contains(&format!("\"{key}\"")), "{key}: {text}");
        }
        assert!(text.contains("opcommand_hstid"), "no more than the four");
    }

    #[test]
    fn everything_that_is_missing_is_listed_by_name() {
        let here = names(&[("10", "A"), ("20", "B")], &[("10", "web")]);
        let portable = portable(&registration(), &here).unwrap();
        let missing = with_ids(&portable, &names(&[("5", "A")], &[])).unwrap_err();
        assert_eq!(missing, ["host group \"web\"", "template \"B\""]);
        let unnamed =
            super::portable(&registration(), &names(&[("10", "A")], &[("10", "web")])).unwrap_err();
        assert_eq!(
            unnamed,
            ["template with the id 20, which the backup does not name"]
        );
    }

    #[test]
    fn ids_in_conditions_are_named_by_the_type_of_the_condition() {
        let data = json!({
            "hosts": [{"hostid": "7", "host": "web01"}], "triggers": [{"triggerid": "9", "name": "web01: hot"}],
            "proxies": [{"proxyid": "4", "name": "edge"}], "hostgroups": [{"groupid": "3", "name": "web"}],
        });
        let condition = |kind: &str, value: &str| json!({"conditiontype": kind, "operator": "0", "value": value});
        let action = json!({"eventsource": "0", "filter": {"evaltype": "0", "conditions": [
            condition("0", "3"), condition("1", "7"), condition("2", "9"), condition("20", "4"), condition("4", "3"),
        ]}});
        assert_eq!(trigger_ids(std::slice::from_ref(&action)), ["9"]);
        let portable = portable(&action, &Names::from_json(&data)).unwrap();
        let values: Vec<_> = portable["filter"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["value"].clone())
            .collect();
        assert_eq!(values, ["web", "web01", "web01: hot", "edge", "3"]);
    }
}
