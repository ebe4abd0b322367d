//! What to launch.

use std::str::FromStr;

use serde::Serialize;

use crate::config::nearest;
use crate::error::{Error, Result};
use crate::fleet::reader::Object;
use crate::models::ec2_profile::{Ec2Profile as Row, NewEc2Profile};

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

/// What to launch, and where it goes.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct Ec2Profile {
    /// Unique name.
    pub name: String,
    /// AWS region.
    pub region: String,
    /// AMI.
    pub image_id: String,
    /// Size.
    pub instance_type: String,
    /// EC2 key pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// Names or ids of security groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    /// Subnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet_id: Option<String>,
    /// Given to the instance at its first boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// Classic balancer to register with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<String>,
    /// Target group to register with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_group_arn: Option<String>,
    /// Another API endpoint than AWS's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_url: Option<String>,
    /// Which address becomes the node's; `public_dns` by default.
    pub address_from: AddressFrom,
    /// When a launch counts as done; `ssh` by default.
    pub wait_for: WaitFor,
}

impl Ec2Profile {
    pub(in crate::fleet) fn read(object: &mut Object<'_>) -> Self {
        let name = object.required_name("name");
        let region = object.text_that("region", is_word, "must be a region such as eu-west-1");
        let image = object.text_that("image_id", is_word, "must be an image such as ami-0abc");
        let size = object.text_that("instance_type", is_word, "must be a type such as t3.small");
        let profile = Self {
            name,
            region: object.need("region", region, String::new()),
            image_id: object.need("image_id", image, String::new()),
            instance_type: object.need("instance_type", size, String::new()),
            key_name: object.text("key_name"),
            security_groups: object.texts(
                "security_groups",
                |text| !text.trim().is_empty(),
                "must not be empty",
            ),
            subnet_id: object.text("subnet_id"),
            user_data: object.text("user_data"),
            load_balancer: object.text("load_balancer"),
            target_group_arn: object.text_that(
                "target_group_arn",
                |text| text.starts_with("arn:"),
                "must begin with arn:",
            ),
            endpoint_url: object.text_that("endpoint_url", is_http, "must be an http or https URL"),
            address_from: object
                .word("address_from")
                .unwrap_or(AddressFrom::PublicDns),
            wait_for: object.word("wait_for").unwrap_or(WaitFor::Ssh),
        };
        let balanced = profile.load_balancer.is_some() || profile.target_group_arn.is_some();
        if profile.wait_for == WaitFor::Healthy && !balanced {
            object.fault(
                "wait_for",
                "healthy needs a load_balancer or a target_group_arn to ask",
            );
        }
        profile
    }

    pub(in crate::fleet) fn from_row(row: Row) -> Result<Self> {
        let damaged = |cause: &dyn std::fmt::Display| {
            Error::internal(format!("ec2 profile \"{}\" is damaged", row.name), cause)
        };
        let security_groups =
            serde_json::from_str(&row.security_groups).map_err(|cause| damaged(&cause))?;
        let address_from = row
            .address_from
            .parse()
            .map_err(|cause: String| damaged(&cause))?;
        let wait_for = row
            .wait_for
            .parse()
            .map_err(|cause: String| damaged(&cause))?;
        Ok(Self {
            name: row.name,
            region: row.region,
            image_id: row.image_id,
            instance_type: row.instance_type,
            key_name: row.key_name,
            security_groups,
            subnet_id: row.subnet_id,
            user_data: row.user_data,
            load_balancer: row.load_balancer,
            target_group_arn: row.target_group_arn,
            endpoint_url: row.endpoint_url,
            address_from,
            wait_for,
        })
    }

    pub(in crate::fleet) fn row(&self, now_ms: i64) -> NewEc2Profile {
        NewEc2Profile {
            name: self.name.clone(),
            region: self.region.clone(),
            image_id: self.image_id.clone(),
            instance_type: self.instance_type.clone(),
            key_name: self.key_name.clone(),
            security_groups: serde_json::Value::from(self.security_groups.clone()).to_string(),
            subnet_id: self.subnet_id.clone(),
            user_data: self.user_data.clone(),
            load_balancer: self.load_balancer.clone(),
            target_group_arn: self.target_group_arn.clone(),
            endpoint_url: self.endpoint_url.clone(),
            address_from: self.address_from.as_str().to_owned(),
            wait_for: self.wait_for.as_str().to_owned(),
            updated_ms: now_ms,
        }
    }
}

fn is_word(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

fn is_http(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}
