//! Rate limits by token buckets.
//!
//! A bucket holds a number of tries and refills at a steady rate. A try that turns out to be honest can be given back, so that
//! only the others count. Nothing is ever locked: after a wait the next try is allowed. (The arithmetic is the generic cell
//! rate algorithm of ITU-T I.371: a bucket is one point in time, at which it will be full again.)
//!
//! Memory is bounded. Once there are as many buckets as allowed, all keys without a bucket share one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

use crate::base::lock::lock;

/// The rate of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tries in a full bucket; at least one.
    pub burst: u32,
    /// How long it takes to regain one.
    pub refill: Duration,
}

/// Buckets of one kind. Time is a [`Duration`] since a start that never changes ([`crate::base::clock::Clock::elapsed`]),
/// because the time of day may jump.
pub struct Throttle<K> {
    rate: Rate,
    most: usize,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    /// When each bucket is full again. A full bucket needs no entry.
    full_at: HashMap<K, Duration>,
    /// The bucket that all keys without one share.
    overflow_full_at: Duration,
    swept_at: Duration,
}

/// How often full buckets are removed when there is no room.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl<K: Hash + Eq> Throttle<K> {
    /// No bucket yet, and never more than `most`.
    pub fn new(rate: Rate, most: usize) -> Throttle<K> {
        let buckets = Buckets { full_at: HashMap::new(), overflow_full_at: Duration::ZERO, swept_at: Duration::ZERO };
        Throttle { rate, most, buckets: Mutex::new(buckets) }
    }

    /// Takes a try out of the bucket of `key`.
    ///
    /// # Errors
    /// The bucket is empty; the time until the next try. Nothing was taken.
    pub fn take(&self, key: K, now: Duration) -> Result<(), Duration> {
        self.reserve(key, now, Duration::ZERO).map(|_| ())
    }

    /// As [`Throttle::take`], but takes a try that comes back within `longest` in advance. Returns how long to wait for it.
    ///
    /// # Errors
    /// It takes longer: how long until a try is within `longest`. Nothing was taken.
    pub fn reserve(&self, key: K, now: Duration, longest: Duration) -> Result<Duration, Duration> {
        let mut buckets = lock(&self.buckets);
        let most_owed = self.rate.refill.saturating_mul(self.rate.burst.max(1));
        let full_at = self.bucket(&mut buckets, key, now);
        let owed = full_at.saturating_sub(now) + self.rate.refill;
        let wait = owed.saturating_sub(most_owed);
        match wait.checked_sub(longest) {
            None | Some(Duration::ZERO) => {
                *full_at = now + owed;
                Ok(wait)
            }
            Some(beyond) => Err(beyond),
        }
    }

    /// Gives back a try that [`Throttle::take`] took.
    pub fn give_back(&self, key: K, now: Duration) {
        let mut buckets = lock(&self.buckets);
        let full_at = self.bucket(&mut buckets, key, now);
        *full_at = full_at.saturating_sub(self.rate.refill);
    }

    fn bucket<'a>(&self, buckets: &'a mut Buckets<K>, key: K, now: Duration) -> &'a mut Duration {
        if buckets.full_at.len() >= self.most && !buckets.full_at.contains_key(&key) {
            if now >= buckets.swept_at + SWEEP_EVERY {
                buckets.full_at.retain(|_, full_at| *full_at > now);
                buckets.swept_at = now;
            }
            if buckets.full_at.len() >= self.most {
                return &mut buckets.overflow_full_at;
            }
        }
        buckets.full_at.entry(key).or_default()
    }

    /// Removes the buckets that are full. Call it now and then.
    pub fn sweep(&self, now: Duration) {
        let mut buckets = lock(&self.buckets);
        buckets.full_at.retain(|_, full_at| *full_at > now);
        buckets.swept_at = now;
        // The memory of a burst must not be kept for good.
        if buckets.full_at.capacity() / 4 > buckets.full_at.len() {
            buckets.full_at.shrink_to_fit();
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
        assert_eq!(throttle.take(2, SECOND), Ok(()), "another bucket is full");
        assert_eq!(throttle.take(1, 11 * SECOND), Ok(()));
        assert_eq!(throttle.take(1, 11 * SECOND), Err(10 * SECOND));
        for _ in 0..3 {
            assert_eq!(throttle.take(1, 1_000 * SECOND), Ok(()), "no more than the burst is saved up");
        }
        assert!(throttle.take(1, 1_000 * SECOND).is_err());
    }

    #[test]
    fn a_try_that_is_given_back_does_not_count() {
        let throttle = throttle(10);
        for _ in 0..100 {
            assert_eq!(throttle.take(1, SECOND), Ok(()));
            throttle.give_back(1, SECOND);
        }
    }

    #[test]
    fn many_strangers_take_bounded_memory_and_cannot_empty_a_bucket_that_exists() {
        let throttle = throttle(4);
        assert_eq!(throttle.take(1, SECOND), Ok(()));
        let refused = (100..1_100).filter(|stranger| throttle.take(*stranger, SECOND).is_err()).count();
        assert_eq!(refused, 1_000 - 3 - 3, "three found room, and the rest share three tries");
        assert_eq!(throttle.buckets.lock().unwrap().full_at.len(), 4);
        assert_eq!(throttle.take(1, SECOND), Ok(()));
        assert_eq!(throttle.take(5_000, 1_000 * SECOND), Ok(()), "full buckets make room");
        throttle.sweep(5_000 * SECOND);
        assert!(throttle.buckets.lock().unwrap().full_at.is_empty());
    }

    #[test]
    fn a_try_can_be_reserved_in_advance_and_then_the_next_waits_longer() {
        let throttle = throttle(10);
        for wait in [0, 0, 0, 10, 20] {
            assert_eq!(throttle.reserve(1, SECOND, 20 * SECOND), Ok(wait * SECOND));
        }
        assert_eq!(throttle.reserve(1, SECOND, 20 * SECOND), Err(10 * SECOND));
        assert_eq!(throttle.reserve(1, 11 * SECOND, 20 * SECOND), Ok(20 * SECOND));
        assert_eq!(throttle.take(1, 11 * SECOND), Err(30 * SECOND));
    }

    proptest! {
        /// Whenever the tries come: never more than the burst and what was regained.
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
