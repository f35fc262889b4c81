//! What deleted accounts leave behind in the room: renamed or deleted in small steps, so that nobody waits for it.

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::ids::UserId;
use crate::store::messages;
use crate::store::writer::Tx;

/// The name that the messages of a deleted account stay under. No login can be this: they have no parentheses.
pub const NEUTRAL_NAME: &str = "(deleted)";

/// Records that the messages of an account up to now are to be renamed or deleted. Which of the two, the server's settings say
/// when it comes to it.
///
/// # Errors
/// SQLite's.
pub(super) fn record(tx: &Tx<'_>, user_id: UserId) -> rusqlite::Result<()> {
    tx.sql()
        .prepare_cached("INSERT INTO departures (user_id, after_message, last_message) VALUES (?1, 0, ?2)")?
        .execute(params![user_id, messages::last_id(tx)?])?;
    Ok(())
}

/// Whether there is anything to do.
///
/// # Errors
/// SQLite's.
pub fn any(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM departures)")?.query_row([], |row| row.get(0))
}

/// Does a step: looks at the next `ids` message ids of one departure, and renames what is found if `keep` says so, or deletes
/// it. Returns whether there is more to do.
///
/// # Errors
/// SQLite's.
pub fn step(tx: &Tx<'_>, ids: i64, keep: bool) -> rusqlite::Result<bool> {
    let next = tx
        .sql()
        .prepare_cached("SELECT user_id, after_message, last_message FROM departures ORDER BY user_id LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((user_id, after, last)): Option<(UserId, i64, i64)> = next else { return Ok(false) };
    let upto = after.saturating_add(ids).min(last);
    let range = params![user_id, after, upto];
    if keep {
        tx.sql()
            .prepare_cached("UPDATE messages SET author = ?4 WHERE user_id = ?1 AND id > ?2 AND id <= ?3")?
            .execute(params![user_id, after, upto, NEUTRAL_NAME])?;
    } else {
        tx.sql().prepare_cached("DELETE FROM messages WHERE user_id = ?1 AND id > ?2 AND id <= ?3")?.execute(range)?;
    }
    if upto >= last {
        tx.sql().prepare_cached("DELETE FROM departures WHERE user_id = ?1")?.execute([user_id])?;
    } else {
        tx.sql()
            .prepare_cached("UPDATE departures SET after_message = ?2 WHERE user_id = ?1")?
            .execute(params![user_id, upto])?;
    }
    any(tx)
}

#[cfg(test)]
mod tests {
    use super::super::testing::store;
    use super::super::{Store, StoreError};
    use super::*;
    use crate::base::clock::Time;
    use crate::model::ids::Cursor;

    fn write<T: Send + 'static>(
        store: &Store,
        write: impl FnOnce(&Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> T {
        store.write(move |tx| Ok::<_, StoreError>(write(tx)?)).unwrap()
    }

    fn append(tx: &Tx<'_>, user_id: i64, author: &str) -> rusqlite::Result<()> {
        let sent_at = Time::from_secs(0);
        let new =
            messages::NewMessage { user_id: UserId::from_number(user_id), author, text: "x", sent_at, client_id: None };
        messages::append(tx, &new).map(|_| ())
    }

    #[test]
    fn what_somebody_said_is_renamed_or_deleted_in_steps_and_nothing_else_is() {
        let (_dir, store) = store();
        write(&store, |tx| {
            for n in 0..100 {
                let (user, author) = [(1, "one"), (2, "two"), (3, "three")][n % 3];
                append(tx, user, author)?;
            }
            record(tx, UserId::from_number(1))?;
            append(tx, 3, "three")
        });
        let mut steps = 1;
        while write(&store, |tx| step(tx, 7, true)) {
            steps += 1;
        }
        assert_eq!(steps, 100_usize.div_ceil(7));
        write(&store, |tx| record(tx, UserId::from_number(2)));
        while write(&store, |tx| step(tx, 7, false)) {}
        let left = store.read(|c| messages::after(c, Cursor::START, 1_000)).unwrap();
        let of = |author: &str| left.iter().filter(|m| m.author == author).count();
        assert_eq!((of("one"), of(NEUTRAL_NAME), of("two"), of("three")), (0, 34, 0, 34));
        assert!(!store.read(any).unwrap());
    }
}
