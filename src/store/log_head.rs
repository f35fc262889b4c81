//! The head of the log: the last id that was given, and what each room holds. The id and the number of messages are written
//! once for all transactions of a group; until then they are kept here.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::sql::{Conn, DbError, statements, values};
use crate::model::ids::{Cursor, EventId, RoomId};

statements! {
    LAST = "SELECT last FROM lanes WHERE name = 'log'";
    SET_LAST = "UPDATE lanes SET last = ?1 WHERE name = 'log'";
    STORED = "SELECT stored FROM room_logs WHERE room = ?1";
    PURGED_THROUGH = "SELECT purged_through FROM room_logs WHERE room = ?1";
    ADD_STORED = "UPDATE room_logs SET stored = stored + ?2 WHERE room = ?1";
}

/// What the transactions of a group have changed about the head.
#[derive(Clone, Debug, Default)]
pub(super) struct LogHead {
    /// The last id that was given, once one was given in this group.
    last: Cell<Option<Cursor>>,
    /// By how many messages each room has grown, or shrunk.
    grown: RefCell<BTreeMap<RoomId, i64>>,
}

impl LogHead {
    /// The cursor behind the last id that was given.
    pub(super) fn last(&self, conn: Conn<'_>) -> Result<Cursor, DbError> {
        self.last.get().map_or_else(|| last(conn), Ok)
    }

    /// Gives the next id.
    pub(super) fn next_id(&self, conn: Conn<'_>) -> Result<EventId, DbError> {
        let id = self.last(conn)?.next_id().ok_or_else(|| DbError::out_of_ids(LAST))?;
        self.last.set(Some(Cursor::behind(id)));
        Ok(id)
    }

    /// Notes that a room holds more messages, or fewer.
    pub(super) fn grow(&self, room: RoomId, by: i64) {
        *self.grown.borrow_mut().entry(room).or_default() += by;
    }

    /// How many messages a room holds.
    pub(super) fn stored(&self, conn: Conn<'_>, room: RoomId) -> Result<i64, DbError> {
        Ok(stored(conn, room)? + self.grown.borrow().get(&room).copied().unwrap_or(0))
    }

    /// Writes what has changed.
    pub(super) fn write(&self, conn: Conn<'_>) -> Result<(), DbError> {
        if let Some(last) = self.last.take() {
            conn.execute(SET_LAST, values![last])?;
        }
        for (room, by) in self.grown.take() {
            conn.execute(ADD_STORED, values![room, by])?;
        }
        Ok(())
    }
}

/// The cursor behind the last id that was given, as it is committed.
pub(super) fn last(conn: Conn<'_>) -> Result<Cursor, DbError> {
    conn.one(LAST, values![], |row| row.get(0))
}

/// How many messages a room holds, as it is committed.
pub(super) fn stored(conn: Conn<'_>, room: RoomId) -> Result<i64, DbError> {
    conn.one(STORED, values![room], |row| row.get(0))
}

/// The cursor up to which a room was purged.
pub(super) fn purged_through(conn: Conn<'_>, room: RoomId) -> Result<Cursor, DbError> {
    conn.one(PURGED_THROUGH, values![room], |row| row.get(0))
}
