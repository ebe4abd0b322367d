//! The fleet file: parse, validate, diff, apply, export.
//!
//! ```text
//!  text -> value -> reader + definitions/* -> FleetFile -> check (beside what stands) -> plan (diff) -> apply (rows, secrets, audit)
//!                                                  ^                                                            |
//!                                                  +---------------------- load (a fixed number of queries) <---+
//! ```
//!
//! A file adds and changes by name. What it does not name stays, unless pruned; then it goes, except nodes that Headroom launched itself or
//! is just adding or removing: their machines would be forgotten. An export leaves such nodes out for the same reason, turned round: a file
//! that is applied tomorrow must not bring back a machine that an action has removed today.

mod apply;
mod check;
mod definitions;
mod diff;
mod example;
mod file;
mod ids;
mod kind;
mod load;
mod lock;
mod names;
pub mod object;
mod plan;
mod reader;
mod value;

pub use apply::{apply, apply_text, plan};
pub use definitions::{
    Action, Cluster, Combine, Counter, Ec2Profile, Inline, JvmProfile, Node, Secs, Source,
    SshProfile, Step, Trigger,
};
pub use diff::{Change, Diff, FieldChange, Verb};
pub use example::{
    EXAMPLE_CLUSTER, example, example_text, has_example, remove_example, seed_example,
};
pub use file::FleetFile;
pub use kind::Kind;

use crate::db::Connection;
use crate::error::{Error, Fault, Result};
use crate::models::Via;
use crate::vault::Vault;
use reader::Object;
use value::Value;

/// Who changes the fleet, when, and what the change is held against.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where secrets go.
    pub vault: Vault,
    /// The tick, of which every period is a multiple.
    pub tick_secs: i64,
    /// Whether scripts may run on Headroom's own host.
    pub allow_local: bool,
    /// Who.
    pub actor: String,
    /// By which way.
    pub via: Via,
    /// When.
    pub now_ms: i64,
}

/// How a text is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Remove what the file does not name.
    pub prune: bool,
    /// Say what would change, and change nothing.
    pub dry_run: bool,
}

/// Reads a fleet file, YAML or JSON. What it refers to need not stand in it, so that is judged when it is applied.
///
/// # Errors
/// `Invalid` with every fault.
pub fn parse(text: &str) -> Result<FleetFile> {
    let (file, faults) = document(text);
    if faults.is_empty() {
        Ok(file)
    } else {
        Err(Error::Invalid(faults))
    }
}

/// Everything that is defined, as a file; secrets as references, without the nodes that Headroom launched.
///
/// # Errors
/// The database fails.
pub fn export(conn: &mut Connection) -> Result<FleetFile> {
    let mut present = load::load(conn)?;
    let mut file = std::mem::take(&mut present.file);
    for cluster in &mut file.clusters {
        cluster.nodes.retain(|node| !present.is_kept(&node.name));
    }
    Ok(file)
}

fn document(text: &str) -> (FleetFile, Vec<Fault>) {
    let value = match Value::parse(text) {
        Ok(Value::Null) => {
            let fault = Fault::new(
                "",
                "the file is empty; it needs at least one section such as clusters:",
            );
            return (FleetFile::default(), vec![fault]);
        }
        Ok(value) => value,
        Err(fault) => return (FleetFile::default(), vec![fault]),
    };
    let mut faults = Vec::new();
    let file = Object::read(&value, String::new(), &mut faults, FleetFile::read);
    faults.extend(check::duplicates(&file));
    (file, faults)
}
