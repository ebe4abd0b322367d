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
/// No call that reads takes this long, however busy this host is.
const LONGEST: Duration = Duration::from_secs(1);

/// Knows which calls are under way: one for each thread at most.
#[derive(Default)]
pub(super) struct Guard {
    calls: Mutex<HashMap<ThreadId, Call>>,
}

struct Call {
    since: Instant,
    socket: Weak<Socket>,
    /// What was left to read at the last look.
    left: Option<u64>,
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
        let entry = Call {
            since: Instant::now(),
            socket: Arc::downgrade(socket),
            left: None,
        };
        self.calls().insert(thread, entry);
        let outcome = call();
        self.calls().remove(&thread);
        outcome
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<ThreadId, Call>> {
        // The map is valid between any two statements under the lock.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, now: Instant) {
        for call in self.calls().values_mut() {
            if now.saturating_duration_since(call.since) < LONGEST {
                continue;
            }
            let Some(socket) = call.socket.upgrade() else {
                continue;
            };
            // Where that does not change nothing is read: a key is being opened, which takes as long as it takes.
            let left = Some(socket.queued());
            if left > Some(0) && call.left.is_some() && call.left != left {
                socket.cut_off();
            }
            call.left = left;
        }
    }
}
