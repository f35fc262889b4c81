//! What the system does, without a word about gRPC: accounts, enrolment, sessions, messages, and what the administrator does to
//! them (whose requests and answers are the protocol's types, with a wire and without one).

pub mod accounts;
pub mod admin;
pub mod audit_context;
pub mod enrolment;
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

use self::audit_context::{Act, Keys, Stop, Welcome};
use self::refusal::{Error, Refusal};
use self::sessions::Sessions;
use self::throttles::{ThrottleLimits, Throttles};
use crate::base::clock::{Clock, Time};
use crate::security::keys::Guard;
use crate::security::passwords::Passwords;
use crate::security::secret::SecretText;
use crate::security::tokens::{Claims, ISSUER, Tokens};
use crate::store::audit::{self, Event};
use crate::store::guesses::GuessLimits;
use crate::store::messages::Retention;
use crate::store::sessions::Session;
use crate::store::{Store, Tx, codes, deleted_authors, messages as stored, sessions as rows, users};

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
    /// Who may register.
    pub registration: Registration,
    /// How often passwords may be tried and accounts registered.
    pub throttles: ThrottleLimits,
    /// How often codes may be guessed.
    pub guesses: GuessLimits,
    /// What is kept of the messages.
    pub retention: Retention,
    /// How many messages a page of the history has at most.
    pub history_page: usize,
    /// How many recovery codes an enrolment gives.
    pub recovery_codes: usize,
    /// How long the administrator's enrolment code is good.
    pub enrolment_code: Duration,
    /// Whether what a deleted account wrote stays, under a neutral name.
    pub keep_messages_of_deleted: bool,
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Everybody who can reach the port.
    Open,
    /// Whoever has an invitation.
    Invite,
    /// Nobody.
    Closed,
}

/// How many messages are purged in one go: what comes in faster for long is purged after it has calmed down.
const PURGE_STEP: u32 = 2_000;

/// How many message ids of a deleted account are looked at in one go.
const DEPARTURE_STEP: i64 = 2_000;

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
    /// What opens, hashes and chains what is kept.
    pub keys: Arc<Keys>,
    /// How often anything may be tried.
    pub throttles: Throttles,
    /// Issues and proves tokens.
    pub tokens: Tokens,
    /// Where the key of those lies.
    pub token_key: TokenKey,
}

/// Where the key that signs tokens lies, and how it is replaced.
#[derive(Debug)]
pub struct TokenKey {
    /// The file.
    pub path: PathBuf,
    /// What says that nobody else can read it.
    pub guard: Guard,
    /// How long tokens under the key before are good.
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
    /// What whoever has completed it is told.
    pub welcome: Welcome,
}

impl App {
    /// An act that begins now.
    fn act(&self, address: Option<IpAddr>) -> Act {
        Act { limits: self.limits.clone(), keys: Arc::clone(&self.keys), now: self.clock.now(), address }
    }

    /// Writes, as [`Store::write`] does. A refusal that is to be kept ([`Stop::Keep`]) commits what came before it.
    fn settle<T: Send + 'static>(
        &self,
        write: impl FnOnce(&Tx<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Error> {
        let kept: Result<T, Refusal> = self.store.write(move |tx| match write(tx) {
            Ok(value) => Ok(Ok(value)),
            Err(Stop::Keep(refusal)) => Ok(Err(refusal)),
            Err(Stop::Undo(error)) => Err(error),
        })?;
        Ok(kept?)
    }

    /// Adds a row to the audit that is nobody's act within the system.
    ///
    /// # Errors
    /// The store's.
    pub fn note(&self, event: Event) -> Result<(), Error> {
        let act = self.act(None);
        self.settle(move |tx| Ok(audit::append(tx, &act.keys.audit, act.now, &event)?))
    }

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

    /// Ends what has run out: sessions, codes, and accounts that nobody enrolled; and takes the next step of what deleted
    /// accounts left to do. To be called every second or so.
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
        let (expired, departed, old) = self.store.read(|c| {
            let expired =
                rows::any_expired(c, now)? || codes::any_expired(c, now)? || users::any_unenrolled_before(c, too_old)?;
            Ok((expired, deleted_authors::any(c)?, stored::any_to_purge(c, retention, now)?))
        })?;
        if expired {
            self.store.write(move |tx| {
                rows::end(tx, rows::End::Expired(now))?;
                codes::delete_expired(tx, now)?;
                let deleted = users::delete_unenrolled_before(tx, too_old)?;
                if deleted > 0 {
                    log::info!("deleted {deleted} accounts that nobody enrolled in time");
                }
                Ok::<_, Error>(())
            })?;
        }
        if departed {
            let keep = self.limits.keep_messages_of_deleted;
            self.store.write(move |tx| Ok::<_, Error>(deleted_authors::step(tx, DEPARTURE_STEP, keep)?))?;
        }
        if old {
            self.store.write(move |tx| Ok::<_, Error>(stored::purge(tx, retention, now, PURGE_STEP)?))?;
        }
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
