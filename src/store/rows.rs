//! Rows that both the tables and the transactions speak of.

use crate::base::clock::Time;
use crate::model::ids::{FactorId, SessionId, UserId};
use crate::security::chain::ChainMac;

/// What a session may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Give a code of the active factor. Nothing else.
    NeedsCode,
    /// Enrol. Nothing else.
    NeedsEnrolment,
    /// Everything.
    Complete,
}

impl Stage {
    const ALL: [Stage; 3] = [Stage::NeedsCode, Stage::NeedsEnrolment, Stage::Complete];

    /// Its stable word, in the database and in the administrator's tables.
    pub const fn word(self) -> &'static str {
        match self {
            Stage::NeedsCode => "needs_code",
            Stage::NeedsEnrolment => "needs_enrolment",
            Stage::Complete => "complete",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Stage> {
        Stage::ALL.into_iter().find(|stage| stage.word() == word)
    }
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Its account.
    pub user_id: UserId,
    /// What it may do next.
    pub stage: Stage,
    /// The active factor when it opened (or, once complete, the one that completed it): an enrolment by this session may
    /// replace that factor and no other.
    pub base_factor: Option<FactorId>,
    /// When it was opened.
    pub created_at: Time,
    /// When it ends by itself.
    pub expires_at: Time,
    /// The connection that opened it, while a code may come without a token.
    pub connection: Option<String>,
    /// The address that it was opened from, where that is known.
    pub opened_from: Option<String>,
}

/// A session with the login of its account, as the registry of sessions keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSession {
    /// The session.
    pub session: Session,
    /// The login as it is shown.
    pub login: String,
}

/// The last row of the audit's chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// Its number.
    pub id: i64,
    /// Its MAC.
    pub mac: ChainMac,
}
