//! A fleet of real SSH nodes whose load a test can set, a mailbox, and a Headroom that watches.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::process::{Headroom, put};
use crate::support::smtp::{Mode, Smtp};
use crate::support::sshd::{Sshd, USER};
use crate::support::wait;

/// How long a run may take to end once it is there; far more than it needs, for a busy machine.
pub const RUN_LIMIT: Duration = Duration::from_secs(60);

/// Sets `$who` to the name of the node's place, in a script on it.
pub const WHO: &str = "set -- $SSH_CONNECTION; who=$3_$4";
/// Nodes on one server.
const ADDRESSES: usize = 10;

pub struct Lab {
    pub headroom: Headroom,
    pub mail: Smtp,
    servers: Vec<Sshd>,
    places: Vec<Place>,
}

/// Where a node is reached; a script on it can tell by `SSH_CONNECTION`.
pub struct Place {
    server: usize,
    address: String,
    /// Of its file in the shared folder: address and port.
    pub name: String,
}

impl Lab {
    /// `count` nodes, each with a load of 1, on as many servers as their addresses need; a tick of a second.
    pub fn new(count: usize, settings: &[(&str, &str)]) -> Self {
        let servers: Vec<Sshd> = (0..count.div_ceil(ADDRESSES))
            // Fabric uploads by SFTP.
            .map(|_| Sshd::start_with(10, "Subsystem sftp internal-sftp"))
            .collect();
        let places: Vec<Place> = (0..count).map(|index| place(&servers, index)).collect();
        let mail = Smtp::start(Mode::Plain);
        let smtp = format!("smtp://127.0.0.1:{}?tls=none", mail.port());
        let mut all = vec![
            ("HEADROOM_TICK", "1s"),
            ("HEADROOM_SMTP_URL", smtp.as_str()),
            ("HEADROOM_MAIL_FROM", "headroom@example.org"),
        ];
        all.extend_from_slice(settings);
        let lab = Self {
            headroom: Headroom::new(&all),
            mail,
            servers,
            places,
        };
        // The nodes' scripts run as another user: they may look, and add to what is theirs.
        fs::create_dir(lab.shared()).unwrap();
        for folder in [lab.headroom.file(""), lab.shared()] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
        }
        for index in 0..count {
            lab.set_load(index, 1);
        }
        lab
    }

    /// The folder that the scripts on the nodes read and write.
    pub fn shared(&self) -> PathBuf {
        self.headroom.file("shared")
    }

    /// The server of the first nodes.
    #[cfg_attr(
        not(feature = "aws"),
        expect(dead_code, reason = "used by the recipe, which launches")
    )]
    pub fn server(&self) -> &Sshd {
        &self.servers[0]
    }

    /// Stops the nth server: its nodes are gone, with their connections.
    pub fn stop_server(&mut self, index: usize) {
        self.servers[index].stop();
    }

    /// Starts it again.
    pub fn restart_server(&mut self, index: usize) {
        self.servers[index].restart();
    }

    pub fn places(&self) -> &[Place] {
        &self.places
    }

    pub fn set_load(&self, index: usize, load: u32) {
        put(
            &self.shared().join(&self.places[index].name),
            &load.to_string(),
        );
    }

    /// The name of the node at the nth address.
    pub fn node(index: usize) -> String {
        format!("node{:02}", index + 1)
    }

    /// Profiles, the counter and the cluster; actions and triggers are the test's.
    pub fn fleet(&self, actions: Value, triggers: Value) -> String {
        let nodes: Vec<Value> = self
            .places
            .iter()
            .enumerate()
            .map(|(index, place)| {
                let profile = format!("lab{}", place.server);
                json!({"name": Self::node(index), "address": place.address, "ssh_profile": profile})
            })
            .collect();
        let profiles: Vec<Value> = self.servers.iter().enumerate().map(profile).collect();
        // Every node is this machine; the address that was connected to tells a script which of them it is.
        let load = format!("{WHO}; cat {}/$who", self.shared().display());
        json!({
            "ssh_profiles": profiles,
            "counters": [{"name": "load", "kind": "ssh", "script": load, "comparison": ">", "threshold": 10, "every": "1s"}],
            "clusters": [{"name": "web", "nodes": nodes}],
            "actions": actions,
            "triggers": triggers,
        })
        .to_string()
    }

    /// Every run there is.
    pub fn runs(&self) -> Vec<Value> {
        self.headroom.get("/runs")["items"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// A run with its steps, once it is in one of these states.
    pub fn run_in(&self, id: &Value, states: &[&str]) -> Value {
        wait::until(&format!("run {id} to be {states:?}"), RUN_LIMIT, || {
            let run = self.headroom.get(&format!("/runs/{id}"));
            states
                .contains(&run["state"].as_str().unwrap())
                .then_some(run)
        })
    }

    /// The newest decision about a trigger.
    pub fn decision(&self, trigger: &str) -> Value {
        self.headroom.get(&format!("/decisions?trigger={trigger}"))["items"][0].clone()
    }
}

fn place(servers: &[Sshd], index: usize) -> Place {
    let server = index / ADDRESSES;
    let address = servers[server].addresses()[index % ADDRESSES].clone();
    let name = format!("{address}_{}", servers[server].port());
    Place {
        server,
        address,
        name,
    }
}

fn profile((index, server): (usize, &Sshd)) -> Value {
    json!({
        "name": format!("lab{index}"), "user": USER, "port": server.port(),
        "private_key_file": server.key_file(), "host_keys": "first_use",
    })
}
