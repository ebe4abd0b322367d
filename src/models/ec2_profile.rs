//! What to launch.

use diesel::prelude::*;

use crate::models::Ec2ProfileId;
use crate::models::named::named_queries;
use crate::schema::ec2_profiles;

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
    /// Last change, ms.
    pub updated_ms: i64,
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
