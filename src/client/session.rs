//! What the server gave us when we logged in, and how its clock stands to ours.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::base::clock::{Clock, Time};
use crate::base::lock::lock;
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

/// How far two clocks may be apart before that is worth a word: a code is good for 30 seconds.
const WORTH_A_WORD: Duration = Duration::from_secs(15);

/// Two clocks that are too far apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// Ours is ahead of the server's by so much.
    OursAhead(Duration),
    /// Ours is behind it.
    OursBehind(Duration),
}

/// Judges the clock of a server that said it was `server`, in answer to a call that by our clock was sent at `sent` and
/// answered at `received`: the server is taken to have said so in the middle. `None` when the clocks agree well enough.
pub fn apart(sent: Time, received: Time, server: Time) -> Option<Apart> {
    let middle = middle(sent, received);
    let (ahead, behind) = (middle.since(server), server.since(middle));
    if ahead > WORTH_A_WORD {
        Some(Apart::OursAhead(ahead))
    } else if behind > WORTH_A_WORD {
        Some(Apart::OursBehind(behind))
    } else {
        None
    }
}

fn middle(sent: Time, received: Time) -> Time {
    sent + received.since(sent) / 2
}

/// The time by the server's clock, as far as its messages have told us: until the first one, our own.
#[derive(Debug)]
pub struct ServerClock {
    clock: Clock,
    /// How far the server's clock is ahead of ours, in microseconds.
    ahead_micros: AtomicI64,
    /// What the last measurement said.
    apart: Mutex<Option<Apart>>,
}

impl ServerClock {
    /// Starts with our own time.
    pub fn new(clock: Clock) -> ServerClock {
        ServerClock { clock, ahead_micros: AtomicI64::new(0), apart: Mutex::default() }
    }

    /// The server has just said that it is `time`.
    pub fn heard(&self, time: Time) {
        self.set(time, self.clock.now());
    }

    /// Our own time.
    pub fn ours(&self) -> Time {
        self.clock.now()
    }

    /// The server has said that it was `time` in answer to a call that was sent at `sent` by our clock, and has just been
    /// answered.
    pub fn answered(&self, sent: Time, time: Time) {
        let received = self.clock.now();
        self.set(time, middle(sent, received));
        *lock(&self.apart) = apart(sent, received, time);
    }

    /// Whether the two clocks are too far apart, as of the last answer that told.
    pub fn apart(&self) -> Option<Apart> {
        *lock(&self.apart)
    }

    fn set(&self, theirs: Time, ours: Time) {
        self.ahead_micros.store(theirs.as_micros().saturating_sub(ours.as_micros()), Ordering::Relaxed);
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
    fn clocks_more_than_15_seconds_apart_are_told_by_the_middle_of_the_call() {
        let at = Time::from_secs;
        let secs = Duration::from_secs;
        for (sent, received, server, judged) in [
            (1_000, 1_000, 1_000, None),
            (1_000, 1_000, 1_015, None),
            (1_000, 1_000, 985, None),
            (1_000, 1_000, 1_016, Some(Apart::OursBehind(secs(16)))),
            (1_000, 1_000, 984, Some(Apart::OursAhead(secs(16)))),
            // A slow call: the middle counts.
            (1_000, 1_020, 1_025, None),
            (1_000, 1_020, 1_026, Some(Apart::OursBehind(secs(16)))),
            (1_000, 1_020, 1_000, None),
            (1_000, 1_020, 994, Some(Apart::OursAhead(secs(16)))),
            // Our clock was set back meanwhile: the call took no time that we know of.
            (1_000, 900, 1_010, None),
            (1_000, 1_000, 1_000 - 86_400, Some(Apart::OursAhead(secs(86_400)))),
        ] {
            assert_eq!(apart(at(sent), at(received), at(server)), judged, "{sent} {received} {server}");
        }
        for wild in [i64::MIN, i64::MAX] {
            apart(at(wild), at(0), at(wild));
            apart(at(0), at(wild), at(wild));
        }
    }

    #[test]
    fn an_answer_sets_the_clock_and_the_next_one_may_take_the_warning_back() {
        let ours = Clock::manual(Time::from_secs(1_000));
        let theirs = ServerClock::new(ours.clone());
        let sent = theirs.ours();
        ours.advance(Duration::from_secs(4));
        theirs.answered(sent, Time::from_secs(1_102));
        assert_eq!(theirs.apart(), Some(Apart::OursBehind(Duration::from_secs(100))));
        assert_eq!(theirs.now(), Time::from_secs(1_104));
        theirs.answered(theirs.ours(), Time::from_secs(1_004));
        assert_eq!(theirs.apart(), None);
    }
}
