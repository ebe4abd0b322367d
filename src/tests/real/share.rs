//! Two processes that share the collecting: one is killed, comes back, and the other stands still for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use diesel::prelude::*;
use headroom::db::Db;
use headroom::schema::collections;
use serde_json::json;
use tempfile::TempDir;

use super::lab::{Lab, WHO};
use crate::support::process::Headroom;
use crate::support::redis::RedisServer;
use crate::support::wait;

const NODES: usize = 12;
const TICK_MS: u128 = 2_000;
/// Far more than it takes, for a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

/// One reading of a node, as the node saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Read {
    at_ms: u128,
    /// The port that the connection came from: which connection it was.
    port: String,
}

/// The readings of every node, in order.
type Reads = BTreeMap<String, Vec<Read>>;

struct Pair {
    lab: Lab,
    second: Headroom,
    db: Db,
    _redis: RedisServer,
    _folder: TempDir,
}

#[test]
fn a_share_is_taken_over_within_three_ticks_and_nothing_is_read_twice() {
    let mut pair = Pair::start();
    pair.until_shared_by(2);
    let begun_ms = now_ms();
    pair.until_read_since(begun_ms, 3);

    // One of the two dies.
    let shares = pair.connections(begun_ms);
    let killed_ms = now_ms();
    pair.second.kill();
    pair.until_shared_by(1);
    pair.until_read_since(now_ms(), 2);
    let after = pair.connections(now_ms() - TICK_MS);
    let moved = |(node, ports): &(String, BTreeSet<String>)| after[node] != *ports;
    let taken: BTreeSet<String> = shares
        .into_iter()
        .filter(moved)
        .map(|(node, _)| node)
        .collect();
    assert!(
        (1..NODES).contains(&taken.len()),
        "each had a share, and the survivor's connections stayed: {taken:?} moved"
    );
    for (node, reads) in pair.reads() {
        let before = reads
            .iter()
            .rev()
            .find(|read| read.at_ms < killed_ms)
            .unwrap();
        let next = reads.iter().find(|read| read.at_ms >= killed_ms).unwrap();
        let missed = tick(next) - tick(before) - 1;
        let limit = if taken.contains(&node) { 3 } else { 0 };
        assert!(missed <= limit, "{node} was not read for {missed} ticks");
    }

    // It comes back, and the other one stands still: it is taken for dead, and wakes up in the middle of a tick.
    pair.second.serve();
    pair.until_shared_by(2);
    // Not while it writes: it would keep the database locked.
    wait::until("a quiet moment", LIMIT, || {
        let (in_tick_ms, in_five_s) = (now_ms() % TICK_MS, now_ms() % 5_000);
        let quiet =
            in_tick_ms > 1_200 && in_tick_ms < 1_800 && in_five_s > 500 && in_five_s < 4_500;
        quiet.then_some(())
    });
    pair.lab.headroom.freeze();
    pair.until_shared_by(1);
    pair.until_read_since(now_ms(), 1);
    pair.lab.headroom.thaw();
    pair.until_shared_by(2);
    pair.until_read_since(now_ms(), 2);

    for (node, reads) in pair.reads() {
        for pair in reads.windows(2) {
            assert_ne!(
                tick(&pair[0]),
                tick(&pair[1]),
                "{node} was read twice: {pair:?}"
            );
        }
    }

    // One that ends in good order is not missed at all.
    let stopped_ms = now_ms();
    pair.second.stop();
    pair.until_read_since(stopped_ms + 2 * TICK_MS, 1);
    for (node, reads) in pair.reads() {
        let late: Vec<_> = reads
            .iter()
            .filter(|read| read.at_ms + 2 * TICK_MS > stopped_ms)
            .collect();
        for two in late.windows(2) {
            let missed = tick(two[1]) - tick(two[0]) - 1;
            assert!(missed <= 1, "{node} was not read for {missed} ticks");
        }
    }
    pair.lab.headroom.stop();
}

#[test]
fn a_process_that_crashed_and_was_started_again_does_not_wait_for_its_former_self() {
    let mut lab = Lab::new(2, &[]);
    lab.headroom.apply(&lab.fleet(json!([]), json!([])));
    lab.headroom.serve();
    let url = format!(
        "sqlite://{}",
        lab.headroom.file("data/headroom.db").display()
    );
    let db = Db::connect_only(&url).unwrap();
    let newest = || {
        let newest: Option<(i64, String)> = collections::table
            .order(collections::tick_ms.desc())
            .first(&mut *db.connection().unwrap())
            .optional()
            .unwrap();
        newest.map(|(tick_ms, _)| tick_ms).unwrap_or_default()
    };
    wait::until("a tick", LIMIT, || (newest() > 0).then_some(()));
    lab.headroom.kill();
    let killed_ms = newest();
    lab.headroom.serve();
    wait::until("a tick of the new process", LIMIT, || {
        (newest() > killed_ms).then_some(())
    });
    let lists: Vec<(i64, String)> = collections::table
        .filter(collections::tick_ms.gt(killed_ms))
        .load(&mut *db.connection().unwrap())
        .unwrap();
    for (_, members) in lists {
        assert_eq!(members.matches(',').count(), 0, "{members}");
    }
    lab.headroom.stop();
}

impl Pair {
    fn start() -> Self {
        let folder = TempDir::with_prefix("headroom-share-").unwrap();
        let redis = RedisServer::start();
        let url = format!("sqlite://{}", folder.path().join("headroom.db").display());
        let key = folder.path().join("master.key").display().to_string();
        let redis_url = redis.url();
        let settings = [
            ("DATABASE_URL", url.as_str()),
            ("REDIS_URL", &redis_url),
            ("HEADROOM_MASTER_KEY_FILE", &key),
            ("HEADROOM_TICK", "2s"),
        ];
        let mut lab = Lab::new(NODES, &settings);
        let mut second = Headroom::new(&settings);
        let reads = lab.shared().join("reads").display().to_string();
        let script = format!("{WHO}; echo $who $2 $(date +%s%3N) >> {reads}; echo 1");
        fs::write(&reads, "").unwrap();
        fs::set_permissions(&reads, fs::Permissions::from_mode(0o666)).unwrap();
        let mut fleet: serde_json::Value =
            serde_json::from_str(&lab.fleet(json!([]), json!([]))).unwrap();
        fleet["counters"] = json!([
            {"name": "load", "kind": "ssh", "script": script, "comparison": ">", "threshold": 10}
        ]);
        fleet["actions"] = json!([{"name": "tell", "kind": "Email", "address": "a@example.org", "title": "t", "content": "c"}]);
        fleet["triggers"] = json!([{
            "name": "hot", "cluster": "web", "counters": ["load"], "timing": "5m",
            "steps": [{"action": "tell", "target": "none"}],
        }]);
        lab.headroom.apply(&fleet.to_string());
        lab.headroom.serve();
        second.serve();
        Self {
            lab,
            second,
            db: Db::connect_only(&url).unwrap(),
            _redis: redis,
            _folder: folder,
        }
    }

    /// Waits for a tick that is shared by so many.
    fn until_shared_by(&self, count: usize) {
        let begun_ms = i64::try_from(now_ms()).unwrap();
        wait::until(&format!("a tick shared by {count}"), LIMIT, || {
            let newest: Option<(i64, String)> = collections::table
                .order(collections::tick_ms.desc())
                .first(&mut *self.db.connection().unwrap())
                .optional()
                .unwrap();
            let (tick_ms, members) = newest?;
            let members: Vec<String> = serde_json::from_str(&members).unwrap();
            (tick_ms > begun_ms && members.len() == count).then_some(())
        });
    }

    /// Waits until every node was read so often since then.
    fn until_read_since(&self, since_ms: u128, times: usize) {
        wait::until("every node to be read", LIMIT, || {
            let reads = self.reads();
            let enough = |reads: &Vec<Read>| {
                reads.iter().filter(|read| read.at_ms >= since_ms).count() >= times
            };
            (reads.len() == NODES && reads.values().all(enough)).then_some(())
        });
    }

    /// The connections that each node was read over since then.
    fn connections(&self, since_ms: u128) -> BTreeMap<String, BTreeSet<String>> {
        let ports = |reads: Vec<Read>| {
            let late = reads.into_iter().filter(|read| read.at_ms >= since_ms);
            late.map(|read| read.port).collect()
        };
        self.reads()
            .into_iter()
            .map(|(node, reads)| (node, ports(reads)))
            .collect()
    }

    fn reads(&self) -> Reads {
        let text = fs::read_to_string(self.lab.shared().join("reads")).unwrap();
        let mut reads = Reads::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            // The last line may be half written.
            if let [node, port, at_ms] = words[..]
                && let Ok(at_ms) = at_ms.parse()
            {
                reads.entry(node.into()).or_default().push(Read {
                    at_ms,
                    port: port.into(),
                });
            }
        }
        for reads in reads.values_mut() {
            reads.sort();
        }
        reads
    }
}

/// The tick in whose time a reading was made.
fn tick(read: &Read) -> u128 {
    read.at_ms / TICK_MS
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis()
}
