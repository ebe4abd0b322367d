//! A Headroom that was built without the `aws` feature: everything is refused, with the way out.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::{Account, Balancer, Fault, FaultKind, Health, Instance, Launch, Termination};

/// EC2, which this build does not speak.
#[derive(Debug, Clone)]
pub struct Ec2 {
    region: String,
}

macro_rules! refused {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty);+ $(;)?) => {
        impl Ec2 {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// Always: this build does not speak EC2.
            pub async fn $name(&self, $($arg: $type),*) -> Result<$out, Fault> {
                $(let _ = $arg;)*
                Err(Fault {
                    kind: FaultKind::Refused,
                    what: format!(
                        "EC2 in {} cannot be asked: this Headroom was built without the feature \"aws\"; build it with the default features",
                        self.region
                    ),
                })
            }
        )+}
    };
}

impl Ec2 {
    /// Remembers the region for messages.
    pub async fn open(account: Account) -> Self {
        Self {
            region: account.region,
        }
    }

    /// Where it is, for messages.
    pub fn region(&self) -> &str {
        &self.region
    }
}

refused! {
    /// Launches one instance.
    launch(launch: &Launch, deadline: Instant) -> Instance;
    /// The instances of these ids.
    instances(ids: &[String], deadline: Instant) -> Vec<Instance>;
    /// The instances that carry a tag.
    tagged(key: &str, value: &str, deadline: Instant) -> Vec<Instance>;
    /// Gives an instance tags.
    tag(id: &str, tags: &BTreeMap<String, String>, deadline: Instant) -> ();
    /// Has an instance terminated.
    terminate(id: &str, deadline: Instant) -> Termination;
    /// Puts an instance behind a balancer.
    register(balancer: &Balancer, id: &str, deadline: Instant) -> ();
    /// Takes an instance from behind a balancer.
    deregister(balancer: &Balancer, id: &str, deadline: Instant) -> ();
    /// What a balancer says of its instances.
    registered(balancer: &Balancer, deadline: Instant) -> Vec<(String, Health)>;
    /// What a balancer says of one instance.
    health(balancer: &Balancer, id: &str, deadline: Instant) -> Health;
}
