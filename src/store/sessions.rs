//! Sessions: rows that tokens name.

use super::rows::LiveSession;
pub use super::rows::{Session, Stage};
use super::sql::{Conn, DbError, Row, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::model::ids::{FactorId, SessionId, UserId};

macro_rules! columns {
    () => {
        "id, user_id, state, base_factor, created_at, expires_at, connection, opened_from"
    };
}

macro_rules! login {
    () => {
        "(SELECT login FROM users WHERE users.id = sessions.user_id)"
    };
}

/// The condition on accounts that [`super::users::delete_unenrolled_before`] deletes; `?1` is the time.
macro_rules! unenrolled {
    () => {
        "enrolled_at IS NULL AND awaits_admin = 0 AND locked_at IS NULL AND created_at <= ?1"
    };
}

pub(super) use unenrolled;

statements! {
    INSERT = concat!("INSERT INTO sessions (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    LIVE = concat!("SELECT ", columns!(), " FROM sessions WHERE id = ?1 AND expires_at > ?2");
    WITH_LOGIN = concat!("SELECT ", columns!(), ", ", login!(), " FROM sessions WHERE id = ?1");
    ALL_LIVE = concat!("SELECT ", columns!(), ", ", login!(), " FROM sessions WHERE expires_at > ?1");
    LIVE_OF = concat!(
        "SELECT ", columns!(), " FROM sessions WHERE user_id = ?1 AND expires_at > ?2 ORDER BY created_at, id"
    );
    WAITING_ON = concat!(
        "SELECT ", columns!(), " FROM sessions
         WHERE user_id = ?1 AND connection = ?2 AND state <> 'complete' AND expires_at > ?3"
    );
    IS_COMPLETE = "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?1 AND state = 'complete' AND expires_at > ?2)";
    COMPLETE = "UPDATE sessions SET state = 'complete', base_factor = ?2, expires_at = ?3, connection = NULL
        WHERE id = ?1";
    END_ONE = "DELETE FROM sessions WHERE id = ?1 RETURNING id";
    END_OTHERS = "DELETE FROM sessions WHERE user_id = ?1 AND id <> ?2 RETURNING id";
    END_ALL = "DELETE FROM sessions WHERE user_id = ?1 RETURNING id";
    END_WAITING = "DELETE FROM sessions WHERE user_id = ?1 AND state <> 'complete' RETURNING id";
    // The session that was completed, or opened, last expires last. One that a recovery code opened goes after all
    // others: a password alone must not be enough to push it out and waste the code. The limit is none.
    END_OLDEST = "DELETE FROM sessions WHERE id IN (
            SELECT id FROM sessions
            WHERE user_id = ?1 AND id <> ?2 AND CASE WHEN state = 'complete' THEN 1 ELSE 0 END = ?3
            ORDER BY (state = 'needs_enrolment' AND base_factor IS NOT NULL) DESC, expires_at DESC, id
            LIMIT 9223372036854775807 OFFSET ?4)
        RETURNING id";
    END_UNENROLLED = concat!(
        "DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE ", unenrolled!(), ") RETURNING id"
    );
    END_EXPIRED = "DELETE FROM sessions WHERE expires_at <= ?1 RETURNING id";
    ANY_EXPIRED = "SELECT EXISTS (SELECT 1 FROM sessions WHERE expires_at <= ?1)";
    FORGET_CONNECTIONS = "UPDATE sessions SET connection = NULL WHERE connection IS NOT NULL";
}

/// Opens a session of the account with a login.
///
/// # Errors
/// The database's.
pub fn insert(tx: &Tx<'_>, session: &Session, login: &str) -> Result<(), DbError> {
    tx.conn.execute(
        INSERT,
        values![
            session.id,
            session.user_id,
            session.stage.word(),
            session.base_factor,
            session.created_at,
            session.expires_at,
            session.connection.as_ref(),
            session.opened_from.as_ref(),
        ],
    )?;
    tx.opened(session.clone(), login);
    Ok(())
}

/// The session with a name, unless it has expired.
///
/// # Errors
/// The database's.
pub fn live(tx: &ReadTx<'_>, id: SessionId, now: Time) -> Result<Option<Session>, DbError> {
    tx.conn.first(LIVE, values![id, now], from_row)
}

/// A session with the login of its account, whether it has expired or not.
pub(super) fn with_login(conn: Conn<'_>, id: SessionId) -> Result<Option<LiveSession>, DbError> {
    conn.first(WITH_LOGIN, values![id], live_from_row)
}

/// Whether a session is there, complete, and has not expired.
///
/// # Errors
/// The database's.
pub fn is_complete(tx: &ReadTx<'_>, id: SessionId, now: Time) -> Result<bool, DbError> {
    tx.conn.one(IS_COMPLETE, values![id, now], |row| row.get(0))
}

/// Every session that has not expired, with the login of its account.
///
/// # Errors
/// The database's.
pub fn all_live(tx: &ReadTx<'_>, now: Time) -> Result<Vec<LiveSession>, DbError> {
    tx.conn.rows(ALL_LIVE, values![now], live_from_row)
}

/// The sessions of an account that have not expired, oldest first.
///
/// # Errors
/// The database's.
pub fn live_of(tx: &ReadTx<'_>, user_id: UserId, now: Time) -> Result<Vec<Session>, DbError> {
    tx.conn.rows(LIVE_OF, values![user_id, now], from_row)
}

/// The waiting sessions of an account that were opened on a connection.
///
/// # Errors
/// The database's.
pub fn waiting_on(tx: &ReadTx<'_>, user_id: UserId, peer: &str, now: Time) -> Result<Vec<Session>, DbError> {
    tx.conn.rows(WAITING_ON, values![user_id, peer, now], from_row)
}

/// Marks a session of the account with a login complete, on the factor that completed it.
///
/// # Errors
/// The database's.
pub fn complete(
    tx: &Tx<'_>,
    session: &mut Session,
    login: &str,
    factor_id: FactorId,
    expires_at: Time,
) -> Result<(), DbError> {
    session.stage = Stage::Complete;
    session.base_factor = Some(factor_id);
    session.expires_at = expires_at;
    session.connection = None;
    tx.conn.execute(COMPLETE, values![session.id, factor_id, expires_at])?;
    tx.opened(session.clone(), login);
    Ok(())
}

/// Which sessions to end.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// This one.
    One(SessionId),
    /// All of an account but this one.
    Others(UserId, SessionId),
    /// All of an account.
    All(UserId),
    /// Those of an account that wait for a code or enrolment.
    Waiting(UserId),
    /// The oldest of an account, until no more than `keep` are left. The one in hand stays.
    Oldest {
        /// The account.
        user_id: UserId,
        /// The session that stays in any case.
        in_hand: SessionId,
        /// Complete ones, or waiting ones.
        complete: bool,
        /// How many may stay, the one in hand included.
        keep: usize,
    },
    /// Those of accounts that were registered before this time and never enrolled.
    Unenrolled(Time),
    /// Those that have expired.
    Expired(Time),
}

/// Ends sessions; their pending factors go with them. Nothing else deletes a session. Returns how many ended.
///
/// # Errors
/// The database's.
pub fn end(tx: &Tx<'_>, which: End) -> Result<usize, DbError> {
    let delete = |sql, values: &[_]| tx.conn.rows(sql, values, |row| row.get(0));
    let ended: Vec<SessionId> = match which {
        End::One(session) => delete(END_ONE, values![session]),
        End::Others(user_id, keep) => delete(END_OTHERS, values![user_id, keep]),
        End::All(user_id) => delete(END_ALL, values![user_id]),
        End::Waiting(user_id) => delete(END_WAITING, values![user_id]),
        End::Oldest { user_id, in_hand, complete, keep } => {
            let beside = i64::try_from(keep.saturating_sub(1)).unwrap_or(i64::MAX);
            delete(END_OLDEST, values![user_id, in_hand, complete, beside])
        }
        End::Unenrolled(before) => delete(END_UNENROLLED, values![before]),
        End::Expired(now) => delete(END_EXPIRED, values![now]),
    }?;
    tx.ended(&ended);
    Ok(ended.len())
}

/// Whether there are sessions that have expired.
///
/// # Errors
/// The database's.
pub fn any_expired(tx: &ReadTx<'_>, now: Time) -> Result<bool, DbError> {
    tx.conn.one(ANY_EXPIRED, values![now], |row| row.get(0))
}

/// Forgets the connections of an earlier run: a new one may have the same address.
///
/// # Errors
/// The database's.
pub fn forget_connections(tx: &Tx<'_>) -> Result<(), DbError> {
    tx.conn.execute(FORGET_CONNECTIONS, values![])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<Session, DbError> {
    Ok(Session {
        id: row.get(0)?,
        user_id: row.get(1)?,
        stage: row.word(2, Stage::from_word)?,
        base_factor: row.get(3)?,
        created_at: row.get(4)?,
        expires_at: row.get(5)?,
        connection: row.get(6)?,
        opened_from: row.get(7)?,
    })
}

fn live_from_row(row: &Row<'_>) -> Result<LiveSession, DbError> {
    Ok(LiveSession { session: from_row(row)?, login: row.get(8)? })
}
