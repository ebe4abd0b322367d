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

/// What a cluster's launches and removals took, and what is on its way by that.
pub struct Times {
    /// The times; none where nothing was launched.
    pub lines: Vec<TimeLine>,
    /// Nodes that are being launched.
    pub coming: Vec<Coming>,
}

/// A node that is being launched.
#[derive(Debug, PartialEq, Eq)]
pub struct Coming {
    /// When it may be counted on, in a sentence without its full stop.
    pub said: String,
    /// Whether it takes far longer than launches here take.
    pub is_late: bool,
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
    let coming = on_their_way.map(|node| {
        let age_ms = now_ms.saturating_sub(node.created_ms);
        Coming::of(&node.name, age_ms / 1_000, &launches)
    });
    Ok(Times {
        lines,
        coming: coming.collect(),
    })
}

impl Coming {
    /// By what the launches here took, sorted; too few of them tell nothing. One that is late must not be counted on.
    fn of(node: &str, age_secs: i64, sorted: &[f64]) -> Self {
        let begin = format!(
            "{node} has been on its way for {}",
            duration(age_secs.max(0))
        );
        let usual = percentile(sorted, 95).filter(|_| sorted.len() >= LEAST_LAUNCHES);
        let Some(usual) = usual else {
            return Self {
                said: begin,
                is_late: false,
            };
        };
        let rule = format!(
            "95 % of the launches here are in service within {}",
            shown(usual)
        );
        let left_secs = usual.ceil() as i64 - age_secs;
        let is_late = age_secs > (usual * LATE_BY).ceil() as i64;
        let said = if is_late {
            format!("{begin}, and {rule}: look at its run, and do not count on it")
        } else if left_secs > 0 {
            let left = duration(left_secs);
            format!("{begin}, and is expected in service within {left} from now: {rule}")
        } else {
            format!("{begin}, and is expected in service at any moment: {rule}")
        };
        Self { said, is_late }
    }
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
    fn a_launch_is_expected_by_what_launches_here_took_and_late_after_three_times_that() {
        let secs = [60.0, 70.0, 100.0];
        let told = |age_secs, secs: &[f64]| Coming::of("web04", age_secs, secs);
        let said = |age_secs| {
            let coming = told(age_secs, &secs);
            assert!(!coming.is_late);
            coming.said
        };
        let rule = "95 % of the launches here are in service within 1 min 40 s";
        assert_eq!(
            said(40),
            format!(
                "web04 has been on its way for 40 s, and is expected in service within 1 min from now: {rule}"
            )
        );
        assert_eq!(
            said(300),
            format!(
                "web04 has been on its way for 5 min, and is expected in service at any moment: {rule}"
            )
        );
        let late = told(301, &secs);
        assert_eq!(
            late.said,
            format!(
                "web04 has been on its way for 5 min 1 s, and {rule}: look at its run, and do not count on it"
            )
        );
        assert!(late.is_late);
        let unknown = told(9_000, &secs[..2]);
        assert_eq!(unknown.said, "web04 has been on its way for 2 h 30 min");
        assert!(!unknown.is_late, "too few launches tell nothing");
    }
}
