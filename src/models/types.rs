//! Ids and the closed sets of words that columns hold, each written as text.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use diesel::backend::Backend;
use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::serialize::{Output, ToSql};
use diesel::sql_types::{BigInt, Text};
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, FromSqlRow, AsExpression)]
        #[diesel(sql_type = BigInt)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl<DB: Backend> FromSql<BigInt, DB> for $name
        where
            i64: FromSql<BigInt, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> diesel::deserialize::Result<Self> {
                i64::from_sql(bytes).map(Self)
            }
        }

        impl<DB: Backend> ToSql<BigInt, DB> for $name
        where
            i64: ToSql<BigInt, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> diesel::serialize::Result {
                self.0.to_sql(out)
            }
        }
    )+};
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, FromSqlRow, AsExpression, utoipa::ToSchema)]
        #[diesel(sql_type = Text)]
        pub enum $name { $($(#[$item_doc])* #[serde(rename = $word)] $item),+ }

        impl $name {
            /// Every member, in its natural order.
            pub const ALL: &'static [Self] = &[$(Self::$item),+];

            /// The word in files, pages, the API and the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$item),)+
                    other => Err(format!("\"{other}\" is not one of {}", [$($word),+].join(", "))),
                }
            }
        }

        impl<DB: Backend> FromSql<Text, DB> for $name
        where
            String: FromSql<Text, DB>,
        {
            fn from_sql(bytes: DB::RawValue<'_>) -> diesel::deserialize::Result<Self> {
                Ok(String::from_sql(bytes)?.parse()?)
            }
        }

        impl<DB: Backend> ToSql<Text, DB> for $name
        where
            str: ToSql<Text, DB>,
        {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, DB>) -> diesel::serialize::Result {
                self.as_str().to_sql(out)
            }
        }
    )+};
}

ids! {
    /// A cluster's row.
    ClusterId,
    /// A node's row.
    NodeId,
    /// An SSH profile's row.
    SshProfileId,
    /// A JVM profile's row.
    JvmProfileId,
    /// An EC2 profile's row.
    Ec2ProfileId,
    /// A counter's row.
    CounterId,
    /// An action's row.
    ActionId,
    /// A trigger's row.
    TriggerId,
    /// A step's row.
    StepId,
    /// A run's row; what a queue message carries.
    RunId,
    /// A step of one run.
    StepRunId,
    /// A decision's row.
    DecisionId,
    /// A hold's row.
    HoldId,
    /// A user's row.
    UserId,
    /// A secret's row.
    SecretId,
    /// A disagreement between EC2 and the nodes.
    FindingId,
}

words! {
    /// Where a node is in its life.
    NodeState {
        /// Being launched; counts as capacity, is not read.
        Provisioning = "provisioning",
        /// Working; the only state that is read.
        InService = "in_service",
        /// Being taken out; still a machine, no longer read.
        Draining = "draining",
    }

    /// How a JVM's MBeans are reached.
    JmxTransport {
        /// By RMI, as every JVM speaks it.
        Rmi = "rmi",
        /// By a Jolokia agent, over HTTP.
        Jolokia = "jolokia",
    }

    /// Where EC2 and the nodes disagree.
    FindingKind {
        /// An instance without a node.
        Orphan = "orphan",
        /// A node without an instance.
        Ghost = "ghost",
        /// A node whose instance is off.
        Stopped = "stopped",
        /// A node whose instance is gone, and another carries its name.
        Replaced = "replaced",
        /// A node whose instance has another address.
        Moved = "moved",
        /// A launch or removal that nobody goes on with.
        Unfinished = "unfinished",
    }

    /// How a host's key is trusted.
    HostKeyPolicy {
        /// Only the keys in the profile's known_hosts.
        Pinned = "pinned",
        /// The first key is remembered; a changed one is refused until a person accepts it.
        FirstUse = "first_use",
    }

    /// Whether a host key is trusted.
    HostKeyState {
        /// Trusted.
        Accepted = "accepted",
        /// Shown by the host instead of the accepted one; refused until a person accepts it.
        Offered = "offered",
    }

    /// What reads a counter.
    CounterKind {
        /// A script on the node over SSH.
        Ssh = "ssh",
        /// An attribute of an MBean of each of the node's JVMs.
        Jmx = "jmx",
        /// A script on Headroom's own host.
        Local = "local",
    }

    /// How a sample is held against the threshold.
    Comparison {
        /// Value greater than threshold.
        Greater = ">",
        /// Greater or equal.
        GreaterOrEqual = ">=",
        /// Equal.
        Equal = "=",
        /// Less or equal.
        LessOrEqual = "<=",
        /// Less.
        Less = "<",
    }

    /// What an error reading does to a breach.
    Missing {
        /// Changes nothing; the breach grows stale.
        Hold = "hold",
        /// Counts as a breaching sample.
        Breach = "breach",
        /// Ends the breach.
        Reset = "reset",
    }

    /// How the series of a trigger combine.
    When {
        /// One series is enough.
        Any = "any",
        /// Every fresh node has one.
        All = "all",
        /// At least so many percent of the nodes in service.
        Percent = "percent",
        /// The mean over the fresh nodes.
        Average = "average",
    }

    /// Whether a firing acts.
    Mode {
        /// It starts a run.
        Live = "live",
        /// It plans and records one.
        DryRun = "dry_run",
    }

    /// What a run does after a failed step.
    OnFailure {
        /// Takes the finished steps back, in reverse order.
        Undo = "undo",
        /// Leaves everything as it is.
        Stop = "stop",
    }

    /// What a step acts on.
    StepTarget {
        /// Every node in service of the cluster (a deployment: the cluster itself).
        Cluster = "cluster",
        /// The most recently created node of the cluster when the step starts.
        LastNode = "lastnode",
        /// One named node (a single action's run).
        Node = "node",
        /// Nothing.
        None = "none",
    }

    /// Where a run is.
    RunState {
        /// Inserted, not yet claimed.
        Queued = "queued",
        /// Claimed by a worker.
        Running = "running",
        /// Nothing can go on until a person approves a step.
        Waiting = "waiting",
        /// Every step succeeded.
        Succeeded = "succeeded",
        /// A step failed and nothing was undone.
        Failed = "failed",
        /// A step failed and the finished ones were taken back.
        Undone = "undone",
        /// A person must decide.
        Stuck = "stuck",
        /// Stopped by a person.
        Cancelled = "cancelled",
    }

    /// Where a step of a run is.
    StepState {
        /// Not begun.
        Planned = "planned",
        /// Its effect was announced in the journal and may have happened.
        Started = "started",
        /// Its effect happened.
        Succeeded = "succeeded",
        /// Its effect failed.
        Failed = "failed",
        /// Never begun, since an earlier step failed or the run was cancelled.
        Skipped = "skipped",
        /// Being taken back.
        Undoing = "undoing",
        /// Taken back.
        Undone = "undone",
        /// Could not be taken back.
        UndoFailed = "undo_failed",
    }

    /// What a hold stops.
    HoldScope {
        /// Every trigger.
        Everything = "everything",
        /// The triggers of one cluster.
        Cluster = "cluster",
        /// One trigger.
        Trigger = "trigger",
        /// One node: it is neither removed nor counted for a trigger.
        Node = "node",
        /// All acting: no trigger fires, no run begins, and none goes on to its next step. For admins.
        Stop = "stop",
    }

    /// Whether launches in a cluster are let through.
    BreakerState {
        /// They are.
        Closed = "closed",
        /// They are refused.
        Open = "open",
        /// One is under way, on trial.
        HalfOpen = "half_open",
    }

    /// What a user or a token may do; each role includes the ones before it.
    Role {
        /// Sees everything but secrets.
        Viewer = "viewer",
        /// Also runs, cancels, retries, resolves and holds.
        Operator = "operator",
        /// Also defines, and manages users, tokens and keys.
        Admin = "admin",
    }

    /// By which way a change came in.
    Via {
        /// A page.
        Page = "page",
        /// The HTTP API.
        Api = "api",
        /// The command line.
        Cli = "cli",
        /// Headroom itself.
        System = "system",
    }

    /// What one evaluation of a trigger came to.
    Outcome {
        /// Nothing qualified.
        Quiet = "quiet",
        /// Something breaches, but not yet for long enough.
        Pending = "pending",
        /// It would have fired, but a gate refused.
        Refused = "refused",
        /// It would have fired, but the trigger only rehearses.
        DryRun = "dry_run",
        /// It fired.
        Fired = "fired",
    }

    /// Why a run exists.
    Origin {
        /// A trigger fired.
        Firing = "firing",
        /// A person pressed Run now on a trigger.
        Trigger = "trigger",
        /// A person ran a single action.
        Action = "action",
    }
}

impl RunState {
    /// Whether the run has reached its end; a person may still have a step of it taken back.
    pub fn is_over(self) -> bool {
        !crate::models::uses::OPEN.contains(&self)
    }
}

/// Milliseconds since 1970 of an instant, as the database keeps it.
pub fn to_ms(at: DateTime<Utc>) -> i64 {
    at.timestamp_millis()
}

/// The instant of a database time; the end of the calendar for a number no clock can give.
pub fn from_ms(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
