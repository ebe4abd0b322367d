//! Which node has the lowest value of a counter. Pure: what the nodes' series last said is passed in.

use crate::models::NodeId;
use crate::samples::Sample;

/// The nodes with fresh values, the lowest first. A node's value is the highest of its series, one for each of its JVMs; one of whose series
/// any is not fresh is not chosen by what it was once, or by what only some of its JVMs say.
pub fn lowest(
    last: &[(NodeId, Vec<Option<Sample>>)],
    now_ms: i64,
    stale_after_ms: i64,
) -> Vec<NodeId> {
    let fresh = |sample: Option<Sample>| {
        sample
            .filter(|sample| now_ms.saturating_sub(sample.tick_ms) <= stale_after_ms)
            .map(|sample| sample.value)
    };
    let value = |samples: &[Option<Sample>]| {
        let values: Option<Vec<f64>> = samples.iter().map(|sample| fresh(*sample)).collect();
        values?.into_iter().max_by(f64::total_cmp)
    };
    let mut known: Vec<(f64, NodeId)> = last
        .iter()
        .filter_map(|(node, samples)| Some((value(samples)?, *node)))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    known.into_iter().map(|(_, node)| node).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tick_ms: i64, value: f64) -> Option<Sample> {
        Some(Sample { tick_ms, value })
    }

    #[test]
    fn only_what_is_fresh_decides_and_a_nodes_busiest_jvm_speaks_for_it() {
        let last = [
            (NodeId(1), vec![at(700, 0.1)]),
            (NodeId(2), vec![at(999, 5.0)]),
            (NodeId(3), vec![at(999, 1.0), at(999, 9.0)]),
            (NodeId(4), vec![at(999, 0.5), at(600, 0.5)]),
            (NodeId(5), vec![at(999, 2.0), None]),
            (NodeId(6), vec![]),
            (NodeId(7), vec![at(1_000, 0.2), at(900, 0.3)]),
        ];
        let order = lowest(&last, 1_000, 180);
        assert_eq!(order, [NodeId(7), NodeId(2), NodeId(3)]);
        assert!(lowest(&last[..1], 1_000, 180).is_empty());
    }
}
