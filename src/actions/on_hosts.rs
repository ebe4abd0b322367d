//! What a step that worked on several hosts reports, whatever it did there.

use serde_json::Value;

use super::{Entry, Host, Outcome, Outputs, Reached, Report};
use crate::clients::{ExecOutput, Exit};
use crate::error::{Error, Result};

/// Characters of a host's output that later steps may use.
const MAX_OUTPUT_VALUE: usize = 4 * 1024;

/// What came back from one host; `what` ran there, such as "the script".
pub(super) fn entry(host: &Host, what: &str, result: Result<ExecOutput>) -> Entry {
    let subject = host.name.clone();
    let address = Some(host.address.clone());
    match result {
        Ok(output) => Entry {
            subject,
            address,
            succeeded: output.success(),
            stdout: output.stdout_text(),
            stderr: output.stderr_text(),
            status: match output.status {
                Exit::Status(status) => Some(status),
                _ => None,
            },
            error: match &output.status {
                Exit::Status(_) => None,
                other => Some(format!("{what} {other}")),
            },
            truncated: output.truncated,
            took_ms: i64::try_from(output.took.as_millis()).unwrap_or(i64::MAX),
            reached: Reached::Answer,
        },
        Err(cause) => Entry {
            subject,
            address,
            error: Some(cause.to_string()),
            reached: match cause {
                Error::Upstream {
                    retryable: true, ..
                } => Reached::Nothing,
                Error::Upstream { .. } => Reached::Begun,
                _ => Reached::Answer,
            },
            ..Entry::default()
        },
    }
}

/// The outcome of all hosts: one failed host fails the step. What a script itself answered is final; hosts that could not be reached, or
/// were lost sight of, may be there again in a moment.
pub(super) fn outcome(entries: Vec<Entry>, what: &str) -> Outcome {
    let failed: Vec<_> = entries.iter().filter(|entry| !entry.succeeded).collect();
    let fault = (!failed.is_empty()).then(|| Error::Upstream {
        what: failure(&failed, entries.len(), what),
        retryable: failed.iter().all(|entry| entry.reached != Reached::Answer),
    });
    let harmless = entries
        .iter()
        .all(|entry| !entry.succeeded && entry.reached == Reached::Nothing);
    let mut outputs = Outputs::new();
    outputs.insert("hosts".into(), entries.len().into());
    outputs.insert("failed".into(), failed.len().into());
    let names: Vec<_> = entries.iter().map(|entry| entry.subject.as_str()).collect();
    outputs.insert("nodes".into(), Value::String(names.join(" ")));
    if let [only] = entries.as_slice() {
        let text: String = only
            .stdout
            .trim_end()
            .chars()
            .take(MAX_OUTPUT_VALUE)
            .collect();
        outputs.insert("output".into(), text.into());
        outputs.insert("status".into(), only.status.into());
        outputs.insert("node".into(), only.subject.clone().into());
        outputs.insert("address".into(), only.address.clone().into());
    }
    Outcome {
        outputs,
        report: Report(entries),
        fault,
        harmless,
    }
}

fn failure(failed: &[&Entry], hosts: usize, what: &str) -> String {
    const NAMED: usize = 5;
    let told: Vec<String> = failed
        .iter()
        .take(NAMED)
        .map(|entry| match (&entry.error, entry.status) {
            (Some(error), _) => format!("{}: {error}", entry.subject),
            (None, Some(status)) => format!("{}: exit status {status}", entry.subject),
            (None, None) => entry.subject.clone(),
        })
        .collect();
    let more = match failed.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "{what} failed on {} of {hosts} {}: {}{more}",
        failed.len(),
        if hosts == 1 { "host" } else { "hosts" },
        told.join("; ")
    )
}
