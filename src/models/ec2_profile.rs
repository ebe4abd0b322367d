//! What to launch.

use std::str::FromStr;

use diesel::prelude::*;
use serde::Serialize;

use crate::config::nearest;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::named::named_queries;
use crate::models::{Ec2ProfileId, SecretId};
use crate::schema::ec2_profiles;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
        pub enum $name { $($(#[$item_doc])* #[serde(rename = $word)] $item),+ }

        impl $name {
            /// The word in files and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word),+ }
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let words = [$($word),+];
                match text {
                    $($word => Ok(Self::$item),)+
                    other => Err(match nearest(other, words.into_iter()) {
                        Some(near) => format!("\"{other}\" is not one of {}; did you mean \"{near}\"?", words.join(", ")),
                        None => format!("\"{other}\" is not one of {}", words.join(", ")),
                    }),
                }
            }
        }
    )+};
}

words! {
    /// Which address of an instance becomes its node's.
    AddressFrom {
        /// Its public name.
        PublicDns = "public_dns",
        /// Its public address.
        PublicIp = "public_ip",
        /// Its name within the network.
        PrivateDns = "private_dns",
        /// Its address within the network.
        PrivateIp = "private_ip",
    }

    /// When a launch counts as done.
    WaitFor {
        /// EC2 says that it runs.
        Running = "running",
        /// Its sshd answers.
        Ssh = "ssh",
        /// Its balancer finds it healthy.
        Healthy = "healthy",
    }
}

/// What to launch.
#[derive(Debug, Clone, PartialEq, Queryable, Identifiable)]
#[diesel(table_name = ec2_profiles)]
pub struct Ec2Profile {
    /// Row id.
    pub id: Ec2ProfileId,
    /// Unique name.
    pub name: String,
    /// AWS region.
    pub region: String,
    /// AMI.
    pub image_id: String,
    /// Size.
    pub instance_type: String,
    /// EC2 key pair.
    pub key_name: Option<String>,
    /// Names or ids, JSON list.
    pub security_groups: String,
    /// Subnet.
    pub subnet_id: Option<String>,
    /// Given to the instance at its first boot.
    pub user_data: Option<String>,
    /// Classic balancer to register with.
    pub load_balancer: Option<String>,
    /// Target group to register with.
    pub target_group_arn: Option<String>,
    /// Another API endpoint than AWS's.
    pub endpoint_url: Option<String>,
    /// Which address becomes the node's.
    pub address_from: String,
    /// When a launch counts as done.
    pub wait_for: String,
    /// The public half of an access key.
    pub access_key_id: Option<String>,
    /// Its secret half, in the vault.
    pub secret_access_key_secret: Option<SecretId>,
    /// A role to take on.
    pub role_arn: Option<String>,
    /// What the role's owner wants to hear.
    pub external_id: Option<String>,
    /// Last change, ms.
    pub updated_ms: i64,
    /// Last change of the access key, ms: another key may be another account's. 0 = never.
    pub access_changed_ms: i64,
}

/// What is written of a [`Ec2Profile`].
#[derive(Debug, Clone, PartialEq, Insertable, AsChangeset)]
#[diesel(table_name = ec2_profiles, treat_none_as_null = true)]
pub struct NewEc2Profile {
    /// See [`Ec2Profile::name`].
    pub name: String,
    /// See [`Ec2Profile::region`].
    pub region: String,
    /// See [`Ec2Profile::image_id`].
    pub image_id: String,
    /// See [`Ec2Profile::instance_type`].
    pub instance_type: String,
    /// See [`Ec2Profile::key_name`].
    pub key_name: Option<String>,
    /// See [`Ec2Profile::security_groups`].
    pub security_groups: String,
    /// See [`Ec2Profile::subnet_id`].
    pub subnet_id: Option<String>,
    /// See [`Ec2Profile::user_data`].
    pub user_data: Option<String>,
    /// See [`Ec2Profile::load_balancer`].
    pub load_balancer: Option<String>,
    /// See [`Ec2Profile::target_group_arn`].
    pub target_group_arn: Option<String>,
    /// See [`Ec2Profile::endpoint_url`].
    pub endpoint_url: Option<String>,
    /// See [`Ec2Profile::address_from`].
    pub address_from: String,
    /// See [`Ec2Profile::wait_for`].
    pub wait_for: String,
    /// See [`Ec2Profile::access_key_id`].
    pub access_key_id: Option<String>,
    /// See [`Ec2Profile::secret_access_key_secret`].
    pub secret_access_key_secret: Option<SecretId>,
    /// See [`Ec2Profile::role_arn`].
    pub role_arn: Option<String>,
    /// See [`Ec2Profile::external_id`].
    pub external_id: Option<String>,
    /// See [`Ec2Profile::updated_ms`].
    pub updated_ms: i64,
}

named_queries!(
    Ec2Profile,
    NewEc2Profile,
    Ec2ProfileId,
    ec2_profiles,
    "ec2 profile"
);

impl Ec2Profile {
    /// Notes that EC2 is asked with another access key from now on.
    ///
    /// # Errors
    /// The database fails.
    pub fn note_access_change(conn: &mut Connection, id: Ec2ProfileId, now_ms: i64) -> Result<()> {
        diesel::update(ec2_profiles::table.find(id))
            .set(ec2_profiles::access_changed_ms.eq(now_ms))
            .execute(conn)?;
        Ok(())
    }

    /// Names or ids of security groups.
    ///
    /// # Errors
    /// The column is damaged.
    pub fn security_groups(&self) -> Result<Vec<String>> {
        serde_json::from_str(&self.security_groups).map_err(|cause| self.damaged(cause))
    }

    /// Which address becomes the node's.
    ///
    /// # Errors
    /// The column is damaged.
    pub fn address_from(&self) -> Result<AddressFrom> {
        self.address_from
            .parse()
            .map_err(|cause| self.damaged(cause))
    }

    /// When a launch counts as done.
    ///
    /// # Errors
    /// The column is damaged.
    pub fn wait_for(&self) -> Result<WaitFor> {
        self.wait_for.parse().map_err(|cause| self.damaged(cause))
    }

    fn damaged(&self, cause: impl std::fmt::Display) -> Error {
        Error::internal(format!("ec2 profile \"{}\" is damaged", self.name), cause)
    }
}
