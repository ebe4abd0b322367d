//! Ends libssh2 calls that do not come back. A call takes in all that has arrived: where a server sends faster than that goes, it would go on
//! for ever, and with it the thread and the memory that the packets take.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::clients::ssh::socket::Socket;
use crate::error::{Error, Result};

/// Between looks.
const ROUND: Duration = Duration::from_millis(100);
/// No call takes this long while there still is something to read.
const LONGEST: Duration = Duration::from_millis(300);

/// Knows which calls are under way: one for each thread at most.
#[derive(Default)]
pub(super) struct Guard {
    calls: Mutex<HashMap<ThreadId, (Instant, Weak<Socket>)>>,
}

impl Guard {
    /// Starts to look; ends when nobody else holds it any more.
    ///
    /// # Errors
    /// No thread is to be had.
    pub(super) fn start() -> Result<Arc<Self>> {
        let guard = Arc::new(Self::default());
        let watched = Arc::downgrade(&guard);
        let look = move || {
            while let Some(guard) = watched.upgrade() {
                guard.look(Instant::now());
                drop(guard);
                thread::sleep(ROUND);
            }
        };
        let started = thread::Builder::new().name("ssh-guard".into()).spawn(look);
        started.map_err(|cause| Error::internal("could not start an SSH thread", cause))?;
        Ok(guard)
    }

    /// Runs a call on a socket.
    pub(super) fn watch<T>(&self, socket: &Arc<Socket>, call: impl FnOnce() -> T) -> T {
        let thread = thread::current().id();
        let entry = (Instant::now(), Arc::downgrade(socket));
        self.calls().insert(thread, entry);
        let outcome = call();
        self.calls().remove(&thread);
        outcome
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<ThreadId, (Instant, Weak<Socket>)>> {
        // The map is valid between any two statements under the lock.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, now: Instant) {
        for (since, socket) in self.calls().values() {
            if now.saturating_duration_since(*since) < LONGEST {
                continue;
            }
            if let Some(socket) = socket.upgrade()
                && socket.queued() > 0
            {
                socket.cut_off();
            }
        }
    }
}
