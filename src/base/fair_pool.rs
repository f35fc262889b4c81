//! A worker pool whose bounded queue is served in turns: one job of each key, then the next job of each key.
//!
//! A key that hands in many jobs waits behind its own jobs, and others do not wait behind them. When the queue is full, the
//! longest queue of a key gives way to a key with a shorter one ("longest queue drop", as fair queueing of packets does it:
//! Suter, Lakshman, Stiliadis, Choudhury 1999).

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::base::lock::{lock, wait};
use crate::base::threads::{Full, Thread};

type Job = Box<dyn FnOnce() + Send>;

/// Bounds of a [`FairPool`].
#[derive(Clone, Copy, Debug)]
pub struct FairBounds {
    /// How many threads work.
    pub threads: usize,
    /// How many jobs wait in all.
    pub queue: usize,
}

/// A fixed number of threads that work off a bounded queue, in turns by key.
pub struct FairPool<K> {
    queue: Arc<FairQueue<K>>,
    threads: Mutex<Vec<Thread>>,
}

impl<K: Clone + Eq + Hash + Send + 'static> FairPool<K> {
    /// Starts threads named `<name>-0`, `<name>-1`, ….
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn new(name: &str, bounds: FairBounds) -> io::Result<FairPool<K>> {
        let queue = Arc::new(FairQueue { bounds, state: Mutex::default(), changed: Condvar::new() });
        // If a thread cannot be had, dropping the pool ends those that were started.
        let pool = FairPool { queue: Arc::clone(&queue), threads: Mutex::default() };
        for n in 0..bounds.threads {
            let queue = Arc::clone(&queue);
            let thread = Thread::spawn(&format!("{name}-{n}"), move || {
                while let Some(job) = queue.pop() {
                    // A panic must not cost the pool a thread.
                    if catch_unwind(AssertUnwindSafe(job)).is_err() {
                        log::error!("a job panicked; its worker goes on");
                    }
                }
            })?;
            lock(&pool.threads).push(thread);
        }
        Ok(pool)
    }

    /// Hands in a job of a key, without waiting. A job that gives way to another key later is dropped unrun.
    ///
    /// # Errors
    /// [`Full`] if the queue is full and no other key has a longer one, or if the pool has stopped.
    pub fn try_run(&self, key: K, job: impl FnOnce() + Send + 'static) -> Result<(), Full> {
        match self.queue.push(key, Box::new(job)) {
            // Dropped without the lock: it may answer a caller.
            Ok(gave_way) => drop(gave_way),
            Err(refused) => {
                drop(refused);
                return Err(Full);
            }
        }
        Ok(())
    }

    /// Takes no more jobs, lets the threads work off the queue, and waits at most `limit` for each thread. Returns whether
    /// all have ended.
    pub fn stop(&self, limit: Duration) -> bool {
        self.queue.close();
        let threads = std::mem::take(&mut *lock(&self.threads));
        threads.into_iter().map(|thread| thread.join_within(limit)).filter(|ended| !ended).count() == 0
    }
}

impl<K> Drop for FairPool<K> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct FairQueue<K> {
    bounds: FairBounds,
    state: Mutex<State<K>>,
    changed: Condvar,
}

struct State<K> {
    /// The jobs of each key that has any.
    queues: HashMap<K, VecDeque<Job>>,
    /// The same keys, in the order of their turns.
    turns: VecDeque<K>,
    len: usize,
    closed: bool,
}

impl<K> Default for State<K> {
    fn default() -> State<K> {
        State { queues: HashMap::new(), turns: VecDeque::new(), len: 0, closed: false }
    }
}

impl<K> FairQueue<K> {
    fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl<K: Clone + Eq + Hash> FairQueue<K> {
    /// Queues a job, and returns the one that gave way to it. The error is the job itself.
    fn push(&self, key: K, job: Job) -> Result<Option<Job>, Job> {
        let mut state = lock(&self.state);
        let own = state.queues.get(&key).map_or(0, VecDeque::len);
        if state.closed {
            return Err(job);
        }
        let mut gave_way = None;
        if state.len >= self.bounds.queue {
            match state.drop_from_a_queue_longer_than(own + 1) {
                Some(dropped) => gave_way = Some(dropped),
                None => return Err(job),
            }
        }
        state.len += 1;
        if own == 0 {
            state.turns.push_back(key.clone());
        }
        state.queues.entry(key).or_default().push_back(job);
        drop(state);
        self.changed.notify_one();
        Ok(gave_way)
    }

    /// The next job in turn. Waits for one; `None` once the queue is closed and empty.
    fn pop(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.pop() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = wait(&self.changed, state);
        }
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn pop(&mut self) -> Option<Job> {
        let key = self.turns.pop_front()?;
        let queue = self.queues.get_mut(&key)?;
        let job = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        self.len -= usize::from(job.is_some());
        job
    }

    /// Takes out the newest job of the key with the longest queue, if that is longer than `than`.
    fn drop_from_a_queue_longer_than(&mut self, than: usize) -> Option<Job> {
        let (_, longest) = self.queues.iter_mut().max_by_key(|(_, queue)| queue.len())?;
        if longest.len() <= than {
            return None;
        }
        // It stays longer than `than`, so its key keeps its turn.
        let job = longest.pop_back();
        self.len -= usize::from(job.is_some());
        job
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A pool of one thread that is held until the test lets it go.
    fn held(queue: usize) -> (FairPool<&'static str>, Sender<()>) {
        let pool = FairPool::new("test", FairBounds { threads: 1, queue }).unwrap();
        let (release, held) = bounded::<()>(0);
        let (started, starts) = bounded(1);
        pool.try_run("holder", move || {
            started.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap();
        starts.recv_timeout(LIMIT).unwrap();
        (pool, release)
    }

    fn queue(pool: &FairPool<&'static str>, ran: &Sender<String>, key: &'static str, n: usize) -> Result<(), Full> {
        let ran = ran.clone();
        pool.try_run(key, move || ran.send(format!("{key}{n}")).unwrap())
    }

    fn all(ran: &Receiver<String>, count: usize) -> Vec<String> {
        (0..count).map(|_| ran.recv_timeout(LIMIT).unwrap()).collect()
    }

    #[test]
    fn keys_take_turns_however_many_jobs_one_of_them_has() {
        let (pool, release) = held(100);
        let (ran, runs) = unbounded();
        for n in 0..5 {
            queue(&pool, &ran, "many", n).unwrap();
        }
        queue(&pool, &ran, "few", 0).unwrap();
        queue(&pool, &ran, "one", 0).unwrap();
        queue(&pool, &ran, "few", 1).unwrap();
        drop(release);
        assert_eq!(all(&runs, 8), ["many0", "few0", "one0", "many1", "few1", "many2", "many3", "many4"]);
    }

    #[test]
    fn a_full_queue_takes_from_the_longest_queue_of_a_key() {
        let (pool, release) = held(4);
        let (ran, runs) = unbounded();
        for n in 0..4 {
            queue(&pool, &ran, "many", n).unwrap();
        }
        assert_eq!(queue(&pool, &ran, "many", 4), Err(Full));
        queue(&pool, &ran, "a", 0).unwrap();
        queue(&pool, &ran, "b", 0).unwrap();
        assert_eq!(queue(&pool, &ran, "many", 3), Err(Full), "nobody has more than it would have");
        queue(&pool, &ran, "c", 0).unwrap();
        assert_eq!(queue(&pool, &ran, "d", 0), Err(Full), "one job for each: there is nothing to take");
        drop(release);
        assert_eq!(all(&runs, 4), ["many0", "a0", "b0", "c0"]);
        assert!(pool.stop(LIMIT));
        assert!(runs.is_empty(), "what gave way was never run");
    }

    #[test]
    fn a_stop_works_off_the_queue_and_takes_nothing_more() {
        let (pool, release) = held(10);
        let (ran, runs) = unbounded();
        queue(&pool, &ran, "a", 0).unwrap();
        std::thread::scope(|scope| {
            let stop = scope.spawn(|| pool.stop(LIMIT));
            while queue(&pool, &ran, "late", 0).is_ok() {
                std::thread::yield_now();
            }
            drop(release);
            assert!(stop.join().unwrap());
        });
        assert_eq!(runs.recv_timeout(LIMIT).unwrap(), "a0");
    }

    #[test]
    fn a_panic_costs_no_thread() {
        let pool = FairPool::new("test", FairBounds { threads: 1, queue: 10 }).unwrap();
        pool.try_run(1, || panic!("on purpose")).unwrap();
        let (done, is_done) = mpsc::channel();
        pool.try_run(1, move || done.send(()).unwrap()).unwrap();
        is_done.recv_timeout(LIMIT).unwrap();
    }

    proptest! {
        #[test]
        fn no_job_is_lost_or_run_twice_and_bounds_hold(
            pushes in prop::collection::vec((0..5u8, any::<bool>()), 0..200),
            bound in 1..20usize,
        ) {
            let queue = FairQueue { bounds: FairBounds { threads: 0, queue: bound }, state: Mutex::default(), changed: Condvar::new() };
            let (ran, runs) = unbounded();
            let mut taken = 0;
            for (n, (key, pop)) in pushes.into_iter().enumerate() {
                let ran = ran.clone();
                // A job that another gives way to is one more, and one less.
                if let Ok(None) = queue.push(key, Box::new(move || ran.send(n).unwrap())) {
                    taken += 1;
                }
                if pop && let Some(job) = lock(&queue.state).pop() {
                    job();
                }
                let state = lock(&queue.state);
                prop_assert!(state.len <= bound && state.queues.values().all(|jobs| !jobs.is_empty()));
                prop_assert_eq!(state.len, state.queues.values().map(VecDeque::len).sum::<usize>());
                prop_assert_eq!(state.turns.len(), state.queues.len());
            }
            queue.close();
            while let Some(job) = queue.pop() {
                job();
            }
            let mut all_runs: Vec<usize> = runs.try_iter().collect();
            prop_assert_eq!(all_runs.len(), taken);
            all_runs.sort_unstable();
            all_runs.dedup();
            prop_assert_eq!(all_runs.len(), taken);
        }
    }
}
