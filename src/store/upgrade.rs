//! Upgrades a database of the predecessor: people log in with the same password and the same authenticator entry.
//!
//! A new database is built beside the old one and takes its name in one rename, so that an interruption anywhere leaves
//! either the old one or the new one, and no trace of an old hash or secret is left in the file or its log. A copy of the
//! old one stays beside, for the administrator to delete.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::directory::{DirectoryLock, FILE_NAME};
use super::error::OpenError;
use super::legacy::{self, LegacyUser};
use super::sql::{Conn, DbError};
use super::users::{self, UpgradedUser};
use super::{factors, schema};
use crate::base::clock::Time;
use crate::base::durable;
use crate::security::passwords::{HashError, Passwords};
use crate::security::totp::secret_from_base32;
use crate::security::vault::{AadContext, Vault, VaultError};

/// The upgrade did not happen, and the old database is as it was.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// Logins that would be one today.
    #[error("these logins would be the same today, so no account was changed; rename all but one of each line in the old \
             database and start again:\n{}", list(.0))]
    Clashes(Vec<Vec<String>>),
    /// It was asked to stop.
    #[error("it was asked to stop; start again to go on")]
    Interrupted,
    /// The old database is in use, or cannot be read.
    #[error("{}: {source}; stop the old server first, and check that this user may read and write the file", path.display())]
    Old {
        /// The database file.
        path: PathBuf,
        /// The database's error.
        source: DbError,
    },
    /// The copy or the new database could not be written.
    #[error("{}: {source}; make room, check the directory's permissions, and start again", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The new database could not be written.
    #[error("{}: {source}; make room and start again", path.display())]
    New {
        /// The new file.
        path: PathBuf,
        /// The database's error.
        source: DbError,
    },
    /// The schema could not be made.
    #[error(transparent)]
    Schema(#[from] OpenError),
    /// A password could not be hashed.
    #[error("{0}")]
    Hash(#[from] HashError),
    /// A secret could not be sealed.
    #[error("{0}")]
    Vault(#[from] VaultError),
}

fn list(groups: &[Vec<String>]) -> String {
    groups.iter().map(|group| format!("  {}", group.join(", "))).collect::<Vec<_>>().join("\n")
}

/// The copy of the old database in a directory, which holds secrets in the clear.
pub fn copy_in(data_dir: &Path) -> PathBuf {
    data_dir.join(format!("{FILE_NAME}.before-upgrade"))
}

/// Whether there is a database of the predecessor in the directory.
///
/// # Errors
/// It cannot be read.
pub fn is_needed(data_dir: &Path) -> Result<bool, UpgradeError> {
    let path = data_dir.join(FILE_NAME);
    legacy::is_legacy(&path).map_err(|source| UpgradeError::Old { path, source: source.into() })
}

/// Upgrades it. `progress` hears how many of how many accounts are done, and may stop it. Returns how many there are.
///
/// # Errors
/// [`UpgradeError`]; the old database is then as it was.
pub fn run(
    data_dir: &Path,
    _lock: &DirectoryLock,
    passwords: &Passwords,
    vault: &Vault,
    now: Time,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<usize, UpgradeError> {
    let path = data_dir.join(FILE_NAME);
    let old = |source: rusqlite::Error| UpgradeError::Old { path: path.clone(), source: source.into() };
    // Opened before SQLite opens the file, and closed after it: closing any handle of a file gives up all locks that the
    // process holds on it (POSIX).
    let original = fs::File::open(&path).map_err(|source| UpgradeError::Io { path: path.clone(), source })?;
    let mut connection = Connection::open(&path).map_err(old)?;
    connection.busy_timeout(Duration::from_secs(2)).map_err(old)?;
    // Folds a log of the old server in, and leaves a file that is whole by itself.
    connection.pragma_update(None, "journal_mode", "DELETE").map_err(old)?;
    // From here to the rename no other process may write to the old database.
    let guard = connection.transaction_with_behavior(TransactionBehavior::Exclusive).map_err(old)?;
    let users = legacy::users(&guard).map_err(old)?;
    let clashes = legacy::clashes(&users);
    if !clashes.is_empty() {
        return Err(UpgradeError::Clashes(clashes));
    }
    let new = data_dir.join(format!("{FILE_NAME}.upgrading"));
    build(&new, &users, passwords, vault, now, progress)?;
    // Last, so that an upgrade that was interrupted before leaves no copy.
    copy_aside(&original, data_dir)?;
    let io = |source| UpgradeError::Io { path: new.clone(), source };
    fs::File::open(&new).and_then(|file| file.sync_all()).map_err(io)?;
    durable::rename(&new, &path).map_err(io)?;
    drop(guard);
    drop(connection);
    drop(original);
    Ok(users.len())
}

/// Copies the old file, complete and durable before it gets its name.
fn copy_aside(mut original: &fs::File, data_dir: &Path) -> Result<(), UpgradeError> {
    let copy = copy_in(data_dir);
    let unnamed = data_dir.join(format!("{FILE_NAME}.copying"));
    let io = |source| UpgradeError::Io { path: copy.clone(), source };
    durable::remove_if_there(&unnamed).map_err(io)?;
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unnamed).map_err(io)?;
    io::copy(&mut original, &mut to).map_err(io)?;
    to.sync_all().map_err(io)?;
    durable::rename(&unnamed, &copy).map_err(io)
}

/// Builds the new database.
fn build(
    path: &Path,
    users: &[LegacyUser],
    passwords: &Passwords,
    vault: &Vault,
    now: Time,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<(), UpgradeError> {
    let io = |source| UpgradeError::Io { path: path.to_owned(), source };
    let sql = |source: rusqlite::Error| UpgradeError::New { path: path.to_owned(), source: source.into() };
    let db = |source| UpgradeError::New { path: path.to_owned(), source };
    // What an interrupted upgrade left.
    for suffix in ["", "-journal", "-wal", "-shm"] {
        durable::remove_if_there(&PathBuf::from(format!("{}{suffix}", path.display()))).map_err(io)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    let mut connection = Connection::open(path).map_err(sql)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(sql)?;
    schema::bring_up_to_date(&mut connection, path)?;
    let transaction = connection.transaction().map_err(sql)?;
    hear(progress, 0, users.len())?;
    for (n, user) in users.iter().enumerate() {
        let hash = passwords.wrap_sha256_hex(user.password_hash.expose())?;
        let secret = user.secret.as_ref().and_then(|text| secret_from_base32(text.expose()));
        let upgraded = UpgradedUser {
            id: user.id,
            login: &user.login,
            password_hash: &hash,
            created_at: now,
            has_factor: secret.is_some(),
        };
        users::insert_upgraded(Conn::new(&transaction), &upgraded).map_err(db)?;
        if let Some(secret) = secret {
            let sealed = vault.seal(AadContext::SecondFactor { user_id: user.id }, &secret)?;
            factors::insert_active(Conn::new(&transaction), user.id, &sealed, now).map_err(db)?;
        }
        hear(progress, n + 1, users.len())?;
    }
    transaction.commit().map_err(sql)?;
    connection.close().map_err(|(_, source)| sql(source))
}

fn hear(
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    done: usize,
    all: usize,
) -> Result<(), UpgradeError> {
    if progress(done, all).is_break() { Err(UpgradeError::Interrupted) } else { Ok(()) }
}
