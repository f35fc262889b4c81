//! A thread as its own executor: it parks until a waker unparks it.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::base::clock::Stopwatch;

/// Wakes a parked thread, and remembers that it rang: others unpark the thread as well.
pub struct Bell {
    thread: Thread,
    rung: AtomicBool,
}

impl Bell {
    /// For the calling thread. Rung at first, so that what it stands for is looked at once.
    pub fn here() -> Arc<Bell> {
        Arc::new(Bell { thread: thread::current(), rung: AtomicBool::new(true) })
    }

    /// Whether it rang since this was asked last.
    pub fn take(&self) -> bool {
        self.rung.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Drives a future on the calling thread, for at most `limit`. `None` if it did not resolve in time; it is dropped then.
/// Not for poll threads.
pub fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let waker = Waker::from(Bell::here());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let watch = Stopwatch::start();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return Some(value);
        }
        thread::park_timeout(watch.left_of(limit)?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_channel::oneshot;

    #[test]
    fn a_future_is_awaited_or_given_up() {
        assert_eq!(within(Duration::from_secs(30), async { 7 }), Some(7));
        let (sender, receiver) = oneshot::channel();
        let other = crate::base::threads::Thread::spawn("test-sender", move || sender.send(8).unwrap()).unwrap();
        assert_eq!(within(Duration::from_secs(30), receiver), Some(Ok(8)));
        drop(other);
        let (_kept, never) = oneshot::channel::<()>();
        assert_eq!(within(Duration::from_millis(5), never), None);
    }
}
