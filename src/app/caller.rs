//! Callers: the account and session that a token has proved, and what that account may do.
//!
//! A function that needs a right takes the proof of it (today: [`Member`]), not a flag. Only a [`Caller`] gives such proofs.

use std::sync::Arc;

use crate::model::ids::{SessionId, UserId};
use crate::model::login::LoginKey;

/// An account, as its sessions know it.
#[derive(Debug, PartialEq, Eq)]
pub struct Person {
    /// Its number.
    pub id: UserId,
    /// The login as it is displayed.
    pub login: String,
    /// The login as it is compared.
    pub key: LoginKey,
}

impl Person {
    /// From the account's row.
    pub fn new(id: UserId, login: String) -> Arc<Person> {
        let key = LoginKey::from_text(&login);
        Arc::new(Person { id, login, key })
    }
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It may read and write in the common room. Today every account may, and nothing else needs a right.
    Member,
}

/// Proof that a call comes from a session that is complete.
#[derive(Clone, Debug)]
pub struct Caller {
    session: SessionId,
    person: Arc<Person>,
    rights: Rights,
}

impl Caller {
    /// Only for [`super::sessions`], which proves it.
    pub(super) fn new(session: SessionId, person: Arc<Person>, rights: Rights) -> Caller {
        Caller { session, person, rights }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The account of the session.
    pub fn person(&self) -> &Person {
        &self.person
    }

    /// Proves that the caller may read and write in the common room.
    pub fn member(&self) -> Member<'_> {
        match self.rights {
            Rights::Member => Member(self),
        }
    }
}

/// Proof that a caller may read and write in the common room.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a>(&'a Caller);

impl<'a> Member<'a> {
    /// The caller.
    pub fn caller(self) -> &'a Caller {
        self.0
    }
}
