//! What the server gave us when we logged in, and how its clock stands to ours.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Time};
use crate::proto::Timestamp;
use crate::security::secret::SecretText;

/// A session that has passed its second factor.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is.
    pub login: String,
    /// What names it to the server.
    pub token: SecretText,
    /// When it ends, by the server's clock; `None` where the server did not say.
    pub expires_at: Option<Time>,
}

/// The time by the server's clock, as far as its messages have told us: until the first one, our own.
#[derive(Debug)]
pub struct ServerClock {
    clock: Clock,
    /// How far the server's clock is ahead of ours, in microseconds.
    ahead_micros: AtomicI64,
}

impl ServerClock {
    /// Starts with our own time.
    pub fn new(clock: Clock) -> ServerClock {
        ServerClock { clock, ahead_micros: AtomicI64::new(0) }
    }

    /// The server has just said that it is `time`.
    pub fn heard(&self, time: Time) {
        self.ahead_micros.store(time.as_micros().saturating_sub(self.clock.now().as_micros()), Ordering::Relaxed);
    }

    /// The time by the server's clock.
    pub fn now(&self) -> Time {
        let ahead = self.ahead_micros.load(Ordering::Relaxed);
        Time::from_micros(self.clock.now().as_micros().saturating_add(ahead))
    }

    /// When, by our own clock, it is `time` by the server's.
    pub fn local(&self, time: Time) -> Time {
        Time::from_micros(time.as_micros().saturating_sub(self.ahead_micros.load(Ordering::Relaxed)))
    }

    /// How long it is until `time` of the server's clock; nothing once that has passed.
    pub fn until(&self, time: Time) -> Duration {
        time.since(self.now())
    }
}

/// The time that a protocol timestamp names.
pub fn time_of(timestamp: &Timestamp) -> Time {
    Time::from_secs(timestamp.seconds) + Duration::from_nanos(u64::try_from(timestamp.nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_clock_is_followed_as_soon_as_it_has_been_heard() {
        let ours = Clock::manual(Time::from_secs(1_000));
        let theirs = ServerClock::new(ours.clone());
        assert_eq!(theirs.now(), Time::from_secs(1_000));
        theirs.heard(Time::from_secs(4_600));
        ours.advance(Duration::from_secs(60));
        assert_eq!(theirs.now(), Time::from_secs(4_660));
        assert_eq!(theirs.local(Time::from_secs(4_660)), Time::from_secs(1_060));
        assert_eq!(theirs.until(Time::from_secs(4_670)), Duration::from_secs(10));
        assert_eq!(theirs.until(Time::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn wild_timestamps_do_no_harm() {
        for (seconds, nanos) in [(i64::MAX, i32::MAX), (i64::MIN, i32::MIN), (0, -1)] {
            time_of(&Timestamp { seconds, nanos, ..Default::default() });
        }
    }
}
