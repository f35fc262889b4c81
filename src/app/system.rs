//! The system: everything that a call needs, and how it writes.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::audit_context::{AuditContext, Keys, TxEnd, Welcome};
use super::limits::AppLimits;
use super::refusal::{Error, Refusal};
use super::sessions::Sessions;
use super::throttles::Throttles;
use crate::base::clock::{Clock, Time};
use crate::security::keys::KeyGuard;
use crate::security::passwords::Passwords;
use crate::security::secret::SecretText;
use crate::security::tokens::{Claims, ISSUER, Tokens};
use crate::store::audit::{self, Act};
use crate::store::sessions::{Session, Stage};
use crate::store::{Store, Tx};

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
    /// The keys that open, hash and chain rows of the database.
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
    pub(super) fn context(&self, address: Option<IpAddr>) -> AuditContext {
        AuditContext { limits: self.limits.clone(), keys: Arc::clone(&self.keys), now: self.clock.now(), address }
    }

    /// Writes, as [`Store::write`] does. A refusal with [`TxEnd::Commit`] commits what was written before it.
    pub(super) fn settle<T: Send + 'static>(
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
    pub(super) fn token(&self, session: &Session, login: &str, now: Time) -> Result<SecretText, Error> {
        let exp = match session.stage {
            Stage::Complete => session.expires_at,
            Stage::NeedsCode | Stage::NeedsEnrolment => now + self.limits.complete_session,
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
}
