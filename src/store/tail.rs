//! The tail of the log: the one way from commits to their followers.
//!
//! The writer feeds it: on SQLite its commits are all there are. Where several nodes share a database, the commits of another
//! node take the same way, in the one order of the log. So only the tail calls the followers, and it publishes no event twice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::effects::Effects;
use super::rows::LiveSession;
use crate::model::event::Event;
use crate::model::ids::{Cursor, SessionId};

/// Follows the log: all commits in their order, on one thread. No method may block for long.
pub trait Followers: Send {
    /// Takes the rights of sessions away in memory. The commit of their ending follows.
    fn take_rights(&mut self, ended: &[SessionId]);

    /// Gives sessions their rights: they were opened or completed, and that is committed. Or the commit of their ending
    /// failed, and their rows, read anew, are still there.
    fn give_rights(&mut self, sessions: Vec<LiveSession>);

    /// Ends the streams of sessions: their ending is committed, or may be.
    fn end_streams(&mut self, ended: &[SessionId]);

    /// Publishes events, in the order of their ids.
    fn publish(&mut self, events: Vec<Event>);
}

/// Feeds the followers.
pub(super) struct Tail {
    followers: Box<dyn Followers>,
    /// Behind the last event that was published.
    applied: Cursor,
}

impl Tail {
    /// A tail that publishes the events after a cursor.
    pub(super) fn new(followers: Box<dyn Followers>, applied: Cursor) -> Tail {
        Tail { followers, applied }
    }

    /// Before a commit: sessions that it ends lose their rights. Returns whether they did: else nothing may be committed.
    pub(super) fn before_commit(&mut self, effects: &Effects) -> bool {
        effects.ended.is_empty() || guarded("the taking of rights", || self.followers.take_rights(&effects.ended))
    }

    /// A commit failed. Of the sessions that it would have ended, those whose rows, read anew, are still there are let in
    /// again. The streams of all others end.
    pub(super) fn commit_failed(&mut self, still_there: Vec<LiveSession>, others: &[SessionId]) {
        if !others.is_empty() {
            guarded("the end of streams", || self.followers.end_streams(others));
        }
        if !still_there.is_empty() {
            guarded("the return of sessions", || self.followers.give_rights(still_there));
        }
    }

    /// Applies a commit. Streams of ended sessions end before the commit's events are published.
    pub(super) fn committed(&mut self, effects: Effects) {
        let Effects { mut events, opened, ended, .. } = effects;
        if !ended.is_empty() {
            guarded("the end of streams", || self.followers.end_streams(&ended));
        }
        if !opened.is_empty() {
            guarded("the opening of sessions", || self.followers.give_rights(opened));
        }
        events.retain(|event| event.id.is_after(self.applied));
        if let Some(last) = events.last() {
            self.applied = Cursor::behind(last.id);
            guarded("the publishing of events", || self.followers.publish(events));
        }
    }
}

/// Runs code that may panic; the thread survives it. Returns whether it ran to its end.
pub(super) fn guarded(what: &str, run: impl FnOnce()) -> bool {
    let ran = catch_unwind(AssertUnwindSafe(run)).is_ok();
    if !ran {
        log::error!("{what} panicked; the thread goes on");
    }
    ran
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::base::clock::Time;
    use crate::model::event::{Audience, EventKind};
    use crate::model::ids::testing::{cursor, event as id};
    use crate::model::ids::{RoomId, UserId};

    #[test]
    fn events_are_published_once_and_in_order() {
        let published = Arc::new(Mutex::new(Vec::new()));
        let followers = {
            let published = Arc::clone(&published);
            move |events: Vec<Event>| published.lock().unwrap().extend(events.iter().map(|event| event.id.to_db()))
        };
        let mut tail = Tail::new(Box::new(followers), cursor(2));
        let event = |number| Event {
            id: id(number),
            kind: EventKind::Message,
            audience: Audience::Room(RoomId::COMMON),
            author_id: UserId::from_number(1),
            author: "user1".into(),
            text: "x".into(),
            at: Time::from_secs(0),
        };
        let commit = |ids: &[i64]| Effects { events: ids.iter().copied().map(event).collect(), ..Effects::default() };
        for ids in [&[1, 2, 3][..], &[], &[1_000_003], &[3, 1_000_003, 1_000_004]] {
            tail.committed(commit(ids));
        }
        assert_eq!(*published.lock().unwrap(), [3, 1_000_003, 1_000_004]);
    }
}
