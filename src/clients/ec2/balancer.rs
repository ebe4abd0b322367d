//! Balancers: register, deregister, health. The same for both kinds; all of it is safe to repeat.

use aws_sdk_elasticloadbalancing::types::Instance as ClassicInstance;
use aws_sdk_elasticloadbalancingv2::types::{
    TargetDescription, TargetHealth, TargetHealthStateEnum,
};
use tokio::time::Instant;

use super::{Balancer, Ec2, Fault, FaultKind, Health};

impl Ec2 {
    /// Puts an instance behind a balancer.
    ///
    /// # Errors
    /// The balancer or the instance does not exist, or the balancer refuses.
    pub async fn register(
        &self,
        balancer: &Balancer,
        id: &str,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let what = format!("register {id} with {balancer}");
        match balancer {
            Balancer::Classic(name) => {
                let call = self.call(deadline, &what, |clients| {
                    let call = clients.elb.register_instances_with_load_balancer();
                    call.load_balancer_name(name).instances(classic(id)).send()
                });
                call.await.map(drop)
            }
            Balancer::TargetGroup(arn) => {
                let call = self.call(deadline, &what, |clients| {
                    clients
                        .elbv2
                        .register_targets()
                        .target_group_arn(arn)
                        .targets(target(id))
                        .send()
                });
                call.await.map(drop)
            }
        }
    }

    /// Takes an instance from behind a balancer; requests under way are finished. Not to be registered is no error, a balancer that is gone neither.
    ///
    /// # Errors
    /// The balancer refuses or cannot be asked.
    pub async fn deregister(
        &self,
        balancer: &Balancer,
        id: &str,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let what = format!("deregister {id} from {balancer}");
        let done = match balancer {
            Balancer::Classic(name) => {
                let call = self.call(deadline, &what, |clients| {
                    let call = clients.elb.deregister_instances_from_load_balancer();
                    call.load_balancer_name(name).instances(classic(id)).send()
                });
                call.await.map(drop)
            }
            Balancer::TargetGroup(arn) => {
                let call = self.call(deadline, &what, |clients| {
                    clients
                        .elbv2
                        .deregister_targets()
                        .target_group_arn(arn)
                        .targets(target(id))
                        .send()
                });
                call.await.map(drop)
            }
        };
        match done {
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// What a balancer says of every instance that is registered with it or leaving it.
    ///
    /// # Errors
    /// The balancer does not exist or cannot be asked.
    pub async fn registered(
        &self,
        balancer: &Balancer,
        deadline: Instant,
    ) -> Result<Vec<(String, Health)>, Fault> {
        let what = format!("ask {balancer} for the health of its instances");
        match balancer {
            Balancer::Classic(name) => {
                let call = self.call(deadline, &what, |clients| {
                    clients
                        .elb
                        .describe_instance_health()
                        .load_balancer_name(name)
                        .send()
                });
                let states = call.await?.instance_states.unwrap_or_default().into_iter();
                Ok(states
                    .filter_map(|state| {
                        let health =
                            classic_health(state.state.as_deref(), state.description.as_deref());
                        Some((state.instance_id?, health))
                    })
                    .collect())
            }
            Balancer::TargetGroup(arn) => {
                let call = self.call(deadline, &what, |clients| {
                    clients
                        .elbv2
                        .describe_target_health()
                        .target_group_arn(arn)
                        .send()
                });
                let targets = call
                    .await?
                    .target_health_descriptions
                    .unwrap_or_default()
                    .into_iter();
                Ok(targets
                    .filter_map(|target| {
                        Some((target.target?.id?, target_health(target.target_health)))
                    })
                    .collect())
            }
        }
    }

    /// What a balancer says of one instance.
    ///
    /// # Errors
    /// As [`Ec2::registered`].
    pub async fn health(
        &self,
        balancer: &Balancer,
        id: &str,
        deadline: Instant,
    ) -> Result<Health, Fault> {
        let all = self.registered(balancer, deadline).await?;
        let found = all.into_iter().find(|(other, _)| other == id);
        Ok(found.map_or(Health::Absent, |(_, health)| health))
    }
}

fn classic(id: &str) -> ClassicInstance {
    ClassicInstance::builder().instance_id(id).build()
}

fn target(id: &str) -> TargetDescription {
    TargetDescription::builder().id(id).build()
}

fn classic_health(state: Option<&str>, description: Option<&str>) -> Health {
    let said = description.unwrap_or_default();
    // A classic balancer shows connection draining by this sentence alone.
    if said.contains("deregistration currently in progress") {
        return Health::Draining;
    }
    if said.contains("not currently registered") {
        return Health::Absent;
    }
    match state {
        Some("InService") => Health::Healthy,
        other => Health::Unhealthy(
            format!("{} {said}", other.unwrap_or("Unknown"))
                .trim()
                .to_owned(),
        ),
    }
}

fn target_health(health: Option<TargetHealth>) -> Health {
    let Some(health) = health else {
        return Health::Unhealthy("not told".into());
    };
    match &health.state {
        Some(TargetHealthStateEnum::Healthy) => Health::Healthy,
        Some(TargetHealthStateEnum::Draining) => Health::Draining,
        Some(TargetHealthStateEnum::Unused) if is_not_registered(&health) => Health::Absent,
        state => {
            let word = state.as_ref().map_or("unknown", |state| state.as_str());
            let said = health.description.as_deref().unwrap_or_default();
            Health::Unhealthy(format!("{word} {said}").trim().to_owned())
        }
    }
}

fn is_not_registered(health: &TargetHealth) -> bool {
    let reason = health.reason.as_ref();
    reason.is_none_or(|reason| reason.as_str() == "Target.NotRegistered")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_classic_balancer_tells_draining_by_a_sentence() {
        let draining = "Instance deregistration currently in progress.";
        assert_eq!(
            classic_health(Some("InService"), Some(draining)),
            Health::Draining
        );
        assert_eq!(
            classic_health(Some("InService"), Some("N/A")),
            Health::Healthy
        );
        let gone = "Instance is not currently registered with LoadBalancer";
        assert_eq!(
            classic_health(Some("OutOfService"), Some(gone)),
            Health::Absent
        );
        let ill = classic_health(Some("OutOfService"), Some("Instance has failed 2 checks"));
        assert_eq!(
            ill.to_string(),
            "not healthy (OutOfService Instance has failed 2 checks)"
        );
    }

    #[test]
    fn a_target_that_no_balancer_uses_is_not_healthy_but_registered() {
        let health = |state: TargetHealthStateEnum, reason: &str| {
            target_health(Some(
                TargetHealth::builder()
                    .state(state)
                    .reason(reason.into())
                    .build(),
            ))
        };
        assert_eq!(
            health(TargetHealthStateEnum::Unused, "Target.NotRegistered"),
            Health::Absent
        );
        assert!(matches!(
            health(TargetHealthStateEnum::Unused, "Target.NotInUse"),
            Health::Unhealthy(_)
        ));
        assert_eq!(
            health(
                TargetHealthStateEnum::Draining,
                "Target.DeregistrationInProgress"
            ),
            Health::Draining
        );
    }
}
