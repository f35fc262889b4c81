//! What deleted accounts leave behind in the log: renamed or deleted in small steps, so that no other write waits for it.

use super::sql::{DbError, statements, values};
use super::tx::{ReadTx, Tx};
use crate::model::ids::{Cursor, RoomId, UserId};

/// The name that the messages of a deleted account stay under. No login can be this: they have no parentheses.
pub const NEUTRAL_NAME: &str = "(deleted)";

// The table has the name that its first version had, and its columns speak of messages: they mean events.
statements! {
    RECORD = "INSERT INTO departures (user_id, after_message, last_message) VALUES (?1, 0, ?2)";
    ANY = "SELECT EXISTS (SELECT 1 FROM departures)";
    NEXT = "SELECT user_id, after_message, last_message FROM departures ORDER BY user_id LIMIT 1";
    LAST_OF_STEP = "SELECT max(id) FROM (SELECT id FROM events WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3) AS step";
    RENAME = "UPDATE events SET author = ?4 WHERE user_id = ?1 AND id > ?2 AND id <= ?3";
    COUNT = "SELECT room, count(*) FROM events
        WHERE user_id = ?1 AND id > ?2 AND id <= ?3 AND kind = 'message' AND room IS NOT NULL GROUP BY room";
    DELETE = "DELETE FROM events WHERE user_id = ?1 AND id > ?2 AND id <= ?3";
    DONE = "DELETE FROM departures WHERE user_id = ?1";
    GO_ON = "UPDATE departures SET after_message = ?2 WHERE user_id = ?1";
}

/// Records that the events of an account up to now must be renamed or deleted. The server's settings at that time say which of
/// the two.
pub(super) fn record(tx: &Tx<'_>, user_id: UserId) -> Result<(), DbError> {
    tx.conn.execute(RECORD, values![user_id, tx.last_event_id()?])?;
    Ok(())
}

/// Whether there is anything to do.
///
/// # Errors
/// The database's.
pub fn any(tx: &ReadTx<'_>) -> Result<bool, DbError> {
    tx.conn.one(ANY, values![], |row| row.get(0))
}

/// Does a step: looks at the next `count` events for one deleted account, and renames its own among them if `keep` says so, or
/// deletes them. Returns whether there is more to do.
///
/// # Errors
/// The database's.
pub fn step(tx: &Tx<'_>, count: u32, keep: bool) -> Result<bool, DbError> {
    let next = tx.conn.first(NEXT, values![], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some((user_id, after, last)): Option<(UserId, Cursor, Cursor)> = next else { return Ok(false) };
    let upto: Option<Cursor> = tx.conn.one(LAST_OF_STEP, values![after, last, count], |row| row.get(0))?;
    match upto {
        Some(upto) if keep => {
            tx.conn.execute(RENAME, values![user_id, after, upto, NEUTRAL_NAME])?;
        }
        Some(upto) => {
            let counted = tx.conn.rows(COUNT, values![user_id, after, upto], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for (room, messages) in counted {
                let (room, messages): (RoomId, u32) = (room, messages);
                tx.messages_deleted(room, messages as usize);
            }
            tx.conn.execute(DELETE, values![user_id, after, upto])?;
        }
        None => {}
    }
    match upto {
        Some(upto) if upto < last => tx.conn.execute(GO_ON, values![user_id, upto])?,
        _ => tx.conn.execute(DONE, values![user_id])?,
    };
    any(tx)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{account, new_message, store};
    use super::super::{Store, StoreError, messages, users};
    use super::*;
    use crate::model::ids::EventId;

    fn write<T: Send + 'static>(
        store: &Store,
        write: impl FnOnce(&Tx<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> T {
        store.write(move |tx| Ok::<_, StoreError>(write(tx)?)).unwrap()
    }

    fn send(store: &Store, login: &str) -> EventId {
        store.append_and_wait(new_message(&account(store, login), "x")).unwrap().id
    }

    #[test]
    fn the_messages_of_deleted_accounts_are_renamed_or_deleted_in_steps_and_no_others_are() {
        let (_dir, store) = store();
        for n in 0..100 {
            send(&store, ["one", "two", "three"][n % 3]);
        }
        let delete = |login: &str| {
            let id = account(&store, login).session.user_id;
            write(&store, move |tx| users::delete(tx, id));
        };
        delete("one");
        send(&store, "three");
        let mut steps = 1;
        while write(&store, |tx| step(tx, 7, true)) {
            steps += 1;
        }
        assert_eq!(steps, 100_usize.div_ceil(7));
        delete("two");
        while write(&store, |tx| step(tx, 7, false)) {}
        let left = store.read(|tx| messages::after(tx, RoomId::COMMON, Cursor::START, 1_000)).unwrap();
        let of = |author: &str| left.iter().filter(|m| m.author == author).count();
        assert_eq!((of("one"), of(NEUTRAL_NAME), of("two"), of("three")), (0, 34, 0, 34));
        assert!(!store.read(any).unwrap());
        let stored = store.read(|tx| tx.messages_stored(RoomId::COMMON)).unwrap();
        assert_eq!(stored, 68, "the number of messages is kept up");
    }

    #[test]
    fn a_gap_in_the_ids_costs_no_steps() {
        let (_dir, store) = store();
        send(&store, "one");
        write(&store, |tx| tx.conn.batch("UPDATE lanes SET last = last + 1000000"));
        let id = account(&store, "one").session.user_id;
        send(&store, "one");
        write(&store, move |tx| users::delete(tx, id));
        assert!(!write(&store, |tx| step(tx, 7, true)), "one step does it");
    }
}
