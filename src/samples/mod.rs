//! (2) KEEP: series, samples and breaches in the embedded store or in Redis.
//!
//! Both stores behave alike: `tests/samples/contract.rs` tells the same stories to each. A store keeps what it is given in the order in which it
//! is given it: thresholds are none of its business.

mod chunk;
mod embedded;
mod redis;
mod series;

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

pub use self::embedded::Embedded;
pub use self::redis::Redis;
pub use self::series::{ParseSeriesKeyError, SeriesKey};
use crate::error::Result;

/// The longest fault message that is kept; a script may well answer with a page of stack trace.
const MAX_MESSAGE_BYTES: usize = 1_000;

/// A value at a tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The tick it belongs to, ms; a tick is a whole second.
    pub tick_ms: i64,
    /// What was read.
    pub value: f64,
}

/// An unbroken stretch of samples over the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breach {
    /// Tick of its first sample, ms.
    pub since_ms: i64,
    /// How many samples it has.
    pub count: u32,
    /// Tick of its last sample, ms.
    pub last_ms: i64,
}

/// Why a reading gave no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadingFault {
    /// The tick that has no sample, ms.
    pub tick_ms: i64,
    /// What went wrong.
    pub message: String,
}

/// What is known of a series after its latest reading. "Latest" is the one written last, so that a clock that was set back is
/// followed at once.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesState {
    /// The last value; errors leave it alone.
    pub last: Option<Sample>,
    /// The breach, while there is one.
    pub breach: Option<Breach>,
    /// Set while the latest reading is an error; the next value clears it.
    pub error: Option<ReadingFault>,
    /// When the latest reading was made, ms.
    pub measured_ms: i64,
    /// How long the latest reading took, ms.
    pub took_ms: i64,
    /// The tick of the latest reading, ms.
    pub tick_ms: i64,
}

/// One reading to keep, with the breach as it stands after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// The series it belongs to.
    pub key: SeriesKey,
    /// Its tick, ms; a second write of the same tick overwrites the first.
    pub tick_ms: i64,
    /// When it was made, ms.
    pub measured_ms: i64,
    /// How long it took, ms.
    pub took_ms: i64,
    /// The value, or why there is none.
    pub outcome: Result<f64, String>,
    /// Replaces the breach of the series.
    pub breach: Option<Breach>,
}

impl Write {
    /// The outcome in the form that is kept: finite, and with a message of bounded length.
    fn kept(&self) -> Result<f64, Cow<'_, str>> {
        match &self.outcome {
            Ok(value) if value.is_finite() => Ok(*value),
            Ok(value) => Err(format!("{value} is not a finite number").into()),
            Err(message) if message.len() <= MAX_MESSAGE_BYTES => Err(message.into()),
            Err(message) => {
                let (head, _) = message.split_at(message.floor_char_boundary(MAX_MESSAGE_BYTES));
                Err(format!("{head}…").into())
            }
        }
    }
}

/// Where samples are kept; cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// A SQLite file of its own.
    Embedded(Embedded),
    /// A Redis server, which several processes can share.
    Redis(Redis),
}

impl Store {
    /// Opens the embedded store, making the file where there is none.
    ///
    /// # Errors
    /// The file cannot be opened or is not a store of samples.
    pub fn embedded(path: &Path) -> Result<Self> {
        Embedded::open(path).map(Self::Embedded)
    }

    /// Prepares the Redis store; the first call connects. Every key starts with `prefix`, and a series that is written no more
    /// vanishes by itself soon after `retention`.
    ///
    /// # Errors
    /// The URL is not understood.
    pub fn redis(url: &str, prefix: &str, retention: Duration) -> Result<Self> {
        Redis::new(url, prefix, retention).map(Self::Redis)
    }

    /// Keeps a batch of readings in one transaction or one pipeline. Repeating a batch changes nothing.
    ///
    /// # Errors
    /// The store does not take them; the embedded store then kept none of the batch.
    pub async fn write(&self, writes: &[Write]) -> Result<()> {
        match self {
            Self::Embedded(store) => store.write(writes).await,
            Self::Redis(store) => store.write(writes).await,
        }
    }

    /// What is known of each series, in the order asked; none for one that was never read.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn states(&self, keys: &[SeriesKey]) -> Result<Vec<Option<SeriesState>>> {
        match self {
            Self::Embedded(store) => store.states(keys).await,
            Self::Redis(store) => store.states(keys).await,
        }
    }

    /// The samples of each series between two times, both included, oldest first. An error reading has no sample: it is a gap.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn range(
        &self,
        keys: &[SeriesKey],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Vec<Sample>>> {
        match self {
            Self::Embedded(store) => store.range(keys, from_ms, to_ms).await,
            Self::Redis(store) => store.range(keys, from_ms, to_ms).await,
        }
    }

    /// The tick of the first sample after (and not at) the given time, for each series.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn first_after(&self, after: &[(SeriesKey, i64)]) -> Result<Vec<Option<i64>>> {
        match self {
            Self::Embedded(store) => store.first_after(after).await,
            Self::Redis(store) => store.first_after(after).await,
        }
    }

    /// Forgets the series whose latest reading is older than the quarter of an hour that `before_ms` falls in, and the samples
    /// of others that are. Whole quarters, since that is the unit in which samples lie together.
    ///
    /// # Errors
    /// The store does not answer; what was forgotten until then stays forgotten.
    pub async fn prune(&self, before_ms: i64) -> Result<()> {
        match self {
            Self::Embedded(store) => store.prune(before_ms).await,
            Self::Redis(store) => store.prune(before_ms).await,
        }
    }

    /// Some of the series that are kept, and where the next call goes on: begins at 0, is over when it says 0. A series that is there all
    /// the while is listed at least once.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn list(&self, cursor: u64) -> Result<(Vec<SeriesKey>, u64)> {
        match self {
            Self::Embedded(store) => store.list(cursor).await,
            Self::Redis(store) => store.list(cursor).await,
        }
    }

    /// Forgets series altogether.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn forget(&self, keys: &[SeriesKey]) -> Result<()> {
        match self {
            Self::Embedded(store) => store.forget(keys).await,
            Self::Redis(store) => store.forget(keys).await,
        }
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<()> {
        match self {
            Self::Embedded(store) => store.ping().await,
            Self::Redis(store) => store.ping().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{CounterId, NodeId};

    fn write(outcome: Result<f64, String>) -> Write {
        let key = SeriesKey::Ssh {
            node: NodeId(1),
            counter: CounterId(2),
        };
        Write {
            key,
            tick_ms: 0,
            measured_ms: 0,
            took_ms: 0,
            outcome,
            breach: None,
        }
    }

    #[test]
    fn a_number_that_is_none_is_kept_as_an_error() {
        assert_eq!(write(Ok(-0.5)).kept(), Ok(-0.5));
        assert_eq!(
            write(Ok(f64::NAN)).kept(),
            Err("NaN is not a finite number".into())
        );
        assert_eq!(
            write(Ok(f64::NEG_INFINITY)).kept(),
            Err("-inf is not a finite number".into())
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let short = "é".repeat(500);
        assert_eq!(
            write(Err(short.clone())).kept(),
            Err(short.as_str().into()),
            "1000 bytes fit"
        );
        let long = format!("x{}", "é".repeat(600));
        let kept = write(Err(long)).kept().unwrap_err().into_owned();
        assert_eq!(kept, format!("x{}…", "é".repeat(499)));
    }
}
