//! WHEN: periods, the queue and the workers that it wakes. Glue around apalis; the rows in the database decide.

mod alive;
mod collect;
mod evaluate;
mod heartbeat;
mod inspect;
mod keep;
mod losses;
mod periodic;
mod plans;
mod prune;
pub mod queue;
mod run;
pub mod schedule;
pub mod supervise;

use futures::FutureExt as _;
pub use prune::forget_deleted;
use tokio::task::JoinSet;

use crate::app::App;
use collect::Collector;
use evaluate::Evaluator;
use schedule::{INSPECT, PRUNE, Role, SWEEP, TICK};
use supervise::Stop;

/// Runs the workers of these roles until `stop` is given and what they have begun is done.
pub async fn work(app: App, roles: Vec<Role>, stop: Stop) {
    // A task each: apalis asks its storage whenever it is polled, so that two workers in one task would wake each other without end.
    let mut workers = JoinSet::new();
    workers.spawn(heartbeat::beat(app.clone(), roles.clone(), stop.clone()));
    let decides = roles.contains(&Role::Evaluate);
    let ticking = app.for_ticks();
    let evaluator = Evaluator::new(ticking.clone());
    if roles.contains(&Role::Collect) {
        let collector = Collector::new(ticking.clone(), decides.then(|| evaluator.clone()));
        let tick = {
            let collector = collector.clone();
            move |_, tick_ms| collector.clone().tick(tick_ms)
        };
        workers.spawn(collector.clone().prepare());
        let every = periodic::every(ticking, TICK, stop.clone(), tick);
        workers.spawn(every.then(|()| collector.leave()));
    }
    if decides {
        workers.spawn(evaluate::serve_queue(app.clone(), evaluator, stop.clone()));
        workers.spawn(periodic::every(
            app.clone(),
            PRUNE,
            stop.clone(),
            prune::prune,
        ));
    }
    if roles.contains(&Role::Run) {
        let runner = run::Runner::new(&app, &stop);
        workers.spawn(run::serve_queue(app.clone(), runner.clone(), stop.clone()));
        workers.spawn(periodic::every(
            app.clone(),
            INSPECT,
            stop.clone(),
            inspect::inspect,
        ));
        let sweep = move |app, _tick| run::sweep(app, runner.clone());
        workers.spawn(periodic::every(app.clone(), SWEEP, stop.clone(), sweep));
    }
    while let Some(ended) = workers.join_next().await {
        if let Err(cause) = ended {
            tracing::error!(%cause, "a worker broke; restart Headroom and report this");
        }
    }
}
