//! What this process reads in a tick, kept as long as nothing changes: a tick of an unchanged fleet asks one number of the database and looks at
//! the profiles' files, and goes by what was worked out before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clients::descriptors;
use crate::collectors::{Descriptors, Plan, Target, owner};
use crate::db::Db;
use crate::error::Result;
use crate::models::revision;
use crate::triggers::evaluate::Rules;
use crate::vault::Vault;

/// How often files are compared by what is in them.
const CLOSE_LOOK: Duration = Duration::from_secs(60);
/// Shares kept: as many as there are different sets of due periods, and few of them at a time.
const SHARES: usize = 16;

/// What this process is to read in a tick.
#[derive(Clone)]
pub(super) struct Round {
    /// Nodes with their due series.
    pub targets: Arc<[Arc<Target>]>,
    /// How the breaches of what is read move.
    pub rules: Arc<Rules>,
    /// Of the fleet that it was worked out from.
    pub revision: i64,
}

/// Keeps plan, rules and shares; cheap to clone.
#[derive(Clone)]
pub(super) struct Plans {
    db: Db,
    vault: Vault,
    worker: String,
    tick_length_ms: i64,
    kept: Arc<Mutex<Option<Arc<Kept>>>>,
    /// Open files of a need that was said not to be met.
    lacking: Arc<AtomicU64>,
}

/// What holds for one revision of the fleet.
struct Kept {
    revision: i64,
    plan: Plan,
    rules: Arc<Rules>,
    looked_at: Mutex<Instant>,
    shares: Mutex<HashMap<Share, Arc<[Arc<Target>]>>>,
}

/// The periods that are due, and the processes that share.
type Share = (Vec<i64>, Vec<String>);

impl Plans {
    /// For the process of this name.
    pub fn new(db: Db, vault: Vault, worker: String, tick_length_ms: i64) -> Self {
        Self {
            db,
            vault,
            worker,
            tick_length_ms,
            kept: Arc::default(),
            lacking: Arc::default(),
        }
    }

    /// What this process reads in a tick that is shared among `members`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn round(&self, tick_ms: i64, members: Vec<String>) -> Result<Round> {
        let plans = self.clone();
        self.db
            .read(move |conn| {
                let revision = revision::current(conn)?;
                let kept = plans.kept().filter(|kept| kept.holds(revision));
                let kept = match kept {
                    Some(kept) => kept,
                    None => {
                        plans.count_descriptors(Descriptors::of_fleet(conn)?);
                        plans.keep(Kept {
                            revision,
                            plan: Plan::load(conn, &plans.vault)?,
                            rules: Arc::new(Rules::load(conn, plans.tick_length_ms)?),
                            looked_at: Mutex::new(Instant::now()),
                            shares: Mutex::default(),
                        })
                    }
                };
                Ok(Round {
                    targets: kept.share(tick_ms, members, &plans.worker),
                    rules: Arc::clone(&kept.rules),
                    revision: kept.revision,
                })
            })
            .await
    }

    /// Says that there are too few descriptors for the fleet, so that nodes will be out of reach that nothing is wrong with: once, and again
    /// when it has grown.
    fn count_descriptors(&self, fleet: Descriptors) {
        let Some(shortage) = descriptors::limit().and_then(|limit| fleet.shortage(limit)) else {
            self.lacking.store(0, Ordering::Relaxed);
            return;
        };
        if self.lacking.fetch_max(fleet.needed, Ordering::Relaxed) < fleet.needed {
            tracing::error!("too few open files: {shortage}");
        }
    }

    fn kept(&self) -> Option<Arc<Kept>> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, kept: Kept) -> Arc<Kept> {
        let kept = Arc::new(kept);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&kept));
        kept
    }
}

impl Kept {
    fn holds(&self, revision: i64) -> bool {
        let mut looked_at = self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let closely = looked_at.elapsed() >= CLOSE_LOOK;
        if closely {
            *looked_at = Instant::now();
        }
        self.revision == revision && self.plan.has_same_files(closely)
    }

    fn share(&self, tick_ms: i64, members: Vec<String>, worker: &str) -> Arc<[Arc<Target>]> {
        let share = (self.plan.periods_due(tick_ms), members);
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(targets) = shares.get(&share) {
            return Arc::clone(targets);
        }
        let members = share.1.as_slice();
        let alone = members == [worker];
        let is_mine = |target: &Target| alone || owner(target.node, members) == Some(worker);
        let targets: Arc<[Arc<Target>]> = self.plan.due(tick_ms, is_mine).into();
        if shares.len() >= SHARES {
            shares.clear();
        }
        shares.insert(share, Arc::clone(&targets));
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::cluster::{Cluster, NewCluster};
    use crate::models::counter::{Counter, NewCounter};
    use crate::models::node::{NewNode, Node, OWN_HOST};
    use crate::models::trigger::{NewTrigger, Trigger, set_counters};
    use crate::models::{ClusterId, Comparison, CounterKind, Missing, NodeState, TriggerId};

    const MINUTE_MS: i64 = 60_000;

    struct World {
        db: Db,
        cluster: ClusterId,
        trigger: TriggerId,
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("headroom.db");
            let db = Db::open(&format!("sqlite://{}", path.display())).unwrap();
            let (cluster, trigger) = db
                .write_blocking(|conn| {
                    let cluster = Cluster::insert(conn, &NewCluster::named("web", 0))?.id;
                    let trigger = NewTrigger {
                        timing_secs: Some(0),
                        ..NewTrigger::named("hot", cluster, 0)
                    };
                    Ok((cluster, Trigger::insert(conn, &trigger)?.id))
                })
                .unwrap();
            let world = Self {
                db,
                cluster,
                trigger,
                folder,
            };
            world.counters(&[None]);
            world
        }

        /// The trigger's counters, by their periods.
        fn counters(&self, every: &[Option<i64>]) {
            let counter = |(number, every_secs): (usize, &Option<i64>)| NewCounter {
                name: format!("counter{number}"),
                kind: CounterKind::Local,
                settings: r#"{"script":"echo 1"}"#.into(),
                comparison: Comparison::Greater,
                threshold: 4.0,
                unit: None,
                every_secs: *every_secs,
                timeout_secs: 10,
                missing: Missing::Hold,
                updated_ms: 0,
            };
            self.db
                .write_blocking(|conn| {
                    set_counters(conn, self.trigger, &[])?;
                    for old in Counter::all(conn)? {
                        Counter::delete(conn, old.id)?;
                    }
                    let mut ids = Vec::new();
                    for new in every.iter().enumerate().map(counter) {
                        ids.push(Counter::insert(conn, &new)?.id);
                    }
                    set_counters(conn, self.trigger, &ids)
                })
                .unwrap();
        }

        fn add_nodes(&self, numbers: std::ops::Range<usize>) {
            let node =
                |number| NewNode::in_service(format!("node{number:05}"), self.cluster, OWN_HOST, 0);
            self.db
                .write_blocking(|conn| {
                    for number in numbers {
                        Node::insert(conn, &node(number))?;
                    }
                    Ok(())
                })
                .unwrap();
        }

        fn plans(&self, worker: &str) -> Plans {
            let vault = Vault::open(&self.folder.path().join("master.key")).unwrap();
            Plans::new(self.db.clone(), vault, worker.into(), MINUTE_MS)
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    async fn sizes(plans: &Plans, minute: i64) -> Vec<usize> {
        let round = plans
            .round(minute * MINUTE_MS, names(&["a"]))
            .await
            .unwrap();
        round
            .targets
            .iter()
            .map(|target| target.reads.len())
            .collect()
    }

    #[tokio::test]
    async fn a_plan_lasts_until_the_fleet_changes_and_no_longer() {
        let world = World::new();
        world.add_nodes(0..2);
        let plans = world.plans("a");
        let round = async |minute| {
            plans
                .round(minute * MINUTE_MS, names(&["a"]))
                .await
                .unwrap()
        };
        let (first, second) = (round(1).await, round(2).await);
        assert_eq!(first.targets.len(), 2);
        assert!(Arc::ptr_eq(&first.targets, &second.targets));
        assert!(Arc::ptr_eq(&first.rules, &second.rules));

        let fire = |conn: &mut crate::db::Connection| Trigger::fire(conn, world.trigger, None, 5);
        assert!(world.db.write_blocking(fire).unwrap());
        assert!(
            Arc::ptr_eq(&first.targets, &round(3).await.targets),
            "a firing changes no definition"
        );
        world.add_nodes(2..3);
        assert_eq!(round(4).await.targets.len(), 3);
        let drain = |conn: &mut crate::db::Connection| -> Result<()> {
            let node = Node::by_name(conn, "node00000")?;
            let changed = NewNode {
                state: NodeState::Draining,
                ..node.as_new()
            };
            Node::update(conn, node.id, &changed)
        };
        world.db.write_blocking(drain).unwrap();
        assert_eq!(round(5).await.targets.len(), 2);
    }

    #[tokio::test]
    async fn each_tick_has_what_is_due_at_it() {
        let world = World::new();
        world.counters(&[None, Some(120), Some(300)]);
        world.add_nodes(0..1);
        let plans = world.plans("a");
        assert_eq!(sizes(&plans, 1).await, [1]);
        assert_eq!(sizes(&plans, 2).await, [2]);
        assert_eq!(sizes(&plans, 5).await, [2]);
        assert_eq!(sizes(&plans, 10).await, [3]);
        world.counters(&[Some(300)]);
        assert_eq!(sizes(&plans, 11).await, [0; 0]);
        assert_eq!(sizes(&plans, 15).await, [1]);
    }

    #[tokio::test]
    async fn processes_that_share_read_every_node_once() {
        let world = World::new();
        world.add_nodes(0..300);
        let mut read = Vec::new();
        for worker in ["a", "b", "c", "not on the list"] {
            let round = world.plans(worker).round(0, names(&["a", "b", "c"])).await;
            let targets = round.unwrap().targets;
            assert_eq!(targets.is_empty(), worker == "not on the list");
            read.extend(targets.iter().map(|target| target.node));
        }
        assert_eq!(read.len(), 300, "none twice");
        read.sort();
        read.dedup();
        assert_eq!(read.len(), 300, "each");
    }

    /// Prints what the plan of a large fleet costs; the bounds are far above what it takes.
    #[tokio::test]
    async fn a_tick_of_a_large_fleet_that_did_not_change_costs_next_to_nothing() {
        let world = World::new();
        world.counters(&[None; 5]);
        world.add_nodes(0..10_000);
        let plans = world.plans("a");
        let mut took = Vec::new();
        for minute in 0..50 {
            let begun = Instant::now();
            let round = plans
                .round(minute * MINUTE_MS, names(&["a"]))
                .await
                .unwrap();
            took.push(begun.elapsed());
            assert_eq!(round.targets.len(), 10_000);
        }
        let first = took.remove(0);
        took.sort();
        let median = took[took.len() / 2];
        println!("10 000 nodes x 5 counters: first plan {first:?}, then {median:?} a tick");
        assert!(median * 20 < first, "first {first:?}, then {median:?}");
    }
}
