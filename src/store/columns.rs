//! Ids as columns.

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

use crate::model::ids::{Cursor, EventId, FactorId, SessionId, UserId};

macro_rules! numbers {
    ($($id:ty: $from:expr, $to:expr;)+) => { $(
        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<$id> {
                let number = i64::column_result(value)?;
                $from(number).map_err(|_| FromSqlError::OutOfRange(number))
            }
        }

        impl ToSql for $id {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok($to(*self).into())
            }
        }
    )+ };
}

numbers! {
    UserId: |number| Ok::<_, std::convert::Infallible>(UserId::from_number(number)), UserId::number;
    FactorId: |number| Ok::<_, std::convert::Infallible>(FactorId::from_number(number)), FactorId::number;
    EventId: EventId::from_db, EventId::to_db;
    Cursor: Cursor::from_db, Cursor::to_db;
}

impl FromSql for SessionId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<SessionId> {
        value.as_str()?.parse().map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for SessionId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}
