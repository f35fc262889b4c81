//! Token buckets: how often something may be tried by somebody.
//!
//! A bucket holds a number of tries and refills at a steady rate. A try that turns out to be an honest one can be given back,
//! so that only the others count. Nothing is ever locked: who waits may try again. (The arithmetic is the generic cell rate
//! algorithm of ITU-T I.371: a bucket is one point in time, at which it will be full again.)
//!
//! Memory is bounded. Where there are more buckets than may be, whoever has none shares one with all the others like him.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

use crate::base::lock::lock;

/// How many tries, and how fast they come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many tries a full bucket holds; at least one.
    pub burst: u32,
    /// How long it takes until one comes back.
    pub refill: Duration,
}

/// Buckets of one kind. Time is a [`Duration`] since a start that never changes ([`crate::base::clock::Clock::elapsed`]): the time
/// of day may jump.
pub struct Throttle<K> {
    rate: Rate,
    most: usize,
    state: Mutex<State<K>>,
}

struct State<K> {
    /// When each bucket is full again. Those that are full need no entry.
    full_at: HashMap<K, Duration>,
    /// The bucket of all who found no room.
    overflow_full_at: Duration,
    swept_at: Duration,
}

/// How often full buckets are looked for when there is no room.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl<K: Hash + Eq> Throttle<K> {
    /// No bucket yet; at most `most` of them.
    pub fn new(rate: Rate, most: usize) -> Throttle<K> {
        let state = State { full_at: HashMap::new(), overflow_full_at: Duration::ZERO, swept_at: Duration::ZERO };
        Throttle { rate, most, state: Mutex::new(state) }
    }

    /// Takes a try of `key` out of its bucket.
    ///
    /// # Errors
    /// The bucket is empty: how long until there is one. Nothing was taken.
    pub fn take(&self, key: K, now: Duration) -> Result<(), Duration> {
        let mut state = lock(&self.state);
        let most_owed = self.rate.refill.saturating_mul(self.rate.burst.max(1));
        let full_at = self.bucket(&mut state, key, now);
        let owed = full_at.saturating_sub(now) + self.rate.refill;
        match owed.checked_sub(most_owed) {
            None | Some(Duration::ZERO) => {
                *full_at = now + owed;
                Ok(())
            }
            Some(wait) => Err(wait),
        }
    }

    /// Gives a try back that [`Throttle::take`] took.
    pub fn give_back(&self, key: K, now: Duration) {
        let mut state = lock(&self.state);
        let full_at = self.bucket(&mut state, key, now);
        *full_at = full_at.saturating_sub(self.rate.refill);
    }

    fn bucket<'a>(&self, state: &'a mut State<K>, key: K, now: Duration) -> &'a mut Duration {
        if state.full_at.len() >= self.most && !state.full_at.contains_key(&key) {
            if now >= state.swept_at + SWEEP_EVERY {
                state.full_at.retain(|_, full_at| *full_at > now);
                state.swept_at = now;
            }
            if state.full_at.len() >= self.most {
                return &mut state.overflow_full_at;
            }
        }
        state.full_at.entry(key).or_default()
    }

    /// Forgets the buckets that are full. To be called now and then.
    pub fn sweep(&self, now: Duration) {
        let mut state = lock(&self.state);
        state.full_at.retain(|_, full_at| *full_at > now);
        state.swept_at = now;
        // What many tries took must not be kept for good.
        if state.full_at.capacity() / 4 > state.full_at.len() {
            state.full_at.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn throttle(most: usize) -> Throttle<u32> {
        Throttle::new(Rate { burst: 3, refill: 10 * SECOND }, most)
    }

    #[test]
    fn a_bucket_holds_its_burst_refills_and_says_how_long_to_wait() {
        let throttle = throttle(10);
        for _ in 0..3 {
            assert_eq!(throttle.take(1, SECOND), Ok(()));
        }
        assert_eq!(throttle.take(1, SECOND), Err(10 * SECOND));
        assert_eq!(throttle.take(1, 5 * SECOND), Err(6 * SECOND));
        assert_eq!(throttle.take(2, SECOND), Ok(()), "somebody else's is full");
        assert_eq!(throttle.take(1, 11 * SECOND), Ok(()));
        assert_eq!(throttle.take(1, 11 * SECOND), Err(10 * SECOND));
        for _ in 0..3 {
            assert_eq!(throttle.take(1, 1_000 * SECOND), Ok(()), "no more than the burst is saved up");
        }
        assert!(throttle.take(1, 1_000 * SECOND).is_err());
    }

    #[test]
    fn what_is_given_back_did_not_count() {
        let throttle = throttle(10);
        for _ in 0..100 {
            assert_eq!(throttle.take(1, SECOND), Ok(()));
            throttle.give_back(1, SECOND);
        }
    }

    #[test]
    fn strangers_without_number_take_no_memory_without_bound_and_cannot_empty_a_bucket_that_is_there() {
        let throttle = throttle(4);
        assert_eq!(throttle.take(1, SECOND), Ok(()));
        let refused = (100..1_100).filter(|stranger| throttle.take(*stranger, SECOND).is_err()).count();
        assert_eq!(refused, 1_000 - 3 - 3, "three found room, and the rest share three tries");
        assert_eq!(throttle.state.lock().unwrap().full_at.len(), 4);
        assert_eq!(throttle.take(1, SECOND), Ok(()));
        assert_eq!(throttle.take(5_000, 1_000 * SECOND), Ok(()), "full buckets make room");
        throttle.sweep(5_000 * SECOND);
        assert!(throttle.state.lock().unwrap().full_at.is_empty());
    }

    proptest! {
        /// Whatever happens when: no more tries than the burst and what came back.
        #[test]
        fn no_more_than_the_rate_gets_through(pauses in proptest::collection::vec(0u64..20_000, 1..200)) {
            let throttle = throttle(10);
            let (mut now, mut passed) = (Duration::ZERO, 0u128);
            for pause in pauses {
                now += Duration::from_millis(pause);
                passed += u128::from(throttle.take(1, now).is_ok());
            }
            prop_assert!(passed <= 3 + now.as_millis() / 10_000);
        }
    }
}
