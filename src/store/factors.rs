//! Second factors: at most one active per account, and pending ones that belong to a session or to the account.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use crate::base::clock::Time;
use crate::model::ids::{FactorId, SessionId, UserId};
use crate::security::totp::Step;
use crate::security::vault::{AadContext, Sealed};

/// A second factor as it is kept.
#[derive(Clone, Debug)]
pub struct Factor {
    /// Its number, never used again.
    pub id: FactorId,
    /// The secret.
    pub sealed: Sealed,
    /// The last step that a code was used of.
    pub last_step: Step,
    /// Whether it is the account's own pending one, whose secret nobody who logs in was told.
    pub of_account: bool,
}

/// Where the secret of an account's factor belongs.
pub fn place(user_id: UserId) -> AadContext {
    AadContext::SecondFactor { user_id }
}

/// Whose a pending factor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingOf {
    /// A session's: it dies with it.
    Session(SessionId),
    /// The account's: it lives as long as the account stays unenrolled (old clients).
    Account,
}

const COLUMNS: &str = "id, key_id, sealed, last_step, state = 'pending' AND session_id IS NULL";

/// The active factor of an account.
///
/// # Errors
/// SQLite's.
pub fn active(connection: &Connection, user_id: UserId) -> rusqlite::Result<Option<Factor>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM second_factors WHERE user_id = ?1 AND state = 'active'"))?
        .query_row([user_id], from_row)
        .optional()
}

/// The pending factor of a session or an account.
///
/// # Errors
/// SQLite's.
pub fn pending(connection: &Connection, user_id: UserId, of: PendingOf) -> rusqlite::Result<Option<Factor>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM second_factors WHERE user_id = ?1 AND state = 'pending' AND session_id IS ?2"
        ))?
        .query_row(params![user_id, session_of(of)], from_row)
        .optional()
}

/// Keeps a pending factor in place of the one that its owner had.
///
/// # Errors
/// SQLite's.
pub fn put_pending(tx: &Tx<'_>, user_id: UserId, of: PendingOf, sealed: &Sealed, now: Time) -> rusqlite::Result<()> {
    let session = session_of(of);
    tx.sql()
        .prepare_cached("DELETE FROM second_factors WHERE user_id = ?1 AND state = 'pending' AND session_id IS ?2")?
        .execute(params![user_id, session])?;
    tx.sql()
        .prepare_cached(
            "INSERT INTO second_factors (user_id, session_id, state, key_id, sealed, created_at)
             VALUES (?1, ?2, 'pending', ?3, ?4, ?5)",
        )?
        .execute(params![user_id, session, sealed.key_id, sealed.bytes, now.as_micros()])?;
    Ok(())
}

/// Uses up a step of a factor. Returns whether this call did it: of any number of callers with one code, one does.
///
/// # Errors
/// SQLite's.
pub fn use_step(tx: &Tx<'_>, user_id: UserId, factor_id: FactorId, step: Step) -> rusqlite::Result<bool> {
    let changed = tx
        .sql()
        .prepare_cached("UPDATE second_factors SET last_step = ?3 WHERE user_id = ?1 AND id = ?2 AND last_step < ?3")?
        .execute(params![user_id, factor_id, step])?;
    Ok(changed == 1)
}

/// Makes a pending factor the active one, in place of the one that was; every pending factor of the account goes.
///
/// # Errors
/// SQLite's.
pub fn activate(tx: &Tx<'_>, user_id: UserId, factor_id: FactorId) -> rusqlite::Result<()> {
    tx.sql()
        .prepare_cached("DELETE FROM second_factors WHERE user_id = ?1 AND id <> ?2")?
        .execute(params![user_id, factor_id])?;
    tx.sql()
        .prepare_cached("UPDATE second_factors SET state = 'active', session_id = NULL WHERE user_id = ?1 AND id = ?2")?
        .execute(params![user_id, factor_id])?;
    Ok(())
}

/// Adds an active factor to an account that has none, as the upgrade of an old database does.
///
/// # Errors
/// SQLite's.
pub(super) fn insert_active(
    connection: &Connection,
    user_id: UserId,
    sealed: &Sealed,
    now: Time,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO second_factors (user_id, state, key_id, sealed, created_at) VALUES (?1, 'active', ?2, ?3, ?4)",
        )?
        .execute(params![user_id, sealed.key_id, sealed.bytes, now.as_micros()])?;
    Ok(())
}

/// Deletes the pending factors of an account, its sessions' and its own.
///
/// # Errors
/// SQLite's.
pub fn delete_pending(tx: &Tx<'_>, user_id: UserId) -> rusqlite::Result<()> {
    tx.sql()
        .prepare_cached("DELETE FROM second_factors WHERE user_id = ?1 AND state = 'pending'")?
        .execute([user_id])?;
    Ok(())
}

/// Deletes every factor of an account.
///
/// # Errors
/// SQLite's.
pub fn delete_all(tx: &Tx<'_>, user_id: UserId) -> rusqlite::Result<()> {
    tx.sql().prepare_cached("DELETE FROM second_factors WHERE user_id = ?1")?.execute([user_id])?;
    Ok(())
}

fn session_of(of: PendingOf) -> Option<SessionId> {
    match of {
        PendingOf::Session(id) => Some(id),
        PendingOf::Account => None,
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Factor> {
    Ok(Factor {
        id: row.get(0)?,
        sealed: Sealed { key_id: row.get(1)?, bytes: row.get(2)? },
        last_step: row.get(3)?,
        of_account: row.get(4)?,
    })
}
