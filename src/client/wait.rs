//! How a plain thread waits for a future: parked, until the future is ready, somebody rings the bell, or a time is over.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::base::clock::Stopwatch;

/// How a wait came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited<T> {
    /// The future is ready.
    Ready(T),
    /// The bell was rung.
    Stopped,
    /// The time is over.
    TimedOut,
}

/// Tells the thread that waits with it to stop. Clones ring the same bell; once rung it stays so.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    rung: AtomicBool,
    waiting: Mutex<Option<Thread>>,
}

impl Bell {
    /// Rings: the waiting thread wakes up, and every later wait ends at once.
    pub fn ring(&self) {
        self.0.rung.store(true, Ordering::SeqCst);
        if let Some(thread) = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            thread.unpark();
        }
    }

    /// Whether it was rung.
    pub fn is_rung(&self) -> bool {
        self.0.rung.load(Ordering::SeqCst)
    }

    fn wakes_this_thread(&self) {
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread::current());
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Blocks until `future` is ready, `bell` is rung, or, where there is a `limit`, that time has gone by. One thread at a
/// time may wait with a bell.
pub fn wait<F: Future>(future: F, bell: &Bell, limit: Option<Duration>) -> Waited<F::Output> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    bell.wakes_this_thread();
    let waited = Stopwatch::start();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Waited::Ready(output);
        }
        if bell.is_rung() {
            return Waited::Stopped;
        }
        // Parking may end without a reason, by what woke an earlier wait for instance: the time is measured.
        match limit.map(|limit| waited.left_of(limit)) {
            None => thread::park(),
            Some(Some(left)) => thread::park_timeout(left),
            Some(None) => return Waited::TimedOut,
        }
    }
}

/// Blocks for `pause`, or until `bell` is rung.
pub fn pause(pause: Duration, bell: &Bell) {
    let _ = wait(std::future::pending::<()>(), bell, Some(pause));
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_future_that_is_ready_is_answered_even_with_the_bell_rung() {
        let bell = Bell::default();
        bell.ring();
        assert_eq!(wait(async { 7 }, &bell, None), Waited::Ready(7));
    }

    #[test]
    fn a_wait_ends_when_its_future_is_woken_from_another_thread() {
        let (sender, receiver) = futures_channel::oneshot::channel();
        let other = thread::Builder::new().spawn(move || sender.send(7)).unwrap();
        assert_eq!(wait(receiver, &Bell::default(), Some(LONG)), Waited::Ready(Ok(7)));
        other.join().unwrap().unwrap();
    }

    #[test]
    fn what_woke_an_earlier_wait_does_not_shorten_the_next_one() {
        let waited = Stopwatch::start();
        let limit = Duration::from_millis(20);
        thread::current().unpark();
        assert_eq!(wait(std::future::pending::<()>(), &Bell::default(), Some(limit)), Waited::TimedOut);
        assert!(waited.elapsed() >= limit);
    }

    #[test]
    fn a_wait_ends_by_the_bell_and_by_the_clock() {
        let bell = Bell::default();
        let other = bell.clone();
        let ringer = thread::Builder::new().spawn(move || other.ring()).unwrap();
        assert_eq!(wait(std::future::pending::<()>(), &bell, None), Waited::Stopped);
        ringer.join().unwrap();
        let short = Some(Duration::from_millis(1));
        assert_eq!(wait(std::future::pending::<()>(), &Bell::default(), short), Waited::TimedOut);
    }
}
