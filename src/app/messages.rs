//! The common room: writing to it, reading its history, and where a stream of it begins.

use super::caller::Member;
use super::refusal::{Error, Refusal};
use super::system::App;
use crate::model::event::{Audience, Event, EventKind};
use crate::model::ids::{Cursor, EventId, RoomId};
use crate::model::login::is_spelling_of;
use crate::model::text::MessageText;
use crate::store::{Appended, NewEvent, events, messages};

impl App {
    /// Appends a message in the caller's name and tells `then` once it is on disk. Does not wait.
    ///
    /// # Errors
    /// Through `then`: another person's name, a text or id that breaks a rule, a session that ended meanwhile, or nothing
    /// could be stored.
    pub fn send(&self, member: Member<'_>, draft: Draft, then: impl FnOnce(Result<Appended, Error>) + Send + 'static) {
        match self.new_message(member, draft) {
            Ok(new) => self.store.append(new, move |result| then(result.map_err(Error::from))),
            Err(refusal) => then(Err(refusal.into())),
        }
    }

    /// Checks a draft. Whether the session is still complete is checked again when it is appended.
    fn new_message(&self, member: Member<'_>, draft: Draft) -> Result<NewEvent, Refusal> {
        let caller = member.caller();
        let person = caller.person();
        if !draft.author.is_empty() && !is_spelling_of(&draft.author, &person.login) {
            return Err(Refusal::Author);
        }
        let text = MessageText::check(draft.text, self.limits.text)?;
        let client_id = Some(draft.client_id).filter(|id| !id.is_empty());
        let breaks_a_rule = |id: &String| id.len() > MAX_CLIENT_ID_BYTES || id.chars().any(char::is_control);
        if client_id.as_ref().is_some_and(breaks_a_rule) {
            return Err(Refusal::ClientId);
        }
        Ok(NewEvent {
            session: caller.session(),
            author_id: person.id,
            author: person.login.clone(),
            kind: EventKind::Message,
            audience: Audience::Room(RoomId::COMMON),
            text: text.as_str().to_owned(),
            at: self.clock.now(),
            client_id,
        })
    }

    /// The cursor that a stream begins after.
    ///
    /// # Errors
    /// A cursor from the future.
    pub fn cursor_of(&self, _: Member<'_>, beginning: Beginning) -> Result<Cursor, Error> {
        match beginning {
            // An acknowledged message is in the past, whether it has been published yet or not.
            Beginning::Now => Ok(self.store.read(events::last_id)?),
            Beginning::After(cursor) => {
                let last_id = self.store.read(events::last_id)?;
                if cursor <= last_id { Ok(cursor) } else { Err(Refusal::CursorInFuture.into()) }
            }
            Beginning::Last(count) => {
                let count = (count as usize).min(self.limits.history_page);
                Ok(self.store.read(|tx| messages::cursor_before_last(tx, RoomId::COMMON, count))?)
            }
        }
    }

    /// A page of the common room's history, oldest first.
    ///
    /// # Errors
    /// The store's.
    pub fn history(&self, _: Member<'_>, from: PageFrom, limit: u32) -> Result<Page, Error> {
        let limit = if limit == 0 { DEFAULT_PAGE } else { limit as usize }.min(self.limits.history_page);
        // One more than asked for tells whether there is more.
        let count = limit + 1;
        let mut messages = self.store.read(|tx| match from {
            PageFrom::Newest => messages::before(tx, RoomId::COMMON, None, count),
            PageFrom::Before(before) => messages::before(tx, RoomId::COMMON, Some(before), count),
            PageFrom::After(after) => messages::after(tx, RoomId::COMMON, after, count),
        })?;
        let kept = match from {
            PageFrom::Newest | PageFrom::Before(_) => how_many_fit(messages.iter().rev(), limit),
            PageFrom::After(_) => how_many_fit(messages.iter(), limit),
        };
        let has_more = kept < messages.len();
        match from {
            PageFrom::Newest | PageFrom::Before(_) => drop(messages.drain(..messages.len() - kept)),
            PageFrom::After(_) => messages.truncate(kept),
        }
        Ok(Page { messages, has_more })
    }
}

/// How many of the first messages a page takes: at most `limit`, and at most [`PAGE_BYTES`] beyond the first one.
fn how_many_fit<'m>(messages: impl Iterator<Item = &'m Event>, limit: usize) -> usize {
    let mut bytes = 0;
    let fits = |message: &&Event| {
        let first = bytes == 0;
        bytes += message.author.len() + message.text.len() + MESSAGE_BYTES;
        first || bytes <= PAGE_BYTES
    };
    messages.take(limit).take_while(fits).count()
}

/// How many bytes a page of the history has at most, unless a single message is longer.
const PAGE_BYTES: usize = 256 * 1024;
/// About what a message takes beside author and text.
const MESSAGE_BYTES: usize = 40;

/// How many messages a page has if the caller does not say.
const DEFAULT_PAGE: usize = 50;

/// The longest id of a sender's own, in bytes.
const MAX_CLIENT_ID_BYTES: usize = 64;

/// A message as it is sent.
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
    pub messages: Vec<Event>,
    /// Whether there are more in the direction that was asked for.
    pub has_more: bool,
}
