//! Series of what was deleted.

use std::time::Duration;

use headroom::jobs::forget_deleted;
use headroom::models::JvmProfileId;
use headroom::models::action::Action;
use headroom::models::counter::Counter;
use headroom::models::node::Node;
use headroom::models::trigger::Trigger;
use headroom::samples::{SeriesKey, Store};

use super::{DAY_MS, value};
use crate::support::redis::RedisServer;
use crate::triggers::site::{Site, WEB};

async fn series_of_what_was_deleted_are_forgotten_and_no_others(site: &Site, store: &Store) {
    let [gone, stays] =
        ["web01", "web02"].map(|name| site.conn(|conn| Node::by_name(conn, name)).id);
    let trigger = site.trigger("web-hot").id;
    let counter = site.conn(|conn| Counter::by_name(conn, "load1")).id;
    let jvm = JvmProfileId(1);
    let on = |node| SeriesKey::Ssh { node, counter };
    let mean = SeriesKey::Average { trigger, counter };
    let of_no_jvm = SeriesKey::Jmx {
        node: stays,
        jvm,
        counter,
    };
    let left = async || {
        let keys = [on(gone), on(stays), of_no_jvm, mean];
        let states = store.states(&keys).await.unwrap();
        states.iter().map(Option::is_some).collect::<Vec<_>>()
    };
    let batch = [on(gone), on(stays), of_no_jvm, mean].map(|key| value(key, DAY_MS, 1.0));
    store.write(&batch).await.unwrap();

    let forget = || forget_deleted(&site.bench.db, store);
    assert_eq!(forget().await.unwrap(), 1);
    assert_eq!(left().await, [true, true, false, true]);
    site.conn(|conn| Node::delete(conn, gone));
    assert_eq!(forget().await.unwrap(), 1);
    assert_eq!(left().await, [false, true, false, true]);
    site.conn(|conn| Trigger::delete(conn, trigger));
    assert_eq!(forget().await.unwrap(), 1);
    assert_eq!(left().await, [false, true, false, false]);
    site.conn(|conn| {
        let action = Action::by_name(conn, "tell")?.id;
        Action::delete(conn, action)?;
        Counter::delete(conn, counter)
    });
    assert_eq!(forget().await.unwrap(), 1);
    assert_eq!(left().await, [false; 4]);
    assert_eq!(forget().await.unwrap(), 0);
}

#[tokio::test]
async fn of_the_embedded_store() {
    let site = Site::sqlite(WEB);
    let store = site.store.clone();
    series_of_what_was_deleted_are_forgotten_and_no_others(&site, &store).await;
}

#[tokio::test]
async fn of_redis_with_postgres_for_the_definitions() {
    let site = Site::postgres(WEB);
    let server = RedisServer::start();
    let store = Store::redis(&server.url(), "headroom:", Duration::from_hours(24)).unwrap();
    series_of_what_was_deleted_are_forgotten_and_no_others(&site, &store).await;
}
