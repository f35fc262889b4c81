//! SQLite: opening the file, and the connections that read. All of it is SQLite's alone: files, pragmas and locks have no
//! counterpart in PostgreSQL.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};

use super::directory::FILE_NAME;
use super::error::{OpenError, StoreError};
use super::limits::StoreLimits;
use super::schema;
use super::sql::{Conn, DbError};
use super::tx::ReadTx;

/// How long a connection beside a running server waits for a lock on the file.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// How many statements a connection keeps prepared: more than there are.
const STATEMENTS_KEPT: usize = 256;

/// Connections that read.
pub(super) type Pool = r2d2::Pool<SqliteConnectionManager>;

/// A pool of connections that read.
pub(super) fn reading_pool(path: &Path, size: u32, limits: &StoreLimits) -> Result<Pool, OpenError> {
    let busy_wait = limits.busy_wait;
    let manager = SqliteConnectionManager::file(path)
        .with_flags(OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .with_init(move |connection| {
            connection.busy_timeout(busy_wait)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
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
pub(super) fn open_for_writing(path: &Path, busy_wait: Duration) -> Result<Connection, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let refused = |source: rusqlite::Error| OpenError::Database { path: path.to_owned(), source: source.into() };
    // SQLite gives its log and shared memory the mode of the database file.
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map_err(io)?;
    let mut connection = Connection::open(path).map_err(refused)?;
    connection.busy_timeout(busy_wait).map_err(refused)?;
    schema::check_ours(&connection, path)?;
    let pragmas = [("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", "ON"), ("secure_delete", "ON")];
    for (name, value) in pragmas.into_iter().chain([("trusted_schema", "OFF")]) {
        connection.pragma_update(None, name, value).map_err(refused)?;
    }
    schema::bring_up_to_date(&mut connection, path)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(connection)
}

/// Reads in one view of the database.
pub(super) fn read_in<T>(
    connection: &Connection,
    query: impl FnOnce(&ReadTx<'_>) -> Result<T, DbError>,
) -> Result<T, DbError> {
    // Deferred: the view begins with the first statement. It ends, with nothing to commit, when it is dropped.
    let view = connection.unchecked_transaction()?;
    query(&ReadTx::new(Conn::new(&view)))
}

/// A connection of its own that only reads, beside a running server or without one.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// Opens the database in a data directory.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub fn open(data_dir: &Path) -> Result<Reader, StoreError> {
        let path = data_dir.join(FILE_NAME);
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(DbError::from)?;
        connection.busy_timeout(BUSY_WAIT).map_err(DbError::from)?;
        Ok(Reader { connection })
    }

    /// Reads in one view of the database.
    ///
    /// # Errors
    /// `query` failed.
    pub fn read<T>(&self, query: impl FnOnce(&ReadTx<'_>) -> Result<T, DbError>) -> Result<T, StoreError> {
        Ok(read_in(&self.connection, query)?)
    }

    /// Whether the database has keys of its own. One of the predecessor has none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn has_inner_keys(&self) -> Result<bool, StoreError> {
        Ok(self.connection.table_exists(None, "inner_keys").map_err(DbError::from)?)
    }
}
