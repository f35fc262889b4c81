//! Growing pauses between attempts.

use std::time::Duration;

/// The pause before the second attempt.
const FIRST: Duration = Duration::from_millis(250);
/// The longest pause, however many attempts failed: a person waits in front of the screen.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// Pauses that double from a quarter of a second to ten seconds. Each varies by up to a fifth, so that the clients of a
/// restarted server do not return all at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Starts with the shortest pause.
    pub fn new() -> Backoff {
        Backoff { next: FIRST }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause.mul_f64(0.8 + 0.4 * random_fraction())
    }

    /// Starts over with the shortest pause, after an attempt that succeeded.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new()
    }
}

/// A number between 0 and 1; 0.5 if the system gives no randomness, which only costs the variation.
fn random_fraction() -> f64 {
    let mut byte = [0];
    match getrandom::fill(&mut byte) {
        Ok(()) => f64::from(byte[0]) / 255.0,
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over_after_a_success() {
        let mut backoff = Backoff::new();
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            let pause = backoff.pause();
            assert!(pause > last, "{pause:?} after {last:?}");
            last = pause;
        }
        for _ in 0..50 {
            assert!(backoff.pause() <= LONGEST.mul_f64(1.2));
        }
        backoff.reset();
        assert!(backoff.pause() <= FIRST.mul_f64(1.2));
    }
}
