//! Second factors: at most one active per account, and pending ones that belong to a session or to the account.

use super::sql::{Conn, DbError, Row, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::model::ids::{FactorId, SessionId, UserId};
use crate::security::totp::Step;
use crate::security::vault::{AadContext, Sealed};

/// A second factor as it is kept.
#[derive(Clone, Debug)]
pub struct Factor {
    /// Its id.
    pub id: FactorId,
    /// The secret.
    pub sealed: Sealed,
    /// The last step whose code was used.
    pub last_step: Step,
    /// Whether it is the account's own pending one, whose secret no session was told.
    pub of_account: bool,
}

/// Where the secret of an account's factor belongs.
pub fn place(user_id: UserId) -> AadContext {
    AadContext::SecondFactor { user_id }
}

/// The owner of a pending factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PendingOf {
    /// A session: the factor ends with it.
    Session(SessionId),
    /// The account: the factor lives as long as the account stays unenrolled (old clients).
    Account,
}

impl PendingOf {
    fn session(self) -> Option<SessionId> {
        match self {
            PendingOf::Session(id) => Some(id),
            PendingOf::Account => None,
        }
    }
}

macro_rules! columns {
    () => {
        "id, key_id, sealed, last_step, state = 'pending' AND session_id IS NULL"
    };
}

statements! {
    ACTIVE = concat!("SELECT ", columns!(), " FROM second_factors WHERE user_id = ?1 AND state = 'active'");
    PENDING = concat!(
        "SELECT ", columns!(), " FROM second_factors
         WHERE user_id = ?1 AND state = 'pending' AND session_id IS NOT DISTINCT FROM ?2"
    );
    DELETE_PENDING_OF = "DELETE FROM second_factors
        WHERE user_id = ?1 AND state = 'pending' AND session_id IS NOT DISTINCT FROM ?2";
    INSERT_PENDING = "INSERT INTO second_factors (user_id, session_id, state, key_id, sealed, created_at)
        VALUES (?1, ?2, 'pending', ?3, ?4, ?5)";
    INSERT_ACTIVE = "INSERT INTO second_factors (user_id, state, key_id, sealed, created_at)
        VALUES (?1, 'active', ?2, ?3, ?4)";
    USE_STEP = "UPDATE second_factors SET last_step = ?3 WHERE user_id = ?1 AND id = ?2 AND last_step < ?3";
    DELETE_OTHERS = "DELETE FROM second_factors WHERE user_id = ?1 AND id <> ?2";
    ACTIVATE = "UPDATE second_factors SET state = 'active', session_id = NULL WHERE user_id = ?1 AND id = ?2";
    DELETE_PENDING = "DELETE FROM second_factors WHERE user_id = ?1 AND state = 'pending'";
    DELETE_ALL = "DELETE FROM second_factors WHERE user_id = ?1";
}

/// The active factor of an account.
///
/// # Errors
/// The database's.
pub fn active(tx: &ReadTx<'_>, user_id: UserId) -> Result<Option<Factor>, DbError> {
    tx.conn.first(ACTIVE, values![user_id], from_row)
}

/// The pending factor of a session or an account.
///
/// # Errors
/// The database's.
pub fn pending(tx: &ReadTx<'_>, user_id: UserId, of: PendingOf) -> Result<Option<Factor>, DbError> {
    tx.conn.first(PENDING, values![user_id, of.session()], from_row)
}

/// Keeps a pending factor in place of the one that its owner had.
///
/// # Errors
/// The database's.
pub fn put_pending(tx: &Tx<'_>, user_id: UserId, of: PendingOf, sealed: &Sealed, now: Time) -> Result<(), DbError> {
    tx.conn.execute(DELETE_PENDING_OF, values![user_id, of.session()])?;
    let bytes = sealed.bytes.as_slice();
    tx.conn.execute(INSERT_PENDING, values![user_id, of.session(), &sealed.key_id, bytes, now])?;
    Ok(())
}

/// Uses up a step of a factor. Returns whether this call did it: of any number of callers with one code, one does.
///
/// # Errors
/// The database's.
pub fn use_step(tx: &Tx<'_>, user_id: UserId, factor_id: FactorId, step: Step) -> Result<bool, DbError> {
    Ok(tx.conn.execute(USE_STEP, values![user_id, factor_id, step])? == 1)
}

/// Makes a pending factor the active one, in place of the one that was; every pending factor of the account goes.
///
/// # Errors
/// The database's.
pub fn activate(tx: &Tx<'_>, user_id: UserId, factor_id: FactorId) -> Result<(), DbError> {
    tx.conn.execute(DELETE_OTHERS, values![user_id, factor_id])?;
    tx.conn.execute(ACTIVATE, values![user_id, factor_id])?;
    Ok(())
}

/// Adds an active factor to an account that has none, as the upgrade of an old database does.
pub(super) fn insert_active(conn: Conn<'_>, user_id: UserId, sealed: &Sealed, now: Time) -> Result<(), DbError> {
    conn.execute(INSERT_ACTIVE, values![user_id, &sealed.key_id, sealed.bytes.as_slice(), now])?;
    Ok(())
}

/// Deletes the pending factors of an account, its sessions' and its own.
///
/// # Errors
/// The database's.
pub fn delete_pending(tx: &Tx<'_>, user_id: UserId) -> Result<(), DbError> {
    tx.conn.execute(DELETE_PENDING, values![user_id])?;
    Ok(())
}

/// Deletes every factor of an account.
///
/// # Errors
/// The database's.
pub fn delete_all(tx: &Tx<'_>, user_id: UserId) -> Result<(), DbError> {
    tx.conn.execute(DELETE_ALL, values![user_id])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<Factor, DbError> {
    Ok(Factor {
        id: row.get(0)?,
        sealed: Sealed { key_id: row.get(1)?, bytes: row.get(2)? },
        last_step: row.get(3)?,
        of_account: row.get(4)?,
    })
}
