//! Puts values into an operator's script so that none of them is ever read as a part of it. Pure.
//!
//! A value never stands in the script's text: it is assigned to a shell variable, quoted, in front of the script, and the name in the script
//! becomes an expansion of that variable. The shell does not read an expansion's result as code, wherever it stands. How the expansion is
//! quoted depends on where it stands: outside of quotes it brings its own (so that a value stays one word), inside double quotes and here
//! documents it needs none, and inside single quotes the shell would keep its text, so that is refused.

use super::template::{Piece, Template};

/// The script with assignments in front of it, all on the first line, so that the shell's line numbers stay right.
pub(super) fn fill(
    template: &Template,
    value: impl Fn(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut names: Vec<&str> = Vec::new();
    let mut reader = Reader::default();
    let mut script = String::new();
    for piece in &template.0 {
        match piece {
            Piece::Text(text) => {
                reader.read(text);
                script.push_str(text);
            }
            Piece::Name(name) => {
                let number = match names.iter().position(|known| known == name) {
                    Some(known) => known + 1,
                    None => {
                        names.push(name);
                        names.len()
                    }
                };
                script.push_str(&reader.expansion(name, number)?);
            }
        }
    }
    let mut assignments = String::new();
    for (name, number) in names.iter().zip(1..) {
        let quoted = quote(&value(name)?).ok_or_else(|| {
            format!("the value of {{{{ {name} }}}} holds a zero byte, which no shell can carry")
        })?;
        assignments.push_str(&format!("headroom_value_{number}={quoted}; "));
    }
    Ok(assignments + &script)
}

/// A value as one word of a POSIX shell; nothing when no shell can carry it.
fn quote(value: &str) -> Option<String> {
    (!value.contains('\0')).then(|| format!("'{}'", value.replace('\'', r"'\''")))
}

/// Where in a script a place is, as far as quoting goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Plain,
    Single,
    Double,
    Comment,
    /// The body of a here document, its end and whether values are filled in there.
    Here {
        end: String,
        expands: bool,
    },
}

/// Follows the quoting of a script. What it does not follow (quotes nested in `"$(…)"`) costs the quoting of a value at worst, never its safety.
#[derive(Debug, Default)]
struct Reader {
    place: Place,
    /// The last character of plain text; a comment and a here document begin after certain ones.
    last: Option<char>,
    escaped: bool,
    /// The here documents that begin on the next line.
    waiting: Vec<(String, bool)>,
    /// The word after `<<` while it is read.
    word: Option<String>,
    /// The line of a here document's body so far.
    line: String,
}

impl Reader {
    fn expansion(&mut self, name: &str, number: usize) -> Result<String, String> {
        let bare = format!("${{headroom_value_{number}}}");
        self.escaped = false;
        self.last = Some('}');
        match &self.place {
            Place::Plain => Ok(format!("\"{bare}\"")),
            Place::Double | Place::Comment | Place::Here { expands: true, .. } => Ok(bare),
            Place::Single => Err(format!(
                "{{{{ {name} }}}} stands between single quotes, where the shell fills nothing in; use double quotes"
            )),
            Place::Here { end, .. } => Err(format!(
                "{{{{ {name} }}}} stands in a here document whose end is quoted, where the shell fills nothing in; write <<{end} without quotes"
            )),
        }
    }

    fn read(&mut self, text: &str) {
        for c in text.chars() {
            match self.place {
                Place::Plain => self.plain(c),
                Place::Single => {
                    if c == '\'' {
                        self.place = Place::Plain;
                    }
                }
                Place::Double => match c {
                    _ if self.escaped => self.escaped = false,
                    '\\' => self.escaped = true,
                    '"' => self.place = Place::Plain,
                    _ => {}
                },
                Place::Comment => {
                    if c == '\n' {
                        self.new_line();
                    }
                }
                Place::Here { .. } => self.here(c),
            }
        }
    }

    fn plain(&mut self, c: char) {
        if self.word.is_some() && self.delimiter(c) {
            return;
        }
        let last = self.last.replace(c);
        if std::mem::take(&mut self.escaped) {
            self.last = Some('x');
            return;
        }
        match c {
            '\\' => self.escaped = true,
            '\'' => self.place = Place::Single,
            '"' => self.place = Place::Double,
            '\n' => self.new_line(),
            '#' if last.is_none_or(|l| l.is_whitespace() || ";&|()".contains(l)) => {
                self.place = Place::Comment;
            }
            // `<<<` is no here document, nor is a shift in arithmetic, which a word of digits gives away.
            '<' if last == Some('<') => self.word = Some(String::new()),
            _ => {}
        }
    }

    /// Reads the word after `<<`; false when `c` ends it and is to be read as usual.
    fn delimiter(&mut self, c: char) -> bool {
        let Some(word) = &mut self.word else {
            return false;
        };
        let ends = c.is_whitespace() || ";&|()<>".contains(c);
        if !ends {
            word.push(c);
            return true;
        }
        if word.is_empty() && (c == ' ' || c == '\t') {
            return true;
        }
        let word = self.word.take().unwrap_or_default();
        let word = word.strip_prefix('-').unwrap_or(&word);
        let bare: String = word.chars().filter(|c| !"'\"\\".contains(*c)).collect();
        if !bare.is_empty() && !bare.starts_with(|c: char| c.is_ascii_digit()) {
            let expands = bare.len() == word.len();
            self.waiting.push((bare, expands));
        }
        false
    }

    fn new_line(&mut self) {
        self.last = Some('\n');
        self.place = Place::Plain;
        if !self.waiting.is_empty() {
            let (end, expands) = self.waiting.remove(0);
            self.line.clear();
            self.place = Place::Here { end, expands };
        }
    }

    fn here(&mut self, c: char) {
        if c != '\n' {
            self.line.push(c);
            return;
        }
        let line = std::mem::take(&mut self.line);
        if matches!(&self.place, Place::Here { end, .. } if line.trim_start_matches('\t') == end) {
            self.new_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// What /bin/sh prints for a script in which `{{ x.y }}` is `value`; its working directory is empty, so that a glob finds nothing.
    fn run(script: &str, value: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let template = Template::parse(script).unwrap();
        let filled = fill(&template, |_| Ok(value.to_owned())).unwrap();
        let output = Command::new("/bin/sh")
            .args(["-c", &filled])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let left = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(left, 0, "{script} with {value} left a file");
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
    }

    /// Scripts that print the value and nothing else, wherever it stands.
    const PLACES: [&str; 12] = [
        "printf %s {{ x.y }}",
        "printf %s \"{{ x.y }}\"",
        "printf %s%s \"\" \"\\\"{{ x.y }}\\\"\" | sed '1s/^\"//;$s/\"$//'",
        "cat <<END | head -c -1\n{{ x.y }}\nEND",
        "cat <<-END | head -c -1\n\t{{ x.y }}\n\tEND",
        "# don't be fooled\nprintf %s {{ x.y }}",
        "echo a#b >/dev/null; printf %s {{ x.y }} # {{ x.y }} isn't code",
        "cat <<'END' >/dev/null\nit's\nEND\nprintf %s {{ x.y }}",
        "printf %s $(( 1 << 2 )) >/dev/null; printf %s {{ x.y }}",
        "x={{ x.y }}; printf %s \"$x\"",
        "f() { printf %s \"$1\"; }; f {{ x.y }}",
        "echo it\\'s >/dev/null; printf %s {{ x.y }}",
    ];

    #[test]
    fn a_hostile_value_is_printed_and_never_run() {
        for value in [
            "$(touch owned)",
            "`touch owned`",
            "'; touch owned; '",
            "\"; touch owned; \"",
            "a b  *  ?",
            "\\",
            "$HOME ${IFS}",
            "&& touch owned",
            "END",
            "-n",
            "",
        ] {
            for script in PLACES {
                assert_eq!(run(script, value), value, "{script}");
            }
        }
    }

    #[test]
    fn a_value_in_quotes_within_a_substitution_may_be_split_but_is_never_run() {
        let printed = run("echo \"$(printf %s \"{{ x.y }}\")\"", "$(touch owned)");
        assert!(printed.contains("$(touch"), "{printed}");
    }

    #[test]
    fn where_the_shell_fills_nothing_in_a_name_is_refused() {
        for (script, part) in [
            ("echo '{{ x.y }}'", "single quotes"),
            ("cat <<'END'\n{{ x.y }}\nEND", "write <<END without quotes"),
            ("cat <<\\END\n{{ x.y }}\nEND", "write <<END without quotes"),
        ] {
            let template = Template::parse(script).unwrap();
            let message = fill(&template, |_| Ok(String::new())).unwrap_err();
            assert!(message.contains(part), "{script}: {message}");
        }
    }

    #[test]
    fn a_zero_byte_is_refused() {
        let template = Template::parse("echo {{ x.y }}").unwrap();
        let message = fill(&template, |_| Ok("a\0b".into())).unwrap_err();
        assert!(message.contains("zero byte"), "{message}");
    }

    #[test]
    fn a_script_without_names_is_not_touched() {
        let script = "awk '{print $1}' <<'E'\n1 2\nE\n";
        let template = Template::parse(script).unwrap();
        assert_eq!(fill(&template, |_| Err("unused".into())).unwrap(), script);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_value_comes_through_unchanged(value in "[^\0]{0,40}", place in 0..PLACES.len()) {
            // A here document drops nothing but the newline that it adds itself; `sed` works by lines.
            prop_assume!(!value.contains(['\n', '\r']));
            prop_assert_eq!(run(PLACES[place], &value), value);
        }

        #[test]
        fn no_script_confuses_the_reader_into_running_a_value(
            before in "[ a'\"\\\\#<(E\n;$`-]{0,12}", after in "[ a'\"\\\\)E\n;`]{0,12}",
        ) {
            let script = format!(":{before}{{{{ x.y }}}}{after}");
            let template = Template::parse(&script).unwrap();
            if fill(&template, |_| Ok(String::new())).is_ok() {
                run(&script, "$(touch owned);touch owned\ntouch owned`touch owned`");
            }
        }
    }
}
