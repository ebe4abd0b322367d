//! The names of series and samples, as `semantics.md` fixes them: they are keys in Redis, and people type them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::models::counter::Counter;
use crate::models::node::Node;
use crate::models::{CounterId, CounterKind, JvmProfileId, NodeId, TriggerId, from_ms};

/// Names a series: what is read, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesKey {
    /// A script on a node.
    Ssh {
        /// Where.
        node: NodeId,
        /// What.
        counter: CounterId,
    },
    /// An attribute of one of a node's JVMs.
    Jmx {
        /// Where.
        node: NodeId,
        /// Which JVM of the node.
        jvm: JvmProfileId,
        /// What.
        counter: CounterId,
    },
    /// A script on Headroom's own host.
    Local {
        /// For which node.
        node: NodeId,
        /// What.
        counter: CounterId,
    },
    /// The mean over a cluster's fresh nodes, computed for a trigger; it is never read.
    Average {
        /// For which trigger.
        trigger: TriggerId,
        /// Of what.
        counter: CounterId,
    },
}

impl SeriesKey {
    /// The series of a counter on a node: one for each of its JVMs, one, or none where the node is not reached that way. What is
    /// read, what is decided on and what is drawn all follow from here.
    pub fn of(counter: &Counter, node: &Node, jvms: &[JvmProfileId]) -> impl Iterator<Item = Self> {
        let (id, node_id) = (counter.id, node.id);
        let (single, jvms) = match counter.kind {
            CounterKind::Jmx => (None, jvms),
            CounterKind::Ssh => (
                node.ssh_profile_id.map(|_| Self::Ssh {
                    node: node_id,
                    counter: id,
                }),
                [].as_slice(),
            ),
            CounterKind::Local => (
                node.is_own_host().then_some(Self::Local {
                    node: node_id,
                    counter: id,
                }),
                [].as_slice(),
            ),
        };
        let of_jvms = jvms.iter().map(move |jvm| Self::Jmx {
            node: node_id,
            jvm: *jvm,
            counter: id,
        });
        single.into_iter().chain(of_jvms)
    }

    /// The counter that the series is of.
    pub const fn counter(self) -> CounterId {
        match self {
            Self::Ssh { counter, .. }
            | Self::Jmx { counter, .. }
            | Self::Local { counter, .. }
            | Self::Average { counter, .. } => counter,
        }
    }

    /// The node that the series is read on; a mean has none.
    pub const fn node(self) -> Option<NodeId> {
        match self {
            Self::Ssh { node, .. } | Self::Jmx { node, .. } | Self::Local { node, .. } => {
                Some(node)
            }
            Self::Average { .. } => None,
        }
    }

    /// The public name of a sample: the series and the time of its tick, to the minute, or to the second where ticks come more
    /// often than once a minute.
    pub fn sample_name(self, tick_ms: i64, every: Duration) -> String {
        let format = if every < Duration::from_mins(1) {
            "%Y%m%d%H%M%S"
        } else {
            "%Y%m%d%H%M"
        };
        format!("{self}.{}", from_ms(tick_ms).format(format))
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh { node, counter } => write!(f, "ssh_sshcounter.{node}.{counter}"),
            Self::Jmx { node, jvm, counter } => {
                write!(f, "jmx_jmxcounter.{node}.{jvm}.{counter}")
            }
            Self::Local { node, counter } => write!(f, "local_localcounter.{node}.{counter}"),
            Self::Average { trigger, counter } => write!(f, "average_counter.{trigger}.{counter}"),
        }
    }
}

/// A text that names no series.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not the name of a series; one looks like ssh_sshcounter.<node id>.<counter id>"
)]
pub struct ParseSeriesKeyError(String);

impl FromStr for SeriesKey {
    type Err = ParseSeriesKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseSeriesKeyError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<SeriesKey> {
    let (kind, ids) = text.split_once('.')?;
    let ids = ids.split('.').map(id).collect::<Option<Vec<_>>>()?;
    Some(match (kind, ids.as_slice()) {
        ("ssh_sshcounter", &[node, counter]) => SeriesKey::Ssh {
            node: NodeId(node),
            counter: CounterId(counter),
        },
        ("jmx_jmxcounter", &[node, jvm, counter]) => SeriesKey::Jmx {
            node: NodeId(node),
            jvm: JvmProfileId(jvm),
            counter: CounterId(counter),
        },
        ("local_localcounter", &[node, counter]) => SeriesKey::Local {
            node: NodeId(node),
            counter: CounterId(counter),
        },
        ("average_counter", &[trigger, counter]) => SeriesKey::Average {
            trigger: TriggerId(trigger),
            counter: CounterId(counter),
        },
        _ => return None,
    })
}

/// A row id as it is written: no sign, no leading zero, so that every series has one name only.
fn id(text: &str) -> Option<i64> {
    let canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn jmx() -> SeriesKey {
        SeriesKey::Jmx {
            node: NodeId(3),
            jvm: JvmProfileId(1),
            counter: CounterId(5),
        }
    }

    #[test]
    fn series_are_named_as_the_reference_design_names_them() {
        let ssh = SeriesKey::Ssh {
            node: NodeId(2),
            counter: CounterId(4),
        };
        let local = SeriesKey::Local {
            node: NodeId(1),
            counter: CounterId(9),
        };
        let average = SeriesKey::Average {
            trigger: TriggerId(7),
            counter: CounterId(8),
        };
        assert_eq!(ssh.to_string(), "ssh_sshcounter.2.4");
        assert_eq!(jmx().to_string(), "jmx_jmxcounter.3.1.5");
        assert_eq!(local.to_string(), "local_localcounter.1.9");
        assert_eq!(average.to_string(), "average_counter.7.8");
        assert_eq!((ssh.node(), ssh.counter()), (Some(NodeId(2)), CounterId(4)));
        assert_eq!((average.node(), average.counter()), (None, CounterId(8)));
    }

    #[test]
    fn a_counter_has_a_series_where_its_node_is_reached_that_way() {
        let counter = |kind| Counter {
            id: CounterId(9),
            name: "load1".into(),
            kind,
            settings: "{}".into(),
            comparison: crate::models::Comparison::Greater,
            threshold: 4.0,
            unit: None,
            every_secs: None,
            timeout_secs: 10,
            missing: crate::models::Missing::Hold,
            updated_ms: 0,
        };
        let node = |address: &str, ssh_profile_id| Node {
            id: NodeId(2),
            name: "web01".into(),
            cluster_id: crate::models::ClusterId(1),
            address: address.into(),
            ssh_profile_id,
            ec2_profile_id: None,
            instance_id: None,
            state: crate::models::NodeState::InService,
            created_ms: 0,
            updated_ms: 0,
        };
        let profile = Some(crate::models::SshProfileId(1));
        let names = |kind, node: &Node| -> Vec<String> {
            SeriesKey::of(&counter(kind), node, &[JvmProfileId(3), JvmProfileId(4)])
                .map(|key| key.to_string())
                .collect()
        };
        let (remote, own) = (node("10.0.0.1", profile), node("localhost", None));
        assert_eq!(names(CounterKind::Ssh, &remote), ["ssh_sshcounter.2.9"]);
        assert_eq!(
            names(CounterKind::Jmx, &remote),
            ["jmx_jmxcounter.2.3.9", "jmx_jmxcounter.2.4.9"]
        );
        assert_eq!(names(CounterKind::Local, &own), ["local_localcounter.2.9"]);
        let none: [String; 0] = [];
        assert_eq!(names(CounterKind::Local, &remote), none);
        assert_eq!(names(CounterKind::Ssh, &own), none);
        assert_eq!(names(CounterKind::Local, &node("localhost", profile)), none);
    }

    #[test]
    fn a_sample_is_named_to_the_minute_and_below_a_minute_to_the_second() {
        // 2013-06-18 20:46:40 UTC
        let tick_ms = 1_371_588_400_000;
        let name = |every| jmx().sample_name(tick_ms, every);
        assert_eq!(name(MINUTE), "jmx_jmxcounter.3.1.5.201306182046");
        assert_eq!(name(MINUTE * 60), "jmx_jmxcounter.3.1.5.201306182046");
        assert_eq!(
            name(Duration::from_secs(59)),
            "jmx_jmxcounter.3.1.5.20130618204640"
        );
        assert_eq!(
            name(Duration::from_secs(1)),
            "jmx_jmxcounter.3.1.5.20130618204640"
        );
    }

    #[test]
    fn what_names_no_series_is_refused_with_an_example() {
        for text in [
            "",
            "ssh_sshcounter",
            "ssh_sshcounter.",
            "ssh_sshcounter.1",
            "ssh_sshcounter.1.2.3",
            "jmx_jmxcounter.1.2",
            "ssh_sshcounter.1.x",
            "ssh_sshcounter.-1.2",
            "ssh_sshcounter.+1.2",
            "ssh_sshcounter.01.2",
            "ssh_sshcounter.1.99999999999999999999",
            "other.1.2",
            " ssh_sshcounter.1.2",
        ] {
            let error = text.parse::<SeriesKey>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("\"{text}\" is not the name")),
                "{error}"
            );
            assert!(error.ends_with("ssh_sshcounter.<node id>.<counter id>"));
        }
    }

    fn any_key() -> impl Strategy<Value = SeriesKey> {
        let id = || 0..=i64::MAX;
        (0..4, id(), id(), id()).prop_map(|(kind, first, jvm, counter)| {
            let (node, counter) = (NodeId(first), CounterId(counter));
            match kind {
                0 => SeriesKey::Ssh { node, counter },
                1 => SeriesKey::Jmx {
                    node,
                    jvm: JvmProfileId(jvm),
                    counter,
                },
                2 => SeriesKey::Local { node, counter },
                _ => SeriesKey::Average {
                    trigger: TriggerId(first),
                    counter,
                },
            }
        })
    }

    proptest! {
        #[test]
        fn a_name_read_back_is_the_same_series(key in any_key()) {
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }

        #[test]
        fn any_text_is_a_name_or_refused(text in "([a-z_]{0,16}|ssh_sshcounter)[.0-9a-z-]{0,12}") {
            if let Ok(key) = text.parse::<SeriesKey>() {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }
}
