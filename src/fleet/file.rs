//! The fleet file as a whole: its sections, and how it is walked and written.

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::definitions::{
    Action, Cluster, Counter, Ec2Profile, JvmProfile, Node, Reference, SshProfile, Trigger,
};
use super::kind::Kind;
use super::reader::Object;
use crate::error::{Error, Result};

/// Everything that a fleet file defines. A file may leave out what stands already: it is added to what is there, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct FleetFile {
    /// How to log in to nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ssh_profiles: Vec<SshProfile>,
    /// How to reach JVMs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jvm_profiles: Vec<JvmProfile>,
    /// What to launch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ec2_profiles: Vec<Ec2Profile>,
    /// What to read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counters: Vec<Counter>,
    /// Nodes that do the same work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<Cluster>,
    /// What can be done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// When it is done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub triggers: Vec<Trigger>,
    /// Nodes given alone, with their cluster: by the API, never by a file.
    #[serde(skip)]
    pub(super) loose_nodes: Vec<(String, Node)>,
}

impl FleetFile {
    pub(super) fn read(object: &mut Object<'_>) -> Self {
        Self {
            ssh_profiles: object.list("ssh_profiles", SshProfile::read),
            jvm_profiles: object.list("jvm_profiles", JvmProfile::read),
            ec2_profiles: object.list("ec2_profiles", Ec2Profile::read),
            counters: object.list("counters", Counter::read),
            clusters: object.list("clusters", Cluster::read),
            actions: object.list("actions", Action::read),
            triggers: object.list("triggers", Trigger::read),
            loose_nodes: Vec::new(),
        }
    }

    /// The file as YAML.
    ///
    /// # Errors
    /// A text cannot be written as YAML.
    pub fn to_yaml(&self) -> Result<String> {
        serde_saphyr::to_string(self)
            .map_err(|cause| Error::internal("the fleet could not be written as YAML", cause))
    }

    /// Every definition with its path, users after what they use.
    pub(super) fn entries(&self) -> Vec<Entry<'_>> {
        let mut found = Vec::new();
        add(
            &mut found,
            "ssh_profiles",
            &self.ssh_profiles,
            Item::SshProfile,
        );
        add(
            &mut found,
            "jvm_profiles",
            &self.jvm_profiles,
            Item::JvmProfile,
        );
        add(
            &mut found,
            "ec2_profiles",
            &self.ec2_profiles,
            Item::Ec2Profile,
        );
        add(&mut found, "counters", &self.counters, Item::Counter);
        add(&mut found, "clusters", &self.clusters, Item::Cluster);
        for (index, cluster) in self.clusters.iter().enumerate() {
            let section = format!("clusters[{index}].nodes");
            add(&mut found, &section, &cluster.nodes, |node| {
                Item::Node(&cluster.name, node)
            });
        }
        add(&mut found, "nodes", &self.loose_nodes, |(cluster, node)| {
            Item::Node(cluster, node)
        });
        add(&mut found, "actions", &self.actions, Item::Action);
        add(&mut found, "triggers", &self.triggers, Item::Trigger);
        found
    }
}

fn add<'a, T>(
    found: &mut Vec<Entry<'a>>,
    section: &str,
    items: &'a [T],
    item: impl Fn(&'a T) -> Item<'a>,
) {
    for (index, one) in items.iter().enumerate() {
        found.push(Entry {
            path: format!("{section}[{index}]"),
            item: item(one),
        });
    }
}

/// A definition and where it stands in the file.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub path: String,
    pub item: Item<'a>,
}

/// Any definition.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    SshProfile(&'a SshProfile),
    JvmProfile(&'a JvmProfile),
    Ec2Profile(&'a Ec2Profile),
    Counter(&'a Counter),
    Cluster(&'a Cluster),
    /// With the name of its cluster.
    Node(&'a str, &'a Node),
    Action(&'a Action),
    Trigger(&'a Trigger),
}

impl<'a> Item<'a> {
    pub fn kind(&self) -> Kind {
        match self {
            Self::SshProfile(_) => Kind::SshProfile,
            Self::JvmProfile(_) => Kind::JvmProfile,
            Self::Ec2Profile(_) => Kind::Ec2Profile,
            Self::Counter(_) => Kind::Counter,
            Self::Cluster(_) => Kind::Cluster,
            Self::Node(..) => Kind::Node,
            Self::Action(_) => Kind::Action,
            Self::Trigger(_) => Kind::Trigger,
        }
    }

    pub fn name(&self) -> &'a str {
        match self {
            Self::SshProfile(item) => &item.name,
            Self::JvmProfile(item) => &item.name,
            Self::Ec2Profile(item) => &item.name,
            Self::Counter(item) => &item.name,
            Self::Cluster(item) => &item.name,
            Self::Node(_, item) => &item.name,
            Self::Action(item) => &item.name,
            Self::Trigger(item) => &item.name,
        }
    }

    /// Its keys and values as in the file; a cluster without its nodes, a node with its cluster.
    pub fn json(&self) -> Result<Map<String, Json>> {
        let value = match self {
            Self::SshProfile(item) => serde_json::to_value(item),
            Self::JvmProfile(item) => serde_json::to_value(item),
            Self::Ec2Profile(item) => serde_json::to_value(item),
            Self::Counter(item) => serde_json::to_value(item),
            Self::Cluster(item) => serde_json::to_value(item),
            Self::Node(_, item) => serde_json::to_value(item),
            Self::Action(item) => serde_json::to_value(item),
            Self::Trigger(item) => serde_json::to_value(item),
        };
        let mut map = match value {
            Ok(Json::Object(map)) => map,
            Ok(_) => Map::new(),
            Err(cause) => return Err(Error::internal("a definition as JSON", cause)),
        };
        match self {
            Self::Cluster(_) => {
                map.remove("nodes");
            }
            Self::Node(cluster, _) => {
                map.insert("cluster".into(), (*cluster).into());
            }
            _ => {}
        }
        Ok(map)
    }

    /// What it names.
    pub fn references(&self) -> Vec<Reference> {
        let mut found = Vec::new();
        match self {
            Self::SshProfile(item) => item.references(&mut found),
            Self::JvmProfile(item) => item.references(&mut found),
            Self::Ec2Profile(item) => item.references(&mut found),
            Self::Counter(_) | Self::Cluster(_) => {}
            Self::Node(cluster, item) => {
                found.push(Reference {
                    path: "cluster".into(),
                    noun: Kind::Cluster.noun(),
                    name: (*cluster).to_owned(),
                });
                item.references(&mut found);
            }
            Self::Action(item) => item.references(&mut found),
            Self::Trigger(item) => item.references(&mut found),
        }
        found
    }
}
