//! Messages of the common room. Their ids grow in commit order and are never used again, also after a purge.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use crate::clock::Time;

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the room.
    pub id: i64,
    /// The author's login at the time.
    pub author: String,
    /// The text.
    pub text: String,
    /// When the server took it.
    pub sent_at: Time,
}

/// Stores a message; it is fed on once it is committed.
///
/// # Errors
/// SQLite's.
pub fn append(tx: &Tx<'_>, user_id: i64, author: &str, text: &str, sent_at: Time) -> rusqlite::Result<StoredMessage> {
    let sql = tx.sql();
    sql.prepare_cached("INSERT INTO messages (user_id, author, text, sent_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![user_id, author, text, sent_at.as_micros()])?;
    let message = StoredMessage { id: sql.last_insert_rowid(), author: author.into(), text: text.into(), sent_at };
    tx.appended(message.clone());
    Ok(message)
}

/// The `count` messages that follow the one with the id `cursor`, oldest first.
///
/// # Errors
/// SQLite's.
pub fn after(connection: &Connection, cursor: i64, count: usize) -> rusqlite::Result<Vec<StoredMessage>> {
    connection
        .prepare_cached("SELECT id, author, text, sent_at FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![cursor, i64::try_from(count).unwrap_or(i64::MAX)], from_row)?
        .collect()
}

/// The highest id ever given; 0 before the first message.
///
/// # Errors
/// SQLite's.
pub fn last_id(connection: &Connection) -> rusqlite::Result<i64> {
    let last = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'";
    Ok(connection.query_row(last, [], |row| row.get(0)).optional()?.unwrap_or(0))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<StoredMessage> {
    Ok(StoredMessage {
        id: row.get(0)?,
        author: row.get(1)?,
        text: row.get(2)?,
        sent_at: Time::from_micros(row.get(3)?),
    })
}

#[cfg(test)]
mod tests {
    use super::super::StoreError;
    use super::super::testing::store;
    use super::*;

    #[test]
    fn an_id_is_never_used_again_also_after_a_purge() {
        let (_dir, store) = store(Box::new(|_| ()));
        let append = || store.write(|tx| Ok::<_, StoreError>(append(tx, 1, "a", "x", Time::from_secs(0))?.id), |_| ());
        assert_eq!(store.read(last_id).unwrap(), 0);
        let last = [append().unwrap(), append().unwrap()][1];
        store.write(|tx| Ok::<_, StoreError>(tx.execute("DELETE FROM messages", [])?), |_| ()).unwrap();
        assert_eq!(store.read(last_id).unwrap(), last);
        assert_eq!(append().unwrap(), last + 1);
        assert_eq!(store.read(|c| after(c, 0, 10)).unwrap().len(), 1);
    }
}
