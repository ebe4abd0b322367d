//! Samples for a graph or a script: per series a label and points, gaps as null.

use std::collections::BTreeMap;

use actix_web::web::{Data, Query};
use chrono::Utc;
use serde::{Deserialize, Serialize};

use super::{instant, ok};
use crate::app::App;
use crate::db::Connection;
use crate::error::{Error, Result};
use crate::models::cluster::Cluster;
use crate::models::counter::Counter;
use crate::models::jvm_profile::JvmProfile;
use crate::models::node::{self, Node};
use crate::models::{CounterKind, JvmProfileId, NodeId, to_ms};
use crate::samples::{Sample, SeriesKey};
use crate::web::error::Answer;

/// The most points of one answer, about 20 MB.
const MAX_POINTS: i64 = 500_000;

/// One series.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Series {
    /// `node`, or `node/jvm`.
    pub label: String,
    /// Pairs of milliseconds since 1970 and a value; null where samples are missing.
    #[schema(value_type = Vec<(i64, Option<f64>)>)]
    pub data: Vec<(i64, Option<f64>)>,
}

/// Which series, and when.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    cluster: Option<String>,
    node: Option<String>,
    counter: String,
    from: Option<String>,
    to: Option<String>,
}

/// `GET /series`.
///
/// # Errors
/// Something named does not exist, the answer would be too large, or a database fails.
pub async fn list(app: Data<App>, wanted: Query<Wanted>) -> Answer {
    let wanted = wanted.into_inner();
    let now = Utc::now();
    let to_ms = instant("to", wanted.to.as_deref())?.unwrap_or_else(|| to_ms(now));
    let retention_ms = i64::try_from(app.config.sampling.retention.as_millis()).unwrap_or(i64::MAX);
    let from_ms = instant("from", wanted.from.as_deref())?.unwrap_or(to_ms - retention_ms);
    let tick_ms = app.config.sampling.tick_secs() * 1_000;
    let found = app.db.read(move |conn| find(conn, &wanted)).await?;
    let every_ms = found.every_secs.map_or(tick_ms, |secs| secs * 1_000);
    let points = to_ms.saturating_sub(from_ms).max(0) / every_ms.max(1)
        * i64::try_from(found.series.len()).unwrap_or(i64::MAX);
    if points > MAX_POINTS {
        let message = format!(
            "would give about {points} values, and {MAX_POINTS} are the most: ask for a shorter time or for one node"
        );
        return Err(Error::invalid("from", message).into());
    }
    let keys: Vec<_> = found.series.iter().map(|(_, key)| *key).collect();
    let samples = app.store.range(&keys, from_ms, to_ms).await?;
    let labels = found.series.into_iter().map(|(label, _)| label);
    let series: Vec<_> = labels
        .zip(samples)
        .map(|(label, samples)| Series {
            label,
            data: with_gaps(&samples, every_ms),
        })
        .collect();
    Ok(ok(&series))
}

struct Found {
    every_secs: Option<i64>,
    series: Vec<(String, SeriesKey)>,
}

fn find(conn: &mut Connection, wanted: &Wanted) -> Result<Found> {
    let counter = Counter::by_name(conn, &wanted.counter)?;
    let nodes = match (&wanted.cluster, &wanted.node) {
        (Some(name), None) => {
            let cluster = Cluster::by_name(conn, name)?;
            Node::of_cluster(conn, cluster.id)?
        }
        (None, Some(name)) => vec![Node::by_name(conn, name)?],
        _ => {
            return Err(Error::invalid(
                "cluster",
                "give either cluster or node, not both",
            ));
        }
    };
    let jvms = if counter.kind == CounterKind::Jmx {
        jvms_of_nodes(conn)?
    } else {
        BTreeMap::new()
    };
    let series = nodes
        .iter()
        .flat_map(|node| series_of(node, &counter, &jvms));
    Ok(Found {
        every_secs: counter.every_secs,
        series: series.collect(),
    })
}

type Jvms = BTreeMap<NodeId, Vec<(JvmProfileId, String)>>;

fn jvms_of_nodes(conn: &mut Connection) -> Result<Jvms> {
    let names: BTreeMap<_, _> = JvmProfile::all(conn)?
        .into_iter()
        .map(|profile| (profile.id, profile.name))
        .collect();
    let mut jvms = Jvms::new();
    for (node, profile) in node::jvm_profiles_of_nodes(conn)? {
        let name = names.get(&profile).cloned().unwrap_or_default();
        jvms.entry(node).or_default().push((profile, name));
    }
    Ok(jvms)
}

fn series_of(node: &Node, counter: &Counter, jvms: &Jvms) -> Vec<(String, SeriesKey)> {
    let jvms = jvms.get(&node.id).map_or(&[][..], Vec::as_slice);
    let ids: Vec<_> = jvms.iter().map(|(id, _)| *id).collect();
    let labelled = |key| {
        let SeriesKey::Jmx { jvm, .. } = key else {
            return (node.name.clone(), key);
        };
        let name = jvms.iter().find(|(id, _)| *id == jvm);
        let name = name.map_or("", |(_, name)| name.as_str());
        (format!("{}/{name}", node.name), key)
    };
    SeriesKey::of(counter, node, &ids).map(labelled).collect()
}

/// A null at the first and at the last missing tick between two samples: enough for a line to break where it must.
fn with_gaps(samples: &[Sample], every_ms: i64) -> Vec<(i64, Option<f64>)> {
    let mut data = Vec::with_capacity(samples.len());
    let mut last_ms: Option<i64> = None;
    for sample in samples {
        if let Some(last_ms) = last_ms {
            let (first, last) = (last_ms + every_ms, sample.tick_ms - every_ms);
            if first <= last {
                data.push((first, None));
            }
            if first < last {
                data.push((last, None));
            }
        }
        data.push((sample.tick_ms, Some(sample.value)));
        last_ms = Some(sample.tick_ms);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ticks: &[i64]) -> Vec<Sample> {
        let at = |tick: &i64| Sample {
            tick_ms: tick * 1_000,
            value: 1.0,
        };
        ticks.iter().map(at).collect()
    }

    #[test]
    fn a_gap_has_a_null_where_it_begins_and_where_it_ends() {
        for (ticks, gaps) in [
            (&[1, 2, 3][..], &[][..]),
            (&[1, 3], &[2_000]),
            (&[1, 10], &[2_000, 9_000]),
            (&[5], &[]),
            (&[], &[]),
        ] {
            let data = with_gaps(&samples(ticks), 1_000);
            let found: Vec<_> = data
                .iter()
                .filter(|it| it.1.is_none())
                .map(|it| it.0)
                .collect();
            assert_eq!(found, gaps, "{ticks:?}");
            assert!(data.is_sorted_by_key(|it| it.0), "{data:?}");
        }
    }
}
