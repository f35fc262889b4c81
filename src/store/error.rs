//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use super::sql::DbError;

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
    /// Another program's database, or not a database.
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
        /// The system's error.
        source: io::Error,
    },
    /// The schema is brought up to date only where the disk has room for it.
    #[error("{}: bringing the database up to date needs {needed} bytes, and the disk has {free} left: make room and start again", path.display())]
    NoRoom {
        /// The database file.
        path: PathBuf,
        /// How many bytes it needs.
        needed: u64,
        /// How many the disk has.
        free: u64,
    },
    /// The database refused.
    #[error("{}: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// Its error.
        source: DbError,
    },
    /// The schema could not be brought up to date.
    #[error("{}: the schema could not be brought up to date: {source}", path.display())]
    Migration {
        /// The database file.
        path: PathBuf,
        /// The database's error.
        source: DbError,
    },
    /// The pool of readers could not be made.
    #[error("{}: {source}", path.display())]
    Readers {
        /// The database file.
        path: PathBuf,
        /// The pool's error.
        source: r2d2::Error,
    },
}

/// Something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused.
    #[error(transparent)]
    Db(#[from] DbError),
    /// No reading connection came free in time.
    #[error("no reading connection came free: {0}")]
    Readers(#[from] r2d2::Error),
    /// The write did not happen.
    #[error(transparent)]
    Write(#[from] WriteFailed),
}

/// A write that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteFailed {
    /// The queue of writes is full.
    #[error("too many writes wait")]
    Full,
    /// The writer has stopped.
    #[error("the writer has stopped")]
    Stopped,
    /// The transaction could not be begun or committed: a full disk, for example.
    #[error("nothing could be committed: {0}")]
    Commit(String),
    /// The write panicked.
    #[error("the write panicked")]
    Panicked,
}

/// An event that was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The session of its author is not there, is not complete, or has expired.
    #[error("the session has ended")]
    SessionEnded,
    /// The database refused.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The write did not happen.
    #[error(transparent)]
    Write(#[from] WriteFailed),
}
