//! Who uses a definition: asked before a deletion, and shown on the definition's page.
//!
//! Rows refer to each other by id. An action's settings are JSON and name what they use, under the same keys whatever the kind
//! ([`named_in_settings`]); there are few actions, so they are read rather than searched as text.

use std::fmt;

use diesel::prelude::*;
use serde_json::{Map, Value};

use crate::db::Connection;
use crate::error::Result;
use crate::models::action::Action;
use crate::models::{
    ActionId, ClusterId, CounterId, Ec2ProfileId, JvmProfileId, RunId, RunState, SecretId,
    SshProfileId, StepTarget,
};
use crate::schema::{
    actions, clusters, ec2_profiles, jvm_profiles, node_jvm_profiles, nodes, runs, ssh_profiles,
    step_runs, steps, trigger_counters, triggers,
};

/// A run in one of these states may still act.
pub const OPEN: [RunState; 4] = [
    RunState::Queued,
    RunState::Running,
    RunState::Waiting,
    RunState::Stuck,
];

/// One user of a definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// What kind of thing it is: `node`.
    pub noun: &'static str,
    /// Its name; a run's id.
    pub name: String,
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} \"{}\"", self.noun, self.name)
    }
}

/// A definition that an action's settings name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<'a> {
    /// Where in the settings: `jvm_profiles[1]`.
    pub path: String,
    /// What kind of thing is named: `jvm profile`.
    pub noun: &'static str,
    /// Its name.
    pub name: &'a str,
}

/// What an action's settings name, whatever its kind: `ssh_profile`, `ec2_profile`, `jvm_profiles` and `select: lowest:<counter>`.
pub fn named_in_settings(settings: &Map<String, Value>) -> Vec<Named<'_>> {
    let mut found = Vec::new();
    for (key, noun) in [
        ("ssh_profile", "ssh profile"),
        ("ec2_profile", "ec2 profile"),
    ] {
        if let Some(name) = settings.get(key).and_then(Value::as_str) {
            let path = key.to_owned();
            found.push(Named { path, noun, name });
        }
    }
    let profiles = settings.get("jvm_profiles").and_then(Value::as_array);
    for (position, name) in profiles.into_iter().flatten().enumerate() {
        if let Some(name) = name.as_str() {
            found.push(Named {
                path: format!("jvm_profiles[{position}]"),
                noun: "jvm profile",
                name,
            });
        }
    }
    let select = settings.get("select").and_then(Value::as_str);
    if let Some(name) = select.and_then(|select| select.strip_prefix("lowest:")) {
        found.push(Named {
            path: "select".into(),
            noun: "counter",
            name,
        });
    }
    found
}

/// Who logs in with an SSH profile.
///
/// # Errors
/// The database fails.
pub fn of_ssh_profile(conn: &mut Connection, id: SshProfileId, name: &str) -> Result<Vec<Use>> {
    let mut users = by_noun(
        "node",
        nodes::table
            .filter(nodes::ssh_profile_id.eq(id))
            .order(nodes::name)
            .select(nodes::name)
            .load(conn)?,
    );
    users.extend(actions_naming(conn, "ssh profile", name)?);
    Ok(users)
}

/// Which nodes carry a JVM of a profile.
///
/// # Errors
/// The database fails.
pub fn of_jvm_profile(conn: &mut Connection, id: JvmProfileId, name: &str) -> Result<Vec<Use>> {
    let carriers = node_jvm_profiles::table
        .filter(node_jvm_profiles::jvm_profile_id.eq(id))
        .select(node_jvm_profiles::node_id);
    let mut users = by_noun(
        "node",
        nodes::table
            .filter(nodes::id.eq_any(carriers))
            .order(nodes::name)
            .select(nodes::name)
            .load(conn)?,
    );
    users.extend(actions_naming(conn, "jvm profile", name)?);
    Ok(users)
}

/// Who launches, or was launched, from an EC2 profile.
///
/// # Errors
/// The database fails.
pub fn of_ec2_profile(conn: &mut Connection, id: Ec2ProfileId, name: &str) -> Result<Vec<Use>> {
    let mut users = by_noun(
        "node",
        nodes::table
            .filter(nodes::ec2_profile_id.eq(id))
            .order(nodes::name)
            .select(nodes::name)
            .load(conn)?,
    );
    users.extend(actions_naming(conn, "ec2 profile", name)?);
    Ok(users)
}

/// A cluster's nodes, its triggers, and the runs that still act on it.
///
/// # Errors
/// The database fails.
pub fn of_cluster(conn: &mut Connection, id: ClusterId) -> Result<Vec<Use>> {
    let mut users = by_noun(
        "node",
        nodes::table
            .filter(nodes::cluster_id.eq(id))
            .order(nodes::name)
            .select(nodes::name)
            .load(conn)?,
    );
    users.extend(by_noun(
        "trigger",
        triggers::table
            .filter(triggers::cluster_id.eq(id))
            .order(triggers::name)
            .select(triggers::name)
            .load(conn)?,
    ));
    let open: Vec<RunId> = runs::table
        .filter(runs::cluster_id.eq(id))
        .filter(runs::state.eq_any(OPEN))
        .order(runs::id)
        .select(runs::id)
        .load(conn)?;
    users.extend(by_noun("run", open.iter().map(RunId::to_string).collect()));
    Ok(users)
}

/// The open runs that have a node as the target of a step.
///
/// # Errors
/// The database fails.
pub fn of_node(conn: &mut Connection, name: &str) -> Result<Vec<Use>> {
    let on_node = open_runs(conn)?
        .into_iter()
        .filter(|(noun, target, _)| *noun == "node" && target == name);
    Ok(by_noun(
        "run",
        on_node.map(|(_, _, run)| run.to_string()).collect(),
    ))
}

/// Which triggers watch a counter, and which actions choose a node by it.
///
/// # Errors
/// The database fails.
pub fn of_counter(conn: &mut Connection, id: CounterId, name: &str) -> Result<Vec<Use>> {
    let watching = trigger_counters::table
        .filter(trigger_counters::counter_id.eq(id))
        .select(trigger_counters::trigger_id);
    let mut users = by_noun(
        "trigger",
        triggers::table
            .filter(triggers::id.eq_any(watching))
            .order(triggers::name)
            .select(triggers::name)
            .load(conn)?,
    );
    users.extend(actions_naming(conn, "counter", name)?);
    Ok(users)
}

/// Which triggers have an action as a step.
///
/// # Errors
/// The database fails.
pub fn of_action(conn: &mut Connection, id: ActionId) -> Result<Vec<Use>> {
    let with_step = steps::table
        .filter(steps::action_id.eq(id))
        .select(steps::trigger_id);
    Ok(by_noun(
        "trigger",
        triggers::table
            .filter(triggers::id.eq_any(with_step))
            .order(triggers::name)
            .select(triggers::name)
            .load(conn)?,
    ))
}

/// Which profiles log in with a secret.
///
/// # Errors
/// The database fails.
pub fn of_secret(conn: &mut Connection, id: SecretId) -> Result<Vec<Use>> {
    let mut users = by_noun(
        "ssh profile",
        ssh_profiles::table
            .filter(
                ssh_profiles::private_key_secret
                    .eq(id)
                    .or(ssh_profiles::passphrase_secret.eq(id)),
            )
            .order(ssh_profiles::name)
            .select(ssh_profiles::name)
            .load(conn)?,
    );
    users.extend(by_noun(
        "jvm profile",
        jvm_profiles::table
            .filter(jvm_profiles::password_secret.eq(id))
            .order(jvm_profiles::name)
            .select(jvm_profiles::name)
            .load(conn)?,
    ));
    users.extend(by_noun(
        "ec2 profile",
        ec2_profiles::table
            .filter(ec2_profiles::secret_access_key_secret.eq(id))
            .order(ec2_profiles::name)
            .select(ec2_profiles::name)
            .load(conn)?,
    ));
    Ok(users)
}

/// What open runs act on: (`cluster` or `node`, its name, the run).
///
/// # Errors
/// The database fails.
pub fn open_runs(conn: &mut Connection) -> Result<Vec<(&'static str, String, RunId)>> {
    let on_clusters: Vec<(String, RunId)> = runs::table
        .inner_join(clusters::table)
        .filter(runs::state.eq_any(OPEN))
        .order(runs::id)
        .select((clusters::name, runs::id))
        .load(conn)?;
    let on_nodes: Vec<(Option<String>, RunId)> = step_runs::table
        .inner_join(runs::table)
        .filter(step_runs::target.eq_any([StepTarget::Node, StepTarget::LastNode]))
        .filter(runs::state.eq_any(OPEN))
        .order(runs::id)
        .select((step_runs::target_name, runs::id))
        .distinct()
        .load(conn)?;
    let on_clusters = on_clusters
        .into_iter()
        .map(|(name, run)| ("cluster", name, run));
    let on_nodes = on_nodes
        .into_iter()
        .filter_map(|(name, run)| Some(("node", name?, run)));
    Ok(on_clusters.chain(on_nodes).collect())
}

fn by_noun(noun: &'static str, names: Vec<String>) -> Vec<Use> {
    names.into_iter().map(|name| Use { noun, name }).collect()
}

fn actions_naming(conn: &mut Connection, noun: &str, name: &str) -> Result<Vec<Use>> {
    let rows: Vec<Action> = actions::table.order(actions::name).load(conn)?;
    let naming = rows.into_iter().filter(|row| {
        // Settings that are no JSON name nothing; whoever runs the action reports them.
        let settings: Map<String, Value> = serde_json::from_str(&row.settings).unwrap_or_default();
        named_in_settings(&settings)
            .iter()
            .any(|named| named.noun == noun && named.name == name)
    });
    Ok(by_noun("action", naming.map(|row| row.name).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::db::Db;
    use crate::models::action::NewAction;

    fn action(conn: &mut Connection, name: &str, settings: &str) {
        let new = NewAction {
            name: name.into(),
            kind: "DeployEc2Node".into(),
            settings: settings.into(),
            timeout_secs: None,
            retries: None,
            updated_ms: 0,
        };
        Action::insert(conn, &new).unwrap();
    }

    #[test]
    fn settings_name_profiles_and_a_counter_to_choose_by() {
        let settings = json!({
            "ssh_profile": "ops", "ec2_profile": "small", "jvm_profiles": ["tomcat", "worker"],
            "select": "lowest:load1", "script": "ssh_profile",
        });
        let found = named_in_settings(settings.as_object().unwrap());
        let found: Vec<_> = found
            .iter()
            .map(|n| format!("{} {} {}", n.path, n.noun, n.name))
            .collect();
        assert_eq!(
            found,
            [
                "ssh_profile ssh profile ops",
                "ec2_profile ec2 profile small",
                "jvm_profiles[0] jvm profile tomcat",
                "jvm_profiles[1] jvm profile worker",
                "select counter load1",
            ]
        );
        let none = json!({"select": "newest", "ssh_profile": 5, "jvm_profiles": "tomcat"});
        assert!(named_in_settings(none.as_object().unwrap()).is_empty());
    }

    #[test]
    fn an_action_that_names_a_definition_is_its_user() {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!(
            "sqlite://{}",
            folder.path().join("a.db").display()
        ))
        .unwrap();
        let conn = &mut *db.connection().unwrap();
        action(
            conn,
            "add",
            r#"{"ssh_profile": "ops", "jvm_profiles": ["tomcat"]}"#,
        );
        action(conn, "remove", r#"{"select": "lowest:load1"}"#);
        action(conn, "damaged", "no json");
        let shown = |users: Result<Vec<Use>>| -> Vec<String> {
            users.unwrap().iter().map(Use::to_string).collect()
        };
        assert_eq!(
            shown(of_ssh_profile(conn, SshProfileId(1), "ops")),
            ["action \"add\""]
        );
        assert_eq!(
            shown(of_jvm_profile(conn, JvmProfileId(1), "tomcat")),
            ["action \"add\""]
        );
        assert_eq!(
            shown(of_counter(conn, CounterId(1), "load1")),
            ["action \"remove\""]
        );
        assert!(shown(of_ec2_profile(conn, Ec2ProfileId(1), "ops")).is_empty());
        assert!(shown(of_secret(conn, SecretId(1))).is_empty());
    }
}
