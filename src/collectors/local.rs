//! Counters of Headroom's own host: the operator's scripts, run here.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::clients::command;
use crate::collectors::target::{Source, Target, ToRead};
use crate::collectors::verdict::{Account, MAX_OUTPUT};
use crate::collectors::{Collector, Measured};
use crate::samples::SeriesKey;

/// Scripts at once: they share the host with Headroom itself.
const AT_ONCE: usize = 8;

/// Reads `local` counters.
pub(super) struct LocalCollector {
    allowed: bool,
    slots: Semaphore,
}

impl LocalCollector {
    pub(super) fn new(allowed: bool) -> Self {
        Self {
            allowed,
            slots: Semaphore::new(AT_ONCE),
        }
    }

    async fn measure(&self, due: &ToRead, deadline: Instant) -> Measured {
        if !self.allowed {
            return Measured::error(
                "scripts may not run on Headroom's own host: it listens beyond loopback; set HEADROOM_ALLOW_LOCAL=true to allow them",
            );
        }
        let Source::Script(script) = &due.counter.source else {
            return Measured::error("the counter has no script");
        };
        let Ok(_slot) = self.slots.acquire().await else {
            return Measured::error("Headroom is ending");
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = due.counter.timeout.min(left);
        // One byte more than is allowed tells whether it was too much.
        match command::run_script(script, limit, MAX_OUTPUT + 1).await {
            Ok(output) => Measured {
                outcome: Account::of(&output, limit).verdict(),
                took: output.took,
            },
            Err(error) => Measured {
                outcome: Err(error.to_string()),
                took: Duration::ZERO,
            },
        }
    }
}

impl Collector for LocalCollector {
    fn reads(&self, key: SeriesKey) -> bool {
        matches!(key, SeriesKey::Local { .. })
    }

    fn read<'a>(
        &'a self,
        _target: &'a Target,
        due: Vec<&'a ToRead>,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Measured>> {
        let each = due.into_iter().map(move |due| self.measure(due, deadline));
        join_all(each).boxed()
    }
}
