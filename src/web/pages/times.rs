//! How long launches and removals of a cluster took, as their steps measured it.

use serde_json::Value;

use crate::db::Connection;
use crate::error::Result;
use crate::models::ClusterId;
use crate::models::step_run::StepRun;
use crate::web::view::duration;

/// The last steps that are counted.
const COUNTED: i64 = 200;

/// One measured thing.
pub struct TimeLine {
    /// What was measured.
    pub what: &'static str,
    /// Half took at most so long.
    pub p50: String,
    /// Nineteen of twenty took at most so long.
    pub p95: String,
    /// How many were counted.
    pub count: usize,
}

/// What is measured: the kind, its output, in words.
const MEASURED: [(&str, &str, &str); 4] = [
    ("DeployEc2Node", "running_secs", "launch to running"),
    ("DeployEc2Node", "ssh_secs", "launch to SSH"),
    ("DeployEc2Node", "in_service_secs", "launch to in service"),
    ("RemoveEc2Node", "drain_secs", "drain"),
];

/// The times of a cluster; none where nothing was launched.
///
/// # Errors
/// The database fails.
pub fn of_cluster(conn: &mut Connection, cluster: ClusterId) -> Result<Vec<TimeLine>> {
    let kinds = ["DeployEc2Node", "RemoveEc2Node"];
    let steps = StepRun::succeeded_in_cluster(conn, cluster, &kinds, COUNTED)?;
    let line = |(kind, output, what): (&str, &str, &'static str)| {
        let of_kind = steps.iter().filter(|step| step.kind == kind);
        let mut secs: Vec<f64> = of_kind
            .filter_map(|step| seconds(&step.outputs, output))
            .collect();
        secs.sort_by(f64::total_cmp);
        Some(TimeLine {
            what,
            p50: shown(percentile(&secs, 50)?),
            p95: shown(percentile(&secs, 95)?),
            count: secs.len(),
        })
    };
    Ok(MEASURED.into_iter().filter_map(line).collect())
}

fn seconds(outputs: &str, name: &str) -> Option<f64> {
    serde_json::from_str::<Value>(outputs)
        .ok()?
        .get(name)?
        .as_f64()
}

/// The smallest value that so many percent do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

fn shown(secs: f64) -> String {
    if secs < 10.0 {
        format!("{secs:.1} s")
    } else {
        duration(secs.round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let secs: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(percentile(&secs, 50), Some(10.0));
        assert_eq!(percentile(&secs, 95), Some(19.0));
        assert_eq!(percentile(&[7.5], 95), Some(7.5));
        assert_eq!(percentile(&[], 50), None);
        assert_eq!(shown(3.24), "3.2 s");
    }
}
