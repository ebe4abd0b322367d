//! The tick and what depends on it.

use std::time::Duration;

use super::http::Http;
use super::source::Source;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The tick and what depends on it.
#[derive(Debug, Clone)]
pub struct Sampling {
    /// `HEADROOM_TICK`, 1 s to 1 h, default 60 s.
    pub tick: Duration,
    /// `HEADROOM_RETENTION`: how long samples are kept, default 24 h.
    pub retention: Duration,
    /// `HEADROOM_ALLOW_LOCAL`: whether scripts may run on Headroom's own host; default only while it listens on loopback.
    pub allow_local: bool,
}

impl Sampling {
    pub(super) fn from_source(source: &mut Source, http: &Http) -> Self {
        let tick = source.duration("tick", SECOND, HOUR).unwrap_or(60 * SECOND);
        if !DAY.as_secs().is_multiple_of(tick.as_secs()) {
            source.fault("tick", "must divide a day evenly (for example 1s, 10s, 30s, 60s, 5m), so that ticks fall on the clock");
        }
        Self {
            tick,
            retention: source.duration("retention", HOUR, 366 * DAY).unwrap_or(DAY),
            allow_local: source
                .switch("allow_local")
                .unwrap_or_else(|| http.is_loopback()),
        }
    }

    /// The tick in seconds.
    pub fn tick_secs(&self) -> i64 {
        i64::try_from(self.tick.as_secs()).unwrap_or(i64::MAX)
    }
}
