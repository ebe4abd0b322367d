//! The breaker of a cluster, as its page shows it, and the button that closes it.

use actix_web::web::{Form, Path};

use crate::models::breaker::Breaker;
use crate::models::cluster::Cluster;
use crate::models::{BreakerState, RunId};
use crate::web::error::Answer;
use crate::web::pages::Visit;
use crate::web::pages::decide::Because;
use crate::web::pages::now::{Gathered, Item};
use crate::web::stops;
use crate::web::view::{Badge, Moment, Status};

/// A breaker that has something to say.
pub struct BreakerLine {
    /// Whether launches are let through.
    pub badge: Badge,
    /// Whether a person can close it.
    pub open: bool,
    /// Launches in a row that gave no node.
    pub failures: i32,
    /// Why the last of them did not.
    pub reason: String,
    /// When it opened.
    pub since: Option<Moment>,
    /// When one may try.
    pub until: Option<Moment>,
    /// The run that is let through on trial.
    pub canary: Option<RunId>,
}

impl BreakerLine {
    /// The line of a breaker; none while all is well.
    pub fn of(breaker: &Breaker, cluster: &Cluster, now_ms: i64) -> Option<Self> {
        let badge = match breaker.state {
            BreakerState::Closed if breaker.failures == 0 => return None,
            BreakerState::Closed => Status::Pending.says("closed"),
            BreakerState::Open => Status::Firing.says("open"),
            BreakerState::HalfOpen => Status::Pending.says("half open"),
        };
        let cooldown_ms = cluster.breaker_cooldown_secs.saturating_mul(1000);
        let open = breaker.state == BreakerState::Open;
        let since_ms = breaker.opened_ms;
        Some(Self {
            badge,
            open: breaker.state != BreakerState::Closed,
            failures: breaker.failures,
            reason: breaker.reason.clone(),
            since: since_ms.map(|at_ms| Moment::new(at_ms, now_ms)),
            until: since_ms
                .map(|at_ms| at_ms.saturating_add(cooldown_ms))
                .filter(|at_ms| open && *at_ms > now_ms)
                .map(|at_ms| Moment::new(at_ms, now_ms)),
            canary: breaker.canary_run_id,
        })
    }
}

/// Clusters that may not launch, since launches gave no node.
pub fn items(gathered: &Gathered) -> Vec<Item> {
    let open = gathered
        .breakers
        .iter()
        .filter(|breaker| breaker.state != BreakerState::Closed);
    open.filter_map(|breaker| {
        let mut clusters = gathered.inventory.clusters.iter();
        let cluster = clusters.find(|cluster| cluster.id == breaker.cluster_id)?;
        let text = format!(
            "nothing launches here: {} launches in a row gave no node, the last one: {}",
            breaker.failures, breaker.reason
        );
        Some(Item {
            badge: Status::Firing.says("breaker open"),
            subject: format!("Cluster {}", cluster.name),
            href: format!("/clusters/{}#breaker", cluster.name),
            text,
            at_ms: breaker.opened_ms,
        })
    })
    .collect()
}

/// `POST /clusters/{name}/breaker/close`.
///
/// # Errors
/// There is no such cluster, or the database fails.
pub async fn close(visit: Visit, name: Path<String>, form: Form<Because>) -> Answer {
    let name = name.into_inner();
    let reason = form.into_inner().given();
    let closed = stops::close_breaker(&visit.app, &visit.caller, name.clone(), reason).await;
    visit.changed().await;
    let said = |()| format!("The breaker is closed: {name} may launch again.");
    visit.went(&format!("/clusters/{name}"), closed.map(said))
}
