//! Replays recorded samples through the very code that decides in production: when would this trigger have fired, and why not?
//!
//! What is not recorded is taken to be out of the way: no hold, no open run, a run over as soon as it began, the cluster as it is
//! now. A tick at which a counter was due and has no sample counts as an error reading.

use serde::{Deserialize, Serialize};

use super::breach::{self, Breach, Policy, advance};
use super::decide::{Decision, Outcome, decide};
use super::facts::ClusterFacts;
use super::facts::{CounterFacts, Facts, NodeFacts, SeriesFacts, TriggerFacts, When};
use super::mean::Mean;

/// What is replayed.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The trigger; its last firing is the replay's own.
    pub trigger: TriggerFacts<'a>,
    /// Its cluster.
    pub cluster: ClusterFacts<'a>,
    /// Its counters.
    pub counters: Vec<Counter<'a>>,
    /// The cluster's nodes in service.
    pub nodes: Vec<Node<'a>>,
}

/// A counter of the subject.
#[derive(Debug, Clone, Copy)]
pub struct Counter<'a> {
    /// Its name.
    pub name: &'a str,
    /// Shown beside its values.
    pub unit: Option<&'a str>,
    /// How its breaches move.
    pub policy: Policy,
    /// How often it is read.
    pub period_ms: i64,
}

/// A node of the subject.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// Its name.
    pub name: &'a str,
    /// Before that it was not there.
    pub created_ms: i64,
    /// Its series of the counters.
    pub series: Vec<Series<'a>>,
}

/// A recorded series.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    /// Place of its counter.
    pub counter: usize,
    /// The JVM profile it was read from.
    pub jvm: Option<&'a str>,
    /// Tick and value, oldest first.
    pub samples: Vec<(i64, f64)>,
}

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// First tick that was decided.
    pub from_ms: i64,
    /// Last tick that was decided.
    pub to_ms: i64,
    /// Ticks that were decided.
    pub ticks: u32,
    /// When it would have fired, and on what.
    pub firings: Vec<Firing>,
    /// Every outcome, equal ones in a row as one.
    pub stretches: Vec<Stretch>,
}

/// A firing, or for a trigger that only rehearses what would have been one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// Its tick.
    pub at_ms: i64,
    /// What it would have fired on.
    pub reason: String,
}

/// Ticks in a row that came to the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    /// What they came to.
    pub outcome: Outcome,
    /// The reason of the last of them.
    pub reason: String,
    /// The first tick.
    pub first_ms: i64,
    /// The last tick.
    pub last_ms: i64,
    /// How many there are.
    pub count: u32,
    /// Equal for ticks that are one stretch.
    #[serde(skip)]
    fingerprint: String,
}

/// Decides every tick from `from_ms` to `to_ms`. Samples from before move the breaches alone, so that one that is already there
/// counts in full.
pub fn replay(subject: &Subject<'_>, from_ms: i64, to_ms: i64, tick_length_ms: i64) -> Report {
    let tick_length_ms = tick_length_ms.max(1);
    let mut report = Report {
        from_ms: ceil(from_ms, tick_length_ms),
        to_ms: to_ms.div_euclid(tick_length_ms) * tick_length_ms,
        ticks: 0,
        firings: Vec::new(),
        stretches: Vec::new(),
    };
    let mut player = Player::new(subject);
    let first_ms = player.first_ms().unwrap_or(report.from_ms);
    let mut tick_ms = ceil(first_ms.min(report.from_ms), tick_length_ms);
    while tick_ms <= report.to_ms {
        player.observe(tick_ms);
        if tick_ms >= report.from_ms {
            let decision = player.decide(tick_ms, tick_length_ms);
            report.ticks += 1;
            if matches!(decision.outcome, Outcome::Fired | Outcome::DryRun) {
                player.last_fired_ms = Some(tick_ms);
                report.firings.push(Firing {
                    at_ms: tick_ms,
                    reason: decision.reason.clone(),
                });
            }
            add(&mut report.stretches, decision, tick_ms);
        }
        tick_ms += tick_length_ms;
    }
    report
}

fn ceil(at_ms: i64, tick_length_ms: i64) -> i64 {
    let before = at_ms.div_euclid(tick_length_ms) * tick_length_ms;
    if before == at_ms {
        at_ms
    } else {
        before + tick_length_ms
    }
}

fn add(stretches: &mut Vec<Stretch>, decision: Decision, tick_ms: i64) {
    let goes_on = stretches.last_mut().filter(|last| {
        last.outcome == decision.outcome && last.fingerprint == decision.fingerprint
    });
    // Every firing is told on its own, as in the ledger.
    match goes_on.filter(|last| last.outcome != Outcome::Fired) {
        Some(last) => {
            last.reason = decision.reason;
            last.last_ms = tick_ms;
            last.count += 1;
        }
        None => stretches.push(Stretch {
            outcome: decision.outcome,
            reason: decision.reason,
            first_ms: tick_ms,
            last_ms: tick_ms,
            count: 1,
            fingerprint: decision.fingerprint,
        }),
    }
}

/// A series while it is replayed.
#[derive(Debug, Clone, Copy, Default)]
struct Track {
    /// Samples that were played.
    played: usize,
    last: Option<(i64, f64)>,
    breach: Option<Breach>,
    /// Tick of the latest reading.
    reading_ms: Option<i64>,
    /// First sample that was played after the last firing.
    first_ms: Option<i64>,
}

impl Track {
    fn read(&mut self, tick_ms: i64, value: Option<f64>, policy: &Policy) {
        self.breach = advance(self.breach, tick_ms, value, policy);
        self.reading_ms = Some(tick_ms);
        if let Some(value) = value {
            self.last = Some((tick_ms, value));
            self.first_ms.get_or_insert(tick_ms);
        }
    }
}

struct Player<'a> {
    subject: &'a Subject<'a>,
    /// By node, then as the node's series.
    tracks: Vec<Vec<Track>>,
    /// By counter.
    means: Vec<Track>,
    last_fired_ms: Option<i64>,
}

impl<'a> Player<'a> {
    fn new(subject: &'a Subject<'a>) -> Self {
        let nodes = subject.nodes.iter();
        Self {
            subject,
            tracks: nodes
                .map(|node| vec![Track::default(); node.series.len()])
                .collect(),
            means: vec![Track::default(); subject.counters.len()],
            last_fired_ms: None,
        }
    }

    /// The first sample of all.
    fn first_ms(&self) -> Option<i64> {
        let series = self.subject.nodes.iter().flat_map(|node| &node.series);
        series
            .filter_map(|series| series.samples.first())
            .map(|(tick_ms, _)| *tick_ms)
            .min()
    }

    /// Plays the readings of a tick.
    fn observe(&mut self, tick_ms: i64) {
        let fired_ms = self.last_fired_ms;
        let mut means: Vec<_> = self
            .subject
            .counters
            .iter()
            .map(|counter| Mean::at(tick_ms, counter.policy.stale_after_ms))
            .collect();
        for (node, tracks) in self.subject.nodes.iter().zip(&mut self.tracks) {
            for (series, track) in node.series.iter().zip(tracks) {
                let Some(counter) = self.subject.counters.get(series.counter) else {
                    continue;
                };
                forget_before(track, fired_ms);
                play(series, track, counter, tick_ms);
                if let (Some(mean), Some(reading_ms)) =
                    (means.get_mut(series.counter), track.reading_ms)
                {
                    mean.take(reading_ms, track.last);
                }
            }
        }
        if self.subject.trigger.when == When::Average {
            let counters = self.subject.counters.iter().zip(means);
            for ((counter, mean), track) in counters.zip(&mut self.means) {
                forget_before(track, fired_ms);
                if let Some(reading) = mean.reading() {
                    track.read(tick_ms, reading.ok(), &counter.policy);
                }
            }
        }
    }

    fn decide(&self, tick_ms: i64, tick_length_ms: i64) -> Decision {
        let counters: Vec<_> = self.subject.counters.iter().map(counter_facts).collect();
        let there = self.subject.nodes.iter().zip(&self.tracks);
        let there: Vec<_> = there
            .filter(|(node, _)| node.created_ms <= tick_ms)
            .map(|(node, tracks)| {
                let series = node.series.iter().zip(tracks);
                let series: Vec<_> = series
                    .map(|(series, track)| self.series(track, series.counter, series.jvm))
                    .collect();
                (node.name, series)
            })
            .collect();
        let nodes: Vec<_> = there
            .iter()
            .map(|(name, series)| NodeFacts {
                name,
                held: false,
                series,
            })
            .collect();
        let averages: Vec<_> = match self.subject.trigger.when {
            When::Average => (0..)
                .zip(&self.means)
                .map(|(counter, track)| self.series(track, counter, None))
                .collect(),
            _ => Vec::new(),
        };
        decide(&Facts {
            now_ms: tick_ms,
            tick_length_ms,
            trigger: TriggerFacts {
                last_fired_ms: self.last_fired_ms,
                ..self.subject.trigger
            },
            cluster: self.subject.cluster,
            counters: &counters,
            nodes: &nodes,
            averages: &averages,
            holds: &[],
            open_run: None,
            open_capacity_run: None,
            launch_refusal: None,
            previous_ms: None,
            unreadable: None,
        })
    }

    fn series(&self, track: &Track, counter: usize, jvm: Option<&'a str>) -> SeriesFacts<'a> {
        let stale_after_ms = self
            .subject
            .counters
            .get(counter)
            .map_or(0, |counter| counter.policy.stale_after_ms);
        SeriesFacts {
            counter,
            jvm,
            last: track.last,
            breach: track.breach,
            start_ms: track.breach.and_then(|breach| {
                breach::start(breach, self.last_fired_ms, stale_after_ms, track.first_ms)
            }),
            error: None,
        }
    }
}

/// Samples up to the firing do not count for what comes after it.
fn forget_before(track: &mut Track, fired_ms: Option<i64>) {
    track.first_ms = track.first_ms.filter(|first_ms| Some(*first_ms) > fired_ms);
}

fn play(series: &Series<'_>, track: &mut Track, counter: &Counter<'_>, tick_ms: i64) {
    let mut value = None;
    while let Some((sample_ms, sample)) = series.samples.get(track.played)
        && *sample_ms <= tick_ms
    {
        // A sample between two ticks was recorded when ticks were shorter; the last one before the tick stands for it.
        value = Some(*sample);
        track.played += 1;
    }
    // Before its first sample nobody knows whether the series was read at all.
    let is_due = tick_ms.rem_euclid(counter.period_ms.max(1)) == 0 && track.played > 0;
    if value.is_some() || is_due {
        track.read(tick_ms, value, &counter.policy);
    }
}

fn counter_facts<'a>(counter: &Counter<'a>) -> CounterFacts<'a> {
    CounterFacts {
        name: counter.name,
        unit: counter.unit,
        rule: counter.policy.rule,
        stale_after_ms: counter.policy.stale_after_ms,
        period_ms: counter.period_ms,
    }
}
