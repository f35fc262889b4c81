//! The context of an act within a transaction: when it happens, where it comes from, and the keys and limits it needs.

use std::net::IpAddr;
use std::sync::Arc;

use super::limits::AppLimits;
use super::refusal::{Error, Refusal};
use crate::base::clock::Time;
use crate::model::ids::{FactorId, UserId};
use crate::security::chain::Chain;
use crate::security::codes::{CodeHasher, CodePurpose, OneTimeCode};
use crate::security::secret::SecretText;
use crate::security::totp::{self, Code, CodeVerdict};
use crate::security::vault::{Vault, VaultError};
use crate::store::audit::{self, Act};
use crate::store::factors::{self, Factor};
use crate::store::guesses::{self, Wait};
use crate::store::sessions::{self, End, Session, Stage};
use crate::store::{DbError, Tx, codes, users};

/// The keys that open, hash and chain rows of the database.
pub struct Keys {
    /// Seals secrets.
    pub vault: Vault,
    /// Hashes one-time codes.
    pub codes: CodeHasher,
    /// Chains the audit.
    pub audit: Chain,
}

/// How a transaction ends that is refused or fails.
#[derive(Debug)]
pub(super) enum TxEnd {
    /// The caller is refused, and what was written so far is committed: a guess that counts.
    Commit(Refusal),
    /// What was written so far is rolled back.
    Rollback(Error),
}

macro_rules! rolled_back {
    ($($error:ty),+) => { $( impl From<$error> for TxEnd {
        fn from(error: $error) -> TxEnd { TxEnd::Rollback(error.into()) }
    } )+ };
}
rolled_back!(Error, Refusal, DbError, VaultError, getrandom::Error);

/// Whether a wrong code is a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guessing {
    /// The caller may not know the secret.
    Counts,
    /// The caller was told the secret.
    Pointless,
}

/// Shown to the user once login is complete.
#[derive(Debug, Default)]
pub struct Welcome {
    /// How many wrong codes there were since the last login.
    pub wrong_codes: u32,
    /// How many recovery codes are left.
    pub recovery_codes_left: u32,
    /// New recovery codes, when an enrolment was confirmed. They are shown once.
    pub recovery_codes: Vec<SecretText>,
}

/// The context of an act.
#[derive(Clone)]
pub(super) struct AuditContext {
    pub(super) limits: AppLimits,
    pub(super) keys: Arc<Keys>,
    pub(super) now: Time,
    pub(super) address: Option<IpAddr>,
}

impl AuditContext {
    /// Adds a row to the audit.
    pub(super) fn audit(
        &self,
        tx: &Tx<'_>,
        actor: &str,
        action: &str,
        subject: &str,
        detail: String,
    ) -> Result<(), DbError> {
        let act = Act {
            actor: actor.to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            address: self.opened_from().unwrap_or_default(),
            detail,
        };
        audit::append(tx, &self.keys.audit, self.now, &act)
    }

    /// The address as it is kept.
    pub(super) fn opened_from(&self) -> Option<String> {
        self.address.map(|address| address.to_canonical().to_string())
    }

    /// Uses a code up. Of any number of callers with the same code, one succeeds.
    pub(super) fn use_code(
        &self,
        tx: &Tx<'_>,
        user_id: UserId,
        factor: &Factor,
        code: Option<&Code>,
        guessing: Guessing,
    ) -> Result<(), TxEnd> {
        // A text that cannot be a code is no guess either.
        let code = code.ok_or(Refusal::Code)?;
        let guess = match guessing {
            Guessing::Pointless => None,
            Guessing::Counts => match guesses::take(tx, user_id, &self.limits.guesses, self.now)? {
                Ok(guess) => Some(guess),
                Err(Wait::Delay(wait)) => return Err(TxEnd::Commit(Refusal::Throttled(wait))),
                Err(Wait::Spent(wait)) => return Err(TxEnd::Commit(Refusal::GuessesSpent(wait))),
            },
        };
        let secret = self.keys.vault.open(factors::place(user_id), &factor.sealed)?;
        match totp::check(&secret, code, self.now, factor.last_step) {
            CodeVerdict::Fresh(step) if factors::use_step(tx, user_id, factor.id, step)? => {
                guess.map_or(Ok(()), |guess| guess.was_right(tx))?;
                Ok(())
            }
            CodeVerdict::Fresh(_) | CodeVerdict::AlreadyUsed => {
                guess.map_or(Ok(()), |guess| guess.give_back(tx))?;
                Err(Refusal::CodeUsed.into())
            }
            CodeVerdict::Wrong => {
                if let Some(guess) = guess {
                    guess.was_wrong();
                }
                Err(TxEnd::Commit(Refusal::Code))
            }
        }
    }

    /// Completes a session on a factor. Where the account has too many complete sessions, the oldest ones end.
    pub(super) fn complete(
        &self,
        tx: &Tx<'_>,
        session: &mut Session,
        login: &str,
        factor_id: FactorId,
    ) -> Result<Welcome, Error> {
        let user_id = session.user_id;
        let mut welcome = Welcome::default();
        let mut expires_at = session.expires_at;
        if session.stage != Stage::Complete {
            expires_at = self.now + self.limits.complete_session;
            welcome.wrong_codes = users::logged_in(tx, user_id, self.now)?;
            self.audit(tx, login, "login", login, format!("session {}", session.id.handle()))?;
        }
        sessions::complete(tx, session, login, factor_id, expires_at)?;
        let keep = self.limits.complete_sessions_per_user;
        sessions::end(tx, End::Oldest { user_id, in_hand: session.id, complete: true, keep })?;
        welcome.recovery_codes_left = codes::recovery_left(tx, user_id)?;
        Ok(welcome)
    }

    /// Confirms a pending factor by its first code: it becomes the active one, by compare-and-swap on the factor that was
    /// there when the session opened; every other session and pending factor of the account goes, and so do its old recovery
    /// codes. Returns the new ones.
    pub(super) fn confirm(
        &self,
        tx: &Tx<'_>,
        session: &Session,
        login: &str,
        pending: &Factor,
        code: Option<&Code>,
    ) -> Result<Vec<SecretText>, TxEnd> {
        let user_id = session.user_id;
        let before = factors::active(tx, user_id)?.map(|factor| factor.id);
        if before != session.base_factor {
            return Err(Refusal::EnrolmentOvertaken.into());
        }
        let guessing = if pending.of_account { Guessing::Counts } else { Guessing::Pointless };
        self.use_code(tx, user_id, pending, code, guessing)?;
        factors::activate(tx, user_id, pending.id)?;
        users::set_enrolled(tx, user_id, self.now)?;
        guesses::make_whole(tx, user_id)?;
        sessions::end(tx, End::Others(user_id, session.id))?;
        let action = if before.is_some() { "factor.replaced" } else { "factor.confirmed" };
        self.audit(tx, login, action, login, String::new())?;
        Ok(self.new_recovery_codes(tx, user_id)?)
    }

    /// Makes new recovery codes in place of the old ones.
    pub(super) fn new_recovery_codes(&self, tx: &Tx<'_>, user_id: UserId) -> Result<Vec<SecretText>, Error> {
        let made = (0..self.limits.recovery_codes).map(|_| OneTimeCode::random()).collect::<Result<Vec<_>, _>>()?;
        let hash = |code: &OneTimeCode| self.keys.codes.hash(code, CodePurpose::Recovery { user_id });
        codes::replace_recovery(tx, user_id, &made.iter().map(hash).collect::<Vec<_>>())?;
        Ok(made.iter().map(OneTimeCode::shown).collect())
    }

    /// Ends the sessions of an account that wait for their second factor, and deletes enrolments that were not confirmed.
    /// Returns how many sessions.
    pub(super) fn drop_pending_logins(&self, tx: &Tx<'_>, user_id: UserId) -> Result<usize, DbError> {
        let ended = sessions::end(tx, End::Waiting(user_id))?;
        factors::delete_pending(tx, user_id)?;
        Ok(ended)
    }
}
