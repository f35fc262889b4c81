//! The audit: acts with their actor, subject, address and time. Rows are only ever added, and each is chained to the one before
//! ([`crate::security::chain`]).
//!
//! A chain whose last rows are cut off is still whole. So the head of the chain is kept in a file beside the database as
//! well, renewed after each commit and before any answer. After a crash right between the two it may be some rows behind,
//! never ahead.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use super::rows::AuditHead;
use super::sql::{DbError, Row, statements, values};
use super::tx::{ReadTx, Tx};
use crate::base::clock::Time;
use crate::base::durable;
use crate::security::chain::{Chain, ChainMac, START};

/// The name of the file that the head is kept in, in the data directory.
pub const HEAD_FILE_NAME: &str = "audit.head";

/// An act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The actor: a login, or `admin`.
    pub actor: String,
    /// What it is: a stable word.
    pub action: String,
    /// The login that it was done to.
    pub subject: String,
    /// The address that it came from, or nothing where that is not known.
    pub address: String,
    /// More about it, for people. No secrets.
    pub detail: String,
}

/// A row of the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number: 1, 2, 3 without a gap.
    pub id: i64,
    /// When.
    pub at: Time,
    /// The act.
    pub act: Act,
    mac: Vec<u8>,
}

impl AuditRow {
    fn holds(&self, chain: &Chain, before: &ChainMac) -> bool {
        fields(self.id, self.at, &self.act, |fields| chain.holds(before, fields, &self.mac))
    }
}

fn fields<T>(id: i64, at: Time, act: &Act, with: impl FnOnce(&[&[u8]]) -> T) -> T {
    let Act { actor, action, subject, address, detail } = act;
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

macro_rules! columns {
    () => {
        "id, at, actor, action, subject, address, detail, mac"
    };
}

statements! {
    LAST = "SELECT id, mac FROM audit ORDER BY id DESC LIMIT 1";
    APPEND = concat!("INSERT INTO audit (", columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    ANY = "SELECT EXISTS (SELECT 1 FROM audit)";
    ALL = concat!("SELECT ", columns!(), " FROM audit ORDER BY id");
}

/// Adds a row.
///
/// # Errors
/// The database's.
pub fn append(tx: &Tx<'_>, chain: &Chain, at: Time, act: &Act) -> Result<(), DbError> {
    let last: Option<(i64, Vec<u8>)> = tx.conn.first(LAST, values![], |row| Ok((row.get(0)?, row.get(1)?)))?;
    // A mac of the wrong length is not what was written: the row that follows it then shows that as well.
    let (last, before) = last.map_or((0, START), |(id, mac)| (id, mac.try_into().unwrap_or(START)));
    // Rows that were cut off behind our back leave a gap for good: nothing takes their numbers.
    let id = last.max(tx.kept_head().map_or(0, |head| head.id)).saturating_add(1);
    let mac = fields(id, at, act, |fields| chain.link(&before, fields));
    let Act { actor, action, subject, address, detail } = act;
    tx.conn.execute(APPEND, values![id, at, actor, action, subject, address, detail, mac.as_slice()])?;
    tx.audited(AuditHead { id, mac });
    Ok(())
}

/// Whether there is any row.
///
/// # Errors
/// The database's.
pub fn any(tx: &ReadTx<'_>) -> Result<bool, DbError> {
    tx.conn.one(ANY, values![], |row| row.get(0))
}

/// Something wrong with the chain.
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
/// The database's.
pub fn walk(
    tx: &ReadTx<'_>,
    chain: &Chain,
    head: Option<AuditHead>,
    mut each: impl FnMut(&AuditRow),
    mut found: impl FnMut(Finding),
) -> Result<(), DbError> {
    let (mut expected, mut before) = (1, START);
    tx.conn.each(ALL, values![], |row| {
        let row = from_row(row)?;
        if row.id > expected {
            found(Finding::Missing { from: expected, to: row.id.saturating_sub(1) });
        }
        // Behind a gap the row itself may be as it was written; that it does not follow the last one has been said.
        if row.id == expected && !row.holds(chain, &before) || row.id < expected {
            found(Finding::Changed { id: row.id });
        }
        before = row.mac.clone().try_into().unwrap_or(START);
        if head.is_some_and(|head| head.id == row.id && head.mac != before) {
            found(Finding::HeadDiffers { id: row.id });
        }
        expected = row.id.saturating_add(1);
        each(&row);
        Ok(())
    })?;
    match head {
        Some(head) if head.id >= expected => found(Finding::Missing { from: expected, to: head.id }),
        None if expected > 1 => found(Finding::HeadMissing),
        _ => {}
    }
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<AuditRow, DbError> {
    Ok(AuditRow {
        id: row.get(0)?,
        at: row.get(1)?,
        act: Act {
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
    pub fn read(&self) -> Option<AuditHead> {
        let text = fs::read_to_string(&self.path).ok()?;
        let (id, mac) = text.trim_end().split_once(' ')?;
        let mac = data_encoding::HEXLOWER.decode(mac.as_bytes()).ok()?;
        Some(AuditHead { id: id.parse().ok()?, mac: mac.try_into().ok()? })
    }

    /// Keeps a head in place of the last one, for good.
    pub(super) fn write(&self, head: AuditHead) -> io::Result<()> {
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

    fn lock_of(subject: &str) -> Act {
        Act {
            actor: "admin".into(),
            action: "user.lock".into(),
            subject: subject.into(),
            address: String::new(),
            detail: String::new(),
        }
    }

    fn append_to(store: &Store, subject: &str) {
        let act = lock_of(subject);
        let append = move |tx: &Tx<'_>| Ok::<_, StoreError>(append(tx, &chain(), Time::from_secs(7), &act)?);
        store.write(append).unwrap();
    }

    fn chain() -> Chain {
        Chain::new(&SecretBytes::new(vec![7; 32]))
    }

    /// The findings after an attacker with the file did `change` to a chain of five rows.
    fn found_after(change: &str) -> Vec<Finding> {
        let (dir, store) = store();
        for n in 0..5 {
            append_to(&store, &format!("user{n}"));
        }
        let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
        connection.execute_batch(change).unwrap();
        let mut found = Vec::new();
        let head = HeadFile::in_directory(dir.path()).read();
        assert_eq!(head.unwrap().id, 5);
        store.read(|tx| walk(tx, &chain(), head, |_| (), |finding| found.push(finding))).unwrap();
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
        let connection = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
        connection.execute_batch("DELETE FROM audit WHERE id > 1").unwrap();
        append_some();
        let mut found = Vec::new();
        let head = HeadFile::in_directory(dir.path()).read();
        store.read(|tx| walk(tx, &chain(), head, |_| (), |finding| found.push(finding))).unwrap();
        assert_eq!(found, [Finding::Missing { from: 2, to: 3 }]);
    }

    #[test]
    fn a_missing_head_is_found_and_one_that_a_crash_left_behind_is_not() {
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
