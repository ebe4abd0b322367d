//! (5) ACT: what an action kind is, and one file per kind.
//!
//! A new kind is one file here, one line in `kinds!` and one partial `templates/actions/<kind>.html`; nothing else knows kinds.

pub mod breaker;
mod cloud;
pub mod ec2;
mod fields;
mod files;
mod hosts;
mod kind;
mod on_hosts;
pub mod plan;
mod report;
mod scope;
mod shell;
mod template;

pub use cloud::{Cloud, Pace, Site};
pub use fields::Fields;
pub use hosts::Nodes;
pub use kind::{
    Action, Attempt, Effect, Facts, Fence, Found, Kind, Outcome, Outputs, Recovery, Settings,
};
pub use report::{Entry, Reached, Report};
pub use scope::{Host, HostRequest, Hosts, Scope, Tools};
pub use template::Names;

use serde_json::Value;

use crate::config::nearest;
use crate::error::{Error, Fault, Result};
use crate::models::StepTarget;

/// How often a step is tried again after a fault that may pass, however long its time limit is.
pub const MOST_RETRIES: i32 = 19;

/// Lists the kinds: each module by the type of its settings, whose name is the kind's name everywhere.
macro_rules! kinds {
    ($($module:ident :: $settings:ident),+ $(,)?) => {
        $(pub mod $module;)+

        /// Every kind, in the order in which pages list them.
        pub const KINDS: &[Kind] = &[$(Kind::of::<$module::$settings>(stringify!($settings))),+];
    };
}

kinds! {
    local_script::LocalScript,
    email::Email,
    distributed_script::DistributedScript,
    os_configuration::OSConfiguration,
    deploy_ec2_node::DeployEc2Node,
    register_ec2_node::RegisterEc2Node,
    remove_ec2_node::RemoveEc2Node,
    docker_scale::DockerScale,
    zabbix_backup::ZabbixBackup,
}

/// The kind of a name.
///
/// # Errors
/// There is none; the message names the nearest one.
pub fn kind(name: &str) -> Result<&'static Kind> {
    find(KINDS, name).ok_or_else(|| Error::invalid("kind", unknown(KINDS, name)))
}

/// The kind of a name, out of a list.
pub fn find(kinds: &'static [Kind], name: &str) -> Option<&'static Kind> {
    kinds.iter().find(|kind| kind.name == name)
}

fn unknown(kinds: &[Kind], name: &str) -> String {
    let names = || kinds.iter().map(|kind| kind.name);
    match nearest(name, names()) {
        Some(near) => format!("\"{name}\" is no action kind; did you mean \"{near}\"?"),
        None => format!(
            "\"{name}\" is no action kind; known are {}",
            names().collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Notes everything that is wrong with the settings of an action, each fault with its path below `path`.
pub fn check_settings(name: &str, settings: &Value, path: &str, faults: &mut Vec<Fault>) {
    match find(KINDS, name) {
        Some(kind) => drop(kind.read(settings, path, faults)),
        None => faults.push(Fault::new(fields::join(path, "kind"), unknown(KINDS, name))),
    }
}

/// What a step of this kind may act on; nothing for an unknown kind.
pub fn allowed_targets(name: &str) -> &'static [StepTarget] {
    find(KINDS, name).map_or(&[], |kind| kind.facts.targets)
}

/// Why a step of this kind may not act on `target`, as a sentence for a person; nothing when it may.
pub fn refuse_target(name: &str, target: StepTarget) -> Option<String> {
    let allowed = find(KINDS, name)?.facts.targets;
    if allowed.contains(&target) {
        return None;
    }
    let words: Vec<_> = allowed.iter().map(|each| each.as_str()).collect();
    Some(format!(
        "must be {} for an action of kind {name}, not {target}",
        words.join(" or ")
    ))
}

/// Nodes that a step of this kind adds (positive) or removes (negative).
pub fn capacity_change(name: &str) -> i32 {
    find(KINDS, name).map_or(0, |kind| kind.facts.capacity_change)
}

/// Whether an action may take capacity away, a node or another: missing data must not lead to it.
pub fn may_shrink(name: &str, settings: &str) -> bool {
    capacity_change(name) < 0 || parse(KINDS, name, settings).is_ok_and(|it| it.may_shrink())
}

/// Whether a kind starts programs on Headroom's own host.
pub fn on_own_host(name: &str) -> bool {
    find(KINDS, name).is_some_and(|kind| kind.facts.on_own_host)
}

/// The time limit, in seconds, of an action that names none.
pub fn default_timeout(name: &str) -> i64 {
    find(KINDS, name).map_or(kind::DEFAULT_TIMEOUT_SECS, |kind| {
        kind.facts.default_timeout_secs
    })
}

/// How a step of this kind is taken back, as a sentence for the run's page; nothing when it cannot be.
pub fn undo(name: &str) -> Option<&'static str> {
    find(KINDS, name)?.facts.undo
}

/// What an action does, in one line for a list; never shows a secret.
pub fn summary(name: &str, settings: &str) -> String {
    match parse(KINDS, name, settings) {
        Ok(action) => action.summary(),
        Err(fault) => format!("cannot be read: {fault}"),
    }
}

/// An action's settings as a fragment of a page, from the kind's partial.
///
/// # Errors
/// The settings are not those of the kind.
pub fn settings_html(name: &str, settings: &str) -> Result<String> {
    parse(KINDS, name, settings)?.html()
}

/// Reads the stored settings of an action.
///
/// # Errors
/// `Invalid` with every fault, when a kind or a setting is not known (any more).
pub fn parse(kinds: &'static [Kind], name: &str, settings: &str) -> Result<Box<dyn Action>> {
    let kind = find(kinds, name).ok_or_else(|| Error::invalid("kind", unknown(kinds, name)))?;
    let settings: Value = serde_json::from_str(settings)
        .map_err(|cause| Error::internal("the settings of an action are damaged", cause))?;
    let mut faults = Vec::new();
    let action = kind.read(&settings, "", &mut faults);
    if faults.is_empty() {
        Ok(action)
    } else {
        Err(Error::Invalid(faults))
    }
}

/// The first line of a text that says something, cut to what a list has room for.
fn first_line(text: &str) -> String {
    const ROOM: usize = 100;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let cut: String = first.chars().take(ROOM).collect();
    if cut.len() < first.len() || lines.next().is_some() {
        format!("{cut} …")
    } else {
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn samples() -> Vec<(&'static str, Value)> {
        let sample = |kind: &Kind| (kind.name, serde_json::from_str(kind.sample).unwrap());
        KINDS.iter().map(sample).collect()
    }

    fn faults(kind: &str, settings: Value) -> Vec<String> {
        let mut faults = Vec::new();
        check_settings(kind, &settings, "actions[1]", &mut faults);
        faults.iter().map(Fault::to_string).collect()
    }

    #[test]
    fn every_kind_reads_its_settings_and_shows_them() {
        for (name, settings) in samples() {
            assert_eq!(faults(name, settings.clone()), [""; 0], "{name}");
            let text = settings.to_string();
            assert!(!summary(name, &text).contains("cannot be read"), "{name}");
            assert!(
                settings_html(name, &text).unwrap().contains("<dl"),
                "{name}"
            );
            let kind = kind(name).unwrap();
            assert!(
                !kind.facts.about.is_empty() && !kind.facts.targets.is_empty(),
                "{name}"
            );
            assert!(default_timeout(name) >= DEFAULT, "{name}");
        }
    }
    const DEFAULT: i64 = 60;

    /// `OSConfiguration` = `os_configuration`, `DeployEc2Node` = `deploy_ec2_node`.
    fn snake_case(name: &str) -> String {
        let chars: Vec<char> = name.chars().collect();
        let mut snake = String::new();
        for (at, c) in chars.iter().enumerate() {
            let after_word = at > 0 && !chars[at - 1].is_ascii_uppercase();
            let before_word = chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
            if at > 0 && c.is_ascii_uppercase() && (after_word || before_word) {
                snake.push('_');
            }
            snake.push(c.to_ascii_lowercase());
        }
        snake
    }

    #[test]
    fn every_kind_is_named_like_its_module() {
        for kind in KINDS {
            let module = snake_case(kind.name);
            let exists = |path: String| {
                std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join(path)
                    .exists()
            };
            assert!(
                exists(format!("src/actions/{module}.rs"))
                    || exists(format!("src/actions/{module}/mod.rs")),
                "the file of {module} is missing"
            );
            assert!(
                exists(format!("templates/actions/{module}.html")),
                "the partial of {module} is missing"
            );
        }
    }

    #[test]
    fn an_unknown_kind_is_refused_with_the_nearest_one() {
        assert_eq!(
            faults("LocalScrpt", json!({})),
            ["actions[1].kind: \"LocalScrpt\" is no action kind; did you mean \"LocalScript\"?"]
        );
        assert!(faults("Zzz", json!({}))[0].contains("known are LocalScript, Email"));
    }

    #[test]
    fn every_fault_of_an_action_is_listed_with_its_path() {
        assert_eq!(
            faults("LocalScript", json!({"scirpt": "x", "repeatable": "yes"})),
            [
                "actions[1].script: is required",
                "actions[1].repeatable: must be true or false, not text",
                "actions[1].scirpt: is not known here; did you mean \"script\"?",
            ]
        );
        assert_eq!(
            faults(
                "Email",
                json!({"address": ["ops@example.org", "nobody", 7], "title": "a\nb", "content": " "})
            ),
            [
                "actions[1].address[2]: must be text, not a number (write it in quotes)",
                "actions[1].content: must not be empty",
                "actions[1].address[1]: \"nobody\" is not a mail address such as ops@example.org or Ops <ops@example.org>",
                "actions[1].title: must be a single line",
            ]
        );
        assert_eq!(
            faults("Email", json!([1])),
            ["actions[1]: the settings must be a mapping of keys to values"]
        );
    }

    #[test]
    fn a_scaling_names_what_and_by_how_much_and_every_contradiction_is_listed() {
        assert_eq!(
            faults("DockerScale", json!({})),
            [
                "actions[1].driver: is required: compose or swarm",
                "actions[1].service: is required",
                "actions[1].by: is required: by how many (by: 1, by: -1), or to how many (to: 5)",
                "actions[1].project: is required for compose",
            ]
        );
        let settings = json!({
            "driver": "swarm", "service": "-x", "file": "compose.yml", "by": 1, "to": 30, "min": 5, "max": 2,
            "host": "10.0.0.1:2376", "tls_ca_file": "/ca.pem", "certificates": "zabbix",
        });
        assert_eq!(
            faults("DockerScale", settings),
            [
                "actions[1].to: excludes by: say one of them",
                "actions[1].tls_key_file: tls_ca_file, tls_cert_file and tls_key_file belong together",
                "actions[1].max: is below min (5)",
                "actions[1].file: is for compose alone: a Swarm knows its services",
                "actions[1].file[0]: must be an absolute path on Headroom's own host",
                "actions[1].service: \"-x\" must be letters, digits, dots, dashes and underscores, and begin with a letter or digit",
                "actions[1].host: \"10.0.0.1:2376\" must begin with unix://, tcp:// or ssh://",
                "actions[1].host: must be a tcp:// address where there are certificates",
            ]
        );
        assert_eq!(
            faults("ZabbixBackup", json!({"dir": "../elsewhere"})),
            ["actions[1].dir: must be a folder inside the data folder, such as zabbix"]
        );
        let shrinks = |change: &str| {
            let settings = format!(r#"{{"driver": "swarm", "service": "x", "max": 5, {change}}}"#);
            may_shrink("DockerScale", &settings)
        };
        assert!(!shrinks(r#""by": 2"#));
        assert!(shrinks(r#""by": -1"#));
        assert!(shrinks(r#""to": 5"#), "there may be more by hand");
        assert!(may_shrink("RemoveEc2Node", "{}") && !may_shrink("DeployEc2Node", "{}"));
        assert_eq!(
            undo("DockerScale").is_some(),
            undo("ZabbixBackup").is_none()
        );
    }

    #[test]
    fn a_mistyped_name_in_a_text_is_refused_before_it_can_fail_at_night() {
        let settings = json!({"address": "{{ steps.find.mail }}", "title": "{{ triger.name }}", "content": "{{ node.name }}"});
        let faults = faults("Email", settings);
        assert!(faults[0].contains("actions[1].title: {{ triger.name }} is not known here; did you mean {{ trigger.name }}?"), "{faults:?}");
        assert!(
            faults[1].contains("{{ node.name }} is not known here"),
            "a mail is for no node: {faults:?}"
        );
        assert_eq!(faults.len(), 2);
    }

    #[test]
    fn a_name_between_single_quotes_of_a_script_is_refused() {
        let faults = faults("LocalScript", json!({"script": "echo '{{ node.name }}'"}));
        assert!(
            faults[0].contains("stands between single quotes"),
            "{faults:?}"
        );
    }

    #[test]
    fn a_kind_acts_on_what_it_says_alone() {
        assert_eq!(refuse_target("LocalScript", StepTarget::LastNode), None);
        assert_eq!(
            refuse_target("LocalScript", StepTarget::None).unwrap(),
            "must be cluster or lastnode or node for an action of kind LocalScript, not none"
        );
        assert!(refuse_target("Email", StepTarget::Cluster).is_some());
    }

    #[test]
    fn a_partial_escapes_what_it_shows() {
        let (name, settings) = &samples()[1];
        let html = settings_html(name, &settings.to_string()).unwrap();
        assert!(
            html.contains("&#60;b&#62;why") && !html.contains("<b>"),
            "{html}"
        );
    }

    #[test]
    fn a_summary_is_one_short_line() {
        assert_eq!(
            summary("LocalScript", r#"{"script": "\n  uptime\ndate"}"#),
            "uptime …"
        );
        assert_eq!(
            summary("LocalScript", "{}"),
            "cannot be read: script: is required"
        );
        assert_eq!(
            summary("Email", &samples()[1].1.to_string()),
            "to a@example.org, B <b@example.org>: {{ trigger.name }} fired"
        );
    }
}
