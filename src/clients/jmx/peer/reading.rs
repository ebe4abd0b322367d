//! Reading attributes: by MBean over RMI, all at once from a Jolokia agent.

use std::time::Instant as Clock;

use tokio::time::{Instant, timeout_at};

use super::{Line, Open, Peer, Terms, error};
use crate::clients::jmx::datum::Datum;
use crate::clients::jmx::failure::{Failure, Thrown};
use crate::clients::jmx::session::Session;
use crate::clients::jmx::words::{explain, late, may_be_one};
use crate::clients::jmx::{Ask, Jvm, Told};

/// Attributes by name, with the reason for each that could not be read.
type Values = Vec<(String, Result<Datum, Thrown>)>;

/// Attributes of one MBean, by their place among all that are asked for.
struct Group {
    mbean: String,
    asked: Vec<usize>,
    retried: bool,
}

impl Group {
    fn of(mbean: &str, place: usize) -> Self {
        Self {
            mbean: mbean.to_owned(),
            asked: vec![place],
            retried: false,
        }
    }
}

fn key(ask: &Ask) -> (String, String) {
    (ask.mbean.clone(), ask.attribute.clone())
}

impl Peer {
    pub(super) async fn read_rmi(&mut self, jvm: &Jvm, asks: &[Ask], terms: Terms) -> Vec<Told> {
        let mut told: Vec<Option<Told>> = vec![None; asks.len()];
        let mut groups = self.groups(asks);
        while let Some(group) = groups.pop() {
            let begun = Instant::now();
            if let Err(why) = self.ensure(jvm, terms).await {
                // Nothing more is to be had of this JVM for now.
                let left = std::iter::once(group).chain(groups);
                let places = left.flat_map(|group| group.asked);
                places.for_each(|place| put(&mut told, place, Err(why.clone()), begun));
                break;
            }
            groups.extend(self.read_group(jvm, asks, group, terms, &mut told).await);
        }
        let none = || error("was not read before the tick's time was over");
        told.into_iter()
            .map(|told| told.unwrap_or_else(none))
            .collect()
    }

    /// By MBean, those that are to be asked first at the end.
    fn groups(&self, asks: &[Ask]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        let mut loners = Vec::new();
        for (place, ask) in asks.iter().enumerate() {
            let new = || Group::of(&ask.mbean, place);
            if self.alone.contains(&key(ask)) {
                loners.push(new());
                continue;
            }
            match groups.iter_mut().find(|group| group.mbean == ask.mbean) {
                Some(group) => group.asked.push(place),
                None => groups.push(new()),
            }
        }
        loners.into_iter().chain(groups.into_iter().rev()).collect()
    }

    /// Reads the attributes of one MBean in one call; gives back what is to be asked again, in another way.
    async fn read_group(
        &mut self,
        jvm: &Jvm,
        asks: &[Ask],
        group: Group,
        terms: Terms,
        told: &mut [Option<Told>],
    ) -> Vec<Group> {
        let Some(Open {
            line: Line::Rmi(session),
            fresh,
            ..
        }) = &mut self.open
        else {
            return Vec::new();
        };
        let (fresh, begun) = (*fresh, Instant::now());
        let of_group = || group.asked.iter().filter_map(|place| asks.get(*place));
        let mut names: Vec<&str> = of_group().map(|ask| ask.attribute.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let limit = of_group().map(|ask| ask.limit).max().unwrap_or_default();
        let until = terms.deadline.min(begun + limit);
        let call = values(session, &group.mbean, &names);
        let failure = match timeout_at(until, call).await.unwrap_or(Err(Failure::Late)) {
            Ok(values) => {
                self.settle(jvm, asks, &group, &values, begun, told);
                return Vec::new();
            }
            Err(failure) => failure,
        };
        if self.lost(&failure) && !fresh && !group.retried {
            return vec![Group {
                retried: true,
                ..group
            }];
        }
        // One attribute that is slow, or whose value cannot be sent, takes the others of its MBean with it: each by itself then.
        if names.len() > 1 && may_be_one(&failure) {
            let single = |place: &usize| Group::of(&group.mbean, *place);
            return group.asked.iter().rev().map(single).collect();
        }
        for place in group.asked {
            let Some(ask) = asks.get(place) else {
                continue;
            };
            if failure.ends_connection() {
                self.alone.insert(key(ask));
            }
            let why = match &failure {
                Failure::Late => late(jvm, until - begun),
                failure => explain(failure, &group.mbean, &ask.attribute, jvm),
            };
            put(told, place, Err(why), begun);
        }
        Vec::new()
    }

    /// Notes what one call came to.
    fn settle(
        &mut self,
        jvm: &Jvm,
        asks: &[Ask],
        group: &Group,
        values: &Values,
        begun: Instant,
        told: &mut [Option<Told>],
    ) {
        for place in &group.asked {
            let Some(ask) = asks.get(*place) else {
                continue;
            };
            if !self.alone.is_empty() {
                self.alone.remove(&key(ask));
            }
            let found = values.iter().find(|(name, _)| *name == ask.attribute);
            let outcome = match found {
                Some((_, Ok(value))) => Ok(value.clone()),
                Some((name, Err(thrown))) => {
                    let failure = Failure::Thrown(thrown.clone());
                    Err(explain(&failure, &group.mbean, name, jvm))
                }
                None => Err("the JVM gave no value".to_owned()),
            };
            put(told, *place, outcome, begun);
        }
    }

    pub(super) async fn read_jolokia(
        &mut self,
        jvm: &Jvm,
        asks: &[Ask],
        terms: Terms,
    ) -> Vec<Told> {
        let begun = Instant::now();
        let limit = asks.iter().map(|ask| ask.limit).max().unwrap_or_default();
        let until = terms.deadline.min(begun + limit);
        let all = |why: String| {
            let told = asks.iter().map(|_| error(&why));
            told.collect::<Vec<Told>>()
        };
        // No connection is made yet, so that the pause after a failure is kept here.
        if let Some(why) = self.backoff.refusal(Clock::now())
            && !terms.eager
        {
            return all(why);
        }
        let agent = match self.ensure(jvm, terms).await {
            Ok(Open {
                line: Line::Jolokia(agent),
                ..
            }) => agent,
            Ok(_) => return all("not connected".into()),
            Err(why) => return all(why),
        };
        let wanted: Vec<(&str, &str)> = asks
            .iter()
            .map(|ask| (ask.mbean.as_str(), ask.attribute.as_str()))
            .collect();
        let work = agent.attributes(jvm.credentials.as_ref(), &wanted);
        match timeout_at(until, work).await.unwrap_or(Err(Failure::Late)) {
            Ok(values) => {
                self.backoff.succeeded();
                let told = |(ask, value): (&Ask, Result<Datum, Failure>)| Told {
                    outcome: value
                        .map_err(|failure| explain(&failure, &ask.mbean, &ask.attribute, jvm)),
                    took: begun.elapsed(),
                };
                asks.iter().zip(values).map(told).collect()
            }
            Err(failure) => {
                let why = match &failure {
                    Failure::Late => late(jvm, until - begun),
                    other => other.to_string(),
                };
                self.backoff
                    .failed(Clock::now(), rand::random(), why.clone());
                all(why)
            }
        }
    }
}

/// The values of some attributes, with the reason for each that the JVM left out.
async fn values(session: &mut Session, mbean: &str, names: &[&str]) -> Result<Values, Failure> {
    let found = session.attributes(mbean, names).await?;
    let mut values: Values = found
        .into_iter()
        .map(|(name, value)| (name, Ok(value)))
        .collect();
    for name in names {
        if values.iter().any(|(known, _)| known == name) {
            continue;
        }
        let value = match session.attribute(mbean, name).await {
            Ok(value) => Ok(value),
            Err(Failure::Thrown(thrown)) => Err(thrown),
            Err(other) => return Err(other),
        };
        values.push(((*name).to_owned(), value));
    }
    Ok(values)
}

fn put(told: &mut [Option<Told>], place: usize, outcome: Result<Datum, String>, begun: Instant) {
    if let Some(slot) = told.get_mut(place) {
        *slot = Some(Told {
            outcome,
            took: begun.elapsed(),
        });
    }
}
