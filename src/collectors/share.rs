//! Which of several processes reads a node.
//!
//! Rendezvous hashing: every process has a weight for every node, and the heaviest reads it. A process that goes leaves the nodes of all others
//! where they are, and one that comes takes from each an equal part: connections stay put. The weights are fixed for good, since processes
//! of two versions must come to the same answer.

use sha2::{Digest as _, Sha256};

use crate::models::NodeId;

/// The process that reads a node; none where there is no process.
pub fn owner(node: NodeId, processes: &[String]) -> Option<&str> {
    let heaviest = processes
        .iter()
        .max_by_key(|process| (weight(node, process), *process));
    heaviest.map(String::as_str)
}

fn weight(node: NodeId, process: &str) -> [u8; 32] {
    let hash = Sha256::new_with_prefix(node.0.to_be_bytes());
    hash.chain_update(process).finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count)
            .map(|number| format!("host{number}-417-1795000000000"))
            .collect()
    }

    #[test]
    fn a_node_belongs_to_the_same_process_in_every_version() {
        let names = names(3);
        let owners: Vec<_> = (1..=8).map(|id| owner(NodeId(id), &names)).collect();
        let owners: Vec<_> = owners.iter().map(|name| &name.unwrap()[..5]).collect();
        let expected = [
            "host1", "host2", "host2", "host3", "host3", "host1", "host1", "host1",
        ];
        assert_eq!(owners, expected);
        assert_eq!(owner(NodeId(1), &[]), None);
    }

    #[test]
    fn every_process_has_about_the_same_share() {
        let names = names(4);
        for name in &names {
            let share = (1..=10_000)
                .filter(|id| owner(NodeId(*id), &names) == Some(name))
                .count();
            assert!((2_300..2_700).contains(&share), "{name} has {share}");
        }
    }

    proptest! {
        #[test]
        fn only_the_nodes_of_a_process_that_goes_move(id in 1..1_000_000_i64, count in 2..9_usize, gone in 0..8_usize) {
            let before = names(count);
            let mut after = before.clone();
            let gone = after.remove(gone % count);
            let owned = owner(NodeId(id), &before);
            prop_assert!(owned == Some(&gone) || owner(NodeId(id), &after) == owned);
        }

        #[test]
        fn the_order_of_the_list_is_no_matter(id in 1..1_000_000_i64, count in 1..9_usize) {
            let names = names(count);
            let reversed: Vec<String> = names.iter().rev().cloned().collect();
            prop_assert_eq!(owner(NodeId(id), &names), owner(NodeId(id), &reversed));
        }
    }
}
