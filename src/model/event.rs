//! Events: everything that people see happen, in one log, numbered in commit order across all rooms.

use super::ids::{EventId, RoomId, UserId};
use crate::base::clock::Time;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A person wrote a message.
    Message,
}

impl EventKind {
    const ALL: [EventKind; 1] = [EventKind::Message];

    /// Its stable word in the database.
    pub const fn word(self) -> &'static str {
        match self {
            EventKind::Message => "message",
        }
    }

    /// The kind with a word.
    pub fn from_word(word: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The people that an event is for: the members of a room at its place in the log, one person, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The members of a room.
    Room(RoomId),
    /// One person.
    Person(UserId),
    /// The members of a room, and a person outside of them perhaps: a removed member, for example.
    RoomAndPerson(RoomId, UserId),
}

impl Audience {
    /// From its two parts; `None` if there is neither.
    pub fn from_parts(room: Option<RoomId>, person: Option<UserId>) -> Option<Audience> {
        match (room, person) {
            (Some(room), Some(person)) => Some(Audience::RoomAndPerson(room, person)),
            (Some(room), None) => Some(Audience::Room(room)),
            (None, Some(person)) => Some(Audience::Person(person)),
            (None, None) => None,
        }
    }

    /// The room, if there is one.
    pub const fn room(self) -> Option<RoomId> {
        match self {
            Audience::Room(room) | Audience::RoomAndPerson(room, _) => Some(room),
            Audience::Person(_) => None,
        }
    }

    /// The person, if there is one.
    pub const fn person(self) -> Option<UserId> {
        match self {
            Audience::Person(person) | Audience::RoomAndPerson(_, person) => Some(person),
            Audience::Room(_) => None,
        }
    }
}

/// An event as it is kept and published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the log.
    pub id: EventId,
    /// What happened.
    pub kind: EventKind,
    /// The audience.
    pub audience: Audience,
    /// The account that did it. It may be gone since.
    pub author_id: UserId,
    /// The author's login at the time.
    pub author: String,
    /// The text of a message.
    pub text: String,
    /// When the server took it.
    pub at: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_has_a_room_or_a_person_or_both() {
        let (room, person) = (RoomId::COMMON, UserId::from_number(7));
        for parts in [(Some(room), None), (None, Some(person)), (Some(room), Some(person))] {
            let audience = Audience::from_parts(parts.0, parts.1).unwrap();
            assert_eq!((audience.room(), audience.person()), parts);
        }
        assert_eq!(Audience::from_parts(None, None), None);
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_word(kind.word()), Some(kind));
        }
        assert_eq!(EventKind::from_word("unheard of"), None);
    }
}
