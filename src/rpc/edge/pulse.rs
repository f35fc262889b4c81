//! Whether the poll thread gets to its work in time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;
use grpcio::{ChannelBuilder, Client, Environment};

use crate::base::clock::Stopwatch;
use crate::base::lock::lock;

/// Asks the poll thread for a sign of life.
pub(in crate::rpc) struct Pulse {
    client: Client,
    /// How long it took to answer what it was asked last, once it has.
    answered: Arc<Mutex<Option<Duration>>>,
}

impl Pulse {
    /// Of the environment's one poll thread.
    pub(in crate::rpc) fn new(environment: &Arc<Environment>) -> Pulse {
        // It never connects: a channel does that with the first operation of a call, and there is none. The C core has a timer
        // of its own for channels, every 5 s. It holds the environment, so it goes before the server does.
        let client = Client::new(ChannelBuilder::new(Arc::clone(environment)).connect("unix:"));
        Pulse { client, answered: Arc::new(Mutex::new(Some(Duration::ZERO))) }
    }

    /// Whether the poll thread has answered what it was asked the last time, and took no longer than `limit`. Once it has, it is
    /// asked again.
    pub(in crate::rpc) fn beats_within(&self, limit: Duration) -> bool {
        let Some(took) = lock(&self.answered).take() else { return false };
        let (ask, asked) = oneshot::channel::<()>();
        let (answered, watch) = (Arc::clone(&self.answered), Stopwatch::start());
        // Begun here, where it has to wait, it is ended by the poll thread.
        self.client.spawn(async move {
            let _ = asked.await;
            *lock(&answered) = Some(watch.elapsed());
        });
        let _ = ask.send(());
        took <= limit
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;
    use grpcio::EnvBuilder;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn beats_again(pulse: &Pulse) -> bool {
        let watch = Stopwatch::start();
        while watch.left_of(LIMIT).is_some() {
            if pulse.beats_within(LIMIT) {
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
        assert!(pulse.beats_within(LIMIT) && !pulse.beats_within(LIMIT));
        drop(release);
        assert!(beats_again(&pulse));
        // No answer takes no time at all.
        let watch = Stopwatch::start();
        while pulse.answered.lock().unwrap().is_none() && watch.left_of(LIMIT).is_some() {
            std::thread::yield_now();
        }
        assert!(!pulse.beats_within(Duration::ZERO));
    }
}
