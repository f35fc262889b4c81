//! Plain types for what the server answers, and for the proof that account calls need.

use crate::base::clock::Time;
use crate::model::ids::EventId;
use crate::proto::{self, Message, SessionState, time_of};
use crate::security::secret::SecretText;

/// Answer of Login: a session, and what it still needs.
#[derive(Debug)]
pub struct OpenedSession {
    /// Names the session in later calls.
    pub token: SecretText,
    /// What the session needs before it is complete.
    pub state: SessionState,
    /// When the session ends, by the server's clock.
    pub expires_at: Option<Time>,
    /// Notes on the account, as far as this session may see them.
    pub notes: LoginNotes,
}

/// Answer of CheckOtp: a session with every right of its account.
#[derive(Debug)]
pub struct CompletedSession {
    /// Names the session from now on.
    pub token: SecretText,
    /// When the session ends, by the server's clock.
    pub expires_at: Option<Time>,
    /// Notes on the account.
    pub notes: LoginNotes,
}

/// For a session that password and code opened in one call.
impl From<OpenedSession> for CompletedSession {
    fn from(opened: OpenedSession) -> CompletedSession {
        CompletedSession { token: opened.token, expires_at: opened.expires_at, notes: opened.notes }
    }
}

/// What a login says about its account.
#[derive(Debug, Default)]
pub struct LoginNotes {
    /// New recovery codes, sent only when an enrolment was confirmed.
    pub recovery_codes: Vec<SecretText>,
    /// Number of unused recovery codes.
    pub recovery_codes_left: u32,
    /// Number of wrong codes since the last login.
    pub wrong_codes: u32,
}

/// Answer of SendMessage: the message is stored.
#[derive(Debug)]
pub struct SendReceipt {
    /// When it was stored, by the server's clock.
    pub server_time: Option<Time>,
}

/// A message of the common room, as it came. Escape it before showing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMessage {
    /// Its id, which grows in order; `None` if the server gives none.
    pub id: Option<EventId>,
    /// The author's login.
    pub author: String,
    /// The text.
    pub text: String,
    /// When it was sent, by the server's clock.
    pub time: Option<Time>,
}

impl From<Message> for ReceivedMessage {
    fn from(message: Message) -> ReceivedMessage {
        let time = message.send_time.as_ref().map(time_of);
        ReceivedMessage { id: EventId::from_wire(message.id).ok(), author: message.author, text: message.text, time }
    }
}

/// A page of the history.
#[derive(Debug)]
pub struct HistoryPage {
    /// The messages, oldest first.
    pub messages: Vec<ReceivedMessage>,
    /// Whether there are older messages.
    pub has_more: bool,
}

/// One of the account's sessions. Escape what the server wrote before showing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSession {
    /// Names it for [`crate::client::link::Link::end_session`].
    pub id: String,
    /// What the session needs before it is complete.
    pub state: SessionState,
    /// When it was opened, by the server's clock.
    pub opened_at: Option<Time>,
    /// When it ends, by the server's clock.
    pub expires_at: Option<Time>,
    /// The address that opened it; empty if unknown.
    pub address: String,
    /// Whether it is the session that asked.
    pub current: bool,
}

impl From<proto::Session> for ListedSession {
    fn from(session: proto::Session) -> ListedSession {
        ListedSession {
            state: session.state.enum_value_or_default(),
            opened_at: session.opened_at.as_ref().map(time_of),
            expires_at: session.expires_at.as_ref().map(time_of),
            id: session.id,
            address: session.address,
            current: session.current,
        }
    }
}

/// Proves that the account's owner makes a call: the password and an unused code.
#[derive(Clone, Debug)]
pub struct OwnerProof {
    /// The password.
    pub password: SecretText,
    /// A code that was not used before.
    pub code: SecretText,
}
