//! A database with a vault, and files to apply to it.

use headroom::db::{Connection, Db};
use headroom::error::{Error, Result};
use headroom::fleet::{self, Context, Diff, FleetFile, Options};
use headroom::models::Via;
use headroom::models::audit::AuditEvent;
use headroom::vault::Vault;
use tempfile::TempDir;

use crate::support::postgres::Postgres;

pub const NOW_MS: i64 = 1_700_000_000_000;

/// The file of the interface description, cut to what every build knows.
pub const WEB: &str = r##"
ssh_profiles:
  - { name: ops, user: ops, port: 22, private_key_file: /etc/headroom/id_ed25519, host_keys: first_use }
jvm_profiles:
  - { name: tomcat, port: 9010, user: monitor, password_env: TOMCAT_JMX_PASSWORD, tls: false }
ec2_profiles:
  - { name: web-small, region: eu-west-1, image_id: ami-1, instance_type: t3.small, key_name: ops, security_groups: [web],
      subnet_id: subnet-1, user_data: "#cloud-config …", load_balancer: web-elb, target_group_arn: null, endpoint_url: null,
      address_from: public_dns, wait_for: ssh }
counters:
  - { name: load1, kind: ssh, script: "cut -d' ' -f1 /proc/loadavg", comparison: ">", threshold: 4, unit: load, every: 60s, timeout: 10s, missing: hold }
  - { name: heap, kind: jmx, mbean: "java.lang:type=Memory", attribute: HeapMemoryUsage, key: used, comparison: ">", threshold: 8e8, unit: bytes }
  - { name: disk, kind: local, script: "echo 1", threshold: 90 }
clusters:
  - name: web
    min_nodes: 2
    max_nodes: 10
    nodes:
      - { name: web01, address: 10.0.0.11, ssh_profile: ops, jvm_profiles: [tomcat] }
      - { name: web02, address: web02.example.org, ssh_profile: ops, ec2_profile: web-small }
actions:
  - { name: restart, kind: LocalScript, script: "systemctl restart app", timeout: 2m }
  - { name: tell, kind: Email, address: ops@example.org, title: "{{ trigger.name }} fired", content: "See the run." }
triggers:
  - name: web-hot
    cluster: web
    counters: [load1, heap]
    timing: 5m
    when: any
    cooldown: 10m
    mode: live
    enabled: true
    steps:
      - { action: restart, target: cluster }
      - { action: restart, target: lastnode, depends_on: [] }
      - { action: tell, target: none, depends_on: [restart, restart-2] }
"##;

/// A database, a vault and a person.
pub struct Bench {
    pub db: Db,
    pub context: Context,
    /// Where the database is, for a second process.
    pub url: String,
    _folder: TempDir,
    _server: Option<Postgres>,
}

impl Bench {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("headroom.db").display());
        Self::open(&url, folder, None)
    }

    pub fn postgres() -> Self {
        let server = Postgres::start();
        Self::open(&server.url(), tempfile::tempdir().unwrap(), Some(server))
    }

    fn open(url: &str, folder: TempDir, server: Option<Postgres>) -> Self {
        let context = Context {
            vault: Vault::open(&folder.path().join("master.key")).unwrap(),
            tick_secs: 60,
            allow_local: true,
            actor: "ada".into(),
            via: Via::Cli,
            now_ms: NOW_MS,
        };
        Self {
            db: Db::open(url).unwrap(),
            context,
            url: url.to_owned(),
            _folder: folder,
            _server: server,
        }
    }

    /// Runs `work` in a write transaction.
    pub fn write<T>(&self, work: impl FnOnce(&mut Connection, &Context) -> Result<T>) -> Result<T> {
        self.db.write_blocking(|conn| work(conn, &self.context))
    }

    pub fn apply_with(&self, text: &str, options: Options) -> Result<Diff> {
        self.write(|conn, context| fleet::apply_text(conn, context, text, options))
    }

    pub fn apply(&self, text: &str) -> Diff {
        self.apply_with(text, Options::default()).unwrap()
    }

    pub fn prune(&self, text: &str) -> Result<Diff> {
        let options = Options {
            prune: true,
            ..Options::default()
        };
        self.apply_with(text, options)
    }

    pub fn export(&self) -> FleetFile {
        fleet::export(&mut self.db.connection().unwrap()).unwrap()
    }

    /// Every audit event as `actor verb object`, oldest first.
    pub fn audit(&self) -> Vec<String> {
        let conn = &mut *self.db.connection().unwrap();
        let mut events = AuditEvent::page(conn, None, None, 1_000).unwrap();
        events.reverse();
        events
            .iter()
            .map(|event| format!("{} {} {}", event.actor, event.verb, event.object))
            .collect()
    }
}

/// The faults as `path: message`, one a line.
pub fn faults<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    match outcome {
        Err(error @ Error::Invalid(_)) => error.to_string(),
        other => panic!("expected faults, got {other:?}"),
    }
}

/// The sentence of a conflict.
pub fn conflict<T: std::fmt::Debug>(outcome: Result<T>) -> String {
    match outcome {
        Err(Error::Conflict(message)) => message,
        other => panic!("expected a conflict, got {other:?}"),
    }
}
