//! When what cannot be reached is tried again.

use std::time::{Duration, Instant};

/// Doubling pauses after failures in a row, each shortened at random so that nodes that failed together do not come back together.
#[derive(Debug)]
pub(in crate::clients) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    until: Option<Instant>,
    why: String,
}

impl Backoff {
    pub(in crate::clients) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
            until: None,
            why: String::new(),
        }
    }

    /// Notes a failure; `jitter` is random in 0..1 and shortens the pause by up to half.
    pub(in crate::clients) fn failed(&mut self, now: Instant, jitter: f64, why: String) {
        let doubled = 2_u32.checked_pow(self.failures).unwrap_or(u32::MAX);
        let pause = self.first.saturating_mul(doubled).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0));
        self.why = why;
    }

    pub(in crate::clients) fn succeeded(&mut self) {
        *self = Self::new(self.first, self.longest);
    }

    /// Why nothing is tried now, if so.
    pub(in crate::clients) fn refusal(&self, now: Instant) -> Option<String> {
        let wait = self.until?.checked_duration_since(now)?;
        (!wait.is_zero()).then(|| {
            let (failures, secs) = (self.failures, wait.as_secs() + 1);
            let times = if failures == 1 {
                "after 1 failure".into()
            } else {
                format!("after {failures} failures in a row")
            };
            format!("{}; tried again in {secs} s, {times}", self.why)
        })
    }

    /// Whether the last attempt failed.
    pub(in crate::clients) fn failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backoff() -> Backoff {
        Backoff::new(SECOND, 60 * SECOND)
    }

    #[test]
    fn a_node_is_refused_until_its_pause_is_over_and_the_refusal_says_why() {
        let start = Instant::now();
        let mut backoff = backoff();
        assert_eq!(backoff.refusal(start), None);
        backoff.failed(start, 0.0, "connection refused".into());
        backoff.failed(start, 0.0, "connection refused".into());
        assert_eq!(
            backoff.refusal(start + SECOND).unwrap(),
            "connection refused; tried again in 2 s, after 2 failures in a row"
        );
        assert_eq!(backoff.refusal(start + 2 * SECOND), None);
        assert!(
            backoff.failing(),
            "the next attempt is still one of a bad node"
        );
        backoff.succeeded();
        assert!(!backoff.failing());
    }

    #[test]
    fn the_pause_doubles_up_to_the_longest() {
        let start = Instant::now();
        let mut backoff = backoff();
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            backoff.failed(start, 0.0, String::new());
            assert_eq!(
                backoff.until.unwrap() - start,
                Duration::from_secs(expected)
            );
        }
    }

    proptest! {
        #[test]
        fn jitter_never_lengthens_a_pause_and_at_most_halves_it(failures in 1_u32..200, jitter in -1.0..2.0) {
            let start = Instant::now();
            let mut backoff = backoff();
            for _ in 0..failures {
                backoff.failed(start, jitter, String::new());
            }
            let full = SECOND.saturating_mul(2_u32.saturating_pow(failures - 1)).min(60 * SECOND);
            let pause = backoff.until.unwrap() - start;
            prop_assert!(pause <= full && pause >= full / 2);
        }
    }
}
