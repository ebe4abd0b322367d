//! What became of a question, in sentences.

use std::time::Duration;

use super::Jvm;
use super::failure::Failure;

const NO_MBEAN: &str = "javax.management.InstanceNotFoundException";
const NO_ATTRIBUTE: &str = "javax.management.AttributeNotFoundException";
const NO_NAME: &str = "javax.management.MalformedObjectNameException";
/// So says Jolokia.
const INVALID_NAME: &str = "Invalid object name";
const SECURITY: &str = "java.lang.SecurityException";

/// Why a person's question has no answer.
pub struct Unanswered {
    /// In a sentence.
    pub(super) why: String,
    /// Whether what was asked for does not exist.
    pub(super) missing: bool,
}

impl From<String> for Unanswered {
    fn from(why: String) -> Self {
        Self {
            why,
            missing: false,
        }
    }
}

/// Why the attributes of an MBean cannot be told.
pub(super) fn undescribed(failure: &Failure, mbean: &str, jvm: &Jvm) -> Unanswered {
    match failure {
        Failure::Thrown(thrown) if thrown.is(NO_MBEAN) => Unanswered {
            why: format!("MBean \"{mbean}\" of the JVM at {}", jvm.way),
            missing: true,
        },
        other => explain(other, mbean, "", jvm).into(),
    }
}

/// Whether a single attribute may be the reason.
pub(super) fn may_be_one(failure: &Failure) -> bool {
    match failure {
        Failure::Garbled(_) | Failure::Aborted(_) | Failure::Late => true,
        Failure::Thrown(thrown) => !thrown.is(NO_MBEAN) && !thrown.is(SECURITY),
        Failure::Lost(_) | Failure::NotTls(_) | Failure::Refused(_) => false,
    }
}

pub(super) fn explain(failure: &Failure, mbean: &str, attribute: &str, jvm: &Jvm) -> String {
    let way = &jvm.way;
    let thrown = match failure {
        Failure::Thrown(thrown) => thrown,
        Failure::Aborted(thrown) => {
            return format!("{way} cannot send \"{attribute}\" of \"{mbean}\": {thrown}");
        }
        other => return format!("{way}: {other}"),
    };
    let words = thrown.words();
    if thrown.is(NO_MBEAN) {
        format!("the JVM at {way} has no MBean \"{mbean}\"")
    } else if thrown.is(NO_ATTRIBUTE) {
        format!("MBean \"{mbean}\" of the JVM at {way} has no attribute \"{attribute}\"")
    } else if thrown.is(NO_NAME) || words.contains(NO_NAME) || words.contains(INVALID_NAME) {
        format!("\"{mbean}\" is no MBean's name: {words}")
    } else if thrown.is(SECURITY) {
        format!("the JVM at {way} does not let this user read \"{mbean}\": {words}")
    } else {
        format!("\"{attribute}\" of \"{mbean}\" could not be read by the JVM at {way}: {thrown}")
    }
}

pub(super) fn not_opened(failure: &Failure, jvm: &Jvm, limit: Duration) -> String {
    match failure {
        Failure::Late => late(jvm, limit),
        Failure::Lost(why) if why.starts_with("could not connect") => why.clone(),
        other => format!("could not log in to {}: {other}", jvm.way),
    }
}

pub(super) fn late(jvm: &Jvm, limit: Duration) -> String {
    // Tenths are enough for a person.
    let secs = (limit.as_secs_f64() * 10.0).round() / 10.0;
    format!("{} did not answer within {secs} s", jvm.way)
}
