//! The way to the EC2 accounts that profiles name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clients::ec2::{Account, Balancer, Credentials, Ec2, Role};
use crate::db::{Connection, Db};
use crate::error::Result;
use crate::models::Ec2ProfileId;
use crate::models::ec2_profile::Ec2Profile;
use crate::samples::Store;
use crate::vault::Vault;

/// How often EC2 is asked, how long it may take to know what it has done itself, and how often counters are read.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two questions about the same thing.
    pub poll: Duration,
    /// A new instance may be missing from EC2's lists for so long.
    pub settle: Duration,
    /// Between two readings of a counter that names no period of its own.
    pub tick: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(3),
            settle: Duration::from_secs(30),
            tick: Duration::from_mins(1),
        }
    }
}

/// The EC2 accounts of all profiles; cheap to clone.
#[derive(Clone)]
pub struct Cloud {
    db: Db,
    vault: Vault,
    /// Samples, by which a node is chosen for removal.
    pub(super) store: Store,
    /// How often EC2 is asked.
    pub pace: Pace,
    open: Arc<Mutex<HashMap<Ec2ProfileId, Kept>>>,
}

/// Clients, as long as the account and its key are those that they were made for.
struct Kept {
    account: Account,
    ec2: Ec2,
}

/// A profile, and EC2 as it reaches it.
#[derive(Clone)]
pub struct Site {
    /// What is launched, and where it goes.
    pub profile: Ec2Profile,
    /// The API.
    pub ec2: Ec2,
}

impl Site {
    /// What its instances are registered with.
    pub fn balancers(&self) -> Vec<Balancer> {
        let classic = self.profile.load_balancer.clone().map(Balancer::Classic);
        let group = self.profile.target_group_arn.clone();
        classic
            .into_iter()
            .chain(group.map(Balancer::TargetGroup))
            .collect()
    }
}

impl Cloud {
    /// The accounts as the database and the vault know them.
    pub fn new(db: Db, vault: Vault, store: Store, pace: Pace) -> Self {
        Self {
            db,
            vault,
            store,
            pace,
            open: Arc::default(),
        }
    }

    /// The site of a profile, by name.
    ///
    /// # Errors
    /// There is no such profile, or its secret cannot be read.
    pub async fn site(&self, profile: &str) -> Result<Site> {
        let name = profile.to_owned();
        self.reach(move |conn| Ec2Profile::by_name(conn, &name))
            .await
    }

    /// The site of a profile, by id.
    ///
    /// # Errors
    /// As [`Cloud::site`].
    pub async fn site_of(&self, profile: Ec2ProfileId) -> Result<Site> {
        self.reach(move |conn| Ec2Profile::find(conn, profile))
            .await
    }

    async fn reach(
        &self,
        find: impl FnOnce(&mut Connection) -> Result<Ec2Profile> + Send + 'static,
    ) -> Result<Site> {
        let vault = self.vault.clone();
        let read = move |conn: &mut Connection| {
            let profile = find(conn)?;
            let account = account(conn, &vault, &profile)?;
            Ok((profile, account))
        };
        let (profile, account) = self.db.read(read).await?;
        let mut open = self.open.lock().await;
        if let Some(kept) = open.get(&profile.id)
            && kept.account == account
        {
            let ec2 = kept.ec2.clone();
            return Ok(Site { profile, ec2 });
        }
        let ec2 = Ec2::open(account.clone()).await;
        let kept = Kept {
            account,
            ec2: ec2.clone(),
        };
        open.insert(profile.id, kept);
        Ok(Site { profile, ec2 })
    }
}

fn account(conn: &mut Connection, vault: &Vault, profile: &Ec2Profile) -> Result<Account> {
    let key = (&profile.access_key_id, profile.secret_access_key_secret);
    let credentials = match key {
        (Some(id), Some(secret)) => Credentials::Key {
            id: id.clone(),
            secret: vault.get(conn, secret)?,
        },
        _ => Credentials::Chain,
    };
    Ok(Account {
        region: profile.region.clone(),
        endpoint_url: profile.endpoint_url.clone(),
        credentials,
        role: profile.role_arn.clone().map(|arn| Role {
            arn,
            external_id: profile.external_id.clone(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ec2_profile::NewEc2Profile;

    #[tokio::test]
    async fn a_key_that_was_replaced_in_the_vault_is_used_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let db = Db::open(&format!("sqlite://{}", place("headroom.db").display())).unwrap();
        let vault = Vault::open(&place("master.key")).unwrap();
        let store = Store::embedded(&place("samples.db")).unwrap();
        let put = async |key: &'static str| {
            let vault = vault.clone();
            let put = move |conn: &mut Connection| vault.put(conn, "aws", &key.into(), 0);
            db.write(put).await.unwrap()
        };
        let secret = put("first").await;
        let profile = NewEc2Profile {
            name: "small".into(),
            region: "eu-west-1".into(),
            image_id: "ami-1".into(),
            instance_type: "t3.small".into(),
            key_name: None,
            security_groups: "[]".into(),
            subnet_id: None,
            user_data: None,
            load_balancer: None,
            target_group_arn: None,
            endpoint_url: None,
            address_from: "private_ip".into(),
            wait_for: "running".into(),
            access_key_id: Some("AKIATEST".into()),
            secret_access_key_secret: Some(secret),
            role_arn: None,
            external_id: None,
            updated_ms: 0,
        };
        db.write(move |conn| Ec2Profile::insert(conn, &profile))
            .await
            .unwrap();
        let cloud = Cloud::new(db.clone(), vault.clone(), store, Pace::default());
        for key in ["first", "second"] {
            put(key).await;
            let site = cloud.site("small").await.unwrap();
            let open = cloud.open.lock().await;
            let wanted = Credentials::Key {
                id: "AKIATEST".into(),
                secret: key.into(),
            };
            assert!(
                open[&site.profile.id].account.credentials == wanted,
                "{key}"
            );
        }
    }
}
