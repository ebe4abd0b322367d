//! A fleet from a file, a store, and readings written as one character: `X` breaches, `0` does not, `-` is an error, a blank is
//! no reading.

use headroom::collectors::Reading;
use headroom::db::Connection;
use headroom::error::Result;
use headroom::models::counter::Counter;
use headroom::models::decision::Decision;
use headroom::models::node::{Node, jvm_profiles_of_nodes};
use headroom::models::run::Run;
use headroom::models::trigger::Trigger;
use headroom::models::{JvmProfileId, RunId, TriggerId};
use headroom::samples::{SeriesKey, Store};
use headroom::triggers::decide::Detail;
use headroom::triggers::evaluate::{Rules, evaluate_all, observe};
use tempfile::TempDir;

use crate::fleet::support::Bench;

pub const MINUTE: i64 = 60_000;
/// 2026-11-18 10:00 UTC.
pub const TEN: i64 = 1_794_996_000_000;

/// `minutes` after ten.
pub const fn at(minutes: i64) -> i64 {
    TEN + minutes * MINUTE
}

/// Two nodes, one counter, and a trigger that mails after five minutes.
pub const WEB: &str = r##"
ssh_profiles:
  - { name: ops, user: ops, private_key_file: /etc/headroom/key, host_keys: first_use }
counters:
  - { name: load1, kind: ssh, script: uptime, comparison: ">", threshold: 4 }
clusters:
  - name: web
    min_nodes: 0
    nodes:
      - { name: web01, address: 10.0.0.11, ssh_profile: ops }
      - { name: web02, address: 10.0.0.12, ssh_profile: ops }
actions:
  - { name: tell, kind: Email, address: ops@example.org, title: hot, content: hot }
triggers:
  - { name: web-hot, cluster: web, counters: [load1], timing: 5m, steps: [{ action: tell, target: none }] }
"##;

pub struct Site {
    pub bench: Bench,
    pub store: Store,
    folder: TempDir,
}

impl Site {
    pub fn sqlite(file: &str) -> Self {
        Self::of(Bench::sqlite(), file)
    }

    pub fn postgres(file: &str) -> Self {
        Self::of(Bench::postgres(), file)
    }

    fn of(bench: Bench, file: &str) -> Self {
        bench.apply(file);
        let folder = tempfile::tempdir().unwrap();
        let store = Store::embedded(&folder.path().join("samples.db")).unwrap();
        Self {
            bench,
            store,
            folder,
        }
    }

    /// Another handle on the store, as another process would have.
    pub fn other_store(&self) -> Store {
        Store::embedded(&self.folder.path().join("samples.db")).unwrap()
    }

    pub fn conn<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> T {
        self.bench.db.write_blocking(work).unwrap()
    }

    /// The readings of a counter at a minute, one character for each series, nodes in order of their names.
    pub fn readings(&self, minute: i64, counter: &str, each: &str) -> Vec<Reading> {
        let keys = self.keys(counter);
        assert_eq!(keys.len(), each.chars().count(), "one character a series");
        let outcomes = each.chars().map(|letter| match letter {
            'X' => Some(Ok(9.0)),
            '0' => Some(Ok(1.0)),
            '-' => Some(Err("exit status 1".to_owned())),
            _ => None,
        });
        keys.into_iter()
            .zip(outcomes)
            .filter_map(|(key, outcome)| {
                Some(Reading {
                    key,
                    node: key.node().unwrap(),
                    counter: key.counter(),
                    tick_ms: at(minute),
                    measured_ms: at(minute) + 120,
                    took_ms: 80,
                    outcome: outcome?,
                })
            })
            .collect()
    }

    fn keys(&self, counter: &str) -> Vec<SeriesKey> {
        self.conn(|conn| {
            let counter = Counter::by_name(conn, counter)?;
            let jvms = jvm_profiles_of_nodes(conn)?;
            let nodes = Node::all(conn)?;
            let keys = nodes.iter().flat_map(|node| {
                let jvms = jvms.iter().filter(|(id, _)| *id == node.id);
                let jvms: Vec<JvmProfileId> = jvms.map(|(_, jvm)| *jvm).collect();
                SeriesKey::of(&counter, node, &jvms).collect::<Vec<_>>()
            });
            Ok(keys.collect())
        })
    }

    pub async fn observe(&self, readings: &[Reading]) {
        let rules = self.conn(|conn| Rules::load(conn, MINUTE));
        observe(&rules, &self.store, readings).await.unwrap();
    }

    pub async fn evaluate(&self, minute: i64) -> Vec<RunId> {
        evaluate_all(&self.bench.db, &self.store, at(minute), MINUTE)
            .await
            .unwrap()
    }

    /// One tick: reads `load1` and decides.
    pub async fn tick(&self, minute: i64, each: &str) -> Vec<RunId> {
        self.observe(&self.readings(minute, "load1", each)).await;
        self.evaluate(minute).await
    }

    /// Ticks from `minute` on, one for each part; the runs that were started.
    pub async fn ticks(&self, minute: i64, each: &[&str]) -> Vec<RunId> {
        let mut runs = Vec::new();
        for (minute, each) in (minute..).zip(each) {
            runs.extend(self.tick(minute, each).await);
        }
        runs
    }

    pub fn trigger(&self, name: &str) -> Trigger {
        self.conn(|conn| Trigger::by_name(conn, name))
    }

    /// The decisions of a trigger, oldest first.
    pub fn ledger(&self, name: &str) -> Vec<Decision> {
        let id: TriggerId = self.trigger(name).id;
        let mut rows = self.conn(|conn| Decision::page(conn, Some(id), None, 1_000));
        rows.reverse();
        rows
    }

    /// The ledger as `outcome first-last xcount reason`, with times in minutes after ten.
    pub fn told(&self, name: &str) -> Vec<String> {
        let minutes = |ms: i64| (ms - TEN) / MINUTE;
        let rows = self.ledger(name).into_iter();
        rows.map(|row| {
            let (first, last) = (minutes(row.first_ms), minutes(row.last_ms));
            format!(
                "{} {first}-{last} x{}: {}",
                row.outcome, row.count, row.reason
            )
        })
        .collect()
    }

    pub fn runs(&self) -> Vec<Run> {
        self.conn(Run::open)
    }

    /// Ends every open run.
    pub fn end_runs(&self) {
        use diesel::prelude::*;
        use headroom::models::RunState;
        use headroom::schema::runs;
        self.conn(|conn| {
            diesel::update(runs::table)
                .set(runs::state.eq(RunState::Succeeded))
                .execute(conn)?;
            Ok(())
        });
    }
}

pub fn detail(row: &Decision) -> Detail {
    serde_json::from_str(&row.detail).unwrap()
}

/// Tells each story once on SQLite and once on PostgreSQL.
macro_rules! on_both {
    ($($story:ident)+) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $story() {
                super::$story($crate::triggers::site::Site::sqlite($crate::triggers::site::WEB)).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $story() {
                super::$story($crate::triggers::site::Site::postgres($crate::triggers::site::WEB)).await;
            })+
        }
    };
}
pub(super) use on_both;
