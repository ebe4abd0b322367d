//! How the JVMs of nodes are reached, from their profiles.

use std::collections::HashMap;
use std::env;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;

use crate::clients::jmx::{Address, Jvm, Tls, Way};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::jvm_profile::JvmProfile;
use crate::models::node::{self, Node};
use crate::models::{JmxTransport, JvmProfileId};
use crate::vault::Vault;

/// Where a Jolokia agent answers as a rule.
const JOLOKIA_PATH: &str = "/jolokia";

/// Profiles with what they need to be used: passwords and certificates.
#[derive(Debug, Default)]
pub(super) struct JvmProfiles {
    profiles: HashMap<JvmProfileId, Result<Usable, String>>,
}

#[derive(Debug)]
struct Usable {
    profile: JvmProfile,
    login: Option<(String, SecretString)>,
    tls: Option<Tls>,
}

impl JvmProfiles {
    /// Every profile. Files and variables are read anew each time: a password that was replaced counts from the next tick.
    pub(super) fn load(conn: &mut Connection, vault: &Vault) -> Result<Self> {
        let all = JvmProfile::all(conn)?.into_iter();
        let profiles = all.map(|profile| {
            let (id, name) = (profile.id, profile.name.clone());
            let usable = usable(conn, vault, profile);
            (
                id,
                usable.map_err(|why| format!("jvm profile \"{name}\": {why}")),
            )
        });
        Ok(Self {
            profiles: profiles.collect(),
        })
    }

    /// The JVM of a node that a profile leads to.
    pub(super) fn jvm(&self, node: &Node, id: JvmProfileId) -> Result<Arc<Jvm>, String> {
        match self.profiles.get(&id) {
            Some(Ok(usable)) => usable.jvm(&node.address),
            Some(Err(why)) => Err(why.clone()),
            None => Err("its jvm profile is gone".into()),
        }
    }
}

/// The JVM of a node that a profile leads to, for a person who looks at it.
///
/// # Errors
/// The node does not have that profile, or the profile cannot be used; the message says why.
pub fn jvm_of(
    conn: &mut Connection,
    vault: &Vault,
    node: &Node,
    profile: &JvmProfile,
) -> Result<Arc<Jvm>> {
    let used = node::jvm_profiles_of_nodes(conn)?;
    if !used.contains(&(node.id, profile.id)) {
        let (node, profile) = (&node.name, &profile.name);
        return Err(Error::NotFound(format!(
            "jvm profile \"{profile}\" of node \"{node}\""
        )));
    }
    let refused = |why| Error::Upstream {
        what: format!("jvm profile \"{}\": {why}", profile.name),
        retryable: false,
    };
    let usable = usable(conn, vault, profile.clone()).map_err(refused)?;
    usable.jvm(&node.address).map_err(refused)
}

fn usable(conn: &mut Connection, vault: &Vault, profile: JvmProfile) -> Result<Usable, String> {
    let password = match (profile.password_secret, &profile.password_env) {
        (Some(secret), _) => Some(
            vault
                .get(conn, secret)
                .map_err(|cause| format!("its password: {cause}"))?,
        ),
        (None, Some(variable)) => {
            let password = env::var(variable).map_err(|_| {
                format!("the environment variable {variable}, which should hold its password, is not set for Headroom")
            })?;
            Some(SecretString::from(password))
        }
        (None, None) => None,
    };
    let tls = match (&profile.ca_file, profile.tls) {
        (_, false) => None,
        (None, true) => Some(Tls::system()?),
        (Some(file), true) => {
            let read = Tls::from_file(Path::new(file));
            Some(read.map_err(|why| format!("its ca_file {file} cannot be used: {why}"))?)
        }
    };
    Ok(Usable {
        login: profile.login.clone().zip(password),
        tls,
        profile,
    })
}

impl Usable {
    fn jvm(&self, address: &str) -> Result<Arc<Jvm>, String> {
        let way = way(&self.profile, address)?;
        Ok(Arc::new(Jvm::new(
            way,
            self.login.clone(),
            self.tls.clone(),
        )))
    }
}

fn way(profile: &JvmProfile, address: &str) -> Result<Way, String> {
    let port = |port: i32| u16::try_from(port).map_err(|_| format!("{port} is no port"));
    Ok(match (profile.transport, &profile.url, profile.port) {
        (JmxTransport::Rmi, Some(url), _) => Way::Rmi(Address::parse(url)?),
        (JmxTransport::Rmi, None, Some(number)) => Way::Rmi(Address::new(address, port(number)?)),
        (JmxTransport::Jolokia, Some(url), _) => Way::Jolokia(url.clone()),
        (JmxTransport::Jolokia, None, Some(number)) => {
            let scheme = if profile.tls { "https" } else { "http" };
            let path = profile.path.as_deref().unwrap_or(JOLOKIA_PATH);
            let host = if address.contains(':') {
                format!("[{address}]")
            } else {
                address.to_owned()
            };
            Way::Jolokia(format!("{scheme}://{host}:{}{path}", port(number)?))
        }
        (_, None, None) => return Err("it has neither port nor url".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(transport: JmxTransport, port: Option<i32>, url: Option<&str>) -> JvmProfile {
        JvmProfile {
            id: JvmProfileId(1),
            name: "tomcat".into(),
            port,
            url: url.map(str::to_owned),
            transport,
            path: None,
            login: None,
            password_env: None,
            password_secret: None,
            tls: false,
            ca_file: None,
            updated_ms: 0,
        }
    }

    #[test]
    fn a_port_is_one_of_the_node_and_a_url_stands_for_itself() {
        let rmi = JmxTransport::Rmi;
        let by_port = way(&profile(rmi, Some(9010), None), "10.0.0.1");
        assert_eq!(by_port, Ok(Way::Rmi(Address::new("10.0.0.1", 9010))));
        let url = "service:jmx:rmi:///jndi/rmi://gate:9010/jmxrmi";
        let by_url = way(&profile(rmi, None, Some(url)), "10.0.0.1");
        assert_eq!(by_url, Ok(Way::Rmi(Address::new("gate", 9010))));
    }

    #[test]
    fn a_jolokia_agent_is_reached_by_http_or_https() {
        let jolokia = JmxTransport::Jolokia;
        let mut by_port = profile(jolokia, Some(8778), None);
        let at = |profile: &JvmProfile, address| match way(profile, address) {
            Ok(Way::Jolokia(url)) => url,
            other => panic!("{other:?}"),
        };
        assert_eq!(at(&by_port, "10.0.0.1"), "http://10.0.0.1:8778/jolokia");
        by_port.tls = true;
        by_port.path = Some("/api/jolokia".into());
        assert_eq!(
            at(&by_port, "fd00::1"),
            "https://[fd00::1]:8778/api/jolokia"
        );
        let by_url = profile(jolokia, None, Some("http://gate/jmx"));
        assert_eq!(at(&by_url, "10.0.0.1"), "http://gate/jmx");
    }
}
