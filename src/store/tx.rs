//! Transactions: one view of the database to read, and the right to write.

use std::cell::RefCell;
use std::ops::Deref;

use super::effects::Effects;
use super::log_head::{self, LogHead};
use super::rows::{AuditHead, LiveSession, Session};
use super::sql::{Conn, DbError};
use crate::model::event::{Event, EventKind};
use crate::model::ids::{Cursor, EventId, RoomId, SessionId};

/// One view of the database, to read. What others commit meanwhile is not in it. Only the functions of the tables can do
/// anything with it.
pub struct ReadTx<'c> {
    pub(super) conn: Conn<'c>,
    /// The head of the log as the group has changed it, in a transaction that writes.
    log: Option<&'c LogHead>,
}

impl<'c> ReadTx<'c> {
    /// A view that a connection gives.
    pub(super) fn new(conn: Conn<'c>) -> ReadTx<'c> {
        ReadTx { conn, log: None }
    }

    /// The cursor behind the highest id ever given to an event.
    pub(super) fn last_event_id(&self) -> Result<Cursor, DbError> {
        self.log.map_or_else(|| log_head::last(self.conn), |log| log.last(self.conn))
    }

    /// How many messages a room holds.
    pub(super) fn messages_stored(&self, room: RoomId) -> Result<i64, DbError> {
        self.log.map_or_else(|| log_head::stored(self.conn, room), |log| log.stored(self.conn, room))
    }
}

/// The right to write, within the transaction of a group. What it reads includes what it has written.
pub struct Tx<'c> {
    read: ReadTx<'c>,
    log: &'c LogHead,
    effects: RefCell<Effects>,
    kept_head: Option<AuditHead>,
}

impl<'c> Tx<'c> {
    /// A transaction of a group, with the head of the log that the group shares, and the last row of the audit that is kept
    /// beside the database.
    pub(super) fn new(conn: Conn<'c>, log: &'c LogHead, kept_head: Option<AuditHead>) -> Tx<'c> {
        Tx { read: ReadTx { conn, log: Some(log) }, log, effects: RefCell::default(), kept_head }
    }

    /// What follows its commit.
    pub(super) fn into_effects(self) -> Effects {
        self.effects.into_inner()
    }

    /// The last row of the audit that is kept beside the database.
    pub(super) fn kept_head(&self) -> Option<AuditHead> {
        self.kept_head
    }

    /// Gives the next id of an event.
    pub(super) fn next_event_id(&self) -> Result<EventId, DbError> {
        self.log.next_id(self.conn)
    }

    /// Notes an event that was appended. It is published once it is committed.
    pub(super) fn appended(&self, event: Event) {
        match (event.kind, event.audience.room()) {
            (EventKind::Message, Some(room)) => self.log.grow(room, 1),
            (EventKind::Message, None) => {}
        }
        self.effects.borrow_mut().events.push(event);
    }

    /// Notes that messages of a room were deleted.
    pub(super) fn messages_deleted(&self, room: RoomId, count: usize) {
        self.log.grow(room, -i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Notes a session that was opened or completed.
    pub(super) fn opened(&self, session: Session, login: &str) {
        self.effects.borrow_mut().open(LiveSession { session, login: login.to_owned() });
    }

    /// Notes sessions that were ended.
    pub(super) fn ended(&self, ended: &[SessionId]) {
        self.effects.borrow_mut().end(ended);
    }

    /// Notes the last row of the audit. It is kept beside the database once it is committed.
    pub(super) fn audited(&self, head: AuditHead) {
        self.effects.borrow_mut().audit_head = Some(head);
    }
}

impl<'c> Deref for Tx<'c> {
    type Target = ReadTx<'c>;

    fn deref(&self) -> &ReadTx<'c> {
        &self.read
    }
}
