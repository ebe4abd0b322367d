//! Random stories: both stores against a map that a reader can check by eye.

use std::collections::{BTreeMap, HashMap};

use headroom::samples::{ReadingFault, SeriesState, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

use super::*;
use crate::support::redis::RedisServer;

/// How many series the stories are about: few, so that they meet.
const SERIES: i64 = 4;
/// Minutes that the stories span.
const SPAN: i64 = 100;
const QUARTER_MS: i64 = 15 * MINUTE_MS;

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Write>),
    Prune(i64),
    Forget(Vec<SeriesKey>),
    Range(i64, i64),
    FirstAfter(i64),
}

#[derive(Default)]
struct Model {
    states: HashMap<SeriesKey, SeriesState>,
    samples: HashMap<SeriesKey, BTreeMap<i64, f64>>,
}

impl Model {
    fn write(&mut self, write: &Write) {
        let tick_ms = write.tick_ms;
        let mut state = SeriesState {
            last: self.states.get(&write.key).and_then(|state| state.last),
            breach: write.breach,
            error: None,
            measured_ms: write.measured_ms,
            took_ms: write.took_ms,
            tick_ms,
        };
        match &write.outcome {
            Ok(value) => {
                state.last = Some(sample(tick_ms, *value));
                let samples = self.samples.entry(write.key).or_default();
                samples.insert(tick_ms, *value);
            }
            Err(message) => {
                let message = message.clone();
                state.error = Some(ReadingFault { tick_ms, message });
            }
        }
        self.states.insert(write.key, state);
    }

    fn prune(&mut self, before_ms: i64) {
        let before_ms = before_ms.div_euclid(QUARTER_MS) * QUARTER_MS;
        self.states.retain(|_, state| state.tick_ms >= before_ms);
        let states = &self.states;
        self.samples.retain(|key, _| states.contains_key(key));
        for samples in self.samples.values_mut() {
            samples.retain(|tick_ms, _| *tick_ms >= before_ms);
        }
    }

    fn range(&self, key: SeriesKey, from_ms: i64, to_ms: i64) -> Vec<Sample> {
        let samples = self.samples.get(&key).into_iter().flatten();
        let wanted = samples.filter(|(tick_ms, _)| (from_ms..=to_ms).contains(*tick_ms));
        wanted
            .map(|(tick_ms, value)| sample(*tick_ms, *value))
            .collect()
    }
}

fn any_key() -> impl Strategy<Value = SeriesKey> {
    (1..=SERIES).prop_map(key)
}

fn any_write() -> impl Strategy<Value = Write> {
    let outcome = prop_oneof![
        4 => any::<f64>().prop_filter("finite", |v| v.is_finite()).prop_map(Ok),
        1 => "\\PC{0,20}".prop_map(Err),
    ];
    let breach = prop::option::of((0..SPAN, 1..9_u32, 0..SPAN));
    (any_key(), 0..SPAN, 0..90_000_i64, outcome, breach).prop_map(
        |(key, at, took_ms, outcome, breach)| Write {
            key,
            tick_ms: minute(at),
            measured_ms: minute(at) + took_ms,
            took_ms,
            outcome,
            breach: breach.map(|(since, count, last)| Breach {
                since_ms: minute(since),
                count,
                last_ms: minute(last),
            }),
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    let time = || (-5..SPAN + 5, -1..=1_i64).prop_map(|(at, off)| minute(at) + off);
    prop_oneof![
        8 => prop::collection::vec(any_write(), 0..12).prop_map(Step::Write),
        1 => time().prop_map(Step::Prune),
        1 => prop::collection::vec(any_key(), 0..3).prop_map(Step::Forget),
        3 => (time(), time()).prop_map(|(from, to)| Step::Range(from, to)),
        3 => time().prop_map(Step::FirstAfter),
    ]
}

/// Takes a step in the store and the model, and compares what both answer.
async fn take(step: &Step, store: &Store, model: &mut Model) -> Result<(), TestCaseError> {
    let keys: Vec<_> = (0..=SERIES).map(key).collect();
    match step {
        Step::Write(writes) => {
            store.write(writes).await.unwrap();
            writes.iter().for_each(|write| model.write(write));
        }
        Step::Prune(before_ms) => {
            store.prune(*before_ms).await.unwrap();
            model.prune(*before_ms);
        }
        Step::Forget(gone) => {
            store.forget(gone).await.unwrap();
            model.states.retain(|key, _| !gone.contains(key));
            model.samples.retain(|key, _| !gone.contains(key));
        }
        Step::Range(from_ms, to_ms) => {
            let found = store.range(&keys, *from_ms, *to_ms).await.unwrap();
            let expected: Vec<_> = keys
                .iter()
                .map(|key| model.range(*key, *from_ms, *to_ms))
                .collect();
            prop_assert_eq!(found, expected);
        }
        Step::FirstAfter(after_ms) => {
            let asked: Vec<_> = keys.iter().map(|key| (*key, *after_ms)).collect();
            let found = store.first_after(&asked).await.unwrap();
            let first = |key: &SeriesKey| {
                let later = model.range(*key, *after_ms + 1, i64::MAX);
                later.first().map(|sample| sample.tick_ms)
            };
            prop_assert_eq!(found, keys.iter().map(first).collect::<Vec<_>>());
        }
    }
    let states = store.states(&keys).await.unwrap();
    let expected: Vec<_> = keys
        .iter()
        .map(|key| model.states.get(key).cloned())
        .collect();
    prop_assert_eq!(states, expected);
    let samples = store.range(&keys, i64::MIN, i64::MAX).await.unwrap();
    let all = |key: &SeriesKey| model.range(*key, i64::MIN, i64::MAX);
    prop_assert_eq!(samples, keys.iter().map(all).collect::<Vec<_>>());
    Ok(())
}

/// Tells random stories, each to an empty store.
fn tell(cases: u32, mut empty: impl FnMut() -> Store) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let stories = prop::collection::vec(any_step(), 1..25);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let store = std::cell::RefCell::new(&mut empty);
    let outcome = TestRunner::new(config).run(&stories, |story| {
        let store = (store.borrow_mut())();
        let mut model = Model::default();
        runtime.block_on(async {
            for step in &story {
                take(step, &store, &mut model).await?;
            }
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn the_embedded_store_does_what_a_map_would() {
    let folder = TempDir::with_prefix("headroom-samples-").unwrap();
    let mut number = 0;
    tell(64, || {
        number += 1;
        Store::embedded(&folder.path().join(format!("{number}.db"))).unwrap()
    });
}

#[test]
fn the_redis_store_does_what_a_map_would() {
    let server = RedisServer::start();
    let mut number = 0;
    tell(128, || {
        number += 1;
        let retention = std::time::Duration::from_hours(24);
        Store::redis(&server.url(), &format!("story{number}:"), retention).unwrap()
    });
}
