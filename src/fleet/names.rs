//! What may be a name: it stands in addresses, on command lines and in templates without quoting.

/// Longest name.
const MAX_CHARS: usize = 100;

/// What is wrong with a name, for a person.
pub(super) const RULE: &str = "must have 1 to 100 letters, digits, dots, dashes or underscores and begin with a letter or digit";

/// Whether a text may be a name.
pub(super) fn is_name(text: &str) -> bool {
    text.len() <= MAX_CHARS
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_no_quoting_anywhere() {
        for good in ["a", "web01", "web01.example.org", "load_1-min", "9lives"] {
            assert!(is_name(good), "{good}");
        }
        let long = "x".repeat(101);
        for bad in [
            "", "-f", ".", "..", ".hidden", "a b", "a/b", "a{b", "ü", "a\n", &long,
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
