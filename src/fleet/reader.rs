//! Reads one mapping key by key and notes every fault with its path, instead of stopping at the first.
//!
//! A getter always gives a value: what was wrong is in the list of faults, and a stand-in takes its place, so that the rest of the file
//! keeps its positions and is checked as well. A value with any fault beside it is never used.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use secrecy::SecretString;
use serde_json::Map;

use super::names;
use super::value::{Value, join};
use crate::config::{nearest, parse_duration};
use crate::error::Fault;

/// The longest duration that a file may name.
const MAX_SECS: i64 = 366 * 86_400;

/// One mapping of the file.
pub(super) struct Object<'a> {
    path: String,
    entries: &'a [(String, Value)],
    known: Vec<&'static str>,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Object<'a> {
    /// Reads `value` with `read`; what is no mapping is a fault.
    pub fn read<T>(
        value: &Value,
        path: String,
        faults: &mut Vec<Fault>,
        read: impl FnOnce(&mut Object<'_>) -> T,
    ) -> T {
        let Value::Map(entries) = value else {
            let what = value.type_name();
            faults.push(Fault::new(
                &path,
                format!("must be a mapping of keys to values, not {what}"),
            ));
            // The stand-in: every key is missing, which is not worth saying.
            return read(&mut Object::new(path, &[], &mut Vec::new()));
        };
        let mut object = Object::new(path, entries, faults);
        object.refuse_duplicates();
        let result = read(&mut object);
        object.refuse_unknown();
        result
    }

    fn new(path: String, entries: &'a [(String, Value)], faults: &'a mut Vec<Fault>) -> Self {
        let known = Vec::new();
        Self {
            path,
            entries,
            known,
            faults,
        }
    }

    /// Notes a fault at a key.
    pub fn fault(&mut self, key: &str, message: impl Into<String>) {
        self.faults.push(Fault::new(join(&self.path, key), message));
    }

    /// Whether the key stands there with a value.
    pub fn has(&self, key: &str) -> bool {
        self.peek(key).is_some()
    }

    /// The value, or the stand-in and a fault where the key is missing.
    pub fn need<T>(&mut self, key: &str, value: Option<T>, stand_in: T) -> T {
        if value.is_none() && !self.has(key) {
            self.fault(key, "is required");
        }
        value.unwrap_or(stand_in)
    }

    /// Text that is not blank.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        let text = self.get(key, "text (write it in quotes)", |value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })?;
        if text.trim().is_empty() {
            self.fault(key, "must not be empty; leave the key out instead");
            return None;
        }
        Some(text)
    }

    /// Text that must be there.
    pub fn required_text(&mut self, key: &'static str) -> String {
        let text = self.text(key);
        self.need(key, text, String::new())
    }

    /// Text of a form that `accepts` knows; otherwise `message` says what is right.
    pub fn text_that(
        &mut self,
        key: &'static str,
        accepts: impl FnOnce(&str) -> bool,
        message: &str,
    ) -> Option<String> {
        let text = self.text(key)?;
        if !accepts(&text) {
            self.fault(key, message);
        }
        Some(text)
    }

    /// Text that no message ever shows.
    pub fn secret(&mut self, key: &'static str) -> Option<SecretString> {
        self.text(key).map(SecretString::from)
    }

    /// A name.
    pub fn name(&mut self, key: &'static str) -> Option<String> {
        self.text_that(key, names::is_name, names::RULE)
    }

    /// A name that must be there.
    pub fn required_name(&mut self, key: &'static str) -> String {
        let name = self.name(key);
        self.need(key, name, String::new())
    }

    /// An absolute path on Headroom's host: a relative one would depend on where the process was started.
    pub fn file_path(&mut self, key: &'static str) -> Option<String> {
        self.text_that(
            key,
            |text| text.starts_with('/'),
            "must be an absolute path",
        )
    }

    /// A whole number within bounds.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.get(key, &expected, |value| match value {
            Value::Number(number) => number.as_i64().filter(|n| bounds.contains(n)),
            _ => None,
        })
    }

    /// A whole number within the bounds of a column.
    pub fn small(&mut self, key: &'static str, bounds: RangeInclusive<i32>) -> Option<i32> {
        let bounds = i64::from(*bounds.start())..=i64::from(*bounds.end());
        self.integer(key, bounds)
            .and_then(|n| i32::try_from(n).ok())
    }

    /// Any finite number.
    pub fn number(&mut self, key: &'static str) -> Option<f64> {
        self.get(key, "a number", |value| match value {
            Value::Number(number) => number.as_f64().filter(|n| n.is_finite()),
            _ => None,
        })
    }

    /// `true` or `false`.
    pub fn switch(&mut self, key: &'static str) -> Option<bool> {
        self.get(key, "true or false", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// One of a closed set of words.
    pub fn word<T: FromStr<Err = String>>(&mut self, key: &'static str) -> Option<T> {
        match self.text(key)?.parse() {
            Ok(word) => Some(word),
            Err(message) => {
                self.fault(key, message);
                None
            }
        }
    }

    /// A duration with its unit, in seconds.
    pub fn duration(&mut self, key: &'static str, min_secs: i64) -> Option<i64> {
        if let Some(Value::Number(_)) = self.peek(key) {
            self.known.push(key);
            self.fault(key, "needs a unit: write 10s, 5m or 1h");
            return None;
        }
        let text = self.text(key)?;
        let secs = match parse_duration(&text) {
            Ok(duration) => i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            Err(message) => {
                self.fault(key, message);
                return None;
            }
        };
        if !(min_secs..=MAX_SECS).contains(&secs) {
            self.fault(key, format!("must be from {min_secs}s to 366d"));
            return None;
        }
        Some(secs)
    }

    /// A duration where a bare number means minutes, in seconds.
    pub fn duration_or_minutes(&mut self, key: &'static str) -> Option<i64> {
        if let Some(Value::Number(_)) = self.peek(key) {
            let minutes = self.integer(key, 0..=MAX_SECS / 60)?;
            return Some(minutes * 60);
        }
        self.duration(key, 0)
    }

    /// A list of texts, each of which `accepts` takes; none of them twice.
    pub fn texts(
        &mut self,
        key: &'static str,
        accepts: impl Fn(&str) -> bool,
        message: &str,
    ) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for (index, item) in (0..).zip(self.items(key)) {
            let place = format!("{key}[{index}]");
            match item {
                Value::Text(text) if !seen.insert(text) => {
                    self.fault(&place, format!("\"{text}\" comes twice"));
                }
                Value::Text(text) => {
                    if !accepts(text) {
                        self.fault(&place, message);
                    }
                    found.push(text.clone());
                }
                other => self.fault(&place, format!("must be text, not {}", other.type_name())),
            }
        }
        found
    }

    /// A list of names, none of them twice.
    pub fn names(&mut self, key: &'static str) -> Vec<String> {
        self.texts(key, names::is_name, names::RULE)
    }

    /// A list of mappings.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Object<'_>) -> T,
    ) -> Vec<T> {
        let path = join(&self.path, key);
        (0..)
            .zip(self.items(key))
            .map(|(index, item)| {
                Object::read(item, format!("{path}[{index}]"), self.faults, &mut read)
            })
            .collect()
    }

    /// Looks at a value whose shape the caller knows.
    pub fn raw(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.peek(key)
    }

    /// All keys that were not asked for, with the path of this mapping and the list of faults, for whoever knows them.
    pub fn rest(&mut self) -> (Map<String, serde_json::Value>, &str, &mut Vec<Fault>) {
        let mut rest = Map::new();
        for (key, value) in self.entries {
            if !self.known.contains(&key.as_str()) && !rest.contains_key(key) {
                let value = value.to_json(&join(&self.path, key), self.faults);
                rest.insert(key.clone(), value);
            }
        }
        // Nothing is unknown any more.
        self.entries = &[];
        (rest, &self.path, self.faults)
    }

    fn peek(&self, key: &str) -> Option<&'a Value> {
        let mut found = self.entries.iter().filter(|(name, _)| name == key);
        found
            .next()
            .map(|(_, value)| value)
            .filter(|value| **value != Value::Null)
    }

    fn get<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.raw(key)?;
        let result = read(value);
        if result.is_none() {
            let what = match value {
                Value::Number(number) => number.to_string(),
                other => other.type_name().to_owned(),
            };
            self.fault(key, format!("must be {expected}, not {what}"));
        }
        result
    }

    fn items(&mut self, key: &'static str) -> &'a [Value] {
        let items = self.get(key, "a list", |value| match value {
            Value::List(items) => Some(items.as_slice()),
            _ => None,
        });
        items.unwrap_or_default()
    }

    fn refuse_duplicates(&mut self) {
        let mut seen = HashSet::new();
        for (key, _) in self.entries {
            if !seen.insert(key) {
                self.fault(key, "comes twice");
            }
        }
    }

    fn refuse_unknown(&mut self) {
        for (key, _) in self.entries {
            if !self.known.contains(&key.as_str()) {
                let message = match nearest(key, self.known.iter().copied()) {
                    Some(near) => format!("is not known here; did you mean \"{near}\"?"),
                    None => format!("is not known here; known are {}", self.known.join(", ")),
                };
                self.fault(key, message);
            }
        }
    }
}
