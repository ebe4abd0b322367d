//! Counters of a node's JVMs: all that are due of one JVM over one login, side by side with the other JVMs of the node.

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use tokio::time::Instant;

use crate::clients::jmx::{Ask, Jmx, Told};
use crate::collectors::target::{Source, Target, ToRead};
use crate::collectors::{Collector, Measured};
use crate::models::JvmProfileId;
use crate::samples::SeriesKey;

/// Reads `jmx` counters.
pub(super) struct JmxCollector {
    jmx: Jmx,
}

impl JmxCollector {
    pub(super) fn new(jmx: Jmx) -> Self {
        Self { jmx }
    }

    /// Reads what is due of one JVM.
    async fn measure(
        &self,
        target: &Target,
        id: JvmProfileId,
        due: &[&ToRead],
        deadline: Instant,
    ) -> Vec<Measured> {
        let all = |why: &str| due.iter().map(|_| Measured::error(why)).collect();
        let jvm = match target.jvms.iter().find(|(known, _)| *known == id) {
            Some((_, Ok(jvm))) => jvm,
            Some((_, Err(why))) => return all(why),
            None => return all("the node does not have that jvm profile"),
        };
        let asks = due.iter().map(|due| ask(due)).collect();
        match self.jmx.read(jvm, asks, deadline).await {
            Ok(told) => due
                .iter()
                .zip(told)
                .map(|(due, told)| measured(due, told))
                .collect(),
            Err(error) => all(&error.to_string()),
        }
    }
}

fn ask(due: &ToRead) -> Ask {
    let (mbean, attribute) = match &due.counter.source {
        Source::Jmx {
            mbean, attribute, ..
        } => (mbean.clone(), attribute.clone()),
        Source::Script(_) => (String::new(), String::new()),
    };
    Ask {
        mbean,
        attribute,
        limit: due.counter.timeout,
    }
}

/// The one number in what an attribute holds.
fn measured(due: &ToRead, told: Told) -> Measured {
    let outcome = told.outcome.and_then(|datum| {
        let Source::Jmx { attribute, key, .. } = &due.counter.source else {
            return Err("the counter has no attribute".into());
        };
        let about = |why: String| format!("\"{attribute}\" {why}");
        match key {
            None => datum.number().map_err(about),
            Some(key) => datum
                .member(key)
                .map_err(about)?
                .number()
                .map_err(|why| format!("\"{key}\" of \"{attribute}\" {why}")),
        }
    });
    Measured {
        outcome,
        took: told.took,
    }
}

fn jvm_of(key: SeriesKey) -> Option<JvmProfileId> {
    match key {
        SeriesKey::Jmx { jvm, .. } => Some(jvm),
        _ => None,
    }
}

impl Collector for JmxCollector {
    fn reads(&self, key: SeriesKey) -> bool {
        jvm_of(key).is_some()
    }

    fn read<'a>(
        &'a self,
        target: &'a Target,
        due: Vec<&'a ToRead>,
        deadline: Instant,
    ) -> BoxFuture<'a, Vec<Measured>> {
        async move {
            let mut jvms: Vec<JvmProfileId> =
                due.iter().filter_map(|due| jvm_of(due.key)).collect();
            jvms.sort_unstable();
            jvms.dedup();
            let each = jvms.iter().map(|jvm| {
                let of_jvm = due.iter().filter(|due| jvm_of(due.key) == Some(*jvm));
                let of_jvm: Vec<&ToRead> = of_jvm.copied().collect();
                async move {
                    self.measure(target, *jvm, &of_jvm, deadline)
                        .await
                        .into_iter()
                }
            });
            let mut read = join_all(each).await;
            // Back into the order that was asked in: each JVM's own order is kept.
            let mut next = |due: &&ToRead| {
                let nth = jvms.iter().position(|jvm| jvm_of(due.key) == Some(*jvm))?;
                read.get_mut(nth)?.next()
            };
            due.iter()
                .map(|due| next(due).unwrap_or_else(|| Measured::error("was not read")))
                .collect()
        }
        .boxed()
    }
}
