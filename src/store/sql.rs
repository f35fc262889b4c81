//! The database as the tables see it: statements, values, rows and errors. Code against it runs on SQLite and on PostgreSQL.
//!
//! A statement is declared once, with [`statements`], which lists it as well: a test prepares every listed one on both
//! engines. Parameters are `?1`, `?2` (PostgreSQL: `$1`, `$2`).

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, ToSql, ffi};

use crate::base::clock::Time;
use crate::model::ids::{Cursor, EventId, FactorId, RoomId, SessionId, UserId};

/// A statement that both engines run as it is written.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    name: &'static str,
    text: &'static str,
}

impl Sql {
    /// For [`statements`] only: a statement that it does not list is prepared by no test.
    pub(super) const fn listed(name: &'static str, text: &'static str) -> Sql {
        Sql { name, text }
    }

    /// Its module and name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Its text, with parameters as SQLite has them.
    pub const fn text(self) -> &'static str {
        self.text
    }
}

/// Declares the statements of a table, and lists them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => {
        $(
            $(#[$doc])*
            const $name: $crate::store::sql::Sql =
                $crate::store::sql::Sql::listed(concat!(module_path!(), "::", stringify!($name)), $text);
        )+

        /// Every statement of the table.
        pub(super) const STATEMENTS: &[$crate::store::sql::Sql] = &[$($name),+];
    };
}

/// The values of a statement's parameters.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::Value::from($value)),*] };
}

pub(super) use {statements, values};

/// A value of a parameter or a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    Bytes(&'a [u8]),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Integer(number)
    }
}

/// Types whose values are one number in the database.
macro_rules! integers {
    ($($of:ty: $number:expr;)+) => { $( impl From<$of> for Value<'_> {
        fn from(value: $of) -> Self {
            Value::Integer($number(value))
        }
    } )+ };
}

integers! {
    bool: i64::from;
    u32: i64::from;
    Time: Time::as_micros;
    UserId: UserId::number;
    FactorId: FactorId::number;
    RoomId: RoomId::number;
    EventId: EventId::to_db;
    Cursor: Cursor::to_db;
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Text(Cow::Borrowed(text))
    }
}

impl From<SessionId> for Value<'_> {
    fn from(id: SessionId) -> Self {
        Value::Text(Cow::Owned(id.to_string()))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Value::Bytes(bytes)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, T::into)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// A type that a column may be read as.
pub(super) trait FromValue: Sized {
    /// `None` if the value is of another type, or out of range.
    fn from_value(value: &Value<'_>) -> Option<Self>;
}

/// Types that are read from a number.
macro_rules! from_integers {
    ($($of:ty: $from:expr;)+) => { $( impl FromValue for $of {
        fn from_value(value: &Value<'_>) -> Option<$of> {
            match value {
                Value::Integer(number) => $from(*number),
                _ => None,
            }
        }
    } )+ };
}

from_integers! {
    i64: Some;
    u32: |number| u32::try_from(number).ok();
    bool: |number| Some(number != 0);
    Time: |number| Some(Time::from_micros(number));
    UserId: |number| Some(UserId::from_number(number));
    FactorId: |number| Some(FactorId::from_number(number));
    RoomId: |number| Some(RoomId::from_number(number));
    EventId: |number| EventId::from_db(number).ok();
    Cursor: |number| Cursor::from_db(number).ok();
}

impl FromValue for String {
    fn from_value(value: &Value<'_>) -> Option<String> {
        match value {
            Value::Text(text) => Some(text.clone().into_owned()),
            _ => None,
        }
    }
}

impl FromValue for SessionId {
    fn from_value(value: &Value<'_>) -> Option<SessionId> {
        match value {
            Value::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value<'_>) -> Option<Vec<u8>> {
        match value {
            Value::Bytes(bytes) => Some(bytes.to_vec()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value<'_>) -> Option<Option<T>> {
        match value {
            Value::Null => Some(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// A row of an answer.
pub(super) struct Row<'r> {
    row: &'r rusqlite::Row<'r>,
    sql: Sql,
}

impl Row<'_> {
    /// A column, counted from 0.
    pub(super) fn get<T: FromValue>(&self, column: usize) -> Result<T, DbError> {
        T::from_value(&self.value(column)?).ok_or_else(|| self.unreadable(column))
    }

    /// A column whose text is one of a few words.
    pub(super) fn word<T>(&self, column: usize, read: impl FnOnce(&str) -> Option<T>) -> Result<T, DbError> {
        match self.value(column)? {
            Value::Text(text) => read(&text).ok_or_else(|| self.unreadable(column)),
            _ => Err(self.unreadable(column)),
        }
    }

    fn value(&self, column: usize) -> Result<Value<'_>, DbError> {
        Ok(match self.row.get_ref(column)? {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => Value::Integer(number),
            ValueRef::Text(text) => {
                Value::Text(Cow::Borrowed(std::str::from_utf8(text).map_err(|_| self.unreadable(column))?))
            }
            ValueRef::Blob(bytes) => Value::Bytes(bytes),
            ValueRef::Real(_) => return Err(self.unreadable(column)),
        })
    }

    /// The error for a column that holds what cannot be.
    pub(super) fn unreadable(&self, column: usize) -> DbError {
        DbError { kind: DbErrorKind::Other, text: format!("column {column} of {} cannot be read", self.sql.name) }
    }
}

/// A connection. Statements stay prepared.
#[derive(Clone, Copy)]
pub(super) struct Conn<'c>(&'c Connection);

impl<'c> Conn<'c> {
    pub(super) fn new(connection: &'c Connection) -> Conn<'c> {
        Conn(connection)
    }

    /// Runs a statement without an answer. Returns how many rows it changed.
    pub(super) fn execute(self, sql: Sql, values: &[Value<'_>]) -> Result<usize, DbError> {
        Ok(self.0.prepare_cached(sql.text)?.execute(rusqlite::params_from_iter(values))?)
    }

    /// Runs a statement and reads each row of its answer.
    pub(super) fn each(
        self,
        sql: Sql,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let mut statement = self.0.prepare_cached(sql.text)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        while let Some(row) = rows.next()? {
            read(&Row { row, sql })?;
        }
        Ok(())
    }

    /// Runs a statement and reads its answer.
    pub(super) fn rows<T>(
        self,
        sql: Sql,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let mut found = Vec::new();
        self.each(sql, values, |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Runs a statement and reads the first row of its answer, if there is one.
    pub(super) fn first<T>(
        self,
        sql: Sql,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        let mut statement = self.0.prepare_cached(sql.text)?;
        let mut rows = statement.query(rusqlite::params_from_iter(values))?;
        rows.next()?.map(|row| read(&Row { row, sql })).transpose()
    }

    /// Runs a statement whose answer always has a row, and reads that.
    pub(super) fn one<T>(
        self,
        sql: Sql,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.first(sql, values, read)?.ok_or_else(|| DbError::no_row(sql))
    }

    /// Runs whatever a test needs.
    #[cfg(test)]
    pub(super) fn batch(self, text: &str) -> Result<(), DbError> {
        Ok(self.0.execute_batch(text)?)
    }
}

/// The database refused, or holds what cannot be.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct DbError {
    kind: DbErrorKind,
    text: String,
}

/// What kind of an error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DbErrorKind {
    /// The disk is full, may not be written to, or fails.
    Storage,
    /// Another row has a value that must be unique.
    Unique,
    /// The file is not a database.
    NotADatabase,
    /// Anything else: our fault, or a damaged database.
    Other,
}

impl DbError {
    /// What kind of an error it is.
    pub const fn kind(&self) -> DbErrorKind {
        self.kind
    }

    /// No id is left to give: the counter that a statement reads is at its end.
    pub(super) fn out_of_ids(counter: Sql) -> DbError {
        DbError { kind: DbErrorKind::Other, text: format!("{} is at its end", counter.name) }
    }

    /// Rights could not be taken away in memory, so what takes them is not committed either.
    pub(super) fn rights_not_taken() -> DbError {
        DbError { kind: DbErrorKind::Other, text: "rights could not be taken away".into() }
    }

    fn no_row(sql: Sql) -> DbError {
        DbError { kind: DbErrorKind::Other, text: format!("{} found no row", sql.name) }
    }
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> DbError {
        let extended = error.sqlite_error().map(|error| error.extended_code);
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull | ErrorCode::ReadOnly | ErrorCode::SystemIoFailure) => DbErrorKind::Storage,
            Some(ErrorCode::NotADatabase) => DbErrorKind::NotADatabase,
            Some(ErrorCode::ConstraintViolation)
                if extended == Some(ffi::SQLITE_CONSTRAINT_UNIQUE)
                    || extended == Some(ffi::SQLITE_CONSTRAINT_PRIMARYKEY) =>
            {
                DbErrorKind::Unique
            }
            _ => DbErrorKind::Other,
        };
        DbError { kind, text: error.to_string() }
    }
}

impl From<rusqlite_migration::Error> for DbError {
    fn from(error: rusqlite_migration::Error) -> DbError {
        match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
            other => DbError { kind: DbErrorKind::Other, text: other.to_string() },
        }
    }
}
