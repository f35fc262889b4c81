//! Writing to the common room.

use super::refusal::{Error, Refusal};
use super::sessions::Caller;
use super::{App, Credential};
use crate::model::ids::{Cursor, EventId};
use crate::model::login::is_spelling_of;
use crate::model::text::Text;
use crate::store::messages::NewMessage;
use crate::store::{StoredMessage, Tx, messages, sessions};

impl App {
    /// Stores a message in the caller's name and tells `then` once it is on disk. Does not wait.
    ///
    /// # Errors
    /// Through `then`: somebody else's name, a text or id that breaks a rule, a session that ended meanwhile, or nothing could
    /// be stored.
    pub fn send(
        &self,
        caller: &Caller,
        draft: Draft,
        then: impl FnOnce(Result<StoredMessage, Error>) + Send + 'static,
    ) {
        let person = caller.person();
        if !draft.author.is_empty() && !is_spelling_of(&draft.author, &person.login) {
            return then(Err(Refusal::Author.into()));
        }
        let text = match Text::check(draft.text, self.limits.text_bytes) {
            Ok(text) => text,
            Err(error) => return then(Err(Refusal::from(error).into())),
        };
        let client_id = draft.client_id;
        if client_id.len() > MAX_CLIENT_ID_BYTES || client_id.chars().any(char::is_control) {
            return then(Err(Refusal::ClientId.into()));
        }
        let (user_id, login, now) = (person.id, person.login.clone(), self.clock.now());
        let session = caller.session();
        let write = move |tx: &Tx<'_>| {
            // It may have ended since the caller was proved, and his account with it.
            if !sessions::is_complete(tx, session, now)? {
                return Err(Refusal::SessionEnded.into());
            }
            let client_id = Some(client_id.as_str()).filter(|id| !id.is_empty());
            let new = NewMessage { user_id, author: &login, text: text.as_str(), sent_at: now, client_id };
            Ok(messages::append(tx, &new)?)
        };
        self.store.submit(write, then);
    }

    /// The cursor that a stream begins after.
    ///
    /// # Errors
    /// A cursor from the future.
    pub fn cursor_of(&self, beginning: Beginning) -> Result<Cursor, Error> {
        match beginning {
            // What is acknowledged is over, whether it has been published yet or not.
            Beginning::Now => Ok(self.store.read(messages::last_id)?),
            Beginning::After(cursor) => {
                let last_id = self.store.read(messages::last_id)?;
                if cursor <= last_id { Ok(cursor) } else { Err(Refusal::CursorInFuture.into()) }
            }
            Beginning::Last(count) => {
                let count = (count as usize).min(self.limits.history_page);
                Ok(self.store.read(|tx| messages::cursor_before_last(tx, count))?)
            }
        }
    }

    /// A page of what is stored, oldest first.
    ///
    /// # Errors
    /// No complete session.
    pub fn history(&self, by: &Credential, from: PageFrom, limit: u32) -> Result<Page, Error> {
        self.sessions.caller(by, &self.tokens, self.clock.now())?;
        let limit = if limit == 0 { DEFAULT_PAGE } else { limit as usize }.min(self.limits.history_page);
        // One more than asked for tells whether there is more.
        let mut messages = self.store.read(|tx| match from {
            PageFrom::Newest => messages::before(tx, None, limit + 1),
            PageFrom::Before(before) => messages::before(tx, Some(before), limit + 1),
            PageFrom::After(after) => messages::after(tx, after, limit + 1),
        })?;
        let has_more = messages.len() > limit;
        if has_more {
            match from {
                PageFrom::Newest | PageFrom::Before(_) => drop(messages.remove(0)),
                PageFrom::After(_) => messages.truncate(limit),
            }
        }
        Ok(Page { messages, has_more })
    }
}

/// How many messages a page has if nobody says.
const DEFAULT_PAGE: usize = 50;

/// The longest id of a sender's own, in bytes.
const MAX_CLIENT_ID_BYTES: usize = 64;

/// What somebody wants to say.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Empty, or the sender's own login.
    pub author: String,
    /// The text.
    pub text: String,
    /// The sender's own id of it, or empty: the same one again stores nothing and gives the first result.
    pub client_id: String,
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// With what comes next.
    Now,
    /// After this cursor.
    After(Cursor),
    /// With the last so many messages.
    Last(u32),
}

/// Where a page of the history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFrom {
    /// The newest of all.
    Newest,
    /// Below this id, the newest.
    Before(EventId),
    /// After this cursor, the oldest.
    After(Cursor),
}

/// A page of the history.
#[derive(Clone, Debug)]
pub struct Page {
    /// The messages, oldest first.
    pub messages: Vec<StoredMessage>,
    /// Whether there are more in the direction that was asked for.
    pub has_more: bool,
}
