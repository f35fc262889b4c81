//! Whether the poll thread gets to its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_channel::oneshot;
use grpcio::{ChannelBuilder, Client, Environment};

/// Asks the poll thread for a sign of life.
pub(super) struct Pulse {
    client: Client,
    beaten: Arc<AtomicBool>,
}

impl Pulse {
    /// Of the environment's one poll thread.
    pub(super) fn new(environment: &Arc<Environment>) -> Pulse {
        // It never connects: a channel does that with its first call.
        let client = Client::new(ChannelBuilder::new(Arc::clone(environment)).connect("unix:"));
        Pulse { client, beaten: Arc::new(AtomicBool::new(true)) }
    }

    /// Whether the poll thread has answered what it was asked the last time, and if so, asks again.
    pub(super) fn beats(&self) -> bool {
        if !self.beaten.swap(false, Ordering::AcqRel) {
            return false;
        }
        let (ask, asked) = oneshot::channel::<()>();
        let beaten = Arc::clone(&self.beaten);
        // Begun here, where it has to wait, it is ended by the poll thread.
        self.client.spawn(async move {
            let _ = asked.await;
            beaten.store(true, Ordering::Release);
        });
        let _ = ask.send(());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;
    use grpcio::EnvBuilder;

    use super::*;
    use crate::clock::Stopwatch;

    const LIMIT: Duration = Duration::from_secs(30);

    fn beats_again(pulse: &Pulse) -> bool {
        let watch = Stopwatch::start();
        while watch.left_of(LIMIT).is_some() {
            if pulse.beats() {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    #[test]
    fn it_beats_unless_the_poll_thread_is_held_up() {
        let environment = Arc::new(EnvBuilder::new().cq_count(1).build());
        let pulse = Pulse::new(&environment);
        assert!(beats_again(&pulse) && beats_again(&pulse));
        // A job that holds the poll thread up.
        let (ask, asked) = oneshot::channel::<()>();
        let (held, is_held) = bounded::<()>(1);
        let (release, released) = bounded::<()>(0);
        pulse.client.spawn(async move {
            let _ = asked.await;
            let _ = held.send(());
            let _ = released.recv();
        });
        ask.send(()).unwrap();
        is_held.recv_timeout(LIMIT).unwrap();
        // What was asked before has been answered.
        assert!(pulse.beats() && !pulse.beats());
        drop(release);
        assert!(beats_again(&pulse));
    }
}
