//! The registry of sessions: those of the database, in memory, so that proving a caller costs no query.
//!
//! It follows the commits ([`crate::store::Followers`]): a session is here only while its row is, so what is not here is no
//! session. Only expired sessions are dropped from elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::caller::{Caller, Person, Rights};
use super::credential::Credential;
use super::refusal::Refusal;
use crate::base::clock::Time;
use crate::base::lock::{read, write};
use crate::model::event::Event;
use crate::model::ids::SessionId;
use crate::security::tokens::Tokens;
use crate::store::sessions::Stage;
use crate::store::{Followers, LiveSession, Store, StoreError, sessions as rows};

#[derive(Debug)]
struct Entry {
    person: Arc<Person>,
    stage: Stage,
    expires_at: Time,
}

/// Ends the streams of sessions. Must not block.
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
        self.give_rights(store.read(|tx| rows::all_live(tx, now))?);
        Ok(())
    }

    fn give_rights(&self, sessions: Vec<LiveSession>) {
        let entries: Vec<_> = sessions
            .into_iter()
            .map(|LiveSession { session, login }| {
                let person = Person::new(session.user_id, login);
                (session.id, Entry { person, stage: session.stage, expires_at: session.expires_at })
            })
            .collect();
        write(&self.live).extend(entries);
    }

    fn take_rights(&self, ended: &[SessionId]) {
        let mut live = write(&self.live);
        for id in ended {
            live.remove(id);
        }
    }

    /// Drops sessions that have expired; their rows go with the next sweep of the database.
    pub(super) fn expire(&self, now: Time) {
        let over: Vec<SessionId> = {
            let mut live = write(&self.live);
            live.extract_if(|_, entry| entry.expires_at <= now).map(|(id, _)| id).collect()
        };
        if !over.is_empty() {
            (self.on_end)(&over);
        }
    }

    /// Whether a session is still complete and has not expired.
    pub fn is_complete(&self, id: SessionId, now: Time) -> bool {
        let live = read(&self.live);
        live.get(&id).is_some_and(|entry| entry.stage == Stage::Complete && entry.expires_at > now)
    }

    /// The session that a token names, at whatever stage, and its account.
    ///
    /// # Errors
    /// No token, a bad one, or a session that has ended.
    pub fn named(&self, by: &Credential, tokens: &Tokens, now: Time) -> Result<(SessionId, Arc<Person>), Refusal> {
        self.find(by, tokens, now).map(|(id, person, _)| (id, person))
    }

    /// Proves a caller: the token names a complete session.
    ///
    /// # Errors
    /// As [`Sessions::named`], or the second factor is still missing.
    pub fn caller(&self, by: &Credential, tokens: &Tokens, now: Time) -> Result<Caller, Refusal> {
        match self.find(by, tokens, now)? {
            (session, person, Stage::Complete) => Ok(Caller::new(session, person, Rights::Member)),
            (_, _, Stage::NeedsCode | Stage::NeedsEnrolment) => Err(Refusal::SecondFactorMissing),
        }
    }

    fn find(&self, by: &Credential, tokens: &Tokens, now: Time) -> Result<(SessionId, Arc<Person>, Stage), Refusal> {
        let claims = tokens.prove(by.token()?.expose(), now)?;
        let id: SessionId = claims.sid.parse().map_err(|_| Refusal::TokenInvalid)?;
        let live = read(&self.live);
        let entry = live.get(&id).filter(|entry| entry.expires_at > now).ok_or(Refusal::SessionEnded)?;
        if entry.person.id != claims.user_id {
            return Err(Refusal::TokenInvalid);
        }
        Ok((id, Arc::clone(&entry.person), entry.stage))
    }
}

/// Follows the store's commits: sessions gain and lose their rights, streams end, events are published.
pub struct CommitFollowers {
    /// The registry.
    pub sessions: Arc<Sessions>,
    /// Publishes events, in commit order. Must not block for long.
    pub publish: Box<dyn FnMut(Vec<Event>) + Send>,
}

impl Followers for CommitFollowers {
    fn take_rights(&mut self, ended: &[SessionId]) {
        self.sessions.take_rights(ended);
    }

    fn give_rights(&mut self, sessions: Vec<LiveSession>) {
        self.sessions.give_rights(sessions);
    }

    fn end_streams(&mut self, ended: &[SessionId]) {
        (self.sessions.on_end)(ended);
    }

    fn publish(&mut self, events: Vec<Event>) {
        (self.publish)(events);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Deliver, Ended, Frame, Hub, HubLimits, Next, Offered};
    use crate::model::ids::Cursor;
    use crate::security::secret::{SecretBytes, SecretText};
    use crate::security::tokens::{Claims, ISSUER};
    use crate::store::{testing, users};

    struct Nowhere;

    impl Deliver for Nowhere {
        type Body = ();

        fn offer(&mut self, _: &Frame<()>, _: Cursor) -> Offered {
            Offered::Taken
        }
    }

    /// Deletes the row of an account, and does nothing else for its sessions.
    #[test]
    fn an_account_that_is_deleted_has_no_token_and_no_stream_left_without_any_callers_help() {
        let limits = HubLimits { mailbox_bytes: 1 << 20, waiting_bytes: 1 << 20, streams: 4, streams_per_user: 4 };
        let hub: Arc<Hub<Nowhere>> = Arc::new(Hub::new(limits, Cursor::START));
        let sessions = Arc::new(Sessions::new({
            let hub = Arc::clone(&hub);
            Box::new(move |ended| hub.end_sessions(ended))
        }));
        let followers = CommitFollowers { sessions: Arc::clone(&sessions), publish: Box::new(|_| ()) };
        let (_dir, store) = testing::store_with(followers);
        let author = testing::account(&store, "user1");
        let (now, id, user_id) = (Time::from_secs(1), author.session.id, author.session.user_id);
        let tokens = Tokens::new(&SecretBytes::new(vec![7; 32]));
        let claims = Claims { user_id, login: "user1".into(), exp: 9, iat: 1, iss: ISSUER.into(), sid: id.to_string() };
        let token = SecretText::new(tokens.issue(&claims).unwrap().expose().to_owned());
        let proved = || sessions.caller(&Credential::Token(token.clone()), &tokens, now).map(|_| ());
        assert_eq!(proved(), Ok(()));
        let mut stream = hub.subscribe(user_id, id, Cursor::START).unwrap();
        assert!(matches!(stream.take_next(), Next::Idle));

        store.write(move |tx| Ok::<_, StoreError>(users::delete(tx, user_id)?)).unwrap();
        assert_eq!(proved(), Err(Refusal::SessionEnded));
        assert!(matches!(stream.take_next(), Next::Ended(Ended::Session)));
    }
}
