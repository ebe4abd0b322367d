//! What is read when, made once for each change of the fleet instead of at every tick.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::Files;
use super::target::{self, Target, is_due};
use crate::db::Connection;
use crate::error::Result;
use crate::models::jvm_profile::JvmProfile;
use crate::models::ssh_profile::SshProfile;
use crate::vault::Vault;

/// Every node in service with all of its series, and the files that went into it.
#[derive(Debug)]
pub struct Plan {
    targets: Vec<Arc<Target>>,
    /// The periods of counters that are not due at every tick.
    periods: BTreeSet<i64>,
    files: Files,
}

impl Plan {
    /// Makes the plan of the fleet as it is now.
    ///
    /// # Errors
    /// The database fails. A profile that cannot be used is no error but stands in its targets.
    pub fn load(conn: &mut Connection, vault: &Vault) -> Result<Self> {
        // Looked at before they are read: a change in between is a change later.
        let files = Files::look(files(conn)?);
        let targets = target::all(conn, vault)?;
        let periods = targets
            .iter()
            .flat_map(|target| &target.reads)
            .filter_map(|read| read.counter.every_secs);
        Ok(Self {
            periods: periods.collect(),
            targets: targets.into_iter().map(Arc::new).collect(),
            files,
        })
    }

    /// Whether the files are still those that it was made from.
    pub fn has_same_files(&self, closely: bool) -> bool {
        self.files.are_same(closely)
    }

    /// The periods that fall on a tick: two ticks for which they are the same have the same due series.
    pub fn periods_due(&self, tick_ms: i64) -> Vec<i64> {
        let due = |every: &i64| is_due(Some(*every), tick_ms);
        self.periods.iter().copied().filter(due).collect()
    }

    /// The nodes for which `is_meant` holds, with their series that are due at a tick; without nodes that have none.
    pub fn due(&self, tick_ms: i64, is_meant: impl Fn(&Target) -> bool) -> Vec<Arc<Target>> {
        let targets = self.targets.iter().filter(|target| is_meant(target));
        targets
            .filter_map(|target| due_of(target, tick_ms))
            .collect()
    }
}

/// What is due at a tick.
///
/// # Errors
/// As [`Plan::load`].
pub fn load_targets(
    conn: &mut Connection,
    vault: &Vault,
    tick_ms: i64,
) -> Result<Vec<Arc<Target>>> {
    Ok(Plan::load(conn, vault)?.due(tick_ms, |_| true))
}

/// The target itself where all of it is due, as nearly always.
fn due_of(target: &Arc<Target>, tick_ms: i64) -> Option<Arc<Target>> {
    let count = target
        .reads
        .iter()
        .filter(|read| is_due(read.counter.every_secs, tick_ms))
        .count();
    if count == 0 {
        return None;
    }
    if count == target.reads.len() {
        return Some(Arc::clone(target));
    }
    let mut some = Target::clone(target);
    some.reads
        .retain(|read| is_due(read.counter.every_secs, tick_ms));
    Some(Arc::new(some))
}

/// Every file that a profile names and that is read for the plan.
fn files(conn: &mut Connection) -> Result<BTreeSet<PathBuf>> {
    let ssh = SshProfile::all(conn)?.into_iter();
    let jvm = JvmProfile::all(conn)?.into_iter();
    let named = ssh
        .flat_map(|profile| {
            let files = [profile.private_key_file, profile.known_hosts_file];
            files.into_iter().chain([profile.certificate_file])
        })
        .chain(jvm.map(|profile| profile.ca_file));
    Ok(named.flatten().map(PathBuf::from).collect())
}
