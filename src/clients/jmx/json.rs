//! What a Jolokia agent writes, read straight into what is kept of it: what nobody wants to know is passed over without being built, so that a
//! long answer takes little more memory than its own length.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::allowance::clipped;
use super::datum::Datum;
use super::stream::Limits;

/// The value of an attribute.
pub struct Read(pub(super) Datum);

/// A list of names.
pub struct Names(pub(super) Vec<String>);

/// The attributes in the description of an MBean.
pub struct Attributes(pub(super) Vec<(String, Words)>);

/// What is said of an attribute.
#[derive(serde::Deserialize)]
pub struct Words {
    /// Its Java type.
    #[serde(rename = "type", default)]
    pub(super) class: String,
    #[serde(rename = "desc", default)]
    pub(super) description: String,
}

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Values).map(Self)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Datum;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Datum, E> {
        Ok(Datum::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Datum, E> {
        Ok(Datum::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Datum, E> {
        Ok(Datum::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Datum, E> {
        #[expect(clippy::cast_precision_loss, reason = "a sample is a double")]
        let float = number as f64;
        Ok(i64::try_from(number).map_or(Datum::Float(float), Datum::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Datum, E> {
        Ok(Datum::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Datum, E> {
        Ok(Datum::Text(clipped(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Datum, A::Error> {
        let mut count = 0;
        while items.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Datum::List(count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Datum, A::Error> {
        let mut members: Vec<(String, Datum)> = Vec::new();
        while let Some((name, Read(value))) = items.next_entry()? {
            members.push((name, value));
        }
        // An MBean's name is wrapped in an object of its own.
        if let [(name, Datum::Text(text))] = members.as_mut_slice()
            && name == "objectName"
        {
            return Ok(Datum::Text(std::mem::take(text)));
        }
        Ok(Datum::Members(members))
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vec<String>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    room(names.len()).map_err(A::Error::custom)?;
                    names.push(name);
                }
                Ok(names)
            }
        }
        input.deserialize_seq(List).map(Self)
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Vec<(String, Words)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("attributes by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut attributes = Vec::new();
                while let Some(attribute) = items.next_entry()? {
                    room(attributes.len()).map_err(A::Error::custom)?;
                    attributes.push(attribute);
                }
                Ok(attributes)
            }
        }
        input.deserialize_map(Map).map(Self)
    }
}

/// Whether there may be one more.
fn room(count: usize) -> Result<(), String> {
    let most = Limits::BROWSE.items;
    if count < most {
        return Ok(());
    }
    Err(format!("there are more than {most} of them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Datum {
        serde_json::from_str::<Read>(json).unwrap().0
    }

    #[test]
    fn json_is_read_into_what_an_attribute_holds() {
        let cases = [
            ("null", Datum::Null),
            ("true", Datum::Bool(true)),
            ("-7", Datum::Integer(-7)),
            (
                "18446744073709551615",
                Datum::Float(18_446_744_073_709_551_615.0),
            ),
            ("0.25", Datum::Float(0.25)),
            (r#""up\n""#, Datum::Text("up\n".into())),
            ("[]", Datum::List(0)),
            ("[[0],{\"a\":[1]},2]", Datum::List(3)),
            (r#"{"objectName":"a:b=c"}"#, Datum::Text("a:b=c".into())),
            (
                r#"{"used":1,"more":{"x":null}}"#,
                Datum::Members(vec![
                    ("used".into(), Datum::Integer(1)),
                    (
                        "more".into(),
                        Datum::Members(vec![("x".into(), Datum::Null)]),
                    ),
                ]),
            ),
        ];
        for (json, value) in cases {
            assert_eq!(read(json), value, "{json}");
        }
        let long = read(&format!("\"{}\"", "9".repeat(2_000)));
        assert_eq!(
            long,
            Datum::Text(format!("{}…", "9".repeat(1_024))),
            "cut, and marked so that it is no number"
        );
    }

    #[test]
    fn a_list_of_names_has_an_end() {
        let many = format!("[\"\"{}]", ",\"\"".repeat(Limits::BROWSE.items));
        let why = serde_json::from_str::<Names>(&many).err().unwrap();
        assert!(
            why.to_string()
                .starts_with("there are more than 524288 of them"),
            "{why}"
        );
    }
}
