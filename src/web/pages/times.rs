//! How long launches and removals of a cluster took, as their steps measured it.

use serde_json::Value;

use crate::db::Connection;
use crate::error::Result;
use crate::models::node::Node;
use crate::models::step_run::StepRun;
use crate::models::{ClusterId, NodeState};
use crate::web::view::duration;

/// The last steps that are counted.
const COUNTED: i64 = 200;

/// How many times what 95 % took makes a launch late.
const LATE_BY: f64 = 3.0;
/// Fewer launches than this say nothing about the next.
const LEAST_LAUNCHES: usize = 3;

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

/// What a cluster's launches and removals took, and what is late by that.
pub struct Times {
    /// The times; none where nothing was launched.
    pub lines: Vec<TimeLine>,
    /// Nodes that are on their way for longer than launches here take, in a sentence each.
    pub late: Vec<String>,
}

/// The times of a cluster.
///
/// # Errors
/// The database fails.
pub fn of_cluster(conn: &mut Connection, cluster: ClusterId, now_ms: i64) -> Result<Times> {
    let kinds = ["DeployEc2Node", "RemoveEc2Node"];
    let steps = StepRun::succeeded_in_cluster(conn, cluster, &kinds, COUNTED)?;
    let measured = |kind: &str, output: &str| {
        let of_kind = steps.iter().filter(|step| step.kind == kind);
        let mut secs: Vec<f64> = of_kind
            .filter_map(|step| seconds(&step.outputs, output))
            .collect();
        secs.sort_by(f64::total_cmp);
        secs
    };
    let line = |(kind, output, what): (&str, &str, &'static str)| {
        let secs = measured(kind, output);
        Some(TimeLine {
            what,
            p50: shown(percentile(&secs, 50)?),
            p95: shown(percentile(&secs, 95)?),
            count: secs.len(),
        })
    };
    let lines = MEASURED.into_iter().filter_map(line).collect();
    let launches = measured("DeployEc2Node", "in_service_secs");
    let nodes = Node::of_cluster(conn, cluster)?.into_iter();
    let on_their_way = nodes.filter(|node| node.state == NodeState::Provisioning);
    let late = on_their_way
        .filter_map(|node| {
            late(
                &node.name,
                now_ms.saturating_sub(node.created_ms),
                &launches,
            )
        })
        .collect();
    Ok(Times { lines, late })
}

/// What is said of a node that is on its way for far longer than launches take here: it must not be counted on. Too few launches tell nothing.
fn late(node: &str, age_ms: i64, sorted: &[f64]) -> Option<String> {
    let usual = percentile(sorted, 95).filter(|_| sorted.len() >= LEAST_LAUNCHES)?;
    let age_secs = age_ms / 1_000;
    (age_secs > (usual * LATE_BY).ceil() as i64).then(|| {
        format!(
            "{node} has been on its way for {}, and 95 % of the launches here are in service within {}: look at its run, and do not count on it",
            duration(age_secs),
            shown(usual)
        )
    })
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

    #[test]
    fn a_launch_is_late_after_three_times_what_launches_take_here() {
        let secs = [60.0, 70.0, 100.0];
        assert_eq!(late("web04", 300_000, &secs), None);
        assert_eq!(
            late("web04", 301_000, &secs).unwrap(),
            "web04 has been on its way for 5 min 1 s, and 95 % of the launches here are in service within 1 min 40 s: look at its run, and do not count on it"
        );
        assert_eq!(late("web04", 9_000_000, &secs[..2]), None);
    }
}
