//! How many replicas there should be. Pure.

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// So many more, or fewer when negative.
    By(i64),
    /// So many.
    To(u32),
}

/// Between what the number stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At least.
    pub min: u32,
    /// At most; none = no limit.
    pub max: Option<u32>,
}

impl Bounds {
    /// The number to aim for. A change never goes against its own direction: with more than the maximum, "one more" changes nothing.
    pub fn aim(self, current: u32, change: Change) -> u32 {
        let max = self.max.unwrap_or(u32::MAX);
        match change {
            Change::To(to) => to.clamp(self.min, max.max(self.min)),
            Change::By(by) => {
                let wanted = i64::from(current).saturating_add(by);
                let wanted = u32::try_from(wanted.max(0)).unwrap_or(u32::MAX);
                if by > 0 {
                    wanted.min(max).max(current)
                } else {
                    wanted.max(self.min).min(current)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_change_stays_within_bounds_and_never_turns_round() {
        let bounds = Bounds {
            min: 2,
            max: Some(5),
        };
        for (current, change, aim) in [
            (3, Change::By(1), 4),
            (3, Change::By(9), 5),
            (5, Change::By(1), 5),
            (8, Change::By(1), 8),
            (3, Change::By(-1), 2),
            (2, Change::By(-1), 2),
            (1, Change::By(-1), 1),
            (0, Change::By(1), 1),
            (9, Change::By(-1), 8),
            (0, Change::To(3), 3),
            (9, Change::To(3), 3),
        ] {
            assert_eq!(bounds.aim(current, change), aim, "{current} {change:?}");
        }
        assert_eq!(Bounds { min: 0, max: None }.aim(3, Change::By(-7)), 0);
    }

    proptest! {
        #[test]
        fn up_is_never_fewer_and_down_is_never_more(current: u32, by: i64, min: u32, max: Option<u32>) {
            let aim = Bounds { min, max }.aim(current, Change::By(by));
            let kept = if by > 0 { aim >= current } else { aim <= current };
            prop_assert!(kept);
        }
    }
}
