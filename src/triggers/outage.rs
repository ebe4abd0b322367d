//! When silence speaks of the collector or its network, hardly of the nodes.

/// How many nodes fell silent together and when the last of them was heard, given when each silent node was last heard (ms) and how many
/// nodes answer: at least as many as still do, all within `window_ms` of each other.
pub fn together(last_heard_ms: &[i64], answering: usize, window_ms: i64) -> Option<(usize, i64)> {
    let last_ms = last_heard_ms.iter().max().copied()?;
    let nodes = last_heard_ms
        .iter()
        .filter(|heard_ms| last_ms.saturating_sub(**heard_ms) <= window_ms)
        .count();
    (nodes > 1 && nodes >= answering).then_some((nodes, last_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_nodes_at_once_are_an_outage_and_one_by_one_they_are_not() {
        assert_eq!(together(&[100, 100, 101], 3, 2), Some((3, 101)));
        assert_eq!(together(&[100, 100, 101], 4, 2), None);
        assert_eq!(together(&[10, 50, 101], 2, 2), None);
        assert_eq!(together(&[100], 0, 2), None, "one node is no crowd");
        assert_eq!(together(&[], 0, 2), None);
    }
}
