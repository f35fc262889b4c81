//! Futures on plain threads: a thread parks until its future is ready, an alarm is rung, or a time is over.
//!
//! Not for poll threads, which must never block.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::base::clock::Stopwatch;
use crate::base::lock::lock;

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Waited<T> {
    /// The future is ready.
    Ready(T),
    /// The alarm was rung.
    Stopped,
    /// The time is over.
    TimedOut,
}

/// Tells the thread that waits with it to stop. Clones ring the same alarm; once rung it stays so.
#[derive(Clone, Debug, Default)]
pub struct Alarm(Arc<AlarmState>);

#[derive(Debug, Default)]
struct AlarmState {
    rung: AtomicBool,
    waiting: Mutex<Option<Thread>>,
}

impl Alarm {
    /// Rings: the waiting thread wakes up, and every later wait ends at once.
    pub fn ring(&self) {
        self.0.rung.store(true, Ordering::SeqCst);
        if let Some(thread) = lock(&self.0.waiting).as_ref() {
            thread.unpark();
        }
    }

    /// Whether it was rung.
    pub fn is_rung(&self) -> bool {
        self.0.rung.load(Ordering::SeqCst)
    }

    fn wakes_this_thread(&self) {
        *lock(&self.0.waiting) = Some(thread::current());
    }
}

/// Wakes a parked thread, and remembers that it did: a thread may be unparked for other reasons as well.
pub struct ThreadWaker {
    thread: Thread,
    woken: AtomicBool,
}

impl ThreadWaker {
    /// For the calling thread. It counts as woken at first, so that the future behind it is polled once.
    pub fn here() -> Arc<ThreadWaker> {
        Arc::new(ThreadWaker { thread: thread::current(), woken: AtomicBool::new(true) })
    }

    /// Whether it was woken since this was last asked.
    pub fn take(&self) -> bool {
        self.woken.swap(false, Ordering::AcqRel)
    }
}

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Blocks until `future` is ready, `alarm` is rung, or, where there is a `limit`, that time is over. The future is dropped
/// then. One thread at a time may wait with an alarm.
pub fn wait<F: Future>(future: F, alarm: &Alarm, limit: Option<Duration>) -> Waited<F::Output> {
    let waker = Waker::from(ThreadWaker::here());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    alarm.wakes_this_thread();
    let waited = Stopwatch::start();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Waited::Ready(output);
        }
        if alarm.is_rung() {
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

/// Blocks until `future` is ready, for at most `limit`. `None` once that is over.
pub fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    match wait(future, &Alarm::default(), Some(limit)) {
        Waited::Ready(output) => Some(output),
        Waited::Stopped | Waited::TimedOut => None,
    }
}

/// Blocks for `pause`, or until `alarm` is rung.
pub fn pause(pause: Duration, alarm: &Alarm) {
    let _ = wait(std::future::pending::<()>(), alarm, Some(pause));
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_channel::oneshot;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_future_that_is_ready_is_answered_even_with_the_alarm_rung() {
        let alarm = Alarm::default();
        alarm.ring();
        assert_eq!(wait(async { 7 }, &alarm, None), Waited::Ready(7));
    }

    #[test]
    fn a_wait_ends_when_its_future_is_woken_from_another_thread() {
        let (sender, receiver) = oneshot::channel();
        let other = crate::base::threads::Thread::spawn("test-sender", move || sender.send(7).unwrap()).unwrap();
        assert_eq!(wait(receiver, &Alarm::default(), Some(LONG)), Waited::Ready(Ok(7)));
        drop(other);
    }

    #[test]
    fn a_future_is_awaited_within_a_limit_or_given_up() {
        assert_eq!(within(LONG, async { 7 }), Some(7));
        assert_eq!(within(Duration::ZERO, async { 7 }), Some(7), "a future is polled at least once");
        let (_kept, never) = oneshot::channel::<()>();
        assert_eq!(within(Duration::from_millis(5), never), None);
    }

    #[test]
    fn what_woke_an_earlier_wait_does_not_shorten_the_next_one() {
        let waited = Stopwatch::start();
        let limit = Duration::from_millis(20);
        thread::current().unpark();
        assert_eq!(wait(std::future::pending::<()>(), &Alarm::default(), Some(limit)), Waited::TimedOut);
        assert!(waited.elapsed() >= limit);
    }

    #[test]
    fn a_wait_ends_by_the_alarm_and_by_the_clock() {
        let alarm = Alarm::default();
        let other = alarm.clone();
        let ringer = crate::base::threads::Thread::spawn("test-ringer", move || other.ring()).unwrap();
        assert_eq!(wait(std::future::pending::<()>(), &alarm, None), Waited::Stopped);
        drop(ringer);
        let short = Some(Duration::from_millis(1));
        assert_eq!(wait(std::future::pending::<()>(), &Alarm::default(), short), Waited::TimedOut);
    }

    #[test]
    fn a_thread_waker_remembers_until_it_is_asked() {
        let waker = ThreadWaker::here();
        assert!(waker.take() && !waker.take());
        Waker::from(Arc::clone(&waker)).wake();
        assert!(waker.take() && !waker.take());
    }
}
