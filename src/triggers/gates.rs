//! The gates between a breach and a firing, in their order; each is asked every time and says why it let through or refused.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::survey::Survey;
use super::words;

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateName {
    /// The trigger is enabled.
    Enabled,
    /// A timing is set and there are counters.
    Timing,
    /// Enough nodes answer for a removal.
    Quorum,
    /// No hold is active.
    Hold,
    /// The last firing is long enough ago.
    Cooldown,
    /// No run of this trigger is open.
    OpenRun,
    /// No run that changes the cluster's capacity is open.
    CapacityRun,
    /// No step leaves the cluster's bounds.
    Bounds,
    /// The cluster's breaker lets launches through.
    Breaker,
    /// The trigger is live.
    Mode,
}

impl GateName {
    /// The word in a fingerprint and on a page.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Timing => "timing",
            Self::Quorum => "quorum",
            Self::Hold => "hold",
            Self::Cooldown => "cooldown",
            Self::OpenRun => "open_run",
            Self::CapacityRun => "capacity_run",
            Self::Bounds => "bounds",
            Self::Breaker => "breaker",
            Self::Mode => "mode",
        }
    }
}

impl fmt::Display for GateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one gate said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Which one.
    pub name: GateName,
    /// Whether it lets the trigger fire.
    pub passed: bool,
    /// Why, in a sentence without its full stop.
    pub reason: String,
}

/// Every gate, in the order in which they are asked.
pub fn all(facts: &Facts<'_>, survey: &Survey) -> Vec<Gate> {
    [
        (GateName::Enabled, enabled(facts)),
        (GateName::Timing, timing(facts)),
        (GateName::Quorum, quorum(facts, survey)),
        (GateName::Hold, hold(facts)),
        (GateName::Cooldown, cooldown(facts)),
        (GateName::OpenRun, open_run(facts)),
        (GateName::CapacityRun, capacity_run(facts)),
        (GateName::Bounds, bounds(facts)),
        (GateName::Breaker, breaker(facts)),
        (GateName::Mode, mode(facts)),
    ]
    .into_iter()
    .map(|(name, said)| {
        let passed = said.is_ok();
        let (Ok(reason) | Err(reason)) = said;
        Gate {
            name,
            passed,
            reason,
        }
    })
    .collect()
}

/// Why a gate let through, or why it refused.
type Said = Result<String, String>;

fn enabled(facts: &Facts<'_>) -> Said {
    if facts.trigger.enabled {
        Ok("the trigger is enabled".into())
    } else {
        Err("the trigger is disabled".into())
    }
}

fn timing(facts: &Facts<'_>) -> Said {
    match facts.trigger.timing_ms {
        None => Err("no timing is set, so it runs by hand only".into()),
        Some(_) if facts.counters.is_empty() => {
            Err("it has no counters, so it runs by hand only".into())
        }
        Some(timing_ms) => Ok(format!("a breach must last for {}", words::span(timing_ms))),
    }
}

fn quorum(facts: &Facts<'_>, survey: &Survey) -> Said {
    if !facts.trigger.may_shrink {
        return Ok("no step takes capacity away, so no quorum is needed".into());
    }
    let needed = facts.trigger.quorum_percent;
    let partly = match survey.answering.saturating_sub(survey.present) {
        0 => String::new(),
        nodes => format!(" ({nodes} of them not for every counter)"),
    };
    let mut said = format!(
        "{} of {} answer{partly}, {needed} % needed for a removal",
        survey.answering,
        words::count(survey.applicable, "node", "nodes"),
    );
    if let Some(outage) = outage(facts, survey) {
        said = format!("{said}; {outage}");
    }
    if survey.applicable > 0 && reaches(survey.present, survey.applicable, needed) {
        Ok(said)
    } else {
        Err(said)
    }
}

/// Whether `part` is at least `percent` of `whole`, without rounding.
pub fn reaches(part: usize, whole: usize, percent: u32) -> bool {
    part as u128 * 100 >= whole as u128 * u128::from(percent)
}

/// That most nodes fell silent together, in words.
pub fn outage(facts: &Facts<'_>, survey: &Survey) -> Option<String> {
    let (nodes, since_ms) = survey.silenced_at_once(facts)?;
    Some(format!(
        "{} fell silent together after {}, which looks like an outage of the collector or its network, not of the nodes",
        words::count(nodes, "node", "nodes"),
        words::time(since_ms, facts.now_ms)
    ))
}

fn hold(facts: &Facts<'_>) -> Said {
    // The hold that lasts longest is the one to wait for.
    let lasting = facts.holds.iter();
    match lasting.max_by_key(|hold| (hold.stops_all, hold.expires_ms)) {
        None => Ok("no hold is active".into()),
        Some(hold) if hold.stops_all => Err(format!(
            "all acting is stopped by {}: {}",
            hold.author, hold.reason
        )),
        Some(hold) => Err(format!(
            "{} is held until {} by {}: {}",
            hold.what,
            words::time(hold.expires_ms, facts.now_ms),
            hold.author,
            hold.reason
        )),
    }
}

fn cooldown(facts: &Facts<'_>) -> Said {
    let (now_ms, cooldown_ms) = (facts.now_ms, facts.trigger.cooldown_ms);
    let Some(fired_ms) = facts.trigger.last_fired_ms else {
        return Ok("it has not fired yet".into());
    };
    if fired_ms > now_ms {
        return Err(format!(
            "its last firing is recorded for {}, {} ahead of the clock: was the clock set back?",
            words::time(fired_ms, now_ms),
            words::span(fired_ms.saturating_sub(now_ms))
        ));
    }
    let until_ms = fired_ms.saturating_add(cooldown_ms);
    let fired = words::time(fired_ms, now_ms);
    if fired_ms == now_ms {
        Err(format!("it has fired in this tick, at {fired}"))
    } else if until_ms > now_ms {
        Err(format!(
            "it cools down until {} after firing at {fired}",
            words::time(until_ms, now_ms)
        ))
    } else if cooldown_ms == 0 {
        Ok(format!("it has no cooldown and last fired at {fired}"))
    } else {
        Ok(format!(
            "its cooldown of {} is over since it fired at {fired}",
            words::span(cooldown_ms)
        ))
    }
}

fn open_run(facts: &Facts<'_>) -> Said {
    match facts.open_run {
        None => Ok("no run of it is open".into()),
        Some(run) => Err(format!("its run {} is still {}", run.id, run.state)),
    }
}

fn capacity_run(facts: &Facts<'_>) -> Said {
    match facts.open_capacity_run {
        None => Ok(format!(
            "no run is changing the capacity of {}",
            facts.cluster.name
        )),
        Some(run) => Err(format!(
            "run {} of {}, which changes the capacity of {}, is still {}",
            run.id, run.origin, facts.cluster.name, run.state
        )),
    }
}

fn bounds(facts: &Facts<'_>) -> Said {
    let cluster = facts.cluster;
    let mut size = cluster.size;
    for change in facts.trigger.changes {
        let before = size;
        size = size.saturating_add(*change);
        let moved = format!(
            "a step would take {} from {before} to {size} nodes",
            cluster.name
        );
        // Only a step that moves away from the bounds is refused: one node more is right for a cluster below its minimum.
        if *change < 0 && size < cluster.min_nodes {
            return Err(format!(
                "{moved}, fewer than its minimum of {}",
                cluster.min_nodes
            ));
        }
        if let Some(max_nodes) = cluster.max_nodes.filter(|max| *change > 0 && size > *max) {
            return Err(format!("{moved}, more than its maximum of {max_nodes}"));
        }
    }
    Ok(if facts.trigger.changes.iter().all(|change| *change == 0) {
        "no step changes the number of nodes".into()
    } else {
        format!(
            "{} would go from {} to {size} nodes",
            cluster.name, cluster.size
        )
    })
}

fn breaker(facts: &Facts<'_>) -> Said {
    match facts.launch_refusal {
        _ if !facts.trigger.adds_capacity() => Ok("no step launches a node".into()),
        None => Ok(format!("{} may launch", facts.cluster.name)),
        Some(why) => Err(why.to_owned()),
    }
}

fn mode(facts: &Facts<'_>) -> Said {
    if facts.trigger.dry_run {
        Err("it only rehearses: the run is planned and not started".into())
    } else {
        Ok("the trigger is live".into())
    }
}
