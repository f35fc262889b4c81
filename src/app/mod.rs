//! What the system does, without a word about gRPC: accounts, enrolment, sessions, messages, and the administrator's commands
//! (whose requests and answers are the protocol's types, with a wire and without one).

pub mod accounts;
pub mod admin;
pub mod audit_context;
pub mod caller;
mod credential;
pub mod enrolment;
mod limits;
pub mod messages;
pub mod own_account;
pub mod reauth;
pub mod refusal;
pub mod sessions;
pub mod throttles;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::audit_context::{AuditContext, Keys, TxEnd, Welcome};
pub use self::credential::{Connection, Credential};
pub use self::limits::{AppLimits, Registration};
use self::refusal::{Error, Refusal};
use self::sessions::Sessions;
use self::throttles::Throttles;
use crate::base::clock::{Clock, Time};
use crate::model::ids::RoomId;
use crate::security::keys::KeyGuard;
use crate::security::passwords::Passwords;
use crate::security::secret::SecretText;
use crate::security::tokens::{Claims, ISSUER, Tokens};
use crate::store::audit::{self, Act};
use crate::store::sessions::Session;
use crate::store::{Store, Tx, codes, deleted_authors, messages as room_messages, sessions as rows, users};

/// How many messages are purged in one go. Where more than that arrive for long, the purge catches up afterwards.
const PURGE_STEP: u32 = 2_000;

/// How many messages are looked at in one go for a deleted account.
const DELETED_AUTHOR_STEP: u32 = 2_000;

/// Everything that a job needs.
pub struct App {
    /// The time.
    pub clock: Clock,
    /// The bounds.
    pub limits: AppLimits,
    /// The store.
    pub store: Store,
    /// The registry of sessions.
    pub sessions: Arc<Sessions>,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// The keys that open, hash and chain what is kept.
    pub keys: Arc<Keys>,
    /// How often anything may be tried.
    pub throttles: Throttles,
    /// Issues and proves tokens.
    pub tokens: Tokens,
    /// The key that signs tokens.
    pub token_key: TokenKey,
}

/// The key that signs tokens: where it lies, and how it is replaced.
#[derive(Debug)]
pub struct TokenKey {
    /// The file.
    pub path: PathBuf,
    /// The check that no other user can read it.
    pub guard: KeyGuard,
    /// How long tokens under the previous key are good.
    pub grace: Duration,
    /// Held while it is replaced.
    pub rotating: Mutex<()>,
}

/// A session that was opened or completed, with the token that names it.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Its token.
    pub token: SecretText,
    /// Shown to the user once login is complete.
    pub welcome: Welcome,
}

impl App {
    /// The context of an act that begins now.
    fn context(&self, address: Option<IpAddr>) -> AuditContext {
        AuditContext { limits: self.limits.clone(), keys: Arc::clone(&self.keys), now: self.clock.now(), address }
    }

    /// Writes, as [`Store::write`] does. A refusal with [`TxEnd::Commit`] commits what was written before it.
    fn settle<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Tx<'_>) -> Result<T, TxEnd> + Send + 'static,
    ) -> Result<T, Error> {
        let kept: Result<T, Refusal> = self.store.write(move |tx| match write(tx) {
            Ok(value) => Ok(Ok(value)),
            Err(TxEnd::Commit(refusal)) => Ok(Err(refusal)),
            Err(TxEnd::Rollback(error)) => Err(error),
        })?;
        Ok(kept?)
    }

    /// Adds a row to the audit about an act from outside the system: the server's own, or the tool's.
    ///
    /// # Errors
    /// The store's.
    pub fn record(&self, act: Act) -> Result<(), Error> {
        let context = self.context(None);
        self.settle(move |tx| Ok(audit::append(tx, &context.keys.audit, context.now, &act)?))
    }

    /// Issues the token of a session: good for as long as a complete session lasts, or until it ends once it is complete.
    fn token(&self, session: &Session, login: &str, now: Time) -> Result<SecretText, Error> {
        let exp = match session.stage {
            rows::Stage::Complete => session.expires_at,
            rows::Stage::NeedsCode | rows::Stage::NeedsEnrolment => now + self.limits.complete_session,
        };
        let claims = Claims {
            user_id: session.user_id,
            login: login.to_owned(),
            exp: exp.as_secs(),
            iat: now.as_secs(),
            iss: ISSUER.to_owned(),
            sid: session.id.to_string(),
        };
        Ok(self.tokens.issue(&claims)?)
    }

    /// Ends sessions and codes that have expired and accounts that were never enrolled, and takes the next step of purging
    /// messages and of renaming or deleting those of deleted accounts. Call it every second or so.
    ///
    /// # Errors
    /// The store's.
    pub fn sweep(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let too_old = now - self.limits.unenrolled_account;
        // Streams end in time also when the database cannot be read.
        self.sessions.expire(now);
        self.throttles.sweep();
        let retention = self.limits.retention;
        let (expired, deleted, old) = self.store.read(|tx| {
            let expired = rows::any_expired(tx, now)?
                || codes::any_expired(tx, now)?
                || users::any_unenrolled_before(tx, too_old)?;
            Ok((expired, deleted_authors::any(tx)?, room_messages::any_to_purge(tx, RoomId::COMMON, retention, now)?))
        })?;
        if expired {
            self.store.write(move |tx| {
                rows::end(tx, rows::End::Expired(now))?;
                codes::delete_expired(tx, now)?;
                let gone = users::delete_unenrolled_before(tx, too_old)?;
                if gone > 0 {
                    log::info!("deleted {gone} accounts that were not enrolled in time");
                }
                Ok::<_, Error>(())
            })?;
        }
        if deleted {
            let keep = self.limits.keep_messages_of_deleted;
            self.store.write(move |tx| Ok::<_, Error>(deleted_authors::step(tx, DELETED_AUTHOR_STEP, keep)?))?;
        }
        if old {
            self.store.write(move |tx| {
                Ok::<_, Error>(room_messages::purge(tx, RoomId::COMMON, retention, now, PURGE_STEP)?)
            })?;
        }
        Ok(())
    }
}
