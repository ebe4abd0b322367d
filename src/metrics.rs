//! Numbers about Headroom itself, for `/metrics`. Every layer may bump them; only `web/` reads them.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::error::{Error, Result};

/// Upper bounds in seconds: a local script takes milliseconds, a time limit is usually 10 s.
const SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCluster {
    cluster: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

/// The counters and gauges of this process; cheap to clone, all clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    ticks: Counter,
    ticks_skipped: Counter,
    passes: Counter,
    readings: Family<ByOutcome, Counter>,
    reading_seconds: Histogram,
    breaching: Gauge,
    decisions: Family<ByOutcome, Counter>,
    runs: Family<ByState, Gauge>,
    queue_depth: Gauge,
    breaker_open: Family<ByCluster, Gauge>,
    failed_launches: Family<ByCluster, Gauge>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            ticks: Counter::default(),
            ticks_skipped: Counter::default(),
            passes: Counter::default(),
            readings: Family::default(),
            reading_seconds: Histogram::new(SECONDS),
            breaching: Gauge::default(),
            decisions: Family::default(),
            runs: Family::default(),
            queue_depth: Gauge::default(),
            breaker_open: Family::default(),
            failed_launches: Family::default(),
        };
        metrics.registry = Arc::new(metrics.register());
        metrics
    }

    fn register(&self) -> Registry {
        let mut all = Registry::with_prefix("headroom");
        all.register("ticks", "Collections begun", self.ticks.clone());
        all.register(
            "ticks_skipped",
            "Ticks that were due while the one before was still running",
            self.ticks_skipped.clone(),
        );
        all.register(
            "passes",
            "Times the triggers of a tick were gone over",
            self.passes.clone(),
        );
        all.register(
            "readings",
            "Counters read, by outcome",
            self.readings.clone(),
        );
        all.register(
            "reading_seconds",
            "How long a counter took to read",
            self.reading_seconds.clone(),
        );
        all.register(
            "breaching_series",
            "Series over their threshold at the last tick",
            self.breaching.clone(),
        );
        all.register(
            "decisions",
            "Evaluations of triggers, by outcome",
            self.decisions.clone(),
        );
        all.register("runs", "Runs in the database, by state", self.runs.clone());
        all.register(
            "queue_depth",
            "Runs that wait for a worker",
            self.queue_depth.clone(),
        );
        all.register(
            "breaker_open",
            "Whether the breaker of a cluster keeps it from launching (1), lets one launch through on trial (1) or lets all through (0)",
            self.breaker_open.clone(),
        );
        all.register(
            "failed_launches_in_a_row",
            "Launches in a cluster that gave no node, since the last one that did",
            self.failed_launches.clone(),
        );
        all
    }

    /// A collection began.
    pub fn tick(&self) {
        self.ticks.inc();
    }

    /// The triggers of a tick were gone over.
    pub fn pass(&self) {
        self.passes.inc();
    }

    /// So many ticks were due while one was still running.
    pub fn ticks_skipped(&self, n: u64) {
        self.ticks_skipped.inc_by(n);
    }

    /// Counters were read: `outcome` is `value` or `error`.
    pub fn readings(&self, outcome: &'static str, n: u64) {
        self.readings
            .get_or_create(&ByOutcome { outcome })
            .inc_by(n);
    }

    /// One counter took so long to read.
    pub fn reading_took(&self, took: std::time::Duration) {
        self.reading_seconds.observe(took.as_secs_f64());
    }

    /// So many series are over their threshold now.
    pub fn breaching(&self, n: i64) {
        self.breaching.set(n);
    }

    /// Triggers were evaluated, with this outcome's word.
    pub fn decisions(&self, outcome: &'static str, n: u64) {
        self.decisions
            .get_or_create(&ByOutcome { outcome })
            .inc_by(n);
    }

    /// So many runs are in a state now; told from the database when somebody asks, so that it holds for all processes.
    pub fn runs(&self, state: &'static str, n: i64) {
        self.runs.get_or_create(&ByState { state }).set(n);
    }

    /// So many runs wait for a worker now.
    pub fn queue_depth(&self, n: i64) {
        self.queue_depth.set(n);
    }

    /// How the breakers stand now: cluster, whether it is not closed, failed launches in a row; told from the database when somebody asks.
    pub fn breakers(&self, all: impl IntoIterator<Item = (String, bool, i32)>) {
        // Those of clusters that are gone go too.
        self.breaker_open.clear();
        self.failed_launches.clear();
        for (cluster, open, failures) in all {
            let label = ByCluster { cluster };
            self.breaker_open.get_or_create(&label).set(i64::from(open));
            self.failed_launches
                .get_or_create(&label)
                .set(i64::from(failures));
        }
    }

    /// The OpenMetrics text.
    ///
    /// # Errors
    /// A number cannot be written as text.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .map_err(|cause| Error::internal("could not write the metrics", cause))?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bumped_by_one_clone_is_told_by_another() {
        let metrics = Metrics::new();
        let elsewhere = metrics.clone();
        elsewhere.tick();
        elsewhere.readings("value", 5);
        elsewhere.readings("error", 1);
        elsewhere.reading_took(std::time::Duration::from_millis(30));
        elsewhere.decisions("fired", 2);
        elsewhere.runs("stuck", 3);
        elsewhere.queue_depth(4);
        elsewhere.breaching(7);
        elsewhere.breakers([("web".to_owned(), true, 3), ("former".to_owned(), true, 3)]);
        elsewhere.breakers([("web".to_owned(), true, 3)]);
        assert!(!metrics.text().unwrap().contains("former"));
        let text = metrics.text().unwrap();
        for line in [
            "headroom_ticks_total 1",
            "headroom_readings_total{outcome=\"value\"} 5",
            "headroom_readings_total{outcome=\"error\"} 1",
            "headroom_reading_seconds_bucket{le=\"0.05\"} 1",
            "headroom_decisions_total{outcome=\"fired\"} 2",
            "headroom_runs{state=\"stuck\"} 3",
            "headroom_queue_depth 4",
            "headroom_breaching_series 7",
            "headroom_breaker_open{cluster=\"web\"} 1",
            "headroom_failed_launches_in_a_row{cluster=\"web\"} 3",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
