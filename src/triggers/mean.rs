//! The mean of a counter over a cluster at one tick, for `when: average`.

use super::breach::is_fresh;

/// Takes the series of the nodes that count, one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Mean {
    now_ms: i64,
    stale_after_ms: i64,
    is_due: bool,
    is_read: bool,
    sum: f64,
    fresh: u32,
}

impl Mean {
    /// The mean at `now_ms` over samples that are not stale.
    pub fn at(now_ms: i64, stale_after_ms: i64) -> Self {
        Self {
            now_ms,
            stale_after_ms,
            is_due: false,
            is_read: false,
            sum: 0.0,
            fresh: 0,
        }
    }

    /// Takes a series: the tick of its latest reading, error or not, and its last sample.
    pub fn take(&mut self, reading_ms: i64, last: Option<(i64, f64)>) {
        self.is_due |= reading_ms == self.now_ms;
        if let Some((tick_ms, value)) = last
            && is_fresh(tick_ms, self.now_ms, self.stale_after_ms)
        {
            self.is_read |= tick_ms == self.now_ms;
            self.sum += value;
            self.fresh += 1;
        }
    }

    /// The reading of the mean's own series; nothing at a tick at which the counter was not read at all.
    ///
    /// Old samples alone make no new mean, or it would go on breaching on what nobody reads any more.
    pub fn reading(self) -> Option<Result<f64, String>> {
        let mean = self.sum / f64::from(self.fresh.max(1));
        let reading = if self.is_read && mean.is_finite() {
            Ok(mean)
        } else {
            Err("no node gave a value that a mean could be made of".to_owned())
        };
        self.is_due.then_some(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(series: &[(i64, Option<(i64, f64)>)]) -> Option<Result<f64, ()>> {
        let mut mean = Mean::at(10, 3);
        for (reading_ms, last) in series {
            mean.take(*reading_ms, *last);
        }
        mean.reading().map(|reading| reading.map_err(drop))
    }

    #[test]
    fn the_mean_is_over_fresh_samples_of_which_one_is_of_this_tick() {
        let (now, fresh, stale) = (Some((10, 4.0)), Some((7, 8.0)), Some((6, 100.0)));
        assert_eq!(mean(&[(10, now), (10, fresh), (10, stale)]), Some(Ok(6.0)));
        assert_eq!(mean(&[(10, now), (10, None)]), Some(Ok(4.0)));
        assert_eq!(
            mean(&[(10, fresh), (10, stale)]),
            Some(Err(())),
            "all failed"
        );
        assert_eq!(
            mean(&[(9, fresh), (9, None)]),
            None,
            "the counter is not due"
        );
        assert_eq!(mean(&[]), None);
        assert_eq!(
            mean(&[(10, Some((11, 1.0)))]),
            Some(Err(())),
            "a sample from ahead of the clock"
        );
    }

    #[test]
    fn a_mean_too_large_for_a_number_is_an_error() {
        let huge = (10, Some((10, f64::MAX)));
        assert_eq!(mean(&[huge, huge]), Some(Err(())));
    }
}
