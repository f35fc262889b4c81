//! The budget of wrong codes, and the growing delay: they stand between six digits and an attacker that knows the password.
//!
//! The budget is kept as one point in time, at which it will be whole again: each wrong code moves it on by the time that one
//! takes to come back. Both are rows, so that they count across sessions, connections, addresses and restarts.

use std::time::Duration;

use super::sql::{DbError, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::model::ids::UserId;

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuessLimits {
    /// How many wrong codes a whole budget holds.
    pub budget: u32,
    /// How long it takes until one comes back. Nothing else brings one back but a new second factor.
    pub refill: Duration,
    /// How long the delay is at most; it is 1 s after the second wrong code in a row, and doubles with each.
    pub longest_delay: Duration,
}

/// Why a code is not even looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The last wrong code was too short a time ago.
    Delay(Duration),
    /// The budget is used up: how long until one guess comes back.
    Spent(Duration),
}

/// A guess that was taken out of the budget, and the counters before it.
#[derive(Debug)]
#[must_use = "a code that was right, or used before, is no guess"]
pub struct Guess {
    user_id: UserId,
    before: Counters,
}

#[derive(Clone, Copy, Debug)]
struct Counters {
    /// When the budget is whole again, in microseconds since the Unix epoch.
    whole_at: i64,
    in_row: i64,
    not_before: i64,
    since_login: i64,
}

statements! {
    COUNTERS = "SELECT guesses_whole_at, wrong_in_row, guess_not_before, wrong_since_login FROM users WHERE id = ?1";
    SET_COUNTERS = "UPDATE users
        SET guesses_whole_at = ?2, wrong_in_row = ?3, guess_not_before = ?4, wrong_since_login = ?5 WHERE id = ?1";
}

fn counters(tx: &ReadTx<'_>, user_id: UserId) -> Result<Counters, DbError> {
    tx.conn.one(COUNTERS, values![user_id], |row| {
        Ok(Counters { whole_at: row.get(0)?, in_row: row.get(1)?, not_before: row.get(2)?, since_login: row.get(3)? })
    })
}

fn set(tx: &Tx<'_>, user_id: UserId, to: Counters) -> Result<(), DbError> {
    let values = values![user_id, to.whole_at, to.in_row, to.not_before, to.since_login];
    tx.conn.execute(SET_COUNTERS, values)?;
    Ok(())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl GuessLimits {
    /// The delay after one more wrong code than `in_row`: none, 1 s, 2 s, 4 s and so on, in microseconds.
    fn delay(&self, in_row: i64) -> i64 {
        match in_row {
            ..1 => 0,
            in_row => micros(self.longest_delay).min(1_000_000 << (in_row - 1).min(30)),
        }
    }
}

/// Takes a guess before its code is looked at, as if it were wrong. A caller that finds the code right gives it back. What
/// this writes must be kept, also where it says to wait.
///
/// Reading and writing later is right here: writes happen one after the other.
///
/// # Errors
/// The database's.
pub fn take(tx: &Tx<'_>, user_id: UserId, limits: &GuessLimits, now: Time) -> Result<Result<Guess, Wait>, DbError> {
    let (now, refill, longest) = (now.as_micros(), micros(limits.refill), micros(limits.longest_delay));
    // The most that may be missing for there to be one guess left.
    let missing = refill.saturating_mul(i64::from(limits.budget.saturating_sub(1)));
    // No more can be missing than a whole budget: anything beyond that comes from other settings, or from a clock that was
    // set back.
    let latest = now.saturating_add(refill.saturating_mul(i64::from(limits.budget)));
    let found = counters(tx, user_id)?;
    let before = Counters { whole_at: found.whole_at.min(latest), ..found };
    // A delay beyond the longest one comes from a clock that was set back: it must not lock the account.
    let is_delayed = before.not_before > now && before.not_before <= now.saturating_add(longest);
    let is_spent = before.whole_at.saturating_sub(now) > missing;
    if !is_delayed && !is_spent {
        let taken = Counters {
            whole_at: before.whole_at.max(now).saturating_add(refill),
            in_row: before.in_row.saturating_add(1),
            not_before: now.saturating_add(limits.delay(before.in_row)),
            since_login: before.since_login.saturating_add(1),
        };
        set(tx, user_id, taken)?;
        return Ok(Ok(Guess { user_id, before }));
    }
    if before.whole_at != found.whole_at {
        set(tx, user_id, before)?;
    }
    let until = |time: i64| Duration::from_micros(u64::try_from(time.saturating_sub(now)).unwrap_or(0));
    Ok(Err(if is_spent {
        Wait::Spent(until(before.whole_at - missing))
    } else {
        Wait::Delay(until(before.not_before))
    }))
}

impl Guess {
    /// It was no guess: a code that was used before. The counters are as they were.
    ///
    /// # Errors
    /// The database's.
    pub fn give_back(self, tx: &Tx<'_>) -> Result<(), DbError> {
        set(tx, self.user_id, self.before)
    }

    /// The code was right: the delay is over, and the budget as it was.
    ///
    /// # Errors
    /// The database's.
    pub fn was_right(self, tx: &Tx<'_>) -> Result<(), DbError> {
        set(tx, self.user_id, Counters { in_row: 0, not_before: 0, ..self.before })
    }

    /// The code was wrong: the guess is gone.
    pub fn was_wrong(self) {}
}

/// Makes the budget whole: a new second factor was confirmed.
///
/// # Errors
/// The database's.
pub fn make_whole(tx: &Tx<'_>, user_id: UserId) -> Result<(), DbError> {
    let now = counters(tx, user_id)?;
    set(tx, user_id, Counters { whole_at: 0, in_row: 0, not_before: 0, ..now })
}

/// How many guesses an account has left.
///
/// # Errors
/// The database's.
pub fn left(tx: &ReadTx<'_>, user_id: UserId, limits: &GuessLimits, now: Time) -> Result<u32, DbError> {
    let missing = counters(tx, user_id)?.whole_at.saturating_sub(now.as_micros()).max(0);
    let refill = micros(limits.refill).max(1);
    let taken = missing / refill + i64::from(missing % refill > 0);
    Ok(limits.budget.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX)))
}

#[cfg(test)]
mod tests {
    use super::super::testing::store;
    use super::super::{Store, StoreError, users};
    use super::*;
    use crate::model::login::Login;
    use crate::security::passwords::PasswordHash;

    const DAY: Duration = Duration::from_secs(86_400);
    const LIMITS: GuessLimits = GuessLimits { budget: 30, refill: DAY, longest_delay: Duration::from_secs(300) };

    fn user(store: &Store) -> UserId {
        let login = Login::parse("victim").unwrap();
        let insert = move |tx: &Tx<'_>| {
            let (key, hash) = (login.key(), PasswordHash::from_stored("x".into()));
            let user = users::NewUser::registered(&login, &key, &hash, Time::from_secs(0), None);
            Ok::<_, StoreError>(users::insert(tx, &user)?.unwrap())
        };
        store.write(insert).unwrap()
    }

    #[derive(Clone, Copy)]
    enum Is {
        Wrong,
        Right,
        Used,
    }

    fn guess(store: &Store, user: UserId, now: Time, is: Is) -> Result<(), Wait> {
        store
            .write(move |tx| {
                let guess = match take(tx, user, &LIMITS, now)? {
                    Ok(guess) => guess,
                    Err(wait) => return Ok(Err(wait)),
                };
                match is {
                    Is::Wrong => guess.was_wrong(),
                    Is::Right => guess.was_right(tx)?,
                    Is::Used => guess.give_back(tx)?,
                }
                Ok::<_, StoreError>(Ok(()))
            })
            .unwrap()
    }

    #[test]
    fn the_delay_grows_and_a_right_code_clears_it() {
        let (_dir, store) = store();
        let user = user(&store);
        let mut now = Time::from_secs(1_000_000);
        assert_eq!(guess(&store, user, now, Is::Wrong), Ok(()));
        assert_eq!(guess(&store, user, now, Is::Wrong), Ok(()), "the first costs no time");
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            let delay = Duration::from_secs(seconds);
            assert_eq!(guess(&store, user, now, Is::Right), Err(Wait::Delay(delay)), "not even a right one");
            now = now + delay;
            assert_eq!(guess(&store, user, now, Is::Used), Ok(()), "a used code leaves all as it is");
            assert_eq!(guess(&store, user, now, Is::Wrong), Ok(()));
        }
        now = now + LIMITS.longest_delay;
        assert_eq!(guess(&store, user, now, Is::Right), Ok(()));
        assert_eq!(guess(&store, user, now, Is::Wrong), Ok(()));
        assert_eq!(guess(&store, user, now, Is::Wrong), Ok(()), "it starts anew");
    }

    #[test]
    fn a_year_has_395_guesses_whatever_right_codes_come_between() {
        let (_dir, store) = store();
        let user = user(&store);
        let start = Time::from_secs(1_700_000_000);
        let (mut now, mut guesses) = (start, 0);
        while now.since(start) < 365 * DAY {
            match guess(&store, user, now, Is::Wrong) {
                Ok(()) => {
                    guesses += 1;
                    // The victim logs in right after each: the delay goes, the budget does not come back.
                    let _ = guess(&store, user, now + LIMITS.longest_delay, Is::Right);
                    now = now + LIMITS.longest_delay;
                }
                Err(Wait::Delay(wait) | Wait::Spent(wait)) => now = now + wait,
            }
        }
        assert_eq!(guesses, 30 + 364);
    }

    #[test]
    fn a_spent_budget_says_when_the_next_guess_is_and_a_new_factor_makes_it_whole() {
        let (_dir, store) = store();
        let user = user(&store);
        let mut now = Time::from_secs(1_700_000_000);
        let start = now;
        for _ in 0..30 {
            now = now + LIMITS.longest_delay;
            assert_eq!(guess(&store, user, now, Is::Wrong), Ok(()));
        }
        now = now + LIMITS.longest_delay;
        let Err(Wait::Spent(wait)) = guess(&store, user, now, Is::Right) else { panic!("it is spent") };
        assert_eq!(now + wait, start + LIMITS.longest_delay + DAY);
        assert_eq!(store.read(|c| left(c, user, &LIMITS, now)).unwrap(), 0);
        assert_eq!(store.read(|c| left(c, user, &LIMITS, now + wait)).unwrap(), 1);
        store.write(move |tx| Ok::<_, StoreError>(make_whole(tx, user)?)).unwrap();
        assert_eq!(store.read(|c| left(c, user, &LIMITS, now)).unwrap(), 30);
        assert_eq!(guess(&store, user, now, Is::Right), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_locks_no_account_by_the_delay() {
        let (_dir, store) = store();
        let user = user(&store);
        let now = Time::from_secs(1_700_000_000);
        assert_eq!(guess(&store, user, now, Is::Wrong), Ok(()));
        assert_eq!(guess(&store, user, now, Is::Wrong), Ok(()));
        assert_eq!(guess(&store, user, now - DAY, Is::Right), Ok(()));
    }

    #[test]
    fn a_budget_from_another_time_or_under_other_settings_is_missed_for_no_longer_than_one_is() {
        let (_dir, store) = store();
        let user = user(&store);
        let now = Time::from_secs(1_700_000_000);
        assert_eq!(guess(&store, user, now + 1_000 * DAY, Is::Wrong), Ok(()));
        let Err(Wait::Spent(wait)) = guess(&store, user, now, Is::Right) else { panic!("it looks spent") };
        assert_eq!(wait, DAY);
        assert_eq!(guess(&store, user, now + DAY, Is::Right), Ok(()));
    }
}
