//! Everything that is kept, and all SQL.
//!
//! One SQLite file in WAL mode with `synchronous=FULL`: what a caller was told is stored survives a crash. Many threads read
//! through a bounded pool; one thread writes ([`writer`]). Times are microseconds since the Unix epoch.

pub mod audit;
pub mod codes;
mod columns;
pub mod deleted_authors;
mod effects;
pub mod factors;
pub mod guesses;
mod legacy;
pub mod messages;
mod schema;
pub mod sealed;
pub mod sessions;
pub mod upgrade;
pub mod users;
pub mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};

pub use self::effects::{Followers, LiveSession};
pub use self::messages::StoredMessage;
use self::writer::Writer;
pub use self::writer::{Tx, WriteFailed};

/// The name of the database file in the data directory, as the predecessor has it.
pub const FILE_NAME: &str = "users.db";

/// Bounds of the store.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    /// How many connections read at once.
    pub readers: u32,
    /// How many connections read for streams that catch up; calls do not wait for those.
    pub replayers: u32,
    /// How long a reader waits for a connection.
    pub reader_wait: Duration,
    /// How many writes may wait.
    pub write_queue: usize,
    /// How many writes share a transaction at most.
    pub write_batch: usize,
    /// How long SQLite waits for a lock that somebody else holds on the file.
    pub busy_wait: Duration,
}

/// The database cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server has it.
    #[error("another otpchatd uses {}: stop it first, or give this one a directory of its own with --data-dir", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// Written by a newer program.
    #[error("{} was written by a newer otpchatd: start that one, or restore the backup made before the upgrade", path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
    },
    /// Some other program's database, or not a database.
    #[error("{} is not a database of otpchatd: move it away, or choose another directory with --data-dir", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// The directory or a file in it cannot be used.
    #[error("{}: {source}; choose a directory that this user may write to with --data-dir", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{}: {source}", path.display())]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The schema could not be brought up to date.
    #[error("{}: the schema could not be brought up to date: {source}", path.display())]
    Migration {
        /// The database file.
        path: PathBuf,
        /// What went wrong.
        source: rusqlite_migration::Error,
    },
    /// The pool of readers could not be made.
    #[error("{}: {source}", path.display())]
    Readers {
        /// The database file.
        path: PathBuf,
        /// What went wrong.
        source: r2d2::Error,
    },
}

/// Something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// No reading connection came free in time.
    #[error("no reading connection came free: {0}")]
    Readers(#[from] r2d2::Error),
    /// The write did not happen.
    #[error(transparent)]
    Write(#[from] WriteFailed),
}

/// Holds the data directory for one process. Another process that tries is refused until this is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock, without waiting.
    ///
    /// # Errors
    /// [`OpenError::InUse`], or the directory cannot be written to.
    pub fn take(data_dir: &Path) -> Result<DirectoryLock, OpenError> {
        let path = DirectoryLock::path_in(data_dir);
        let io = |source| OpenError::Io { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(DirectoryLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    fn path_in(data_dir: &Path) -> PathBuf {
        data_dir.join(format!("{FILE_NAME}.lock"))
    }
}

impl DirectoryLock {
    /// Whether somebody holds it. Makes no file.
    ///
    /// # Errors
    /// It cannot be told.
    pub fn is_taken(data_dir: &Path) -> Result<bool, OpenError> {
        let path = data_dir.join(format!("{FILE_NAME}.lock"));
        let io = |source| OpenError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(io)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

/// The open database.
pub struct Store {
    readers: r2d2::Pool<SqliteConnectionManager>,
    replayers: r2d2::Pool<SqliteConnectionManager>,
    writer: Writer,
    _lock: DirectoryLock,
}

impl Store {
    /// Opens the database in `data_dir`, making it if it is not there, and brings its schema up to date. A database of the
    /// predecessor must have been upgraded before ([`upgrade`]).
    ///
    /// `followers` hear of every commit, on the writer's thread.
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
        let writer = Writer::start(connection, limits, followers, audit::HeadFile::in_directory(data_dir))
            .map_err(|source| OpenError::Io { path, source })?;
        Ok(Store { readers, replayers, writer, _lock: lock })
    }

    /// Whether there is a database in the directory with sealed secrets in it, which only their key opens.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn holds_secrets(data_dir: &Path) -> Result<bool, OpenError> {
        let path = data_dir.join(FILE_NAME);
        if !path.exists() {
            return Ok(false);
        }
        let read = || -> rusqlite::Result<bool> {
            let connection = Connection::open(&path)?;
            for table in ["second_factors", "inner_keys"] {
                let any = format!("SELECT EXISTS (SELECT 1 FROM {table})");
                if connection.table_exists(None, table)? && connection.query_row(&any, [], |row| row.get(0))? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match read() {
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => Ok(false),
            result => result.map_err(|source| OpenError::Sqlite { path: path.clone(), source }),
        }
    }

    /// Reads on a connection of the pool; waits for one, within the limit.
    ///
    /// # Errors
    /// No connection came free, or `query` failed.
    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let connection = self.readers.get()?;
        Ok(query(&connection)?)
    }

    /// As [`Store::read`], on a pool of its own: for streams that catch up, of which there may be many at once.
    ///
    /// # Errors
    /// No connection came free, or `query` failed.
    pub fn replay<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let connection = self.replayers.get()?;
        Ok(query(&connection)?)
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
            // The receiver waits below; if it is gone, its thread died, and nobody wants the answer.
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

fn reading_pool(
    path: &Path,
    size: u32,
    limits: &StoreLimits,
) -> Result<r2d2::Pool<SqliteConnectionManager>, OpenError> {
    let busy_wait = limits.busy_wait;
    let manager = SqliteConnectionManager::file(path)
        .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .with_init(move |connection| {
            connection.busy_timeout(busy_wait)?;
            connection.pragma_update(None, "trusted_schema", "OFF")
        });
    r2d2::Pool::builder()
        .max_size(size)
        .min_idle(Some(1))
        .test_on_check_out(false)
        .connection_timeout(limits.reader_wait)
        .build(manager)
        .map_err(|source| OpenError::Readers { path: path.to_owned(), source })
}

/// Opens the file with everything that a writing connection needs, and the newest schema.
fn open_for_writing(path: &Path, busy_wait: Duration) -> Result<Connection, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let sqlite = |source| OpenError::Sqlite { path: path.to_owned(), source };
    // SQLite gives its log and shared memory the mode of the database file.
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
    let mut connection = Connection::open(path).map_err(sqlite)?;
    connection.busy_timeout(busy_wait).map_err(sqlite)?;
    schema::check_ours(&connection, path)?;
    let pragmas = [("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON"), ("secure_delete", "ON")];
    for (name, value) in pragmas.into_iter().chain([("trusted_schema", "OFF")]) {
        connection.pragma_update(None, name, value).map_err(sqlite)?;
    }
    schema::bring_up_to_date(&mut connection, path)?;
    // Hot statements stay prepared.
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::model::ids::SessionId;

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

    /// Hands messages on, and nothing else.
    impl<F: FnMut(Vec<StoredMessage>) + Send> Followers for F {
        fn take_rights(&mut self, _: &[SessionId]) {}
        fn give_rights(&mut self, _: Vec<LiveSession>) {}
        fn end_streams(&mut self, _: &[SessionId]) {}
        fn publish(&mut self, messages: Vec<StoredMessage>) {
            self(messages);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    fn open(dir: &Path) -> Result<Store, OpenError> {
        Store::open(dir, DirectoryLock::take(dir)?, &testing::limits(), Box::new(|_: Vec<StoredMessage>| ()))
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
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 999).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Newer { .. })));

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE cats(name TEXT)").unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Foreign { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::write(&path, "this is a letter, not a database, and a rather long one at that, longer than a header")
            .unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Foreign { .. })));
    }
}
