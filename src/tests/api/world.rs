//! A small fleet that the tests of the API share.

use headroom::models::Role;

use crate::support::app::{Bearer, TestApp};
use crate::support::http::Request;

pub const FLEET: &str = r#"
ssh_profiles:
  - { name: ops, user: ops, private_key_file: /etc/headroom/id_ed25519, host_keys: first_use }
jvm_profiles:
  - { name: tomcat, port: 9010 }
ec2_profiles:
  - { name: small, region: eu-west-1, image_id: ami-1, instance_type: t3.small }
counters:
  - { name: load1, kind: ssh, script: "cat /proc/loadavg", comparison: ">", threshold: 4 }
clusters:
  - name: web
    min_nodes: 1
    max_nodes: 5
    nodes:
      - { name: web01, address: 10.0.0.1, ssh_profile: ops, jvm_profiles: [tomcat] }
      - { name: web02, address: 10.0.0.2, ssh_profile: ops }
  - { name: empty, min_nodes: 0 }
actions:
  - { name: restart, kind: LocalScript, script: "systemctl restart app" }
  - { name: tell, kind: Email, address: ops@example.org, title: "{{ trigger.name }} fired", content: "see" }
triggers:
  - name: web-hot
    cluster: web
    counters: [load1]
    timing: 5m
    steps:
      - { action: restart, target: cluster }
      - { action: tell, target: none }
  - { name: idle, cluster: web, counters: [load1], timing: 5m }
"#;

/// Headroom with the fleet above, and an admin's program.
pub async fn start() -> (TestApp, Bearer) {
    let test = TestApp::start().await;
    let admin = test.bearer(Role::Admin);
    put_fleet(&admin, "", FLEET).await;
    (test, admin)
}

async fn put_fleet(admin: &Bearer, query: &str, text: &str) {
    let request = Request::new("PUT", &format!("/api/v1/fleet{query}"));
    let answer = admin.send(request.body("application/yaml", text)).await;
    answer.expect(200);
}
