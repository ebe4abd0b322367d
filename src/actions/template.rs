//! `{{ cluster.name }}` in a text setting. Pure.
//!
//! Only what looks like a name is one of ours: `{{.Names}}` and `{{json .}}`, which other tools' formats use, stay as they are, and `\{{`
//! writes the braces themselves.

use crate::config::nearest;

/// Names that a run gives its texts.
const RUN_NAMES: [&str; 5] = [
    "cluster.name",
    "trigger.name",
    "run.id",
    "run.reason",
    "run.requested_by",
];
/// Names that each node gives a text that is filled in per node.
const NODE_NAMES: [&str; 2] = ["node.name", "node.address"];
/// The first words of names; what begins with one is meant for us even where it is mistyped further on.
const ROOTS: [&str; 5] = ["cluster", "trigger", "run", "node", "steps"];

/// Which names may stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Those of the run and of earlier steps.
    Run,
    /// Also those of the node that the text is filled in for.
    Node,
}

impl Names {
    /// The fixed names; `steps.<step>.<output>` stands beside them.
    pub fn all(self) -> impl Iterator<Item = &'static str> + Clone {
        let node: &[&str] = match self {
            Self::Run => &[],
            Self::Node => &NODE_NAMES,
        };
        RUN_NAMES.iter().chain(node).copied()
    }
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Stays as it is.
    Text(String),
    /// Is replaced by the value of a name.
    Name(String),
}

/// A text in which names stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(pub Vec<Piece>);

impl Template {
    /// Takes a text apart.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            let (before, from) = rest.split_at(at);
            let after = from.strip_prefix("{{").unwrap_or(from);
            let inner = after
                .split_once("}}")
                .map(|(inner, tail)| (inner.trim(), tail));
            if let Some(before) = before.strip_suffix('\\') {
                plain.push_str(before);
                plain.push_str("{{");
                rest = after;
            } else if let Some((name, tail)) = inner.filter(|(inner, _)| is_name(inner)) {
                plain.push_str(before);
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                pieces.push(Piece::Name(name.to_owned()));
                rest = tail;
            } else {
                refuse_broken(after)?;
                // One brace further: the second may begin a name, as in `{{{ run.id }}}`.
                plain.push_str(before);
                plain.push('{');
                rest = from.strip_prefix('{').unwrap_or(after);
            }
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        Ok(Self(pieces))
    }

    /// Refuses names that can never have a value, before anything runs.
    pub fn check(&self, names: Names) -> Result<(), String> {
        for piece in &self.0 {
            if let Piece::Name(name) = piece
                && !names.all().any(|known| known == name)
                && split_step(name).is_none()
            {
                return Err(unknown(name, names.all()));
            }
        }
        Ok(())
    }

    /// Fills in every name with what `value` gives.
    pub fn fill(&self, value: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Name(name) => text.push_str(&value(name)?),
            }
        }
        Ok(text)
    }
}

/// The step and the output of `steps.<step>.<output>`.
pub(super) fn split_step(name: &str) -> Option<(&str, &str)> {
    let (step, output) = name.strip_prefix("steps.")?.rsplit_once('.')?;
    (!step.is_empty() && !output.is_empty()).then_some((step, output))
}

/// What to say about a name that means nothing here.
pub(super) fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let escape = format!("(to keep the braces, write \\{{{{{name}}}}})");
    match nearest(name, known.clone()) {
        Some(near) => {
            format!("{{{{ {name} }}}} is not known here; did you mean {{{{ {near} }}}}? {escape}")
        }
        None => {
            let known = known.collect::<Vec<_>>().join(", ");
            format!(
                "{{{{ {name} }}}} is not known here; known are {known}, steps.<step>.<output> {escape}"
            )
        }
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

/// A beginning that can only be meant for us, but whose end is missing or broken.
fn refuse_broken(after: &str) -> Result<(), String> {
    let begin = after.trim_start();
    let ours = ROOTS.iter().any(|root| {
        begin
            .strip_prefix(root)
            .is_some_and(|tail| tail.starts_with('.'))
    });
    if ours {
        let shown: String = begin.chars().take(40).collect();
        return Err(format!(
            "\"{{{{ {shown}\" is not a name between {{{{ and }}}}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill(text: &str) -> Result<String, String> {
        Template::parse(text)?.fill(|name| Ok(format!("<{name}>")))
    }

    #[test]
    fn names_are_filled_in_and_everything_else_stays() {
        for (text, filled) in [
            ("", ""),
            ("{{ cluster.name }}", "<cluster.name>"),
            (
                "a {{cluster.name}}{{ steps.add-node.instance_id }} b",
                "a <cluster.name><steps.add-node.instance_id> b",
            ),
            (
                "docker ps --format '{{.Names}} {{json .}}'",
                "docker ps --format '{{.Names}} {{json .}}'",
            ),
            (r"\{{ cluster.name }}", "{{ cluster.name }}"),
            ("${x} {{ unfinished", "${x} {{ unfinished"),
            ("{{{ cluster.name }}}", "{<cluster.name>}"),
            ("{{}}", "{{}}"),
        ] {
            assert_eq!(fill(text).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn a_name_of_ours_that_is_broken_is_refused() {
        for text in ["{{ cluster.name", "{{ cluster.name }", "{{ steps.a b.c }}"] {
            let message = fill(text).unwrap_err();
            assert!(
                message.contains("is not a name between {{ and }}"),
                "{text}: {message}"
            );
        }
    }

    #[test]
    fn only_known_names_pass_the_check() {
        let check = |text: &str, names| Template::parse(text).unwrap().check(names);
        assert_eq!(
            check("{{ node.address }} {{ run.id }}", Names::Node),
            Ok(())
        );
        assert_eq!(check("{{ steps.x.y }}", Names::Run), Ok(()));
        assert!(check("{{ node.address }}", Names::Run).is_err());
        let message = check("{{ end }}", Names::Node).unwrap_err();
        assert!(
            message.contains(r"to keep the braces, write \{{end}}"),
            "{message}"
        );
        assert!(check("{{ steps.x }}", Names::Run).is_err());
    }

    #[test]
    fn the_output_is_what_follows_the_last_dot() {
        assert_eq!(split_step("steps.a.b.c"), Some(("a.b", "c")));
        assert_eq!(split_step("steps..c"), None);
        assert_eq!(split_step("steps.a."), None);
    }

    proptest! {
        #[test]
        fn a_text_without_braces_is_never_changed(text in "[^{]*") {
            prop_assert_eq!(fill(&text), Ok(text));
        }

        #[test]
        fn no_text_panics(text in "[{} .a-c\\\\\n]*(cluster\\.name)?[{} ]*") {
            let _ = fill(&text);
        }
    }
}
