//! What can go wrong, in words for the caller.

use std::time::Duration;

use crate::hub::SubscribeError;
use crate::model::login::LoginError;
use crate::model::reason::Reason;
use crate::model::text::TextError;
use crate::security::passwords::{HashError, PasswordError};
use crate::security::tokens::{SignError, TokenError};
use crate::security::vault::VaultError;
use crate::store::{AppendError, DbError, DbErrorKind, StoreError, WriteFailed};

/// A call that was not carried out because of what the caller asked. Its text is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A login that breaks a rule.
    #[error("{0}")]
    Login(#[from] LoginError),
    /// A login that is taken.
    #[error("this login, or one that looks like it, is taken: choose another")]
    LoginTaken,
    /// A password that breaks a rule.
    #[error("{0}")]
    Password(#[from] PasswordError),
    /// As [`Refusal::Password`], for the password that is to replace one.
    #[error("{0}")]
    NewPassword(PasswordError),
    /// Wrong login, password or code.
    #[error("login, password or code is wrong: check them and try again")]
    Credentials,
    /// Wrong code, or no session that it could be for.
    #[error("the code is wrong: look at the authenticator and try the current one")]
    Code,
    /// A code for the second time.
    #[error("this code has been used: wait for the next one")]
    CodeUsed,
    /// Too many tries. How long to wait.
    #[error("too many tries: wait {} and try again", in_words(*.0))]
    Throttled(Duration),
    /// Too many wrong codes. How long until one more may be tried.
    #[error("there were too many wrong codes for this account: log in with a recovery code, ask the administrator, or wait {}", in_words(*.0))]
    GuessesSpent(Duration),
    /// The administrator locked the account.
    #[error("this account is locked: ask the administrator")]
    Locked,
    /// Registration is by invitation.
    #[error("registration is by invitation here: ask the administrator for a code")]
    InviteRequired,
    /// An invitation that is not good.
    #[error("this invitation is wrong, has been used or has expired: ask the administrator for a new one")]
    InviteInvalid,
    /// Nobody may register.
    #[error("registration is closed here: ask the administrator for an account")]
    RegistrationClosed,
    /// A session that is not there, or is somebody else's.
    #[error("there is no such session: list them again")]
    SessionNotFound,
    /// An account that is not there. For the administrator only.
    #[error("there is no such account: look at `otpchatd user list`")]
    UserNotFound,
    /// An invitation that is not there.
    #[error("there is no such invitation: look at `otpchatd invite list`")]
    InvitationNotFound,
    /// A key that is not ours to replace.
    #[error("the key is handed in from outside: replace it where it comes from, and start the server again")]
    KeyHandedIn,
    /// The key was replaced a short while ago. For how long yet the one before is good.
    #[error("the key was replaced a short while ago, and people still come with tokens under the one before: wait {}, or void those at once with --now", in_words(*.0))]
    RotatedLately(Duration),
    /// The account waits for the administrator.
    #[error("this account has no second factor and waits for the administrator: ask for an enrolment code")]
    AwaitsAdmin,
    /// A code for an enrolment that was not started.
    #[error("no second factor has been set up for this account yet: set it up first, then give its code")]
    EnrolmentNotStarted,
    /// Who calls may not enrol.
    #[error("the second factor cannot be set up from here: log in first")]
    Enrolment,
    /// The factor changed while the enrolment went on.
    #[error("the second factor was set up elsewhere in the meantime: log in again")]
    EnrolmentOvertaken,
    /// No token.
    #[error("no token came with the call: log in, and send it as `token` metadata")]
    TokenMissing,
    /// A token that proves nothing.
    #[error("the token is not valid: log in again")]
    TokenInvalid,
    /// The session is over.
    #[error("the session has ended: log in again")]
    SessionEnded,
    /// The session waits for its code or enrolment.
    #[error("the second factor is still missing: give the code first")]
    SecondFactorMissing,
    /// Somebody else's name as the author.
    #[error("the author is somebody else: leave `author` empty or use your own login")]
    Author,
    /// A text that breaks a rule.
    #[error("{0}")]
    Text(#[from] TextError),
    /// A cursor beyond everything there is.
    #[error("the cursor is beyond the last message: begin without one")]
    CursorInFuture,
    /// A sender's own id that breaks a rule.
    #[error("`client_id` has at most 64 bytes and no control characters: use a UUID")]
    ClientId,
    /// Too many streams.
    #[error("{0}: close one and try again")]
    Streams(SubscribeError),
    /// A stream that was not read.
    #[error("the stream was not read for too long: open it again")]
    StreamStalled,
    /// A request field that is missing or makes no sense.
    #[error("`{0}` is missing or makes no sense: update the client")]
    Request(&'static str),
    /// A queue is full.
    #[error("the server is busy: try again in a moment")]
    Overloaded,
    /// The server stops.
    #[error("the server is stopping: try again in a moment")]
    Draining,
}

impl Refusal {
    /// The word for it.
    pub fn reason(self) -> Reason {
        match self {
            Refusal::Login(_) => Reason::LoginInvalid,
            Refusal::LoginTaken => Reason::LoginTaken,
            Refusal::Password(_) | Refusal::NewPassword(_) => Reason::WeakPassword,
            Refusal::Credentials => Reason::InvalidCredentials,
            Refusal::Code => Reason::InvalidCode,
            Refusal::CodeUsed => Reason::CodeAlreadyUsed,
            Refusal::Throttled(_) => Reason::Throttled,
            Refusal::GuessesSpent(_) => Reason::GuessesSpent,
            Refusal::Locked => Reason::AccountLocked,
            Refusal::InviteRequired => Reason::InviteRequired,
            Refusal::InviteInvalid => Reason::InviteInvalid,
            Refusal::RegistrationClosed => Reason::RegistrationClosed,
            Refusal::SessionNotFound => Reason::SessionNotFound,
            Refusal::UserNotFound => Reason::UserNotFound,
            Refusal::InvitationNotFound => Reason::InvitationNotFound,
            Refusal::KeyHandedIn => Reason::KeyHandedIn,
            Refusal::RotatedLately(_) => Reason::KeyRotatedLately,
            Refusal::Request(_) => Reason::RequestInvalid,
            Refusal::AwaitsAdmin => Reason::EnrolmentCodeRequired,
            Refusal::EnrolmentNotStarted => Reason::EnrolmentNotStarted,
            Refusal::Enrolment => Reason::EnrolmentRefused,
            Refusal::EnrolmentOvertaken => Reason::EnrolmentOvertaken,
            Refusal::TokenMissing => Reason::TokenMissing,
            Refusal::TokenInvalid => Reason::TokenInvalid,
            Refusal::SessionEnded => Reason::SessionEnded,
            Refusal::SecondFactorMissing => Reason::SecondFactorMissing,
            Refusal::Author => Reason::AuthorMismatch,
            Refusal::Text(_) => Reason::TextInvalid,
            Refusal::CursorInFuture => Reason::CursorInFuture,
            Refusal::ClientId => Reason::ClientIdInvalid,
            Refusal::Streams(_) => Reason::TooManyStreams,
            Refusal::StreamStalled => Reason::StreamStalled,
            Refusal::Overloaded => Reason::Overloaded,
            Refusal::Draining => Reason::Draining,
        }
    }

    /// The request field that broke a rule, where one did.
    pub fn field(self) -> Option<&'static str> {
        match self {
            Refusal::Login(_) => Some("login"),
            Refusal::Password(_) => Some("password"),
            Refusal::NewPassword(_) => Some("new_password"),
            Refusal::Request(field) => Some(field),
            Refusal::Text(_) => Some("text"),
            Refusal::Author => Some("author"),
            Refusal::CursorInFuture => Some("after"),
            Refusal::ClientId => Some("client_id"),
            _ => None,
        }
    }

    /// How long to wait before the next try, where that is known.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Refusal::Throttled(wait) | Refusal::GuessesSpent(wait) => Some(wait),
            Refusal::Overloaded | Refusal::Draining => Some(TRY_AGAIN),
            _ => None,
        }
    }
}

/// How long a caller should wait who met a full queue, or a server that is stopping.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A duration as people say it, rounded up: `5 s`, `3 min`, `20 h`.
fn in_words(duration: Duration) -> String {
    match duration.as_secs() + u64::from(duration.subsec_nanos() > 0) {
        seconds @ 0..=119 => format!("{} s", seconds.max(1)),
        seconds @ 120..=7_199 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3_600)),
    }
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Refusal {
        match error {
            TokenError::Invalid => Refusal::TokenInvalid,
            TokenError::Expired => Refusal::SessionEnded,
        }
    }
}

impl From<SubscribeError> for Refusal {
    fn from(error: SubscribeError) -> Refusal {
        match error {
            SubscribeError::PerUser | SubscribeError::Total => Refusal::Streams(error),
            SubscribeError::Draining => Refusal::Draining,
        }
    }
}

/// Why a job did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's doing.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing could be written: a full disk, say.
    #[error("{0}")]
    Storage(String),
    /// Our fault. The text is for the log only.
    #[error("{0}")]
    Fault(String),
}

impl From<WriteFailed> for Error {
    fn from(error: WriteFailed) -> Error {
        match error {
            WriteFailed::Full => Refusal::Overloaded.into(),
            WriteFailed::Stopped => Refusal::Draining.into(),
            WriteFailed::Commit(text) => Error::Storage(text),
            WriteFailed::Panicked => Error::Fault(error.to_string()),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        match error {
            StoreError::Write(failed) => failed.into(),
            StoreError::Readers(_) => Refusal::Overloaded.into(),
            StoreError::Db(error) => error.into(),
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Error {
        match error {
            AppendError::SessionEnded => Refusal::SessionEnded.into(),
            AppendError::Db(error) => error.into(),
            AppendError::Write(failed) => failed.into(),
        }
    }
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Error {
        match error.kind() {
            DbErrorKind::Storage => Error::Storage(error.to_string()),
            _ => Error::Fault(error.to_string()),
        }
    }
}

/// Faults that need no telling apart.
macro_rules! faults {
    ($($error:ty),+) => { $( impl From<$error> for Error {
        fn from(error: $error) -> Error { Error::Fault(error.to_string()) }
    } )+ };
}
faults!(HashError, VaultError, SignError, getrandom::Error);
