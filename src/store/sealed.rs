//! Everything that lies sealed in the database: second factors and inner keys.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::directory::{DirectoryLock, FILE_NAME};
use super::error::OpenError;
use super::sql::{Conn, DbError, DbErrorKind, Row, statements, values};
use super::sqlite::{open_for_writing, read_in};
use super::tx::{ReadTx, Tx};
use crate::model::ids::{FactorId, UserId};
use crate::security::secret::SecretBytes;
use crate::security::vault::{AadContext, InnerKey, Sealed, Vault, VaultError};

statements! {
    KEY_IDS = "SELECT DISTINCT key_id FROM second_factors UNION SELECT DISTINCT key_id FROM inner_keys ORDER BY 1";
    INNER_KEY = "SELECT key_id, sealed FROM inner_keys WHERE name = ?1";
    PUT_INNER_KEY = "INSERT INTO inner_keys (name, key_id, sealed) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    ANY_FACTOR = "SELECT EXISTS (SELECT 1 FROM second_factors)";
    ANY_INNER_KEY = "SELECT EXISTS (SELECT 1 FROM inner_keys)";
    FACTORS = "SELECT key_id, sealed, id, user_id FROM second_factors";
    RESEAL_FACTOR = "UPDATE second_factors SET key_id = ?2, sealed = ?3 WHERE id = ?1";
    RESEAL_INNER_KEY = "UPDATE inner_keys SET key_id = ?2, sealed = ?3 WHERE name = ?1";
}

/// Whether there is a database in the directory with sealed secrets in it, which only their key opens.
///
/// # Errors
/// It cannot be read.
pub fn are_in(data_dir: &Path) -> Result<bool, OpenError> {
    let path = data_dir.join(FILE_NAME);
    if !path.exists() {
        return Ok(false);
    }
    let read = || -> Result<bool, DbError> {
        let connection = Connection::open(&path)?;
        for (table, any) in [("second_factors", ANY_FACTOR), ("inner_keys", ANY_INNER_KEY)] {
            // A database of the predecessor, or one that is no database, has no such table.
            if connection.table_exists(None, table)?
                && read_in(&connection, |tx| tx.conn.one(any, values![], |row| row.get(0)))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match read() {
        Err(error) if error.kind() == DbErrorKind::NotADatabase => Ok(false),
        result => result.map_err(|source| OpenError::Database { path: path.clone(), source }),
    }
}

/// The ids of the keys that secrets are sealed under.
///
/// # Errors
/// The database's.
pub fn key_ids(tx: &ReadTx<'_>) -> Result<Vec<String>, DbError> {
    tx.conn.rows(KEY_IDS, values![], |row| row.get(0))
}

/// An inner key as it is kept.
///
/// # Errors
/// The database's.
pub fn inner_key(tx: &ReadTx<'_>, key: InnerKey) -> Result<Option<Sealed>, DbError> {
    sealed_key(tx.conn, key)
}

fn sealed_key(conn: Conn<'_>, key: InnerKey) -> Result<Option<Sealed>, DbError> {
    conn.first(INNER_KEY, values![key.name()], from_row)
}

/// Keeps an inner key, if there is none of that name. Returns whether there was none.
///
/// # Errors
/// The database's.
pub fn put_inner_key(tx: &Tx<'_>, key: InnerKey, sealed: &Sealed) -> Result<bool, DbError> {
    Ok(tx.conn.execute(PUT_INNER_KEY, values![key.name(), &sealed.key_id, sealed.bytes.as_slice()])? == 1)
}

fn from_row(row: &Row<'_>) -> Result<Sealed, DbError> {
    Ok(Sealed { key_id: row.get(0)?, bytes: row.get(1)? })
}

/// Secrets could not be sealed anew. The database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing it.
    #[error("the database could not be read or written: {0}")]
    Database(#[from] DbError),
    /// A secret that neither the old key nor the new one opens.
    #[error("{place}: {source}; nothing was changed")]
    Vault {
        /// Which secret.
        place: AadContext,
        /// The vault's error.
        source: VaultError,
    },
    /// Everything is sealed anew, but the old seals are still in the file.
    #[error(
        "another program reads the database, an `otpchatd audit` or a backup perhaps, and keeps the old seals in it: let it end, and run this again"
    )]
    Watched,
    /// It was stopped.
    #[error("stopped; nothing was changed")]
    Interrupted,
}

/// Seals everything under `new` that is sealed under `old`, in one transaction: all of it or nothing. Afterwards no trace of
/// the old seals is in the file or its log. `progress` hears how many of how many are done, and may stop it. Returns how many
/// there are.
///
/// # Errors
/// [`ResealError`].
pub fn reseal(
    data_dir: &Path,
    _lock: &DirectoryLock,
    old: &Vault,
    new: &Vault,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<usize, ResealError> {
    let mut connection = open_for_writing(&data_dir.join(FILE_NAME), Duration::from_secs(5))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(DbError::from)?;
    let all = reseal_all(Conn::new(&transaction), old, new, progress)?;
    transaction.commit().map_err(DbError::from)?;
    // A connection that reads meanwhile keeps the old pages in the file. (SQLite's alone: PostgreSQL rewrites the tables.)
    let truncate = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: bool = connection.query_row(truncate, [], |row| row.get(0)).map_err(DbError::from)?;
    if busy { Err(ResealError::Watched) } else { Ok(all) }
}

fn reseal_all(
    conn: Conn<'_>,
    old: &Vault,
    new: &Vault,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<usize, ResealError> {
    let factors: Vec<(Sealed, FactorId, UserId)> =
        conn.rows(FACTORS, values![], |row| Ok((from_row(row)?, row.get(2)?, row.get(3)?)))?;
    let mut keys = Vec::new();
    for key in InnerKey::ALL {
        keys.extend(sealed_key(conn, key)?.map(|sealed| (key, sealed)));
    }
    let all = factors.len() + keys.len();
    let mut done = 0;
    let mut hear = || {
        done += 1;
        if progress(done, all).is_break() { Err(ResealError::Interrupted) } else { Ok(()) }
    };
    let again = |place, sealed: Sealed| -> Result<Sealed, ResealError> {
        if sealed.key_id == new.key_id() {
            return Ok(sealed);
        }
        let seal = |secret: SecretBytes| new.seal(place, &secret);
        old.open(place, &sealed).and_then(seal).map_err(|source| ResealError::Vault { place, source })
    };
    for (sealed, id, user_id) in factors {
        let sealed = again(AadContext::SecondFactor { user_id }, sealed)?;
        conn.execute(RESEAL_FACTOR, values![id, &sealed.key_id, sealed.bytes.as_slice()])?;
        hear()?;
    }
    for (key, sealed) in keys {
        let sealed = again(AadContext::InnerKey(key), sealed)?;
        conn.execute(RESEAL_INNER_KEY, values![key.name(), &sealed.key_id, sealed.bytes.as_slice()])?;
        hear()?;
    }
    Ok(all)
}
