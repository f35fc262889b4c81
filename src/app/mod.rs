//! What the system does, without a word about the wire: accounts, enrolment, sessions, messages.

pub mod accounts;
pub mod enrolment;
mod factor;
pub mod messages;
pub mod refusal;
pub mod sessions;

use std::sync::Arc;
use std::time::Duration;

use self::refusal::{Error, Refusal};
use self::sessions::Sessions;
use crate::clock::{Clock, Time};
use crate::security::passwords::Passwords;
use crate::security::secret::SecretText;
use crate::security::tokens::{Claims, ISSUER, Tokens};
use crate::security::vault::Vault;
use crate::store::sessions::Session;
use crate::store::{Store, sessions as rows};

/// Bounds of what the system does.
#[derive(Clone, Debug)]
pub struct AppLimits {
    /// How long a session may wait for its code or enrolment.
    pub waiting_session: Duration,
    /// How many sessions of an account may wait.
    pub waiting_sessions_per_user: usize,
    /// How long a complete session lasts, from its code.
    pub complete_session: Duration,
    /// How many complete sessions an account may have; the oldest goes.
    pub complete_sessions_per_user: usize,
    /// How long an account may stay without a second factor.
    pub unenrolled_account: Duration,
    /// How long the connection that registered an account may enrol it without a token (old clients).
    pub enrolment_without_token: Duration,
    /// How many bytes a text may have.
    pub text_bytes: usize,
}

/// Everything that a job needs.
pub struct App {
    /// The time.
    pub clock: Clock,
    /// The bounds.
    pub limits: AppLimits,
    /// What is kept.
    pub store: Store,
    /// Who is logged in.
    pub sessions: Arc<Sessions>,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// Seals secrets.
    pub vault: Arc<Vault>,
    /// Issues and proves tokens.
    pub tokens: Tokens,
}

/// A session that was opened or completed, with the token that names it.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// Its token.
    pub token: SecretText,
}

impl App {
    /// Issues the token of a session: good for as long as a complete session lasts, or until it ends once it is complete.
    fn token(&self, session: &Session, login: &str, now: Time) -> Result<SecretText, Error> {
        let exp = match session.state {
            rows::State::Complete => session.expires_at,
            rows::State::NeedsCode | rows::State::NeedsEnrolment => now + self.limits.complete_session,
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

    /// Ends what has run out: sessions, and accounts that nobody enrolled. To be called every second or so.
    ///
    /// # Errors
    /// The store's.
    pub fn sweep(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let too_old = now - self.limits.unenrolled_account;
        // Streams end in time also when the database cannot be read.
        self.sessions.expire(now);
        let needed = self
            .store
            .read(|c| Ok(rows::any_expired(c, now)? || crate::store::users::any_unenrolled_before(c, too_old)?))?;
        if !needed {
            return Ok(());
        }
        self.store.write(
            move |tx| {
                let mut ended = rows::end(tx, rows::End::Expired(now))?;
                ended.extend(rows::end(tx, rows::End::Unenrolled(too_old))?);
                let deleted = crate::store::users::delete_unenrolled_before(tx, too_old)?;
                if deleted > 0 {
                    log::info!("deleted {deleted} accounts that nobody enrolled in time");
                }
                Ok::<_, Error>(ended)
            },
            {
                let sessions = Arc::clone(&self.sessions);
                move |ended: &Vec<_>| sessions.ended(ended)
            },
        )?;
        Ok(())
    }
}

/// A connection, as the wire names it: the same for all calls on it, and never the same for two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection(pub String);

/// Who a caller says he is, before anything is proved.
#[derive(Clone, Debug)]
pub enum Credential {
    /// No token, on a connection that a client without tokens for its code may use.
    NoneOn(Connection),
    /// No token, elsewhere.
    None,
    /// One token.
    Token(SecretText),
    /// Several tokens, or one that is no text.
    Garbled,
}

impl Credential {
    /// The token, if there is exactly one.
    fn token(&self) -> Result<&SecretText, Refusal> {
        match self {
            Credential::Token(token) => Ok(token),
            Credential::None | Credential::NoneOn(_) => Err(Refusal::TokenMissing),
            Credential::Garbled => Err(Refusal::TokenInvalid),
        }
    }
}
