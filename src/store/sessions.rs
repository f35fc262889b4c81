//! Sessions: rows that tokens name.

use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use crate::base::clock::Time;

/// The name of a session: 128 random bits, 32 lower-case hex digits in tokens and in the database.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

impl SessionId {
    /// A new random name.
    ///
    /// # Errors
    /// The system has no randomness to give.
    pub fn random() -> Result<SessionId, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(SessionId(u128::from_be_bytes(bytes)))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    /// Enough to tell sessions apart in a log, too little to name one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({:06x}…)", self.0 >> 104)
    }
}

impl SessionId {
    /// What tells a session apart from the others of its account, and names none to anybody: half of the name, 16 hex digits.
    pub fn handle(self) -> String {
        format!("{:016x}", self.0 >> 64)
    }
}

/// A text that names no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session id")]
pub struct NotASessionId;

impl FromStr for SessionId {
    type Err = NotASessionId;

    fn from_str(text: &str) -> Result<SessionId, NotASessionId> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(hex) {
            return Err(NotASessionId);
        }
        u128::from_str_radix(text, 16).map(SessionId).map_err(|_| NotASessionId)
    }
}

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
    pub user_id: i64,
    /// What it may do.
    pub state: State,
    /// The active factor when it opened (or, once complete, the one that completed it): what an enrolment of this session
    /// may replace.
    pub base_factor: Option<i64>,
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

/// Opens a session.
///
/// # Errors
/// SQLite's.
pub fn insert(tx: &Tx<'_>, session: &Session) -> rusqlite::Result<()> {
    tx.sql()
        .prepare_cached(&format!("INSERT INTO sessions ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?
        .execute(params![
            session.id.to_string(),
            session.user_id,
            session.state.word(),
            session.base_factor,
            session.created_at.as_micros(),
            session.expires_at.as_micros(),
            session.connection,
            session.opened_from,
        ])?;
    Ok(())
}

/// The session with a name, if its time is not over.
///
/// # Errors
/// SQLite's.
pub fn live(connection: &Connection, id: SessionId, now: Time) -> rusqlite::Result<Option<Session>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1 AND expires_at > ?2"))?
        .query_row(params![id.to_string(), now.as_micros()], from_row)
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
        .query_row(params![id.to_string(), now.as_micros()], |row| row.get(0))
}

/// Every session whose time is not over.
///
/// # Errors
/// SQLite's.
pub fn all_live(connection: &Connection, now: Time) -> rusqlite::Result<Vec<Session>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE expires_at > ?1"))?
        .query_map([now.as_micros()], from_row)?
        .collect()
}

/// The sessions of an account whose time is not over, oldest first.
///
/// # Errors
/// SQLite's.
pub fn live_of(connection: &Connection, user_id: i64, now: Time) -> rusqlite::Result<Vec<Session>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM sessions WHERE user_id = ?1 AND expires_at > ?2 ORDER BY created_at, id"
        ))?
        .query_map([user_id, now.as_micros()], from_row)?
        .collect()
}

/// The waiting sessions of an account that were opened on a connection.
///
/// # Errors
/// SQLite's.
pub fn waiting_on(connection: &Connection, user_id: i64, peer: &str, now: Time) -> rusqlite::Result<Vec<Session>> {
    connection
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM sessions
             WHERE user_id = ?1 AND connection = ?2 AND state <> 'complete' AND expires_at > ?3"
        ))?
        .query_map(params![user_id, peer, now.as_micros()], from_row)?
        .collect()
}

/// Marks a session complete, on the factor that completed it.
///
/// # Errors
/// SQLite's.
pub fn complete(tx: &Tx<'_>, id: SessionId, factor_id: i64, expires_at: Time) -> rusqlite::Result<()> {
    tx.sql()
        .prepare_cached(
            "UPDATE sessions SET state = 'complete', base_factor = ?2, expires_at = ?3, connection = NULL WHERE id = ?1",
        )?
        .execute(params![id.to_string(), factor_id, expires_at.as_micros()])?;
    Ok(())
}

/// Which sessions to end.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// This one.
    One(SessionId),
    /// All of an account but this one.
    Others(i64, SessionId),
    /// All of an account.
    All(i64),
    /// Those of an account that wait for a code or enrolment.
    Waiting(i64),
    /// The oldest of an account beside the one in hand, so that at most so many stay with it.
    Oldest {
        /// Whose.
        user_id: i64,
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

/// Ends sessions; their pending factors go with them. Returns their names.
///
/// # Errors
/// SQLite's.
pub fn end(tx: &Tx<'_>, which: End) -> rusqlite::Result<Vec<SessionId>> {
    let sql = tx.sql();
    let id = |row: &Row<'_>| id_at(row, 0);
    match which {
        End::One(session) => sql
            .prepare_cached("DELETE FROM sessions WHERE id = ?1 RETURNING id")?
            .query_map([session.to_string()], id)?
            .collect(),
        End::Others(user_id, keep) => sql
            .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND id <> ?2 RETURNING id")?
            .query_map(params![user_id, keep.to_string()], id)?
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
                    in_hand.to_string(),
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
        id: id_at(row, 0)?,
        user_id: row.get(1)?,
        state,
        base_factor: row.get(3)?,
        created_at: Time::from_micros(row.get(4)?),
        expires_at: Time::from_micros(row.get(5)?),
        connection: row.get(6)?,
        opened_from: row.get(7)?,
    })
}

fn id_at(row: &Row<'_>, column: usize) -> rusqlite::Result<SessionId> {
    let text = row.get_ref(column)?.as_str().map_err(|e| conversion(column, e))?;
    text.parse().map_err(|e: NotASessionId| conversion(column, FromSqlError::Other(Box::new(e))))
}

fn conversion(column: usize, error: FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_survives_its_text_and_nothing_else_is_one() {
        let id = SessionId::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(SessionId(1).to_string().parse(), Ok(SessionId(1)));
        for text in ["", "1", "+0000000000000000000000000000001", "G0000000000000000000000000000001"] {
            assert_eq!(text.parse::<SessionId>(), Err(NotASessionId), "{text}");
        }
        assert_eq!(
            id.to_string().to_uppercase().parse::<SessionId>().is_ok(),
            id.to_string().bytes().all(|b| b.is_ascii_digit())
        );
        assert!(!format!("{id:?}").contains(&id.to_string()));
    }
}
