//! Every period there is, on one page.

use std::time::{SystemTime, UNIX_EPOCH};

use apalis_cron::{Schedule, Tick};

/// Which part of Headroom a process plays; `serve` plays all of them unless `--roles` says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Role {
    /// Pages and the API.
    Web,
    /// Reads counters.
    Collect,
    /// Decides.
    Evaluate,
    /// Carries out runs.
    Run,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Web, Self::Collect, Self::Evaluate, Self::Run];

    /// The word on the command line and on the tasks page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Collect => "collect",
            Self::Evaluate => "evaluate",
            Self::Run => "run",
        }
    }
}

/// A periodic task.
#[derive(Debug, Clone, Copy)]
pub struct Periodic {
    /// Its name on the tasks page.
    pub name: &'static str,
    /// What it does, for the tasks page.
    pub what: &'static str,
    /// Seconds between two starts; none = the tick.
    pub every_secs: Option<u64>,
    /// The role that runs it; none = every process.
    pub role: Option<Role>,
    /// Whether all processes of the role do it at every start and share it out among themselves, instead of one of them alone.
    pub is_shared: bool,
}

/// Reads every due counter, keeps the samples, decides every trigger.
pub const TICK: Periodic = Periodic {
    name: "tick",
    what: "reads every due counter, keeps the samples and decides every trigger",
    every_secs: None,
    role: Some(Role::Collect),
    is_shared: true,
};
/// Finds open runs that no worker drives.
pub const SWEEP: Periodic = Periodic {
    name: "sweep",
    what: "finds open runs that no worker drives: a lost wake-up, a process that died",
    every_secs: Some(5),
    role: Some(Role::Run),
    is_shared: false,
};
/// Holds the nodes against EC2's instances.
pub const INSPECT: Periodic = Periodic {
    name: "inspect",
    what: "looks for EC2 instances without a node and nodes without an instance",
    every_secs: Some(300),
    role: Some(Role::Run),
    is_shared: false,
};
/// Drops what is older than its retention.
pub const PRUNE: Periodic = Periodic {
    name: "prune",
    what: "drops samples, decisions, sessions and queue messages past their retention",
    every_secs: Some(600),
    role: Some(Role::Evaluate),
    is_shared: false,
};
/// Says that this process lives.
pub const HEARTBEAT: Periodic = Periodic {
    name: "heartbeat",
    what: "says that this process lives",
    every_secs: Some(5),
    role: None,
    is_shared: false,
};

/// Every periodic task, for the tasks page.
pub const ALL: [Periodic; 5] = [TICK, SWEEP, INSPECT, PRUNE, HEARTBEAT];

/// A process not heard of for so long is shown as dead.
pub const WORKER_DEAD_AFTER_MS: i64 = 20_000;

impl Periodic {
    /// Seconds between two starts, given the tick.
    pub fn period_secs(&self, tick_secs: u64) -> u64 {
        self.every_secs.unwrap_or(tick_secs).max(1)
    }
}

/// Fires at multiples of a period since 1970 UTC, so that every process agrees on the ticks.
#[derive(Debug, Clone)]
pub struct Aligned {
    period_secs: u64,
    last: Option<u64>,
}

impl Aligned {
    /// Fires every `period_secs`.
    pub const fn new(period_secs: u64) -> Self {
        Self {
            period_secs,
            last: None,
        }
    }

    /// The tick after `now_secs`. A timer that woke a little early must not give the same tick twice;
    /// a clock that was set back starts again from where it now is.
    fn after(&mut self, now_secs: u64) -> u64 {
        let mut next = (now_secs / self.period_secs + 1) * self.period_secs;
        if self.last == Some(next) {
            next += self.period_secs;
        }
        self.last = Some(next);
        next
    }
}

impl<Tz> Schedule<Tz> for Aligned {
    fn next_tick(&mut self, _: &Tz) -> Option<Tick<Tz>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(Tick::new(self.after(now.as_secs())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_fall_on_multiples_of_the_period() {
        let mut aligned = Aligned::new(60);
        assert_eq!(aligned.after(0), 60);
        assert_eq!(aligned.after(60), 120);
        assert_eq!(aligned.after(125), 180);
    }

    #[test]
    fn a_timer_that_wakes_early_does_not_give_a_tick_twice() {
        let mut aligned = Aligned::new(10);
        assert_eq!(aligned.after(5), 10);
        assert_eq!(aligned.after(9), 20);
    }

    #[test]
    fn a_clock_set_back_goes_on_from_where_it_is() {
        let mut aligned = Aligned::new(10);
        assert_eq!(aligned.after(7_200), 7_210);
        assert_eq!(aligned.after(3_600), 3_610);
    }

    #[test]
    fn a_sleeping_machine_skips_what_it_slept_through() {
        let mut aligned = Aligned::new(10);
        assert_eq!(aligned.after(5), 10);
        assert_eq!(aligned.after(86_400), 86_410);
    }
}
