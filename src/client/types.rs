//! What the server's answers give, and what the account's own calls have to bring.

use crate::base::clock::Time;
use crate::proto::{self, Message, SessionState, time_of};
use crate::security::secret::SecretText;

/// What Login answered: a session and what it has to do next.
#[derive(Debug)]
pub struct Opened {
    /// What names the session.
    pub token: SecretText,
    /// What it has to do next.
    pub state: SessionState,
    /// When it ends, by the server's clock.
    pub expires_at: Option<Time>,
    /// What there is to know about the account, as far as this session may.
    pub account: AccountNews,
}

/// What CheckOtp answered: a session that may do everything.
#[derive(Debug)]
pub struct Completed {
    /// What names the session from now on.
    pub token: SecretText,
    /// When it ends, by the server's clock.
    pub expires_at: Option<Time>,
    /// What there is to know about the account.
    pub account: AccountNews,
}

/// A session that was opened by password and code in one call.
impl From<Opened> for Completed {
    fn from(opened: Opened) -> Completed {
        Completed { token: opened.token, expires_at: opened.expires_at, account: opened.account }
    }
}

/// What a login tells about the account.
#[derive(Debug, Default)]
pub struct AccountNews {
    /// New ones, shown this once, if an enrolment was confirmed.
    pub recovery_codes: Vec<SecretText>,
    /// How many recovery codes are left.
    pub recovery_codes_left: u32,
    /// How many wrong codes there were since the last login.
    pub wrong_codes: u32,
}

/// What SendMessage answered: the message is stored.
#[derive(Debug)]
pub struct Stored {
    /// When, by the server's clock.
    pub server_time: Option<Time>,
}

/// A message of the common room, as it came: not to be shown without escaping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its id: grows in order; 0 where the server gives none.
    pub id: u64,
    /// Who said it.
    pub author: String,
    /// What.
    pub text: String,
    /// When, by the server's clock.
    pub time: Option<Time>,
}

impl From<Message> for Said {
    fn from(message: Message) -> Said {
        let time = message.send_time.as_ref().map(time_of);
        Said { id: message.id, author: message.author, text: message.text, time }
    }
}

/// A page of the history.
#[derive(Debug)]
pub struct Page {
    /// Oldest first.
    pub messages: Vec<Said>,
    /// Whether there are older ones.
    pub has_more: bool,
}

/// One of the account's sessions. What the server wrote is not to be shown without escaping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What names it for [`crate::client::link::Link::end_session`].
    pub id: String,
    /// What it has to do next.
    pub state: SessionState,
    /// When it was opened, by the server's clock.
    pub opened_at: Option<Time>,
    /// When it ends, by the server's clock.
    pub expires_at: Option<Time>,
    /// Where it was opened from; empty where that is not known.
    pub address: String,
    /// Whether it is the one that asked.
    pub current: bool,
}

impl From<proto::Session> for Listed {
    fn from(session: proto::Session) -> Listed {
        Listed {
            state: session.state.enum_value_or_default(),
            opened_at: session.opened_at.as_ref().map(time_of),
            expires_at: session.expires_at.as_ref().map(time_of),
            id: session.id,
            address: session.address,
            current: session.current,
        }
    }
}

/// What proves that it is the account's owner who asks: password and a fresh code.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The password.
    pub password: SecretText,
    /// A code that was not used before.
    pub code: SecretText,
}
