//! Ids and the cursor. Each kind of id is a type of its own, so that none passes for another, and none is reckoned with:
//! ids grow, but they have gaps.
//!
//! This is the one place where an id becomes a number of the database (`i64`) or of the wire (`u64`), and back.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number that is no id, or no cursor: zero, negative, or larger than any that is ever given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is out of range")]
pub struct OutOfRange(i128);

/// Ids that the database gives, and that are numbers without further meaning.
macro_rules! plain_ids {
    ($($(#[$doc:meta])* $name:ident)+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(i64);

        impl $name {
            /// From the number in the database, in a token, or on the wire.
            pub const fn from_number(number: i64) -> $name {
                $name(number)
            }

            /// The number in the database, in a token, and on the wire.
            pub const fn number(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+ };
}

plain_ids! {
    /// Names an account, also after it was deleted.
    UserId
    /// Names a second factor.
    FactorId
    /// Names a room.
    RoomId
}

impl RoomId {
    /// The common room: all people are in it.
    pub const COMMON: RoomId = RoomId(1);
}

/// Names an event of the log. Ids grow in commit order across all rooms and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

impl EventId {
    /// From the number in the database.
    ///
    /// # Errors
    /// The number is zero or negative.
    pub fn from_db(number: i64) -> Result<EventId, OutOfRange> {
        if number > 0 { Ok(EventId(number)) } else { Err(OutOfRange(number.into())) }
    }

    /// From the number on the wire.
    ///
    /// # Errors
    /// The number is zero, or larger than any id.
    pub fn from_wire(number: u64) -> Result<EventId, OutOfRange> {
        i64::try_from(number).map_err(|_| OutOfRange(number.into())).and_then(EventId::from_db)
    }

    /// The number in the database.
    pub const fn to_db(self) -> i64 {
        self.0
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u64 {
        // Exact: ids are positive.
        self.0.unsigned_abs()
    }

    /// Whether a reader at this cursor has the event still before it.
    pub fn is_after(self, cursor: Cursor) -> bool {
        self.0 > cursor.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A position in the log: right behind an event, whether that one is still kept or not, or before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor(i64);

impl Cursor {
    /// Before the first event.
    pub const START: Cursor = Cursor(0);

    /// Behind every event that there can ever be.
    pub const END: Cursor = Cursor(i64::MAX);

    /// Behind an event.
    pub const fn behind(event: EventId) -> Cursor {
        Cursor(event.0)
    }

    /// The id that the next event is given, if this is behind the last one that was; `None` if there is no larger id. No other
    /// code reckons with ids.
    pub fn next_id(self) -> Option<EventId> {
        self.0.checked_add(1).map(EventId)
    }

    /// From the number in the database.
    ///
    /// # Errors
    /// The number is negative.
    pub fn from_db(number: i64) -> Result<Cursor, OutOfRange> {
        if number >= 0 { Ok(Cursor(number)) } else { Err(OutOfRange(number.into())) }
    }

    /// From the number on the wire.
    ///
    /// # Errors
    /// The number is larger than any id.
    pub fn from_wire(number: u64) -> Result<Cursor, OutOfRange> {
        i64::try_from(number).map(Cursor).map_err(|_| OutOfRange(number.into()))
    }

    /// The number in the database.
    pub const fn to_db(self) -> i64 {
        self.0
    }

    /// The number on the wire.
    pub const fn to_wire(self) -> u64 {
        // Exact: cursors are not negative.
        self.0.unsigned_abs()
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a session: 128 random bits, 32 lower-case hex digits in tokens and in the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

    /// Tells the session apart from the others of its account and gives no access: half of the name, 16 hex digits.
    pub fn handle(self) -> String {
        format!("{:016x}", self.0 >> 64)
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

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    pub(crate) fn event(number: i64) -> EventId {
        EventId::from_db(number).unwrap()
    }

    pub(crate) fn cursor(number: i64) -> Cursor {
        Cursor::from_db(number).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_the_range_are_no_ids_and_no_cursors() {
        const MAX: u64 = i64::MAX.unsigned_abs();
        assert!(EventId::from_db(0).is_err() && EventId::from_db(-1).is_err() && EventId::from_wire(0).is_err());
        assert_eq!(EventId::from_wire(MAX + 1), Err(OutOfRange(i128::from(MAX) + 1)));
        assert!(Cursor::from_db(-1).is_err() && Cursor::from_wire(u64::MAX).is_err());
        for number in [1, 7, MAX] {
            assert_eq!(EventId::from_wire(number).unwrap().to_wire(), number);
            assert_eq!(Cursor::from_wire(number).unwrap().to_wire(), number);
        }
        assert_eq!(Cursor::from_wire(0), Ok(Cursor::START));
    }

    #[test]
    fn an_event_is_after_the_cursors_of_those_before_it_and_no_other() {
        let (one, two) = (testing::event(1), testing::event(2));
        assert!(one.is_after(Cursor::START) && two.is_after(Cursor::behind(one)));
        assert!(!one.is_after(Cursor::behind(one)) && !one.is_after(Cursor::behind(two)));
    }

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
