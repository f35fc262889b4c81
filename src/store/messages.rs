//! Messages of the common room. Their ids grow in commit order and are never used again, also after a purge.

use std::time::Duration;

use super::rows::StoredMessage;
use super::sql::{DbError, Row, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::model::ids::{Cursor, EventId, UserId};

/// A message on its way into the store.
#[derive(Clone, Debug)]
pub struct NewMessage<'a> {
    /// The author.
    pub user_id: UserId,
    /// The author's login.
    pub author: &'a str,
    /// The text.
    pub text: &'a str,
    /// When the server took it.
    pub sent_at: Time,
    /// The sender's own id of it: the same one again stores nothing.
    pub client_id: Option<&'a str>,
}

macro_rules! columns {
    () => {
        "id, author, text, sent_at"
    };
}

statements! {
    APPEND = "INSERT INTO messages (user_id, author, text, sent_at, client_id) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id";
    SENT_BEFORE = "SELECT id, sent_at FROM messages WHERE user_id = ?1 AND client_id = ?2
        UNION ALL
        SELECT message_id, sent_at FROM purged_client_ids WHERE user_id = ?1 AND client_id = ?2
        LIMIT 1";
    AFTER = concat!("SELECT ", columns!(), " FROM messages WHERE id > ?1 ORDER BY id LIMIT ?2");
    BEFORE = concat!("SELECT ", columns!(), " FROM messages WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
    BEFORE_LAST = "SELECT id FROM messages ORDER BY id DESC LIMIT 1 OFFSET ?1";
    PURGED_THROUGH = "SELECT through FROM purged";
    OLDEST_KEPT = "WITH oldest AS (SELECT id, sent_at FROM messages ORDER BY id LIMIT ?3)
        SELECT (SELECT min(id) FROM oldest WHERE id > ?1 AND sent_at > ?2), (SELECT max(id) FROM oldest)";
    OLDEST = "SELECT min(id) FROM messages";
    FORGET_CLIENT_IDS = "DELETE FROM purged_client_ids WHERE sent_at <= ?1";
    KEEP_CLIENT_IDS = "INSERT INTO purged_client_ids SELECT user_id, client_id, id, sent_at FROM messages
        WHERE id < ?1 AND client_id IS NOT NULL AND sent_at > ?2";
    PURGE = "DELETE FROM messages WHERE id < ?1";
    PURGED = "UPDATE purged SET through = ?1 WHERE through < ?1";
    // SQLite's alone, until the highest id has a row of its own.
    LAST_ID = "SELECT seq FROM sqlite_sequence WHERE name = 'messages'";
}

/// Stores a message; it is published once it is committed. One whose `client_id` the same user has used before is not stored
/// again: the first one's id and time are given.
///
/// # Errors
/// The database's.
pub fn append(tx: &Tx<'_>, new: &NewMessage<'_>) -> Result<StoredMessage, DbError> {
    let message = |id, sent_at| StoredMessage { id, author: new.author.into(), text: new.text.into(), sent_at };
    if let Some(client_id) = new.client_id
        && let Some((id, sent_at)) = sent_before(tx, new.user_id, client_id)?
    {
        return Ok(message(id, sent_at));
    }
    let values = values![new.user_id, new.author, new.text, new.sent_at, new.client_id];
    let id = tx.conn.one(APPEND, values, |row| row.get(0))?;
    let message = message(id, new.sent_at);
    tx.appended(message.clone());
    Ok(message)
}

/// The id and time of the message that a user sent under this id before.
fn sent_before(tx: &ReadTx<'_>, user_id: UserId, client_id: &str) -> Result<Option<(EventId, Time)>, DbError> {
    tx.conn.first(SENT_BEFORE, values![user_id, client_id], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The `count` messages after the cursor, oldest first.
///
/// # Errors
/// The database's.
pub fn after(tx: &ReadTx<'_>, cursor: Cursor, count: usize) -> Result<Vec<StoredMessage>, DbError> {
    tx.conn.rows(AFTER, values![cursor, limit(count)], from_row)
}

/// The newest `count` messages, of those below the id `before` if one is given, oldest first.
///
/// # Errors
/// The database's.
pub fn before(tx: &ReadTx<'_>, before: Option<EventId>, count: usize) -> Result<Vec<StoredMessage>, DbError> {
    let before = before.map_or(i64::MAX, EventId::to_db);
    let mut messages = tx.conn.rows(BEFORE, values![before, limit(count)], from_row)?;
    messages.reverse();
    Ok(messages)
}

/// The cursor that the newest `count` messages come after.
///
/// # Errors
/// The database's.
pub fn cursor_before_last(tx: &ReadTx<'_>, count: usize) -> Result<Cursor, DbError> {
    match tx.conn.first(BEFORE_LAST, values![limit(count)], |row| row.get(0))? {
        Some(cursor) => Ok(cursor),
        None => purged_through(tx),
    }
}

/// The cursor up to which everything was purged.
///
/// # Errors
/// The database's.
pub fn purged_through(tx: &ReadTx<'_>) -> Result<Cursor, DbError> {
    tx.conn.one(PURGED_THROUGH, values![], |row| row.get(0))
}

/// A page of what a stream has missed, in one view of the database.
#[derive(Clone, Debug)]
pub struct ReplayPage {
    /// The messages, oldest first.
    pub messages: Vec<StoredMessage>,
    /// The cursor behind the highest id ever given.
    pub last_id: Cursor,
    /// The cursor up to which nothing is kept.
    pub purged_through: Cursor,
}

/// What follows a cursor, at most `count` messages.
pub(super) fn replay_page(tx: &ReadTx<'_>, cursor: Cursor, count: usize) -> Result<ReplayPage, DbError> {
    let (last_id, purged_through) = (last_id(tx)?, purged_through(tx)?);
    Ok(ReplayPage { messages: after(tx, cursor.max(purged_through), count)?, last_id, purged_through })
}

/// How much of the messages is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For how long; `None` for ever.
    pub age: Option<Duration>,
    /// How many at most, the deleted ones among them counted; `None` for all.
    pub count: Option<u32>,
}

/// How long the sender's own ids are remembered at least, also of messages that were purged.
const CLIENT_IDS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The first id that must be kept, looking at the oldest `step` messages; everything below may go. `None` if nothing may.
fn first_kept(tx: &ReadTx<'_>, retention: Retention, now: Time, step: u32) -> Result<Option<i64>, DbError> {
    let newest_too_old = retention.age.map_or(i64::MIN, |age| (now - age).as_micros());
    let last_too_many = match retention.count {
        Some(count) => last_id(tx)?.to_db().saturating_sub(i64::from(count)),
        None => 0,
    };
    let values = values![last_too_many, newest_too_old, step];
    let (kept, last): (Option<i64>, Option<i64>) =
        tx.conn.one(OLDEST_KEPT, values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let first = kept.or(last.map(|last| last + 1));
    let oldest: Option<i64> = tx.conn.one(OLDEST, values![], |row| row.get(0))?;
    Ok(first.filter(|first| oldest.is_some_and(|oldest| oldest < *first)))
}

/// Whether there is anything to purge.
///
/// # Errors
/// The database's.
pub fn any_to_purge(tx: &ReadTx<'_>, retention: Retention, now: Time) -> Result<bool, DbError> {
    if retention.age.is_none() && retention.count.is_none() {
        return Ok(false);
    }
    Ok(first_kept(tx, retention, now, 1)?.is_some())
}

/// Purges what is no longer kept, at most `step` messages. Returns how many went.
///
/// # Errors
/// The database's.
pub fn purge(tx: &Tx<'_>, retention: Retention, now: Time, step: u32) -> Result<usize, DbError> {
    let forget = now - CLIENT_IDS_KEPT;
    tx.conn.execute(FORGET_CLIENT_IDS, values![forget])?;
    let Some(first) = first_kept(tx, retention, now, step)? else { return Ok(0) };
    tx.conn.execute(KEEP_CLIENT_IDS, values![first, forget])?;
    let gone = tx.conn.execute(PURGE, values![first])?;
    tx.conn.execute(PURGED, values![first - 1])?;
    Ok(gone)
}

/// The cursor behind the highest id ever given.
///
/// # Errors
/// The database's.
pub fn last_id(tx: &ReadTx<'_>) -> Result<Cursor, DbError> {
    Ok(tx.conn.first(LAST_ID, values![], |row| row.get(0))?.unwrap_or(Cursor::START))
}

fn from_row(row: &Row<'_>) -> Result<StoredMessage, DbError> {
    Ok(StoredMessage { id: row.get(0)?, author: row.get(1)?, text: row.get(2)?, sent_at: row.get(3)? })
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
        store.write(|tx| Ok::<_, StoreError>(tx.conn.batch("DELETE FROM messages")?)).unwrap();
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
