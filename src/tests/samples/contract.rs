//! What every store of samples promises. `contract!(Backend)` makes one test of each story; a story that is not listed there does
//! not compile without a warning.

use headroom::models::{JvmProfileId, TriggerId};
use headroom::samples::{ReadingFault, SeriesState, Store};

use super::*;

/// Something that opens the same store again and again.
pub trait Backend {
    /// An empty one.
    fn start() -> Self;
    /// One more handle on it, as another process would have.
    fn open(&self) -> Store;
}

macro_rules! contract {
    ($backend:ty) => {
        contract! { @tests $backend;
            a_series_that_was_never_read_has_nothing
            a_value_is_kept_with_its_tick_and_its_measuring
            a_second_write_of_a_tick_overwrites_the_first
            a_repeated_batch_changes_nothing
            a_breach_advances_and_is_read_back_and_ends
            an_error_leaves_the_samples_alone_and_the_next_value_clears_it
            an_error_after_a_value_of_the_same_tick_keeps_the_value
            an_error_is_a_gap
            a_first_reading_may_be_an_error
            any_message_survives_and_a_huge_one_is_cut
            both_ends_of_a_range_are_included
            a_range_takes_in_far_apart_samples
            a_tick_may_be_as_short_as_a_second
            the_first_sample_after_a_time_is_strictly_after_it
            pruning_forgets_old_quarters_and_dead_series_alone
            a_forgotten_series_begins_anew
            every_series_is_listed
            nothing_asked_is_nothing_done
            ten_thousand_series_fit_one_batch
            a_clock_that_went_back_is_followed_and_the_samples_stay_in_order
            the_later_of_two_readings_in_a_batch_wins
            answers_come_in_the_order_of_the_questions
            series_with_similar_names_do_not_mix
            extreme_values_come_back_unchanged
            what_one_handle_writes_another_reads
            writers_at_the_same_time_lose_nothing
        }
    };
    (@tests $backend:ty; $($story:ident)+) => {$(
        #[tokio::test]
        async fn $story() {
            let backend = <$backend as $crate::samples::contract::Backend>::start();
            $crate::samples::contract::$story(&backend).await;
        }
    )+};
}
pub(super) use contract;

async fn state(store: &Store, key: SeriesKey) -> Option<SeriesState> {
    store.states(&[key]).await.unwrap().remove(0)
}

async fn all(store: &Store, key: SeriesKey) -> Vec<Sample> {
    let mut found = store.range(&[key], i64::MIN, i64::MAX).await.unwrap();
    found.remove(0)
}

async fn first_after(store: &Store, key: SeriesKey, after_ms: i64) -> Option<i64> {
    store.first_after(&[(key, after_ms)]).await.unwrap()[0]
}

pub async fn a_series_that_was_never_read_has_nothing(backend: &impl Backend) {
    let store = backend.open();
    assert_eq!(state(&store, key(1)).await, None);
    assert_eq!(all(&store, key(1)).await, []);
    assert_eq!(first_after(&store, key(1), i64::MIN).await, None);
    store.ping().await.unwrap();
}

pub async fn a_value_is_kept_with_its_tick_and_its_measuring(backend: &impl Backend) {
    let store = backend.open();
    store.write(&[value(key(1), DAY_MS, 4.5)]).await.unwrap();
    let expected = SeriesState {
        last: Some(sample(DAY_MS, 4.5)),
        breach: None,
        error: None,
        measured_ms: DAY_MS + 250,
        took_ms: 40,
        tick_ms: DAY_MS,
    };
    assert_eq!(state(&store, key(1)).await, Some(expected));
    assert_eq!(all(&store, key(1)).await, [sample(DAY_MS, 4.5)]);
}

pub async fn a_second_write_of_a_tick_overwrites_the_first(backend: &impl Backend) {
    let store = backend.open();
    for (number, reading) in [(0, 1.0), (1, 2.0), (1, 3.0), (2, 4.0), (1, 5.0)] {
        let write = value(key(1), minute(number), reading);
        store.write(&[write]).await.unwrap();
    }
    let expected = [(0, 1.0), (1, 5.0), (2, 4.0)].map(|(at, v)| sample(minute(at), v));
    assert_eq!(all(&store, key(1)).await, expected);
}

pub async fn a_repeated_batch_changes_nothing(backend: &impl Backend) {
    let store = backend.open();
    let mut breaching = value(key(1), minute(3), 9.0);
    breaching.breach = breach(minute(1), 3, minute(3));
    let batch = [breaching, fault(key(2), minute(3), "no route")];
    store.write(&batch).await.unwrap();
    let keys = [key(1), key(2)];
    let before = store.states(&keys).await.unwrap();
    store.write(&batch).await.unwrap();
    assert_eq!(store.states(&keys).await.unwrap(), before);
    assert_eq!(all(&store, key(1)).await, [sample(minute(3), 9.0)]);
}

pub async fn a_breach_advances_and_is_read_back_and_ends(backend: &impl Backend) {
    let store = backend.open();
    for count in 1..=3 {
        let mut write = value(key(1), minute(count), 9.0);
        write.breach = breach(minute(1), u32::try_from(count).unwrap(), minute(count));
        store.write(std::slice::from_ref(&write)).await.unwrap();
        assert_eq!(state(&store, key(1)).await.unwrap().breach, write.breach);
    }
    let mut held = fault(key(1), minute(4), "timed out");
    held.breach = breach(minute(1), 3, minute(3));
    store.write(std::slice::from_ref(&held)).await.unwrap();
    assert_eq!(state(&store, key(1)).await.unwrap().breach, held.breach);

    let ended = value(key(1), minute(5), 1.0);
    store.write(&[ended]).await.unwrap();
    assert_eq!(state(&store, key(1)).await.unwrap().breach, None);
}

pub async fn an_error_leaves_the_samples_alone_and_the_next_value_clears_it(
    backend: &impl Backend,
) {
    let store = backend.open();
    store.write(&[value(key(1), minute(0), 4.5)]).await.unwrap();
    let mut write = fault(key(1), minute(1), "exit status 3: no such file");
    write.took_ms = 9_999;
    store.write(&[write]).await.unwrap();
    let expected = SeriesState {
        last: Some(sample(minute(0), 4.5)),
        breach: None,
        error: Some(ReadingFault {
            tick_ms: minute(1),
            message: "exit status 3: no such file".into(),
        }),
        measured_ms: minute(1) + 250,
        took_ms: 9_999,
        tick_ms: minute(1),
    };
    assert_eq!(state(&store, key(1)).await, Some(expected));
    assert_eq!(all(&store, key(1)).await, [sample(minute(0), 4.5)]);

    store.write(&[value(key(1), minute(2), 5.0)]).await.unwrap();
    let after = state(&store, key(1)).await.unwrap();
    assert_eq!((after.error, after.tick_ms), (None, minute(2)));
}

pub async fn an_error_after_a_value_of_the_same_tick_keeps_the_value(backend: &impl Backend) {
    let store = backend.open();
    store.write(&[value(key(1), DAY_MS, 4.5)]).await.unwrap();
    store.write(&[fault(key(1), DAY_MS, "late")]).await.unwrap();
    assert_eq!(all(&store, key(1)).await, [sample(DAY_MS, 4.5)]);
    let known = state(&store, key(1)).await.unwrap();
    assert_eq!(known.last, Some(sample(DAY_MS, 4.5)));
    assert_eq!(known.error.unwrap().message, "late");
}

pub async fn an_error_is_a_gap(backend: &impl Backend) {
    let store = backend.open();
    for number in 0..5 {
        let write = if number == 2 {
            fault(key(1), minute(number), "timed out")
        } else {
            value(key(1), minute(number), 1.0)
        };
        store.write(&[write]).await.unwrap();
    }
    let expected = [0, 1, 3, 4].map(|number| sample(minute(number), 1.0));
    assert_eq!(all(&store, key(1)).await, expected);
}

pub async fn a_first_reading_may_be_an_error(backend: &impl Backend) {
    let store = backend.open();
    let write = fault(key(1), DAY_MS, "connection refused");
    store.write(&[write]).await.unwrap();
    let known = state(&store, key(1)).await.unwrap();
    assert_eq!(known.last, None);
    assert_eq!(known.error.unwrap().tick_ms, DAY_MS);
    assert_eq!(all(&store, key(1)).await, []);
    assert_eq!(first_after(&store, key(1), i64::MIN).await, None);
}

pub async fn any_message_survives_and_a_huge_one_is_cut(backend: &impl Backend) {
    let store = backend.open();
    for message in [
        "",
        " ",
        "a\nb\r\n",
        "Größe 7 \u{1f4a5} 'x' \"y\" \\ %s *3",
        "-",
    ] {
        let write = fault(key(1), DAY_MS, message);
        store.write(&[write]).await.unwrap();
        let known = state(&store, key(1)).await.unwrap();
        assert_eq!(known.error.unwrap().message, message);
    }
    let write = fault(key(1), DAY_MS, &"x".repeat(1_000_000));
    store.write(&[write]).await.unwrap();
    let known = state(&store, key(1)).await.unwrap();
    let message = known.error.unwrap().message;
    assert!(message.ends_with("x…") && message.len() < 1_010);
}

pub async fn both_ends_of_a_range_are_included(backend: &impl Backend) {
    let store = backend.open();
    let batch: Vec<_> = (0..60).map(|at| value(key(1), minute(at), 1.0)).collect();
    store.write(&batch).await.unwrap();
    for (from_ms, to_ms, expected) in [
        (minute(10), minute(20), 11),
        (minute(10) - 1, minute(20) + 1, 11),
        (minute(10) + 1, minute(20) - 1, 9),
        (minute(14), minute(15), 2),
        (minute(7), minute(7), 1),
        (minute(7) + 1, minute(8) - 1, 0),
        (minute(-5), minute(0), 1),
        (minute(59), minute(99), 1),
        (minute(60), minute(99), 0),
        (minute(20), minute(10), 0),
        (i64::MAX, i64::MIN, 0),
        (i64::MIN, i64::MAX, 60),
    ] {
        let found = store.range(&[key(1)], from_ms, to_ms).await.unwrap();
        assert_eq!(found[0].len(), expected, "{from_ms} to {to_ms}");
        assert!(
            found[0]
                .iter()
                .all(|s| (from_ms..=to_ms).contains(&s.tick_ms))
        );
    }
}

pub async fn a_range_takes_in_far_apart_samples(backend: &impl Backend) {
    let store = backend.open();
    let ticks = [0, 1_000, HOUR_MS, DAY_MS, DAY_MS + 90 * 24 * HOUR_MS];
    for tick_ms in ticks {
        store.write(&[value(key(1), tick_ms, 2.0)]).await.unwrap();
    }
    let expected = ticks.map(|tick_ms| sample(tick_ms, 2.0));
    assert_eq!(all(&store, key(1)).await, expected);
    let month_later = DAY_MS + 30 * 24 * HOUR_MS;
    let found = store.range(&[key(1)], DAY_MS, month_later).await.unwrap();
    assert_eq!(found, [vec![sample(DAY_MS, 2.0)]]);
}

pub async fn a_tick_may_be_as_short_as_a_second(backend: &impl Backend) {
    let store = backend.open();
    let second = |at: i64| value(key(1), DAY_MS + at * 1_000, f64::from(at as i32));
    let batch: Vec<_> = (0..2_000).map(second).collect();
    store.write(&batch).await.unwrap();
    let found = all(&store, key(1)).await;
    assert_eq!(found.len(), 2_000);
    assert_eq!(found[901], sample(DAY_MS + 901_000, 901.0));
    assert!(found.is_sorted_by_key(|sample| sample.tick_ms));
}

pub async fn the_first_sample_after_a_time_is_strictly_after_it(backend: &impl Backend) {
    let store = backend.open();
    for number in [1, 2, 3, 200] {
        let write = value(key(1), minute(number), 9.0);
        store.write(&[write]).await.unwrap();
    }
    store.write(&[value(key(2), minute(5), 9.0)]).await.unwrap();
    let questions = [
        (key(1), i64::MIN, Some(1)),
        (key(1), minute(1) - 1, Some(1)),
        (key(1), minute(1), Some(2)),
        (key(1), minute(1) + 1, Some(2)),
        (key(1), minute(3), Some(200)),
        (key(1), minute(90), Some(200)),
        (key(1), minute(200), None),
        (key(1), i64::MAX, None),
        (key(2), minute(1), Some(5)),
        (key(3), minute(1), None),
    ];
    let asked = questions.map(|(key, after_ms, _)| (key, after_ms));
    let expected = questions.map(|(_, _, answer)| answer.map(minute));
    assert_eq!(store.first_after(&asked).await.unwrap(), expected);
}

pub async fn pruning_forgets_old_quarters_and_dead_series_alone(backend: &impl Backend) {
    let store = backend.open();
    let mut batch: Vec<_> = (0..60).map(|at| value(key(1), minute(at), 1.0)).collect();
    batch.push(value(key(2), minute(14), 1.0));
    batch.push(fault(key(3), minute(14), "gone"));
    batch.push(value(key(4), minute(15), 1.0));
    batch.push(value(key(5), minute(1), 1.0));
    batch.push(fault(key(5), minute(40), "silent for long"));
    store.write(&batch).await.unwrap();

    // In the middle of the second quarter: that quarter stays whole.
    for _ in 0..2 {
        store.prune(minute(22)).await.unwrap();
        let kept: Vec<_> = (15..60).map(|at| sample(minute(at), 1.0)).collect();
        assert_eq!(all(&store, key(1)).await, kept);
        assert_eq!(
            first_after(&store, key(1), i64::MIN).await,
            Some(minute(15))
        );
    }
    for dead in [key(2), key(3)] {
        assert_eq!(state(&store, dead).await, None, "{dead}");
        assert_eq!(all(&store, dead).await, []);
    }
    assert_eq!(all(&store, key(4)).await, [sample(minute(15), 1.0)]);
    assert_eq!(all(&store, key(5)).await, []);
    let known = state(&store, key(5)).await.unwrap();
    assert_eq!(
        known.last,
        Some(sample(minute(1), 1.0)),
        "the last value stays"
    );

    let again = value(key(2), minute(61), 2.0);
    store.write(&[again]).await.unwrap();
    assert_eq!(all(&store, key(2)).await, [sample(minute(61), 2.0)]);
}

pub async fn a_forgotten_series_begins_anew(backend: &impl Backend) {
    let store = backend.open();
    let batch = [1, 2].map(|node| value(key(node), DAY_MS, 1.0));
    store.write(&batch).await.unwrap();
    store.forget(&[key(1), key(7)]).await.unwrap();
    assert_eq!(state(&store, key(1)).await, None);
    assert_eq!(all(&store, key(1)).await, []);
    assert_eq!(all(&store, key(2)).await, [sample(DAY_MS, 1.0)]);

    let write = fault(key(1), minute(1), "new here");
    store.write(&[write]).await.unwrap();
    assert_eq!(state(&store, key(1)).await.unwrap().last, None);
    assert_eq!(all(&store, key(1)).await, []);
}

pub async fn every_series_is_listed(backend: &impl Backend) {
    let store = backend.open();
    let listed = async || {
        let (mut keys, mut cursor) = (std::collections::BTreeSet::new(), 0);
        loop {
            let (some, next) = store.list(cursor).await.unwrap();
            keys.extend(some);
            cursor = next;
            if cursor == 0 {
                return keys;
            }
        }
    };
    assert_eq!(listed().await.len(), 0);
    let batch: Vec<_> = (0..2_500)
        .map(|node| value(key(node), DAY_MS, 1.0))
        .collect();
    store.write(&batch).await.unwrap();
    store.forget(&[key(1)]).await.unwrap();
    let expected = (0..2_500).filter(|node| *node != 1).map(key);
    assert_eq!(listed().await, expected.collect());
}

pub async fn nothing_asked_is_nothing_done(backend: &impl Backend) {
    let store = backend.open();
    store.write(&[]).await.unwrap();
    store.forget(&[]).await.unwrap();
    store.prune(DAY_MS).await.unwrap();
    assert_eq!(store.states(&[]).await.unwrap(), []);
    assert_eq!(store.first_after(&[]).await.unwrap(), []);
    let none: Vec<Vec<Sample>> = Vec::new();
    assert_eq!(store.range(&[], 0, i64::MAX).await.unwrap(), none);
}

pub async fn ten_thousand_series_fit_one_batch(backend: &impl Backend) {
    let store = backend.open();
    let keys: Vec<_> = (0..10_000).map(key).collect();
    for tick in 0..2 {
        let readings = keys.iter().zip(0_i32..);
        let batch: Vec<_> = readings
            .map(|(key, number)| value(*key, minute(tick), f64::from(number)))
            .collect();
        store.write(&batch).await.unwrap();
    }
    let states = store.states(&keys).await.unwrap();
    let last: Vec<f64> = states
        .iter()
        .flatten()
        .flat_map(|s| s.last)
        .map(|s| s.value)
        .collect();
    assert_eq!(last, (0..10_000).map(f64::from).collect::<Vec<_>>());

    let ranges = store.range(&keys, minute(0), minute(1)).await.unwrap();
    assert!(ranges.iter().all(|samples| samples.len() == 2));
    let after: Vec<_> = keys.iter().map(|key| (*key, minute(0))).collect();
    let firsts = store.first_after(&after).await.unwrap();
    assert!(firsts.iter().all(|first| *first == Some(minute(1))));
    store.prune(minute(30)).await.unwrap();
    assert!(
        store
            .states(&keys)
            .await
            .unwrap()
            .iter()
            .all(Option::is_none)
    );
}

pub async fn a_clock_that_went_back_is_followed_and_the_samples_stay_in_order(
    backend: &impl Backend,
) {
    let store = backend.open();
    for number in [60, 61, 62, 2, 61, 3] {
        let write = value(key(1), minute(number), f64::from(number as i32) + 0.5);
        store.write(&[write]).await.unwrap();
    }
    let ordered = [2, 3, 60, 61, 62].map(|at| sample(minute(at), f64::from(at as i32) + 0.5));
    assert_eq!(all(&store, key(1)).await, ordered);
    let known = state(&store, key(1)).await.unwrap();
    assert_eq!(known.last, Some(sample(minute(3), 3.5)), "the last written");
    assert_eq!(known.tick_ms, minute(3));
}

pub async fn the_later_of_two_readings_in_a_batch_wins(backend: &impl Backend) {
    let store = backend.open();
    let batch = [
        value(key(1), minute(0), 1.0),
        fault(key(1), minute(1), "first"),
        value(key(1), minute(1), 2.0),
        value(key(1), minute(1), 3.0),
    ];
    store.write(&batch).await.unwrap();
    let expected = [sample(minute(0), 1.0), sample(minute(1), 3.0)];
    assert_eq!(all(&store, key(1)).await, expected);
    let known = state(&store, key(1)).await.unwrap();
    assert_eq!((known.last, known.error), (Some(expected[1]), None));
}

pub async fn answers_come_in_the_order_of_the_questions(backend: &impl Backend) {
    let store = backend.open();
    for node in [3, 1, 2] {
        let reading = f64::from(node as i32);
        let write = value(key(node), DAY_MS, reading);
        store.write(&[write]).await.unwrap();
    }
    let keys = [2, 9, 1, 2, 3].map(key);
    let states = store.states(&keys).await.unwrap();
    let last: Vec<_> = states
        .iter()
        .map(|s| Some(s.as_ref()?.last?.value))
        .collect();
    assert_eq!(last, [Some(2.0), None, Some(1.0), Some(2.0), Some(3.0)]);
    let ranges = store.range(&keys, DAY_MS, DAY_MS).await.unwrap();
    let values: Vec<_> = ranges.iter().map(|s| Some(s.first()?.value)).collect();
    assert_eq!(values, last);
}

pub async fn series_with_similar_names_do_not_mix(backend: &impl Backend) {
    let store = backend.open();
    let (node, counter) = (NodeId(1), CounterId(1));
    let keys = [
        SeriesKey::Ssh { node, counter },
        SeriesKey::Local { node, counter },
        SeriesKey::Jmx {
            node,
            jvm: JvmProfileId(1),
            counter,
        },
        SeriesKey::Average {
            trigger: TriggerId(1),
            counter,
        },
        SeriesKey::Ssh {
            node,
            counter: CounterId(11),
        },
        SeriesKey::Ssh {
            node: NodeId(11),
            counter,
        },
    ];
    let readings = keys.iter().zip(0_i32..);
    let batch: Vec<_> = readings
        .map(|(key, number)| value(*key, DAY_MS, f64::from(number)))
        .collect();
    store.write(&batch).await.unwrap();
    for (key, number) in keys.iter().zip(0_i32..) {
        let expected = [sample(DAY_MS, f64::from(number))];
        assert_eq!(all(&store, *key).await, expected, "{key}");
    }
}

pub async fn extreme_values_come_back_unchanged(backend: &impl Backend) {
    let store = backend.open();
    let values = [
        0.1,
        1.0 / 3.0,
        f64::MAX,
        f64::MIN,
        5e-324,
        1e21,
        -123_456_789.125,
    ];
    for (reading, number) in values.into_iter().zip(0..) {
        let write = value(key(1), minute(number), reading);
        store.write(&[write]).await.unwrap();
        let known = state(&store, key(1)).await.unwrap();
        assert_eq!(known.last.unwrap().value, reading);
    }
    let found = all(&store, key(1)).await;
    assert!(found.iter().map(|sample| sample.value).eq(values));
    let infinite = value(key(2), DAY_MS, f64::INFINITY);
    store.write(&[infinite]).await.unwrap();
    let known = state(&store, key(2)).await.unwrap();
    assert_eq!(known.error.unwrap().message, "inf is not a finite number");
}

pub async fn what_one_handle_writes_another_reads(backend: &impl Backend) {
    let (first, second) = (backend.open(), backend.open());
    first.write(&[value(key(1), minute(0), 1.0)]).await.unwrap();
    assert_eq!(all(&second, key(1)).await, [sample(minute(0), 1.0)]);
    second
        .write(&[value(key(1), minute(1), 2.0)])
        .await
        .unwrap();
    assert_eq!(all(&first, key(1)).await.len(), 2);

    // What one forgets, the other must not go on writing to.
    second.forget(&[key(1)]).await.unwrap();
    first.write(&[value(key(1), minute(2), 3.0)]).await.unwrap();
    assert_eq!(all(&second, key(1)).await, [sample(minute(2), 3.0)]);
    drop((first, second));
    assert_eq!(all(&backend.open(), key(1)).await, [sample(minute(2), 3.0)]);
}

pub async fn writers_at_the_same_time_lose_nothing(backend: &impl Backend) {
    let stores = [backend.open(), backend.open()];
    let tasks: Vec<_> = (0..8_i64)
        .map(|node| {
            let store = stores[usize::try_from(node).unwrap() % 2].clone();
            tokio::spawn(async move {
                for number in 0..20 {
                    let write = value(key(node), minute(number), 1.0);
                    store.write(&[write]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for node in 0..8 {
        assert_eq!(all(&stores[0], key(node)).await.len(), 20, "node {node}");
    }
}
