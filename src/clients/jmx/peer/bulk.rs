//! Reading attributes from a Jolokia agent: all in one request, until one of them stands in the way of the others.

use std::time::Instant as Clock;

use tokio::time::{Instant, timeout_at};

use super::reading::{Group, all, is_stuck, put};
use super::{Line, Open, Peer, SHORT, Terms, error};
use crate::clients::jmx::datum::Datum;
use crate::clients::jmx::failure::Failure;
use crate::clients::jmx::jolokia::Jolokia;
use crate::clients::jmx::words::{explain, late};
use crate::clients::jmx::{Ask, Jvm, Told};

/// Why one request gave nothing.
struct Failed {
    failure: Failure,
    begun: Instant,
    until: Instant,
}

impl Peer {
    pub(super) async fn read_jolokia(
        &mut self,
        jvm: &Jvm,
        asks: &[Ask],
        terms: Terms,
    ) -> Vec<Told> {
        // No connection is made yet, so that the pause after a failure is kept here.
        let pause = self.backoff.refusal(Clock::now()).filter(|_| !terms.eager);
        let ready = match pause {
            Some(why) => Err(why),
            None => self.ensure(jvm, terms).await.map(drop),
        };
        if let Err(why) = ready {
            return asks.iter().map(|_| error(&why)).collect();
        }
        let mut told: Vec<Option<Told>> = vec![None; asks.len()];
        // A request has one time limit, and nobody is to wait for the longer one of another.
        let together = |one: &Ask, other: &Ask| one.limit == other.limit;
        let mut groups = self.groups(asks, terms, &mut told, together);
        let mut alive = false;
        while let Some(group) = groups.pop() {
            let begun = Instant::now();
            if begun >= terms.deadline {
                break;
            }
            let limit = group.asks(asks).map(|ask| ask.limit).max();
            let until = terms.deadline.min(begun + limit.unwrap_or_default());
            let failure = match self.ask_agent(jvm, asks, &group, until).await {
                Ok(values) => {
                    alive = true;
                    self.backoff.succeeded();
                    self.settle_bulk(jvm, asks, &group, values, begun, &mut told);
                    continue;
                }
                Err(failure) => failure,
            };
            let failed = Failed {
                failure,
                begun,
                until,
            };
            alive = alive || self.is_alive(jvm, &failed.failure, terms).await;
            if alive {
                groups.extend(self.single_out(jvm, asks, group, &failed, &mut told));
                continue;
            }
            let why = match &failed.failure {
                Failure::Late => late(jvm, until - begun),
                other => other.to_string(),
            };
            let left = std::iter::once(group).chain(groups);
            let places = left.flat_map(|group| group.asked);
            places.for_each(|place| put(&mut told, place, Err(why.clone()), begun));
            self.backoff.failed(Clock::now(), rand::random(), why);
            self.forget_doubts();
            break;
        }
        all(told)
    }

    fn agent(&self) -> Result<&Jolokia, Failure> {
        match &self.open {
            Some(Open {
                line: Line::Jolokia(agent),
                ..
            }) => Ok(agent),
            _ => Err(Failure::Refused("not connected".into())),
        }
    }

    /// One request for a group; the values are in its order.
    async fn ask_agent(
        &self,
        jvm: &Jvm,
        asks: &[Ask],
        group: &Group,
        until: Instant,
    ) -> Result<Vec<Result<Datum, Failure>>, Failure> {
        let wanted = group.asks(asks);
        let wanted: Vec<(&str, &str)> = wanted
            .map(|ask| (ask.mbean.as_str(), ask.attribute.as_str()))
            .collect();
        let work = self.agent()?.attributes(jvm.credentials.as_ref(), &wanted);
        timeout_at(until, work).await.unwrap_or(Err(Failure::Late))
    }

    /// Whether the agent answers although a request failed.
    async fn is_alive(&self, jvm: &Jvm, failure: &Failure, terms: Terms) -> bool {
        match failure {
            Failure::Garbled(_) | Failure::Aborted(_) | Failure::Thrown(_) => true,
            Failure::Lost(_) | Failure::NotTls(_) | Failure::Refused(_) => false,
            Failure::Late => {
                let now = Instant::now();
                let Ok(agent) = self.agent() else {
                    return false;
                };
                // That the tick is over is no fault of the agent's.
                if now >= terms.deadline {
                    return true;
                }
                let until = terms.deadline.min(now + SHORT);
                let pinged = timeout_at(until, agent.ping(jvm.credentials.as_ref())).await;
                matches!(pinged, Ok(Ok(()) | Err(Failure::Thrown(_))))
            }
        }
    }

    /// Notes a request that failed; gives back what is to be asked again, in another way.
    fn single_out(
        &mut self,
        jvm: &Jvm,
        asks: &[Ask],
        group: Group,
        failed: &Failed,
        told: &mut [Option<Told>],
    ) -> Vec<Group> {
        let is_one = group.is_one(asks);
        for place in &group.asked {
            let Some(ask) = asks.get(*place) else {
                continue;
            };
            let why = match &failed.failure {
                Failure::Late => late(jvm, failed.until - failed.begun),
                failure => explain(failure, &ask.mbean, &ask.attribute, jvm),
            };
            if is_one {
                let waited = failed.until - failed.begun;
                let is_stuck = is_stuck(&failed.failure, waited, ask.limit);
                self.convict(ask, is_stuck.then_some(&why));
            }
            put(told, *place, Err(why), failed.begun);
        }
        if is_one {
            return Vec::new();
        }
        self.suspect(asks, &group);
        group.split(asks)
    }

    /// Notes what one request came to.
    fn settle_bulk(
        &mut self,
        jvm: &Jvm,
        asks: &[Ask],
        group: &Group,
        values: Vec<Result<Datum, Failure>>,
        begun: Instant,
        told: &mut [Option<Told>],
    ) {
        for (place, value) in group.asked.iter().zip(values) {
            let Some(ask) = asks.get(*place) else {
                continue;
            };
            self.acquit(ask);
            let why = |failure| explain(&failure, &ask.mbean, &ask.attribute, jvm);
            put(told, *place, value.map_err(why), begun);
        }
    }
}
