//! From rows to the pure part's own types.

use std::collections::HashMap;

use crate::db::Connection;
use crate::error::Result;
use crate::models::counter::Counter;
use crate::models::{self, CounterId};
use crate::samples;
use crate::triggers::breach::{Breach, Missing, Policy};
use crate::triggers::decide::Outcome;
use crate::triggers::facts::When;
use crate::triggers::rule::{Comparison, Rule};

/// How the breaches of a counter's series move.
pub(super) fn policy(counter: &Counter, tick_length_ms: i64) -> Policy {
    Policy {
        rule: Rule {
            comparison: match counter.comparison {
                models::Comparison::Greater => Comparison::Greater,
                models::Comparison::GreaterOrEqual => Comparison::GreaterOrEqual,
                models::Comparison::Equal => Comparison::Equal,
                models::Comparison::LessOrEqual => Comparison::LessOrEqual,
                models::Comparison::Less => Comparison::Less,
            },
            threshold: counter.threshold,
        },
        missing: match counter.missing {
            models::Missing::Hold => Missing::Hold,
            models::Missing::Breach => Missing::Breach,
            models::Missing::Reset => Missing::Reset,
        },
        stale_after_ms: counter.stale_after_ms(tick_length_ms),
    }
}

/// How the series of a trigger combine. A percentage that is missing asks for every node, which is the careful reading.
pub(super) fn when(rule: models::When, percent: Option<i32>) -> When {
    match rule {
        models::When::Any => When::Any,
        models::When::All => When::All,
        models::When::Percent => When::Percent(percent_of(percent.unwrap_or(100))),
        models::When::Average => When::Average,
    }
}

/// A percentage of a row; a negative one, which no form lets in, as none.
pub(super) fn percent_of(percent: i32) -> u32 {
    u32::try_from(percent).unwrap_or(0)
}

/// The policies of all counters: what a collection needs to move the breaches of what it read.
#[derive(Debug, Clone)]
pub struct Rules {
    policies: HashMap<CounterId, Policy>,
}

impl Rules {
    /// Loads the policies, in one query.
    ///
    /// # Errors
    /// The database fails.
    pub fn load(conn: &mut Connection, tick_length_ms: i64) -> Result<Self> {
        let counters = Counter::all(conn)?;
        Ok(Self::of(&counters, tick_length_ms))
    }

    /// The policies of these counters.
    pub fn of(counters: &[Counter], tick_length_ms: i64) -> Self {
        let policies = counters
            .iter()
            .map(|counter| (counter.id, policy(counter, tick_length_ms)))
            .collect();
        Self { policies }
    }

    /// The policy of a counter; none for one that was deleted since.
    pub fn get(&self, counter: CounterId) -> Option<&Policy> {
        self.policies.get(&counter)
    }
}

impl From<samples::Breach> for Breach {
    fn from(kept: samples::Breach) -> Self {
        Self {
            since_ms: kept.since_ms,
            count: kept.count,
            last_ms: kept.last_ms,
        }
    }
}

impl From<Breach> for samples::Breach {
    fn from(breach: Breach) -> Self {
        Self {
            since_ms: breach.since_ms,
            count: breach.count,
            last_ms: breach.last_ms,
        }
    }
}

impl From<Outcome> for models::Outcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Quiet => Self::Quiet,
            Outcome::Pending => Self::Pending,
            Outcome::Refused => Self::Refused,
            Outcome::DryRun => Self::DryRun,
            Outcome::Fired => Self::Fired,
        }
    }
}
