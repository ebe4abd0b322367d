//! Rows and their queries, one file per table. No HTTP, no action kinds, no templates.

mod claim;
mod named;
mod step_change;
mod types;

pub mod action;
pub mod audit;
pub mod breaker;
pub mod cluster;
pub mod collection;
pub mod counter;
pub mod decision;
pub mod ec2_profile;
pub mod finding;
pub mod former_node;
pub mod hold;
pub mod host_key;
pub mod installation;
pub mod jvm_profile;
pub mod living;
pub mod node;
pub mod node_claim;
pub mod revision;
pub mod run;
pub mod run_event;
pub mod secret;
pub mod service_claim;
pub mod session;
pub mod ssh_profile;
pub mod step;
pub mod step_run;
pub mod task;
pub mod token;
pub mod trigger;
pub mod user;
pub mod uses;
pub mod worker;

pub use types::*;
