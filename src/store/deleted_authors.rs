//! What deleted accounts leave behind in the log: renamed or deleted in small steps, so that no other write waits for it.

use super::messages;
use super::sql::{DbError, statements, values};
use super::tx::{ReadTx, Tx};
use crate::model::ids::UserId;

/// The name that the messages of a deleted account stay under. No login can be this: they have no parentheses.
pub const NEUTRAL_NAME: &str = "(deleted)";

statements! {
    RECORD = "INSERT INTO departures (user_id, after_message, last_message) VALUES (?1, 0, ?2)";
    ANY = "SELECT EXISTS (SELECT 1 FROM departures)";
    NEXT = "SELECT user_id, after_message, last_message FROM departures ORDER BY user_id LIMIT 1";
    RENAME = "UPDATE messages SET author = ?4 WHERE user_id = ?1 AND id > ?2 AND id <= ?3";
    DELETE = "DELETE FROM messages WHERE user_id = ?1 AND id > ?2 AND id <= ?3";
    DONE = "DELETE FROM departures WHERE user_id = ?1";
    GO_ON = "UPDATE departures SET after_message = ?2 WHERE user_id = ?1";
}

/// Records that the messages of an account up to now must be renamed or deleted. The server's settings at that time say
/// which of the two.
pub(super) fn record(tx: &Tx<'_>, user_id: UserId) -> Result<(), DbError> {
    tx.conn.execute(RECORD, values![user_id, messages::last_id(tx)?])?;
    Ok(())
}

/// Whether there is anything to do.
///
/// # Errors
/// The database's.
pub fn any(tx: &ReadTx<'_>) -> Result<bool, DbError> {
    tx.conn.one(ANY, values![], |row| row.get(0))
}

/// Does a step: looks at the next `ids` message ids of one deleted account, and renames the messages it finds if `keep` says
/// so, or deletes them. Returns whether there is more to do.
///
/// # Errors
/// The database's.
pub fn step(tx: &Tx<'_>, ids: i64, keep: bool) -> Result<bool, DbError> {
    let next = tx.conn.first(NEXT, values![], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let Some((user_id, after, last)): Option<(UserId, i64, i64)> = next else { return Ok(false) };
    let upto = after.saturating_add(ids).min(last);
    if keep {
        tx.conn.execute(RENAME, values![user_id, after, upto, NEUTRAL_NAME])?;
    } else {
        tx.conn.execute(DELETE, values![user_id, after, upto])?;
    }
    if upto >= last {
        tx.conn.execute(DONE, values![user_id])?;
    } else {
        tx.conn.execute(GO_ON, values![user_id, upto])?;
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
        write: impl FnOnce(&Tx<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> T {
        store.write(move |tx| Ok::<_, StoreError>(write(tx)?)).unwrap()
    }

    fn append(tx: &Tx<'_>, user_id: i64, author: &str) -> Result<(), DbError> {
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
