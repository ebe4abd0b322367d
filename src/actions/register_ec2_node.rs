//! RegisterEc2Node: puts a launched node behind its balancers, as a step of its own after it was configured.

use askama::Template as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::ec2::launching::register;
use super::ec2::wait::Wait;
use super::ec2::{Progress, at};
use super::{
    Action, Attempt, Effect, Facts, Fields, Outcome, Outputs, Recovery, Scope, Settings, Site,
};
use crate::error::{Error, Result};
use crate::models::node::Node;
use crate::models::{NodeId, StepTarget};

/// The settings of a RegisterEc2Node: everything stands in the profile that the node was launched from.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/register_ec2_node.html")]
pub struct RegisterEc2Node;

impl Settings for RegisterEc2Node {
    const FACTS: Facts = Facts {
        default_timeout_secs: 600,
        undo: Some("Deregisters the node."),
        ..Facts::plain(
            "Puts a launched node behind the balancers of its profile.",
            &[StepTarget::LastNode, StepTarget::Node],
        )
    };
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{}"#;

    fn read(_: &mut Fields<'_>) -> Self {
        Self
    }
}

impl Action for RegisterEc2Node {
    fn recovery(&self) -> Recovery {
        // To be registered twice is to be registered.
        Recovery::Repeat
    }

    fn summary(&self) -> String {
        "behind the balancers of its profile".into()
    }

    fn html(&self) -> Result<String> {
        self.render()
            .map_err(|cause| Error::internal("the settings of a RegisterEc2Node as a page", cause))
    }

    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>> {
        let host = scope.hosts()?.first();
        let node = host.map(|host| host.node);
        let node = node.ok_or_else(|| Error::Conflict("there is no node to register".into()))?;
        Ok(Box::new(Register { node }))
    }
}

struct Register {
    node: NodeId,
}

impl Effect for Register {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let mut progress = Progress::new();
            let done = self.register(attempt, &mut progress).await;
            progress.end(done.map_err(at("register")))
        }
        .boxed()
    }

    fn undo<'a>(&'a self, attempt: &'a Attempt, _: &'a Outputs) -> BoxFuture<'a, Outcome> {
        async move {
            let mut progress = Progress::new();
            let done = self.deregister(attempt, &mut progress).await;
            progress.end(done.map_err(at("deregister")))
        }
        .boxed()
    }
}

impl Register {
    async fn register(&self, attempt: &Attempt, progress: &mut Progress) -> Result<()> {
        let (node, id, site) = self.site(attempt).await?;
        if site.balancers().is_empty() {
            return Err(Error::Conflict(format!(
                "the ec2 profile \"{}\" of {} names neither load_balancer nor target_group_arn",
                site.profile.name, node.name
            )));
        }
        progress.give("node", node.name);
        progress.give("instance_id", id.clone());
        register(&Wait::of(attempt), &site, &id, progress).await
    }

    async fn deregister(&self, attempt: &Attempt, progress: &mut Progress) -> Result<()> {
        let (_, id, site) = match self.site(attempt).await {
            // A node that is gone is behind no balancer.
            Err(Error::NotFound(_)) => return Ok(()),
            other => other?,
        };
        for balancer in site.balancers() {
            site.ec2
                .deregister(&balancer, &id, attempt.deadline)
                .await?;
            progress.done("deregister", format!("{id} leaves {balancer}"));
        }
        Ok(())
    }

    async fn site(&self, attempt: &Attempt) -> Result<(Node, String, Site)> {
        let id = self.node;
        let node = attempt
            .tools
            .db
            .read(move |conn| Node::find(conn, id))
            .await?;
        let (Some(profile), Some(instance)) = (node.ec2_profile_id, node.instance_id.clone())
        else {
            return Err(Error::Conflict(format!(
                "{} was not launched from an ec2 profile, so it has no balancer",
                node.name
            )));
        };
        let site = attempt.tools.cloud.site_of(profile).await?;
        Ok((node, instance, site))
    }
}
