//! Instances: launch, find, tag, terminate.

use std::collections::BTreeMap;

use aws_sdk_ec2::types as sdk;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use super::{Ec2, Fault, FaultKind, Instance, InstanceState, Launch, Termination};

/// Ids that one description asks for.
const IDS_AT_ONCE: usize = 200;

impl Ec2 {
    /// Launches one instance, or gives the one that was launched with the same token.
    ///
    /// # Errors
    /// `Lost`: it may have been launched all the same. `TokenReused`: the token was used for something else.
    pub async fn launch(&self, launch: &Launch, deadline: Instant) -> Result<Instance, Fault> {
        let what = format!(
            "launch {} from {} in {}",
            launch.instance_type,
            launch.image_id,
            self.region()
        );
        let (ids, names): (Vec<_>, Vec<_>) = launch
            .security_groups
            .iter()
            .cloned()
            .partition(|group| group.starts_with("sg-"));
        let some = |groups: Vec<String>| (!groups.is_empty()).then_some(groups);
        let (ids, names) = (some(ids), some(names));
        let user_data = launch.user_data.as_ref().map(|text| STANDARD.encode(text));
        let tags = sdk::TagSpecification::builder()
            .resource_type(sdk::ResourceType::Instance)
            .set_tags(Some(sdk_tags(&launch.tags)))
            .build();
        let answer = self.call(deadline, &what, |clients| {
            clients
                .ec2
                .run_instances()
                .client_token(&launch.token)
                .image_id(&launch.image_id)
                .instance_type(launch.instance_type.as_str().into())
                .min_count(1)
                .max_count(1)
                .set_key_name(launch.key_name.clone())
                .set_security_group_ids(ids.clone())
                .set_security_groups(names.clone())
                .set_subnet_id(launch.subnet_id.clone())
                .set_user_data(user_data.clone())
                .tag_specifications(tags.clone())
                .send()
        });
        let answer = answer.await?;
        let instance = answer.instances.unwrap_or_default().into_iter().next();
        instance.map(read).ok_or_else(|| Fault {
            kind: FaultKind::Lost,
            what: format!("could not {what}: the reply names no instance"),
        })
    }

    /// The instances of these ids that EC2 knows.
    ///
    /// # Errors
    /// EC2 cannot be asked.
    pub async fn instances(
        &self,
        ids: &[String],
        deadline: Instant,
    ) -> Result<Vec<Instance>, Fault> {
        let mut found = Vec::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            // As a filter, an id that EC2 does not know (yet) is no error.
            let filter = sdk::Filter::builder()
                .name("instance-id")
                .set_values(Some(ids.to_vec()))
                .build();
            found.extend(self.describe(filter, deadline).await?);
        }
        Ok(found)
    }

    /// The instances that carry a tag.
    ///
    /// # Errors
    /// EC2 cannot be asked.
    pub async fn tagged(
        &self,
        key: &str,
        value: &str,
        deadline: Instant,
    ) -> Result<Vec<Instance>, Fault> {
        let filter = sdk::Filter::builder()
            .name(format!("tag:{key}"))
            .values(value)
            .build();
        self.describe(filter, deadline).await
    }

    async fn describe(
        &self,
        filter: sdk::Filter,
        deadline: Instant,
    ) -> Result<Vec<Instance>, Fault> {
        let what = format!("list instances in {}", self.region());
        let mut found = Vec::new();
        let mut next = None;
        loop {
            let page = self.call(deadline, &what, |clients| {
                clients
                    .ec2
                    .describe_instances()
                    .filters(filter.clone())
                    .set_next_token(next.clone())
                    .send()
            });
            let page = page.await?;
            let reservations = page.reservations.unwrap_or_default().into_iter();
            found.extend(
                reservations
                    .flat_map(|each| each.instances.unwrap_or_default())
                    .map(read),
            );
            next = page.next_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    /// Gives an instance tags, over what it has.
    ///
    /// # Errors
    /// There is no such instance, or EC2 refuses.
    pub async fn tag(
        &self,
        id: &str,
        tags: &BTreeMap<String, String>,
        deadline: Instant,
    ) -> Result<(), Fault> {
        let tags = sdk_tags(tags);
        let what = format!("tag {id}");
        let call = self.call(deadline, &what, |clients| {
            clients
                .ec2
                .create_tags()
                .resources(id)
                .set_tags(Some(tags.clone()))
                .send()
        });
        call.await.map(drop)
    }

    /// Has an instance terminated. That EC2 does not know it is no proof that it is gone.
    ///
    /// # Errors
    /// `Protected`, or EC2 cannot be asked.
    pub async fn terminate(&self, id: &str, deadline: Instant) -> Result<Termination, Fault> {
        let what = format!("terminate {id}");
        let call = self.call(deadline, &what, |clients| {
            clients.ec2.terminate_instances().instance_ids(id).send()
        });
        match call.await {
            Ok(_) => Ok(Termination::Begun),
            Err(fault) if fault.kind == FaultKind::NotFound => Ok(Termination::NotKnown),
            Err(fault) => Err(fault),
        }
    }
}

fn sdk_tags(tags: &BTreeMap<String, String>) -> Vec<sdk::Tag> {
    let tag = |(key, value): (&String, &String)| sdk::Tag::builder().key(key).value(value).build();
    tags.iter().map(tag).collect()
}

fn read(instance: sdk::Instance) -> Instance {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let name = instance.state.and_then(|state| state.name);
    let reason = instance.state_reason.and_then(|reason| reason.message);
    let tags = instance.tags.unwrap_or_default().into_iter();
    Instance {
        id: instance.instance_id.unwrap_or_default(),
        state: match name {
            Some(sdk::InstanceStateName::Pending) => InstanceState::Pending,
            Some(sdk::InstanceStateName::Running) => InstanceState::Running,
            Some(sdk::InstanceStateName::Stopping) => InstanceState::Stopping,
            Some(sdk::InstanceStateName::Stopped) => InstanceState::Stopped,
            Some(sdk::InstanceStateName::ShuttingDown) => InstanceState::ShuttingDown,
            Some(sdk::InstanceStateName::Terminated) => InstanceState::Terminated,
            _ => InstanceState::Unknown,
        },
        reason: some(reason),
        public_dns: some(instance.public_dns_name),
        public_ip: some(instance.public_ip_address),
        private_dns: some(instance.private_dns_name),
        private_ip: some(instance.private_ip_address),
        launched_ms: instance.launch_time.and_then(|at| at.to_millis().ok()),
        tags: tags
            .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
            .collect(),
    }
}
