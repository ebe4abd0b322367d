//! A cloud, an sshd that its instances share, and a lab whose cluster grows and shrinks in it.

use std::collections::BTreeSet;

use headroom::clients::ec2::Instance;
use headroom::clients::mail::Mailer;
use headroom::models::cluster::{Cluster, NewCluster};
use headroom::models::ec2_profile::{Ec2Profile, NewEc2Profile};
use headroom::models::former_node::FormerNode;
use headroom::models::node::Node;
use headroom::models::ssh_profile::{NewSshProfile, SshProfile};
use headroom::models::{HostKeyPolicy, OnFailure, RunId, RunState, StepTarget};
use headroom::runs::execute;
use headroom::vault::Vault;
use serde_json::{Value, json};

use crate::runs::lab::{Lab, Planned};
use crate::support::cloud::{Cloud, REGION};
use crate::support::faults::Faults;
use crate::support::postgres::Postgres;
use crate::support::sshd::Sshd;

/// How many instances can be reached over SSH.
const REACHABLE: u8 = 6;

/// Everything there is.
pub struct World {
    pub cloud: Cloud,
    pub faults: Faults,
    pub lab: Lab,
    pub sshd: Sshd,
}

impl World {
    /// A cluster `web` without launched nodes, behind the classic balancer `web-elb`.
    pub fn new() -> Self {
        Self::on(Lab::new())
    }

    /// The same with its database on a PostgreSQL server.
    pub fn on_postgres(server: &Postgres) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mailer = Mailer::new(None, None).unwrap();
        Self::on(Lab::on(folder, &server.url(), mailer))
    }

    /// The same over a lab of the caller's.
    pub fn on(lab: Lab) -> Self {
        let sshd = Sshd::start(REACHABLE);
        let addresses = &sshd.addresses()[1..];
        let cloud = Cloud::start(addresses, 20);
        let faults = Faults::before(cloud.port());
        cloud.add_load_balancer("web-elb");
        let world = Self {
            cloud,
            faults,
            lab,
            sshd,
        };
        world.define();
        world
    }

    fn define(&self) {
        let vault = Vault::open(&self.lab.path("master.key")).unwrap();
        let (port, key) = (i32::from(self.sshd.port()), self.sshd.key_file());
        self.lab.write(|conn| {
            let login = NewSshProfile {
                name: "ops".into(),
                login: crate::support::sshd::USER.into(),
                port,
                private_key_file: Some(key.display().to_string()),
                private_key_secret: None,
                passphrase_env: None,
                passphrase_secret: None,
                agent: false,
                certificate_file: None,
                proxy_jump: None,
                connect_timeout_secs: None,
                host_keys: HostKeyPolicy::FirstUse,
                known_hosts_file: None,
                known_hosts: None,
                updated_ms: 0,
            };
            SshProfile::insert(conn, &login)?;
            let secret = vault.put(conn, "aws", &"secret".into(), 0)?;
            let profile = NewEc2Profile {
                name: "small".into(),
                region: REGION.into(),
                image_id: "ami-12345678".into(),
                instance_type: "t3.small".into(),
                key_name: None,
                security_groups: "[]".into(),
                subnet_id: None,
                user_data: Some("#!/bin/sh\ntrue".into()),
                load_balancer: Some("web-elb".into()),
                target_group_arn: None,
                endpoint_url: Some(self.faults.url()),
                address_from: "private_ip".into(),
                wait_for: "healthy".into(),
                access_key_id: Some("AKIATEST".into()),
                secret_access_key_secret: Some(secret),
                role_arn: None,
                external_id: None,
                updated_ms: 0,
            };
            Ec2Profile::insert(conn, &profile)
        });
    }

    /// Edits the profile that is launched from.
    pub fn edit(&self, edit: impl FnOnce(&mut NewEc2Profile)) {
        self.lab.write(|conn| {
            let row = Ec2Profile::by_name(conn, "small")?;
            let mut new = NewEc2Profile {
                name: row.name,
                region: row.region,
                image_id: row.image_id,
                instance_type: row.instance_type,
                key_name: row.key_name,
                security_groups: row.security_groups,
                subnet_id: row.subnet_id,
                user_data: row.user_data,
                load_balancer: row.load_balancer,
                target_group_arn: row.target_group_arn,
                endpoint_url: row.endpoint_url,
                address_from: row.address_from,
                wait_for: row.wait_for,
                access_key_id: row.access_key_id,
                secret_access_key_secret: row.secret_access_key_secret,
                role_arn: row.role_arn,
                external_id: row.external_id,
                updated_ms: row.updated_ms + 1,
            };
            edit(&mut new);
            Ec2Profile::update(conn, row.id, &new)
        });
    }

    /// Has what is launched go into a new target group as well; gives its ARN.
    pub fn add_group(&self) -> String {
        let group = self.cloud.add_target_group("web-group");
        self.edit(|profile| profile.target_group_arn = Some(group.clone()));
        group
    }

    /// Has what is launched go into a new target group and behind nothing else; gives its ARN.
    pub fn only_group(&self) -> String {
        self.edit(|profile| profile.load_balancer = None);
        self.add_group()
    }

    /// Lets an instance be terminated, or not.
    pub fn protect(&self, node: &Node, protected: bool) {
        let id = node.instance_id.as_ref().unwrap();
        self.cloud.ask_ec2(&format!(
            "Action=ModifyInstanceAttribute&InstanceId={id}&DisableApiTermination.Value={protected}"
        ));
    }

    /// How many nodes the cluster may have.
    pub fn bound(&self, min_nodes: i32, max_nodes: Option<i32>) {
        self.lab.write(|conn| {
            let cluster = Cluster::by_name(conn, "web")?;
            let name = cluster.name.clone();
            Cluster::update(
                conn,
                cluster.id,
                &NewCluster {
                    min_nodes,
                    max_nodes,
                    max_failed_launches: 0,
                    ..NewCluster::named(name, 0)
                },
            )
        });
    }

    /// A run that launches a node.
    pub fn deployment(&self) -> RunId {
        self.lab
            .plan(OnFailure::Undo, &[deploy(json!({})).within(20)])
    }

    /// A run that removes a node.
    pub fn removal(&self) -> RunId {
        self.lab
            .plan(OnFailure::Stop, &[remove(json!({})).within(20)])
    }

    /// Launches a node that must come into service.
    pub async fn deployed(&self) -> Node {
        let run = self.deployment();
        let state = self.lab.drive(run).await;
        assert_eq!(state, RunState::Succeeded, "{:#?}", self.lab.steps(run));
        let name = self.lab.output(run, "add", "node");
        self.node(name.as_str().unwrap()).unwrap()
    }

    /// Has two runs driven at the same moment, of which one succeeds and one fails; gives the reason of that one's step.
    pub async fn one_of_two(&self, one: RunId, two: RunId, step: &str) -> String {
        let other = self.lab.other_worker();
        let (first, second) = tokio::join!(self.lab.drive(one), execute::drive(&other, two));
        second.unwrap();
        let states = [first, self.lab.run(two).state];
        let errors = [one, two].map(|run| self.lab.error(run, step));
        assert!(
            states.contains(&RunState::Succeeded) && states.contains(&RunState::Failed),
            "{states:?}: {errors:?}"
        );
        let [of_one, of_two] = errors;
        if first == RunState::Failed {
            of_one
        } else {
            of_two
        }
    }

    /// The nodes that were launched, by name.
    pub fn nodes(&self) -> Vec<Node> {
        let nodes = self.lab.write(Node::all);
        nodes
            .into_iter()
            .filter(|node| node.ec2_profile_id.is_some())
            .collect()
    }

    pub fn node(&self, name: &str) -> Option<Node> {
        self.nodes().into_iter().find(|node| node.name == name)
    }

    pub fn former(&self) -> Vec<FormerNode> {
        self.lab
            .write(|conn| FormerNode::of_cluster(conn, "web", 100))
    }

    /// Every instance has a node and every node an instance, and nothing was launched twice for one step.
    pub async fn no_leak(&self, what: &str) {
        let alive = self.cloud.alive().await;
        let mut ids: Vec<_> = alive.iter().map(|instance| instance.id.clone()).collect();
        let mut known: Vec<_> = self
            .nodes()
            .into_iter()
            .filter_map(|node| node.instance_id)
            .collect();
        ids.sort();
        known.sort();
        assert_eq!(ids, known, "{what}: instances and nodes differ: {alive:#?}");
        assert_eq!(self.doubled().await, 0, "{what}: launched twice");
    }

    /// Instances that a step launched although it had launched one, dead ones among them.
    pub async fn doubled(&self) -> usize {
        let all = self.cloud.instances().await;
        let step = |instance: &Instance| {
            ["headroom:run", "headroom:step"].map(|key| instance.tags[key].clone())
        };
        let steps: BTreeSet<_> = all.iter().map(step).collect();
        all.len() - steps.len()
    }
}

/// What instances carry under a key, sorted.
pub fn tags(instances: &[Instance], key: &str) -> Vec<String> {
    let mut found: Vec<_> = instances
        .iter()
        .map(|instance| instance.tags[key].clone())
        .collect();
    found.sort();
    found
}

/// A step that launches; `more` settings.
pub fn deploy(more: Value) -> Planned {
    let mut settings = json!({"ec2_profile": "small", "ssh_profile": "ops"});
    settings
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Planned::new("add", "DeployEc2Node", settings).on(StepTarget::Cluster)
}

/// A step that removes; its settings.
pub fn remove(settings: Value) -> Planned {
    Planned::new("remove", "RemoveEc2Node", settings).on(StepTarget::Cluster)
}
