//! DeployEc2Node: launches an instance and makes it a node.
//!
//! Whatever is interrupted can be gone on with, by the step's token alone: the node's row is there before the launch and carries the token,
//! the launch carries it too and gives the same instance when it is repeated, and so does the instance, as a tag.

use std::collections::BTreeMap;

use askama::Template as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::Instant;

use super::ec2::launching::{find_launched, outputs, refused, register, unfinished};
use super::ec2::rows::{self, Found as Known, Launching, NewLaunch};
use super::ec2::wait::{self, Wait};
use super::ec2::{
    LAST_LIMIT, PROFILE_TAG, Part, Progress, RUN_TAG, SITE_TAG, STEP_TAG, TOKEN_TAG, at, output,
};
use super::{
    Action, Attempt, Effect, Facts, Fields, Found, Outcome, Outputs, Recovery, Scope, Settings,
    Site,
};
use crate::clients::ec2::{Fault, FaultKind, Launch};
use crate::error::{Error, Result};
use crate::models::ec2_profile::WaitFor;
use crate::models::{NodeState, StepTarget};

/// The settings of a DeployEc2Node.
#[derive(Debug, Clone, PartialEq, Eq, askama::Template)]
#[template(path = "actions/deploy_ec2_node.html")]
pub struct DeployEc2Node {
    /// What to launch.
    pub ec2_profile: String,
    /// How to log in to the node.
    pub ssh_profile: String,
    /// The node's JVMs.
    pub jvm_profiles: Vec<String>,
    /// Whether a later step puts the node behind its balancer.
    pub register_after: bool,
}

impl Settings for DeployEc2Node {
    const FACTS: Facts = Facts {
        default_timeout_secs: 600,
        capacity_change: 1,
        undo: Some("Deregisters and terminates the instance, and takes the node away."),
        ..Facts::plain(
            "Launches an EC2 instance and makes it a node of the cluster.",
            &[StepTarget::Cluster],
        )
    };
    #[cfg(test)]
    const SAMPLE: &'static str = r#"{"ec2_profile": "web-small", "ssh_profile": "ops", "jvm_profiles": ["tomcat"], "register": "after"}"#;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            ec2_profile: fields.required_text("ec2_profile"),
            ssh_profile: fields.required_text("ssh_profile"),
            jvm_profiles: fields.optional_texts("jvm_profiles"),
            register_after: fields.choice("register", &["launch", "after"]) == Some("after"),
        }
    }
}

impl Action for DeployEc2Node {
    fn recovery(&self) -> Recovery {
        Recovery::LookUp
    }

    fn summary(&self) -> String {
        format!("one more from {}", self.ec2_profile)
    }

    fn html(&self) -> Result<String> {
        self.render()
            .map_err(|cause| Error::internal("the settings of a DeployEc2Node as a page", cause))
    }

    fn prepare(&self, scope: &Scope) -> Result<Box<dyn Effect>> {
        let value = |name| scope.values.get(name).cloned().unwrap_or_default();
        Ok(Box::new(Deploy {
            settings: self.clone(),
            cluster: scope.cluster()?.to_owned(),
            run: value("run.id"),
            step: scope.step_name.clone(),
        }))
    }
}

/// A launch that can begin.
struct Deploy {
    settings: DeployEc2Node,
    cluster: String,
    run: String,
    step: String,
}

impl Effect for Deploy {
    fn perform<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Outcome> {
        async move {
            let mut progress = Progress::new();
            let done = self.deploy(attempt, &mut progress).await;
            progress.end(done)
        }
        .boxed()
    }

    fn look_up<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Found>> {
        async move {
            let (node, former) = rows::of_token(&attempt.tools.db, &attempt.token).await?;
            Ok(match (node, former) {
                (Some(node), _) if node.state == NodeState::InService => Found::Done(Outcome {
                    outputs: outputs(&node),
                    ..Outcome::default()
                }),
                (Some(node), _) => Found::Begun(Outcome {
                    outputs: outputs(&node),
                    ..Outcome::failed(unfinished(&node))
                }),
                (None, Some(former)) => {
                    let what = format!(
                        "{} was launched and is gone: {}",
                        former.name, former.reason
                    );
                    Found::Done(Outcome::failed(Error::Conflict(what)))
                }
                // The row comes before the launch: without one, nothing was launched.
                (None, None) => Found::NotDone,
            })
        }
        .boxed()
    }

    fn undo<'a>(&'a self, attempt: &'a Attempt, outputs: &'a Outputs) -> BoxFuture<'a, Outcome> {
        async move {
            let mut progress = Progress::new();
            let done = self.take_back(attempt, outputs, &mut progress).await;
            progress.end(done.map_err(at("take back")))
        }
        .boxed()
    }
}

impl Deploy {
    async fn deploy(&self, attempt: &Attempt, progress: &mut Progress) -> Part<()> {
        let token = attempt.token.as_str();
        let site = attempt
            .tools
            .cloud
            .site(&self.settings.ec2_profile)
            .await
            .map_err(at("profile"))?;
        let launching = rows::begin_launch(attempt, self.new_launch(&site, token))
            .await
            .map_err(at("node"))?;
        progress.give("node", launching.node.name.clone());
        if *attempt.cancelled.borrow() && !launching.resumed {
            let fault = Fault {
                kind: FaultKind::Refused,
                what: format!("{} before the launch", attempt.why_stopped()),
            };
            return Err(("launch", refused(attempt, fault, progress).await));
        }
        progress.done(
            "node",
            format!("{} is added to {}", launching.node.name, self.cluster),
        );

        let id = match &launching.node.instance_id {
            Some(id) => id.clone(),
            None => self
                .launch(attempt, &site, &launching, progress)
                .await
                .map_err(at("launch"))?,
        };
        progress.give("instance_id", id.clone());
        let known = Known {
            instance_id: Some(id.clone()),
            ..Known::default()
        };
        rows::note(attempt, known).await.map_err(at("launch"))?;
        progress.done("launch", format!("{id} is launched"));
        if launching.resumed {
            alive(attempt, &site, &launching, &id)
                .await
                .map_err(at("running"))?;
        }
        self.bring_into_service(attempt, &site, &launching, &id, progress)
            .await
    }

    /// Waits for the instance as the profile says, and makes the node one in service.
    async fn bring_into_service(
        &self,
        attempt: &Attempt,
        site: &Site,
        launching: &Launching,
        id: &str,
        progress: &mut Progress,
    ) -> Part<()> {
        let waits = Wait::of(attempt);
        let (_, address) = wait::running(&waits, site, id)
            .await
            .map_err(at("running"))?;
        progress.give("address", address.clone());
        progress.give_secs("running_secs");
        let known = Known {
            address: Some(address.clone()),
            ..Known::default()
        };
        rows::note(attempt, known).await.map_err(at("running"))?;
        progress.done("running", format!("{id} runs at {address}"));

        let wait_for = site.profile.wait_for().map_err(at("profile"))?;
        if wait_for != WaitFor::Running {
            let port = launching.ssh_port;
            wait::ssh(&waits, site, id, &address, port)
                .await
                .map_err(at("ssh"))?;
            progress.give_secs("ssh_secs");
            progress.done("ssh", format!("an SSH server answers on {address}:{port}"));
        }
        if !self.settings.register_after {
            register(&waits, site, id, progress)
                .await
                .map_err(at("register"))?;
        }
        let known = Known {
            state: Some(NodeState::InService),
            ..Known::default()
        };
        rows::note(attempt, known).await.map_err(at("in service"))?;
        progress.give_secs("in_service_secs");
        progress.done(
            "in service",
            format!("{} is in service", launching.node.name),
        );
        Ok(())
    }

    fn new_launch(&self, site: &Site, token: &str) -> NewLaunch {
        NewLaunch {
            cluster: self.cluster.clone(),
            ssh_profile: self.settings.ssh_profile.clone(),
            jvm_profiles: self.settings.jvm_profiles.clone(),
            ec2_profile: site.profile.id,
            token: token.to_owned(),
        }
    }

    /// Launches the instance, or finds the one that was launched with the token.
    async fn launch(
        &self,
        attempt: &Attempt,
        site: &Site,
        launching: &Launching,
        progress: &mut Progress,
    ) -> Result<String> {
        let tags = self.tags(launching, &attempt.token);
        let launch = self.order(site, &attempt.token, tags.clone())?;
        let fault = match site.ec2.launch(&launch, attempt.deadline).await {
            Ok(instance) => return Ok(instance.id),
            Err(fault) => fault,
        };
        if fault.kind == FaultKind::TokenReused {
            // The profile was edited between a lost launch and its repetition: the instance of the first one is there.
            let found = find_launched(attempt, site).await?;
            let none = found.is_empty();
            if let Some(instance) = found.into_iter().find(|found| !found.state.is_gone()) {
                site.ec2.tag(&instance.id, &tags, attempt.deadline).await?;
                return Ok(instance.id);
            }
            if none {
                return Err(Error::Conflict(format!(
                    "{fault}; so EC2 has accepted an earlier launch of this step, and does not list its instance yet; undo the step to look again and terminate it"
                )));
            }
            return Err(refused(attempt, fault, progress).await);
        }
        let none = matches!(
            fault.kind,
            FaultKind::Capacity | FaultKind::Quota | FaultKind::TokenSpent
        );
        let certain = none || (!launching.resumed && fault.kind != FaultKind::Lost);
        if certain {
            return Err(refused(attempt, fault, progress).await);
        }
        Err(fault.into())
    }

    fn order(&self, site: &Site, token: &str, tags: BTreeMap<String, String>) -> Result<Launch> {
        let profile = &site.profile;
        Ok(Launch {
            token: token.to_owned(),
            image_id: profile.image_id.clone(),
            instance_type: profile.instance_type.clone(),
            key_name: profile.key_name.clone(),
            security_groups: profile.security_groups()?,
            subnet_id: profile.subnet_id.clone(),
            user_data: profile.user_data.clone(),
            tags,
        })
    }

    fn tags(&self, launching: &Launching, token: &str) -> BTreeMap<String, String> {
        [
            ("Name", launching.node.name.as_str()),
            ("Cluster", &self.cluster),
            (PROFILE_TAG, &self.settings.ec2_profile),
            (RUN_TAG, &self.run),
            (STEP_TAG, &self.step),
            (TOKEN_TAG, token),
            (SITE_TAG, &launching.site),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    async fn take_back(
        &self,
        attempt: &Attempt,
        outputs: &Outputs,
        progress: &mut Progress,
    ) -> Result<()> {
        let (db, token) = (&attempt.tools.db, &attempt.token);
        let (node, _) = rows::of_token(db, token).await?;
        let site = match node.as_ref().and_then(|node| node.ec2_profile_id) {
            Some(profile) => attempt.tools.cloud.site_of(profile).await?,
            None => attempt.tools.cloud.site(&self.settings.ec2_profile).await?,
        };
        let told = output(outputs, "instance_id").map(str::to_owned);
        let noted = || node.as_ref().and_then(|node| node.instance_id.clone());
        let mut ids: Vec<String> = told.or_else(noted).into_iter().collect();
        let found = if ids.is_empty() {
            find_launched(attempt, &site).await?
        } else {
            site.ec2.tagged(TOKEN_TAG, token, attempt.deadline).await?
        };
        ids.extend(found.into_iter().map(|found| found.id));
        ids.sort();
        ids.dedup();
        for id in &ids {
            for balancer in site.balancers() {
                // A balancer that cannot be asked must not keep a machine alive; one that is terminated leaves it anyway.
                let soon = attempt.deadline.min(Instant::now() + LAST_LIMIT);
                if let Err(fault) = site.ec2.deregister(&balancer, id, soon).await {
                    progress.failed("deregister", fault.to_string());
                }
            }
        }
        if ids.is_empty() {
            progress.done("terminate", "no instance was launched");
        } else {
            let settle = attempt.tools.cloud.pace.settle;
            let unknown = wait::terminated(&Wait::of(attempt), &site, &ids, settle).await?;
            if let (false, Some(node)) = (unknown.is_empty(), &node) {
                wait::refuse_doubt(&site, node)?;
            }
            progress.done("terminate", wait::ended(&ids, &unknown));
        }
        rows::gone(attempt, "its launch was taken back").await
    }
}

/// An instance that an earlier attempt launched and that is gone can never come into service, however often it is tried.
async fn alive(attempt: &Attempt, site: &Site, launching: &Launching, id: &str) -> Result<()> {
    let ids = [id.to_owned()];
    let found = site.ec2.instances(&ids, attempt.deadline).await?;
    match found.first() {
        Some(instance) if instance.state.is_gone() => Err(Error::Conflict(format!(
            "{id} of {} is {}, so it never comes into service; undo the step first, then run it anew",
            launching.node.name, instance.state
        ))),
        _ => Ok(()),
    }
}
