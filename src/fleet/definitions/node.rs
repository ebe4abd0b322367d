//! One machine.

use serde::Serialize;

use super::Reference;
use crate::error::Result;
use crate::fleet::Kind;
use crate::fleet::ids::Ids;
use crate::fleet::reader::Object;
use crate::models::NodeState;
use crate::models::node::{NewNode, Node as Row};

/// The address of Headroom's own host.
const OWN_HOST: &str = "localhost";

/// One machine; the cluster it belongs to is the one it stands in.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Node {
    /// Unique name, across all clusters.
    pub name: String,
    /// Host name or address; `localhost` without a profile is Headroom's own host.
    pub address: String,
    /// How to log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_profile: Option<String>,
    /// What it was launched from, or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ec2_profile: Option<String>,
    /// Its JVMs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jvm_profiles: Vec<String>,
}

impl Node {
    pub(in crate::fleet) fn read(object: &mut Object<'_>) -> Self {
        let name = object.required_name("name");
        let address = object.text_that(
            "address",
            is_address,
            "must be a host name or an address, without user and port",
        );
        let node = Self {
            name,
            address: object.need("address", address, String::new()),
            ssh_profile: object.name("ssh_profile"),
            ec2_profile: object.name("ec2_profile"),
            jvm_profiles: object.names("jvm_profiles"),
        };
        let reachable = object.has("ssh_profile") || object.has("jvm_profiles");
        if !reachable && object.has("address") && node.address != OWN_HOST {
            object.fault(
                "ssh_profile",
                "is required; only localhost is reached without one",
            );
        }
        node
    }

    /// Whether its scripts run on Headroom's own host.
    pub(in crate::fleet) fn is_own_host(&self) -> bool {
        self.address == OWN_HOST && self.ssh_profile.is_none()
    }

    pub(in crate::fleet) fn references(&self, found: &mut Vec<Reference>) {
        if let Some(name) = &self.ssh_profile {
            found.push(Reference::new("ssh_profile", Kind::SshProfile.noun(), name));
        }
        if let Some(name) = &self.ec2_profile {
            found.push(Reference::new("ec2_profile", Kind::Ec2Profile.noun(), name));
        }
        for (index, name) in self.jvm_profiles.iter().enumerate() {
            let path = format!("jvm_profiles[{index}]");
            found.push(Reference::new(path, Kind::JvmProfile.noun(), name));
        }
    }

    pub(in crate::fleet) fn from_row(
        row: &Row,
        jvm_profiles: Vec<String>,
        ids: &Ids,
    ) -> Result<Self> {
        Ok(Self {
            name: row.name.clone(),
            address: row.address.clone(),
            ssh_profile: ids.ssh_profiles.name_if(row.ssh_profile_id)?,
            ec2_profile: ids.ec2_profiles.name_if(row.ec2_profile_id)?,
            jvm_profiles,
        })
    }

    /// Its row; what the file does not say (instance, state, birth) stays as it is.
    pub(in crate::fleet) fn row(
        &self,
        cluster: &str,
        present: Option<&Row>,
        ids: &Ids,
        now_ms: i64,
    ) -> Result<NewNode> {
        Ok(NewNode {
            name: self.name.clone(),
            cluster_id: ids.clusters.id(cluster)?,
            address: self.address.clone(),
            ssh_profile_id: ids.ssh_profiles.id_if(self.ssh_profile.as_deref())?,
            ec2_profile_id: ids.ec2_profiles.id_if(self.ec2_profile.as_deref())?,
            instance_id: present.and_then(|row| row.instance_id.clone()),
            state: present.map_or(NodeState::InService, |row| row.state),
            created_ms: present.map_or(now_ms, |row| row.created_ms),
            updated_ms: now_ms,
        })
    }
}

/// A leading dash would be read as an option by the programs that are given the address.
fn is_address(text: &str) -> bool {
    !text.starts_with('-')
        && (text.parse::<std::net::Ipv6Addr>().is_ok()
            || text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c)))
}
