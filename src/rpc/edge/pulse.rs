//! Whether the poll thread gets to its work in time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_channel::oneshot;
use grpcio::{ChannelBuilder, Client, Environment};

use crate::base::clock::Stopwatch;
use crate::base::lock::lock;

/// Asks the poll thread for a sign of life.
pub struct Pulse {
    client: Client,
    /// How long the last answer took, once it has come.
    answered: Arc<Mutex<Option<Duration>>>,
}

impl Pulse {
    /// For the environment's one poll thread.
    pub fn new(environment: &Arc<Environment>) -> Pulse {
        // The channel never connects: it would with the first operation of a call, and there is none. (The C core runs a
        // timer for channels, every 5 s.) It holds the environment, so it is dropped before the server.
        let client = Client::new(ChannelBuilder::new(Arc::clone(environment)).connect("unix:"));
        Pulse { client, answered: Arc::new(Mutex::new(Some(Duration::ZERO))) }
    }

    /// Whether the poll thread has answered the last question, in at most `limit`. If it has, it is asked again.
    pub fn beats_within(&self, limit: Duration) -> bool {
        let Some(took) = lock(&self.answered).take() else { return false };
        let (ask, asked) = oneshot::channel::<()>();
        let (answered, watch) = (Arc::clone(&self.answered), Stopwatch::start());
        // The future starts on this thread and has to wait; the poll thread finishes it.
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
        // A job that blocks the poll thread.
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
        // The question before that has been answered.
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
