//! What can go wrong in a call, by what the caller can do about it.

use std::fmt;

use crate::error::Error;

/// What the caller can do about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// No answer, or one that broke off: the call may have been carried out.
    Lost,
    /// The service was not reached: nothing was sent.
    Unreached,
    /// The time limit was over before the call was made: nothing was sent.
    Overdue,
    /// Too many calls, or a moment of weakness of the service; not carried out.
    Throttled,
    /// There is no machine to be had at the moment.
    Capacity,
    /// A quota of the account is used up.
    Quota,
    /// The request was not signed by someone who may do this.
    Auth,
    /// The credentials have run out.
    Expired,
    /// What was named does not exist.
    NotFound,
    /// The token was used before, for something else: an earlier launch with it was accepted.
    TokenReused,
    /// The token was used before, and the instance that it gave is terminated.
    TokenSpent,
    /// The instance is protected against this.
    Protected,
    /// Anything else: asking again gives the same answer.
    Refused,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What can be done about it.
    pub kind: FaultKind,
    /// What was attempted, on what, and what came back.
    pub what: String,
}

impl Fault {
    /// Whether the same call may succeed in a moment.
    pub const fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::Lost | FaultKind::Unreached | FaultKind::Throttled
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        f.write_str(match self.kind {
            FaultKind::Auth => {
                "; look at the credentials (access key, role) and what they are allowed"
            }
            FaultKind::Expired => "; the credentials have expired and no newer ones were found",
            FaultKind::Capacity => "; try again later, or name another instance type or subnet",
            FaultKind::Quota => "; ask AWS for a higher quota, or remove what is not needed",
            FaultKind::Protected => "; take the protection off the instance, then try again",
            _ => "",
        })
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Upstream {
            retryable: fault.is_passing() || fault.kind == FaultKind::Capacity,
            what: fault.to_string(),
        }
    }
}

/// The kind of a fault that the service names by a code.
#[cfg(feature = "aws")]
pub(super) fn kind_of(code: &str, status: u16) -> FaultKind {
    match code {
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "Unsupported" => FaultKind::Capacity,
        "InstanceLimitExceeded"
        | "VcpuLimitExceeded"
        | "MaxSpotInstanceCountExceeded"
        | "TooManyTargets"
        | "TooManyRegistrationsForTargetId" => FaultKind::Quota,
        "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "EC2ThrottledException"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "ResourceCountLimitExceeded" => FaultKind::Throttled,
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => FaultKind::Expired,
        "AuthFailure"
        | "UnauthorizedOperation"
        | "UnauthorizedAccess"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "OptInRequired"
        | "Blocked"
        | "PendingVerification"
        | "AccessDenied"
        | "AccessDeniedException" => FaultKind::Auth,
        "IdempotentParameterMismatch" => FaultKind::TokenReused,
        "IdempotentInstanceTerminated" => FaultKind::TokenSpent,
        "OperationNotPermitted" => FaultKind::Protected,
        "InvalidInstanceID.NotFound"
        | "InvalidInstanceID.Malformed"
        | "InvalidInstance"
        | "InvalidEndPoint"
        | "InvalidTarget"
        | "LoadBalancerNotFound"
        | "AccessPointNotFound"
        | "TargetGroupNotFound" => FaultKind::NotFound,
        // The service itself is at fault: it may have carried the call out all the same.
        _ if status >= 500 => FaultKind::Lost,
        _ => FaultKind::Refused,
    }
}

#[cfg(all(test, feature = "aws"))]
mod tests {
    use super::*;

    #[test]
    fn a_code_tells_what_can_be_done() {
        for (code, status, kind) in [
            ("RequestLimitExceeded", 503, FaultKind::Throttled),
            ("InsufficientInstanceCapacity", 500, FaultKind::Capacity),
            ("InternalError", 500, FaultKind::Lost),
            ("", 502, FaultKind::Lost),
            ("IdempotentParameterMismatch", 400, FaultKind::TokenReused),
            ("IdempotentInstanceTerminated", 400, FaultKind::TokenSpent),
            ("InvalidAMIID.NotFound", 400, FaultKind::Refused),
            ("RequestExpired", 400, FaultKind::Expired),
            ("OperationNotPermitted", 400, FaultKind::Protected),
        ] {
            assert_eq!(kind_of(code, status), kind, "{code} {status}");
        }
    }

    #[test]
    fn only_what_may_pass_is_retryable() {
        let retryable = |kind| {
            let what = "launch".to_owned();
            matches!(
                Error::from(Fault { kind, what }),
                Error::Upstream {
                    retryable: true,
                    ..
                }
            )
        };
        for kind in [
            FaultKind::Lost,
            FaultKind::Unreached,
            FaultKind::Throttled,
            FaultKind::Capacity,
        ] {
            assert!(retryable(kind), "{kind:?}");
        }
        for kind in [
            FaultKind::Auth,
            FaultKind::Overdue,
            FaultKind::Quota,
            FaultKind::Refused,
            FaultKind::TokenReused,
        ] {
            assert!(!retryable(kind), "{kind:?}");
        }
    }
}
