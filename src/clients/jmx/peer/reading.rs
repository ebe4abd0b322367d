//! Reading attributes over RMI, those of an MBean at once; and what reading from a Jolokia agent has in common with it.

use std::time::{Duration, Instant as Clock};

use tokio::time::{Instant, timeout_at};

use super::{Doubt, LONGEST_DOUBT, Line, Open, Peer, Terms, error};
use crate::clients::backoff::Backoff;
use crate::clients::jmx::datum::Datum;
use crate::clients::jmx::failure::{Failure, Thrown};
use crate::clients::jmx::session::Session;
use crate::clients::jmx::words::{explain, late, may_be_one};
use crate::clients::jmx::{Ask, Jvm, Told};

/// An attribute that did not come within it may never come.
const FAIR: Duration = Duration::from_millis(500);

/// Attributes by name, with the reason for each that could not be read.
type Values = Vec<(String, Result<Datum, Thrown>)>;

/// Attributes that are asked for together, by their place among all that are asked for.
pub(super) struct Group {
    /// Of the first.
    mbean: String,
    pub(super) asked: Vec<usize>,
    retried: bool,
}

impl Group {
    pub(super) fn of(mbean: &str, place: usize) -> Self {
        Self {
            mbean: mbean.to_owned(),
            asked: vec![place],
            retried: false,
        }
    }

    pub(super) fn asks<'a>(&self, asks: &'a [Ask]) -> impl Iterator<Item = &'a Ask> {
        self.asked.iter().filter_map(|place| asks.get(*place))
    }

    /// Whether all ask for the same attribute, by different members of it say.
    pub(super) fn is_one(&self, asks: &[Ask]) -> bool {
        let mut keys = self.asks(asks).map(key);
        let first = keys.next();
        keys.all(|other| Some(&other) == first.as_ref())
    }

    /// By MBean, and those of one MBean each attribute by itself; those that are to be asked first at the end.
    pub(super) fn split(self, asks: &[Ask]) -> Vec<Self> {
        let parted = |together: &dyn Fn(&Ask, &Ask) -> bool| {
            let mut parts = Vec::new();
            for place in &self.asked {
                join(&mut parts, asks, *place, together);
            }
            parts
        };
        let mut parts = parted(&|one, other| one.mbean == other.mbean);
        if parts.len() == 1 {
            parts = parted(&|one, other| key(one) == key(other));
        }
        parts.reverse();
        parts
    }
}

/// Adds an ask to the group that it belongs to, or to a new one.
fn join(
    groups: &mut Vec<Group>,
    asks: &[Ask],
    place: usize,
    together: impl Fn(&Ask, &Ask) -> bool,
) {
    let Some(ask) = asks.get(place) else {
        return;
    };
    let fits = |group: &&mut Group| {
        let first = group.asked.first().and_then(|first| asks.get(*first));
        first.is_some_and(|first| together(first, ask))
    };
    match groups.iter_mut().find(fits) {
        Some(group) => group.asked.push(place),
        None => groups.push(Group::of(&ask.mbean, place)),
    }
}

fn key(ask: &Ask) -> (String, String) {
    (ask.mbean.clone(), ask.attribute.clone())
}

impl Peer {
    pub(super) async fn read_rmi(&mut self, jvm: &Jvm, asks: &[Ask], terms: Terms) -> Vec<Told> {
        let mut told: Vec<Option<Told>> = vec![None; asks.len()];
        let together = |one: &Ask, other: &Ask| one.mbean == other.mbean;
        let mut groups = self.groups(asks, terms, &mut told, together);
        while let Some(group) = groups.pop() {
            let begun = Instant::now();
            if begun >= terms.deadline {
                break;
            }
            if let Err(why) = self.ensure(jvm, terms).await {
                // Nothing more is to be had of this JVM for now.
                let left = std::iter::once(group).chain(groups);
                let places = left.flat_map(|group| group.asked);
                places.for_each(|place| put(&mut told, place, Err(why.clone()), begun));
                break;
            }
            groups.extend(self.read_group(jvm, asks, group, terms, &mut told).await);
        }
        all(told)
    }

    /// Those that may be asked together, those that are to be asked first at the end; without those that are not to be asked now.
    pub(super) fn groups(
        &self,
        asks: &[Ask],
        terms: Terms,
        told: &mut [Option<Told>],
        together: impl Fn(&Ask, &Ask) -> bool,
    ) -> Vec<Group> {
        let (mut groups, mut guilty, mut suspected) = (Vec::new(), Vec::new(), Vec::new());
        for (place, ask) in asks.iter().enumerate() {
            let same = |one: &Ask, other: &Ask| key(one) == key(other) && together(one, other);
            match self.alone.get(&key(ask)) {
                Some(Doubt::Guilty(backoff)) => {
                    match backoff.refusal(Clock::now()).filter(|_| !terms.eager) {
                        Some(why) => put(told, place, Err(why), Instant::now()),
                        None => join(&mut guilty, asks, place, same),
                    }
                }
                Some(Doubt::Suspected) => join(&mut suspected, asks, place, same),
                None => join(&mut groups, asks, place, &together),
            }
        }
        let ordered = groups.into_iter().chain(suspected).chain(guilty);
        let mut ordered: Vec<Group> = ordered.collect();
        ordered.reverse();
        ordered
    }

    /// One of these stands in the way of the others: from now on, until it comes, each is asked by itself.
    pub(super) fn suspect(&mut self, asks: &[Ask], group: &Group) {
        for ask in group.asks(asks) {
            self.alone.entry(key(ask)).or_insert(Doubt::Suspected);
        }
    }

    /// This one does not come. One that is stuck may never come, for this reason: a thread of the JVM waits for it, so that it is asked ever
    /// more rarely.
    pub(super) fn convict(&mut self, ask: &Ask, never: Option<&str>) {
        let doubt = self.alone.entry(key(ask)).or_insert(Doubt::Suspected);
        if matches!(doubt, Doubt::Suspected) {
            *doubt = Doubt::Guilty(Backoff::new(self.options.backoff_first, LONGEST_DOUBT));
        }
        if let (Doubt::Guilty(backoff), Some(why)) = (doubt, never) {
            // Of several who asked for it at once, one counts.
            if backoff.refusal(Clock::now()).is_none() {
                backoff.failed(Clock::now(), rand::random(), why.to_owned());
            }
        }
    }

    /// It came.
    pub(super) fn acquit(&mut self, ask: &Ask) {
        if !self.alone.is_empty() {
            self.alone.remove(&key(ask));
        }
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
            self.suspect(asks, &group);
            return group.split(asks);
        }
        for place in group.asked {
            let Some(ask) = asks.get(place) else {
                continue;
            };
            let why = match &failure {
                Failure::Late => late(jvm, until - begun),
                failure => explain(failure, &group.mbean, &ask.attribute, jvm),
            };
            if failure.ends_connection() {
                let is_stuck = is_stuck(&failure, until - begun, ask.limit);
                self.convict(ask, is_stuck.then_some(&why));
            }
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
            self.acquit(ask);
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
}

/// Whether an attribute was waited for in vain for a fair time: all of its own, or what a short tick has left for it.
pub(super) fn is_stuck(failure: &Failure, waited: Duration, limit: Duration) -> bool {
    matches!(failure, Failure::Late) && waited >= FAIR.min(limit)
}

/// The answers, also for what there was no time to ask.
pub(super) fn all(told: Vec<Option<Told>>) -> Vec<Told> {
    let none = || error("was not read before the tick's time was over");
    told.into_iter()
        .map(|told| told.unwrap_or_else(none))
        .collect()
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

pub(super) fn put(
    told: &mut [Option<Told>],
    place: usize,
    outcome: Result<Datum, String>,
    begun: Instant,
) {
    if let Some(slot) = told.get_mut(place) {
        *slot = Some(Told {
            outcome,
            took: begun.elapsed(),
        });
    }
}
