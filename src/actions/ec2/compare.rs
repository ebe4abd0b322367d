//! Holds the nodes against the instances. Pure: what each side said is passed in.
//!
//! The nodes are read before EC2 is asked and again after, and a disagreement must stand against both: a node that is launched or removed
//! meanwhile is none.

use std::collections::BTreeSet;

use super::wait::address;
use super::{PROFILE_TAG, TOKEN_TAG};
use crate::clients::ec2::{Instance, InstanceState};
use crate::models::ec2_profile::Ec2Profile;
use crate::models::finding::Seen;
use crate::models::node::Node;
use crate::models::{ClusterId, FindingKind, NodeId, NodeState};

/// What the database says.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Every node.
    pub nodes: Vec<Node>,
    /// Every cluster's name.
    pub clusters: Vec<(ClusterId, String)>,
    /// Tokens of steps, and the nodes that they launch or remove.
    pub claims: Vec<(String, NodeId)>,
    /// Tokens of the steps of runs that are not over.
    pub open_tokens: BTreeSet<String>,
}

impl Rows {
    fn of_instance(&self, id: &str) -> Option<&Node> {
        let mut nodes = self.nodes.iter();
        nodes.find(|node| node.instance_id.as_deref() == Some(id))
    }

    fn knows(&self, instance: &Instance) -> bool {
        let token = instance.tags.get(TOKEN_TAG);
        // Until its id is noted, an instance is known by the token that its node's row carries.
        let by_token = token.is_some_and(|token| {
            let claim = self.claims.iter().find(|(known, _)| known == token);
            claim.is_some_and(|(_, node)| {
                self.nodes
                    .iter()
                    .any(|row| row.id == *node && row.instance_id.is_none())
            })
        });
        by_token || self.of_instance(&instance.id).is_some()
    }

    fn cluster(&self, id: ClusterId) -> &str {
        let found = self.clusters.iter().find(|(known, _)| *known == id);
        found.map_or("", |(_, name)| name)
    }

    fn is_in_work(&self, node: &Node) -> bool {
        let mut claims = self.claims.iter().filter(|(_, id)| *id == node.id);
        claims.any(|(token, _)| self.open_tokens.contains(token))
    }
}

/// What disagrees among the instances of one account and the nodes of its profiles.
pub fn compare(
    before: &Rows,
    instances: &[Instance],
    after: &Rows,
    profiles: &[Ec2Profile],
) -> Vec<Seen> {
    let mut orphans: Vec<&Instance> = instances
        .iter()
        .filter(|instance| {
            !instance.state.is_gone() && !before.knows(instance) && !after.knows(instance)
        })
        .collect();
    let mut seen = Vec::new();
    for node in &after.nodes {
        let profile = profiles
            .iter()
            .find(|profile| Some(profile.id) == node.ec2_profile_id);
        let was = before.nodes.iter().find(|was| was.id == node.id);
        if let (Some(profile), Some(was)) = (profile, was)
            && was.state == node.state
        {
            let look = Look {
                node,
                profile,
                instances,
                rows: after,
            };
            seen.extend(look.at(&mut orphans));
        }
    }
    seen.extend(
        orphans
            .into_iter()
            .filter_map(|instance| orphan(instance, profiles)),
    );
    seen
}

fn orphan(instance: &Instance, profiles: &[Ec2Profile]) -> Option<Seen> {
    let tag = |key: &str| instance.tags.get(key).cloned();
    let name = tag(PROFILE_TAG);
    let launched_from = profiles
        .iter()
        .find(|profile| Some(&profile.name) == name.as_ref());
    Some(Seen {
        kind: FindingKind::Orphan,
        ec2_profile_id: launched_from.or_else(|| profiles.first())?.id,
        cluster_name: tag("Cluster").unwrap_or_default(),
        node_name: tag("Name"),
        instance_id: Some(instance.id.clone()),
        detail: format!("it is {} and no node stands for it", instance.state),
    })
}

/// One node among the instances of its account.
struct Look<'a> {
    node: &'a Node,
    profile: &'a Ec2Profile,
    instances: &'a [Instance],
    rows: &'a Rows,
}

impl Look<'_> {
    fn at(&self, orphans: &mut Vec<&Instance>) -> Option<Seen> {
        let node = self.node;
        let is_there =
            |id: &String| (self.instances.iter()).any(|one| one.id == *id && !one.state.is_gone());
        let stands = node.instance_id.as_ref().is_none_or(is_there);
        if node.state != NodeState::InService && (stands || self.rows.is_in_work(node)) {
            let word = match node.state {
                NodeState::Draining => "removal",
                _ => "launch",
            };
            return (!self.rows.is_in_work(node)).then(|| {
                let what = format!("it is {}, and no run goes on with its {word}", node.state);
                let id = node.instance_id.clone().or_else(|| self.by_token());
                self.seen(FindingKind::Unfinished, id, what)
            });
        }
        let id = node.instance_id.as_ref()?;
        match self.instances.iter().find(|instance| instance.id == *id) {
            Some(instance) if !instance.state.is_gone() => self.alive(instance),
            gone => Some(self.gone(gone, orphans)),
        }
    }

    /// The instance that was launched for the node, where the launch ended before its id was noted.
    fn by_token(&self) -> Option<String> {
        let found = self.instances.iter().find(|instance| {
            let token = instance.tags.get(TOKEN_TAG);
            let mut claims = self.rows.claims.iter();
            !instance.state.is_gone()
                && claims.any(|(known, node)| *node == self.node.id && Some(known) == token)
        });
        found.map(|instance| instance.id.clone())
    }

    fn alive(&self, instance: &Instance) -> Option<Seen> {
        let id = Some(instance.id.clone());
        if matches!(
            instance.state,
            InstanceState::Stopping | InstanceState::Stopped
        ) {
            let what = format!("its instance is {}", instance.state);
            return Some(self.seen(FindingKind::Stopped, id, what));
        }
        let from = self.profile.address_from().ok()?;
        let now = address(instance, from)?;
        (instance.state == InstanceState::Running && now != self.node.address).then(|| {
            let what = format!("its address is {now} now, not {}", self.node.address);
            self.seen(FindingKind::Moved, id, what)
        })
    }

    fn gone(&self, instance: Option<&Instance>, orphans: &mut Vec<&Instance>) -> Seen {
        let named = |other: &&Instance| {
            other.tags.get("Name") == Some(&self.node.name)
                && other.tags.get("Cluster").map(String::as_str) == Some(self.cluster())
        };
        let was = self.node.instance_id.as_deref().unwrap_or_default();
        if let Some(position) = orphans.iter().position(named) {
            let successor = orphans.swap_remove(position);
            let what = format!("{was} is gone, and {} carries its name", successor.id);
            return self.seen(FindingKind::Replaced, Some(successor.id.clone()), what);
        }
        let state = match instance {
            Some(instance) => instance.state.to_string(),
            None if self.profile.access_changed_ms > self.node.created_ms => format!(
                "not known to EC2 in {}, where it is asked for with another access key than it was launched with: look whether it is in that key's account",
                self.profile.region
            ),
            None => format!("not known to EC2 in {} any more", self.profile.region),
        };
        self.seen(
            FindingKind::Ghost,
            self.node.instance_id.clone(),
            format!("its instance is {state}"),
        )
    }

    fn cluster(&self) -> &str {
        self.rows.cluster(self.node.cluster_id)
    }

    fn seen(&self, kind: FindingKind, instance_id: Option<String>, detail: String) -> Seen {
        Seen {
            kind,
            ec2_profile_id: self.profile.id,
            cluster_name: self.cluster().to_owned(),
            node_name: Some(self.node.name.clone()),
            instance_id,
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Ec2ProfileId, SshProfileId};

    fn profile() -> Ec2Profile {
        Ec2Profile {
            id: Ec2ProfileId(1),
            name: "small".into(),
            region: "eu-west-1".into(),
            image_id: "ami-1".into(),
            instance_type: "t3.small".into(),
            key_name: None,
            security_groups: "[]".into(),
            subnet_id: None,
            user_data: None,
            load_balancer: None,
            target_group_arn: None,
            endpoint_url: None,
            address_from: "private_ip".into(),
            wait_for: "ssh".into(),
            access_key_id: None,
            secret_access_key_secret: None,
            role_arn: None,
            external_id: None,
            updated_ms: 0,
            access_changed_ms: 0,
        }
    }

    fn node(id: i64, instance: Option<&str>, state: NodeState) -> Node {
        Node {
            id: NodeId(id),
            name: format!("web0{id}"),
            cluster_id: ClusterId(1),
            address: format!("10.0.0.{id}"),
            ssh_profile_id: Some(SshProfileId(1)),
            ec2_profile_id: Some(Ec2ProfileId(1)),
            instance_id: instance.map(str::to_owned),
            state,
            created_ms: 0,
            updated_ms: 0,
        }
    }

    fn instance(number: i64, state: InstanceState) -> Instance {
        let tags = [
            ("Name", format!("web0{number}")),
            ("Cluster", "web".into()),
            (TOKEN_TAG, format!("t{number}")),
            (PROFILE_TAG, "small".into()),
        ];
        Instance {
            id: format!("i-{number}"),
            state,
            reason: None,
            public_dns: None,
            public_ip: None,
            private_dns: None,
            private_ip: Some(format!("10.0.0.{number}")),
            launched_ms: None,
            tags: tags.map(|(key, value)| (key.to_owned(), value)).into(),
        }
    }

    fn rows(nodes: Vec<Node>, claims: &[(&str, i64)], open: &[&str]) -> Rows {
        Rows {
            nodes,
            clusters: vec![(ClusterId(1), "web".into())],
            claims: claims
                .iter()
                .map(|(token, id)| ((*token).to_owned(), NodeId(*id)))
                .collect(),
            open_tokens: open.iter().map(|token| (*token).to_owned()).collect(),
        }
    }

    /// What is found, as `kind node instance`.
    fn found(before: &Rows, instances: &[Instance], after: &Rows) -> Vec<String> {
        let seen = compare(before, instances, after, &[profile()]);
        let text = |seen: &Seen| {
            let name = seen.node_name.clone().unwrap_or_default();
            format!(
                "{} {name} {}",
                seen.kind,
                seen.instance_id.clone().unwrap_or_default()
            )
        };
        seen.iter().map(text).collect()
    }

    fn stands(rows: &Rows, instances: &[Instance]) -> Vec<String> {
        found(rows, instances, rows)
    }

    use InstanceState::{Pending, Running, Stopped, Terminated};

    #[test]
    fn what_agrees_is_no_finding() {
        let one = rows(vec![node(1, Some("i-1"), NodeState::InService)], &[], &[]);
        assert!(stands(&one, &[instance(1, Running)]).is_empty());
        let gone = rows(vec![], &[], &[]);
        assert!(stands(&gone, &[instance(1, Terminated)]).is_empty());
    }

    #[test]
    fn an_instance_without_a_node_is_an_orphan() {
        assert_eq!(
            stands(&rows(vec![], &[], &[]), &[instance(3, Pending)]),
            ["orphan web03 i-3"]
        );
    }

    #[test]
    fn a_node_without_an_instance_is_a_ghost_or_was_replaced() {
        let one = rows(vec![node(1, Some("i-1"), NodeState::InService)], &[], &[]);
        assert_eq!(stands(&one, &[]), ["ghost web01 i-1"]);
        assert_eq!(
            stands(&one, &[instance(1, Terminated)]),
            ["ghost web01 i-1"]
        );
        let mut successor = instance(9, Running);
        successor.tags.insert("Name".into(), "web01".into());
        assert_eq!(stands(&one, &[successor]), ["replaced web01 i-9"]);
    }

    #[test]
    fn a_stopped_instance_and_a_changed_address_are_told() {
        let one = rows(vec![node(1, Some("i-1"), NodeState::InService)], &[], &[]);
        assert_eq!(stands(&one, &[instance(1, Stopped)]), ["stopped web01 i-1"]);
        let mut moved = instance(1, Running);
        moved.private_ip = Some("10.9.9.9".into());
        assert_eq!(stands(&one, &[moved]), ["moved web01 i-1"]);
    }

    #[test]
    fn what_changes_while_ec2_is_asked_is_no_finding() {
        let empty = rows(vec![], &[], &[]);
        let one = rows(vec![node(1, Some("i-1"), NodeState::InService)], &[], &[]);
        assert!(
            found(&one, &[instance(1, Running)], &empty).is_empty(),
            "removed meanwhile"
        );
        assert!(found(&empty, &[], &one).is_empty(), "launched meanwhile");
        let leaving = rows(vec![node(1, Some("i-1"), NodeState::Draining)], &[], &[]);
        assert!(found(&one, &[], &leaving).is_empty());
    }

    #[test]
    fn a_launch_under_way_is_no_finding_and_one_that_nobody_goes_on_with_is() {
        let launching = |open: &[&str]| {
            rows(
                vec![node(1, None, NodeState::Provisioning)],
                &[("t1", 1)],
                open,
            )
        };
        assert!(stands(&launching(&["t1"]), &[instance(1, Pending)]).is_empty());
        assert_eq!(
            stands(&launching(&[]), &[instance(1, Running)]),
            ["unfinished web01 i-1"]
        );
    }

    #[test]
    fn an_unfinished_node_whose_instance_is_gone_can_be_forgotten() {
        let leaving = |open: &[&str]| {
            let node = node(1, Some("i-1"), NodeState::Draining);
            rows(vec![node], &[("t1", 1)], open)
        };
        assert!(stands(&leaving(&["t1"]), &[]).is_empty());
        assert_eq!(stands(&leaving(&[]), &[]), ["ghost web01 i-1"]);
        assert_eq!(
            stands(&leaving(&[]), &[instance(1, Running)]),
            ["unfinished web01 i-1"]
        );
    }

    #[test]
    fn a_second_instance_with_the_token_of_a_node_is_an_orphan() {
        let one = rows(
            vec![node(1, Some("i-1"), NodeState::InService)],
            &[("t1", 1)],
            &[],
        );
        let mut twin = instance(1, Running);
        twin.id = "i-2".into();
        assert_eq!(
            stands(&one, &[instance(1, Running), twin]),
            ["orphan web01 i-2"]
        );
    }
}
