//! What Headroom may do in the cloud by itself.

use std::time::Duration;

use super::source::Source;

/// What Headroom may do in the cloud by itself.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// `HEADROOM_REAP_AFTER`: an instance that no node stands for is terminated after so long; unset = never.
    pub reap_after: Option<Duration>,
}

impl Cloud {
    pub(super) fn from_source(source: &mut Source) -> Self {
        let (least, most) = (Duration::from_secs(600), Duration::from_secs(30 * 86_400));
        Self {
            reap_after: source.duration("reap_after", least, most),
        }
    }
}
