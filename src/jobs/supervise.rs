//! Keeps workers alive: one that fails is started again, and all of them stop together.

use std::time::Duration;

use tokio::sync::watch;

use crate::error::Result;

/// Pause before a failed worker starts again.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Says when to stop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// The other end of [`Stop`].
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// A stop signal that was not given yet.
pub fn stop_signal() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Tells everyone to stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether the signal was given.
    pub fn is_given(&self) -> bool {
        *self.0.borrow()
    }

    /// The signal as a value to watch: true once it was given.
    pub fn receiver(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }

    /// Waits for the signal.
    pub async fn given(&self) {
        let mut receiver = self.0.clone();
        // An error means that the sender is gone, which is a stop as well.
        drop(receiver.wait_for(|stopped| *stopped).await);
    }
}

/// Runs `work` again and again until the signal is given; a failure is logged once and followed by a pause.
pub async fn keep_running<F>(name: &str, stop: &Stop, work: impl Fn() -> F)
where
    F: Future<Output = Result<()>>,
{
    while !stop.is_given() {
        if let Err(cause) = work().await {
            tracing::warn!(worker = name, %cause, "worker failed, starting it again");
        }
        tokio::select! {
            () = stop.given() => return,
            () = tokio::time::sleep(RESTART_AFTER) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::Error;

    #[tokio::test(start_paused = true)]
    async fn a_failed_worker_starts_again_until_told_to_stop() {
        let (stopper, stop) = stop_signal();
        let starts = AtomicU32::new(0);
        keep_running("test", &stop, || async {
            if starts.fetch_add(1, Ordering::Relaxed) == 2 {
                stopper.stop();
            }
            Err(Error::Conflict("broken".into()))
        })
        .await;
        assert_eq!(starts.into_inner(), 3);
    }
}
