//! RemoveEc2Node: takes a launched node out: preflight, drain, look again, terminate, confirm.
//!
//! Which node is decided once, in the transaction that marks it `draining` with the step's token; whoever goes on after a crash finds it there.

use std::cmp::Reverse;
use std::fmt;

use askama::Template as _;
use chrono::Utc;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::ec2::draining::{Stopped, drain_and_terminate, put_back, take_out};
use super::ec2::leaving::{self, Leaving, Removal};
use super::ec2::lowest::lowest;
use super::ec2::reap::Reap;
use super::ec2::wait::{self, Wait};
use super::ec2::{Part, Progress, at, rows};
use super::{
    Action, Attempt, Effect, Facts, Fields, Found, Outcome, Recovery, Scope, Settings, Site,
};
use crate::clients::ec2::Balancer;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::cluster::Cluster;
use crate::models::counter::Counter;
use crate::models::former_node::FormerNode;
use crate::models::node::{self, Node};
use crate::models::{NodeId, StepTarget, to_ms};
use crate::samples::SeriesKey;

/// Which node of a cluster goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// The one that was made last.
    Newest,
    /// The one that was made first.
    Oldest,
    /// The one with the lowest fresh value of a counter; where it has several JVMs, their highest counts.
    Lowest(String),
}

impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("the newest node"),
            Self::Oldest => f.write_str("the oldest node"),
            Self::Lowest(counter) => write!(f, "the node with the lowest {counter}"),
        }
    }
}

/// The settings of a RemoveEc2Node.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/remove_ec2_node.html")]
pub struct RemoveEc2Node {
    /// Which node, where the step is on a cluster.
    pub select: Select,
    /// One very instance that no node in service stands for, and the profile through which it is reached.
    pub orphan: Option<(String, String)>,
}

impl Settings for RemoveEc2Node {
    const FACTS: Facts = Facts {
        default_timeout_secs: 900,
        capacity_change: -1,
        ..Facts::plain(
            "Drains one node that Headroom launched, terminates its instance and takes it away.",
            &[
                StepTarget::Cluster,
                StepTarget::LastNode,
                StepTarget::Node,
                StepTarget::None,
            ],
        )
    };
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{"select": "lowest:load1"}"#;

    fn read(fields: &mut Fields<'_>) -> Self {
        let text = fields.optional_text("select");
        let select = match text.as_deref() {
            None | Some("newest") => Select::Newest,
            Some("oldest") => Select::Oldest,
            Some(other) => match other.strip_prefix("lowest:") {
                Some(counter) if !counter.is_empty() => Select::Lowest(counter.to_owned()),
                _ => {
                    fields.fault("select", "must be newest, oldest or lowest:COUNTER");
                    Select::Newest
                }
            },
        };
        let orphan = (
            fields.optional_text("instance_id"),
            fields.optional_text("ec2_profile"),
        );
        if orphan.0.is_some() != orphan.1.is_some() {
            fields.fault(
                "instance_id",
                "belongs together with ec2_profile, through which it is reached",
            );
        }
        Self {
            select,
            orphan: orphan.0.zip(orphan.1),
        }
    }
}

impl Action for RemoveEc2Node {
    fn recovery(&self) -> Recovery {
        Recovery::LookUp
    }

    fn summary(&self) -> String {
        match &self.orphan {
            Some((instance, _)) => instance.clone(),
            None => self.select.to_string(),
        }
    }

    fn html(&self) -> Result<String> {
        self.render()
            .map_err(|cause| Error::internal("the settings of a RemoveEc2Node as a page", cause))
    }

    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>> {
        if let Some((instance_id, ec2_profile)) = self.orphan.clone() {
            return Ok(Box::new(Reap {
                instance_id,
                ec2_profile,
            }));
        }
        if scope.target == Some(StepTarget::None) {
            return Err(Error::Conflict("on nothing, only an instance that the action names can be removed; choose a cluster or a node".into()));
        }
        let named = match scope.target {
            Some(StepTarget::Cluster) | None => None,
            // A node that is gone meanwhile leaves nothing to choose; the look-up says what became of it.
            _ => Some(scope.hosts.iter().map(|host| host.node).collect()),
        };
        Ok(Box::new(Remove {
            select: self.select.clone(),
            named,
            cluster: scope.cluster()?.to_owned(),
            run: scope.values.get("run.id").cloned().unwrap_or_default(),
        }))
    }
}

struct Remove {
    select: Select,
    named: Option<Vec<NodeId>>,
    cluster: String,
    run: String,
}

impl Effect for Remove {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let mut progress = Progress::new();
            let done = self.remove(attempt, &mut progress).await;
            progress.end(done)
        }
        .boxed()
    }

    fn look_up<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Found>> {
        async move {
            let (node, former) = rows::of_token(&attempt.tools.db, &attempt.token).await?;
            Ok(match (node, former) {
                (Some(node), _) => Found::Begun(Outcome::failed(Error::Conflict(format!(
                    "the removal of {} was not finished; its page says where it stands and puts it back into service",
                    node.name
                )))),
                (None, Some(former)) => Found::Done(was_removed(&former)),
                (None, None) => Found::NotDone,
            })
        }
        .boxed()
    }
}

impl Remove {
    async fn remove(&self, attempt: &Attempt, progress: &mut Progress) -> Part<()> {
        let chosen = async {
            let order = self.order(attempt).await?;
            let removal = Removal {
                cluster: self.cluster.clone(),
                order,
                token: attempt.token.clone(),
                run: self.run.clone(),
            };
            let leaving = leaving::begin(attempt, removal).await?;
            let site = site(attempt, &leaving.node).await?;
            Ok::<_, Error>((leaving, site))
        };
        let (leaving, site) = chosen.await.map_err(at("preflight"))?;
        let (name, id) = (leaving.node.name.clone(), leaving.instance_id.clone());
        progress.give("node", name.clone());
        progress.give("instance_id", id.clone());
        progress.give("address", leaving.node.address.clone());
        progress.done(
            "preflight",
            format!("{name} ({id}) is taken out of service"),
        );

        // Where an earlier attempt had begun to deregister, nobody knows any more where the instance was.
        let mut left = if leaving.resumed {
            site.balancers()
        } else {
            Vec::new()
        };
        if !is_going(attempt, &site, &id).await.map_err(at("drain"))? {
            let done = drain_and_terminate(attempt, &site, &leaving, &mut left, progress).await;
            if let Err((part, cause)) = done {
                return Err((
                    part,
                    put_back(attempt, &site, &leaving, &left, cause, progress).await,
                ));
            }
        } else {
            take_out(attempt, &site, &id).await.map_err(at("drain"))?;
        }
        confirm(attempt, &site, &leaving, &left, progress)
            .await
            .map_err(at("confirm"))
    }

    /// The nodes that may go, those to go first before the others.
    async fn order(&self, attempt: &Attempt) -> Result<Vec<NodeId>> {
        if let Some(named) = &self.named {
            return Ok(named.clone());
        }
        let (cluster, select) = (self.cluster.clone(), self.select.clone());
        let read = move |conn: &mut Connection| {
            let cluster = Cluster::by_name(conn, &cluster)?;
            let mut nodes = Node::of_cluster(conn, cluster.id)?;
            nodes.retain(|node| node.instance_id.is_some() && node.ec2_profile_id.is_some());
            let readings = match &select {
                Select::Lowest(name) => Some(readings(conn, &nodes, name)?),
                Select::Newest | Select::Oldest => None,
            };
            Ok((nodes, readings))
        };
        let (mut nodes, readings) = attempt.tools.db.read(read).await?;
        match (&self.select, readings) {
            (Select::Oldest, _) => nodes.sort_by_key(|node| (node.created_ms, node.id)),
            (Select::Lowest(_), Some((counter, keys))) if !nodes.is_empty() => {
                return by_lowest(attempt, &counter, &keys).await;
            }
            _ => nodes.sort_by_key(|node| Reverse((node.created_ms, node.id))),
        }
        Ok(nodes.into_iter().map(|node| node.id).collect())
    }
}

/// What a counter gives on some nodes.
type Readings = Vec<(NodeId, Vec<SeriesKey>)>;

/// A counter, and its series on some nodes.
fn readings(conn: &mut Connection, nodes: &[Node], counter: &str) -> Result<(Counter, Readings)> {
    let counter = Counter::by_name(conn, counter)?;
    let profiles = node::jvm_profiles_of_nodes(conn)?;
    let keys = nodes.iter().map(|node| {
        let of_node = profiles.iter().filter(|(id, _)| *id == node.id);
        let jvms: Vec<_> = of_node.map(|(_, jvm)| *jvm).collect();
        let keys: Vec<_> = SeriesKey::of(&counter, node, &jvms).collect();
        (node.id, keys)
    });
    let keys = keys.collect();
    Ok((counter, keys))
}

/// The nodes with fresh values of a counter, the lowest first.
async fn by_lowest(
    attempt: &Attempt,
    counter: &Counter,
    series: &[(NodeId, Vec<SeriesKey>)],
) -> Result<Vec<NodeId>> {
    let cloud = &attempt.tools.cloud;
    let keys: Vec<_> = series.iter().flat_map(|(_, keys)| keys).copied().collect();
    let mut states = cloud.store.states(&keys).await?.into_iter();
    let mut last = Vec::new();
    for (node, keys) in series {
        let of_node = states.by_ref().take(keys.len());
        let samples: Vec<_> = of_node.map(|state| state.and_then(|it| it.last)).collect();
        last.push((*node, samples));
    }
    let tick_ms = i64::try_from(cloud.pace.tick.as_millis()).unwrap_or(i64::MAX);
    let stale_after_ms = counter.stale_after_ms(tick_ms);
    let order = lowest(&last, to_ms(Utc::now()), stale_after_ms);
    if order.is_empty() {
        return Err(Error::Conflict(format!(
            "no node has a value of {} from the last {} s to choose by; is it read, by a trigger of this cluster that names it?",
            counter.name,
            stale_after_ms / 1_000
        )));
    }
    Ok(order)
}

/// Waits for the end of the instance, and takes the node away.
async fn confirm(
    attempt: &Attempt,
    site: &Site,
    leaving: &Leaving,
    left: &[Balancer],
    progress: &mut Progress,
) -> Result<()> {
    let wait = Wait {
        attempt: None,
        ..Wait::of(attempt)
    };
    let settle = attempt.tools.cloud.pace.settle;
    let ids = [leaving.instance_id.clone()];
    let unknown = wait::terminated(&wait, site, &ids, settle).await?;
    let reason = if unknown.is_empty() {
        "removed"
    } else {
        if let Err(doubt) = wait::refuse_doubt(site, &leaving.node) {
            let before = Stopped::Before(doubt);
            return Err(put_back(attempt, site, leaving, left, before, progress).await);
        }
        "removed; EC2 does not know its instance any more"
    };
    rows::gone(attempt, reason).await?;
    let ended = wait::ended(&ids, &unknown);
    progress.done(
        "confirm",
        format!("{ended}, and {} is gone", leaving.node.name),
    );
    Ok(())
}

/// Whether the instance is gone or on its way, after an earlier attempt or by another hand. That EC2 does not list it says nothing.
async fn is_going(attempt: &Attempt, site: &Site, id: &str) -> Result<bool> {
    let found = site
        .ec2
        .instances(&[id.to_owned()], attempt.deadline)
        .await?;
    Ok(found
        .first()
        .is_some_and(|instance| instance.state.is_gone()))
}

async fn site(attempt: &Attempt, node: &Node) -> Result<Site> {
    let profile = node
        .ec2_profile_id
        .ok_or_else(|| Error::Conflict(format!("{} was not launched by Headroom", node.name)))?;
    attempt.tools.cloud.site_of(profile).await
}

fn was_removed(former: &FormerNode) -> Outcome {
    let mut progress = Progress::new();
    progress.give("node", former.name.clone());
    progress.give("instance_id", former.instance_id.clone());
    progress.give("address", former.address.clone());
    progress.done(
        "confirm",
        format!("{} is gone: {}", former.name, former.reason),
    );
    progress.end(Ok(()))
}
