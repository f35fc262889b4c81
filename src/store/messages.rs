//! Messages of the common room. Their ids grow in commit order and are never used again, also after a purge.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use crate::base::clock::Time;
use crate::model::ids::{Cursor, EventId, UserId};

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its place in the room.
    pub id: EventId,
    /// The author's login at the time.
    pub author: String,
    /// The text.
    pub text: String,
    /// When the server took it.
    pub sent_at: Time,
}

/// A message on its way into the store.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// Whose it is.
    pub user_id: UserId,
    /// His login.
    pub author: &'a str,
    /// The text.
    pub text: &'a str,
    /// When the server took it.
    pub sent_at: Time,
    /// The sender's own id of it: the same one again stores nothing.
    pub client_id: Option<&'a str>,
}

/// Stores a message; it is fed on once it is committed. One whose `client_id` the same user has used before is not stored
/// again: the first one's id and time are given.
///
/// # Errors
/// SQLite's.
pub fn append(tx: &Tx<'_>, new: &NewMessage<'_>) -> rusqlite::Result<StoredMessage> {
    let message = |id, sent_at| StoredMessage { id, author: new.author.into(), text: new.text.into(), sent_at };
    if let Some(client_id) = new.client_id
        && let Some((id, sent_at)) = sent_before(tx, new.user_id, client_id)?
    {
        return Ok(message(id, sent_at));
    }
    let sql = tx.sql();
    sql.prepare_cached("INSERT INTO messages (user_id, author, text, sent_at, client_id) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![new.user_id, new.author, new.text, new.sent_at.as_micros(), new.client_id])?;
    let id = sql.last_insert_rowid();
    let id = EventId::from_db(id).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, id))?;
    let message = message(id, new.sent_at);
    tx.appended(message.clone());
    Ok(message)
}

/// The id and time of the message that a user sent under this id before.
fn sent_before(connection: &Connection, user_id: UserId, client_id: &str) -> rusqlite::Result<Option<(EventId, Time)>> {
    connection
        .prepare_cached(
            "SELECT id, sent_at FROM messages WHERE user_id = ?1 AND client_id = ?2
             UNION ALL
             SELECT message_id, sent_at FROM purged_client_ids WHERE user_id = ?1 AND client_id = ?2
             LIMIT 1",
        )?
        .query_row(params![user_id, client_id], |row| Ok((row.get(0)?, Time::from_micros(row.get(1)?))))
        .optional()
}

/// The `count` messages after the cursor, oldest first.
///
/// # Errors
/// SQLite's.
pub fn after(connection: &Connection, cursor: Cursor, count: usize) -> rusqlite::Result<Vec<StoredMessage>> {
    connection
        .prepare_cached("SELECT id, author, text, sent_at FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2")?
        .query_map(params![cursor, i64::try_from(count).unwrap_or(i64::MAX)], from_row)?
        .collect()
}

/// The newest `count` messages, of those below the id `before` if one is given, oldest first.
///
/// # Errors
/// SQLite's.
pub fn before(connection: &Connection, before: Option<EventId>, count: usize) -> rusqlite::Result<Vec<StoredMessage>> {
    let before = before.map_or(i64::MAX, EventId::to_db);
    let mut messages: Vec<StoredMessage> = connection
        .prepare_cached("SELECT id, author, text, sent_at FROM messages WHERE id < ?1 ORDER BY id DESC LIMIT ?2")?
        .query_map(params![before, i64::try_from(count).unwrap_or(i64::MAX)], from_row)?
        .collect::<rusqlite::Result<_>>()?;
    messages.reverse();
    Ok(messages)
}

/// The cursor that the newest `count` messages come after.
///
/// # Errors
/// SQLite's.
pub fn cursor_before_last(connection: &Connection, count: usize) -> rusqlite::Result<Cursor> {
    let cursor = connection
        .prepare_cached("SELECT id FROM messages ORDER BY id DESC LIMIT 1 OFFSET ?1")?
        .query_row([i64::try_from(count).unwrap_or(i64::MAX)], |row| row.get(0))
        .optional()?;
    match cursor {
        Some(cursor) => Ok(cursor),
        None => purged_through(connection),
    }
}

/// The cursor up to which everything was purged.
///
/// # Errors
/// SQLite's.
pub fn purged_through(connection: &Connection) -> rusqlite::Result<Cursor> {
    connection.prepare_cached("SELECT through FROM purged")?.query_row([], |row| row.get(0))
}

/// What is kept of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For how long; `None` for ever.
    pub age: Option<Duration>,
    /// How many at most, the deleted ones among them counted; `None` for all.
    pub count: Option<u32>,
}

/// How long the sender's own ids are remembered at least, also of messages that were purged.
const CLIENT_IDS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The first id that is to be kept, looking at the oldest `step` messages; what is below may go. `None` if nothing may.
fn first_kept(connection: &Connection, retention: Retention, now: Time, step: u32) -> rusqlite::Result<Option<i64>> {
    let newest_too_old = retention.age.map_or(i64::MIN, |age| (now - age).as_micros());
    let last_too_many = match retention.count {
        Some(count) => last_id(connection)?.to_db().saturating_sub(i64::from(count)),
        None => 0,
    };
    let (kept, last): (Option<i64>, Option<i64>) = connection
        .prepare_cached(
            "WITH oldest AS (SELECT id, sent_at FROM messages ORDER BY id LIMIT ?3)
             SELECT (SELECT min(id) FROM oldest WHERE id > ?1 AND sent_at > ?2), (SELECT max(id) FROM oldest)",
        )?
        .query_row(params![last_too_many, newest_too_old, step], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let first = kept.or(last.map(|last| last + 1));
    let oldest: Option<i64> =
        connection.prepare_cached("SELECT min(id) FROM messages")?.query_row([], |row| row.get(0))?;
    Ok(first.filter(|first| oldest.is_some_and(|oldest| oldest < *first)))
}

/// Whether there is anything to purge.
///
/// # Errors
/// SQLite's.
pub fn any_to_purge(connection: &Connection, retention: Retention, now: Time) -> rusqlite::Result<bool> {
    if retention.age.is_none() && retention.count.is_none() {
        return Ok(false);
    }
    Ok(first_kept(connection, retention, now, 1)?.is_some())
}

/// Purges what is not to be kept, at most `step` messages. Returns how many went.
///
/// # Errors
/// SQLite's.
pub fn purge(tx: &Tx<'_>, retention: Retention, now: Time, step: u32) -> rusqlite::Result<usize> {
    let forget = now - CLIENT_IDS_KEPT;
    tx.sql().prepare_cached("DELETE FROM purged_client_ids WHERE sent_at <= ?1")?.execute([forget.as_micros()])?;
    let Some(first) = first_kept(tx, retention, now, step)? else { return Ok(0) };
    tx.sql()
        .prepare_cached(
            "INSERT INTO purged_client_ids SELECT user_id, client_id, id, sent_at FROM messages
             WHERE id < ?1 AND client_id IS NOT NULL AND sent_at > ?2",
        )?
        .execute(params![first, forget.as_micros()])?;
    let gone = tx.sql().prepare_cached("DELETE FROM messages WHERE id < ?1")?.execute([first])?;
    tx.sql().prepare_cached("UPDATE purged SET through = max(through, ?1)")?.execute([first - 1])?;
    Ok(gone)
}

/// The cursor behind the highest id ever given.
///
/// # Errors
/// SQLite's.
pub fn last_id(connection: &Connection) -> rusqlite::Result<Cursor> {
    let last = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'";
    Ok(connection.query_row(last, [], |row| row.get(0)).optional()?.unwrap_or(Cursor::START))
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
    use super::super::testing::{store, store_with};
    use super::*;
    use crate::model::ids::testing::{cursor, event};

    fn send(store: &crate::store::Store, secs: i64, client_id: Option<&'static str>) -> EventId {
        let append = move |tx: &Tx<'_>| {
            let sent_at = Time::from_secs(secs);
            let new = NewMessage { user_id: UserId::from_number(1), author: "a", text: "x", sent_at, client_id };
            Ok::<_, StoreError>(append(tx, &new)?.id)
        };
        store.write(append).unwrap()
    }

    fn ids(messages: &[StoredMessage]) -> Vec<i64> {
        messages.iter().map(|message| message.id.to_db()).collect()
    }

    #[test]
    fn an_id_is_never_used_again_also_after_a_purge() {
        let (_dir, store) = store();
        assert_eq!(store.read(last_id).unwrap(), Cursor::START);
        let last = [send(&store, 0, None), send(&store, 0, None)][1];
        store.write(|tx| Ok::<_, StoreError>(tx.execute("DELETE FROM messages", [])?)).unwrap();
        assert_eq!(store.read(last_id).unwrap(), Cursor::behind(last));
        assert!(send(&store, 0, None) > last);
        assert_eq!(store.read(|c| after(c, Cursor::START, 10)).unwrap().len(), 1);
    }

    #[test]
    fn the_same_message_again_is_the_first_one_also_after_it_was_purged() {
        let fed = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&fed);
        let (_dir, store) = store_with(move |batch: Vec<StoredMessage>| {
            counter.fetch_add(batch.len(), std::sync::atomic::Ordering::SeqCst);
        });
        let day = 86_400;
        let first = send(&store, 0, Some("one"));
        assert_eq!(send(&store, 5, Some("one")), first);
        let second = send(&store, 6 * day, Some("two"));
        assert_eq!(fed.load(std::sync::atomic::Ordering::SeqCst), 2, "nobody hears it twice");
        let retention = Retention { age: None, count: Some(0) };
        let purge = |secs| {
            let now = Time::from_secs(secs);
            store.write(move |tx| Ok::<_, StoreError>(purge(tx, retention, now, 100)?)).unwrap()
        };
        assert_eq!(purge(6 * day), 2);
        assert_eq!((send(&store, 6 * day, Some("one")), send(&store, 6 * day, Some("two"))), (first, second));
        purge(8 * day);
        assert_eq!(send(&store, 8 * day, Some("two")), second, "remembered for a week");
        assert!(send(&store, 8 * day, Some("one")) > second, "and then forgotten");
    }

    #[test]
    fn what_is_too_old_or_too_much_is_purged_in_steps_and_nothing_else_is() {
        let (_dir, store) = store();
        for n in 1..=10 {
            send(&store, n * 100, None);
        }
        let purge_all = |age: Option<u64>, count| {
            let retention = Retention { age: age.map(Duration::from_secs), count };
            let now = Time::from_secs(1_000);
            let mut steps = 0;
            while store.read(|c| any_to_purge(c, retention, now)).unwrap() {
                steps += 1;
                let gone = store.write(move |tx| Ok::<_, StoreError>(purge(tx, retention, now, 2)?)).unwrap();
                assert!((1..=2).contains(&gone));
            }
            (steps, ids(&store.read(|c| after(c, Cursor::START, 100)).unwrap()))
        };
        assert_eq!(purge_all(None, None), (0, (1..=10).collect()));
        assert_eq!(purge_all(Some(700), None), (2, (4..=10).collect()), "those of 300 s and before");
        assert_eq!(purge_all(Some(700), Some(4)), (2, (7..=10).collect()));
        assert_eq!(store.read(purged_through).unwrap(), cursor(6));
        assert_eq!(store.read(|c| cursor_before_last(c, 2)).unwrap(), cursor(8));
        assert_eq!(store.read(|c| cursor_before_last(c, 100)).unwrap(), cursor(6));
        assert_eq!(ids(&store.read(|c| before(c, Some(event(9)), 100)).unwrap()), [7, 8]);
        assert_eq!(ids(&store.read(|c| before(c, None, 2)).unwrap()), [9, 10]);
    }
}
