//! The command line as a person or a script meets it: what it prints, and with which status it ends.

mod approving;
mod descriptors;
mod keeping;
mod looking;

use std::process::Output;

/// Standard output and standard error together, as a terminal shows them.
fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}
