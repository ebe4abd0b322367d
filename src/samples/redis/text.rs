//! The words of `<series>:state`, written so that a person with `redis-cli` can read them.

use crate::samples::{Breach, ReadingFault, Sample, SeriesState, Write};

/// The fields, in the order in which they are asked for.
pub(super) const FIELDS: &[&str] = &["reading", "breach", "last", "error"];

/// What Redis has of [`FIELDS`].
pub(super) type Fields = [Option<String>; 4];

/// `<tick> <measured> <took>`.
pub(super) fn reading(write: &Write) -> String {
    format!("{} {} {}", write.tick_ms, write.measured_ms, write.took_ms)
}

/// `<since> <count> <last>`, or nothing.
pub(super) fn breach(breach: Option<Breach>) -> String {
    breach.map_or_else(String::new, |breach| {
        format!("{} {} {}", breach.since_ms, breach.count, breach.last_ms)
    })
}

/// `<tick> <value>`; Debug writes the shortest digits that read back as the same number.
pub(super) fn last(tick_ms: i64, value: f64) -> String {
    format!("{tick_ms} {value:?}")
}

/// The state that the fields say; none without a reading.
pub(super) fn state([reading, breach, last, error]: &Fields) -> Option<SeriesState> {
    let [tick_ms, measured_ms, took_ms] = numbers(reading.as_deref()?)?;
    Some(SeriesState {
        last: last.as_deref().and_then(read_last),
        breach: breach.as_deref().and_then(read_breach),
        error: error
            .clone()
            .map(|message| ReadingFault { tick_ms, message }),
        measured_ms,
        took_ms,
        tick_ms,
    })
}

fn read_last(text: &str) -> Option<Sample> {
    let (tick, value) = text.split_once(' ')?;
    Some(Sample {
        tick_ms: tick.parse().ok()?,
        value: value.parse().ok()?,
    })
}

fn read_breach(text: &str) -> Option<Breach> {
    let [since_ms, count, last_ms] = numbers(text)?;
    Some(Breach {
        since_ms,
        count: u32::try_from(count).ok()?,
        last_ms,
    })
}

fn numbers(text: &str) -> Option<[i64; 3]> {
    let numbers: Vec<i64> = text
        .split(' ')
        .map(|word| word.parse().ok())
        .collect::<Option<_>>()?;
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(reading: &str, breach: &str, last: &str, error: &str) -> Fields {
        [reading, breach, last, error].map(|text| (text != "-").then(|| text.to_owned()))
    }

    #[test]
    fn a_state_is_read_from_its_words() {
        let state = state(&fields("60000 60123 45", "0 2 60000", "60000 0.5", "-"));
        let expected = SeriesState {
            last: Some(Sample {
                tick_ms: 60_000,
                value: 0.5,
            }),
            breach: Some(Breach {
                since_ms: 0,
                count: 2,
                last_ms: 60_000,
            }),
            error: None,
            measured_ms: 60_123,
            took_ms: 45,
            tick_ms: 60_000,
        };
        assert_eq!(state, Some(expected));
    }

    #[test]
    fn an_error_belongs_to_the_latest_reading() {
        let state = state(&fields(
            "120000 120001 9",
            "",
            "60000 1e300",
            "exit status 3",
        ))
        .unwrap();
        let fault = ReadingFault {
            tick_ms: 120_000,
            message: "exit status 3".into(),
        };
        assert_eq!(state.error, Some(fault));
        assert_eq!(state.breach, None);
        assert_eq!(state.last.map(|last| last.value), Some(1e300));
    }

    #[test]
    fn without_a_reading_there_is_no_state() {
        assert_eq!(state(&fields("-", "-", "-", "-")), None);
        assert_eq!(state(&fields("1 2", "", "1 1", "-")), None);
        assert_eq!(state(&fields("1 2 x", "", "1 1", "-")), None);
    }

    #[test]
    fn every_value_reads_back_as_itself() {
        for value in [0.1, -0.0, 5e-324, f64::MAX, f64::MIN, 1.0 / 3.0, 1e21] {
            assert_eq!(
                read_last(&last(-7, value)).map(|last| last.value),
                Some(value)
            );
        }
    }
}
