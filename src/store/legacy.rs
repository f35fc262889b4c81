//! The predecessor's database: `users(id, login, password_hash, secret)`, with SHA-256 in hex and base32 in the clear. It is
//! a file of SQLite whatever ours is, so its statements are for SQLite alone.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

use crate::model::ids::UserId;
use crate::model::login::LoginKey;
use crate::security::secret::SecretText;

/// A row of it. A value that is not text counts as missing.
pub(super) struct LegacyUser {
    pub(super) id: UserId,
    pub(super) login: String,
    pub(super) password_hash: SecretText,
    pub(super) secret: Option<SecretText>,
}

/// Whether the file is a database of the predecessor. Of a file that is no database it says no.
pub(super) fn is_legacy(path: &Path) -> rusqlite::Result<bool> {
    if !path.exists() {
        return Ok(false);
    }
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let read = || -> rusqlite::Result<bool> {
        let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let columns: Vec<String> = connection
            .prepare("SELECT name FROM pragma_table_info('users') ORDER BY cid")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(id == 0 && version == 0 && columns == ["id", "login", "password_hash", "secret"])
    };
    match read() {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => Ok(false),
        result => result,
    }
}

/// Every row, by id.
pub(super) fn users(connection: &Connection) -> rusqlite::Result<Vec<LegacyUser>> {
    connection
        .prepare("SELECT id, login, password_hash, secret FROM users ORDER BY id")?
        .query_map([], |row| {
            let text = |column: usize| -> rusqlite::Result<Option<String>> {
                Ok(match row.get_ref(column)? {
                    ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
                    _ => None,
                })
            };
            Ok(LegacyUser {
                id: UserId::from_number(row.get(0)?),
                login: text(1)?.unwrap_or_default(),
                password_hash: SecretText::new(text(2)?.unwrap_or_default()),
                secret: text(3)?.map(SecretText::new),
            })
        })?
        .collect()
}

/// The groups of logins that would be one today.
pub(super) fn clashes(users: &[LegacyUser]) -> Vec<Vec<String>> {
    // A login clashes by name or by look: both go into one map, so that a chain of the two becomes one group.
    let mut group_of: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Vec<String>> = Vec::new();
    for user in users {
        let key = LoginKey::from_text(&user.login);
        let names = [format!("n{}", key.name()), format!("l{}", key.look())];
        let found: Vec<usize> = names.iter().filter_map(|name| group_of.get(name)).copied().collect();
        let mut members = found.iter().flat_map(|group| groups.get_mut(*group).map(std::mem::take).unwrap_or_default());
        let mut merged: Vec<String> = members.by_ref().collect();
        drop(members);
        merged.push(format!("{:?} (id {})", user.login, user.id));
        groups.push(merged);
        let group = groups.len() - 1;
        group_of.values_mut().filter(|of| found.contains(of)).for_each(|of| *of = group);
        for name in names {
            group_of.insert(name, group);
        }
    }
    groups.retain(|group| group.len() > 1);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: i64, login: &str) -> LegacyUser {
        LegacyUser {
            id: UserId::from_number(id),
            login: login.into(),
            password_hash: SecretText::new(String::new()),
            secret: None,
        }
    }

    #[test]
    fn logins_that_would_be_one_are_listed_together_with_their_rows() {
        let users = [
            user(1, "Bob"),
            user(2, "lvan"),
            user(3, "ivan"),
            user(4, ""),
            user(5, "bob"),
            user(6, "eve"),
            user(7, ""),
        ];
        let groups = clashes(&users);
        assert_eq!(groups, [vec!["\"Bob\" (id 1)", "\"bob\" (id 5)"], vec!["\"\" (id 4)", "\"\" (id 7)"]]);
        // "Ivan" is "ivan" by name and "lvan" by look: it makes one group of the two.
        let chained = [user(1, "lvan"), user(2, "ivan"), user(3, "Ivan")];
        assert_eq!(clashes(&chained).concat().len(), 3);
        assert_eq!(clashes(&chained).len(), 1);
    }
}
