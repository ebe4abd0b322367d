//! What to read in a tick, from the database: which series of which nodes, and how to log in.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use crate::clients::jmx::Jvm;
use crate::clients::ssh::{Host, Identity, KnownHosts, Login, Trust};
use crate::collectors::jvm::JvmProfiles;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::counter::Counter;
use crate::models::node::{self, Node};
use crate::models::ssh_profile::{SshProfile, jump};
use crate::models::trigger::{self, Trigger};
use crate::models::{
    ClusterId, CounterId, CounterKind, HostKeyPolicy, JvmProfileId, NodeId, NodeState, SshProfileId,
};
use crate::samples::SeriesKey;
use crate::vault::Vault;

/// A node and what is to be read on it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// How to reach it over SSH; an error where the profile cannot be used, none where the node has no profile.
    pub ssh: Option<Result<Host, String>>,
    /// How to reach its JVMs; an error where a profile cannot be used.
    pub jvms: Vec<(JvmProfileId, Result<Arc<Jvm>, String>)>,
    /// Its due series.
    pub reads: Vec<ToRead>,
}

/// One series to read.
#[derive(Debug, Clone)]
pub struct ToRead {
    /// The series.
    pub key: SeriesKey,
    /// Its counter.
    pub counter: Arc<CounterSpec>,
}

/// What a collector needs to know of a counter.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterSpec {
    /// Its row.
    pub id: CounterId,
    /// Its name.
    pub name: String,
    /// Time limit of one reading.
    pub timeout: Duration,
    /// Seconds between two readings; none = every tick.
    pub every_secs: Option<i64>,
    /// What to read.
    pub source: Source,
}

/// Where a counter's number comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// What a script prints.
    Script(String),
    /// An attribute of an MBean of each of the node's JVMs.
    Jmx {
        /// The MBean's name.
        mbean: String,
        /// The attribute's name.
        attribute: String,
        /// A member of it, nested with dots.
        key: Option<String>,
    },
}

#[derive(Deserialize)]
struct ScriptSettings {
    script: String,
}

#[derive(Deserialize)]
struct JmxSettings {
    mbean: String,
    attribute: String,
    key: Option<String>,
}

impl CounterSpec {
    fn new(counter: &Counter) -> Result<Self> {
        let damaged =
            |cause| Error::internal(format!("settings of counter \"{}\"", counter.name), cause);
        let source = match counter.kind {
            CounterKind::Ssh | CounterKind::Local => {
                let settings: ScriptSettings =
                    serde_json::from_str(&counter.settings).map_err(damaged)?;
                Source::Script(settings.script)
            }
            CounterKind::Jmx => {
                let JmxSettings {
                    mbean,
                    attribute,
                    key,
                } = serde_json::from_str(&counter.settings).map_err(damaged)?;
                Source::Jmx {
                    mbean,
                    attribute,
                    key,
                }
            }
        };
        Ok(Self {
            id: counter.id,
            name: counter.name.clone(),
            timeout: Duration::from_secs(u64::try_from(counter.timeout_secs).unwrap_or(1).max(1)),
            every_secs: counter.every_secs,
            source,
        })
    }

    /// Its script; empty where it has none.
    pub(super) fn script(&self) -> &str {
        match &self.source {
            Source::Script(text) => text,
            Source::Jmx { .. } => "",
        }
    }
}

/// The series of every node in service whose counters a trigger of its cluster uses, enabled or not; whenever they are due.
pub(super) fn all(conn: &mut Connection, vault: &Vault) -> Result<Vec<Target>> {
    let used = used_counters(conn)?;
    let logins = logins(conn, vault)?;
    let jvms = jvms_of_nodes(conn, vault)?;
    let mut targets = Vec::new();
    for node in Node::all(conn)? {
        if node.state != NodeState::InService {
            continue;
        }
        let counters = used
            .get(&node.cluster_id)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let target = target(&node, counters, &logins, &jvms);
        if !target.reads.is_empty() {
            targets.push(target);
        }
    }
    Ok(targets)
}

/// One counter on one node, due or not; without series where the counter is not read on this node.
///
/// # Errors
/// The database fails.
pub fn load_one(
    conn: &mut Connection,
    vault: &Vault,
    node: NodeId,
    counter: CounterId,
) -> Result<Target> {
    let node = Node::find(conn, node)?;
    let counter = Counter::find(conn, counter)?;
    let spec = Arc::new(CounterSpec::new(&counter)?);
    let logins = logins(conn, vault)?;
    let jvms = jvms_of_nodes(conn, vault)?;
    Ok(target(&node, &[(counter, spec)], &logins, &jvms))
}

/// How to reach a node over SSH.
///
/// # Errors
/// It has no profile, or the profile cannot be used; the message says why.
pub fn host_of(conn: &mut Connection, vault: &Vault, node: &Node) -> Result<Host> {
    let Some(profile) = node.ssh_profile_id else {
        return Err(Error::Conflict(format!(
            "node \"{}\" has no ssh profile",
            node.name
        )));
    };
    let profile = SshProfile::find(conn, profile)?;
    let (port, login) = login(conn, vault, &profile).map_err(|what| Error::Upstream {
        what,
        retryable: false,
    })?;
    Ok(Host {
        address: node.address.clone(),
        port,
        login,
    })
}

type Used = (Counter, Arc<CounterSpec>);
type Logins = HashMap<SshProfileId, Result<(u16, Arc<Login>), String>>;
/// The JVMs of nodes, and how they are reached.
struct Jvms {
    of_nodes: HashMap<NodeId, Vec<JvmProfileId>>,
    profiles: JvmProfiles,
}

fn target(node: &Node, counters: &[Used], logins: &Logins, jvms: &Jvms) -> Target {
    let Jvms { of_nodes, profiles } = jvms;
    let jvms = of_nodes
        .get(&node.id)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let reads = counters.iter().flat_map(|(counter, spec)| {
        SeriesKey::of(counter, node, jvms).map(|key| ToRead {
            key,
            counter: Arc::clone(spec),
        })
    });
    let login = node.ssh_profile_id.and_then(|id| logins.get(&id));
    Target {
        node: node.id,
        name: node.name.clone(),
        ssh: login.map(|login| {
            login.clone().map(|(port, login)| Host {
                address: node.address.clone(),
                port,
                login,
            })
        }),
        jvms: jvms
            .iter()
            .map(|id| (*id, profiles.jvm(node, *id)))
            .collect(),
        reads: reads.collect(),
    }
}

/// The counters that triggers use, by the clusters of those.
fn used_counters(conn: &mut Connection) -> Result<HashMap<ClusterId, Vec<Used>>> {
    let mut counters = HashMap::new();
    for counter in Counter::all(conn)? {
        let spec = Arc::new(CounterSpec::new(&counter)?);
        counters.insert(counter.id, (counter, spec));
    }
    let clusters: HashMap<_, _> = Trigger::all(conn)?
        .into_iter()
        .map(|trigger| (trigger.id, trigger.cluster_id))
        .collect();
    let pairs: BTreeSet<(ClusterId, CounterId)> = trigger::counters_of_triggers(conn)?
        .into_iter()
        .filter_map(|(trigger, counter)| Some((*clusters.get(&trigger)?, counter)))
        .collect();
    let mut used: HashMap<ClusterId, Vec<Used>> = HashMap::new();
    for (cluster, counter) in pairs {
        if let Some(counter) = counters.get(&counter) {
            used.entry(cluster).or_default().push(counter.clone());
        }
    }
    Ok(used)
}

/// Whether a counter's own period falls on a tick; without one it is due at each.
pub fn is_due(every_secs: Option<i64>, tick_ms: i64) -> bool {
    match every_secs {
        Some(every) if every > 0 => tick_ms.rem_euclid(every.saturating_mul(1000)) == 0,
        _ => true,
    }
}

fn jvms_of_nodes(conn: &mut Connection, vault: &Vault) -> Result<Jvms> {
    let mut of_nodes: HashMap<NodeId, Vec<JvmProfileId>> = HashMap::new();
    for (node, jvm) in node::jvm_profiles_of_nodes(conn)? {
        of_nodes.entry(node).or_default().push(jvm);
    }
    Ok(Jvms {
        of_nodes,
        profiles: JvmProfiles::load(conn, vault)?,
    })
}

fn logins(conn: &mut Connection, vault: &Vault) -> Result<Logins> {
    Ok(SshProfile::all(conn)?
        .iter()
        .map(|profile| (profile.id, login(conn, vault, profile)))
        .collect())
}

/// The login of a profile. Files that are read here are watched by [`super::plan`], so that a key that was replaced counts soon.
fn login(
    conn: &mut Connection,
    vault: &Vault,
    profile: &SshProfile,
) -> Result<(u16, Arc<Login>), String> {
    let name = &profile.name;
    let port = u16::try_from(profile.port)
        .map_err(|_| format!("ssh profile \"{name}\": {} is no port", profile.port))?;
    let identity = identity(conn, vault, profile)?;
    let trust = match profile.host_keys {
        HostKeyPolicy::FirstUse => Trust::FirstUse,
        HostKeyPolicy::Pinned => Trust::Pinned(Arc::new(pinned(profile)?)),
    };
    let limit = profile.connect_timeout_secs.map(i64::unsigned_abs);
    let limit = limit.map(Duration::from_secs);
    let via = match &profile.proxy_jump {
        Some(text) => {
            let (user, host, port) = jump(text)
                .ok_or_else(|| format!("ssh profile \"{name}\": {text:?} is no jump host"))?;
            let user = user.unwrap_or(&profile.login);
            Some(Host {
                address: host.to_owned(),
                port: port.unwrap_or(22),
                login: Arc::new(
                    Login::with(user, identity.clone(), trust.clone(), None).within(limit),
                ),
            })
        }
        None => None,
    };
    let login = Login::with(&profile.login, identity, trust, via).within(limit);
    Ok((port, Arc::new(login)))
}

fn identity(
    conn: &mut Connection,
    vault: &Vault,
    profile: &SshProfile,
) -> Result<Identity, String> {
    let name = &profile.name;
    if profile.agent {
        return Ok(Identity::Agent);
    }
    let mut secret = |id, what| {
        let got = vault.get(conn, id);
        got.map_err(|cause| format!("ssh profile \"{name}\": its {what}: {cause}"))
    };
    let key = match (profile.private_key_secret, &profile.private_key_file) {
        (Some(id), _) => secret(id, "private key")?,
        (None, Some(file)) => SecretString::from(read(name, "private key", file)?),
        (None, None) => return Err(format!("ssh profile \"{name}\" has no private key")),
    };
    let passphrase = match (profile.passphrase_secret, &profile.passphrase_env) {
        (Some(id), _) => Some(secret(id, "passphrase")?),
        (None, Some(variable)) => {
            let text = std::env::var(variable).map_err(|cause| {
                format!("ssh profile \"{name}\": its passphrase in {variable}: {cause}")
            })?;
            Some(SecretString::from(text))
        }
        (None, None) => None,
    };
    let certificate = profile.certificate_file.as_ref();
    let certificate = certificate.map(|file| read(name, "certificate", file));
    Ok(Identity::Key {
        key,
        passphrase,
        certificate: certificate.transpose()?,
    })
}

fn pinned(profile: &SshProfile) -> Result<KnownHosts, String> {
    let name = &profile.name;
    let mut text = profile.known_hosts.clone().unwrap_or_default();
    if let Some(file) = &profile.known_hosts_file {
        text.push('\n');
        text.push_str(&read(name, "known_hosts", file)?);
    }
    KnownHosts::parse(&text).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        format!("ssh profile \"{name}\": known_hosts: {}", faults.join("; "))
    })
}

fn read(profile: &str, what: &str, file: &str) -> Result<String, String> {
    fs::read_to_string(file).map_err(|cause| {
        format!("ssh profile \"{profile}\": its {what} file {file} cannot be read: {cause}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_due_when_its_period_falls_on_the_tick() {
        let minute = 60_000;
        let cases = [
            (None, minute, true),
            (None, minute + 1000, true),
            (Some(60), 5 * minute, true),
            (Some(300), 5 * minute, true),
            (Some(300), 6 * minute, false),
            (Some(1), 1000, true),
            (Some(2), 1000, false),
        ];
        for (every, tick, due) in cases {
            assert_eq!(is_due(every, tick), due, "{every:?} at {tick}");
        }
    }
}
