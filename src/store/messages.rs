//! The messages of a room: pages of its history, and how much of it is kept.

use std::time::Duration;

use super::events::{event_columns, from_row};
use super::log_head;
use super::sql::{DbError, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::model::event::Event;
use crate::model::ids::{Cursor, EventId, RoomId};

statements! {
    AFTER = concat!(
        "SELECT ", event_columns!(), " FROM events WHERE room = ?1 AND kind = 'message' AND id > ?2 ORDER BY id LIMIT ?3"
    );
    BEFORE = concat!(
        "SELECT ", event_columns!(), " FROM events WHERE room = ?1 AND kind = 'message' AND id < ?2
         ORDER BY id DESC LIMIT ?3"
    );
    BEFORE_LAST = "SELECT id FROM events WHERE room = ?1 AND kind = 'message' ORDER BY id DESC LIMIT 1 OFFSET ?2";
    OLDEST = "SELECT id, sent_at FROM events WHERE room = ?1 AND kind = 'message' ORDER BY id LIMIT ?2";
    FORGET_CLIENT_IDS = "DELETE FROM purged_client_ids WHERE sent_at <= ?1";
    KEEP_CLIENT_IDS = "INSERT INTO purged_client_ids (user_id, client_id, message_id, sent_at)
        SELECT user_id, client_id, id, sent_at FROM events
        WHERE room = ?1 AND kind = 'message' AND id <= ?2 AND client_id IS NOT NULL AND sent_at > ?3";
    PURGE = "DELETE FROM events WHERE room = ?1 AND kind = 'message' AND id <= ?2";
    PURGED = "UPDATE room_logs SET purged_through = ?2 WHERE room = ?1 AND purged_through < ?2";
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The `count` messages of a room after a cursor, oldest first.
///
/// # Errors
/// The database's.
pub fn after(tx: &ReadTx<'_>, room: RoomId, cursor: Cursor, count: usize) -> Result<Vec<Event>, DbError> {
    tx.conn.rows(AFTER, values![room, cursor, limit(count)], from_row)
}

/// The newest `count` messages of a room, of those below the id `before` if one is given, oldest first.
///
/// # Errors
/// The database's.
pub fn before(tx: &ReadTx<'_>, room: RoomId, before: Option<EventId>, count: usize) -> Result<Vec<Event>, DbError> {
    let before = before.map_or(i64::MAX, EventId::to_db);
    let mut messages = tx.conn.rows(BEFORE, values![room, before, limit(count)], from_row)?;
    messages.reverse();
    Ok(messages)
}

/// The cursor that the newest `count` messages of a room come after.
///
/// # Errors
/// The database's.
pub fn cursor_before_last(tx: &ReadTx<'_>, room: RoomId, count: usize) -> Result<Cursor, DbError> {
    match tx.conn.first(BEFORE_LAST, values![room, limit(count)], |row| row.get(0))? {
        Some(cursor) => Ok(cursor),
        None => purged_through(tx, room),
    }
}

/// The cursor up to which a room was purged.
///
/// # Errors
/// The database's.
pub fn purged_through(tx: &ReadTx<'_>, room: RoomId) -> Result<Cursor, DbError> {
    log_head::purged_through(tx.conn, room)
}

/// How much of a room's messages is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// For how long; `None` for ever.
    pub age: Option<Duration>,
    /// How many at most; `None` for all.
    pub count: Option<u32>,
}

/// How long the senders' own ids are remembered at least, also of messages that were purged.
const CLIENT_IDS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The last message that is purged next, looking at the oldest `step` messages of a room; `None` if all are kept.
///
/// Messages are purged from the oldest on, up to the first that is neither too old nor too many.
fn last_to_purge(
    tx: &ReadTx<'_>,
    room: RoomId,
    retention: Retention,
    now: Time,
    step: u32,
) -> Result<Option<EventId>, DbError> {
    let newest_too_old = retention.age.map(|age| now - age);
    let too_many = match retention.count {
        Some(count) => tx.messages_stored(room)?.saturating_sub(i64::from(count)),
        None => 0,
    };
    let oldest: Vec<(EventId, Time)> =
        tx.conn.rows(OLDEST, values![room, step], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let goes = |(n, (_, sent_at)): &(i64, (EventId, Time))| {
        *n < too_many || newest_too_old.is_some_and(|newest| *sent_at <= newest)
    };
    Ok((0..).zip(oldest).take_while(goes).last().map(|(_, (id, _))| id))
}

/// Whether there is anything to purge in a room.
///
/// # Errors
/// The database's.
pub fn any_to_purge(tx: &ReadTx<'_>, room: RoomId, retention: Retention, now: Time) -> Result<bool, DbError> {
    if retention.age.is_none() && retention.count.is_none() {
        return Ok(false);
    }
    Ok(last_to_purge(tx, room, retention, now, 1)?.is_some())
}

/// Purges the messages of a room that are not kept any longer, at most `step` of them. Returns how many went.
///
/// # Errors
/// The database's.
pub fn purge(tx: &Tx<'_>, room: RoomId, retention: Retention, now: Time, step: u32) -> Result<usize, DbError> {
    let forget = now - CLIENT_IDS_KEPT;
    tx.conn.execute(FORGET_CLIENT_IDS, values![forget])?;
    let Some(last) = last_to_purge(tx, room, retention, now, step)? else { return Ok(0) };
    tx.conn.execute(KEEP_CLIENT_IDS, values![room, last, forget])?;
    let gone = tx.conn.execute(PURGE, values![room, last])?;
    tx.messages_deleted(room, gone);
    tx.conn.execute(PURGED, values![room, last])?;
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{account, new_message, store, store_with};
    use super::super::{Store, StoreError, events};
    use super::*;
    use crate::model::ids::testing::{cursor, event};

    const ROOM: RoomId = RoomId::COMMON;

    fn send(store: &Store, secs: i64, client_id: Option<&str>) -> EventId {
        let session = account(store, "author");
        let mut new = new_message(&session, "x");
        (new.at, new.client_id) = (Time::from_secs(secs), client_id.map(str::to_owned));
        store.append_and_wait(new).unwrap().id
    }

    fn ids(messages: &[Event]) -> Vec<i64> {
        messages.iter().map(|message| message.id.to_db()).collect()
    }

    fn purge_all(store: &Store, age: Option<u64>, count: Option<u32>, now: i64, step: u32) -> usize {
        let retention = Retention { age: age.map(Duration::from_secs), count };
        let now = Time::from_secs(now);
        let mut steps = 0;
        while store.read(|tx| any_to_purge(tx, ROOM, retention, now)).unwrap() {
            steps += 1;
            let gone = store.write(move |tx| Ok::<_, StoreError>(purge(tx, ROOM, retention, now, step)?)).unwrap();
            assert!((1..=step as usize).contains(&gone));
        }
        steps
    }

    #[test]
    fn an_id_is_never_used_again_also_after_a_purge() {
        let (_dir, store) = store();
        assert_eq!(store.read(events::last_id).unwrap(), Cursor::START);
        let last = [send(&store, 0, None), send(&store, 0, None)][1];
        purge_all(&store, None, Some(0), 0, 100);
        assert_eq!(store.read(events::last_id).unwrap(), Cursor::behind(last));
        assert!(send(&store, 0, None) > last);
        assert_eq!(store.read(|tx| after(tx, ROOM, Cursor::START, 10)).unwrap().len(), 1);
    }

    #[test]
    fn the_same_message_again_is_the_first_one_also_after_it_was_purged() {
        let published = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&published);
        let (_dir, store) = store_with(move |events: Vec<Event>| {
            counter.fetch_add(events.len(), std::sync::atomic::Ordering::SeqCst);
        });
        let day = 86_400;
        let first = send(&store, 0, Some("one"));
        assert_eq!(send(&store, 5, Some("one")), first);
        let second = send(&store, 6 * day, Some("two"));
        assert_eq!(published.load(std::sync::atomic::Ordering::SeqCst), 2, "no reader hears it twice");
        let retention = Retention { age: None, count: Some(0) };
        let purge = |secs| {
            let now = Time::from_secs(secs);
            store.write(move |tx| Ok::<_, StoreError>(purge(tx, ROOM, retention, now, 100)?)).unwrap()
        };
        assert_eq!(purge(6 * day), 2);
        assert_eq!((send(&store, 6 * day, Some("one")), send(&store, 6 * day, Some("two"))), (first, second));
        purge(8 * day);
        assert_eq!(send(&store, 8 * day, Some("two")), second, "remembered for a week");
        assert!(send(&store, 8 * day, Some("one")) > second, "and then forgotten");
    }

    #[test]
    fn messages_that_are_too_old_or_too_many_are_purged_in_steps_and_no_others_are() {
        let (_dir, store) = store();
        for n in 1..=10 {
            send(&store, n * 100, None);
        }
        let left = || ids(&store.read(|tx| after(tx, ROOM, Cursor::START, 100)).unwrap());
        assert_eq!((purge_all(&store, None, None, 1_000, 2), left()), (0, (1..=10).collect()));
        let since_400 = (2, (4..=10).collect());
        assert_eq!((purge_all(&store, Some(700), None, 1_000, 2), left()), since_400, "those of 300 s and before");
        assert_eq!((purge_all(&store, Some(700), Some(4), 1_000, 2), left()), (2, (7..=10).collect()));
        assert_eq!(store.read(|tx| purged_through(tx, ROOM)).unwrap(), cursor(6));
        assert_eq!(store.read(|tx| cursor_before_last(tx, ROOM, 2)).unwrap(), cursor(8));
        assert_eq!(store.read(|tx| cursor_before_last(tx, ROOM, 100)).unwrap(), cursor(6));
        assert_eq!(ids(&store.read(|tx| before(tx, ROOM, Some(event(9)), 100)).unwrap()), [7, 8]);
        assert_eq!(ids(&store.read(|tx| before(tx, ROOM, None, 2)).unwrap()), [9, 10]);
    }

    #[test]
    fn a_gap_of_a_million_ids_takes_no_message_along() {
        let (_dir, store) = store();
        let mut sent: Vec<EventId> = (0..5).map(|n| send(&store, n, None)).collect();
        skip_ids(&store, 1_000_000);
        sent.extend((5..10).map(|n| send(&store, n, None)));
        assert!(sent[5].to_db() > 1_000_000);
        assert_eq!(purge_all(&store, None, Some(8), 100, 3), 1);
        let left: Vec<EventId> =
            store.read(|tx| after(tx, ROOM, Cursor::START, 100)).unwrap().iter().map(|message| message.id).collect();
        assert_eq!(left, sent[2..]);
        assert_eq!(store.read(|tx| purged_through(tx, ROOM)).unwrap(), Cursor::behind(sent[1]));
        assert_eq!(purge_all(&store, None, Some(2), 100, 1), 6, "across the gap, a message a step");
        assert_eq!(store.read(|tx| cursor_before_last(tx, ROOM, 1)).unwrap(), Cursor::behind(sent[8]));
    }

    fn skip_ids(store: &Store, by: i64) {
        let skip = move |tx: &Tx<'_>| tx.conn.batch(&format!("UPDATE lanes SET last = last + {by}"));
        store.write(move |tx| Ok::<_, StoreError>(skip(tx)?)).unwrap();
    }
}
