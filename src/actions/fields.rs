//! Reads the settings of an action key by key and notes every fault with its path, instead of stopping at the first.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::shell;
use super::template::{Names, Template};
use crate::config::nearest;
use crate::error::Fault;

/// A path one key further down.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The settings of one action. A getter always gives a value; what was wrong is among the faults, and a value with a fault beside it is never used.
pub struct Fields<'a> {
    path: &'a str,
    entries: Option<&'a Map<String, Value>>,
    known: Vec<&'static str>,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Fields<'a> {
    /// Reads `settings` with `read`; a key that was not asked for is a fault.
    pub fn read<T>(
        settings: &Value,
        path: &str,
        faults: &mut Vec<Fault>,
        read: impl FnOnce(&mut Fields<'_>) -> T,
    ) -> T {
        let entries = settings.as_object();
        if entries.is_none() {
            faults.push(Fault::new(
                path,
                "the settings must be a mapping of keys to values",
            ));
        }
        let mut fields = Fields {
            path,
            entries,
            known: Vec::new(),
            faults,
        };
        let result = read(&mut fields);
        fields.refuse_unknown();
        result
    }

    /// Notes a fault at a key.
    pub fn fault(&mut self, key: &str, message: impl Into<String>) {
        self.faults.push(Fault::new(join(self.path, key), message));
    }

    /// Text that must be there, and in which the names of `names` may stand.
    pub fn template(&mut self, key: &'static str, names: Names) -> String {
        let text = self.required_text(key);
        self.check_template(key, &text, names);
        text
    }

    /// A script that must be there, in which the names of a node may stand where the shell fills them in.
    pub fn script(&mut self, key: &'static str) -> String {
        let text = self.required_text(key);
        let fault = Template::parse(&text).and_then(|template| {
            template.check(Names::Node)?;
            shell::fill(&template, |_| Ok(String::new()))
        });
        if let Err(message) = fault {
            self.fault(key, message);
        }
        text
    }

    /// Text that must be there.
    pub fn required_text(&mut self, key: &'static str) -> String {
        match self.value(key) {
            Some(Value::String(text)) if !text.trim().is_empty() => return text.clone(),
            Some(Value::String(_)) => self.fault(key, "must not be empty"),
            Some(other) => self.fault(key, format!("must be text, not {}", type_name(other))),
            None => self.missing(key),
        }
        String::new()
    }

    /// One text or a list of texts, at least one, in which the names of `names` may stand.
    pub fn templates(&mut self, key: &'static str, names: Names) -> Vec<String> {
        let items = match self.value(key) {
            Some(Value::Array(items)) if items.is_empty() => {
                self.fault(key, "must name at least one");
                return Vec::new();
            }
            Some(Value::Array(items)) => items,
            Some(_) => return vec![self.template(key, names)],
            None => {
                self.missing(key);
                return Vec::new();
            }
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let place = format!("{key}[{index}]");
            match item {
                Value::String(text) if !text.trim().is_empty() => {
                    self.check_template(&place, text, names);
                    texts.push(text.clone());
                }
                Value::String(_) => self.fault(&place, "must not be empty"),
                other => self.fault(&place, format!("must be text, not {}", type_name(other))),
            }
        }
        texts
    }

    /// Text that may be left out.
    pub fn optional_text(&mut self, key: &'static str) -> Option<String> {
        self.peek(key).then(|| self.required_text(key))
    }

    /// Whether the key is there, right or wrong.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.peek(key)
    }

    /// As [`Fields::templates`], and may be left out.
    pub fn optional_templates(&mut self, key: &'static str, names: Names) -> Vec<String> {
        if self.peek(key) {
            self.templates(key, names)
        } else {
            Vec::new()
        }
    }

    /// A whole number within bounds that may be left out.
    pub fn integer(&mut self, key: &'static str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(key)?;
        let number = value.as_i64().filter(|number| bounds.contains(number));
        if number.is_none() {
            let (low, high) = bounds.into_inner();
            self.fault(key, format!("must be a whole number from {low} to {high}"));
        }
        number
    }

    /// One of some words that may be left out.
    pub fn choice(&mut self, key: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let value = self.value(key)?;
        let word = value
            .as_str()
            .and_then(|text| words.iter().copied().find(|word| *word == text));
        if word.is_none() {
            self.fault(key, format!("must be {}", words.join(" or ")));
        }
        word
    }

    /// `true` or `false`; absent = false.
    pub fn switch(&mut self, key: &'static str) -> bool {
        self.optional_switch(key).unwrap_or_default()
    }

    /// `true` or `false` that may be left out.
    pub fn optional_switch(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        if value.as_bool().is_none() {
            let message = format!("must be true or false, not {}", type_name(value));
            self.fault(key, message);
        }
        value.as_bool()
    }

    /// Some texts that may be left out.
    pub fn optional_texts(&mut self, key: &'static str) -> Vec<String> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let texts = items.iter().filter_map(Value::as_str).map(str::to_owned);
                let texts: Vec<_> = texts.collect();
                if texts.len() < items.len() {
                    self.fault(key, "must be a list of texts");
                }
                texts
            }
            Some(other) => {
                self.fault(key, format!("must be a list, not {}", type_name(other)));
                Vec::new()
            }
        }
    }

    /// Whether the key is there; known from now on.
    fn peek(&mut self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries?.get(key).filter(|value| !value.is_null())
    }

    fn missing(&mut self, key: &str) {
        // Settings that are no mapping lack every key, which is not worth saying.
        if self.entries.is_some() {
            self.fault(key, "is required");
        }
    }

    fn check_template(&mut self, key: &str, text: &str, names: Names) {
        if let Err(message) = Template::parse(text).and_then(|template| template.check(names)) {
            self.fault(key, message);
        }
    }

    fn refuse_unknown(&mut self) {
        for key in self.entries.into_iter().flat_map(Map::keys) {
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

const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number (write it in quotes)",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
