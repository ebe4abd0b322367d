//! What the undecided triggers of a tick wait for, so that a pass, which looks at every series again, is made only when it may decide one.

use std::collections::HashMap;

use super::observe::Moved;
use crate::samples::SeriesKey;

/// The readings that undecided triggers wait for, as the last pass left it.
#[derive(Debug, Default)]
pub struct Awaited {
    triggers: Vec<Waiting>,
    /// Which triggers wait for a series, by place.
    of_series: HashMap<SeriesKey, Vec<usize>>,
}

#[derive(Debug)]
struct Waiting {
    /// Series that have not been read yet.
    left: usize,
    /// For a trigger that may fire before all are: how long a breach must last, ms.
    timing_ms: Option<i64>,
}

impl Awaited {
    /// Adds a trigger that waits for these series; `timing_ms`: how long a breach must last where one may be enough.
    pub(super) fn add(&mut self, series: impl Iterator<Item = SeriesKey>, timing_ms: Option<i64>) {
        let at = self.triggers.len();
        let mut left = 0;
        for key in series {
            self.of_series.entry(key).or_default().push(at);
            left += 1;
        }
        self.triggers.push(Waiting { left, timing_ms });
    }

    /// Takes in what was read; whether that may decide a trigger: it was the last that it waited for, or a breach that is long enough.
    pub fn take(&mut self, moved: &[Moved]) -> bool {
        let mut decides = false;
        for (key, breach) in moved {
            for at in self.of_series.remove(key).unwrap_or_default() {
                let Some(trigger) = self.triggers.get_mut(at) else {
                    continue;
                };
                trigger.left = trigger.left.saturating_sub(1);
                let lasted_ms = breach.map(|it| it.last_ms.saturating_sub(it.since_ms));
                let is_enough = lasted_ms
                    .zip(trigger.timing_ms)
                    .is_some_and(|(lasted_ms, timing_ms)| lasted_ms >= timing_ms);
                decides |= trigger.left == 0 || is_enough;
            }
        }
        decides
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{CounterId, NodeId};
    use crate::triggers::breach::Breach;

    fn key(node: i64) -> SeriesKey {
        SeriesKey::Ssh {
            node: NodeId(node),
            counter: CounterId(1),
        }
    }

    fn breach(lasted_ms: i64) -> Option<Breach> {
        Some(Breach {
            since_ms: 1_000,
            count: 2,
            last_ms: 1_000 + lasted_ms,
        })
    }

    #[test]
    fn a_trigger_is_worth_a_pass_with_its_last_reading_and_not_before() {
        let mut awaited = Awaited::default();
        awaited.add((1..=3).map(key), None);
        awaited.add([key(2)].into_iter(), None);
        assert!(!awaited.take(&[(key(1), breach(9_000)), (key(7), None)]));
        assert!(!awaited.take(&[(key(1), None)]), "a reading counts once");
        assert!(awaited.take(&[(key(2), None)]), "all of the second");
        assert!(awaited.take(&[(key(3), None)]), "all of the first");
        assert!(!awaited.take(&[(key(3), None)]));
    }

    #[test]
    fn where_one_series_is_enough_a_breach_that_is_long_enough_is_worth_a_pass() {
        let mut awaited = Awaited::default();
        awaited.add((1..=4).map(key), Some(5_000));
        assert!(!awaited.take(&[(key(1), breach(4_999))]));
        assert!(awaited.take(&[(key(2), breach(5_000))]));
    }
}
