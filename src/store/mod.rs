//! The database: everything that survives a restart, and all SQL.
//!
//! One SQLite file in WAL mode with `synchronous=FULL`: an acknowledged write survives a crash. Many threads read through a
//! bounded pool; one thread writes. Each table has a file, with its statements in one list; the functions in there take a view
//! of the database (`ReadTx`) or the right to write (`Tx`), and nothing else gets at either. A transaction carries what follows
//! its commit (`effects`), and the writer applies it in one place (`tail`). Times are microseconds since the Unix epoch.

pub mod audit;
pub mod codes;
pub mod deleted_authors;
mod directory;
mod effects;
mod error;
pub mod events;
pub mod factors;
pub mod guesses;
mod legacy;
mod limits;
mod log_head;
pub mod messages;
mod rows;
mod schema;
pub mod sealed;
pub mod sessions;
mod sql;
mod sqlite;
mod tail;
mod tx;
pub mod upgrade;
pub mod users;
mod writer;

use std::path::Path;
use std::time::Duration;

pub use self::directory::{DirectoryLock, FILE_NAME};
pub use self::error::{AppendError, OpenError, StoreError, WriteFailed};
use self::events::ReplayPage;
pub use self::events::{Appended, NewEvent};
pub use self::limits::StoreLimits;
pub use self::rows::LiveSession;
pub use self::schema::schema_for_postgresql;
pub use self::sql::{DbError, DbErrorKind, Sql};
pub use self::sqlite::Reader;
use self::sqlite::{Pool, open_for_writing, read_in, reading_pool};
pub use self::tail::Followers;
use self::tail::Tail;
pub use self::tx::{ReadTx, Tx};
use self::writer::Writer;
use crate::model::ids::Cursor;

/// Every statement that runs on both engines, for the tests that prepare each.
pub fn statements() -> impl Iterator<Item = Sql> {
    [
        audit::STATEMENTS,
        codes::STATEMENTS,
        deleted_authors::STATEMENTS,
        events::STATEMENTS,
        factors::STATEMENTS,
        guesses::STATEMENTS,
        log_head::STATEMENTS,
        messages::STATEMENTS,
        sealed::STATEMENTS,
        sessions::STATEMENTS,
        users::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The open database.
pub struct Store {
    readers: Pool,
    replayers: Pool,
    writer: Writer,
    _lock: DirectoryLock,
}

impl Store {
    /// Opens the database in `data_dir`, making it if it is not there, and brings its schema up to date. A database of the
    /// predecessor must have been upgraded before ([`upgrade`]).
    ///
    /// `followers` hear of every commit from now on, on the writer's thread.
    ///
    /// # Errors
    /// [`OpenError`], each with a sentence that says what to do.
    pub fn open(
        data_dir: &Path,
        lock: DirectoryLock,
        limits: &StoreLimits,
        followers: Box<dyn Followers>,
    ) -> Result<Store, OpenError> {
        let path = data_dir.join(FILE_NAME);
        let connection = open_for_writing(&path, limits.busy_wait)?;
        let readers = reading_pool(&path, limits.readers, limits)?;
        let replayers = reading_pool(&path, limits.replayers, limits)?;
        let last_id = read_in(&connection, events::last_id)
            .map_err(|source| OpenError::Database { path: path.clone(), source })?;
        let tail = Tail::new(followers, last_id);
        let writer = Writer::start(connection, limits, tail, audit::HeadFile::in_directory(data_dir))
            .map_err(|source| OpenError::Io { path, source })?;
        Ok(Store { readers, replayers, writer, _lock: lock })
    }

    /// Reads in one view of the database, on a connection of the pool; waits for one, within the limit.
    ///
    /// # Errors
    /// No connection came free, or `query` failed.
    pub fn read<T>(&self, query: impl FnOnce(&ReadTx<'_>) -> Result<T, DbError>) -> Result<T, StoreError> {
        let connection = self.readers.get()?;
        Ok(read_in(&connection, query)?)
    }

    /// A page of what follows a cursor, at most `count` events. On a pool of its own: many streams may catch up at once.
    ///
    /// # Errors
    /// No connection came free, or it could not be read.
    pub fn replay_page(&self, cursor: Cursor, count: usize) -> Result<ReplayPage, StoreError> {
        let connection = self.replayers.get()?;
        Ok(read_in(&connection, |tx| events::replay_page(tx, cursor, count))?)
    }

    /// Hands a write to the writer's thread; `then` runs there once it is committed and its effects are applied.
    ///
    /// If `write` fails, what it wrote is taken back, and its neighbours in the same transaction are not touched.
    pub fn submit<T, E>(
        &self,
        write: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(Result<T, E>) + Send + 'static,
    ) where
        T: Send + 'static,
        E: From<WriteFailed> + Send + 'static,
    {
        self.writer.submit(write, then);
    }

    /// Appends an event to the log; `then` is told once it is committed and handed to the followers. Does not wait.
    pub fn append(&self, new: NewEvent, then: impl FnOnce(Result<Appended, AppendError>) + Send + 'static) {
        // SQLite's one writer takes it as it takes every write.
        self.submit(move |tx| events::append(tx, new), then);
    }

    /// Writes, and waits until that is committed and its effects are applied. Not for poll threads.
    ///
    /// # Errors
    /// Whatever `write` gives, or that it did not happen.
    pub fn write<T, E>(&self, write: impl FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<WriteFailed> + Send + 'static,
    {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        self.submit(write, move |result: Result<T, E>| {
            // The receiver waits below; if it is gone, its thread died, and the answer has no reader.
            let _ = sender.send(result);
        });
        receiver.recv().unwrap_or_else(|_| Err(WriteFailed::Stopped.into()))
    }

    /// Commits what is queued, folds the log into the database and ends the writer's thread, within `limit`.
    ///
    /// Returns whether it ended in time.
    pub fn stop(&self, limit: Duration) -> bool {
        self.writer.stop(limit)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::sessions::{Session, Stage};
    use super::users::NewUser;
    use super::*;
    use crate::base::clock::Time;
    use crate::model::event::{Audience, Event, EventKind};
    use crate::model::ids::{RoomId, SessionId};
    use crate::model::login::{Login, LoginKey};
    use crate::security::passwords::PasswordHash;

    pub(crate) fn limits() -> StoreLimits {
        StoreLimits {
            readers: 2,
            replayers: 2,
            reader_wait: Duration::from_secs(5),
            write_queue: 1024,
            write_batch: 64,
            busy_wait: Duration::from_secs(5),
        }
    }

    /// Hands events on, and nothing else.
    impl<F: FnMut(Vec<Event>) + Send> Followers for F {
        fn take_rights(&mut self, _: &[SessionId]) {}
        fn give_rights(&mut self, _: Vec<LiveSession>) {}
        fn end_streams(&mut self, _: &[SessionId]) {}
        fn publish(&mut self, events: Vec<Event>) {
            self(events);
        }
    }

    /// A store in a directory of its own, which goes with it.
    pub(crate) fn store() -> (tempfile::TempDir, Store) {
        store_with(|_| ())
    }

    /// As [`store`], with followers.
    pub(crate) fn store_with(followers: impl Followers + 'static) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(dir.path()).unwrap();
        let store = Store::open(dir.path(), lock, &limits(), Box::new(followers)).unwrap();
        (dir, store)
    }

    /// A complete session of the account with a login, which is made if there is none.
    pub(crate) fn account(store: &Store, login: &str) -> LiveSession {
        let (key, login) = (LoginKey::from_text(login), Login::parse(login).unwrap());
        let (id, start) = (SessionId::random().unwrap(), Time::from_secs(0));
        let made = store.write(move |tx| {
            let user_id = match users::by_key(tx, &key)? {
                Some(user) => user.id,
                None => {
                    let hash = PasswordHash::from_stored("x".into());
                    users::insert(tx, &NewUser::registered(&login, &key, &hash, start, None))?.unwrap()
                }
            };
            let session = Session {
                id,
                user_id,
                stage: Stage::Complete,
                base_factor: None,
                created_at: start,
                expires_at: Time::from_secs(4_000_000_000),
                connection: None,
                opened_from: None,
            };
            sessions::insert(tx, &session, login.as_str())?;
            Ok::<_, StoreError>(LiveSession { session, login: login.as_str().to_owned() })
        });
        made.unwrap()
    }

    /// A message to the common room.
    pub(crate) fn new_message(author: &LiveSession, text: &str) -> NewEvent {
        NewEvent {
            session: author.session.id,
            author_id: author.session.user_id,
            author: author.login.clone(),
            kind: EventKind::Message,
            audience: Audience::Room(RoomId::COMMON),
            text: text.into(),
            at: Time::from_secs(0),
            client_id: None,
        }
    }

    impl Store {
        pub(crate) fn append_and_wait(&self, new: NewEvent) -> Result<Appended, AppendError> {
            let (sender, receiver) = crossbeam_channel::bounded(1);
            self.append(new, move |result| sender.send(result).unwrap());
            receiver.recv().unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Event;
    use std::os::unix::fs::MetadataExt;

    fn open(dir: &Path) -> Result<Store, OpenError> {
        Store::open(dir, DirectoryLock::take(dir)?, &testing::limits(), Box::new(|_: Vec<Event>| ()))
    }

    #[test]
    fn every_statement_prepares_on_sqlite() {
        let (dir, _store) = testing::store();
        let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
        for sql in statements() {
            let prepared = connection.prepare(sql.text());
            assert!(prepared.is_ok(), "{}: {}", sql.name(), prepared.err().unwrap());
        }
    }

    #[test]
    fn a_session_is_deleted_by_the_function_that_notes_it_and_by_nothing_else() {
        for sql in statements() {
            let deletes = |table: &str| sql.text().contains(&format!("DELETE FROM {table} "));
            assert!(!deletes("sessions") || sql.name().contains("::sessions::END_"), "{}", sql.name());
            let spares_sessions = sql.text().contains("NOT EXISTS (SELECT 1 FROM sessions WHERE");
            assert!(!deletes("users") || spares_sessions, "{} would take sessions along", sql.name());
        }
    }

    #[test]
    fn the_database_is_made_for_its_owner_only() {
        let (dir, _store) = testing::store();
        for name in [FILE_NAME, "users.db-wal", "users.db-shm", "users.db.lock"] {
            assert_eq!(std::fs::metadata(dir.path().join(name)).unwrap().mode() & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_second_server_on_the_same_database_is_refused() {
        let (dir, store) = testing::store();
        assert!(matches!(open(dir.path()), Err(OpenError::InUse { .. })));
        drop(store);
        open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_database_and_a_foreign_one_are_refused_untouched() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let path = dir.path().join(FILE_NAME);
        rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Newer { .. })));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE cats(name TEXT)").unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Foreign { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(&path, "this is a letter, not a database, and a rather long one at that, longer than a header")
            .unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Foreign { .. })));
    }
}
