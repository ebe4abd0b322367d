//! Notices that many nodes fall silent at once, and says so once.

use std::collections::HashMap;

use crate::models::NodeId;
use crate::triggers::outage;

/// A node not heard of for so long counts as one that was never heard.
const FORGET_MS: i64 = 86_400_000;

/// When each node of this process last answered.
#[derive(Debug, Default)]
pub(super) struct Losses {
    heard_ms: HashMap<NodeId, i64>,
    is_told: bool,
}

/// What a person should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Many nodes fell silent together.
    Lost { nodes: usize, answering: usize },
    /// Most answer again.
    Back { answering: usize },
}

impl Losses {
    /// Takes in which nodes answered in a tick.
    pub fn tick(
        &mut self,
        tick_ms: i64,
        tick_length_ms: i64,
        answers: &HashMap<NodeId, bool>,
    ) -> Option<News> {
        let mut silent = Vec::new();
        let mut answering = 0;
        for (node, answers) in answers {
            if *answers {
                answering += 1;
                self.heard_ms.insert(*node, tick_ms);
            } else {
                silent.extend(self.heard_ms.get(node));
            }
        }
        self.heard_ms
            .retain(|_, heard_ms| (tick_ms - *heard_ms).abs() < FORGET_MS);
        let lost = outage::together(&silent, answering, tick_length_ms.saturating_mul(2));
        match lost {
            Some((nodes, _)) if !self.is_told => {
                self.is_told = true;
                Some(News::Lost { nodes, answering })
            }
            // A tick in which nothing of them is due says nothing about them.
            None if self.is_told && answering > silent.len() && answering > 1 => {
                self.is_told = false;
                Some(News::Back { answering })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    /// Ten nodes, of which the first `silent` do not answer.
    fn answers(silent: i64) -> HashMap<NodeId, bool> {
        (0..10).map(|id| (NodeId(id), id >= silent)).collect()
    }

    #[test]
    fn a_mass_loss_is_told_once_and_so_is_its_end() {
        let mut losses = Losses::default();
        let mut told = Vec::new();
        for (minute, silent) in (1..).zip([0, 0, 5, 5, 6, 6, 2, 0, 0, 9, 0]) {
            if let Some(news) = losses.tick(minute * MINUTE_MS, MINUTE_MS, &answers(silent)) {
                told.push((minute, news));
            }
        }
        let expected = [
            (
                3,
                News::Lost {
                    nodes: 5,
                    answering: 5,
                },
            ),
            (7, News::Back { answering: 8 }),
            (
                10,
                News::Lost {
                    nodes: 9,
                    answering: 1,
                },
            ),
            (11, News::Back { answering: 10 }),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn nodes_that_never_answered_or_go_one_by_one_are_no_loss() {
        let mut losses = Losses::default();
        for minute in 1..4 {
            assert_eq!(
                losses.tick(minute * MINUTE_MS, MINUTE_MS, &answers(8)),
                None
            );
        }
        let mut losses = Losses::default();
        for silent in 0..10 {
            let tick_ms = silent * 5 * MINUTE_MS;
            assert_eq!(losses.tick(tick_ms, MINUTE_MS, &answers(silent)), None);
        }
    }
}
