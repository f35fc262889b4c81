//! Accounts.

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::deleted_authors;
use super::sessions::{self, End};
use super::writer::Tx;
use crate::base::clock::Time;
use crate::model::ids::UserId;
use crate::model::login::{Login, LoginKey};
use crate::security::passwords::PasswordHash;

/// An account as it is kept.
#[derive(Clone, Debug)]
pub struct User {
    /// Its number, never used again.
    pub id: UserId,
    /// The login as it is shown.
    pub login: String,
    /// The password's hash.
    pub password_hash: PasswordHash,
    /// When it was registered.
    pub created_at: Time,
    /// Whether it may enrol only with a code from the administrator.
    pub awaits_admin: bool,
    /// The connection that registered it, while that one may enrol it without a token.
    pub registered_on: Option<String>,
    /// First time that it confirmed a second factor.
    pub enrolled_at: Option<Time>,
    /// When the administrator locked it.
    pub locked_at: Option<Time>,
    /// When somebody logged in to it last.
    pub last_login_at: Option<Time>,
}

/// What a new account starts with.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// The login as it is shown.
    pub login: &'a str,
    /// What makes it the same as others.
    pub key: &'a LoginKey,
    /// The password's hash.
    pub password_hash: &'a PasswordHash,
    /// When.
    pub created_at: Time,
    /// The connection that registers it.
    pub registered_on: Option<&'a str>,
}

impl<'a> NewUser<'a> {
    /// An account as somebody registers it.
    pub fn registered(
        login: &'a Login,
        key: &'a LoginKey,
        password_hash: &'a PasswordHash,
        created_at: Time,
        registered_on: Option<&'a str>,
    ) -> NewUser<'a> {
        NewUser { login: login.as_str(), key, password_hash, created_at, registered_on }
    }
}

/// Adds an account. Returns its number, or `None` if the login, or one that looks like it, is taken, or was an enrolled
/// account's once.
///
/// # Errors
/// SQLite's.
pub fn insert(tx: &Tx<'_>, user: &NewUser<'_>) -> rusqlite::Result<Option<UserId>> {
    let retired = tx
        .sql()
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM retired_logins WHERE login_key = ?1 OR login_look = ?2)")?
        .query_row([user.key.name(), user.key.look()], |row| row.get(0))?;
    if retired {
        return Ok(None);
    }
    let inserted = tx
        .sql()
        .prepare_cached(
            "INSERT INTO users (login, login_key, login_look, password_hash, created_at, registered_on)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            user.login,
            user.key.name(),
            user.key.look(),
            user.password_hash.as_str(),
            user.created_at.as_micros(),
            user.registered_on,
        ]);
    match inserted {
        Ok(_) => Ok(Some(UserId::from_number(tx.sql().last_insert_rowid()))),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(None),
        Err(error) => Err(error),
    }
}

const COLUMNS: &str =
    "id, login, password_hash, created_at, awaits_admin, registered_on, enrolled_at, locked_at, last_login_at";

/// The account that a login belongs to.
///
/// # Errors
/// SQLite's.
pub fn by_key(connection: &Connection, key: &LoginKey) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE login_key = ?1"))?
        .query_row([key.name()], from_row)
        .optional()
}

/// The account with a number.
///
/// # Errors
/// SQLite's.
pub fn by_id(connection: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM users WHERE id = ?1"))?
        .query_row([id], from_row)
        .optional()
}

/// Every account, by login.
///
/// # Errors
/// SQLite's.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<User>> {
    connection
        .prepare(&format!("SELECT {COLUMNS} FROM users ORDER BY login COLLATE NOCASE, id"))?
        .query_map([], from_row)?
        .collect()
}

/// Locks an account, or unlocks it with `None`.
///
/// # Errors
/// SQLite's.
pub fn set_locked(tx: &Tx<'_>, id: UserId, at: Option<Time>) -> rusqlite::Result<()> {
    tx.sql()
        .prepare_cached("UPDATE users SET locked_at = ?2 WHERE id = ?1")?
        .execute(params![id, at.map(Time::as_micros)])?;
    Ok(())
}

/// Takes the second factor away: from now on the account enrols only with a code from the administrator.
///
/// # Errors
/// SQLite's.
pub fn set_awaits_admin(tx: &Tx<'_>, id: UserId) -> rusqlite::Result<()> {
    tx.sql().prepare_cached("UPDATE users SET awaits_admin = 1, registered_on = NULL WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Sets a hash, whatever was there.
///
/// # Errors
/// SQLite's.
pub fn set_hash(tx: &Tx<'_>, id: UserId, new: &PasswordHash) -> rusqlite::Result<()> {
    tx.sql().prepare_cached("UPDATE users SET password_hash = ?2 WHERE id = ?1")?.execute(params![id, new.as_str()])?;
    Ok(())
}

/// Notes a login. Returns how many wrong codes there were since the last one.
///
/// # Errors
/// SQLite's.
pub fn logged_in(tx: &Tx<'_>, id: UserId, now: Time) -> rusqlite::Result<u32> {
    let wrong = tx
        .sql()
        .prepare_cached("SELECT wrong_since_login FROM users WHERE id = ?1")?
        .query_row([id], |row| row.get(0))?;
    tx.sql()
        .prepare_cached("UPDATE users SET wrong_since_login = 0, last_login_at = ?2 WHERE id = ?1")?
        .execute(params![id, now.as_micros()])?;
    Ok(wrong)
}

/// Deletes an account with everything but its messages, which are renamed or deleted later, and ends its sessions. The login
/// of one that was enrolled is never given out again. Returns how many sessions ended.
///
/// # Errors
/// SQLite's.
pub fn delete(tx: &Tx<'_>, id: UserId) -> rusqlite::Result<usize> {
    let ended = sessions::end(tx, End::All(id))?;
    // Behind the end of the sessions: nobody can write in its name any more.
    deleted_authors::record(tx, id)?;
    tx.sql()
        .prepare_cached(
            "INSERT INTO retired_logins (user_id, login_key, login_look)
             SELECT id, login_key, login_look FROM users WHERE id = ?1 AND enrolled_at IS NOT NULL",
        )?
        .execute([id])?;
    // Sessions must not go with the account unnoticed (ON DELETE CASCADE): while there is one, the account stays.
    tx.sql()
        .prepare_cached(
            "DELETE FROM users WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id)",
        )?
        .execute([id])?;
    Ok(ended)
}

/// Replaces a hash, if it is still the one that was verified. Returns whether it was.
///
/// # Errors
/// SQLite's.
pub fn replace_hash(tx: &Tx<'_>, id: UserId, verified: &PasswordHash, new: &PasswordHash) -> rusqlite::Result<bool> {
    let changed = tx
        .sql()
        .prepare_cached("UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2")?
        .execute(params![id, verified.as_str(), new.as_str()])?;
    Ok(changed == 1)
}

/// Notes that the account has confirmed a second factor. From now on it is kept, and no connection enrols it without a
/// token.
///
/// # Errors
/// SQLite's.
pub fn set_enrolled(tx: &Tx<'_>, id: UserId, now: Time) -> rusqlite::Result<()> {
    tx.sql()
        .prepare_cached(
            "UPDATE users SET enrolled_at = coalesce(enrolled_at, ?2), awaits_admin = 0, registered_on = NULL
             WHERE id = ?1",
        )?
        .execute(params![id, now.as_micros()])?;
    Ok(())
}

/// Whether there are accounts that nobody enrolled and that were registered before `time`.
///
/// # Errors
/// SQLite's.
pub fn any_unenrolled_before(connection: &Connection, time: Time) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM users WHERE enrolled_at IS NULL AND awaits_admin = 0 AND locked_at IS NULL AND created_at <= ?1)",
        )?
        .query_row([time.as_micros()], |row| row.get(0))
}

/// Deletes accounts that nobody enrolled and that were registered before `time`, with their factors, and ends their
/// sessions. Returns how many accounts.
///
/// # Errors
/// SQLite's.
pub fn delete_unenrolled_before(tx: &Tx<'_>, time: Time) -> rusqlite::Result<usize> {
    sessions::end(tx, End::Unenrolled(time))?;
    tx.sql()
        .prepare_cached(
            "DELETE FROM users WHERE enrolled_at IS NULL AND awaits_admin = 0 AND locked_at IS NULL AND created_at <= ?1
                 AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id)",
        )?
        .execute([time.as_micros()])
}

/// The logins of accounts that wait for the administrator, by number.
///
/// # Errors
/// SQLite's.
pub fn awaiting_admin(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT login FROM users WHERE awaits_admin = 1 ORDER BY id")?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// Forgets the connections of an earlier run: a new one may have the same address.
///
/// # Errors
/// SQLite's.
pub fn forget_connections(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.sql().execute("UPDATE users SET registered_on = NULL WHERE registered_on IS NOT NULL", [])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        login: row.get(1)?,
        password_hash: PasswordHash::from_stored(row.get(2)?),
        created_at: Time::from_micros(row.get(3)?),
        awaits_admin: row.get(4)?,
        registered_on: row.get(5)?,
        enrolled_at: row.get::<_, Option<i64>>(6)?.map(Time::from_micros),
        locked_at: row.get::<_, Option<i64>>(7)?.map(Time::from_micros),
        last_login_at: row.get::<_, Option<i64>>(8)?.map(Time::from_micros),
    })
}
