//! A file for a host: into a folder of its own that nobody else may enter.

use std::time::Duration;

use crate::clients::output::Kept;
use crate::clients::ssh::program::Program;
use crate::clients::ssh::talk::Listener;
use crate::error::{Error, Result};

/// What the host may say about it, bytes.
const MAX_SAID: usize = 8 * 1024;

/// A file to put on a host.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its name: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
    /// For all of it; connecting counts.
    pub time_limit: Duration,
}

/// The program that takes the content on its standard input. It stands in the command itself, so that the input is the content and nothing
/// else; every login shell reads it alike: one line, no quote but the outer ones, no backslash, no exclamation mark. A file that did not
/// come whole is removed.
pub(super) fn program(upload: &Upload) -> Result<Program> {
    let name = &upload.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(plain) || name.starts_with(['.', '-']) {
        let why = "must be a plain file name of letters, digits, dots, dashes and underscores";
        return Err(Error::invalid("name", why));
    }
    let size = upload.content.len();
    let command = format!(
        "exec /bin/sh -c 'umask 077; d=$(mktemp -d \"${{TMPDIR:-/tmp}}/headroom.XXXXXXXXXX\") || exit 73; \
         cat >\"$d/{name}\" && n=$(wc -c <\"$d/{name}\") && [ \"$n\" -eq {size} ] || {{ rm -rf \"$d\"; exit 74; }}; echo \"$d/{name}\"'"
    );
    Ok(Program {
        command: command.into(),
        text: upload.content.clone(),
        stop: Vec::new(),
        ends: true,
    })
}

/// Hears where the file is.
pub(super) struct Receipt {
    stdout: Kept,
    stderr: Kept,
    limit: Duration,
}

impl Receipt {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            stdout: Kept::new(MAX_SAID),
            stderr: Kept::new(MAX_SAID),
            limit,
        }
    }

    /// The place of the file, and what the host complained about.
    pub(super) fn into_words(self) -> (String, String) {
        let text = |kept: Kept| {
            String::from_utf8_lossy(&kept.into_bytes())
                .trim()
                .to_owned()
        };
        (text(self.stdout), text(self.stderr))
    }
}

impl Listener for Receipt {
    fn stdout(&mut self, bytes: &[u8], _at: Duration) {
        self.stdout.push(bytes);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.stderr.push(bytes);
    }

    fn limit(&self) -> Duration {
        self.limit
    }
}
