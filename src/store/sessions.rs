//! Sessions: rows that tokens name.

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::effects::LiveSession;
use super::writer::Tx;
use crate::base::clock::Time;
use crate::model::ids::{FactorId, SessionId, UserId};

/// What a session may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Give a code of the active factor. Nothing else.
    NeedsCode,
    /// Enrol. Nothing else.
    NeedsEnrolment,
    /// Everything.
    Complete,
}

impl State {
    /// Its stable word.
    pub const fn word(self) -> &'static str {
        match self {
            State::NeedsCode => "needs_code",
            State::NeedsEnrolment => "needs_enrolment",
            State::Complete => "complete",
        }
    }
}

/// A session as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// What it may do.
    pub state: State,
    /// The active factor when it opened (or, once complete, the one that completed it): what an enrolment of this session
    /// may replace.
    pub base_factor: Option<FactorId>,
    /// When it was opened.
    pub created_at: Time,
    /// When it ends by itself.
    pub expires_at: Time,
    /// The connection that opened it, while a code may come without a token.
    pub connection: Option<String>,
    /// The address that it was opened from, where that is known.
    pub opened_from: Option<String>,
}

const COLUMNS: &str = "id, user_id, state, base_factor, created_at, expires_at, connection, opened_from";

/// Opens a session of the account with a login.
///
/// # Errors
/// SQLite's.
pub fn insert(tx: &Tx<'_>, session: &Session, login: &str) -> rusqlite::Result<()> {
    tx.sql()
        .prepare_cached(&format!("INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?
        .execute(params![
            session.id,
            session.user_id,
            session.state.word(),
            session.base_factor,
            session.created_at.as_micros(),
            session.expires_at.as_micros(),
            session.connection,
            session.opened_from,
        ])?;
    tx.opened(session.clone(), login);
    Ok(())
}

/// The session with a name, if its time is not over.
///
/// # Errors
/// SQLite's.
pub fn live(connection: &Connection, id: SessionId, now: Time) -> rusqlite::Result<Option<Session>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1 AND expires_at > ?2"))?
        .query_row(params![id, now.as_micros()], from_row)
        .optional()
}

/// A session with the login of its account, whether its time is over or not.
pub(super) fn with_login(connection: &Connection, id: SessionId) -> rusqlite::Result<Option<LiveSession>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, (SELECT login FROM users WHERE users.id = user_id) FROM sessions WHERE id = ?1"
        ))?
        .query_row([id], |row| Ok(LiveSession { session: from_row(row)?, login: row.get(8)? }))
        .optional()
}

/// Whether a session is there, complete, and its time not over.
///
/// # Errors
/// SQLite's.
pub fn is_complete(connection: &Connection, id: SessionId, now: Time) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?1 AND state = 'complete' AND expires_at > ?2)",
        )?
        .query_row(params![id, now.as_micros()], |row| row.get(0))
}

/// Every session whose time is not over, with the login of its account.
///
/// # Errors
/// SQLite's.
pub fn all_live(connection: &Connection, now: Time) -> rusqlite::Result<Vec<LiveSession>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, (SELECT login FROM users WHERE users.id = user_id) FROM sessions WHERE expires_at > ?1"
        ))?
        .query_map([now.as_micros()], |row| Ok(LiveSession { session: from_row(row)?, login: row.get(8)? }))?
        .collect()
}

/// The sessions of an account whose time is not over, oldest first.
///
/// # Errors
/// SQLite's.
pub fn live_of(connection: &Connection, user_id: UserId, now: Time) -> rusqlite::Result<Vec<Session>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM sessions WHERE user_id = ?1 AND expires_at > ?2 ORDER BY created_at, id"
        ))?
        .query_map(params![user_id, now.as_micros()], from_row)?
        .collect()
}

/// The waiting sessions of an account that were opened on a connection.
///
/// # Errors
/// SQLite's.
pub fn waiting_on(connection: &Connection, user_id: UserId, peer: &str, now: Time) -> rusqlite::Result<Vec<Session>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM sessions
             WHERE user_id = ?1 AND connection = ?2 AND state <> 'complete' AND expires_at > ?3"
        ))?
        .query_map(params![user_id, peer, now.as_micros()], from_row)?
        .collect()
}

/// Marks a session of the account with a login complete, on the factor that completed it.
///
/// # Errors
/// SQLite's.
pub fn complete(
    tx: &Tx<'_>,
    session: &mut Session,
    login: &str,
    factor_id: FactorId,
    expires_at: Time,
) -> rusqlite::Result<()> {
    session.state = State::Complete;
    session.base_factor = Some(factor_id);
    session.expires_at = expires_at;
    session.connection = None;
    tx.sql()
        .prepare_cached(
            "UPDATE sessions SET state = 'complete', base_factor = ?2, expires_at = ?3, connection = NULL WHERE id = ?1",
        )?
        .execute(params![session.id, factor_id, expires_at.as_micros()])?;
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
    /// The oldest of an account beside the one in hand, so that at most so many stay with it.
    Oldest {
        /// Whose.
        user_id: UserId,
        /// The one that stays in any case.
        in_hand: SessionId,
        /// Complete ones, or waiting ones.
        complete: bool,
        /// How many may stay, the one in hand included.
        keep: usize,
    },
    /// Those of accounts that [`super::users::delete_unenrolled_before`] is about to delete.
    Unenrolled(Time),
    /// Those whose time is over.
    Expired(Time),
}

/// Ends sessions; their pending factors go with them. Nothing else deletes a session. Returns how many.
///
/// # Errors
/// SQLite's.
pub fn end(tx: &Tx<'_>, which: End) -> rusqlite::Result<usize> {
    let ended = delete(tx.sql(), which)?;
    tx.ended(&ended);
    Ok(ended.len())
}

fn delete(sql: &Connection, which: End) -> rusqlite::Result<Vec<SessionId>> {
    let id = |row: &Row<'_>| row.get(0);
    match which {
        End::One(session) => sql
            .prepare_cached("DELETE FROM sessions WHERE id = ?1 RETURNING id")?
            .query_map([session], id)?
            .collect(),
        End::Others(user_id, keep) => sql
            .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND id <> ?2 RETURNING id")?
            .query_map(params![user_id, keep], id)?
            .collect(),
        End::All(user_id) => sql
            .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 RETURNING id")?
            .query_map([user_id], id)?
            .collect(),
        End::Waiting(user_id) => sql
            .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND state <> 'complete' RETURNING id")?
            .query_map([user_id], id)?
            .collect(),
        // What ends last was completed, or opened, last. What a recovery code opened goes after all others: a password alone
        // must not be enough to push it out, and the code to waste.
        End::Oldest { user_id, in_hand, complete, keep } => sql
            .prepare_cached(
                "DELETE FROM sessions WHERE id IN (
                     SELECT id FROM sessions WHERE user_id = ?1 AND id <> ?2 AND (state = 'complete') = ?3
                     ORDER BY (state = 'needs_enrolment' AND base_factor IS NOT NULL) DESC, expires_at DESC, id
                     LIMIT -1 OFFSET ?4) RETURNING id",
            )?
            .query_map(
                params![
                    user_id,
                    in_hand,
                    complete,
                    i64::try_from(keep).unwrap_or(i64::MAX).saturating_sub(1)
                ],
                id,
            )?
            .collect(),
        End::Unenrolled(before) => sql
            .prepare_cached(
                "DELETE FROM sessions WHERE user_id IN (
                     SELECT id FROM users WHERE enrolled_at IS NULL AND awaits_admin = 0 AND locked_at IS NULL AND created_at <= ?1)
                 RETURNING id",
            )?
            .query_map([before.as_micros()], id)?
            .collect(),
        End::Expired(now) => sql
            .prepare_cached("DELETE FROM sessions WHERE expires_at <= ?1 RETURNING id")?
            .query_map([now.as_micros()], id)?
            .collect(),
    }
}

/// Whether there are sessions whose time is over.
///
/// # Errors
/// SQLite's.
pub fn any_expired(connection: &Connection, now: Time) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sessions WHERE expires_at <= ?1)")?
        .query_row([now.as_micros()], |row| row.get(0))
}

/// Forgets the connections of an earlier run: a new one may have the same address.
///
/// # Errors
/// SQLite's.
pub fn forget_connections(tx: &Tx<'_>) -> rusqlite::Result<()> {
    tx.sql().execute("UPDATE sessions SET connection = NULL WHERE connection IS NOT NULL", [])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Session> {
    let state = match row.get_ref(2)?.as_str().map_err(|e| conversion(2, e))? {
        "needs_code" => State::NeedsCode,
        "needs_enrolment" => State::NeedsEnrolment,
        "complete" => State::Complete,
        _ => return Err(conversion(2, FromSqlError::InvalidType)),
    };
    Ok(Session {
        id: row.get(0)?,
        user_id: row.get(1)?,
        state,
        base_factor: row.get(3)?,
        created_at: Time::from_micros(row.get(4)?),
        expires_at: Time::from_micros(row.get(5)?),
        connection: row.get(6)?,
        opened_from: row.get(7)?,
    })
}

fn conversion(column: usize, error: FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
