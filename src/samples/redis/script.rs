//! The scripts that Redis runs, each atomic for one series. A pipeline brings its script along, so that it needs no second round trip after
//! a restart of the server, which forgets them.

use redis::{Pipeline, ToRedisArgs};

/// Every script of the store.
pub(super) struct Scripts {
    /// Keeps one reading.
    pub write: Script,
    /// Finds the first sample after a place.
    pub first_after: Script,
    /// Forgets what is old.
    pub prune: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            write: Script::new(include_str!("write.lua")),
            first_after: Script::new(include_str!("first_after.lua")),
            prune: Script::new(include_str!("prune.lua")),
        }
    }
}

/// One script.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        let hash = redis::Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// A pipeline for so many calls of the script.
    pub fn pipeline(&self, calls: usize) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(calls + 1);
        pipeline.cmd("SCRIPT").arg("LOAD").arg(self.text).ignore();
        pipeline
    }

    /// A call with these keys; the caller adds the arguments.
    pub fn add(&self, pipeline: &mut Pipeline, keys: &[impl ToRedisArgs]) {
        pipeline
            .cmd("EVALSHA")
            .arg(&self.hash)
            .arg(keys.len())
            .arg(keys);
    }
}

/// A text for a pattern that matches just itself.
pub(super) fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(literal("headroom:"), "headroom:");
        assert_eq!(literal(r"a*b?[c]\"), r"a\*b\?\[c\]\\");
    }
}
