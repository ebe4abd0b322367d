//! The programs that `/bin/sh` on a node reads from its standard input. The command line is always `exec /bin/sh`: it means the same to
//! every login shell, and no script or secret stands in the node's list of processes because of it.

use std::borrow::Cow;

/// What a node is asked to run; the program follows on its standard input.
pub(super) const COMMAND: &str = "exec /bin/sh";

/// A program of `/bin/sh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    /// The command line that reads it.
    pub(super) command: Cow<'static, str>,
    /// What the shell reads.
    pub(crate) text: Vec<u8>,
    /// What is written after it to have it stopped.
    pub(crate) stop: Vec<u8>,
    /// Whether it is all there is to read.
    pub(super) ends: bool,
}

impl Program {
    /// A program of `/bin/sh`, and what is written after it to have it stopped.
    pub(crate) fn new(text: String, stop: Vec<u8>) -> Self {
        Self {
            command: COMMAND.into(),
            text: text.into_bytes(),
            stop,
            ends: false,
        }
    }
}

/// A word that a POSIX shell reads as exactly `text`.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The program that runs one script, and at its end writes a line with the token and the exit status to standard error: the channel itself
/// only ends when nothing holds the streams open any more.
///
/// The whole of it is parsed before it runs (one compound command that ends with `exit`), so a script cannot change what follows by reading
/// along. A watcher waits for a line on the standard input and then ends the process group: sshd makes one for each command, and `$$` leads
/// it since the login shell was replaced. Where it does not, no such group exists and the signal reaches nobody else. The end of the input
/// without a line (a lost connection) leaves the script alone, as ssh does.
pub(super) fn script(token: &str, script: &str, stdin: &[u8]) -> Program {
    let script = quote(script);
    let feed = if stdin.is_empty() {
        String::new()
    } else {
        format!("printf %b {} | ", escape(stdin))
    };
    let text = format!(
        "{{ exec 3<&0 </dev/null\n\
         {feed}/bin/sh -c {script} 3<&- &\n\
         p=$!\n\
         {{ trap '' TERM; read -r x <&3 && {{ kill -s TERM -- -$$ || kill -s TERM $p; sleep 2; kill -s KILL -- -$$ || kill -s KILL $p; }}; }} >/dev/null 2>&1 &\n\
         w=$!\n\
         exec 3<&-\n\
         wait $p; s=$?\n\
         printf '\\n{token} %s\\n' $s >&2\n\
         kill -s KILL $w 2>/dev/null\n\
         exit $s; }}\n"
    );
    Program::new(text, b"stop\n".to_vec())
}

/// Bytes as a quoted argument of `printf %b`, which alone of the portable means can print every byte.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('\'');
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b" \n.,:;=/_-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("\\0{byte:03o}"));
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn sh(program: &[u8]) -> std::process::Output {
        let mut child = Command::new("/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(program).unwrap();
        child.wait_with_output().unwrap()
    }

    #[test]
    fn a_script_keeps_its_status_streams_and_input() {
        let text = "cat; echo \"it's\" '$HOME' \\\\ >&2\nexit 3";
        let output = sh(&script("t0ken", text, b"a\0b\n\\n%s'\xff").text);
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.stdout, b"a\0b\n\\n%s'\xff");
        assert_eq!(output.stderr, b"it's $HOME \\\n\nt0ken 3\n");
    }

    #[test]
    fn a_script_cannot_read_what_follows_it() {
        let mut program = script("t0ken", "cat; echo done", b"").text;
        program.extend_from_slice(b"echo stolen\n");
        assert_eq!(sh(&program).stdout, b"done\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_survives_quoting(text in "[^\0]{0,60}") {
            let program = format!("printf %s {}", quote(&text));
            let output = sh(program.as_bytes());
            prop_assert_eq!(output.stdout, text.as_bytes());
        }

        #[test]
        fn any_bytes_survive_as_input(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
            prop_assert_eq!(sh(&script("t0ken", "cat", &bytes).text).stdout, bytes);
        }
    }
}
