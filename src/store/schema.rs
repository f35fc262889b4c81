//! The schema, as a ladder of numbered steps. A step that was released is never changed: add another.

use std::path::Path;
use std::sync::LazyLock;

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

/// Step 2: guesses, one-time codes, keys, the audit.
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

/// Step 4: messages become events of one log. The numbers are as they were. A table of ten million rows is looked through
/// once for each new column (SQLite checks a STRICT table), which takes seconds; no row is written.
const STEP_4: &str = "
ALTER TABLE messages RENAME TO events;
ALTER TABLE events ADD COLUMN kind   TEXT NOT NULL DEFAULT 'message';
ALTER TABLE events ADD COLUMN room   INTEGER DEFAULT 1;  -- the common room; none: the event is for a person only
ALTER TABLE events ADD COLUMN person INTEGER;            -- the person whom it is for, beside the room or alone

-- The last number that was given in each sequence.
CREATE TABLE lanes (
    name           TEXT PRIMARY KEY,
    last           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO lanes SELECT 'log', coalesce(max(id), 0) FROM events;

-- Each room: how many messages it holds, and up to which event everything in it was purged.
CREATE TABLE room_logs (
    room           INTEGER PRIMARY KEY,
    stored         INTEGER NOT NULL,
    purged_through INTEGER NOT NULL
) STRICT;
INSERT INTO room_logs SELECT 1, (SELECT count(*) FROM events), through FROM purged;
DROP TABLE purged;
";

/// Behind step 4, on SQLite alone: no number is given again, also where the last messages were deleted. PostgreSQL never had a
/// table of this schema before step 4.
const STEP_4_SQLITE: &str = "
UPDATE lanes SET last = max(last, coalesce((SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'), 0))
";

static LADDER: LazyLock<Migrations<'static>> = LazyLock::new(|| {
    let number_on = |transaction: &rusqlite::Transaction<'_>| Ok(transaction.execute_batch(STEP_4_SQLITE)?);
    Migrations::new(vec![M::up(STEP_1), M::up(STEP_2), M::up(STEP_3), M::up_with_hook(STEP_4, number_on)])
});

/// How much room the steps of the ladder may take on the disk, the write-ahead log included. They write a few pages.
const ROOM_FOR_STEPS: u64 = 4 << 20;

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
    let steps = [STEP_1, STEP_2, STEP_3, STEP_4].concat();
    REPLACEMENTS.into_iter().fold(steps, |text, (ours, theirs)| text.replace(ours, theirs))
}

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

/// Climbs the ladder to its top: all steps that are missing in one transaction, so that an interruption leaves the database as
/// it was, and the next start begins anew.
pub(super) fn bring_up_to_date(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let migration =
        |source: rusqlite_migration::Error| OpenError::Migration { path: path.to_owned(), source: source.into() };
    match LADDER.current_version(connection).map_err(migration)? {
        SchemaVersion::Outside(_) => return Err(OpenError::Newer { path: path.to_owned() }),
        version if LADDER.pending_migrations(connection).map_err(migration)? > 0 => {
            check_room(path)?;
            if let SchemaVersion::Inside(version) = version {
                log::info!("the schema of {}, version {version}, is brought up to date", path.display());
            }
        }
        _ => {}
    }
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(|source| OpenError::Database { path: path.to_owned(), source: source.into() })?;
    LADDER.to_latest(connection).map_err(migration)
}

/// Whether the disk has room for the steps.
fn check_room(path: &Path) -> Result<(), OpenError> {
    let io = |error: rustix::io::Errno| OpenError::Io { path: path.to_owned(), source: error.into() };
    let disk = rustix::fs::statvfs(path).map_err(io)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < ROOM_FOR_STEPS {
        return Err(OpenError::NoRoom { path: path.to_owned(), needed: ROOM_FOR_STEPS, free });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::clock::Time;
    use crate::model::event::{Audience, Event, EventKind};
    use crate::model::ids::{Cursor, RoomId};
    use crate::store::sqlite::read_in;
    use crate::store::{
        DirectoryLock, FILE_NAME, NewEvent, ReadTx, Store, StoreError, Tx, events, factors, guesses, messages,
        sessions, testing, users,
    };

    #[test]
    fn every_step_of_the_ladder_is_valid_sql() {
        LADDER.validate().unwrap();
    }

    /// A database of version 3 in a file, with messages of two authors, the last of which was deleted, and 5 purged.
    fn version_3(path: &Path) {
        let mut connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        LADDER.to_version(&mut connection, 3).unwrap();
        connection
            .execute_batch(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
                 INSERT INTO messages (user_id, author, text, sent_at, client_id)
                     SELECT i % 2, 'user' || (i % 2), 'text ' || i, i, CASE WHEN i % 3 = 0 THEN 'c' || i END FROM n;
                 DELETE FROM messages WHERE id = 1000 OR id <= 5;
                 UPDATE purged SET through = 5;",
            )
            .unwrap();
    }

    fn open(directory: &Path) -> Store {
        let followers = |_: Vec<Event>| ();
        let lock = DirectoryLock::take(directory).unwrap();
        Store::open(directory, lock, &testing::limits(), Box::new(followers)).unwrap()
    }

    fn check_upgraded(store: &Store) {
        let events = store.read(|tx| events::after(tx, Cursor::START, 2_000)).unwrap();
        let ids: Vec<i64> = events.iter().map(|event| event.id.to_db()).collect();
        assert_eq!(ids, (6..1000).collect::<Vec<_>>(), "every message has its number");
        let first = events.first().unwrap();
        assert_eq!((first.kind, first.audience), (EventKind::Message, Audience::Room(RoomId::COMMON)));
        assert_eq!((first.author_id.number(), first.author.as_str(), first.text.as_str()), (0, "user0", "text 6"));
        let read = |tx: &ReadTx<'_>| {
            let purged = messages::purged_through(tx, RoomId::COMMON)?;
            Ok((tx.last_event_id()?.to_db(), tx.messages_stored(RoomId::COMMON)?, purged.to_db()))
        };
        assert_eq!(store.read(read).unwrap(), (1000, 994, 5));
        let appended = store.append_and_wait(testing::new_message(&testing::account(store, "new"), "x")).unwrap();
        assert_eq!(appended.id.to_db(), 1001, "the number of the deleted message is not given again");
    }

    #[test]
    fn messages_of_version_3_become_events_with_their_numbers() {
        let directory = tempfile::tempdir().unwrap();
        version_3(&directory.path().join(FILE_NAME));
        check_upgraded(&open(directory.path()));
        let store = open(directory.path());
        assert_eq!(store.read(|tx| tx.messages_stored(RoomId::COMMON)).unwrap(), 995, "a second start changes nothing");
    }

    #[test]
    fn where_every_message_of_version_3_was_purged_numbers_the_mark_and_the_senders_ids_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        version_3(&path);
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "INSERT INTO purged_client_ids SELECT user_id, client_id, id, sent_at FROM messages
                     WHERE client_id IS NOT NULL;
                 DELETE FROM messages; UPDATE purged SET through = 999;",
            )
            .unwrap();
        drop(connection);
        let store = open(directory.path());
        let author = testing::account(&store, "new");
        let user_id = author.session.user_id.number();
        let give = move |tx: &Tx<'_>| {
            tx.conn.batch(&format!("UPDATE purged_client_ids SET user_id = {user_id} WHERE client_id = 'c999'"))
        };
        store.write(move |tx| Ok::<_, StoreError>(give(tx)?)).unwrap();
        let read = |tx: &ReadTx<'_>| {
            let purged = messages::purged_through(tx, RoomId::COMMON)?;
            Ok((tx.last_event_id()?.to_db(), tx.messages_stored(RoomId::COMMON)?, purged.to_db()))
        };
        assert_eq!(store.read(read).unwrap(), (1000, 0, 999));
        let send = |client_id: &str| {
            let new = NewEvent { client_id: Some(client_id.into()), ..testing::new_message(&author, "x") };
            store.append_and_wait(new).unwrap().id.to_db()
        };
        assert_eq!((send("c999"), send("c1002")), (999, 1001));
    }

    #[test]
    fn a_start_that_is_killed_in_the_middle_of_a_step_is_begun_anew_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        version_3(&path);
        // What a process leaves that is killed before its commit, its pages already in the write-ahead log.
        let killed = tempfile::tempdir().unwrap();
        let mut connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "cache_size", 1).unwrap();
        connection.pragma_update(None, "cache_spill", 1).unwrap();
        let transaction = connection.transaction().unwrap();
        transaction.execute_batch(STEP_4).unwrap();
        transaction.execute_batch("UPDATE events SET text = hex(zeroblob(2000))").unwrap();
        for file in std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&file, killed.path().join(file.file_name().unwrap())).unwrap();
        }
        drop(transaction);
        drop(connection);
        let log = std::fs::metadata(killed.path().join(format!("{FILE_NAME}-wal"))).unwrap().len();
        assert!(log > 50_000, "{log} bytes were on their way");
        check_upgraded(&open(killed.path()));
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
            assert_eq!(events::after(tx, Cursor::START, 9)?[0].text, "text");
            assert_eq!(guesses::left(tx, user.id, &limits, now)?, 30);
            Ok(())
        })
        .unwrap();
    }
}
