//! What a decision costs at fleet size: `cargo run --release --example decide`.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use headroom::triggers::breach::Breach;
use headroom::triggers::decide::{Outcome, decide};
use headroom::triggers::facts::{
    ClusterFacts, CounterFacts, Facts, NodeFacts, SeriesFacts, TriggerFacts, When,
};
use headroom::triggers::rule::{Comparison, Rule};

const NODES: usize = 10_000;
const MINUTE_MS: i64 = 60_000;
/// A whole minute in 2026.
const BEGIN_MS: i64 = 1_794_996_000_000;
const DECISIONS: u32 = 20;
const COUNTER_NAMES: [&str; 5] = ["load", "memory", "disk", "processes", "heap"];

fn main() -> anyhow::Result<()> {
    let mut took = decide_all()?;
    took.sort();
    let each = |at: usize| {
        let time = took.get(at).context("nothing was measured")?;
        anyhow::Ok(time.as_secs_f64() * 1e6 / (NODES * COUNTER_NAMES.len()) as f64)
    };
    println!(
        "decide    one trigger over {NODES} nodes x {} counters: {:.3} us a series, {:.3} at worst (wanted: 2)",
        COUNTER_NAMES.len(),
        each(took.len() / 2)?,
        each(took.len() - 1)?
    );
    Ok(())
}

/// One trigger over the whole fleet, again and again; a tenth of the nodes breach and none long enough, which is the costliest answer.
fn decide_all() -> anyhow::Result<Vec<Duration>> {
    let now_ms = BEGIN_MS + 60 * MINUTE_MS;
    let names: Vec<String> = (1..=NODES).map(|node| format!("node{node:05}")).collect();
    let series: Vec<Vec<SeriesFacts<'_>>> = (0..NODES).map(|node| series(node, now_ms)).collect();
    let nodes: Vec<NodeFacts<'_>> = names
        .iter()
        .zip(&series)
        .map(|(name, series)| NodeFacts {
            name,
            held: false,
            series,
        })
        .collect();
    let rule = Rule {
        comparison: Comparison::Greater,
        threshold: 4.0,
    };
    let counters = COUNTER_NAMES.map(|name| CounterFacts {
        name,
        unit: None,
        rule,
        stale_after_ms: 3 * MINUTE_MS,
        period_ms: MINUTE_MS,
    });
    let facts = Facts {
        now_ms,
        tick_length_ms: MINUTE_MS,
        trigger: TriggerFacts {
            timing_ms: Some(5 * MINUTE_MS),
            when: When::Any,
            cooldown_ms: 0,
            quorum_percent: 80,
            enabled: true,
            dry_run: false,
            last_fired_ms: None,
            changes: &[],
            may_shrink: false,
        },
        cluster: ClusterFacts {
            name: "web",
            min_nodes: 1,
            max_nodes: None,
            size: i32::try_from(NODES)?,
        },
        counters: &counters,
        nodes: &nodes,
        averages: &[],
        holds: &[],
        open_run: None,
        open_capacity_run: None,
        launch_refusal: None,
        previous_ms: Some(now_ms - MINUTE_MS),
        unreadable: None,
    };
    let mut took = Vec::new();
    for _ in 0..DECISIONS {
        let begin = Instant::now();
        let decision = decide(&facts);
        took.push(begin.elapsed());
        anyhow::ensure!(
            decision.outcome == Outcome::Pending,
            "decided {:?}",
            decision.outcome
        );
    }
    Ok(took)
}

fn series<'a>(node: usize, now_ms: i64) -> Vec<SeriesFacts<'a>> {
    let since_ms = now_ms - 3 * MINUTE_MS;
    let breach = node.is_multiple_of(10).then_some(Breach {
        since_ms,
        count: 4,
        last_ms: now_ms,
    });
    (0..COUNTER_NAMES.len())
        .map(|counter| SeriesFacts {
            counter,
            jvm: None,
            last: Some((now_ms, if breach.is_some() { 9.0 } else { 1.0 })),
            breach,
            start_ms: breach.map(|breach| breach.since_ms),
            error: None,
        })
        .collect()
}
