//! The schema, as a ladder of numbered steps. A step that was released is never changed: add another.

use std::path::Path;

use rusqlite::Connection;
use rusqlite_migration::{M, Migrations, SchemaVersion};

use super::error::OpenError;

/// Says "a database of otpchatd" in the file's header ("otpc").
const APPLICATION_ID: i32 = 0x6f74_7063;

/// Step 1. Every id is given once and never again (`AUTOINCREMENT`). Times are microseconds since the Unix epoch.
const STEP_1: &str = "
CREATE TABLE users (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    login          TEXT NOT NULL,          -- as shown
    login_key      TEXT NOT NULL UNIQUE,   -- as looked up: without case and look-alikes
    login_look     TEXT NOT NULL UNIQUE,   -- as it looks when written
    password_hash  TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    enrolled_at    INTEGER,                -- first time that a second factor was confirmed
    awaits_admin   INTEGER NOT NULL DEFAULT 0,
    registered_on  TEXT                    -- the connection that registered it, while it may enrol without a token
) STRICT;
CREATE INDEX users_unenrolled ON users(created_at) WHERE enrolled_at IS NULL AND awaits_admin = 0;

CREATE TABLE sessions (
    id             TEXT PRIMARY KEY,
    user_id        INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    state          TEXT NOT NULL CHECK (state IN ('needs_code', 'needs_enrolment', 'complete')),
    base_factor    INTEGER,                -- the active factor when it opened: what an enrolment of it may replace
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    connection     TEXT                    -- where it was opened, for clients that send no token with their code
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions(user_id, created_at);
CREATE INDEX sessions_by_expiry ON sessions(expires_at);

CREATE TABLE second_factors (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id        INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    session_id     TEXT REFERENCES sessions(id) ON DELETE CASCADE, -- whose pending factor it is; none: the account's
    state          TEXT NOT NULL CHECK (state IN ('pending', 'active')),
    key_id         TEXT NOT NULL,
    sealed         BLOB NOT NULL,
    last_step      INTEGER NOT NULL DEFAULT -1,
    created_at     INTEGER NOT NULL,
    CHECK (state = 'pending' OR session_id IS NULL)
) STRICT;
CREATE UNIQUE INDEX one_active_factor ON second_factors(user_id) WHERE state = 'active';
CREATE UNIQUE INDEX one_pending_factor_per_account ON second_factors(user_id)
    WHERE state = 'pending' AND session_id IS NULL;
CREATE UNIQUE INDEX one_pending_factor_per_session ON second_factors(session_id) WHERE session_id IS NOT NULL;
CREATE INDEX factors_of_user ON second_factors(user_id);

CREATE TABLE messages (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id        INTEGER NOT NULL,       -- stays when the user goes
    author         TEXT NOT NULL,
    text           TEXT NOT NULL,
    sent_at        INTEGER NOT NULL
) STRICT;
";

/// Step 2: who gets in.
const STEP_2: &str = "
-- The budget of wrong codes, as the time when it is whole again; and the growing delay.
ALTER TABLE users ADD COLUMN guesses_whole_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN wrong_in_row     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN guess_not_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN wrong_since_login INTEGER NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN last_login_at    INTEGER;
ALTER TABLE users ADD COLUMN locked_at        INTEGER;  -- by the administrator
ALTER TABLE sessions ADD COLUMN opened_from   TEXT;     -- an address, where it is known

-- Keys that stay when the sealing key is replaced.
CREATE TABLE inner_keys (
    name           TEXT PRIMARY KEY,
    key_id         TEXT NOT NULL,
    sealed         BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE one_time_codes (
    hash           BLOB PRIMARY KEY,
    user_id        INTEGER NOT NULL REFERENCES users(id) ON DELETE CASCADE,
    purpose        TEXT NOT NULL CHECK (purpose IN ('recovery', 'enrolment')),
    expires_at     INTEGER                 -- none: good until it is used or void
) STRICT, WITHOUT ROWID;
CREATE INDEX codes_of_user ON one_time_codes(user_id, purpose);
CREATE INDEX codes_by_expiry ON one_time_codes(expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE invitations (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    hash           BLOB NOT NULL UNIQUE,
    note           TEXT NOT NULL,          -- whom it is for, in the administrator's words
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL
) STRICT;
CREATE INDEX invitations_by_expiry ON invitations(expires_at);

-- Logins of enrolled accounts that are no more: never given out again.
CREATE TABLE retired_logins (
    user_id        INTEGER PRIMARY KEY,
    login_key      TEXT NOT NULL UNIQUE,
    login_look     TEXT NOT NULL UNIQUE
) STRICT;

-- Whose messages are still to be renamed or deleted, and up to where that has been done.
CREATE TABLE departures (
    user_id        INTEGER PRIMARY KEY,
    after_message  INTEGER NOT NULL,
    last_message   INTEGER NOT NULL
) STRICT;

-- Append only. Each row's mac covers the one before.
CREATE TABLE audit (
    id             INTEGER PRIMARY KEY,
    at             INTEGER NOT NULL,
    actor          TEXT NOT NULL,
    action         TEXT NOT NULL,
    subject        TEXT NOT NULL,
    address        TEXT NOT NULL,
    detail         TEXT NOT NULL,
    mac            BLOB NOT NULL
) STRICT;
";

/// Step 3: nothing acknowledged is lost, or stored twice.
const STEP_3: &str = "
ALTER TABLE messages ADD COLUMN client_id TEXT;            -- the sender's own id of it
CREATE UNIQUE INDEX messages_by_client_id ON messages(user_id, client_id) WHERE client_id IS NOT NULL;

-- The ids of messages that were purged while their senders may still send them again.
CREATE TABLE purged_client_ids (
    user_id        INTEGER NOT NULL,
    client_id      TEXT NOT NULL,
    message_id     INTEGER NOT NULL,
    sent_at        INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX purged_client_ids_by_time ON purged_client_ids(sent_at);

-- Up to which message everything was purged. One row.
CREATE TABLE purged (
    one            INTEGER PRIMARY KEY CHECK (one = 1),
    through        INTEGER NOT NULL
) STRICT;
INSERT INTO purged VALUES (1, 0);
";

const STEPS: &[M<'static>] = &[M::up(STEP_1), M::up(STEP_2), M::up(STEP_3)];

/// The whole ladder as PostgreSQL has it: the same steps with its names for the types, and without SQLite's table options.
pub fn schema_for_postgresql() -> String {
    // The longer names first.
    const REPLACEMENTS: [(&str, &str); 5] = [
        ("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
        ("INTEGER", "BIGINT"),
        ("BLOB", "BYTEA"),
        (") STRICT, WITHOUT ROWID;", ");"),
        (") STRICT;", ");"),
    ];
    let steps = [STEP_1, STEP_2, STEP_3].concat();
    REPLACEMENTS.into_iter().fold(steps, |text, (ours, theirs)| text.replace(ours, theirs))
}

const LADDER: Migrations<'static> = Migrations::from_slice(STEPS);

/// Refuses a file that is not a database, or is one of another program. Writes nothing.
pub(super) fn check_ours(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let foreign = || OpenError::Foreign { path: path.to_owned() };
    let read = || -> rusqlite::Result<(i32, i64)> {
        let id = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((id, tables))
    };
    match read() {
        Ok((APPLICATION_ID, _) | (0, 0)) => Ok(()),
        Ok(_) => Err(foreign()),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => Err(foreign()),
        Err(source) => Err(OpenError::Database { path: path.to_owned(), source: source.into() }),
    }
}

/// Climbs the ladder to its top.
pub(super) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let migration =
        |source: rusqlite_migration::Error| OpenError::Migration { path: path.to_owned(), source: source.into() };
    if let SchemaVersion::Outside(_) = LADDER.current_version(connection).map_err(migration)? {
        return Err(OpenError::Newer { path: path.to_owned() });
    }
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(|source| OpenError::Database { path: path.to_owned(), source: source.into() })?;
    LADDER.to_latest(connection).map_err(migration)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Time;
    use crate::model::ids::Cursor;
    use crate::store::sqlite::read_in;
    use crate::store::{factors, guesses, messages, sessions, users};

    #[test]
    fn every_step_of_the_ladder_is_valid_sql() {
        LADDER.validate().unwrap();
    }

    #[test]
    fn what_the_first_version_kept_is_kept_by_every_later_one() {
        let mut connection = Connection::open_in_memory().unwrap();
        LADDER.to_version(&mut connection, 1).unwrap();
        connection
            .execute_batch(
                "INSERT INTO users VALUES (7, 'user1', 'userl', 'userl', 'hash', 1, 2, 0, NULL);
                 INSERT INTO sessions VALUES ('0123456789abcdef0123456789abcdef', 7, 'complete', 3, 4, 5, NULL);
                 INSERT INTO second_factors VALUES (3, 7, NULL, 'active', 'id', x'00', 9, 10);
                 INSERT INTO messages VALUES (11, 7, 'user1', 'text', 12);",
            )
            .unwrap();
        LADDER.to_latest(&mut connection).unwrap();
        let now = Time::from_micros(4);
        let limits =
            guesses::GuessLimits { budget: 30, refill: Duration::from_secs(1), longest_delay: Duration::from_secs(1) };
        read_in(&connection, |tx| {
            let user = users::all(tx)?.remove(0);
            assert_eq!((user.id.number(), user.login.as_str()), (7, "user1"));
            assert_eq!((user.locked_at, user.last_login_at), (None, None));
            assert_eq!(sessions::live_of(tx, user.id, now)?[0].opened_from, None);
            assert_eq!(factors::active(tx, user.id)?.unwrap().last_step, 9);
            assert_eq!(messages::after(tx, Cursor::START, 9)?[0].text, "text");
            assert_eq!(guesses::left(tx, user.id, &limits, now)?, 30);
            Ok(())
        })
        .unwrap();
    }
}
