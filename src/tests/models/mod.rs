//! Queries that several processes make at once, on both databases.

mod collection;
mod tasks;
mod workers;

use headroom::db::Db;
use tempfile::TempDir;

use crate::support::postgres::Postgres;

/// Tells a story to each database.
fn on_both(story: impl Fn(&Db)) {
    let folder = TempDir::with_prefix("headroom-models-").unwrap();
    let path = folder.path().join("headroom.db");
    story(&Db::open(&format!("sqlite://{}", path.display())).unwrap());

    let server = Postgres::start();
    story(&Db::open(&server.url()).unwrap());
}
