//! What the kinds that launch, register and remove instances share.

pub mod adopting;
pub mod compare;
pub(super) mod draining;
pub mod inspect;
pub(super) mod launching;
pub(super) mod leaving;
pub(super) mod lowest;
pub(super) mod reap;
pub(super) mod rows;
pub mod settle;
pub mod unasked;
pub(super) mod wait;

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Entry, Outcome, Outputs, Report};
use crate::error::Error;

/// Carried by an instance: the token of the step that launched it.
pub const TOKEN_TAG: &str = "headroom:token";
/// Carried by an instance: which Headroom it belongs to.
pub const SITE_TAG: &str = "headroom:site";
/// Carried by an instance: the run that launched it.
pub const RUN_TAG: &str = "headroom:run";
/// Carried by an instance: the step that launched it.
pub const STEP_TAG: &str = "headroom:step";

/// Carried by an instance: the profile that it was launched from.
pub const PROFILE_TAG: &str = "headroom:profile";

/// What is left for putting things right once the time limit is over: less than what the engine waits.
pub(super) const LAST_LIMIT: Duration = Duration::from_secs(8);

/// What came of a part of a step: what failed, and why.
pub(super) type Part<T> = Result<T, (&'static str, Error)>;

/// Names the part that a fault belongs to.
pub(super) fn at<E: Into<Error>>(part: &'static str) -> impl FnOnce(E) -> (&'static str, Error) {
    move |cause| (part, cause.into())
}

/// What a step gives out and how its parts went, as they go.
pub(super) struct Progress {
    pub outputs: Outputs,
    /// See [`Outcome::harmless`].
    pub harmless: bool,
    entries: Vec<Entry>,
    begun: Instant,
    part: Instant,
}

impl Progress {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            outputs: Outputs::new(),
            harmless: false,
            entries: Vec::new(),
            begun: now,
            part: now,
        }
    }

    pub fn give(&mut self, name: &str, value: impl Into<Value>) {
        self.outputs.insert(name.to_owned(), value.into());
    }

    /// Seconds since the step began, to a tenth.
    pub fn give_secs(&mut self, name: &str) {
        let tenths = self.begun.elapsed().as_millis() / 100;
        self.give(
            name,
            f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0,
        );
    }

    /// A part that is done.
    pub fn done(&mut self, subject: impl Into<String>, text: impl Into<String>) {
        self.entry(subject, true, text.into(), None);
    }

    /// A part that failed.
    pub fn failed(&mut self, subject: &str, error: String) {
        self.entry(subject, false, String::new(), Some(error));
    }

    fn entry(
        &mut self,
        subject: impl Into<String>,
        succeeded: bool,
        stdout: String,
        error: Option<String>,
    ) {
        self.entries.push(Entry {
            subject: subject.into(),
            succeeded,
            stdout,
            error,
            took_ms: i64::try_from(self.part.elapsed().as_millis()).unwrap_or(i64::MAX),
            ..Entry::default()
        });
        self.part = Instant::now();
    }

    /// The end: all is done, or a part failed.
    pub fn end(mut self, done: Part<()>) -> Outcome {
        let fault = done.err().map(|(part, fault)| {
            self.failed(part, fault.to_string());
            fault
        });
        Outcome {
            outputs: self.outputs,
            report: Report(self.entries),
            fault,
            harmless: self.harmless,
        }
    }
}

/// A text among the outputs of a step.
pub(super) fn output<'a>(outputs: &'a Outputs, name: &str) -> Option<&'a str> {
    outputs.get(name).and_then(Value::as_str)
}
