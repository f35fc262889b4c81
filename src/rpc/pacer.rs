//! Messages that wait for their turn: a person who sends faster than the rate allows is slowed down, not refused.
//!
//! One thread holds what was reserved in advance ([`crate::security::throttle::Throttle::reserve`]) and lets it go when its
//! time has come, in the order in which it was reserved. So messages of one person keep their order.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::base::clock::Stopwatch;
use crate::base::lock::{lock, wait, wait_timeout};
use crate::base::threads::{Full, Thread};

type Job = Box<dyn FnOnce() + Send>;

/// The thread that lets waiting messages go.
pub struct Pacer {
    shared: Arc<Waiting>,
    thread: Mutex<Option<Thread>>,
}

struct Waiting {
    most: usize,
    started: Stopwatch,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// By when it is due, and in which order it came.
    jobs: BTreeMap<(Duration, u64), Job>,
    next: u64,
    stopped: bool,
}

impl Pacer {
    /// Starts the thread. At most `most` messages wait.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(most: usize) -> io::Result<Pacer> {
        let shared =
            Arc::new(Waiting { most, started: Stopwatch::start(), queue: Mutex::default(), changed: Condvar::new() });
        let working = Arc::clone(&shared);
        let thread = Thread::spawn("pacer", move || {
            while let Some(job) = working.next() {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    log::error!("sending a message that had waited panicked; the pacer goes on");
                }
            }
        })?;
        Ok(Pacer { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Runs a job after `wait`, or when the pacer stops. It must not block.
    ///
    /// # Errors
    /// [`Full`]: too many messages wait, or the pacer has stopped. The job is dropped.
    pub fn run_in(&self, wait: Duration, job: impl FnOnce() + Send + 'static) -> Result<(), Full> {
        let mut queue = lock(&self.shared.queue);
        if queue.stopped || queue.jobs.len() >= self.shared.most {
            drop(queue);
            return Err(Full);
        }
        let (due, order) = (self.shared.started.elapsed() + wait, queue.next);
        queue.next += 1;
        queue.jobs.insert((due, order), Box::new(job));
        self.shared.changed.notify_one();
        Ok(())
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        lock(&self.shared.queue).jobs.len()
    }

    /// Whether no job waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets go at once what still waits, in order, and takes nothing more. Returns whether the thread ended within `limit`.
    pub fn stop(&self, limit: Duration) -> bool {
        self.shared.stop();
        lock(&self.thread).take().is_none_or(|thread| thread.join_within(limit))
    }
}

impl Drop for Pacer {
    fn drop(&mut self) {
        // The thread is joined after this.
        self.shared.stop();
    }
}

impl Waiting {
    fn stop(&self) {
        lock(&self.queue).stopped = true;
        self.changed.notify_all();
    }

    /// The next job, once it is due or the pacer stops; `None` once it has stopped and nothing waits.
    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        loop {
            let now = self.started.elapsed();
            let stopped = queue.stopped;
            match queue.jobs.first_entry() {
                None if stopped => return None,
                None => queue = wait(&self.changed, queue),
                Some(first) if stopped || first.key().0 <= now => return Some(first.remove()),
                Some(first) => {
                    let left = first.key().0 - now;
                    queue = wait_timeout(&self.changed, queue, left);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn jobs_run_when_they_are_due_in_the_order_of_their_times() {
        let pacer = Pacer::start(10).unwrap();
        let (ran, runs) = bounded(10);
        for (name, wait) in [("late", 40), ("early", 5), ("at once", 0), ("early too", 5)] {
            let ran = ran.clone();
            pacer.run_in(Duration::from_millis(wait), move || ran.send(name).unwrap()).unwrap();
        }
        let order: Vec<_> = (0..4).map(|_| runs.recv_timeout(LIMIT).unwrap()).collect();
        assert_eq!(order, ["at once", "early", "early too", "late"]);
    }

    #[test]
    fn the_number_of_jobs_is_bounded_a_panic_stops_nothing_and_a_stop_runs_what_waits_in_order() {
        let pacer = Pacer::start(3).unwrap();
        let (ran, runs) = bounded(10);
        let send = |name: &'static str| {
            let ran = ran.clone();
            move || ran.send(name).unwrap()
        };
        pacer.run_in(LIMIT, send("first")).unwrap();
        pacer.run_in(Duration::ZERO, || panic!("on purpose")).unwrap();
        pacer.run_in(Duration::ZERO, send("at once")).unwrap();
        assert_eq!(runs.recv_timeout(LIMIT), Ok("at once"));
        pacer.run_in(2 * LIMIT, send("second")).unwrap();
        pacer.run_in(3 * LIMIT, send("third")).unwrap();
        assert_eq!(pacer.run_in(LIMIT, || ()), Err(Full));
        assert!(pacer.stop(LIMIT));
        assert_eq!(runs.try_iter().collect::<Vec<_>>(), ["first", "second", "third"]);
        assert_eq!(pacer.run_in(Duration::ZERO, || ()), Err(Full), "it has stopped");
    }
}
