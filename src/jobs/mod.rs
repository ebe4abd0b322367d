//! WHEN: periods, the queue and the workers that it wakes. Glue around apalis; the rows in the database decide.

mod heartbeat;
mod periodic;
mod prune;
pub mod queue;
pub mod schedule;
pub mod supervise;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use crate::app::App;
use schedule::{PRUNE, Role, SWEEP, TICK};
use supervise::Stop;

/// Runs the workers of these roles until `stop` is given and what they have begun is done.
pub async fn work(app: App, roles: Vec<Role>, stop: Stop) {
    let mut workers: Vec<BoxFuture<'static, ()>> = Vec::new();
    workers.push(heartbeat::beat(app.clone(), roles.clone(), stop.clone()).boxed());
    if roles.contains(&Role::Evaluate) {
        workers.push(periodic::every(app.clone(), PRUNE, stop.clone(), prune::prune).boxed());
    }
    join_all(workers).await;
}
