//! Threads with names and owners, and the bounded worker pools.
//!
//! Every thread of ours is started here. Its name has at most 15 bytes (Linux cuts longer ones off), and the owner of its
//! [`Thread`] joins it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::base::lock::lock;

/// The longest thread name that Linux shows whole, in bytes.
pub const MAX_NAME_BYTES: usize = 15;

/// A running thread. Dropping it joins the thread, which must have been told to end before.
#[derive(Debug)]
pub struct Thread {
    handle: Option<JoinHandle<()>>,
    ended: Receiver<()>,
}

impl Thread {
    /// Starts a thread with the system's default stack.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        Thread::start(Builder::new(), name, body)
    }

    /// Starts a thread with a stack of `stack_bytes`, for threads of which there are thousands.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn spawn_small(name: &str, stack_bytes: usize, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        Thread::start(Builder::new().stack_size(stack_bytes), name, body)
    }

    fn start(builder: Builder, name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        debug_assert!(name.len() <= MAX_NAME_BYTES, "{name} is cut off in ps and top");
        let (alive, ended) = bounded::<()>(0);
        let handle = builder.name(name.to_owned()).spawn(move || {
            let _alive = alive;
            body();
        })?;
        Ok(Thread { handle: Some(handle), ended })
    }

    /// Whether the thread has ended.
    pub fn has_ended(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end, at most `limit`. A thread that has not ended by then is detached.
    ///
    /// Returns whether it has ended.
    pub fn join_within(mut self, limit: Duration) -> bool {
        let ended = self.ended.recv_timeout(limit) != Err(crossbeam_channel::RecvTimeoutError::Timeout);
        if !ended {
            self.handle = None;
        }
        ended
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            // The panic hook has logged a panic of the thread.
            let _ = handle.join();
        }
    }
}

type PoolJob = Box<dyn FnOnce() + Send>;

/// A fixed number of threads that take jobs from a bounded queue.
#[derive(Debug)]
pub struct Pool {
    queue: Mutex<Option<Sender<PoolJob>>>,
    threads: Mutex<Vec<Thread>>,
}

/// The queue of a [`Pool`] is full, or the pool has stopped: nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full")]
pub struct Full;

impl Pool {
    /// Starts `threads` threads named `<name>-0`, `<name>-1`, … behind a queue of `queue` jobs.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn new(name: &str, threads: usize, queue: usize) -> io::Result<Pool> {
        let (sender, receiver) = bounded::<PoolJob>(queue);
        // If a thread cannot be started, dropping the pool ends the others.
        let pool = Pool { queue: Mutex::new(Some(sender)), threads: Mutex::default() };
        for n in 0..threads {
            let jobs = receiver.clone();
            let thread = Thread::spawn(&format!("{name}-{n}"), move || work_off(&jobs))?;
            lock(&pool.threads).push(thread);
        }
        Ok(pool)
    }

    /// Hands a job to the pool without waiting.
    ///
    /// # Errors
    /// [`Full`] if the queue is full.
    pub fn try_run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Full> {
        let queue = lock(&self.queue);
        // A refused job is dropped after the lock is released: dropping it may answer a call.
        let refused = match queue.as_ref().map(|queue| queue.try_send(Box::new(job))) {
            Some(Ok(())) => return Ok(()),
            Some(Err(TrySendError::Full(job) | TrySendError::Disconnected(job))) => Some(job),
            None => None,
        };
        drop(queue);
        drop(refused);
        Err(Full)
    }

    /// Takes no more jobs, lets the threads finish the queue, and waits at most `limit` for each thread.
    ///
    /// Returns whether all have ended.
    pub fn stop(&self, limit: Duration) -> bool {
        lock(&self.queue).take();
        let threads = std::mem::take(&mut *lock(&self.threads));
        threads.into_iter().map(|thread| thread.join_within(limit)).filter(|ended| !ended).count() == 0
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // The threads end when their queue is gone; dropping their handles then joins them.
        lock(&self.queue).take();
    }
}

/// A panic in a job must not cost the pool a thread. The jobs of the server catch their own panics to answer the caller
/// (`rpc::reply`); this is the second net.
fn work_off(jobs: &Receiver<PoolJob>) {
    for job in jobs {
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            log::error!("a job panicked; its worker goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn a_full_queue_refuses_until_there_is_room() {
        let pool = Pool::new("test-pool", 1, 1).unwrap();
        let (started_tx, started) = bounded::<()>(1);
        let (release, released) = bounded::<()>(0);
        let blocked = released.clone();
        pool.try_run(move || {
            started_tx.send(()).unwrap();
            let _ = blocked.recv();
        })
        .unwrap();
        started.recv_timeout(LIMIT).unwrap();
        pool.try_run(|| ()).unwrap();
        assert_eq!(pool.try_run(|| ()), Err(Full));
        drop(release);
        assert!(pool.stop(LIMIT));
    }

    #[test]
    fn a_panic_in_a_job_leaves_the_pool_at_work() {
        let pool = Pool::new("test-pool", 1, 4).unwrap();
        let (done_tx, done) = bounded(1);
        pool.try_run(|| panic!("on purpose")).unwrap();
        pool.try_run(move || done_tx.send(std::thread::current().name().map(str::to_owned)).unwrap()).unwrap();
        assert_eq!(done.recv_timeout(LIMIT).unwrap().as_deref(), Some("test-pool-0"));
    }

    #[test]
    fn a_thread_that_does_not_end_in_time_is_reported() {
        let (release, released) = bounded::<()>(0);
        let stuck = Thread::spawn("test-stuck", move || {
            let _ = released.recv();
        })
        .unwrap();
        assert!(!stuck.join_within(Duration::from_millis(1)));
        drop(release);
        assert!(Thread::spawn("test-quick", || ()).unwrap().join_within(LIMIT));
    }
}
