//! Thin wires to the outside: the only way out.

mod backoff;
pub mod command;
pub mod descriptors;
pub mod docker;
pub mod ec2;
mod group;
pub mod jmx;
mod output;
pub mod private;
pub mod ssh;
pub mod zabbix;

pub use output::{ExecOutput, Exit};
pub mod mail;
