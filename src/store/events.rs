//! The log of events: appending to it, and reading on from a cursor.
//!
//! Ids grow in commit order, have gaps, and are never used again, also after a purge.

use super::error::AppendError;
use super::log_head;
use super::sessions;
use super::sql::{DbError, Row, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::model::event::{Audience, Event, EventKind};
use crate::model::ids::{Cursor, EventId, RoomId, SessionId, UserId};

/// An event before it is appended.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The session of its author. It must be complete when the event is appended.
    pub session: SessionId,
    /// The author.
    pub author_id: UserId,
    /// The author's login.
    pub author: String,
    /// What happened.
    pub kind: EventKind,
    /// The audience.
    pub audience: Audience,
    /// The text of a message.
    pub text: String,
    /// When the server took it.
    pub at: Time,
    /// The sender's own id of it: the same one again stores nothing.
    pub client_id: Option<String>,
}

/// An event that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its place in the log.
    pub id: EventId,
    /// When the server took it.
    pub at: Time,
}

/// The columns of an event, for [`from_row`].
macro_rules! event_columns {
    () => {
        "id, kind, room, person, user_id, author, text, sent_at"
    };
}

pub(super) use event_columns;

statements! {
    APPEND = "INSERT INTO events (id, kind, room, person, user_id, author, text, sent_at, client_id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    SENT_BEFORE = "SELECT id, sent_at FROM events WHERE user_id = ?1 AND client_id = ?2
        UNION ALL
        SELECT message_id, sent_at FROM purged_client_ids WHERE user_id = ?1 AND client_id = ?2
        LIMIT 1";
    AFTER = concat!("SELECT ", event_columns!(), " FROM events WHERE id > ?1 ORDER BY id LIMIT ?2");
}

/// Appends an event; it is published once it is committed. Where the same author has used the `client_id` before, nothing is
/// appended, and the answer is that of the first event.
///
/// # Errors
/// [`AppendError`].
pub(super) fn append(tx: &Tx<'_>, new: NewEvent) -> Result<Appended, AppendError> {
    // It may have ended since the caller was proved, and its account may have been deleted.
    if !sessions::is_complete(tx, new.session, new.at)? {
        return Err(AppendError::SessionEnded);
    }
    if let Some(client_id) = &new.client_id
        && let Some(before) = sent_before(tx, new.author_id, client_id)?
    {
        return Ok(before);
    }
    let NewEvent { author_id, author, kind, audience, text, at, client_id, .. } = new;
    let id = tx.next_event_id()?;
    let event = Event { id, kind, audience, author_id, author, text, at };
    tx.conn.execute(
        APPEND,
        values![
            id,
            kind.word(),
            audience.room(),
            audience.person(),
            author_id,
            &event.author,
            &event.text,
            at,
            client_id.as_ref(),
        ],
    )?;
    tx.appended(event);
    Ok(Appended { id, at })
}

/// The event that an author appended under this id before.
fn sent_before(tx: &ReadTx<'_>, author_id: UserId, client_id: &str) -> Result<Option<Appended>, DbError> {
    tx.conn.first(SENT_BEFORE, values![author_id, client_id], |row| Ok(Appended { id: row.get(0)?, at: row.get(1)? }))
}

/// The cursor behind the highest id ever given.
///
/// # Errors
/// The database's.
pub fn last_id(tx: &ReadTx<'_>) -> Result<Cursor, DbError> {
    tx.last_event_id()
}

/// The `count` events after a cursor, of all rooms and kinds, oldest first.
///
/// # Errors
/// The database's.
pub fn after(tx: &ReadTx<'_>, cursor: Cursor, count: usize) -> Result<Vec<Event>, DbError> {
    tx.conn.rows(AFTER, values![cursor, i64::try_from(count).unwrap_or(i64::MAX)], from_row)
}

/// A page of what a stream has missed, in one view of the database.
#[derive(Clone, Debug)]
pub struct ReplayPage {
    /// The events, of all rooms and kinds, oldest first.
    pub events: Vec<Event>,
    /// The cursor behind the highest id ever given.
    pub last_id: Cursor,
    /// The cursor up to which the common room was purged.
    pub purged_through: Cursor,
}

/// The `count` events that follow a cursor, with what a stream must know beside them.
pub(super) fn replay_page(tx: &ReadTx<'_>, cursor: Cursor, count: usize) -> Result<ReplayPage, DbError> {
    let (last_id, purged_through) = (last_id(tx)?, log_head::purged_through(tx.conn, RoomId::COMMON)?);
    Ok(ReplayPage { events: after(tx, cursor, count)?, last_id, purged_through })
}

/// Reads the columns that `event_columns!` names.
pub(super) fn from_row(row: &Row<'_>) -> Result<Event, DbError> {
    let audience = Audience::from_parts(row.get(2)?, row.get(3)?).ok_or_else(|| row.unreadable(2))?;
    Ok(Event {
        id: row.get(0)?,
        kind: row.word(1, EventKind::from_word)?,
        audience,
        author_id: row.get(4)?,
        author: row.get(5)?,
        text: row.get(6)?,
        at: row.get(7)?,
    })
}
