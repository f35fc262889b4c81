//! One-time codes: recovery codes, the administrator's enrolment codes, and invitations. Only their hashes are kept.

use super::sql::{DbError, Row, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::model::ids::UserId;
use crate::security::codes::CodeHash;

statements! {
    INSERT_RECOVERY = "INSERT INTO one_time_codes (hash, user_id, purpose) VALUES (?1, ?2, 'recovery')";
    INSERT_ENROLMENT = "INSERT INTO one_time_codes (hash, user_id, purpose, expires_at)
        VALUES (?1, ?2, 'enrolment', ?3)";
    VOID = "DELETE FROM one_time_codes WHERE user_id = ?1";
    USE_UP = "DELETE FROM one_time_codes WHERE user_id = ?1 AND hash = ?2 AND (expires_at IS NULL OR expires_at > ?3)";
    RECOVERY_LEFT = "SELECT count(*) FROM one_time_codes WHERE user_id = ?1 AND purpose = 'recovery'";
    INVITE = "INSERT INTO invitations (hash, note, created_at, expires_at) VALUES (?1, ?2, ?3, ?4) RETURNING id";
    IS_INVITED = "SELECT EXISTS (SELECT 1 FROM invitations WHERE hash = ?1 AND expires_at > ?2)";
    ACCEPT = "DELETE FROM invitations WHERE hash = ?1 AND expires_at > ?2 RETURNING note";
    INVITATIONS = "SELECT id, note, created_at, expires_at FROM invitations WHERE expires_at > ?1 ORDER BY id";
    REVOKE = "DELETE FROM invitations WHERE id = ?1";
    ANY_EXPIRED = "SELECT EXISTS (SELECT 1 FROM invitations WHERE expires_at <= ?1)
        OR EXISTS (SELECT 1 FROM one_time_codes WHERE expires_at <= ?1)";
    DELETE_EXPIRED_INVITATIONS = "DELETE FROM invitations WHERE expires_at <= ?1";
    DELETE_EXPIRED_CODES = "DELETE FROM one_time_codes WHERE expires_at <= ?1";
}

/// Puts new recovery codes in the place of those that an account has.
///
/// # Errors
/// The database's.
pub fn replace_recovery(tx: &Tx<'_>, user_id: UserId, hashes: &[CodeHash]) -> Result<(), DbError> {
    void(tx, user_id)?;
    for hash in hashes {
        tx.conn.execute(INSERT_RECOVERY, values![hash.as_slice(), user_id])?;
    }
    Ok(())
}

/// Puts an enrolment code in the place of whatever codes an account has.
///
/// # Errors
/// The database's.
pub fn replace_enrolment(tx: &Tx<'_>, user_id: UserId, hash: &CodeHash, expires_at: Time) -> Result<(), DbError> {
    void(tx, user_id)?;
    tx.conn.execute(INSERT_ENROLMENT, values![hash.as_slice(), user_id, expires_at])?;
    Ok(())
}

/// Makes every code of an account void.
///
/// # Errors
/// The database's.
pub fn void(tx: &Tx<'_>, user_id: UserId) -> Result<(), DbError> {
    tx.conn.execute(VOID, values![user_id])?;
    Ok(())
}

/// Uses a code up. Returns whether this call did it: of any number of callers with one code, one does.
///
/// # Errors
/// The database's.
pub fn use_up(tx: &Tx<'_>, user_id: UserId, hash: &CodeHash, now: Time) -> Result<bool, DbError> {
    Ok(tx.conn.execute(USE_UP, values![user_id, hash.as_slice(), now])? == 1)
}

/// How many recovery codes an account has left.
///
/// # Errors
/// The database's.
pub fn recovery_left(tx: &ReadTx<'_>, user_id: UserId) -> Result<u32, DbError> {
    tx.conn.one(RECOVERY_LEFT, values![user_id], |row| row.get(0))
}

/// An invitation to register, without its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its number.
    pub id: i64,
    /// The person that it is for, in the administrator's words.
    pub note: String,
    /// When it was made.
    pub created_at: Time,
    /// When it expires.
    pub expires_at: Time,
}

/// Adds an invitation. Returns it with its number.
///
/// # Errors
/// The database's.
pub fn invite(
    tx: &Tx<'_>,
    hash: &CodeHash,
    note: String,
    created_at: Time,
    expires_at: Time,
) -> Result<Invitation, DbError> {
    let id = tx.conn.one(INVITE, values![hash.as_slice(), &note, created_at, expires_at], |row| row.get(0))?;
    Ok(Invitation { id, note, created_at, expires_at })
}

/// Whether an invitation is good.
///
/// # Errors
/// The database's.
pub fn is_invited(tx: &ReadTx<'_>, hash: &CodeHash, now: Time) -> Result<bool, DbError> {
    tx.conn.one(IS_INVITED, values![hash.as_slice(), now], |row| row.get(0))
}

/// Uses an invitation up. Returns its note if this call did it.
///
/// # Errors
/// The database's.
pub fn accept(tx: &Tx<'_>, hash: &CodeHash, now: Time) -> Result<Option<String>, DbError> {
    tx.conn.first(ACCEPT, values![hash.as_slice(), now], |row| row.get(0))
}

/// The invitations that are good, oldest first.
///
/// # Errors
/// The database's.
pub fn invitations(tx: &ReadTx<'_>, now: Time) -> Result<Vec<Invitation>, DbError> {
    tx.conn.rows(INVITATIONS, values![now], from_row)
}

/// Takes an invitation back. Returns whether it was there.
///
/// # Errors
/// The database's.
pub fn revoke(tx: &Tx<'_>, id: i64) -> Result<bool, DbError> {
    Ok(tx.conn.execute(REVOKE, values![id])? == 1)
}

/// Whether there are codes that have expired.
///
/// # Errors
/// The database's.
pub fn any_expired(tx: &ReadTx<'_>, now: Time) -> Result<bool, DbError> {
    tx.conn.one(ANY_EXPIRED, values![now], |row| row.get(0))
}

/// Deletes codes that have expired.
///
/// # Errors
/// The database's.
pub fn delete_expired(tx: &Tx<'_>, now: Time) -> Result<(), DbError> {
    tx.conn.execute(DELETE_EXPIRED_INVITATIONS, values![now])?;
    tx.conn.execute(DELETE_EXPIRED_CODES, values![now])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<Invitation, DbError> {
    Ok(Invitation { id: row.get(0)?, note: row.get(1)?, created_at: row.get(2)?, expires_at: row.get(3)? })
}
