//! What to launch.

use serde::Serialize;

use super::{Inline, Reference, SECRET};
use crate::error::Result;
use crate::fleet::ids::Ids;
use crate::fleet::reader::Object;
use crate::models::ec2_profile::{AddressFrom, Ec2Profile as Row, NewEc2Profile, WaitFor};

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
    /// The public half of an access key; none = credentials are found as AWS's own tools find them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The vault's name of the secret half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_access_key_secret: Option<String>,
    /// The secret half, to put into the vault; never given back.
    #[serde(skip)]
    #[schema(value_type = Option<String>, write_only)]
    pub secret_access_key: Option<Inline>,
    /// A role to take on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// What the role's owner wants to hear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
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
            access_key_id: object.text("access_key_id"),
            secret_access_key_secret: object.name("secret_access_key_secret"),
            secret_access_key: object.secret("secret_access_key").map(Inline),
            role_arn: object.text_that(
                "role_arn",
                |text| text.starts_with("arn:"),
                "must begin with arn:",
            ),
            external_id: object.text("external_id"),
        };
        let balanced = profile.load_balancer.is_some() || profile.target_group_arn.is_some();
        if profile.wait_for == WaitFor::Healthy && !balanced {
            object.fault(
                "wait_for",
                "healthy needs a load_balancer or a target_group_arn to ask",
            );
        }
        check_credentials(object);
        profile
    }

    pub(in crate::fleet) fn references(&self, found: &mut Vec<Reference>) {
        if let Some(name) = &self.secret_access_key_secret {
            found.push(Reference::new("secret_access_key_secret", SECRET, name));
        }
    }

    /// The vault's name for the key that stands in the file.
    pub(in crate::fleet) fn own_secret(&self) -> String {
        format!("ec2_profile.{}.secret_access_key", self.name)
    }

    pub(in crate::fleet) fn from_row(row: Row, ids: &Ids) -> Result<Self> {
        let security_groups = row.security_groups()?;
        let (address_from, wait_for) = (row.address_from()?, row.wait_for()?);
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
            access_key_id: row.access_key_id,
            secret_access_key_secret: ids.secrets.name_if(row.secret_access_key_secret)?,
            secret_access_key: None,
            role_arn: row.role_arn,
            external_id: row.external_id,
        })
    }

    pub(in crate::fleet) fn row(&self, ids: &Ids, now_ms: i64) -> Result<NewEc2Profile> {
        Ok(NewEc2Profile {
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
            access_key_id: self.access_key_id.clone(),
            secret_access_key_secret: ids
                .secrets
                .id_if(self.secret_access_key_secret.as_deref())?,
            role_arn: self.role_arn.clone(),
            external_id: self.external_id.clone(),
            updated_ms: now_ms,
        })
    }
}

fn check_credentials(object: &mut Object<'_>) {
    let ways = ["secret_access_key_secret", "secret_access_key"];
    let given = ways.iter().filter(|key| object.has(key)).count();
    if given > 1 {
        object.fault(
            "secret_access_key",
            "only one of secret_access_key and secret_access_key_secret may stand here",
        );
    }
    if object.has("access_key_id") != (given > 0) {
        object.fault(
            "access_key_id",
            "an access key has two halves: access_key_id and secret_access_key (or secret_access_key_secret)",
        );
    }
    if object.has("external_id") && !object.has("role_arn") {
        object.fault("external_id", "is only used with a role_arn");
    }
}

fn is_word(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

fn is_http(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}
