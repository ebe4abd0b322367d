//! The six statuses. Each is a shape, a word and a colour at once, so that none of the three is needed to tell them apart.

use std::borrow::Cow;
use std::fmt;

use askama::filters::{Html, HtmlSafe, escape};

use crate::models::{NodeState, Outcome, RunState, StepState};

/// How a thing stands. The order is from good to bad: a group shows the greatest of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Status {
    /// As it should be.
    #[default]
    Ok,
    /// Stopped by a person.
    Paused,
    /// Acted a short while ago and is silent on purpose.
    Cooldown,
    /// On its way to something.
    Pending,
    /// Nothing is known of it, or what is known is too old.
    NoData,
    /// Wrong now.
    Firing,
}

impl Status {
    /// Every status, from good to bad.
    pub const ALL: [Self; 6] = [
        Self::Ok,
        Self::Paused,
        Self::Cooldown,
        Self::Pending,
        Self::NoData,
        Self::Firing,
    ];

    /// The word that a person reads.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Paused => "paused",
            Self::Cooldown => "cooldown",
            Self::Pending => "pending",
            Self::NoData => "no data",
            Self::Firing => "firing",
        }
    }

    /// The name in style sheets.
    pub const fn class(self) -> &'static str {
        match self {
            Self::NoData => "nodata",
            other => other.word(),
        }
    }

    /// The worst of a group; of an empty group nothing is known.
    pub fn worst(members: impl IntoIterator<Item = Self>) -> Self {
        members.into_iter().max().unwrap_or(Self::NoData)
    }

    /// The shape, drawn in a box of 16 by 16.
    const fn shape(self) -> &'static str {
        match self {
            // A disc with a tick cut out.
            Self::Ok => {
                "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Zm3.2 4.3-4 4.2-2-2L4 8.7l3.2 3.2 5.2-5.4Z"
            }
            // Two bars.
            Self::Paused => "M3 2h4v12H3ZM9 2h4v12H9Z",
            // A clock.
            Self::Cooldown => {
                "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Zm0 2a5 5 0 1 0 0 10A5 5 0 0 0 8 3Zm-1 1.5h2V7.5h2.5v2H7Z"
            }
            // A disc of which half is filled.
            Self::Pending => "M8 1a7 7 0 1 1 0 14A7 7 0 0 1 8 1Zm0 2v10A5 5 0 0 0 8 3Z",
            // A broken ring.
            Self::NoData => {
                "M7 1.1v2A5 5 0 0 0 3.1 7h-2A7 7 0 0 1 7 1.1ZM9 1.1A7 7 0 0 1 14.9 7h-2A5 5 0 0 0 9 3.1ZM1.1 9h2A5 5 0 0 0 7 12.9v2A7 7 0 0 1 1.1 9ZM14.9 9A7 7 0 0 1 9 14.9v-2A5 5 0 0 0 12.9 9Z"
            }
            // A warning sign.
            Self::Firing => {
                "M8 .8a1.4 1.4 0 0 1 1.2.7l6.5 11.4a1.4 1.4 0 0 1-1.2 2.1h-13a1.4 1.4 0 0 1-1.2-2.1L6.8 1.5A1.4 1.4 0 0 1 8 .8ZM7 5v5h2V5Zm0 6.2v1.8h2v-1.8Z"
            }
        }
    }

    /// The status with its own word.
    pub const fn badge(self) -> Badge {
        self.says(self.word())
    }

    /// The status with a word that fits the thing better.
    pub const fn says(self, word: &'static str) -> Badge {
        Badge {
            status: self,
            word: Cow::Borrowed(word),
        }
    }
}

/// A status as it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    /// Decides shape and colour.
    pub status: Status,
    /// What is written beside the shape.
    pub word: Cow<'static, str>,
}

impl HtmlSafe for Badge {}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<span class="status status-{}"><svg viewBox="0 0 16 16" aria-hidden="true" focusable="false"><path fill-rule="evenodd" d="{}"/></svg>{}</span>"#,
            self.status.class(),
            self.status.shape(),
            escape(&self.word, Html).map_err(|_| fmt::Error)?,
        )
    }
}

impl From<RunState> for Badge {
    fn from(state: RunState) -> Self {
        let status = match state {
            RunState::Queued | RunState::Running | RunState::Waiting => Status::Pending,
            RunState::Succeeded => Status::Ok,
            RunState::Failed | RunState::Stuck => Status::Firing,
            RunState::Undone => Status::Cooldown,
            RunState::Cancelled => Status::Paused,
        };
        status.says(state.as_str())
    }
}

impl From<StepState> for Badge {
    fn from(state: StepState) -> Self {
        let status = match state {
            StepState::Planned => Status::NoData,
            StepState::Started | StepState::Undoing => Status::Pending,
            StepState::Succeeded => Status::Ok,
            StepState::Failed | StepState::UndoFailed => Status::Firing,
            StepState::Undone => Status::Cooldown,
            StepState::Skipped => Status::Paused,
        };
        match state {
            StepState::Started => status.says("running"),
            StepState::UndoFailed => status.says("undo failed"),
            other => status.says(other.as_str()),
        }
    }
}

impl From<Outcome> for Badge {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Quiet => Status::Ok.says("quiet"),
            Outcome::Pending => Status::Pending.says("pending"),
            Outcome::Refused => Status::Paused.says("refused"),
            Outcome::DryRun => Status::Cooldown.says("dry run"),
            Outcome::Fired => Status::Firing.says("fired"),
        }
    }
}

impl From<NodeState> for Badge {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Provisioning => Status::Pending.says("provisioning"),
            NodeState::InService => Status::Ok.says("in service"),
            NodeState::Draining => Status::Paused.says("draining"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_shows_its_worst_member() {
        assert_eq!(
            Status::worst([Status::Ok, Status::Firing, Status::NoData]),
            Status::Firing
        );
        assert_eq!(Status::worst([Status::Ok, Status::NoData]), Status::NoData);
        assert_eq!(
            Status::worst([Status::Paused, Status::Cooldown]),
            Status::Cooldown
        );
    }

    #[test]
    fn no_data_is_never_green() {
        assert_eq!(Status::worst([]), Status::NoData);
        let printed = Status::NoData.badge().to_string();
        assert!(printed.contains("status-nodata"), "{printed}");
        assert!(!printed.contains("status-ok"), "{printed}");
    }

    #[test]
    fn every_status_has_a_shape_a_word_and_a_colour_of_its_own() {
        for one in Status::ALL {
            for other in Status::ALL.into_iter().filter(|other| *other != one) {
                assert_ne!(one.shape(), other.shape());
                assert_ne!(one.word(), other.word());
                assert_ne!(one.class(), other.class());
            }
        }
    }

    #[test]
    fn a_badge_escapes_its_word() {
        let badge = Badge {
            status: Status::Ok,
            word: "<b>".into(),
        };
        assert!(badge.to_string().ends_with("&#60;b&#62;</span>"), "{badge}");
    }

    #[test]
    fn words_of_the_journal_become_statuses() {
        assert_eq!(Badge::from(RunState::Stuck).status, Status::Firing);
        assert_eq!(Badge::from(StepState::UndoFailed).word, "undo failed");
        assert_eq!(Badge::from(StepState::Planned).status, Status::NoData);
        assert_eq!(Badge::from(Outcome::Refused).word, "refused");
        assert_eq!(Badge::from(NodeState::InService).word, "in service");
        for state in RunState::ALL {
            assert_eq!(Badge::from(*state).word, state.as_str());
        }
    }
}
