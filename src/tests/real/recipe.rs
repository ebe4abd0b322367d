//! The whole recipe: a breach launches a node, configures it, releases on it, puts it behind its balancer, tells the others and people;
//! when all is quiet, the node goes again. What runs is `examples/fleets/elastic-web.yaml`, with this test's addresses in it.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::lab::{Lab, WHO};
use crate::support::cloud::{Cloud, REGION};
use crate::support::faults::Faults;
use crate::support::{tools, wait};

const EXAMPLE: &str = include_str!("../../../examples/fleets/elastic-web.yaml");
const BALANCER: &str = "web-elb";
const PASSWORD: &str = "a long enough password";
/// For a run with Puppet in it, on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
const SOON: Duration = Duration::from_secs(60);
const ENDED: &[&str] = &["succeeded", "failed", "stuck", "undone", "cancelled"];
/// A load that is neither busy nor quiet.
const CALM: u32 = 2;

struct Site {
    lab: Lab,
    cloud: Cloud,
    faults: Faults,
    /// The instance that stood behind the balancer before Headroom came.
    first: String,
}

#[test]
fn the_example_is_taken_as_it_stands() {
    let headroom = crate::support::process::Headroom::new(&[]);
    let file = headroom.file("elastic-web.yaml");
    fs::write(&file, EXAMPLE).unwrap();
    let file = file.to_str().unwrap();
    let told = headroom.say(&["apply", "-f", file, "--dry-run"]);
    for line in [
        "+ created ec2 profile web-small",
        "+ created action update-cluster",
        "+ created trigger web-busy",
        "+ created trigger web-quiet",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    headroom.say(&["apply", "-f", file]);
    let again = headroom.say(&["apply", "-f", file]);
    assert!(again.starts_with("= "), "twice changes nothing: {again}");
}

#[test]
fn a_breach_grows_the_cluster_by_a_configured_node_and_quiet_shrinks_it_again() {
    let mut site = Site::start();
    let steps = [
        "add-node",
        "configure",
        "release",
        "join-balancer",
        "update-cluster",
        "tell-grown",
    ];
    let run = site.grow(&steps);
    site.check_grown(&run);
    let node = site.collected();
    site.shrink(&node);
    site.lab.headroom.stop();
}

/// The order of the predecessor's documents: traffic first, then the configuration.
#[test]
fn the_steps_run_in_the_order_of_the_file_also_where_the_balancer_comes_first() {
    let mut site = Site::start();
    let steps = [
        "add-node",
        "join-balancer",
        "configure",
        "release",
        "update-cluster",
        "tell-grown",
    ];
    let run = site.grow(&steps);
    site.check_grown(&run);
    site.lab.headroom.stop();
}

impl Site {
    fn start() -> Self {
        let fab = tools::fab().display().to_string();
        let settings = [
            ("HEADROOM_FAB", fab.as_str()),
            ("HEADROOM_ADMIN_PASSWORD", PASSWORD),
        ];
        let lab = Lab::new(3, &settings);
        for index in 0..3 {
            lab.set_load(index, CALM);
        }
        let cloud = Cloud::start(&lab.server().addresses()[..3], 5);
        cloud.add_load_balancer(BALANCER);
        // It gets the first address, where web01 is.
        let first = cloud.add_member(BALANCER);
        let faults = Faults::before(cloud.port());
        let site = Self {
            lab,
            cloud,
            faults,
            first,
        };
        site.put_files();
        site
    }

    /// What the operator keeps on Headroom's own host: a manifest and an archive.
    fn put_files(&self) {
        let data = self.lab.headroom.file("data");
        fs::create_dir_all(data.join("puppet")).unwrap();
        let manifest = format!(
            "file {{ '{}': ensure => file, content => \"configured by puppet\\n\" }}\n",
            self.place("configured")
        );
        fs::write(data.join("puppet/tomcat.pp"), manifest).unwrap();
        let folder = self.lab.headroom.file("shop");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("VERSION"), "1.2\n").unwrap();
        let packed = std::process::Command::new("tar")
            .args(["-czf", "shop-1.2.tar.gz", "-C", "shop", "."])
            .current_dir(self.lab.headroom.file(""))
            .status();
        assert!(packed.unwrap().success());
    }

    fn place(&self, name: &str) -> String {
        self.lab.shared().join(name).display().to_string()
    }

    /// The example with the addresses, names and times of this test.
    fn fleet(&self, steps: &[&str]) -> String {
        let mut fleet: Value = serde_saphyr::from_str(EXAMPLE).unwrap();
        let server = self.lab.server();
        set(
            &mut fleet["ssh_profiles"][0],
            json!({"user": "root", "port": server.port(), "private_key_file": server.key_file()}),
        );
        set(
            &mut fleet["ec2_profiles"][0],
            json!({
                "region": REGION, "endpoint_url": self.faults.url(), "access_key_id": "AKIATEST", "secret_access_key": "secret",
                "key_name": null, "security_groups": [], "subnet_id": null,
            }),
        );
        let load = format!("{WHO}; cat {}/$who", self.lab.shared().display());
        for counter in fleet["counters"].as_array_mut().unwrap() {
            set(counter, json!({"script": load, "every": "1s"}));
        }
        fleet["clusters"][0]["nodes"][0]["address"] = "127.0.0.1".into();
        for action in fleet["actions"].as_array_mut().unwrap() {
            let name = action["name"].as_str().unwrap();
            if name == "release" {
                let archive = self.lab.headroom.file("shop-1.2.tar.gz");
                let target = self.place("srv/{{ node.name }}");
                let check = format!("test -f {target}/current/VERSION");
                action["args"] =
                    json!(["--archive", archive, "--target", target, "--check", check]);
            } else if name == "update-cluster" {
                // Every node is this machine, so each has a file of its own.
                let script = action["script"].as_str().unwrap();
                let members = self.place("members_$who");
                let script = script.replace("/etc/shop-members", &members);
                action["script"] = format!("{WHO}\n{script}").into();
            }
        }
        let busy = &mut fleet["triggers"][0];
        let target = |name: &&str| {
            let all = busy["steps"].as_array().unwrap();
            all.iter().find(|step| step["action"] == **name).cloned()
        };
        let ordered: Vec<Value> = steps.iter().map(|name| target(name).unwrap()).collect();
        busy["steps"] = ordered.into();
        for trigger in fleet["triggers"].as_array_mut().unwrap() {
            set(trigger, json!({"timing": "3s"}));
        }
        fleet.to_string()
    }

    /// From a cluster of one calm node to the run of its breach, ended.
    fn grow(&mut self, steps: &[&str]) -> Value {
        self.lab.headroom.apply(&self.fleet(steps));
        self.lab.headroom.serve();
        wait::until("a decision that all is quiet", SOON, || {
            let quiet = |trigger: &str| self.lab.decision(trigger)["outcome"] == "quiet";
            (quiet("web-busy") && quiet("web-quiet")).then_some(())
        });
        assert_eq!(self.lab.runs(), Vec::<Value>::new(), "all is quiet");
        self.lab.set_load(0, 99);
        let run = wait::until("the run", SOON, || self.lab.runs().first().cloned());
        self.lab.set_load(0, CALM);
        let run = self.ended(&run["id"]);
        let steps: Vec<Value> = steps
            .iter()
            .map(|name| json!([name, "succeeded"]))
            .collect();
        assert_eq!(states(&run), steps, "{run:#}");
        assert_eq!(run["state"], "succeeded", "{run:#}");
        run
    }

    fn ended(&self, id: &Value) -> Value {
        wait::until(&format!("run {id} to end"), LIMIT, || {
            let run = self.lab.headroom.get(&format!("/runs/{id}"));
            ENDED
                .contains(&run["state"].as_str().unwrap())
                .then_some(run)
        })
    }

    /// What each step has done, as those see it whom it was done to.
    fn check_grown(&self, run: &Value) {
        let alive = tokio(self.cloud.alive());
        assert_eq!(alive.len(), 1, "one instance was launched: {alive:#?}");
        let (id, tags) = (&alive[0].id, &alive[0].tags);
        assert_eq!(
            (tags["Name"].as_str(), tags["Cluster"].as_str()),
            ("web02", "web")
        );
        assert_eq!(tags["headroom:run"], run["id"].to_string());
        assert_eq!(self.faults.calls("RunInstances"), 1);
        assert_eq!(
            self.cloud.members(BALANCER),
            [self.first.clone(), id.clone()],
            "it is behind the balancer"
        );
        let read = |name: &str| fs::read_to_string(self.place(name)).unwrap();
        assert_eq!(read("configured"), "configured by puppet\n");
        assert_eq!(
            read("srv/web02/current/VERSION"),
            "1.2\n",
            "Fabric has released it"
        );
        for place in &self.lab.places()[..2] {
            let members = read(&format!("members_{}", place.name));
            assert_eq!(members, "127.0.0.2\n", "{} knows the new node", place.name);
        }
        let mailbox = self.lab.mail.mailbox();
        assert_eq!(mailbox.len(), 1, "{mailbox:#?}");
        assert_eq!(mailbox[0]["subject"], "web has grown by web02");
        assert_eq!(mailbox[0]["to"], json!(["ops@example.org"]));
        let text = mailbox[0]["text"].as_str().unwrap();
        let served = format!("web02 ({id}, 127.0.0.2) serves web.");
        assert!(
            text.contains(&served) && text.contains("Why: the mean of load1"),
            "{text}"
        );
        self.check_decision("web-busy", &run["id"], "load1");

        let cookie = self.lab.headroom.login("admin", PASSWORD);
        let page = self
            .lab
            .headroom
            .page(&cookie, &format!("/runs/{}", run["id"]));
        for words in [
            &format!("{id} is launched"),
            &format!("{id} runs at 127.0.0.2"),
            "an SSH server answers on 127.0.0.2",
            &format!("{id} is behind load balancer {BALANCER}"),
            "1 resources changed, 0 failed",
            "shop-1.2 is released in",
            "accepted as",
            "web has grown by web02",
            "add-node: succeeded",
            "tell-grown: succeeded",
            "the run has succeeded",
        ] {
            assert!(page.contains(words), "{words} is not on the page: {page}");
        }
    }

    fn check_decision(&self, trigger: &str, run: &Value, counter: &str) {
        let all = self
            .lab
            .headroom
            .get(&format!("/decisions?trigger={trigger}"));
        let items = all["items"].as_array().unwrap();
        let fired = items.iter().find(|decision| decision["run"] == *run);
        let fired = fired.unwrap_or_else(|| panic!("nothing explains run {run}: {items:#?}"));
        assert_eq!(fired["outcome"], "fired");
        assert!(
            fired["reason"].as_str().unwrap().contains(counter),
            "{fired}"
        );
    }

    /// The new node is read like any other.
    fn collected(&self) -> Value {
        let node = self.lab.headroom.get("/nodes/web02");
        assert_eq!(
            (&node["cluster"], &node["address"]),
            (&json!("web"), &json!("127.0.0.2")),
            "{node:#}"
        );
        wait::until("readings of the new node", SOON, || {
            let series = self.lab.headroom.get("/series?node=web02&counter=load1");
            let points = series[0]["data"].as_array()?.clone();
            points
                .iter()
                .any(|point| point[1] == f64::from(CALM))
                .then_some(())
        });
        node
    }

    /// All nodes become quiet: the new one is drained, terminated and forgotten, once.
    fn shrink(&self, node: &Value) {
        let id = tokio(self.cloud.alive())[0].id.clone();
        for index in 0..2 {
            self.lab.set_load(index, 0);
        }
        let run = wait::until("the second run", SOON, || {
            let runs = self.lab.runs();
            runs.into_iter().find(|run| run["trigger"] == "web-quiet")
        });
        let run = self.ended(&run["id"]);
        assert_eq!(
            states(&run),
            [
                json!(["remove-node", "succeeded"]),
                json!(["tell-shrunk", "succeeded"])
            ],
            "{run:#}"
        );
        let outputs = &run["steps"][0]["outputs"];
        assert_eq!(
            (&outputs["node"], &outputs["instance_id"]),
            (&node["name"], &json!(id))
        );
        assert!(
            outputs["drain_secs"].as_f64().unwrap() >= 0.2,
            "it was drained: {outputs}"
        );
        assert!(tokio(self.cloud.alive()).is_empty(), "terminated");
        let members = self.cloud.members(BALANCER);
        assert_eq!(members, std::slice::from_ref(&self.first), "deregistered");
        let nodes = self.lab.headroom.get("/nodes");
        let names: Vec<&Value> = nodes["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| &node["name"])
            .collect();
        assert_eq!(names, ["web01"]);
        assert_eq!(self.faults.calls("TerminateInstances"), 1);
        let mailbox = self.lab.mail.mailbox();
        assert_eq!(mailbox[1]["subject"], "web has shrunk by web02");
        assert!(
            mailbox[1]["text"].as_str().unwrap().contains(&id),
            "{mailbox:#?}"
        );
        self.check_decision("web-quiet", &run["id"], "idle1");
        let cookie = self.lab.headroom.login("admin", PASSWORD);
        let page = self
            .lab
            .headroom
            .page(&cookie, &format!("/runs/{}", run["id"]));
        for words in [
            id.as_str(),
            "remove-node: succeeded",
            "the run has succeeded",
        ] {
            assert!(page.contains(words), "{words} is not on the page: {page}");
        }

        // Still quiet, and the last node stays.
        let since = self.lab.decision("web-quiet")["last"].clone();
        wait::until("a later decision", SOON, || {
            let decision = self.lab.decision("web-quiet");
            (decision["last"] != since && decision["outcome"] != "fired").then_some(())
        });
        assert_eq!(self.lab.runs().len(), 2, "{:#?}", self.lab.runs());
    }
}

fn set(object: &mut Value, more: Value) {
    let Value::Object(more) = more else {
        panic!("{more} is no object")
    };
    for (key, value) in more {
        object[key.as_str()] = value;
    }
}

fn states(run: &Value) -> Vec<Value> {
    let steps = run["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| json!([step["name"], step["state"]]))
        .collect()
}

/// Waits for one answer of the cloud.
fn tokio<T>(answer: impl Future<Output = T>) -> T {
    let runtime = ::tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(answer)
}
