//! The sentence of a decision: what was seen, what was missing, what refused.

use super::decide::{Outcome, refusal};
use super::facts::{Facts, When};
use super::gates::{self, Gate, GateName};
use super::survey::{Found, Standing, Survey};
use super::words;

/// Ticks by which something may lie ahead of the clock before the clock is said to have been set back.
pub const CLOCK_TOLERANCE_TICKS: i64 = 3;

/// The reason of an outcome.
pub fn sentence(facts: &Facts<'_>, survey: &Survey, gates: &[Gate], outcome: Outcome) -> String {
    let refused = refusal(gates);
    let mut sentence = match (outcome, refused) {
        (Outcome::Quiet, _) => quiet(facts, survey, gates),
        (Outcome::Pending, _) => pending(facts, survey),
        (Outcome::Fired, _) => firing(facts, survey),
        (Outcome::DryRun | Outcome::Refused, Some(gate)) => {
            format!("{}, but {}", firing(facts, survey), gate.reason)
        }
        (Outcome::DryRun | Outcome::Refused, None) => firing(facts, survey),
    };
    if let (Outcome::Pending, Some(gate)) = (outcome, refused.filter(|g| g.name != GateName::Mode))
    {
        sentence = format!(
            "{sentence}; it would be refused as things stand: {}",
            gate.reason
        );
    }
    // A refusal by the quorum has named the outage already.
    let said = outcome == Outcome::Refused && refused.is_some_and(|g| g.name == GateName::Quorum);
    let outage = facts
        .trigger
        .may_shrink
        .then(|| gates::outage(facts, survey))
        .flatten();
    for note in [outage.filter(|_| !said), clock_went_back(facts)]
        .into_iter()
        .flatten()
    {
        sentence = format!("{sentence}; {note}");
    }
    sentence
}

/// Why nothing breaches that could count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calm {
    /// The sample store did not answer.
    Unreadable,
    /// Without a timing or counters it never fires by itself.
    ByHand,
    /// There is no node in service.
    NoNode,
    /// No node has a series of the trigger's counters.
    NoSeries,
    /// Samples lie ahead of the clock.
    Ahead,
    /// A breach is too old to count.
    StaleBreach,
    /// No series has a sample.
    NoSample,
    /// The mean over the nodes is within its threshold.
    MeanWithin,
    /// Some series have no fresh sample, the others are within their thresholds.
    PartlyStale,
    /// Everything is fresh and within its threshold.
    Within,
}

impl Calm {
    /// The word in a fingerprint.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::ByHand => "by_hand",
            Self::NoNode => "no_node",
            Self::NoSeries => "no_series",
            Self::Ahead => "ahead",
            Self::StaleBreach => "stale_breach",
            Self::NoSample => "no_sample",
            Self::MeanWithin => "mean_within",
            Self::PartlyStale => "partly_stale",
            Self::Within => "within",
        }
    }
}

/// Which kind of quiet it is, the most telling first.
pub fn calm(facts: &Facts<'_>, survey: &Survey) -> Calm {
    let count = |standing| survey.count(standing);
    let counted = survey.series() - count(Standing::Held);
    if facts.unreadable.is_some() {
        Calm::Unreadable
    } else if facts.trigger.timing_ms.is_none() || facts.counters.is_empty() {
        Calm::ByHand
    } else if survey.nodes == 0 {
        Calm::NoNode
    } else if counted == 0 {
        Calm::NoSeries
    } else if count(Standing::Ahead) > 0 {
        Calm::Ahead
    } else if count(Standing::StaleBreach) > 0 {
        Calm::StaleBreach
    } else if count(Standing::NoSample) == counted {
        Calm::NoSample
    } else if survey.mean_within().is_some() {
        Calm::MeanWithin
    } else if count(Standing::NoSample) + count(Standing::Stale) > 0 {
        Calm::PartlyStale
    } else {
        Calm::Within
    }
}

fn quiet(facts: &Facts<'_>, survey: &Survey, gates: &[Gate]) -> String {
    let count = |standing| survey.count(standing);
    let cluster = facts.cluster.name;
    let said = match calm(facts, survey) {
        Calm::Unreadable => format!(
            "the samples could not be read, and nothing fires without them: {}",
            facts.unreadable.unwrap_or_default()
        ),
        Calm::ByHand => gates
            .iter()
            .find(|gate| gate.name == GateName::Timing)
            .map_or_else(String::new, |gate| gate.reason.clone()),
        Calm::NoNode if survey.held > 0 => format!("every node in service of {cluster} is held"),
        Calm::NoNode => format!("{cluster} has no node in service"),
        Calm::NoSeries => format!("no node in service of {cluster} has one of its counters"),
        Calm::Ahead => survey
            .first(Standing::Ahead)
            .map_or_else(String::new, |found| ahead(facts, found)),
        Calm::StaleBreach => survey
            .first(Standing::StaleBreach)
            .map_or_else(String::new, |found| stale_breach(facts, found)),
        Calm::NoSample => "there is no sample yet".into(),
        Calm::MeanWithin => survey
            .mean_within()
            .map_or_else(String::new, |found| mean_within(facts, found)),
        Calm::PartlyStale => format!(
            "{} without a fresh sample, {} within the threshold",
            words::count(
                count(Standing::NoSample) + count(Standing::Stale),
                "series is",
                "series are"
            ),
            count(Standing::Within)
        ),
        Calm::Within => match count(Standing::Within) {
            1 => "its series is within the threshold".into(),
            series => format!("all {series} series are within their thresholds"),
        },
    };
    if facts.trigger.enabled {
        said
    } else {
        format!("{said}; the trigger is disabled")
    }
}

fn ahead(facts: &Facts<'_>, found: Found) -> String {
    let at_ms = facts.series(found.place).map_or(facts.now_ms, |series| {
        let sample_ms = series.last.map(|(tick_ms, _)| tick_ms);
        let breach_ms = series.breach.map(|breach| breach.last_ms);
        sample_ms.max(breach_ms).unwrap_or(facts.now_ms)
    });
    format!(
        "the last sample of {} lies {} ahead of the clock and does not count: was the clock set back?",
        name(facts, found),
        words::span(at_ms.saturating_sub(facts.now_ms))
    )
}

fn stale_breach(facts: &Facts<'_>, found: Found) -> String {
    let breach = facts.series(found.place).and_then(|series| series.breach);
    let age_ms = breach.map_or(0, |breach| facts.now_ms.saturating_sub(breach.last_ms));
    format!(
        "{} breached, but its last sample is {} old: stale, it does not count",
        name(facts, found),
        words::span(age_ms)
    )
}

fn mean_within(facts: &Facts<'_>, found: Found) -> String {
    let value = facts.series(found.place).and_then(|series| {
        let unit = facts.counter(series).and_then(|counter| counter.unit);
        series.last.map(|(_, value)| words::value(value, unit))
    });
    format!(
        "{} is {}, within its threshold",
        name(facts, found),
        value.unwrap_or_default()
    )
}

/// What is missing to fire.
fn pending(facts: &Facts<'_>, survey: &Survey) -> String {
    let (qualifying, nodes) = (survey.qualifying, survey.nodes);
    let lead = survey
        .lead
        .map_or_else(String::new, |lead| so_far(facts, lead));
    match facts.trigger.when {
        When::Any | When::Average => lead,
        When::All if qualifying == 0 => {
            format!("{lead}, and all {} fresh nodes must", survey.heard)
        }
        When::All => format!(
            "{qualifying} of {} fresh nodes qualify and all must",
            survey.heard
        ),
        When::Percent(percent) if qualifying == 0 => {
            format!("{lead}, and {percent} % of {nodes} nodes must")
        }
        When::Percent(percent) => format!(
            "{qualifying} of {nodes} nodes qualify and {percent} % must, which is {}",
            (nodes as u128 * u128::from(percent)).div_ceil(100)
        ),
    }
}

/// `load1 on web03 has breached 3 of 5 min`
fn so_far(facts: &Facts<'_>, lead: Found) -> String {
    let timing_ms = facts.trigger.timing_ms.unwrap_or_default();
    let from_firing = facts
        .series(lead.place)
        .is_some_and(|series| series.breach.map(|breach| breach.since_ms) != series.start_ms);
    format!(
        "{} has breached {}{}",
        name(facts, lead),
        words::progress(lead.elapsed_ms, timing_ms),
        if from_firing {
            " since it last fired"
        } else {
            ""
        }
    )
}

/// What fires, or would fire.
fn firing(facts: &Facts<'_>, survey: &Survey) -> String {
    let lead = survey
        .lead
        .map_or_else(String::new, |lead| in_full(facts, lead));
    let (qualifying, nodes) = (survey.qualifying, survey.nodes);
    match facts.trigger.when {
        When::Any | When::Average => lead,
        When::All => format!("all {qualifying} fresh nodes qualify, first {lead}"),
        When::Percent(percent) => {
            format!("{qualifying} of {nodes} nodes qualify ({percent} % needed), first {lead}")
        }
    }
}

/// `load1 on web03 has been > 4 for 5 min (now 7.2)`
fn in_full(facts: &Facts<'_>, lead: Found) -> String {
    let series = facts.series(lead.place);
    let counter = series.and_then(|series| facts.counter(series));
    let rule = counter.map_or_else(String::new, |counter| counter.rule.to_string());
    let name = name(facts, lead);
    let now = match series.and_then(|series| series.last) {
        Some((_, value)) => words::value(value, counter.and_then(|counter| counter.unit)),
        None => "without a reading".into(),
    };
    if facts.trigger.timing_ms == Some(0) {
        format!("{name} is {rule} (now {now})")
    } else {
        let lasted = words::span(lead.elapsed_ms);
        format!("{name} has been {rule} for {lasted} (now {now})")
    }
}

/// A series as people call it: `load1 on web03`, `heap on web03/tomcat`, `the mean of load1 over web`.
pub fn name(facts: &Facts<'_>, found: Found) -> String {
    let series = facts.series(found.place);
    let counter = series
        .and_then(|series| facts.counter(series))
        .map_or("a counter", |counter| counter.name);
    match found.place.node {
        None => format!("the mean of {counter} over {}", facts.cluster.name),
        Some(at) => {
            let node = facts.nodes.get(at).map_or("a node", |node| node.name);
            match series.and_then(|series| series.jvm) {
                Some(jvm) => format!("{counter} on {node}/{jvm}"),
                None => format!("{counter} on {node}"),
            }
        }
    }
}

/// That the clock went back since the decision before this one.
pub fn clock_went_back(facts: &Facts<'_>) -> Option<String> {
    let back_ms = facts.previous_ms?.saturating_sub(facts.now_ms);
    let tolerance_ms = facts.tick_length_ms.saturating_mul(CLOCK_TOLERANCE_TICKS);
    (back_ms > tolerance_ms).then(|| {
        format!(
            "the clock went back by {} since the last decision, so breaches are counted anew",
            words::span(back_ms)
        )
    })
}
