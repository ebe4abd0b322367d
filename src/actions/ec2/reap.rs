//! Terminates one very instance that no node in service stands for.

use chrono::Utc;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::wait::{Wait, terminated};
use super::{Progress, at};
use crate::actions::{Attempt, Effect, Found, Outcome};
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::former_node::FormerNode;
use crate::models::node::Node;
use crate::models::run::Run;
use crate::models::step_run::StepRun;
use crate::models::{NodeState, node_claim, to_ms};

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
        for balancer in site.balancers() {
            site.ec2.deregister(&balancer, id, attempt.deadline).await?;
        }
        self.check(attempt, false).await?;
        site.ec2.terminate(id, attempt.deadline).await?;
        let ids = [id.clone()];
        terminated(
            &Wait {
                attempt: None,
                ..Wait::of(attempt)
            },
            &site,
            &ids,
        )
        .await?;
        self.check(attempt, true).await?;
        progress.done("reap", format!("{id} is terminated"));
        Ok(())
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
