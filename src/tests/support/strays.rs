//! Headroom before an EC2 where two instances have no node and one node has no instance.

use std::time::Duration;

use headroom::models::audit::AuditEvent;
use headroom::models::cluster::Cluster;
use headroom::models::ec2_profile::Ec2Profile;
use headroom::models::finding::Finding;
use headroom::models::node::{NewNode, Node};
use headroom::models::run::Run;
use headroom::models::{Role, installation};

use super::app::{Bearer, TestApp};
use super::cloud::{Cloud, REGION};
use super::http::Request;

/// The addresses of the instances, in the order of their launches.
pub const ADDRESSES: [&str; 3] = ["10.9.0.1", "10.9.0.2", "10.9.0.3"];
/// Longer than an answer of this machine's own takes.
pub const SOON: Duration = Duration::from_secs(20);

/// The orphans `web07` and `web08`, the ghost `web02`, and `web01`, which no instance stands for.
pub struct Strays {
    pub test: TestApp,
    /// The program that has defined the fleet.
    pub admin: Bearer,
    /// The instances of `web07`, of `web08` and of `web02`; the last one is terminated.
    pub instances: [String; 3],
    _cloud: Cloud,
}

impl Strays {
    /// Nobody has looked yet.
    pub async fn start() -> Self {
        let cloud = Cloud::start(&ADDRESSES.map(str::to_owned), 20);
        let test = TestApp::start().await;
        let site = test.app.db.write_blocking(installation::tag).unwrap();
        let admin = define(&test, cloud.port()).await;
        let instances = ["web07", "web08", "web02"].map(|name| {
            let tags = [
                ("Name", name),
                ("Cluster", "web"),
                ("headroom:site", site.as_str()),
            ];
            cloud.launch(name, &tags)
        });
        for instance in &instances {
            cloud.until(instance, "running");
        }
        let gone = &instances[2];
        cloud.ask_ec2(&format!("Action=TerminateInstances&InstanceId.1={gone}"));
        cloud.until(gone, "terminated");
        add_ghost(&test, gone);
        Self {
            test,
            admin,
            instances,
            _cloud: cloud,
        }
    }

    /// What the last look found out about an instance.
    pub fn finding(&self, instance: &str) -> Finding {
        let conn = &mut *self.test.app.db.connection().unwrap();
        let mut all = Finding::all(conn).unwrap().into_iter();
        all.find(|one| one.instance_id.as_deref() == Some(instance))
            .unwrap()
    }

    pub fn node(&self, name: &str) -> Option<Node> {
        let conn = &mut *self.test.app.db.connection().unwrap();
        let mut all = Node::all(conn).unwrap().into_iter();
        all.find(|node| node.name == name)
    }

    /// The newest event about an object.
    pub fn event(&self, object: &str) -> AuditEvent {
        let conn = &mut *self.test.app.db.connection().unwrap();
        let mut events = AuditEvent::page(conn, None, Some(object), 1).unwrap();
        events.pop().unwrap()
    }

    /// Every run, the latest first.
    pub fn runs(&self) -> Vec<Run> {
        let conn = &mut *self.test.app.db.connection().unwrap();
        Run::page(conn, &[], None, 50).unwrap()
    }
}

async fn define(test: &TestApp, port: u16) -> Bearer {
    let fleet = format!(
        r#"
ssh_profiles:
  - {{ name: ops, user: ops, private_key_file: /etc/headroom/id_ed25519, host_keys: first_use }}
ec2_profiles:
  - {{ name: small, region: {REGION}, image_id: ami-12345678, instance_type: t3.small, endpoint_url: "http://127.0.0.1:{port}",
      address_from: private_ip, access_key_id: AKIATEST, secret_access_key: secret }}
clusters:
  - name: web
    min_nodes: 0
    nodes:
      - {{ name: web01, address: 10.9.0.9, ssh_profile: ops }}
"#
    );
    let put = Request::new("PUT", "/api/v1/fleet").body("application/yaml", fleet);
    let admin = test.bearer(Role::Admin);
    admin.send(put).await.expect(200);
    admin
}

/// The node whose instance is gone.
fn add_ghost(test: &TestApp, instance: &str) {
    let conn = &mut *test.app.db.connection().unwrap();
    let cluster = Cluster::by_name(conn, "web").unwrap();
    let profile = Ec2Profile::by_name(conn, "small").unwrap();
    let ghost = NewNode {
        ec2_profile_id: Some(profile.id),
        instance_id: Some(instance.to_owned()),
        ..NewNode::in_service("web02", cluster.id, ADDRESSES[2], 0)
    };
    Node::insert(conn, &ghost).unwrap();
}
