//! What a file says before anybody knows what it should say: keys in their order, also those that come twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{DuplicateKeyPolicy, NonFiniteFloatPolicy, options};

use crate::error::Fault;

/// A value of YAML or JSON.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Value {
    /// Reads YAML, and JSON with it.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let options = options! {
            duplicate_keys: DuplicateKeyPolicy::LastWins,
            // Otherwise a node named `n` or a unit `y` would be a switch.
            strict_booleans: true,
            // An infinity is refused where it stands, with its path.
            non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
            // The line that is wrong may hold a secret.
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options(text, options).or_else(|cause| {
            // Tabs between the parts of a document are fine in JSON alone. YAML comes first, since it reads long numbers to the last digit.
            serde_json::from_str(text)
                .map_err(|_| Fault::new("", format!("is neither YAML nor JSON: {cause}")))
        })
    }

    /// The word for a person whose value has the wrong type.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// The same as JSON; a key that comes twice is a fault.
    pub fn to_json(&self, path: &str, faults: &mut Vec<Fault>) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(number) => serde_json::Value::Number(number.clone()),
            Self::Text(text) => text.as_str().into(),
            Self::List(items) => (0..)
                .zip(items)
                .map(|(index, item)| item.to_json(&format!("{path}[{index}]"), faults))
                .collect(),
            Self::Map(entries) => {
                let mut map = serde_json::Map::new();
                for (key, value) in entries {
                    let path = join(path, key);
                    let value = value.to_json(&path, faults);
                    if map.insert(key.clone(), value).is_some() {
                        faults.push(Fault::new(path, "comes twice"));
                    }
                }
                serde_json::Value::Object(map)
            }
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(number),
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(items) => {
                Self::List(items.into_iter().map(Self::from).collect())
            }
            serde_json::Value::Object(map) => {
                Self::Map(map.into_iter().map(|(key, v)| (key, v.into())).collect())
            }
        }
    }
}

/// A path one key further down.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // An infinity or NaN stays text, so that whoever wants a number refuses it with its path.
        Ok(Number::from_f64(value).map_or_else(|| Value::Text(value.to_string()), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "a: 1\nb: [true, null, 2.5, \"x\"]\nc: {d: 5m, e: 10.0.0.1, f: 8e8}\ng: |\n  one\n  two\n";
        let json = r#"{"a": 1, "b": [true, null, 2.5, "x"], "c": {"d": "5m", "e": "10.0.0.1", "f": 8e8}, "g": "one\ntwo\n"}"#;
        assert_eq!(Value::parse(yaml).unwrap(), Value::parse(json).unwrap());
    }

    #[test]
    fn json_with_tabs_is_read_as_well() {
        let value = Value::parse("{\n\t\"a\": {\n\t\t\"b\":\t[1,\n\t\t2]\n\t}\n}\n").unwrap();
        assert_eq!(value, Value::parse("a: { b: [1, 2] }").unwrap());
    }

    #[test]
    fn only_true_and_false_are_switches() {
        let value = Value::parse("[y, n, yes, no, on, off, True, true]").unwrap();
        let text = |text: &str| Value::Text(text.into());
        let expected = ["y", "n", "yes", "no", "on", "off"].map(text);
        let Value::List(items) = value else { panic!() };
        assert_eq!(items[..6], expected);
        assert_eq!(items[7], Value::Bool(true));
    }

    #[test]
    fn a_key_that_comes_twice_is_seen_twice_in_both() {
        for text in ["a: 1\nb: 2\na: 3\n", r#"{"a": 1, "b": 2, "a": 3}"#] {
            let Value::Map(entries) = Value::parse(text).unwrap() else {
                panic!("{text}")
            };
            let keys: Vec<_> = entries.iter().map(|(key, _)| key.as_str()).collect();
            assert_eq!(keys, ["a", "b", "a"], "{text}");
        }
    }

    #[test]
    fn a_key_that_comes_twice_in_free_settings_is_a_fault_at_its_path() {
        let mut faults = Vec::new();
        let value = Value::parse("x: [{a: 1, a: 2}]").unwrap();
        value.to_json("actions[0]", &mut faults);
        assert_eq!(faults, [Fault::new("actions[0].x[0].a", "comes twice")]);
    }

    #[test]
    fn broken_syntax_names_the_line_but_shows_no_content() {
        let fault = Value::parse("a: 1\nb: \"geheim\n").unwrap_err();
        assert!(
            fault.message.contains("is neither YAML nor JSON"),
            "{fault}"
        );
        assert!(fault.message.contains("line"), "{fault}");
        assert!(!fault.message.contains("geheim"), "{fault}");
    }

    #[test]
    fn an_infinity_is_no_number() {
        for text in ["a: .inf", "a: .nan"] {
            let fault = Value::parse(text).map(|value| format!("{value:?}"));
            assert!(
                !fault.clone().is_ok_and(|v| v.contains("Number")),
                "{fault:?}"
            );
        }
    }

    #[test]
    fn aliases_that_explode_are_refused() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                [before.as_str(); 10].join(", ")
            ));
        }
        assert!(Value::parse(&text).is_err());
    }
}
