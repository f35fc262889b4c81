//! What can go wrong, with one row for each refusal.

use std::fmt;
use std::time::Duration;

use crate::base::duration_words::in_words;
use crate::base::lang::Lang;
use crate::hub::SubscribeError;
use crate::model::login::LoginError;
use crate::model::reason::Reason;
use crate::model::text::TextError;
use crate::security::passwords::{HashError, PasswordError};
use crate::security::tokens::{SignError, TokenError};
use crate::security::vault::VaultError;
use crate::store::{AppendError, DbError, DbErrorKind, StoreError, WriteFailed};

/// What the server says of a refusal.
struct Details {
    /// The reason: its row in `model::reason` has word, status, level and the sentences for people.
    reason: Reason,
    /// The request field that broke a rule, where one did.
    field: Option<&'static str>,
    /// How long to wait before the next try, where that is known.
    retry_after: Option<Duration>,
    /// A sentence of its own, as error texts are written; without one, the reason's sentence holds.
    text: Option<String>,
}

impl From<Reason> for Details {
    fn from(reason: Reason) -> Details {
        Details { reason, field: None, retry_after: None, text: None }
    }
}

macro_rules! refusals {
    ($(
        $(#[$doc:meta])*
        $name:ident $(($value:ident: $type:ty))? => $reason:ident $({ $($key:ident: $given:expr),+ })?;
    )+) => {
        /// A call that was not carried out because of what the caller asked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal { $( $(#[$doc])* $name $(($type))?, )+ }

        impl Refusal {
            fn details(self) -> Details {
                match self {
                    $( Refusal::$name $(($value))? => {
                        Details { $($($key: Some($given),)+)? ..Details::from(Reason::$reason) }
                    } )+
                }
            }
        }
    };
}

// One row for each refusal: the variant, its value, the reason, and what else the server says.
refusals! {
    /// A login that breaks a rule.
    Login(error: LoginError) => LoginInvalid { field: "login", text: error.to_string() };
    /// A login that is taken.
    LoginTaken => LoginTaken;
    /// A password that breaks a rule.
    Password(error: PasswordError) => WeakPassword { field: "password", text: error.to_string() };
    /// A new password, in place of an old one, that breaks a rule.
    NewPassword(error: PasswordError) => WeakPassword { field: "new_password", text: error.to_string() };
    /// Wrong login, password or code.
    Credentials => InvalidCredentials;
    /// Wrong code, or no session that it could be for.
    Code => InvalidCode;
    /// A code for the second time.
    CodeUsed => CodeAlreadyUsed;
    /// Too many tries. How long to wait.
    Throttled(wait: Duration) => Throttled {
        retry_after: wait,
        text: format!("too many tries: wait {} and try again", in_words(wait, Lang::En))
    };
    /// Too many wrong codes. How long until one more may be tried.
    GuessesSpent(wait: Duration) => GuessesSpent {
        retry_after: wait,
        text: format!(
            "there were too many wrong codes for this account: log in with a recovery code, ask the administrator, or wait {}",
            in_words(wait, Lang::En)
        )
    };
    /// The administrator locked the account.
    Locked => AccountLocked;
    /// Registration is by invitation.
    InviteRequired => InviteRequired;
    /// An invitation that is not valid.
    InviteInvalid => InviteInvalid;
    /// Registration is closed.
    RegistrationClosed => RegistrationClosed;
    /// A session that does not exist, or belongs to another account.
    SessionNotFound => SessionNotFound;
    /// An account that does not exist. Only the administrator is told so.
    UserNotFound => UserNotFound;
    /// An invitation that does not exist.
    InvitationNotFound => InvitationNotFound;
    /// A key that the server must not replace.
    KeyHandedIn => KeyHandedIn;
    /// The key was replaced a short while ago. How long the previous one is still valid.
    RotatedLately(wait: Duration) => KeyRotatedLately {
        text: format!(
            "the key was replaced a short while ago, and people still come with tokens under the one before: wait {}, or void \
             those at once with --now",
            in_words(wait, Lang::En)
        )
    };
    /// The account waits for the administrator.
    AwaitsAdmin => EnrolmentCodeRequired;
    /// A code for an enrolment that was not started.
    EnrolmentNotStarted => EnrolmentNotStarted;
    /// The caller may not enrol.
    Enrolment => EnrolmentRefused;
    /// The factor changed during the enrolment.
    EnrolmentOvertaken => EnrolmentOvertaken;
    /// No token.
    TokenMissing => TokenMissing {
        text: "no token came with the call: log in, and send it as `token` metadata".to_owned()
    };
    /// A token that proves nothing.
    TokenInvalid => TokenInvalid { text: "the token is not valid: log in again".to_owned() };
    /// The session is over.
    SessionEnded => SessionEnded;
    /// The session waits for its code or enrolment.
    SecondFactorMissing => SecondFactorMissing;
    /// Another account's name as the author.
    Author => AuthorMismatch {
        field: "author",
        text: "the author is somebody else: leave `author` empty or use your own login".to_owned()
    };
    /// A text that breaks a rule.
    Text(error: TextError) => TextInvalid { field: "text", text: error.to_string() };
    /// A cursor beyond the last event.
    CursorInFuture => CursorInFuture { field: "after" };
    /// A sender's own id that breaks a rule.
    ClientId => ClientIdInvalid {
        field: "client_id",
        text: "`client_id` has at most 64 bytes and no control characters: use a UUID".to_owned()
    };
    /// More messages than the rate allows. How long to wait.
    MessageRate(wait: Duration) => MessageRate { retry_after: wait };
    /// As many calls under way as the caller may have.
    TooManyCalls => TooManyCalls { retry_after: TRY_AGAIN };
    /// Too many streams.
    Streams(error: SubscribeError) => TooManyStreams { text: format!("{error}: close one and try again") };
    /// A stream that was not read.
    StreamStalled => StreamStalled;
    /// A request field that is missing or makes no sense.
    Request(name: &'static str) => RequestInvalid {
        field: name,
        text: format!("`{name}` is missing or makes no sense: update the client")
    };
    /// A queue is full.
    Overloaded => Overloaded { retry_after: TRY_AGAIN };
    /// The server stops.
    Draining => Draining { retry_after: TRY_AGAIN };
}

/// How long a caller should wait when a queue is full or the server stops.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Refusal {
    /// The reason.
    pub fn reason(self) -> Reason {
        self.details().reason
    }

    /// The request field that broke a rule, where one did.
    pub fn field(self) -> Option<&'static str> {
        self.details().field
    }

    /// How long to wait before the next try, where that is known.
    pub fn retry_after(self) -> Option<Duration> {
        self.details().retry_after
    }
}

/// Writes the sentence for people, in English.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = self.details();
        match details.text {
            Some(text) => f.write_str(&sentence(&text)),
            None => f.write_str(details.reason.sentence(Lang::En)),
        }
    }
}

impl std::error::Error for Refusal {}

/// An error text as a sentence: it begins with a capital letter and ends with a full stop.
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

impl From<LoginError> for Refusal {
    fn from(error: LoginError) -> Refusal {
        Refusal::Login(error)
    }
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Refusal {
        Refusal::Password(error)
    }
}

impl From<TextError> for Refusal {
    fn from(error: TextError) -> Refusal {
        Refusal::Text(error)
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

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The call was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing could be written: a full disk, say.
    #[error("{0}")]
    Storage(String),
    /// A fault of the server. The text is for the log only.
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

/// Errors that are all faults.
macro_rules! faults {
    ($($error:ty),+) => { $( impl From<$error> for Error {
        fn from(error: $error) -> Error { Error::Fault(error.to_string()) }
    } )+ };
}
faults!(HashError, VaultError, SignError, getrandom::Error);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_its_own_sentence_or_that_of_its_reason() {
        fn check(refusal: Refusal, said: &str) {
            assert_eq!(refusal.to_string(), said);
        }
        check(Refusal::LoginTaken, "This login, or one that looks like it, is taken: choose another.");
        check(Refusal::Throttled(Duration::from_millis(4_001)), "Too many tries: wait 5 seconds and try again.");
        check(Refusal::Text(TextError::TooLong(9)), "A message has at most 9 bytes: send it in parts.");
        check(Refusal::Request("which"), "`which` is missing or makes no sense: update the client.");
    }
}
