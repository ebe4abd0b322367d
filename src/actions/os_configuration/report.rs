//! What `puppet apply` did, from its exit status, its summary and its log.

use serde::Deserialize;

use crate::actions::Entry;

/// Failed resources that an error names.
const NAMED: usize = 5;

/// What was done on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Applied {
    /// Resources that were changed.
    pub changed: u64,
    /// Resources that could not be brought to what the manifest says.
    pub failed: u64,
}

/// The part of puppet's `last_run_summary.yaml` that matters here.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Summary {
    resources: Resources,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Resources {
    changed: u64,
    failed: u64,
    failed_to_restart: u64,
    skipped: u64,
}

/// Reads what came back from a node, and turns the entry into what a person wants to know. The log is on standard output, the summary on
/// standard error.
pub(super) fn read(entry: &mut Entry) -> Applied {
    let (said, yaml) = split(&entry.stderr);
    // A run that did not come to its end leaves no summary.
    let summary: Summary = yaml
        .and_then(|yaml| serde_saphyr::from_str(yaml).ok())
        .unwrap_or_default();
    let Resources {
        changed,
        failed,
        failed_to_restart,
        skipped,
    } = summary.resources;
    let applied = Applied {
        changed,
        failed: failed + failed_to_restart,
    };
    let said = said.to_owned();
    let yaml_there = yaml.is_some();
    if yaml_there {
        entry.stderr = format!(
            "{said}{changed} resources changed, {} failed, {skipped} skipped",
            applied.failed
        );
    }
    let Some(status) = entry.status else {
        return applied;
    };
    // Shells end with 2 as well; only a summary shows that it was puppet.
    entry.succeeded = matches!(status, 0 | 2) && yaml_there;
    if !entry.succeeded {
        entry.error = Some(fault(status, &said, &entry.stdout, &applied));
    }
    applied
}

/// What was said on standard error, and the summary that follows it.
fn split(stderr: &str) -> (&str, Option<&str>) {
    let begin = if stderr.starts_with("---\n") {
        Some(0)
    } else {
        stderr.find("\n---\n").map(|at| at + 1)
    };
    match begin {
        Some(at) => {
            let (said, yaml) = stderr.split_at(at);
            (said, Some(yaml))
        }
        None => (stderr, None),
    }
}

fn fault(status: i32, said: &str, log: &str, applied: &Applied) -> String {
    let own = said
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("headroom: "));
    let sudo = said.lines().rev().find(|line| line.starts_with("sudo: "));
    match (status, own, sudo) {
        (_, Some(own), _) => own.to_owned(),
        (1, None, Some(sudo)) => format!(
            "root is needed, and sudo refuses: {sudo}; let the user of the ssh profile run sudo without a password"
        ),
        (4 | 6, ..) => format!("{} resources failed{}", applied.failed, named(&failed(log))),
        (124 | 137 | 143, ..) => "was stopped on the node at the time limit".into(),
        (127, ..) => format!(
            "the node lacks a program that is needed (timeout or sudo): {}",
            said.trim()
        ),
        _ => {
            let last = log
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("Error: "))
                .unwrap_or(said.trim());
            format!("puppet ended with status {status}: {last}")
        }
    }
}

fn named(resources: &[&str]) -> String {
    let told: Vec<_> = resources.iter().take(NAMED).copied().collect();
    match (told.is_empty(), resources.len().saturating_sub(NAMED)) {
        (true, _) => String::new(),
        (false, 0) => format!(": {}", told.join(", ")),
        (false, more) => format!(": {} and {more} more", told.join(", ")),
    }
}

/// The resources that the log has errors of, each once: `Error: /Stage[main]/Main/File[/etc/app.conf]/ensure: change … failed: …`.
fn failed(log: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in log.lines() {
        let resource = line
            .strip_prefix("Error: /Stage[")
            .and_then(|_| resource(line));
        found.extend(resource.filter(|name| !found.contains(name)));
    }
    found
}

/// The last `Type[title]` of a path; titles hold slashes themselves.
fn resource(line: &str) -> Option<&str> {
    let path = line.strip_prefix("Error: /")?;
    let (mut depth, mut begin, mut last) = (0_u32, 0, None);
    for (at, c) in path.char_indices() {
        match c {
            '[' => depth += 1,
            ']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    last = path.get(begin..=at);
                }
            }
            '/' if depth == 0 => begin = at + 1,
            ':' if depth == 0 && path.get(at + 1..)?.starts_with(' ') => break,
            _ => {}
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "Notice: Compiled catalog for web01 in environment production in 0.03 seconds\n\
        Notice: /Stage[main]/Main/File[/tmp/a]/ensure: created\n\
        Error: Could not set 'file' on ensure: No such file or directory (file: /tmp/x/manifest.pp, line: 3)\n\
        Error: /Stage[main]/Main/File[/no/dir/x]/ensure: change from 'absent' to 'file' failed: Could not set 'file' on ensure\n\
        Error: /Stage[main]/Base::Time/Exec[a: b/c [d]]/returns: change from 'notrun' to ['0'] failed: '/bin/false' returned 1\n\
        Error: /Stage[main]/Main/File[/no/dir/x]/content: again\n";
    const SUMMARY: &str = "---\nversion:\n  config: 1795248258\n  puppet: 7.23.0\nresources:\n  changed: 1\n  failed: 2\n  failed_to_restart: 0\n  \
        skipped: 3\n  total: 11\ntime:\n  exec: 0.015\n";

    fn entry(status: i32, stdout: &str, stderr: &str) -> (Entry, Applied) {
        let mut entry = Entry {
            succeeded: status == 0,
            status: Some(status),
            stdout: stdout.into(),
            stderr: stderr.into(),
            ..Entry::default()
        };
        let applied = read(&mut entry);
        (entry, applied)
    }

    #[test]
    fn changes_are_no_failure_and_are_counted() {
        for status in [0, 2] {
            let (entry, applied) = entry(status, "", &format!("a warning\n{SUMMARY}"));
            assert!(entry.succeeded && entry.error.is_none(), "{status}");
            assert_eq!(
                applied,
                Applied {
                    changed: 1,
                    failed: 2
                }
            );
            assert_eq!(
                entry.stderr,
                "a warning\n1 resources changed, 2 failed, 3 skipped"
            );
        }
    }

    #[test]
    fn failed_resources_are_named_once_each() {
        for status in [4, 6] {
            let (entry, _) = entry(status, LOG, SUMMARY);
            assert!(!entry.succeeded);
            assert_eq!(
                entry.error.unwrap(),
                "2 resources failed: File[/no/dir/x], Exec[a: b/c [d]]"
            );
        }
    }

    #[test]
    fn every_other_end_is_said_in_words() {
        let cases = [
            (
                72,
                "",
                "headroom: puppet is missing, and the action says install_puppet: false\n",
                "puppet is missing, and the action says install_puppet: false",
            ),
            (
                1,
                "",
                "sudo: a password is required\n",
                "root is needed, and sudo refuses: sudo: a password is required; let the user of the ssh profile run sudo without a password",
            ),
            (
                1,
                "Error: Could not parse for environment production: Syntax error at '}' (line: 1)\n",
                "",
                "puppet ended with status 1: Could not parse for environment production: Syntax error at '}' (line: 1)",
            ),
            (124, "", "", "was stopped on the node at the time limit"),
            (
                127,
                "",
                "sh: timeout: not found\n",
                "the node lacks a program that is needed (timeout or sudo): sh: timeout: not found",
            ),
            (6, "", "", "0 resources failed"),
            (
                2,
                "",
                "sh: syntax error",
                "puppet ended with status 2: sh: syntax error",
            ),
            (0, "", "", "puppet ended with status 0: "),
        ];
        for (status, stdout, stderr, said) in cases {
            assert_eq!(entry(status, stdout, stderr).0.error.unwrap(), said);
        }
    }

    #[test]
    fn a_run_without_an_end_keeps_what_is_known() {
        let mut entry = Entry {
            error: Some("puppet was stopped at its time limit".into()),
            ..Entry::default()
        };
        assert_eq!(read(&mut entry), Applied::default());
        assert_eq!(entry.error.unwrap(), "puppet was stopped at its time limit");
    }
}
