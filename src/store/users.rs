//! Accounts.

use super::deleted_authors;
use super::sessions::{self, End, unenrolled};
use super::sql::{Conn, DbError, Row, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::model::ids::UserId;
use crate::model::login::{Login, LoginKey};
use crate::security::passwords::PasswordHash;

/// An account as it is kept.
#[derive(Clone, Debug)]
pub struct User {
    /// Its id.
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
    /// When it first confirmed a second factor.
    pub enrolled_at: Option<Time>,
    /// When the administrator locked it.
    pub locked_at: Option<Time>,
    /// When the last login to it was completed.
    pub last_login_at: Option<Time>,
}

/// What a new account starts with.
#[derive(Debug)]
pub struct NewUser<'a> {
    /// The login as it is shown.
    pub login: &'a str,
    /// Makes it the same as others.
    pub key: &'a LoginKey,
    /// The password's hash.
    pub password_hash: &'a PasswordHash,
    /// When.
    pub created_at: Time,
    /// The connection that registers it.
    pub registered_on: Option<&'a str>,
}

impl<'a> NewUser<'a> {
    /// An account as it is registered.
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

macro_rules! columns {
    () => {
        "id, login, password_hash, created_at, awaits_admin, registered_on, enrolled_at, locked_at, last_login_at"
    };
}

/// The condition that an account has no session. An account with one must not be deleted: its sessions would go with it
/// (ON DELETE CASCADE) without being noted.
macro_rules! no_session {
    () => {
        "NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.user_id = users.id)"
    };
}

statements! {
    IS_RETIRED = "SELECT EXISTS (SELECT 1 FROM retired_logins WHERE login_key = ?1 OR login_look = ?2)";
    INSERT = "INSERT INTO users (login, login_key, login_look, password_hash, created_at, registered_on)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING RETURNING id";
    INSERT_UPGRADED = "INSERT INTO users
            (id, login, login_key, login_look, password_hash, created_at, enrolled_at, awaits_admin)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    BY_KEY = concat!("SELECT ", columns!(), " FROM users WHERE login_key = ?1");
    BY_ID = concat!("SELECT ", columns!(), " FROM users WHERE id = ?1");
    ALL = concat!("SELECT ", columns!(), " FROM users ORDER BY lower(login), id");
    SET_LOCKED = "UPDATE users SET locked_at = ?2 WHERE id = ?1";
    SET_AWAITS_ADMIN = "UPDATE users SET awaits_admin = 1, registered_on = NULL WHERE id = ?1";
    SET_HASH = "UPDATE users SET password_hash = ?2 WHERE id = ?1";
    WRONG_SINCE_LOGIN = "SELECT wrong_since_login FROM users WHERE id = ?1";
    LOGGED_IN = "UPDATE users SET wrong_since_login = 0, last_login_at = ?2 WHERE id = ?1";
    RETIRE_LOGIN = "INSERT INTO retired_logins (user_id, login_key, login_look)
        SELECT id, login_key, login_look FROM users WHERE id = ?1 AND enrolled_at IS NOT NULL";
    DELETE = concat!("DELETE FROM users WHERE id = ?1 AND ", no_session!());
    REPLACE_HASH = "UPDATE users SET password_hash = ?3 WHERE id = ?1 AND password_hash = ?2";
    SET_ENROLLED = "UPDATE users SET enrolled_at = coalesce(enrolled_at, ?2), awaits_admin = 0, registered_on = NULL
        WHERE id = ?1";
    ANY_UNENROLLED = concat!("SELECT EXISTS (SELECT 1 FROM users WHERE ", unenrolled!(), ")");
    DELETE_UNENROLLED = concat!("DELETE FROM users WHERE ", unenrolled!(), " AND ", no_session!());
    AWAITING_ADMIN = "SELECT login FROM users WHERE awaits_admin = 1 ORDER BY id";
    FORGET_CONNECTIONS = "UPDATE users SET registered_on = NULL WHERE registered_on IS NOT NULL";
}

/// Adds an account. Returns its id, or `None` if the login, or one that looks like it, is taken, or belonged to an enrolled
/// account that was deleted.
///
/// # Errors
/// The database's.
pub fn insert(tx: &Tx<'_>, user: &NewUser<'_>) -> Result<Option<UserId>, DbError> {
    let (key, look) = (user.key.name(), user.key.look());
    if tx.conn.one(IS_RETIRED, values![key, look], |row| row.get(0))? {
        return Ok(None);
    }
    let hash = user.password_hash.as_str();
    tx.conn.first(INSERT, values![user.login, key, look, hash, user.created_at, user.registered_on], |row| row.get(0))
}

/// An account as the upgrade of the predecessor's database brings it.
#[derive(Debug)]
pub(super) struct UpgradedUser<'a> {
    pub(super) id: UserId,
    pub(super) login: &'a str,
    pub(super) password_hash: &'a PasswordHash,
    pub(super) created_at: Time,
    pub(super) has_factor: bool,
}

/// Adds an account of the predecessor's database. Without a second factor it waits for the administrator.
pub(super) fn insert_upgraded(conn: Conn<'_>, user: &UpgradedUser<'_>) -> Result<(), DbError> {
    let key = LoginKey::from_text(user.login);
    let enrolled_at = user.has_factor.then_some(user.created_at);
    conn.execute(
        INSERT_UPGRADED,
        values![
            user.id,
            user.login,
            key.name(),
            key.look(),
            user.password_hash.as_str(),
            user.created_at,
            enrolled_at,
            !user.has_factor,
        ],
    )?;
    Ok(())
}

/// The account that a login belongs to.
///
/// # Errors
/// The database's.
pub fn by_key(tx: &ReadTx<'_>, key: &LoginKey) -> Result<Option<User>, DbError> {
    tx.conn.first(BY_KEY, values![key.name()], from_row)
}

/// The account with an id.
///
/// # Errors
/// The database's.
pub fn by_id(tx: &ReadTx<'_>, id: UserId) -> Result<Option<User>, DbError> {
    tx.conn.first(BY_ID, values![id], from_row)
}

/// Every account, by login.
///
/// # Errors
/// The database's.
pub fn all(tx: &ReadTx<'_>) -> Result<Vec<User>, DbError> {
    tx.conn.rows(ALL, values![], from_row)
}

/// Locks an account, or unlocks it with `None`.
///
/// # Errors
/// The database's.
pub fn set_locked(tx: &Tx<'_>, id: UserId, at: Option<Time>) -> Result<(), DbError> {
    tx.conn.execute(SET_LOCKED, values![id, at])?;
    Ok(())
}

/// From now on the account enrols only with a code from the administrator.
///
/// # Errors
/// The database's.
pub fn set_awaits_admin(tx: &Tx<'_>, id: UserId) -> Result<(), DbError> {
    tx.conn.execute(SET_AWAITS_ADMIN, values![id])?;
    Ok(())
}

/// Sets a hash, whatever was there.
///
/// # Errors
/// The database's.
pub fn set_hash(tx: &Tx<'_>, id: UserId, new: &PasswordHash) -> Result<(), DbError> {
    tx.conn.execute(SET_HASH, values![id, new.as_str()])?;
    Ok(())
}

/// Records a login. Returns how many wrong codes there were since the last one.
///
/// # Errors
/// The database's.
pub fn logged_in(tx: &Tx<'_>, id: UserId, now: Time) -> Result<u32, DbError> {
    let wrong = tx.conn.one(WRONG_SINCE_LOGIN, values![id], |row| row.get(0))?;
    tx.conn.execute(LOGGED_IN, values![id, now])?;
    Ok(wrong)
}

/// Deletes an account with everything but its messages, which are renamed or deleted later, and ends its sessions. The login
/// of an enrolled account is never given out again. Returns how many sessions ended.
///
/// # Errors
/// The database's.
pub fn delete(tx: &Tx<'_>, id: UserId) -> Result<usize, DbError> {
    let ended = sessions::end(tx, End::All(id))?;
    // After the end of the sessions: nothing more is written in its name.
    deleted_authors::record(tx, id)?;
    tx.conn.execute(RETIRE_LOGIN, values![id])?;
    tx.conn.execute(DELETE, values![id])?;
    Ok(ended)
}

/// Replaces a hash, if it is still the one that was verified. Returns whether it was.
///
/// # Errors
/// The database's.
pub fn replace_hash(tx: &Tx<'_>, id: UserId, verified: &PasswordHash, new: &PasswordHash) -> Result<bool, DbError> {
    Ok(tx.conn.execute(REPLACE_HASH, values![id, verified.as_str(), new.as_str()])? == 1)
}

/// Records that the account has confirmed a second factor. From now on it is kept, and no connection enrols it without a
/// token.
///
/// # Errors
/// The database's.
pub fn set_enrolled(tx: &Tx<'_>, id: UserId, now: Time) -> Result<(), DbError> {
    tx.conn.execute(SET_ENROLLED, values![id, now])?;
    Ok(())
}

/// Whether there are accounts that were registered before `time` and never enrolled.
///
/// # Errors
/// The database's.
pub fn any_unenrolled_before(tx: &ReadTx<'_>, time: Time) -> Result<bool, DbError> {
    tx.conn.one(ANY_UNENROLLED, values![time], |row| row.get(0))
}

/// Deletes accounts that were registered before `time` and never enrolled, with their factors, and ends their sessions.
/// Returns how many accounts.
///
/// # Errors
/// The database's.
pub fn delete_unenrolled_before(tx: &Tx<'_>, time: Time) -> Result<usize, DbError> {
    sessions::end(tx, End::Unenrolled(time))?;
    tx.conn.execute(DELETE_UNENROLLED, values![time])
}

/// The logins of accounts that wait for the administrator, by id.
///
/// # Errors
/// The database's.
pub fn awaiting_admin(tx: &ReadTx<'_>) -> Result<Vec<String>, DbError> {
    tx.conn.rows(AWAITING_ADMIN, values![], |row| row.get(0))
}

/// Forgets the connections of an earlier run: a new one may have the same address.
///
/// # Errors
/// The database's.
pub fn forget_connections(tx: &Tx<'_>) -> Result<(), DbError> {
    tx.conn.execute(FORGET_CONNECTIONS, values![])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<User, DbError> {
    Ok(User {
        id: row.get(0)?,
        login: row.get(1)?,
        password_hash: PasswordHash::from_stored(row.get(2)?),
        created_at: row.get(3)?,
        awaits_admin: row.get(4)?,
        registered_on: row.get(5)?,
        enrolled_at: row.get(6)?,
        locked_at: row.get(7)?,
        last_login_at: row.get(8)?,
    })
}
