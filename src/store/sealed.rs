//! Everything that lies sealed in the database: second factors and inner keys.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::writer::Tx;
use super::{DirectoryLock, FILE_NAME, OpenError, open_for_writing};
use crate::model::ids::FactorId;
use crate::security::secret::SecretBytes;
use crate::security::vault::{AadContext, InnerKey, Sealed, Vault, VaultError};

/// The ids of the keys that secrets are sealed under.
///
/// # Errors
/// SQLite's.
pub fn key_ids(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT DISTINCT key_id FROM second_factors UNION SELECT DISTINCT key_id FROM inner_keys ORDER BY 1")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// An inner key as it is kept.
///
/// # Errors
/// SQLite's.
pub fn inner_key(connection: &Connection, key: InnerKey) -> rusqlite::Result<Option<Sealed>> {
    connection
        .prepare("SELECT key_id, sealed FROM inner_keys WHERE name = ?1")?
        .query_row([key.name()], |row| Ok(Sealed { key_id: row.get(0)?, bytes: row.get(1)? }))
        .optional()
}

/// Keeps an inner key, if there is none of that name. Returns whether there was none.
///
/// # Errors
/// SQLite's.
pub fn put_inner_key(tx: &Tx<'_>, key: InnerKey, sealed: &Sealed) -> rusqlite::Result<bool> {
    let put = tx
        .sql()
        .prepare("INSERT INTO inner_keys (name, key_id, sealed) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute(params![key.name(), sealed.key_id, sealed.bytes])?;
    Ok(put == 1)
}

/// Secrets could not be sealed anew. The database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Reading or writing it.
    #[error("the database could not be read or written: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A secret that neither the old key nor the new one opens.
    #[error("{place}: {source}; nothing was changed")]
    Vault {
        /// Which.
        place: AadContext,
        /// What is wrong with it.
        source: VaultError,
    },
    /// Everything is sealed anew, but the old seals are still in the file.
    #[error(
        "another program reads the database, an `otpchatd audit` or a backup perhaps, and keeps the old seals in it: let it end, and run this again"
    )]
    Watched,
    /// Somebody stopped it.
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
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let factors: Vec<(FactorId, AadContext, Sealed)> = transaction
        .prepare("SELECT id, user_id, key_id, sealed FROM second_factors")?
        .query_map([], |row| {
            let sealed = Sealed { key_id: row.get(2)?, bytes: row.get(3)? };
            Ok((row.get(0)?, AadContext::SecondFactor { user_id: row.get(1)? }, sealed))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let keys: Vec<(InnerKey, Sealed)> = InnerKey::ALL
        .into_iter()
        .filter_map(|key| inner_key(&transaction, key).transpose().map(|sealed| sealed.map(|sealed| (key, sealed))))
        .collect::<rusqlite::Result<_>>()?;
    let all = factors.len() + keys.len();
    let mut done = 0;
    let mut hear = || {
        done += 1;
        if progress(done, all).is_break() { Err(ResealError::Interrupted) } else { Ok(()) }
    };
    let again = |place, sealed: &Sealed| -> Result<Sealed, ResealError> {
        if sealed.key_id == new.key_id() {
            return Ok(sealed.clone());
        }
        let seal = |secret: SecretBytes| new.seal(place, &secret);
        old.open(place, sealed).and_then(seal).map_err(|source| ResealError::Vault { place, source })
    };
    for (id, place, sealed) in factors {
        let sealed = again(place, &sealed)?;
        transaction
            .prepare_cached("UPDATE second_factors SET key_id = ?2, sealed = ?3 WHERE id = ?1")?
            .execute(params![id, sealed.key_id, sealed.bytes])?;
        hear()?;
    }
    for (key, sealed) in keys {
        let sealed = again(AadContext::InnerKey(key), &sealed)?;
        transaction
            .prepare_cached("UPDATE inner_keys SET key_id = ?2, sealed = ?3 WHERE name = ?1")?
            .execute(params![key.name(), sealed.key_id, sealed.bytes])?;
        hear()?;
    }
    transaction.commit()?;
    // Whoever reads meanwhile keeps the old pages in the file.
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy { Err(ResealError::Watched) } else { Ok(all) }
}
