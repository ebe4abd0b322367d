//! Slows guessing of passwords down: after some failures, the next attempt must wait, longer each time, per user and per address.
//!
//! A wait is answered at once (429 with `Retry-After`), so it holds no connection and costs no hashing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures without a wait.
const FREE_FAILURES: u32 = 5;
/// A user's wait stays short, so that a stranger cannot lock them out for long by failing in their name.
const LONGEST_USER_WAIT_MS: i64 = 30_000;
/// An address' wait grows to this.
const LONGEST_ADDRESS_WAIT_MS: i64 = 15 * 60_000;
/// Failures older than this are forgotten.
const MEMORY_MS: i64 = 30 * 60_000;
/// How many users and addresses are remembered.
const CAPACITY: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    User(String),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last_ms: i64,
}

/// The failures of late.
#[derive(Debug, Default)]
pub struct Throttle {
    failures: Mutex<HashMap<Key, Failures>>,
}

impl Throttle {
    /// How many milliseconds must pass before the next attempt; zero = go ahead.
    pub fn wait_ms(&self, user: &str, address: IpAddr, now_ms: i64) -> i64 {
        let failures = self.lock();
        keys(user, address)
            .iter()
            .filter_map(|key| failures.get(key).map(|past| (key, past)))
            .map(|(key, past)| past.last_ms + pause_ms(key, past.count) - now_ms)
            .max()
            .unwrap_or(0)
            .max(0)
    }

    /// An attempt failed.
    pub fn failed(&self, user: &str, address: IpAddr, now_ms: i64) {
        let mut failures = self.lock();
        if failures.len() >= CAPACITY {
            failures.retain(|_, past| now_ms - past.last_ms < MEMORY_MS);
        }
        if failures.len() >= CAPACITY {
            forget_oldest(&mut failures);
        }
        for key in keys(user, address) {
            let past = failures.entry(key).or_insert(Failures {
                count: 0,
                last_ms: now_ms,
            });
            if now_ms - past.last_ms >= MEMORY_MS {
                past.count = 0;
            }
            past.count = past.count.saturating_add(1);
            past.last_ms = now_ms;
        }
    }

    /// An attempt succeeded: the user starts afresh. The address does not, else an owner of one account could clear it between guesses at others.
    pub fn succeeded(&self, user: &str) {
        self.lock().remove(&Key::User(user.to_owned()));
    }

    /// A panic elsewhere leaves plain numbers behind, so the poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keys(user: &str, address: IpAddr) -> [Key; 2] {
    [Key::User(user.to_owned()), Key::Address(address)]
}

/// 1 s after the free failures, then doubling.
fn pause_ms(key: &Key, count: u32) -> i64 {
    if count < FREE_FAILURES {
        return 0;
    }
    let longest = match key {
        Key::User(_) => LONGEST_USER_WAIT_MS,
        Key::Address(_) => LONGEST_ADDRESS_WAIT_MS,
    };
    let doublings = (count - FREE_FAILURES).min(20);
    (1_000_i64 << doublings).min(longest)
}

fn forget_oldest(failures: &mut HashMap<Key, Failures>) {
    let mut times: Vec<i64> = failures.values().map(|past| past.last_ms).collect();
    times.sort_unstable();
    let bound = times.get(times.len() / 10).copied().unwrap_or(i64::MAX);
    failures.retain(|_, past| past.last_ms > bound);
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn five_failures_are_free_and_then_each_one_doubles_the_wait() {
        let throttle = Throttle::default();
        let mut waits = Vec::new();
        for _ in 0..8 {
            throttle.failed("ann", HERE, 0);
            waits.push(throttle.wait_ms("ann", HERE, 0));
        }
        assert_eq!(waits, [0, 0, 0, 0, 1_000, 2_000, 4_000, 8_000]);
        assert_eq!(throttle.wait_ms("ann", HERE, 7_500), 500);
        assert_eq!(throttle.wait_ms("ann", HERE, 8_000), 0);
    }

    #[test]
    fn guessing_many_users_from_one_address_slows_the_address() {
        let throttle = Throttle::default();
        for n in 0..30 {
            throttle.failed(&format!("user{n}"), HERE, 0);
        }
        assert_eq!(throttle.wait_ms("ann", HERE, 0), LONGEST_ADDRESS_WAIT_MS);
        assert_eq!(throttle.wait_ms("ann", THERE, 0), 0);
    }

    #[test]
    fn guessing_one_user_from_many_addresses_never_locks_them_out_for_long() {
        let throttle = Throttle::default();
        for n in 0..100 {
            throttle.failed("ann", IpAddr::from([10, 1, 0, n]), 0);
        }
        assert_eq!(throttle.wait_ms("ann", HERE, 0), LONGEST_USER_WAIT_MS);
        assert_eq!(throttle.wait_ms("bob", HERE, 0), 0);
    }

    #[test]
    fn a_success_clears_the_user_but_not_the_address() {
        let throttle = Throttle::default();
        for _ in 0..6 {
            throttle.failed("ann", HERE, 0);
        }
        throttle.succeeded("ann");
        assert_eq!(throttle.wait_ms("ann", THERE, 0), 0);
        assert_eq!(throttle.wait_ms("ann", HERE, 0), 2_000);
    }

    #[test]
    fn failures_are_forgotten_after_half_an_hour() {
        let throttle = Throttle::default();
        for _ in 0..10 {
            throttle.failed("ann", HERE, 0);
        }
        throttle.failed("ann", HERE, MEMORY_MS);
        assert_eq!(throttle.wait_ms("ann", HERE, MEMORY_MS), 0);
    }

    #[test]
    fn a_flood_of_names_does_not_fill_the_memory() {
        let throttle = Throttle::default();
        for n in 0..30_000 {
            throttle.failed(&format!("user{n}"), HERE, n);
        }
        assert!(throttle.lock().len() <= CAPACITY + 2);
    }
}
