//! An EC2 of a test's own: moto with EC2's real manners (see `cloud.py`), which keeps the list of instances that tests believe.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use headroom::clients::ec2::{Account, Credentials, Ec2, Instance};
use serde_json::json;
use tokio::time::Instant;

use super::{ports, tools, wait};

const SERVER: &str = include_str!("cloud.py");
const START_LIMIT: Duration = Duration::from_secs(60);
/// The region of every test.
pub const REGION: &str = "eu-west-1";

/// A running server; stopped when dropped.
pub struct Cloud {
    server: Child,
    port: u16,
}

impl Cloud {
    /// Starts one whose instances get these addresses, and of which there are at most `limit`.
    pub fn start(addresses: &[String], limit: usize) -> Self {
        let port = ports::free();
        let settings = json!({
            "port": port, "addresses": addresses, "limit": limit,
            "pending": 0.3, "terminating": 0.3, "drain": 0.3,
        });
        let server = Command::new(tools::tool("moto-venv/bin/python"))
            .args(["-c", SERVER, &settings.to_string()])
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let cloud = Self { server, port };
        wait::until("moto to listen", START_LIMIT, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        cloud
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Every instance there ever was, as the API lists them.
    pub async fn instances(&self) -> Vec<Instance> {
        let ec2 = Ec2::open(Account {
            region: REGION.into(),
            endpoint_url: Some(format!("http://127.0.0.1:{}", self.port)),
            credentials: Credentials::Key {
                id: "AKIATEST".into(),
                secret: "secret".into(),
            },
            role: None,
        })
        .await;
        let deadline = Instant::now() + Duration::from_secs(30);
        ec2.tagged("Cluster", "web", deadline).await.unwrap()
    }

    /// The instances that are not gone.
    pub async fn alive(&self) -> Vec<Instance> {
        let all = self.instances().await.into_iter();
        all.filter(|instance| !instance.state.is_gone()).collect()
    }

    /// A classic balancer.
    pub fn add_load_balancer(&self, name: &str) {
        self.ask(
            "elasticloadbalancing",
            &format!(
                "Action=CreateLoadBalancer&Version=2012-06-01&LoadBalancerName={name}&AvailabilityZones.member.1={REGION}a\
                 &Listeners.member.1.Protocol=HTTP&Listeners.member.1.LoadBalancerPort=80&Listeners.member.1.InstancePort=80"
            ),
        );
    }

    /// The instances behind a classic balancer.
    pub fn members(&self, balancer: &str) -> Vec<String> {
        let said = self.ask(
            "elasticloadbalancing",
            &format!(
                "Action=DescribeLoadBalancers&Version=2012-06-01&LoadBalancerNames.member.1={balancer}"
            ),
        );
        let ids = said.split("<InstanceId>").skip(1);
        ids.map(|rest| rest.split('<').next().unwrap().to_owned())
            .collect()
    }

    /// Takes every instance from behind a classic balancer.
    pub fn remove_members(&self, balancer: &str) {
        for id in self.members(balancer) {
            self.ask(
                "elasticloadbalancing",
                &format!(
                    "Action=DeregisterInstancesFromLoadBalancer&Version=2012-06-01&LoadBalancerName={balancer}&Instances.member.1.InstanceId={id}"
                ),
            );
        }
    }

    /// An instance that was there before Headroom, behind a classic balancer; gives its id. One per cloud.
    pub fn add_member(&self, balancer: &str) -> String {
        let said = self.ask_ec2(
            "Action=RunInstances&ImageId=ami-12345678&MinCount=1&MaxCount=1&InstanceType=t3.small",
        );
        let id = between(&said, "<instanceId>", "</instanceId>");
        self.ask(
            "elasticloadbalancing",
            &format!(
                "Action=RegisterInstancesWithLoadBalancer&Version=2012-06-01&LoadBalancerName={balancer}&Instances.member.1.InstanceId={id}"
            ),
        );
        id
    }

    /// An instance with these tags that no run launched; gives its id. A token that was used before gives the same instance.
    pub fn launch(&self, token: &str, tags: &[(&str, &str)]) -> String {
        let mut query = format!(
            "Action=RunInstances&ImageId=ami-12345678&MinCount=1&MaxCount=1&InstanceType=t3.small&ClientToken={token}\
             &TagSpecification.1.ResourceType=instance"
        );
        for ((key, value), number) in tags.iter().zip(1..) {
            let tag = format!("&TagSpecification.1.Tag.{number}");
            query.push_str(&format!("{tag}.Key={key}{tag}.Value={value}"));
        }
        between(&self.ask_ec2(&query), "<instanceId>", "</instanceId>")
    }

    /// Waits until an instance is in a state.
    pub fn until(&self, id: &str, state: &str) {
        let listed = format!("<name>{state}</name>");
        wait::until(&format!("{id} to be {state}"), START_LIMIT, || {
            let told = self.ask_ec2(&format!("Action=DescribeInstances&InstanceId.1={id}"));
            told.contains(&listed).then_some(())
        });
    }

    /// A target group; gives its ARN.
    pub fn add_target_group(&self, name: &str) -> String {
        let vpcs = self.ask("ec2", "Action=DescribeVpcs&Version=2016-11-15");
        let vpc = between(&vpcs, "<vpcId>", "</vpcId>");
        let made = self.ask(
            "elasticloadbalancing",
            &format!("Action=CreateTargetGroup&Version=2015-12-01&Name={name}&Protocol=HTTP&Port=80&VpcId={vpc}"),
        );
        between(&made, "<TargetGroupArn>", "</TargetGroupArn>")
    }

    /// The targets of a group and their states, those among them that leave it.
    pub fn targets(&self, group: &str) -> Vec<(String, String)> {
        let said = self.ask(
            "elasticloadbalancing",
            &format!("Action=DescribeTargetHealth&Version=2015-12-01&TargetGroupArn={group}"),
        );
        let targets = said.split("<member>").skip(1);
        targets
            .map(|it| {
                (
                    between(it, "<Id>", "</Id>"),
                    between(it, "<State>", "</State>"),
                )
            })
            .collect()
    }

    /// Does what no kind does: protect, stop, terminate behind Headroom's back.
    pub fn ask_ec2(&self, query: &str) -> String {
        self.ask("ec2", &format!("{query}&Version=2016-11-15"))
    }

    /// A call without a signature: the header alone says for whom it is.
    fn ask(&self, service: &str, query: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=00\r\n\
             Content-Length: {}\r\n\r\n{query}",
            query.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(status, "200", "{query}: {answer}");
        answer
    }
}

fn between(text: &str, from: &str, to: &str) -> String {
    let (_, rest) = text
        .split_once(from)
        .unwrap_or_else(|| panic!("no {from} in {text}"));
    rest.split_once(to).unwrap().0.to_owned()
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
