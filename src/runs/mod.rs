//! (4) ORDER: what runs when, what is undone, what survives a crash.
//!
//! ```text
//! queued ──claim──▶ running ──▶ succeeded | failed | undone | cancelled
//!    ▲                 │  ▲
//!    │                 ▼  └── claim lapsed: another worker takes it up (recover)
//!    └── a person ── stuck
//! ```
//! The rows are the journal: a step's row says `started`, with its token, before the effect, and what came of it after. Whoever finds a
//! step `started` that it did not start itself knows that the effect may have happened, and nothing more ([`recover`]).

pub mod approval;
pub mod control;
mod effects;
pub mod execute;
mod graph;
mod journal;
pub mod recover;
mod retry;
mod scope;
pub mod serving;
mod stop;
mod undo;

pub use retry::Pauses;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;

use crate::actions::{KINDS, Kind, Tools};
use crate::models::{StepRunId, to_ms};

/// How long a claim holds without renewal; after a crash, nobody touches the run for so long.
const LEASE: Duration = Duration::from_secs(15);
/// How often the claim is renewed and a cancellation looked for.
const BEAT: Duration = Duration::from_secs(1);

/// What the engine works with.
#[derive(Clone)]
pub struct Context {
    /// The ways out.
    pub tools: Arc<Tools>,
    /// This process among others.
    pub worker: String,
    /// The action kinds.
    pub kinds: &'static [Kind],
    /// Becomes true when the process is to end: no further step is begun, and the claim is given back.
    pub stop: watch::Receiver<bool>,
    /// The wall clock, ms since 1970.
    pub clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    /// See [`LEASE`].
    pub lease: Duration,
    /// See [`BEAT`].
    pub beat: Duration,
    /// Between two attempts at a step.
    pub pauses: Pauses,
    /// Is told of every boundary of the journal; does nothing outside of tests.
    pub witness: Arc<dyn Witness>,
}

impl Context {
    /// A context with the real clock, the real kinds and the usual times.
    pub fn new(tools: Arc<Tools>, worker: impl Into<String>, stop: watch::Receiver<bool>) -> Self {
        Self {
            tools,
            worker: worker.into(),
            kinds: KINDS,
            stop,
            clock: Arc::new(|| to_ms(Utc::now())),
            lease: LEASE,
            beat: BEAT,
            pauses: Pauses::default(),
            witness: Arc::new(Nobody),
        }
    }

    fn now_ms(&self) -> i64 {
        (self.clock)()
    }
}

/// A place between two writes of the journal, or between a write and an effect: where a crash leaves a state of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Boundary {
    /// The run was claimed.
    Claimed,
    /// A step is about to be announced.
    Planned(StepRunId),
    /// A person was asked to approve a step.
    Asked(StepRunId),
    /// A step was announced; its effect has not begun.
    Started(StepRunId),
    /// An effect is over; its outcome is not written.
    Effected(StepRunId),
    /// A failed attempt was written, and when the next one follows.
    PutOff(StepRunId),
    /// An outcome was written.
    Finished(StepRunId),
    /// An undo was announced; it has not begun.
    Undoing(StepRunId),
    /// An undo is over; its outcome is not written.
    Reverted(StepRunId),
    /// An undo's outcome was written.
    Undone(StepRunId),
    /// The run's end is about to be written.
    Ending,
    /// The run's end was written.
    Ended,
}

/// Is told of every boundary, so that a test can end the process there.
pub trait Witness: Send + Sync {
    /// The journal is at `boundary`.
    fn at(&self, boundary: Boundary);
}

struct Nobody;

impl Witness for Nobody {
    fn at(&self, _: Boundary) {}
}
