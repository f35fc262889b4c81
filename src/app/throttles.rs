//! How often passwords may be tried and accounts registered: softly, by address and by account and address, and before
//! anything is hashed.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use super::refusal::Refusal;
use crate::base::clock::Clock;
use crate::model::ids::{SessionId, UserId};
use crate::model::login::LoginKey;
use crate::security::origin::Origin;
use crate::security::throttle::{Rate, Throttle};

/// How long a message waits for its turn at most.
const LONGEST_TURN: Duration = Duration::from_secs(5);
/// How many messages of one person wait at most.
const MOST_TURNS: u32 = 16;

/// The rates.
#[derive(Clone, Debug)]
pub struct ThrottleLimits {
    /// Passwords for one account from one address. Right ones do not count.
    pub passwords: Rate,
    /// Passwords from one address, for whatever accounts, right or wrong: each costs a hash.
    pub hashes: Rate,
    /// Registrations from one address.
    pub registrations: Rate,
    /// Codes and enrolments of one session: each is a write.
    pub steps: Rate,
    /// Messages of one person; `None` for any number.
    pub messages: Option<Rate>,
    /// How many buckets of each kind are kept.
    pub buckets: usize,
}

/// The buckets. In memory: a restart fills them, and the budget of wrong codes, which matters more, is in the database.
pub struct Throttles {
    clock: Clock,
    /// By a keyed hash of the login, so that long names take no more memory than short ones.
    passwords: Throttle<(u64, Origin)>,
    hashes: Throttle<Origin>,
    registrations: Throttle<Origin>,
    steps: Throttle<SessionId>,
    messages: Option<(Throttle<UserId>, Duration)>,
    hasher: RandomState,
}

/// The try of a password.
#[must_use]
pub(super) struct Try<'a> {
    throttles: &'a Throttles,
    key: (u64, Origin),
}

impl Throttles {
    /// All full.
    pub fn new(limits: &ThrottleLimits, clock: Clock) -> Throttles {
        Throttles {
            clock,
            passwords: Throttle::new(limits.passwords, limits.buckets),
            hashes: Throttle::new(limits.hashes, limits.buckets),
            registrations: Throttle::new(limits.registrations, limits.buckets),
            steps: Throttle::new(limits.steps, limits.buckets),
            messages: limits.messages.map(|rate| {
                let longest = LONGEST_TURN.min(rate.refill.saturating_mul(MOST_TURNS));
                (Throttle::new(rate, limits.buckets), longest)
            }),
            hasher: RandomState::new(),
        }
    }

    /// Before a password is verified.
    ///
    /// # Errors
    /// [`Refusal::Throttled`].
    pub(super) fn password(&self, login: &LoginKey, address: Option<IpAddr>) -> Result<Try<'_>, Refusal> {
        let (now, origin) = (self.clock.elapsed(), Origin::from_address(address));
        let key = (self.hasher.hash_one(login.name()), origin);
        self.passwords.take(key, now).map_err(Refusal::Throttled)?;
        self.hashes.take(origin, now).map_err(|wait| {
            self.passwords.give_back(key, now);
            Refusal::Throttled(wait)
        })?;
        Ok(Try { throttles: self, key })
    }

    /// Before an account is registered.
    ///
    /// # Errors
    /// [`Refusal::Throttled`].
    pub(super) fn registration(&self, address: Option<IpAddr>) -> Result<(), Refusal> {
        self.registrations.take(Origin::from_address(address), self.clock.elapsed()).map_err(Refusal::Throttled)
    }

    /// Before a session gives a code or starts an enrolment.
    ///
    /// # Errors
    /// [`Refusal::Throttled`].
    pub(super) fn step(&self, session: SessionId) -> Result<(), Refusal> {
        self.steps.take(session, self.clock.elapsed()).map_err(Refusal::Throttled)
    }

    /// Gives a message of a person its turn: how long it waits before it is appended. Messages that are sent in order get
    /// their turns in order.
    ///
    /// # Errors
    /// [`Refusal::MessageRate`]: too many messages of this person wait already.
    pub fn message(&self, person: UserId) -> Result<Duration, Refusal> {
        let Some((throttle, longest)) = &self.messages else { return Ok(Duration::ZERO) };
        throttle.reserve(person, self.clock.elapsed(), *longest).map_err(Refusal::MessageRate)
    }

    /// Forgets full buckets.
    pub(super) fn sweep(&self) {
        let now = self.clock.elapsed();
        self.passwords.sweep(now);
        self.hashes.sweep(now);
        self.registrations.sweep(now);
        self.steps.sweep(now);
        if let Some((messages, _)) = &self.messages {
            messages.sweep(now);
        }
    }
}

impl Try<'_> {
    /// The password was right: for its account it does not count.
    pub(super) fn was_right(self) {
        self.throttles.passwords.give_back(self.key, self.throttles.clock.elapsed());
    }
}
