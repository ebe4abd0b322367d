//! WHEN: periods, the queue and the workers that it wakes. Glue around apalis; the rows in the database decide.

mod collect;
mod evaluate;
mod heartbeat;
mod periodic;
mod prune;
pub mod queue;
mod run;
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
    if roles.contains(&Role::Collect) {
        let decides = roles.contains(&Role::Evaluate);
        let tick = move |app, tick_ms| collect::tick(app, tick_ms, decides);
        workers.push(periodic::every(app.clone(), TICK, stop.clone(), tick).boxed());
    }
    if roles.contains(&Role::Evaluate) {
        workers.push(evaluate::serve_queue(app.clone(), stop.clone()).boxed());
        workers.push(periodic::every(app.clone(), PRUNE, stop.clone(), prune::prune).boxed());
    }
    if roles.contains(&Role::Run) {
        let runner = run::Runner::new(&app, &stop);
        workers.push(run::serve_queue(app.clone(), runner.clone(), stop.clone()).boxed());
        let sweep = move |app, _tick| run::sweep(app, runner.clone());
        workers.push(periodic::every(app.clone(), SWEEP, stop.clone(), sweep).boxed());
    }
    join_all(workers).await;
}
