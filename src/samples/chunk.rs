//! How samples lie together: a chunk holds the samples of one series in one quarter of an hour, ten bytes each, in order.
//!
//! Both stores keep chunks. A row or key for each sample costs five to ten times the space; a chunk for each day would be rewritten
//! whole at every tick. A quarter is 150 bytes at one sample a minute and 9 000 at one a second.
//!
//! A record is two bytes for the second within the quarter and eight for the value, both big-endian; `redis/write.lua` writes the same.

use super::Sample;

/// How many seconds a chunk spans.
const SPAN_SECS: i64 = 900;
/// Bytes of a record.
const RECORD: usize = 10;

/// Where a sample lies: its chunk, and the second within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which quarter of an hour since 1970.
    pub slot: i64,
    /// Which second of it.
    pub second: u16,
}

impl Place {
    /// The place of a tick.
    pub fn of(tick_ms: i64) -> Self {
        let secs = tick_ms.div_euclid(1_000);
        Self {
            slot: secs.div_euclid(SPAN_SECS),
            // Less than 900: it always fits.
            second: u16::try_from(secs.rem_euclid(SPAN_SECS)).unwrap_or(u16::MAX),
        }
    }

    /// The tick at this place.
    pub const fn tick_ms(self) -> i64 {
        start_ms(self.slot).saturating_add(self.second as i64 * 1_000)
    }
}

/// The time at which a chunk begins.
pub(super) const fn start_ms(slot: i64) -> i64 {
    slot.saturating_mul(SPAN_SECS * 1_000)
}

/// The ten bytes of a sample.
pub(super) fn record(second: u16, value: f64) -> [u8; RECORD] {
    let mut bytes = [0; RECORD];
    let (head, tail) = bytes.split_at_mut(2);
    head.copy_from_slice(&second.to_be_bytes());
    tail.copy_from_slice(&value.to_be_bytes());
    bytes
}

/// Puts a sample where it belongs; one of the same second is overwritten.
pub(super) fn put(chunk: &mut Vec<u8>, second: u16, value: f64) {
    let records = chunk.as_chunks::<RECORD>().0;
    // Nearly always the end: samples come in order.
    let at = match records.last() {
        Some(last) if second_of(last) < second => records.len(),
        _ => records.partition_point(|other| second_of(other) < second),
    };
    let taken = records
        .get(at)
        .is_some_and(|other| second_of(other) == second);
    let from = at * RECORD;
    let to = if taken { from + RECORD } else { from };
    chunk.splice(from..to, record(second, value));
}

/// The samples of a chunk, oldest first. What a damaged chunk has beyond whole records is left out.
pub(super) fn samples(slot: i64, chunk: &[u8]) -> impl Iterator<Item = Sample> {
    chunk.as_chunks::<RECORD>().0.iter().map(move |record| {
        let [_, _, value @ ..] = *record;
        let second = second_of(record);
        Sample {
            tick_ms: Place { slot, second }.tick_ms(),
            value: f64::from_be_bytes(value),
        }
    })
}

const fn second_of(record: &[u8; RECORD]) -> u16 {
    let [high, low, ..] = *record;
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_the_quarter_and_the_second_within_it() {
        let place = |tick_ms| {
            let Place { slot, second } = Place::of(tick_ms);
            (slot, second)
        };
        assert_eq!(place(0), (0, 0));
        assert_eq!(place(899_999), (0, 899));
        assert_eq!(place(900_000), (1, 0));
        assert_eq!(place(-1), (-1, 899), "before 1970 as after it");
        assert_eq!(start_ms(1), 900_000);
        // The ends of time are no reason to overflow: callers ask for "everything" with them.
        assert!(Place::of(i64::MIN) < Place::of(i64::MAX));
        assert!(start_ms(Place::of(i64::MIN).slot) < start_ms(Place::of(i64::MAX).slot));
    }

    #[test]
    fn the_bytes_of_a_record_are_what_the_redis_script_expects() {
        assert_eq!(record(0x0102, 1.0), [1, 2, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_damaged_end_costs_no_more_than_itself() {
        let mut chunk = record(1, 5.0).to_vec();
        chunk.extend([0, 2, 0x40]);
        let read: Vec<_> = samples(2, &chunk).collect();
        let expected = Sample {
            tick_ms: 1_801_000,
            value: 5.0,
        };
        assert_eq!(read, [expected]);
    }

    proptest! {
        #[test]
        fn a_chunk_is_an_ordered_map(puts in prop::collection::vec((0_u16..900, -1e300..1e300_f64), 0..60)) {
            let mut chunk = Vec::new();
            let mut model = BTreeMap::new();
            for (second, value) in puts {
                put(&mut chunk, second, value);
                model.insert(second, value);
            }
            let read: Vec<_> = samples(1_000_000, &chunk).collect();
            let expected: Vec<_> = model
                .into_iter()
                .map(|(second, value)| Sample { tick_ms: 900_000_000_000 + i64::from(second) * 1_000, value })
                .collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn every_whole_second_comes_back(secs in -4_000_000_000_i64..8_000_000_000) {
            let place = Place::of(secs * 1_000);
            let chunk = record(place.second, 1.0);
            prop_assert_eq!(samples(place.slot, &chunk).next().map(|s| s.tick_ms), Some(secs * 1_000));
        }
    }
}
