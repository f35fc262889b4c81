//! The server's clock, as far as its answers reveal it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::base::clock::{Clock, Time};
use crate::base::lock::lock;

/// Clocks further apart than this deserve a warning: a code is good for 30 seconds.
const WARN_BEYOND: Duration = Duration::from_secs(15);

/// How far our clock is from the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSkew {
    /// Our clock is ahead by this much.
    OursAhead(Duration),
    /// Our clock is behind by this much.
    OursBehind(Duration),
}

/// Compares clocks. A call was sent at `sent` and answered at `received`, both by our clock; its answer says that the server's
/// clock showed `server`. We assume that it did so halfway. `None` if the clocks agree well enough.
pub fn skew(sent: Time, received: Time, server: Time) -> Option<ClockSkew> {
    let middle = middle(sent, received);
    let (ahead, behind) = (middle.since(server), server.since(middle));
    if ahead > WARN_BEYOND {
        Some(ClockSkew::OursAhead(ahead))
    } else if behind > WARN_BEYOND {
        Some(ClockSkew::OursBehind(behind))
    } else {
        None
    }
}

fn middle(sent: Time, received: Time) -> Time {
    sent + received.since(sent) / 2
}

/// The server's clock: our own time, corrected by what the server's messages say.
#[derive(Debug)]
pub struct ServerClock {
    clock: Clock,
    /// How far the server's clock is ahead of ours, in microseconds.
    ahead_micros: AtomicI64,
    /// Result of the last measurement.
    skew: Mutex<Option<ClockSkew>>,
}

impl ServerClock {
    /// Starts with our own time.
    pub fn new(clock: Clock) -> ServerClock {
        ServerClock { clock, ahead_micros: AtomicI64::new(0), skew: Mutex::default() }
    }

    /// Notes that the server's clock shows `time` now.
    pub fn heard(&self, time: Time) {
        self.set(time, self.clock.now());
    }

    /// Our own time.
    pub fn ours(&self) -> Time {
        self.clock.now()
    }

    /// Notes that the server's clock showed `time` in the answer that has just come to a call sent at `sent`.
    pub fn answered(&self, sent: Time, time: Time) {
        let received = self.clock.now();
        self.set(time, middle(sent, received));
        *lock(&self.skew) = skew(sent, received, time);
    }

    /// The skew that the last answer showed, if it deserves a warning.
    pub fn skew(&self) -> Option<ClockSkew> {
        *lock(&self.skew)
    }

    fn set(&self, theirs: Time, ours: Time) {
        self.ahead_micros.store(theirs.as_micros().saturating_sub(ours.as_micros()), Ordering::Relaxed);
    }

    /// The time by the server's clock.
    pub fn now(&self) -> Time {
        let ahead = self.ahead_micros.load(Ordering::Relaxed);
        Time::from_micros(self.clock.now().as_micros().saturating_add(ahead))
    }

    /// Converts a `time` of the server's clock to ours.
    pub fn local(&self, time: Time) -> Time {
        Time::from_micros(time.as_micros().saturating_sub(self.ahead_micros.load(Ordering::Relaxed)))
    }

    /// How long until the server's clock shows `time`; zero once it has passed.
    pub fn until(&self, time: Time) -> Duration {
        time.since(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_clock_is_followed_once_it_is_known() {
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
    fn a_skew_of_more_than_15_seconds_is_measured_from_the_middle_of_the_call() {
        let at = Time::from_secs;
        let secs = Duration::from_secs;
        for (sent, received, server, expected) in [
            (1_000, 1_000, 1_000, None),
            (1_000, 1_000, 1_015, None),
            (1_000, 1_000, 985, None),
            (1_000, 1_000, 1_016, Some(ClockSkew::OursBehind(secs(16)))),
            (1_000, 1_000, 984, Some(ClockSkew::OursAhead(secs(16)))),
            // A slow call: the middle counts.
            (1_000, 1_020, 1_025, None),
            (1_000, 1_020, 1_026, Some(ClockSkew::OursBehind(secs(16)))),
            (1_000, 1_020, 1_000, None),
            (1_000, 1_020, 994, Some(ClockSkew::OursAhead(secs(16)))),
            // Our clock was set back meanwhile: the call seems to have taken no time.
            (1_000, 900, 1_010, None),
            (1_000, 1_000, 1_000 - 86_400, Some(ClockSkew::OursAhead(secs(86_400)))),
        ] {
            assert_eq!(skew(at(sent), at(received), at(server)), expected, "{sent} {received} {server}");
        }
        for wild in [i64::MIN, i64::MAX] {
            skew(at(wild), at(0), at(wild));
            skew(at(0), at(wild), at(wild));
        }
    }

    #[test]
    fn an_answer_sets_the_clock_and_the_next_one_may_withdraw_the_warning() {
        let ours = Clock::manual(Time::from_secs(1_000));
        let theirs = ServerClock::new(ours.clone());
        let sent = theirs.ours();
        ours.advance(Duration::from_secs(4));
        theirs.answered(sent, Time::from_secs(1_102));
        assert_eq!(theirs.skew(), Some(ClockSkew::OursBehind(Duration::from_secs(100))));
        assert_eq!(theirs.now(), Time::from_secs(1_104));
        theirs.answered(theirs.ours(), Time::from_secs(1_004));
        assert_eq!(theirs.skew(), None);
    }
}
