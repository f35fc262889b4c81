//! Who is logged in: the sessions of the database, in memory, so that proving a caller costs no query.
//!
//! Changed on the writer's thread, right after the commit that changed the row; so what is not here is no session. Only what
//! has run out is dropped from elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::Credential;
use super::refusal::Refusal;
use crate::base::clock::Time;
use crate::base::lock::{read, write};
use crate::model::ids::{SessionId, UserId};
use crate::model::login::LoginKey;
use crate::security::tokens::Tokens;
use crate::store::sessions::{Session, State};
use crate::store::{Store, StoreError, sessions as rows, users};

/// An account, as its sessions know it.
#[derive(Debug, PartialEq, Eq)]
pub struct Person {
    /// Its number.
    pub id: UserId,
    /// The login as it is shown.
    pub login: String,
    /// The login as it is compared.
    pub key: LoginKey,
}

impl Person {
    /// From what is kept.
    pub fn new(id: UserId, login: String) -> Arc<Person> {
        let key = LoginKey::from_text(&login);
        Arc::new(Person { id, login, key })
    }
}

/// Proof that a call comes from a session that is complete.
#[derive(Clone, Debug)]
pub struct Caller {
    session: SessionId,
    person: Arc<Person>,
}

impl Caller {
    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whose it is.
    pub fn person(&self) -> &Person {
        &self.person
    }
}

#[derive(Debug)]
struct Entry {
    person: Arc<Person>,
    state: State,
    expires_at: Time,
}

/// Told of sessions that ended, on the writer's thread. Must not block.
pub type OnEnd = Box<dyn Fn(&[SessionId]) + Send + Sync>;

/// All live sessions.
pub struct Sessions {
    live: RwLock<HashMap<SessionId, Entry>>,
    on_end: OnEnd,
}

impl Sessions {
    /// None yet.
    pub fn new(on_end: OnEnd) -> Sessions {
        Sessions { live: RwLock::default(), on_end }
    }

    /// Takes over what the database holds, before the first call is served.
    ///
    /// # Errors
    /// The store's.
    pub fn load(&self, store: &Store, now: Time) -> Result<(), StoreError> {
        let found = store.read(|c| {
            let mut people: HashMap<UserId, Arc<Person>> = HashMap::new();
            let mut found = Vec::new();
            for session in rows::all_live(c, now)? {
                if !people.contains_key(&session.user_id)
                    && let Some(user) = users::by_id(c, session.user_id)?
                {
                    people.insert(user.id, Person::new(user.id, user.login));
                }
                if let Some(person) = people.get(&session.user_id) {
                    found.push((session, Arc::clone(person)));
                }
            }
            Ok(found)
        })?;
        for (session, person) in found {
            self.changed(&session, person);
        }
        Ok(())
    }

    /// Takes over a session that was opened or completed.
    pub(super) fn changed(&self, session: &Session, person: Arc<Person>) {
        let entry = Entry { person, state: session.state, expires_at: session.expires_at };
        write(&self.live).insert(session.id, entry);
    }

    /// Drops sessions that ended, and their streams.
    pub(super) fn ended(&self, ids: &[SessionId]) {
        if ids.is_empty() {
            return;
        }
        {
            let mut live = write(&self.live);
            for id in ids {
                live.remove(id);
            }
        }
        (self.on_end)(ids);
    }

    /// Drops sessions whose time is over; their rows go with the next sweep of the database.
    pub(super) fn expire(&self, now: Time) {
        let over: Vec<SessionId> = {
            let mut live = write(&self.live);
            live.extract_if(|_, entry| entry.expires_at <= now).map(|(id, _)| id).collect()
        };
        if !over.is_empty() {
            (self.on_end)(&over);
        }
    }

    /// Whether a session is still complete and its time not over.
    pub fn is_complete(&self, id: SessionId, now: Time) -> bool {
        let live = read(&self.live);
        live.get(&id).is_some_and(|entry| entry.state == State::Complete && entry.expires_at > now)
    }

    /// The session that a token names, in whatever state, and whose it is.
    ///
    /// # Errors
    /// No token, a bad one, or a session that has ended.
    pub fn named(&self, by: &Credential, tokens: &Tokens, now: Time) -> Result<(SessionId, Arc<Person>), Refusal> {
        self.find(by, tokens, now).map(|(id, person, _)| (id, person))
    }

    /// Proves a caller: his token names a complete session.
    ///
    /// # Errors
    /// As [`Sessions::named`], or the second factor is still missing.
    pub fn caller(&self, by: &Credential, tokens: &Tokens, now: Time) -> Result<Caller, Refusal> {
        match self.find(by, tokens, now)? {
            (session, person, State::Complete) => Ok(Caller { session, person }),
            (_, _, State::NeedsCode | State::NeedsEnrolment) => Err(Refusal::SecondFactorMissing),
        }
    }

    fn find(&self, by: &Credential, tokens: &Tokens, now: Time) -> Result<(SessionId, Arc<Person>, State), Refusal> {
        let claims = tokens.prove(by.token()?.expose(), now)?;
        let id: SessionId = claims.sid.parse().map_err(|_| Refusal::TokenInvalid)?;
        let live = read(&self.live);
        let entry = live.get(&id).filter(|entry| entry.expires_at > now).ok_or(Refusal::SessionEnded)?;
        if entry.person.id != claims.user_id {
            return Err(Refusal::TokenInvalid);
        }
        Ok((id, Arc::clone(&entry.person), entry.state))
    }
}
