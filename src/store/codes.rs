//! One-time codes: recovery codes, the administrator's enrolment codes, and invitations. Only their hashes are kept.

use rusqlite::{Connection, Row, params};

use super::writer::Tx;
use crate::base::clock::Time;
use crate::model::ids::UserId;
use crate::security::codes::CodeHash;

/// Puts new recovery codes in the place of those that an account has.
///
/// # Errors
/// SQLite's.
pub fn replace_recovery(tx: &Tx<'_>, user_id: UserId, hashes: &[CodeHash]) -> rusqlite::Result<()> {
    void(tx, user_id)?;
    let mut insert =
        tx.sql().prepare_cached("INSERT INTO one_time_codes (hash, user_id, purpose) VALUES (?1, ?2, 'recovery')")?;
    for hash in hashes {
        insert.execute(params![hash, user_id])?;
    }
    Ok(())
}

/// Puts an enrolment code in the place of whatever codes an account has.
///
/// # Errors
/// SQLite's.
pub fn replace_enrolment(tx: &Tx<'_>, user_id: UserId, hash: &CodeHash, expires_at: Time) -> rusqlite::Result<()> {
    void(tx, user_id)?;
    tx.sql()
        .prepare_cached(
            "INSERT INTO one_time_codes (hash, user_id, purpose, expires_at) VALUES (?1, ?2, 'enrolment', ?3)",
        )?
        .execute(params![hash, user_id, expires_at.as_micros()])?;
    Ok(())
}

/// Makes every code of an account worthless.
///
/// # Errors
/// SQLite's.
pub fn void(tx: &Tx<'_>, user_id: UserId) -> rusqlite::Result<()> {
    tx.sql().prepare_cached("DELETE FROM one_time_codes WHERE user_id = ?1")?.execute([user_id])?;
    Ok(())
}

/// Uses a code up. Returns whether this call did it: of any number of callers with one code, one does.
///
/// # Errors
/// SQLite's.
pub fn use_up(tx: &Tx<'_>, user_id: UserId, hash: &CodeHash, now: Time) -> rusqlite::Result<bool> {
    let used = tx
        .sql()
        .prepare_cached(
            "DELETE FROM one_time_codes WHERE user_id = ?1 AND hash = ?2 AND (expires_at IS NULL OR expires_at > ?3)",
        )?
        .execute(params![user_id, hash, now.as_micros()])?;
    Ok(used == 1)
}

/// How many recovery codes an account has left.
///
/// # Errors
/// SQLite's.
pub fn recovery_left(connection: &Connection, user_id: UserId) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("SELECT count(*) FROM one_time_codes WHERE user_id = ?1 AND purpose = 'recovery'")?
        .query_row([user_id], |row| row.get(0))
}

/// An invitation to register, without its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its number.
    pub id: i64,
    /// Whom it is for, in the administrator's words.
    pub note: String,
    /// When it was made.
    pub created_at: Time,
    /// Until when it is good.
    pub expires_at: Time,
}

/// Adds an invitation; `id` of it is not looked at. Returns its number.
///
/// # Errors
/// SQLite's.
pub fn invite(tx: &Tx<'_>, hash: &CodeHash, invitation: &Invitation) -> rusqlite::Result<i64> {
    tx.sql()
        .prepare_cached("INSERT INTO invitations (hash, note, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            hash,
            invitation.note,
            invitation.created_at.as_micros(),
            invitation.expires_at.as_micros()
        ])?;
    Ok(tx.sql().last_insert_rowid())
}

/// Whether an invitation is good.
///
/// # Errors
/// SQLite's.
pub fn is_invited(connection: &Connection, hash: &CodeHash, now: Time) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM invitations WHERE hash = ?1 AND expires_at > ?2)")?
        .query_row(params![hash, now.as_micros()], |row| row.get(0))
}

/// Uses an invitation up. Returns whether this call did it, and for whom it was.
///
/// # Errors
/// SQLite's.
pub fn accept(tx: &Tx<'_>, hash: &CodeHash, now: Time) -> rusqlite::Result<Option<String>> {
    use rusqlite::OptionalExtension;
    tx.sql()
        .prepare_cached("DELETE FROM invitations WHERE hash = ?1 AND expires_at > ?2 RETURNING note")?
        .query_row(params![hash, now.as_micros()], |row| row.get(0))
        .optional()
}

/// The invitations that are good, oldest first.
///
/// # Errors
/// SQLite's.
pub fn invitations(connection: &Connection, now: Time) -> rusqlite::Result<Vec<Invitation>> {
    let from_row = |row: &Row<'_>| {
        Ok(Invitation {
            id: row.get(0)?,
            note: row.get(1)?,
            created_at: Time::from_micros(row.get(2)?),
            expires_at: Time::from_micros(row.get(3)?),
        })
    };
    connection
        .prepare("SELECT id, note, created_at, expires_at FROM invitations WHERE expires_at > ?1 ORDER BY id")?
        .query_map([now.as_micros()], from_row)?
        .collect()
}

/// Takes an invitation back. Returns whether it was there.
///
/// # Errors
/// SQLite's.
pub fn revoke(tx: &Tx<'_>, id: i64) -> rusqlite::Result<bool> {
    Ok(tx.sql().prepare_cached("DELETE FROM invitations WHERE id = ?1")?.execute([id])? == 1)
}

/// Whether there are codes whose time is over.
///
/// # Errors
/// SQLite's.
pub fn any_expired(connection: &Connection, now: Time) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM invitations WHERE expires_at <= ?1)
                 OR EXISTS (SELECT 1 FROM one_time_codes WHERE expires_at <= ?1)",
        )?
        .query_row([now.as_micros()], |row| row.get(0))
}

/// Deletes codes whose time is over.
///
/// # Errors
/// SQLite's.
pub fn delete_expired(tx: &Tx<'_>, now: Time) -> rusqlite::Result<()> {
    tx.sql().prepare_cached("DELETE FROM invitations WHERE expires_at <= ?1")?.execute([now.as_micros()])?;
    tx.sql().prepare_cached("DELETE FROM one_time_codes WHERE expires_at <= ?1")?.execute([now.as_micros()])?;
    Ok(())
}
