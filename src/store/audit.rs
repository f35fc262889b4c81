//! The audit: who did what, from where, and when. Rows are only ever added, and each is chained to the one before
//! ([`crate::security::chain`]).
//!
//! Rows that are cut off at the end leave a chain that is whole. So the head of the chain is kept in a file beside the
//! database as well, renewed after each commit and before anybody is answered. After a crash right between the two it may be
//! some rows behind, never ahead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::writer::Tx;
use crate::base::clock::Time;
use crate::base::durable;
use crate::security::chain::{Chain, ChainMac, START};

/// The name of the file that the head is kept in, in the data directory.
pub const HEAD_FILE_NAME: &str = "audit.head";

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Who did it: a login, or `admin`.
    pub actor: String,
    /// What: a stable word.
    pub action: String,
    /// To whom or what: a login.
    pub subject: String,
    /// From where: an address, or nothing where that is not known.
    pub address: String,
    /// More about it, for people. No secrets.
    pub detail: String,
}

/// A row of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: 1, 2, 3 without a gap.
    pub id: i64,
    /// When.
    pub at: Time,
    /// What happened.
    pub event: Event,
    mac: Vec<u8>,
}

impl Entry {
    fn holds(&self, chain: &Chain, before: &ChainMac) -> bool {
        fields(self.id, self.at, &self.event, |fields| chain.holds(before, fields, &self.mac))
    }
}

fn fields<T>(id: i64, at: Time, event: &Event, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    let Event { actor, action, subject, address, detail } = event;
    with(&[
        &id.to_be_bytes(),
        &at.as_micros().to_be_bytes(),
        actor.as_bytes(),
        action.as_bytes(),
        subject.as_bytes(),
        address.as_bytes(),
        detail.as_bytes(),
    ])
}

/// The last row of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub id: i64,
    /// Its MAC.
    pub mac: ChainMac,
}

const COLUMNS: &str = "id, at, actor, action, subject, address, detail, mac";

/// Adds a row.
///
/// # Errors
/// SQLite's.
pub fn append(tx: &Tx<'_>, chain: &Chain, at: Time, event: &Event) -> rusqlite::Result<()> {
    let last = tx
        .sql()
        .prepare_cached("SELECT id, mac FROM audit ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    // A mac of the wrong length is not what was written: the row that follows it then shows that as well.
    let (last, before) = last.map_or((0, START), |(id, mac)| (id, mac.try_into().unwrap_or(START)));
    // Rows that were cut off behind our back leave a gap for good: nothing takes their numbers.
    let id = last.max(tx.kept_head().map_or(0, |head| head.id)).saturating_add(1);
    let mac = fields(id, at, event, |fields| chain.link(&before, fields));
    let Event { actor, action, subject, address, detail } = event;
    tx.sql()
        .prepare_cached(&format!("INSERT INTO audit ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"))?
        .execute(params![id, at.as_micros(), actor, action, subject, address, detail, mac])?;
    tx.audited(Head { id, mac });
    Ok(())
}

/// Whether there is any row.
///
/// # Errors
/// SQLite's.
pub fn any(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM audit)", [], |row| row.get(0))
}

/// What a look at the whole chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A row was changed, or one before it was taken out or put in.
    Changed {
        /// Its number.
        id: i64,
    },
    /// Rows are missing, from this number to that.
    Missing {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// The row that the head file names is another one.
    HeadDiffers {
        /// Its number.
        id: i64,
    },
    /// There are rows, but no head file, or none that can be read: rows may have been cut off at the end.
    HeadMissing,
}

/// Looks at every row in turn: `each` is given it, and every finding goes to `found`.
///
/// # Errors
/// SQLite's.
pub fn walk(
    connection: &Connection,
    chain: &Chain,
    head: Option<Head>,
    mut each: impl FnMut(&Entry),
    mut found: impl FnMut(Finding),
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM audit ORDER BY id"))?;
    let mut rows = statement.query([])?;
    let (mut expected, mut before) = (1, START);
    while let Some(row) = rows.next()? {
        let entry = from_row(row)?;
        if entry.id > expected {
            found(Finding::Missing { from: expected, to: entry.id.saturating_sub(1) });
        }
        // Behind a gap the row itself may be as it was written; that it does not follow the last one has been said.
        if entry.id == expected && !entry.holds(chain, &before) || entry.id < expected {
            found(Finding::Changed { id: entry.id });
        }
        before = entry.mac.clone().try_into().unwrap_or(START);
        if head.is_some_and(|head| head.id == entry.id && head.mac != before) {
            found(Finding::HeadDiffers { id: entry.id });
        }
        expected = entry.id.saturating_add(1);
        each(&entry);
    }
    match head {
        Some(head) if head.id >= expected => found(Finding::Missing { from: expected, to: head.id }),
        None if expected > 1 => found(Finding::HeadMissing),
        _ => {}
    }
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        id: row.get(0)?,
        at: Time::from_micros(row.get(1)?),
        event: Event {
            actor: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            address: row.get(5)?,
            detail: row.get(6)?,
        },
        mac: row.get(7)?,
    })
}

/// The file that the head of the chain is kept in.
#[derive(Debug)]
pub struct HeadFile {
    path: PathBuf,
}

impl HeadFile {
    /// In a data directory.
    pub fn in_directory(data_dir: &Path) -> HeadFile {
        HeadFile { path: data_dir.join(HEAD_FILE_NAME) }
    }

    /// The head that is kept; `None` if there is none, or none that can be read.
    pub fn read(&self) -> Option<Head> {
        let text = fs::read_to_string(&self.path).ok()?;
        let (id, mac) = text.trim_end().split_once(' ')?;
        let mac = data_encoding::HEXLOWER.decode(mac.as_bytes()).ok()?;
        Some(Head { id: id.parse().ok()?, mac: mac.try_into().ok()? })
    }

    /// Keeps a head in place of the last one, for good.
    pub(super) fn write(&self, head: Head) -> io::Result<()> {
        let line = format!("{} {}\n", head.id, data_encoding::HEXLOWER.encode(&head.mac));
        durable::replace(&self.path, line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::store;
    use super::super::{FILE_NAME, Store, StoreError};
    use super::*;
    use crate::security::secret::SecretBytes;

    fn lock_of(subject: &str) -> Event {
        Event {
            actor: "admin".into(),
            action: "user.lock".into(),
            subject: subject.into(),
            address: String::new(),
            detail: String::new(),
        }
    }

    fn append_to(store: &Store, subject: &str) {
        let event = lock_of(subject);
        let append = move |tx: &Tx<'_>| Ok::<_, StoreError>(append(tx, &chain(), Time::from_secs(7), &event)?);
        store.write(append).unwrap();
    }

    fn chain() -> Chain {
        Chain::new(&SecretBytes::new(vec![7; 32]))
    }

    /// What is found after `change` was done to a chain of five rows, by somebody who has the file.
    fn found_after(change: &str) -> Vec<Finding> {
        let (dir, store) = store();
        for n in 0..5 {
            append_to(&store, &format!("user{n}"));
        }
        let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        connection.execute_batch(change).unwrap();
        let mut found = Vec::new();
        let head = HeadFile::in_directory(dir.path()).read();
        assert_eq!(head.unwrap().id, 5);
        walk(&connection, &chain(), head, |_| (), |finding| found.push(finding)).unwrap();
        found
    }

    #[test]
    fn an_untouched_chain_is_whole() {
        assert_eq!(found_after(""), []);
    }

    #[test]
    fn a_changed_removed_added_or_cut_off_row_is_found_and_named() {
        use Finding::{Changed, HeadDiffers, Missing};
        assert_eq!(found_after("UPDATE audit SET subject = 'x' WHERE id = 3"), [Changed { id: 3 }]);
        assert_eq!(found_after("UPDATE audit SET at = at + 1 WHERE id = 1"), [Changed { id: 1 }]);
        assert_eq!(found_after("UPDATE audit SET mac = x'00' WHERE id = 2"), [Changed { id: 2 }, Changed { id: 3 }]);
        assert_eq!(found_after("DELETE FROM audit WHERE id = 2"), [Missing { from: 2, to: 2 }]);
        assert_eq!(found_after("DELETE FROM audit WHERE id = 1"), [Missing { from: 1, to: 1 }]);
        assert_eq!(found_after("DELETE FROM audit WHERE id > 3"), [Missing { from: 4, to: 5 }]);
        assert_eq!(found_after("DELETE FROM audit"), [Missing { from: 1, to: 5 }]);
        let renumbered = "DELETE FROM audit WHERE id = 2; UPDATE audit SET id = id - 1 WHERE id > 2;";
        assert_eq!(
            found_after(renumbered),
            [Changed { id: 2 }, Changed { id: 3 }, Changed { id: 4 }, Missing { from: 5, to: 5 }]
        );
        let added =
            "INSERT INTO audit SELECT 6, at, actor, action, subject, address, detail, mac FROM audit WHERE id = 5";
        assert_eq!(found_after(added), [Changed { id: 6 }]);
        let swapped = "UPDATE audit SET id = 60 WHERE id = 4; UPDATE audit SET id = 4 WHERE id = 5;
                       UPDATE audit SET id = 5 WHERE id = 60;";
        assert_eq!(found_after(swapped), [Changed { id: 4 }, Changed { id: 5 }, HeadDiffers { id: 5 }]);
    }

    #[test]
    fn rows_that_were_cut_off_are_still_missed_when_more_have_come() {
        let (dir, store) = store();
        let append_some = || (0..3).for_each(|n| append_to(&store, &format!("user{n}")));
        append_some();
        let connection = Connection::open(dir.path().join(FILE_NAME)).unwrap();
        connection.execute_batch("DELETE FROM audit WHERE id > 1").unwrap();
        append_some();
        let mut found = Vec::new();
        let head = HeadFile::in_directory(dir.path()).read();
        walk(&connection, &chain(), head, |_| (), |finding| found.push(finding)).unwrap();
        assert_eq!(found, [Finding::Missing { from: 2, to: 3 }]);
    }

    #[test]
    fn a_missing_head_is_noticed_and_a_crash_before_it_was_renewed_is_not_held_against_anybody() {
        let (dir, store) = store();
        let file = HeadFile::in_directory(dir.path());
        let mut heads = Vec::new();
        for _ in 0..2 {
            append_to(&store, "x");
            heads.push(file.read().unwrap());
        }
        let found = |head| {
            let mut found = Vec::new();
            store.read(|c| walk(c, &chain(), head, |_| (), |finding| found.push(finding))).unwrap();
            found
        };
        assert_eq!(found(Some(heads[0])), [], "one behind");
        assert_eq!(found(None), [Finding::HeadMissing]);
        for rubbish in ["", "5", "x y", "1 00", "\u{0}"] {
            fs::write(dir.path().join(HEAD_FILE_NAME), rubbish).unwrap();
            assert_eq!(file.read(), None, "{rubbish:?}");
        }
    }
}
