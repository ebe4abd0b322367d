//! A database with a cluster of one node, a counter and a trigger that mails.

use tempfile::TempDir;

use crate::db::Db;
use crate::models::action::{Action, NewAction};
use crate::models::cluster::{Cluster, NewCluster};
use crate::models::counter::{Counter, NewCounter};
use crate::models::node::{NewNode, Node, OWN_HOST};
use crate::models::step::{NewStep, Step};
use crate::models::trigger::{NewTrigger, Trigger, set_counters};
use crate::models::{ActionId, ClusterId, Comparison, CounterId, CounterKind, Missing, StepTarget};

pub(super) struct Home {
    pub db: Db,
    pub cluster: ClusterId,
    pub counter: CounterId,
    pub action: ActionId,
    pub trigger: Trigger,
    _folder: TempDir,
}

impl Home {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headroom.db");
        let db = Db::open(&format!("sqlite://{}", path.display())).unwrap();
        let conn = &mut *db.connection().unwrap();
        let cluster = NewCluster::named("web", 0);
        let cluster = Cluster::insert(conn, &cluster).unwrap().id;
        let action = NewAction {
            name: "tell".into(),
            kind: "Email".into(),
            settings: "{}".into(),
            timeout_secs: None,
            retries: None,
            updated_ms: 0,
        };
        let counter = NewCounter {
            name: "load1".into(),
            kind: CounterKind::Local,
            settings: "{}".into(),
            comparison: Comparison::Greater,
            threshold: 4.0,
            unit: None,
            every_secs: None,
            timeout_secs: 10,
            missing: Missing::Hold,
            updated_ms: 0,
        };
        let action = Action::insert(conn, &action).unwrap().id;
        let counter = Counter::insert(conn, &counter).unwrap().id;
        let trigger = new_trigger("web-hot", cluster);
        let home = Self {
            cluster,
            counter,
            action,
            trigger: Trigger::insert(conn, &trigger).unwrap(),
            db,
            _folder: folder,
        };
        home.equip(&home.trigger);
        home.add_node("web01");
        home
    }

    pub fn new_trigger(&self, name: &str) -> NewTrigger {
        new_trigger(name, self.cluster)
    }

    pub fn add_trigger(&self, name: &str) -> Trigger {
        let conn = &mut *self.db.connection().unwrap();
        let trigger = Trigger::insert(conn, &self.new_trigger(name)).unwrap();
        self.equip(&trigger);
        trigger
    }

    pub fn add_node(&self, name: &str) -> Node {
        let node = NewNode::in_service(name, self.cluster, OWN_HOST, 0);
        Node::insert(&mut self.db.connection().unwrap(), &node).unwrap()
    }

    fn equip(&self, trigger: &Trigger) {
        let step = NewStep {
            trigger_id: trigger.id,
            position: 1,
            name: "tell".into(),
            action_id: self.action,
            target: StepTarget::None,
            depends_on: None,
            approval_secs: None,
        };
        let conn = &mut *self.db.connection().unwrap();
        Step::replace_all(conn, trigger.id, &[step]).unwrap();
        set_counters(conn, trigger.id, &[self.counter]).unwrap();
    }
}

fn new_trigger(name: &str, cluster: ClusterId) -> NewTrigger {
    NewTrigger {
        timing_secs: Some(0),
        ..NewTrigger::named(name, cluster, 0)
    }
}
