//! Terminates one very instance that no node in service stands for.

use chrono::Utc;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::draining::take_out;
use super::wait::{Wait, ended, refuse_doubt, terminated};
use super::{Progress, SITE_TAG, at};
use crate::actions::{Attempt, Effect, Found, Outcome, Site};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::former_node::FormerNode;
use crate::models::node::Node;
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{NodeState, installation, node_claim, to_ms};

/// A reaping that can begin.
pub struct Reap {
    pub instance_id: String,
    pub ec2_profile: String,
}

impl Effect for Reap {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let mut progress = Progress::new();
            let done = self.reap(attempt, &mut progress).await;
            progress.end(done.map_err(at("reap")))
        }
        .boxed()
    }

    fn look_up<'a>(&'a self, _: &'a Attempt) -> BoxFuture<'a, Result<Found>> {
        // To terminate twice is to terminate; whether it may be is looked at each time.
        async { Ok(Found::NotDone) }.boxed()
    }
}

impl Reap {
    async fn reap(&self, attempt: &Attempt, progress: &mut Progress) -> Result<()> {
        let site = attempt.tools.cloud.site(&self.ec2_profile).await?;
        let id = &self.instance_id;
        progress.give("instance_id", id.clone());
        self.check(attempt, false).await?;
        self.look(attempt, &site).await?;
        take_out(attempt, &site, id).await?;
        self.check(attempt, false).await?;
        let node = self.look(attempt, &site).await?;
        let ids = [id.clone()];
        let wait = Wait {
            attempt: None,
            ..Wait::of(attempt)
        };
        let unknown = terminated(&wait, &site, &ids, attempt.tools.cloud.pace.settle).await?;
        if let (false, Some(node)) = (unknown.is_empty(), &node) {
            refuse_doubt(&site, node)?;
        }
        self.check(attempt, true).await?;
        progress.done("reap", ended(&ids, &unknown));
        Ok(())
    }

    /// Refuses an instance that does not carry this Headroom's tag (any more), and one that EC2 does not list and no node names. Gives the
    /// node that names it.
    async fn look(&self, attempt: &Attempt, site: &Site) -> Result<Option<Node>> {
        let id = self.instance_id.clone();
        let read =
            move |conn: &mut Connection| Ok((node_of(conn, &id)?, installation::known_tag(conn)?));
        let (node, ours) = attempt.tools.db.read(read).await?;
        let ids = [self.instance_id.clone()];
        let found = site.ec2.instances(&ids, attempt.deadline).await?;
        let refusal = match found.first() {
            Some(instance) if instance.state.is_gone() => None,
            Some(instance) => (ours.is_none() || instance.tags.get(SITE_TAG) != ours.as_ref())
                .then(|| format!("it does not carry this Headroom's tag {SITE_TAG}")),
            None => node.is_none().then(|| {
                let region = &site.profile.region;
                format!("EC2 in {region} does not list it and no node names it; look again on the page Instances")
            }),
        };
        match refusal {
            None => Ok(node),
            Some(why) => Err(Error::Conflict(format!(
                "{} is not reaped: {why}",
                self.instance_id
            ))),
        }
    }

    /// Refuses an instance that serves or is at work; with `gone`, takes the row of an unfinished node away.
    async fn check(&self, attempt: &Attempt, gone: bool) -> Result<()> {
        let (id, token) = (self.instance_id.clone(), attempt.token.clone());
        attempt
            .write(move |conn| {
                let Some(node) = node_of(conn, &id)? else {
                    return Ok(());
                };
                if node.state == NodeState::InService && !gone {
                    return Err(Error::Conflict(format!(
                        "{id} is not reaped: {} stands for it and is in service; remove the node",
                        node.name
                    )));
                }
                if let Some(run) = at_work(conn, &node)? {
                    return Err(Error::Conflict(format!(
                        "{id} is not reaped: run {run} is at work on {}",
                        node.name
                    )));
                }
                if gone {
                    FormerNode::keep(
                        conn,
                        &node,
                        Some(&token),
                        "its instance was reaped",
                        to_ms(Utc::now()),
                    )?;
                }
                Ok(())
            })
            .await
    }
}

fn node_of(conn: &mut Connection, id: &str) -> Result<Option<Node>> {
    let mut nodes = Node::all(conn)?.into_iter();
    Ok(nodes.find(|node| node.instance_id.as_deref() == Some(id)))
}

fn at_work(conn: &mut Connection, node: &Node) -> Result<Option<crate::models::RunId>> {
    let tokens = node_claim::of_node(conn, node.id)?;
    let open: Vec<_> = Run::open(conn)?.into_iter().map(|run| run.id).collect();
    let steps = StepRun::of_runs(conn, &open)?.into_iter();
    let mut working = steps.filter(|step| {
        step.token
            .as_ref()
            .is_some_and(|token| tokens.contains(token))
    });
    Ok(working.next().map(|step| step.run_id))
}
