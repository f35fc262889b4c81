//! The one thread that writes.
//!
//! It takes everything that is queued, runs each write in a savepoint of its own within one IMMEDIATE transaction, commits
//! once (group commit), and only then applies the effects and tells each caller. A write that fails is rolled back alone; a
//! commit that fails fails all that were in it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::{Connection, TransactionBehavior};

use super::audit::HeadFile;
use super::effects::Effects;
use super::error::WriteFailed;
use super::limits::StoreLimits;
use super::log_head::LogHead;
use super::rows::AuditHead;
use super::sessions;
use super::sql::{Conn, DbError};
use super::tail::{Tail, guarded};
use super::tx::Tx;
use crate::base::lock::lock;
use crate::base::threads::Thread;
use crate::model::ids::SessionId;

trait Job: Send {
    /// Writes. Returns whether what it wrote is kept.
    fn run(&mut self, tx: &Tx<'_>) -> bool;
    /// Tells the caller, after the commit or its failure.
    fn finish(self: Box<Self>, failed: Option<WriteFailed>);
}

struct Pending<T, E, W, N> {
    write: Option<W>,
    then: N,
    result: Option<Result<T, E>>,
}

impl<T, E, W, N> Job for Pending<T, E, W, N>
where
    T: Send,
    E: From<WriteFailed> + Send,
    W: FnOnce(&Tx<'_>) -> Result<T, E> + Send,
    N: FnOnce(Result<T, E>) + Send,
{
    fn run(&mut self, tx: &Tx<'_>) -> bool {
        let Some(write) = self.write.take() else { return false };
        let result = catch_unwind(AssertUnwindSafe(|| write(tx))).unwrap_or_else(|_| Err(WriteFailed::Panicked.into()));
        self.result.insert(result).is_ok()
    }

    fn finish(self: Box<Self>, failed: Option<WriteFailed>) {
        let result = match (failed, self.result) {
            // A write that was refused on its own stays refused for that reason.
            (_, Some(Err(error))) => Err(error),
            (Some(failed), _) => Err(failed.into()),
            (None, Some(Ok(value))) => Ok(value),
            (None, None) => Err(WriteFailed::Stopped.into()),
        };
        (self.then)(result);
    }
}

pub(super) struct Writer {
    queue: Mutex<Option<Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<Thread>>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        limits: &StoreLimits,
        tail: Tail,
        head_file: HeadFile,
    ) -> io::Result<Writer> {
        let (sender, receiver) = bounded(limits.write_queue);
        let batch = limits.write_batch;
        let kept = head_file.read();
        let mut writer = WriterThread { connection, tail, head_file, kept };
        let thread = Thread::spawn("store-writer", move || writer.run(&receiver, batch))?;
        Ok(Writer { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })
    }

    pub(super) fn submit<T, E>(
        &self,
        write: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(Result<T, E>) + Send + 'static,
    ) where
        T: Send + 'static,
        E: From<WriteFailed> + Send + 'static,
    {
        let job: Box<dyn Job> = Box::new(Pending { write: Some(write), then, result: None });
        let queue = lock(&self.queue).clone();
        let Some(queue) = queue else { return job.finish(Some(WriteFailed::Stopped)) };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => job.finish(Some(WriteFailed::Full)),
            Err(TrySendError::Disconnected(job)) => job.finish(Some(WriteFailed::Stopped)),
        }
    }

    pub(super) fn stop(&self, limit: Duration) -> bool {
        lock(&self.queue).take();
        let thread = lock(&self.thread).take();
        thread.is_none_or(|thread| thread.join_within(limit))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when its queue is gone; dropping its handle then joins it.
        lock(&self.queue).take();
    }
}

/// What the writer's thread works with.
struct WriterThread {
    connection: Connection,
    tail: Tail,
    head_file: HeadFile,
    /// The head that the file holds.
    kept: Option<AuditHead>,
}

impl WriterThread {
    fn run(&mut self, jobs: &Receiver<Box<dyn Job>>, batch: usize) {
        let mut group = Vec::with_capacity(batch);
        while let Ok(first) = jobs.recv() {
            group.push(first);
            group.extend(jobs.try_iter().take(batch.saturating_sub(1)));
            let failed = match self.commit(&mut group) {
                Ok(effects) => {
                    self.apply(effects);
                    None
                }
                Err(error) => {
                    log::error!("a commit of {} writes failed: {error}", group.len());
                    Some(error.to_string())
                }
            };
            for job in group.drain(..) {
                let failed = failed.clone().map(WriteFailed::Commit);
                guarded("the answer to a write", || job.finish(failed));
            }
        }
        if let Err(error) = self.connection.pragma_update(None, "wal_checkpoint", "TRUNCATE") {
            log::warn!("the write-ahead log could not be folded into the database; the next start will do it: {error}");
        }
    }

    /// Runs every job of the group and commits. Sessions that the group ends lose their rights before the commit.
    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<Effects, DbError> {
        let mut transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut effects, mut log) = (Effects::default(), LogHead::default());
        for job in group {
            let savepoint = transaction.savepoint()?;
            let before = log.clone();
            let tx = Tx::new(Conn::new(&savepoint), &log, self.kept);
            if job.run(&tx) {
                effects.then(tx.into_effects());
                savepoint.commit()?;
            } else {
                drop(tx);
                log = before;
                savepoint.finish()?;
            }
        }
        log.write(Conn::new(&transaction))?;
        let committed = if self.tail.before_commit(&effects) {
            transaction.commit().map_err(DbError::from)
        } else {
            drop(transaction);
            Err(DbError::rights_not_taken())
        };
        if committed.is_err() {
            self.readmit(&effects.ended);
        }
        committed.map(|()| effects)
    }

    /// After a commit that failed: only what the rows say counts. A session whose row cannot be read stays out until the
    /// next start, and its streams end.
    fn readmit(&mut self, ended: &[SessionId]) {
        let (mut still_there, mut others) = (Vec::new(), Vec::new());
        for &id in ended {
            match sessions::with_login(Conn::new(&self.connection), id) {
                Ok(Some(live)) => still_there.push(live),
                Ok(None) => others.push(id),
                Err(error) => {
                    log::error!("{id:?}, whose ending could not be committed, stays out until the next start: {error}");
                    others.push(id);
                }
            }
        }
        self.tail.commit_failed(still_there, &others);
    }

    /// Applies what follows a commit, before any caller is answered.
    fn apply(&mut self, effects: Effects) {
        if let Some(head) = effects.audit_head {
            self.kept = Some(head);
            if let Err(error) = self.head_file.write(head) {
                log::error!("the head of the audit, row {}, could not be kept beside the database: {error}", head.id);
            }
        }
        self.tail.committed(effects);
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::{self, NewEvent};
    use super::super::rows::LiveSession;
    use super::super::tail::Followers;
    use super::super::testing::{account, new_message, store, store_with};
    use super::super::{AppendError, Store, StoreError, codes, users};
    use super::*;
    use crate::base::clock::Time;
    use crate::model::event::Event;
    use crate::model::ids::{Cursor, RoomId};
    use std::sync::Arc;

    const LIMIT: Duration = Duration::from_secs(30);

    fn invite(tx: &Tx<'_>, note: &str) -> Result<i64, StoreError> {
        let hash = std::array::from_fn(|n| note.as_bytes().get(n).copied().unwrap_or(0));
        let (now, end) = (Time::from_secs(0), Time::from_secs(1));
        Ok(codes::invite(tx, &hash, note.to_owned(), now, end)?.id)
    }

    fn notes(store: &Store) -> Vec<String> {
        let found = store.read(|tx| codes::invitations(tx, Time::from_secs(0))).unwrap();
        found.into_iter().map(|invitation| invitation.note).collect()
    }

    #[test]
    fn a_write_that_fails_or_panics_takes_nothing_else_with_it() {
        let (_dir, store) = store();
        let (block_tx, block) = bounded::<()>(0);
        store.submit(
            move |_| {
                let _ = block.recv();
                Ok::<_, StoreError>(())
            },
            |_| (),
        );
        let (results_tx, results) = bounded(8);
        let submit = |write: fn(&Tx<'_>) -> Result<i64, StoreError>| {
            let results = results_tx.clone();
            store.submit(write, move |result| results.send(result.map_err(|e| e.to_string())).unwrap());
        };
        submit(|tx| invite(tx, "first"));
        submit(|tx| invite(tx, "taken back").and_then(|_| Err(WriteFailed::Full.into())));
        submit(|_| panic!("on purpose"));
        submit(|tx| invite(tx, "last"));
        drop(block_tx);
        let got: Vec<_> = (0..4).map(|_| results.recv_timeout(LIMIT).unwrap()).collect();
        assert_eq!(got[1], Err("too many writes wait".into()));
        assert_eq!(got[2], Err("the write panicked".into()));
        assert_eq!(notes(&store), ["first", "last"]);
        assert!(got[0].is_ok() && got[3].is_ok(), "{got:?}");
    }

    #[test]
    fn events_are_published_after_their_commit_in_order_and_before_the_answer() {
        let published = Arc::new(Mutex::new(Vec::new()));
        let (_dir, store) = store_with({
            let published = Arc::clone(&published);
            move |events: Vec<Event>| published.lock().unwrap().extend(events.iter().map(|event| event.id))
        });
        let author = account(&store, "user1");
        for n in 0..100 {
            let appended = store.append_and_wait(new_message(&author, &n.to_string())).unwrap();
            assert_eq!(published.lock().unwrap().last(), Some(&appended.id));
        }
        assert!(published.lock().unwrap().is_sorted());
        assert_eq!(published.lock().unwrap().len(), 100);
    }

    #[test]
    fn a_group_gives_ids_in_order_and_those_of_a_write_that_failed_to_the_next() {
        let (_dir, store) = store();
        let author = account(&store, "user1");
        let (block_tx, block) = bounded::<()>(0);
        store.submit(
            move |_| {
                let _ = block.recv();
                Ok::<_, StoreError>(())
            },
            |_| (),
        );
        let (results_tx, results) = bounded(8);
        let append = |text: &str, fails: bool| {
            let (new, results) = (new_message(&author, text), results_tx.clone());
            let write = move |tx: &Tx<'_>| {
                let appended = events::append(tx, new)?;
                assert_eq!(tx.last_event_id()?, Cursor::behind(appended.id));
                if fails { Err(AppendError::SessionEnded) } else { Ok(appended.id.to_db()) }
            };
            store.submit(write, move |result| results.send(result.ok()).unwrap());
        };
        for (text, fails) in [("one", false), ("two", true), ("three", false)] {
            append(text, fails);
        }
        drop(block_tx);
        let got: Vec<_> = (0..3).map(|_| results.recv_timeout(LIMIT).unwrap()).collect();
        assert_eq!(got, [Some(1), None, Some(2)]);
        let (last, stored) = store.read(|tx| Ok((tx.last_event_id()?, tx.messages_stored(RoomId::COMMON)?))).unwrap();
        assert_eq!((last.to_db(), stored), (2, 2));
    }

    #[test]
    fn a_session_that_is_not_complete_appends_nothing() {
        let (_dir, store) = store();
        let author = account(&store, "user1");
        let new = NewEvent { at: author.session.expires_at, ..new_message(&author, "expired") };
        assert!(matches!(store.append_and_wait(new), Err(AppendError::SessionEnded)));
        let id = author.session.id;
        store.write(move |tx| Ok::<_, StoreError>(sessions::end(tx, sessions::End::One(id))?)).unwrap();
        let refused = store.append_and_wait(new_message(&author, "ended"));
        assert!(matches!(refused, Err(AppendError::SessionEnded)));
        assert_eq!(store.read(events::last_id).unwrap(), Cursor::START);
    }

    #[test]
    fn after_the_stop_writes_are_refused_and_the_log_is_folded_in() {
        let (dir, store) = store();
        store.write(|tx| invite(tx, "kept")).unwrap();
        assert!(store.stop(LIMIT));
        let refused = store.write(|tx| invite(tx, "late"));
        assert!(matches!(refused, Err(StoreError::Write(WriteFailed::Stopped))));
        assert_eq!(notes(&store), ["kept"]);
        let log = std::fs::metadata(dir.path().join("users.db-wal")).map_or(0, |m| m.len());
        assert_eq!(log, 0);
    }

    /// What the followers are told, in order.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Told {
        RightsTaken(Vec<SessionId>),
        RightsGiven(Vec<SessionId>),
        StreamsEnded(Vec<SessionId>),
    }

    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<Told>>>);

    impl Notes {
        fn take(&self) -> Vec<Told> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Followers for Notes {
        fn take_rights(&mut self, ended: &[SessionId]) {
            self.0.lock().unwrap().push(Told::RightsTaken(ended.to_vec()));
        }

        fn give_rights(&mut self, sessions: Vec<LiveSession>) {
            let ids = sessions.iter().map(|live| live.session.id).collect();
            self.0.lock().unwrap().push(Told::RightsGiven(ids));
        }

        fn end_streams(&mut self, ended: &[SessionId]) {
            self.0.lock().unwrap().push(Told::StreamsEnded(ended.to_vec()));
        }

        fn publish(&mut self, _: Vec<Event>) {}
    }

    #[test]
    fn rights_are_taken_before_the_commit_and_streams_end_after_it() {
        let notes = Notes::default();
        let (_dir, store) = store_with(notes.clone());
        let author = account(&store, "user1");
        let (user, id) = (author.session.user_id, author.session.id);
        assert_eq!(notes.take(), [Told::RightsGiven(vec![id])]);
        store.write(move |tx| Ok::<_, StoreError>(users::delete(tx, user)?)).unwrap();
        assert_eq!(notes.take(), [Told::RightsTaken(vec![id]), Told::StreamsEnded(vec![id])]);
        assert!(store.read(|c| users::by_id(c, user)).unwrap().is_none());
    }

    #[test]
    fn a_session_whose_ending_is_not_committed_is_let_in_again_by_its_row_alone() {
        let notes = Notes::default();
        let (_dir, store) = store_with(notes.clone());
        let author = account(&store, "user1");
        let (user, id) = (author.session.user_id, author.session.id);
        notes.take();
        let failed = store.write(move |tx| {
            users::delete(tx, user)?;
            // Fails at the commit, and no earlier.
            tx.conn.batch(
                "PRAGMA defer_foreign_keys = ON; UPDATE second_factors SET user_id = 0;
                 INSERT INTO one_time_codes (hash, user_id, purpose) VALUES (x'00', 0, 'recovery')",
            )?;
            Ok::<_, StoreError>(())
        });
        assert!(matches!(failed, Err(StoreError::Write(WriteFailed::Commit(_)))), "{failed:?}");
        assert_eq!(notes.take(), [Told::RightsTaken(vec![id]), Told::RightsGiven(vec![id])]);
        assert!(store.read(|c| users::by_id(c, user)).unwrap().is_some());
    }

    #[test]
    fn a_session_whose_row_cannot_be_read_after_a_failed_commit_stays_out_alone_and_has_no_stream_left() {
        let notes = Notes::default();
        let (_dir, store) = store_with(notes.clone());
        let (whole, broken) = (account(&store, "user1").session, account(&store, "user1").session);
        let text = format!("UPDATE sessions SET opened_from = CAST(x'ff' AS TEXT) WHERE id = '{}'", broken.id);
        store.write(move |tx| Ok::<_, StoreError>(tx.conn.batch(&text)?)).unwrap();
        notes.take();
        let failed = store.write(move |tx| {
            sessions::end(tx, sessions::End::All(whole.user_id))?;
            // Fails at the commit, and no earlier.
            tx.conn.batch(
                "PRAGMA defer_foreign_keys = ON;
                 INSERT INTO one_time_codes (hash, user_id, purpose) VALUES (x'00', 0, 'recovery')",
            )?;
            Ok::<_, StoreError>(())
        });
        assert!(matches!(failed, Err(StoreError::Write(WriteFailed::Commit(_)))), "{failed:?}");
        let told = notes.take();
        assert_eq!(told[1..], [Told::StreamsEnded(vec![broken.id]), Told::RightsGiven(vec![whole.id])], "{told:?}");
    }

    /// Panics whenever it is to take rights, or to give them.
    struct Panics;

    impl Followers for Panics {
        fn take_rights(&mut self, _: &[SessionId]) {
            panic!("on purpose");
        }

        fn give_rights(&mut self, _: Vec<LiveSession>) {
            panic!("on purpose");
        }

        fn end_streams(&mut self, _: &[SessionId]) {}

        fn publish(&mut self, _: Vec<Event>) {}
    }

    #[test]
    fn a_panic_in_a_follower_does_not_stop_the_writer_and_what_takes_rights_is_not_committed_without_it() {
        let (_dir, store) = store_with(Panics);
        let session = account(&store, "user1").session;
        let (id, now) = (session.id, session.created_at);
        let failed = store.write(move |tx| Ok::<_, StoreError>(sessions::end(tx, sessions::End::One(id))?));
        assert!(matches!(failed, Err(StoreError::Write(WriteFailed::Commit(_)))), "{failed:?}");
        assert!(store.read(|tx| sessions::is_complete(tx, id, now)).unwrap(), "its end is not committed");
        store.write(|tx| invite(tx, "later")).unwrap();
        assert_eq!(notes(&store), ["later"]);
    }
}
