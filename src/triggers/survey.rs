//! One pass over a trigger's series: where each one stands, how many nodes are fresh and qualify, and which series leads.
//!
//! This is the only part whose cost grows with the fleet, so it allocates nothing per series.

use serde::{Deserialize, Serialize};

use super::breach::is_fresh;
use super::facts::{Facts, NodeFacts, Place, SeriesFacts, When};
use super::outage;

/// Series that a decision keeps as its inputs; the rest is counted. Decisions are kept for months, so they must stay small.
pub const MAX_INPUTS: usize = 12;

/// Where one series stands, in the order in which it interests a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Its breach has lasted for the timing.
    Qualifies,
    /// It breaches, not yet for long enough.
    Breaching,
    /// It last breached, but its last sample is too old to count.
    StaleBreach,
    /// Its last sample lies ahead of the clock.
    Ahead,
    /// It has no sample.
    NoSample,
    /// Its last sample, within the threshold, is too old to count.
    Stale,
    /// Its fresh sample is within the threshold.
    Within,
    /// Its node is held, so that it does not count.
    Held,
}

/// Standings, for one bucket each.
const STANDINGS: usize = 8;

/// A series together with what was found about it.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Which one.
    pub place: Place,
    /// Where it stands.
    pub standing: Standing,
    /// How long its breach has lasted for this trigger.
    pub elapsed_ms: i64,
}

/// What one pass found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Nodes in service that are not held.
    pub nodes: usize,
    /// Nodes that are held.
    pub held: usize,
    /// Of those not held: nodes that have a series at all.
    pub applicable: usize,
    /// Nodes whose every series has a fresh sample.
    pub fresh: usize,
    /// Nodes that gave a value when they were last to be read.
    pub answering: usize,
    /// Nodes that are both; what a quorum counts.
    pub present: usize,
    /// Nodes with anything fresh, a breach by `missing: breach` included; what `all` asks of.
    pub heard: usize,
    /// Nodes with a series that qualifies.
    pub qualifying: usize,
    /// The nodes' series by standing.
    tally: [usize; STANDINGS],
    /// Up to [`MAX_INPUTS`] of each standing.
    kept: [Vec<Found>; STANDINGS],
    /// The means over the nodes, for `average`.
    means: Vec<Found>,
    /// The series that qualifies or breaches for the longest time; for `average` a mean.
    pub lead: Option<Found>,
    /// Newest sample of each node that does not answer any more.
    silent_since_ms: Vec<i64>,
}

impl Survey {
    /// Looks at every series once.
    pub fn of(facts: &Facts<'_>) -> Self {
        let mut survey = Self::default();
        for (at, node) in facts.nodes.iter().enumerate() {
            survey.node(facts, at, node);
        }
        for (at, series) in facts.averages.iter().enumerate() {
            let place = Place {
                node: None,
                series: at,
            };
            let found = examine(facts, series, place);
            survey.means.push(found);
            survey.lead(found);
        }
        survey
    }

    fn node(&mut self, facts: &Facts<'_>, at: usize, node: &NodeFacts<'_>) {
        let (mut fresh, mut heard, mut qualifies) = (true, false, false);
        let (mut newest_ms, mut asked_ms) = (None, None);
        for (series_at, series) in node.series.iter().enumerate() {
            let place = Place {
                node: Some(at),
                series: series_at,
            };
            let mut found = examine(facts, series, place);
            if node.held {
                found.standing = Standing::Held;
            }
            fresh &= has_fresh_sample(facts, series);
            heard |= found.standing.is_fresh();
            qualifies |= found.standing == Standing::Qualifies;
            newest_ms = newest_ms.max(series.last.map(|(tick_ms, _)| tick_ms));
            asked_ms = asked_ms.max(due_ms(facts, series));
            self.add(found);
            if facts.trigger.when != When::Average {
                self.lead(found);
            }
        }
        if node.held {
            self.held += 1;
            return;
        }
        self.nodes += 1;
        if node.series.is_empty() {
            return;
        }
        self.applicable += 1;
        // A sample may still be fresh although the node has gone since: it answers only if the latest tick at which anything of it was
        // due gave a value. So an error, and a reading that did not come or has not come yet, take it out of the quorum at once.
        let answers = newest_ms >= asked_ms && newest_ms.is_some_and(|ms| ms <= facts.now_ms);
        self.fresh += usize::from(fresh);
        self.answering += usize::from(answers);
        self.present += usize::from(fresh && answers);
        self.heard += usize::from(heard);
        self.qualifying += usize::from(qualifies);
        if let Some(newest_ms) = newest_ms.filter(|_| !answers) {
            self.silent_since_ms.push(newest_ms);
        }
    }

    fn add(&mut self, found: Found) {
        if let Some(tally) = self.tally.get_mut(found.standing as usize) {
            *tally += 1;
        }
        if let Some(kept) = self.kept.get_mut(found.standing as usize)
            && kept.len() < MAX_INPUTS
        {
            kept.push(found);
        }
    }

    /// The longest breach leads; of equals the first, so that a steady state keeps its sentence.
    fn lead(&mut self, found: Found) {
        let leads = matches!(
            found.standing,
            Standing::Qualifies | Standing::Breaching | Standing::StaleBreach
        ) && self.lead.is_none_or(|lead| {
            (found.standing, -found.elapsed_ms) < (lead.standing, -lead.elapsed_ms)
        });
        if leads {
            self.lead = Some(found);
        }
    }

    /// How many series stand so.
    pub fn count(&self, standing: Standing) -> usize {
        self.tally.get(standing as usize).copied().unwrap_or(0)
    }

    /// How many series the nodes have.
    pub fn series(&self) -> usize {
        self.tally.iter().sum()
    }

    /// The first mean that is fresh and within its threshold.
    pub fn mean_within(&self) -> Option<Found> {
        let mut means = self.means.iter();
        means
            .find(|mean| mean.standing == Standing::Within)
            .copied()
    }

    /// The first series that stands so.
    pub fn first(&self, standing: Standing) -> Option<Found> {
        self.kept.get(standing as usize)?.first().copied()
    }

    /// The series worth recording, the most interesting first.
    pub fn inputs(&self) -> impl Iterator<Item = Found> + '_ {
        let nodes = self.kept.iter().flatten().take(MAX_INPUTS);
        self.means.iter().chain(nodes).copied()
    }

    /// How many series of nodes are too many to be recorded.
    pub fn left_out(&self) -> usize {
        self.series().saturating_sub(MAX_INPUTS)
    }

    /// How many nodes fell silent together, when they are at least as many as still answer.
    pub fn silenced_at_once(&self, facts: &Facts<'_>) -> Option<(usize, i64)> {
        let window_ms = facts.tick_length_ms.saturating_mul(2);
        outage::together(&self.silent_since_ms, self.answering, window_ms)
    }
}

impl Standing {
    /// Whether it rests on something fresh.
    pub fn is_fresh(self) -> bool {
        matches!(self, Self::Qualifies | Self::Breaching | Self::Within)
    }
}

/// The latest tick at which a series was to be read.
fn due_ms(facts: &Facts<'_>, series: &SeriesFacts<'_>) -> Option<i64> {
    let counter = facts.counters.get(series.counter)?;
    let late_ms = facts.now_ms.rem_euclid(counter.period_ms.max(1));
    Some(facts.now_ms.saturating_sub(late_ms))
}

fn has_fresh_sample(facts: &Facts<'_>, series: &SeriesFacts<'_>) -> bool {
    facts.counters.get(series.counter).is_some_and(|counter| {
        series
            .last
            .is_some_and(|(tick_ms, _)| is_fresh(tick_ms, facts.now_ms, counter.stale_after_ms))
    })
}

fn examine(facts: &Facts<'_>, series: &SeriesFacts<'_>, place: Place) -> Found {
    let stale_after_ms = facts
        .counters
        .get(series.counter)
        .map_or(0, |counter| counter.stale_after_ms);
    let elapsed_ms = match (series.breach, series.start_ms) {
        (Some(breach), Some(start_ms)) => breach.last_ms.saturating_sub(start_ms),
        _ => 0,
    };
    let standing = match (series.breach, series.last) {
        (Some(breach), _) if breach.last_ms > facts.now_ms => Standing::Ahead,
        (Some(breach), _) if !is_fresh(breach.last_ms, facts.now_ms, stale_after_ms) => {
            Standing::StaleBreach
        }
        (Some(breach), _) => {
            let since = series
                .start_ms
                .filter(|start_ms| *start_ms <= breach.last_ms);
            match (since, facts.trigger.timing_ms) {
                (Some(_), Some(timing_ms)) if elapsed_ms >= timing_ms => Standing::Qualifies,
                _ => Standing::Breaching,
            }
        }
        (None, None) => Standing::NoSample,
        (None, Some((tick_ms, _))) if tick_ms > facts.now_ms => Standing::Ahead,
        (None, Some((tick_ms, _))) if is_fresh(tick_ms, facts.now_ms, stale_after_ms) => {
            Standing::Within
        }
        (None, Some(_)) => Standing::Stale,
    };
    Found {
        place,
        standing,
        elapsed_ms: elapsed_ms.max(0),
    }
}
