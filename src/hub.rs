//! Subscribers and their mailboxes.
//!
//! The hub is fed with the store's committed messages, in order, and puts them into every mailbox. It never blocks and never
//! waits: a mailbox that is full is left alone from then on ("behind"), and its reader catches up from the store and joins
//! again. So nothing is dropped, memory is bounded, and nobody waits for a slow stream.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::store::sessions::SessionId;

/// Messages on their way to the streams, which all share them.
#[derive(Clone, Debug)]
pub struct Frame<B> {
    /// The id of the first one.
    pub first: i64,
    /// The id of the last one.
    pub last: i64,
    /// The messages. Cloning it must be cheap.
    pub body: B,
}

/// Bounds of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// How many frames a mailbox holds.
    pub mailbox_frames: usize,
    /// How many streams there may be in all.
    pub streams: usize,
    /// How many streams a user may have.
    pub streams_per_user: usize,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its session ended.
    Session,
    /// The server stops.
    Draining,
}

/// Why nobody could subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The user has as many streams as a user may have.
    #[error("this user has as many streams as one may have")]
    PerUser,
    /// There are as many streams as there may be.
    #[error("there are as many streams as there may be")]
    Total,
    /// The server stops.
    #[error("the server stops")]
    Draining,
}

/// All subscribers.
pub struct Hub<B> {
    limits: HubLimits,
    inner: Mutex<Inner<B>>,
}

struct Inner<B> {
    subscribers: HashMap<u64, Subscriber<B>>,
    per_user: HashMap<i64, usize>,
    next: u64,
    last_id: i64,
    draining: bool,
}

struct Subscriber<B> {
    user_id: i64,
    session: SessionId,
    mailbox: Sender<Frame<B>>,
    flags: Arc<Flags>,
    /// The mailbox was full: nothing is put into it until the reader joins again.
    behind: bool,
}

/// What the hub tells a reader beside its mailbox.
#[derive(Default)]
struct Flags {
    reader: OnceLock<Thread>,
    behind: AtomicBool,
    session_ended: AtomicBool,
    draining: AtomicBool,
}

impl Flags {
    fn wake(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }
}

impl<B: Clone> Hub<B> {
    /// A hub whose next message will have an id above `last_id`.
    pub fn new(limits: HubLimits, last_id: i64) -> Hub<B> {
        let inner = Inner { subscribers: HashMap::new(), per_user: HashMap::new(), next: 1, last_id, draining: false };
        Hub { limits, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<B>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts frames, in the order of their ids, into every mailbox. Never blocks.
    pub fn publish(&self, frames: &[Frame<B>]) {
        let mut inner = self.lock();
        let Some(last) = frames.last() else { return };
        inner.last_id = last.last;
        for subscriber in inner.subscribers.values_mut().filter(|s| !s.behind) {
            for frame in frames {
                // A reader that has gone takes itself off the list.
                if let Err(TrySendError::Full(_)) = subscriber.mailbox.try_send(frame.clone()) {
                    subscriber.behind = true;
                    subscriber.flags.behind.store(true, Ordering::Release);
                    break;
                }
            }
            subscriber.flags.wake();
        }
    }

    /// Opens a mailbox for everything after the message with the id `after`, which may not have been published yet.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(
        self: &Arc<Self>,
        user_id: i64,
        session: SessionId,
        after: i64,
    ) -> Result<Subscription<B>, SubscribeError> {
        let mut inner = self.lock();
        if inner.draining {
            return Err(SubscribeError::Draining);
        }
        if inner.subscribers.len() >= self.limits.streams {
            return Err(SubscribeError::Total);
        }
        let of_user = inner.per_user.entry(user_id).or_default();
        if *of_user >= self.limits.streams_per_user {
            return Err(SubscribeError::PerUser);
        }
        *of_user += 1;
        let id = inner.next;
        inner.next += 1;
        let (mailbox, frames) = bounded(self.limits.mailbox_frames);
        let flags = Arc::new(Flags::default());
        // What it missed comes from the store; until then nothing goes into its mailbox.
        let behind = after < inner.last_id;
        flags.behind.store(behind, Ordering::Release);
        let subscriber = Subscriber { user_id, session, mailbox, flags: Arc::clone(&flags), behind };
        inner.subscribers.insert(id, subscriber);
        Ok(Subscription { hub: Arc::clone(self), id, opened_at: inner.last_id, cursor: after, frames, flags })
    }

    /// Ends the streams of sessions, at once.
    pub fn end_sessions(&self, ended: &[SessionId]) {
        let ended: HashSet<SessionId> = ended.iter().copied().collect();
        for subscriber in self.lock().subscribers.values().filter(|s| ended.contains(&s.session)) {
            subscriber.flags.session_ended.store(true, Ordering::Release);
            subscriber.flags.wake();
        }
    }

    /// Takes no more subscribers, and ends all streams after everything that was published so far.
    pub fn drain(&self) {
        let mut inner = self.lock();
        inner.draining = true;
        for subscriber in inner.subscribers.values() {
            subscriber.flags.draining.store(true, Ordering::Release);
            subscriber.flags.wake();
        }
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.lock().subscribers.len()
    }

    /// Whether there is no stream.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A reader's end of a mailbox. Dropping it leaves the hub.
pub struct Subscription<B: Clone> {
    hub: Arc<Hub<B>>,
    id: u64,
    opened_at: i64,
    cursor: i64,
    frames: Receiver<Frame<B>>,
    flags: Arc<Flags>,
}

/// What a reader should do next.
#[derive(Clone, Debug)]
pub enum Next<B> {
    /// Deliver this: what is in it after this id.
    Frame(Frame<B>, i64),
    /// Nothing: park until woken.
    Idle,
    /// Messages went past the mailbox: read on from the store after [`Subscription::cursor`], then [`Subscription::rejoin`].
    Behind,
    /// End.
    Ended(Ended),
}

impl<B: Clone> Subscription<B> {
    /// A number that no other subscription of this run has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The id of the last message that was delivered, or that was there before.
    pub fn cursor(&self) -> i64 {
        self.cursor
    }

    /// Whether everything has been delivered that had been published when it was opened.
    pub fn has_caught_up(&self) -> bool {
        self.cursor >= self.opened_at
    }

    /// Names the calling thread as the one to be woken. Before the first [`Subscription::take_next`].
    pub fn attach(&self) {
        // Under the lock, so that whoever sets a flag either finds this thread, or is seen by its first look.
        let _inner = self.hub.lock();
        let _ = self.flags.reader.set(std::thread::current());
    }

    /// What to do next; never blocks. Frames come in the order of their ids, each once.
    pub fn take_next(&mut self) -> Next<B> {
        if self.flags.session_ended.load(Ordering::Acquire) {
            return Next::Ended(Ended::Session);
        }
        // Read before the mailbox: what was put there before the flag was set is seen after it.
        let (behind, draining) =
            (self.flags.behind.load(Ordering::Acquire), self.flags.draining.load(Ordering::Acquire));
        while let Ok(frame) = self.frames.try_recv() {
            // After catching up from the store, the mailbox may hold what the store gave already.
            if frame.last > self.cursor {
                let after = std::mem::replace(&mut self.cursor, frame.last);
                return Next::Frame(frame, after);
            }
        }
        match (behind, draining) {
            (true, _) => Next::Behind,
            (false, true) => Next::Ended(Ended::Draining),
            (false, false) => Next::Idle,
        }
    }

    /// Whether the stream must end without delivering anything more.
    pub fn is_revoked(&self) -> bool {
        self.flags.session_ended.load(Ordering::Acquire)
    }

    /// Notes that everything up to `id` was delivered from the store, or is not there any more.
    pub fn skip_to(&mut self, id: i64) {
        self.cursor = self.cursor.max(id);
    }

    /// Takes the mailbox up again, if everything that was published has been delivered. Returns whether it has; if not,
    /// there is more to read from the store.
    pub fn rejoin(&mut self) -> bool {
        let mut inner = self.hub.lock();
        if self.cursor < inner.last_id {
            return false;
        }
        if let Some(subscriber) = inner.subscribers.get_mut(&self.id) {
            subscriber.behind = false;
            self.flags.behind.store(false, Ordering::Release);
        }
        true
    }
}

impl<B: Clone> Drop for Subscription<B> {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        if let Some(subscriber) = inner.subscribers.remove(&self.id)
            && let Some(count) = inner.per_user.get_mut(&subscriber.user_id)
        {
            *count -= 1;
            if *count == 0 {
                inner.per_user.remove(&subscriber.user_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HubLimits = HubLimits { mailbox_frames: 4, streams: 3, streams_per_user: 2 };

    fn hub() -> Arc<Hub<()>> {
        Arc::new(Hub::new(LIMITS, 100))
    }

    fn session() -> SessionId {
        SessionId::random().unwrap()
    }

    fn frames(ids: std::ops::RangeInclusive<i64>) -> Vec<Frame<()>> {
        ids.map(|id| Frame { first: id, last: id, body: () }).collect()
    }

    fn drain_ids(subscription: &mut Subscription<()>) -> Vec<i64> {
        std::iter::from_fn(|| match subscription.take_next() {
            Next::Frame(frame, _) => Some(frame.last),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn everybody_gets_what_comes_after_he_subscribed_in_order() {
        let hub = hub();
        let mut first = hub.subscribe(1, session(), 100).unwrap();
        hub.publish(&frames(101..=102));
        let mut second = hub.subscribe(2, session(), 102).unwrap();
        hub.publish(&frames(103..=103));
        assert_eq!(drain_ids(&mut first), [101, 102, 103]);
        assert_eq!(drain_ids(&mut second), [103]);
        assert!(matches!(first.take_next(), Next::Idle));
    }

    #[test]
    fn a_full_mailbox_falls_behind_catches_up_and_joins_again_without_gap_or_double() {
        let hub = hub();
        let mut slow = hub.subscribe(1, session(), 100).unwrap();
        hub.publish(&frames(101..=110));
        assert_eq!(drain_ids(&mut slow), [101, 102, 103, 104], "what the mailbox held");
        assert!(matches!(slow.take_next(), Next::Behind));
        hub.publish(&frames(111..=111));
        // The store gives a first page; more is published meanwhile.
        slow.skip_to(110);
        assert!(!slow.rejoin(), "111 was published and is not delivered");
        // The store gives 112 before it is published.
        slow.skip_to(112);
        assert!(slow.rejoin());
        hub.publish(&frames(112..=113));
        assert_eq!(drain_ids(&mut slow), [113]);
    }

    #[test]
    fn who_begins_in_the_past_reads_from_the_store_until_he_has_caught_up() {
        let hub = hub();
        let mut past = hub.subscribe(1, session(), 90).unwrap();
        assert!(!past.has_caught_up());
        hub.publish(&frames(101..=101));
        assert!(matches!(past.take_next(), Next::Behind));
        past.skip_to(100);
        assert!(past.has_caught_up(), "101 came later");
        assert!(!past.rejoin());
        past.skip_to(101);
        assert!(past.rejoin());
        assert!(matches!(past.take_next(), Next::Idle));
        // What is known from elsewhere, and not published yet, does not come again.
        let mut ahead = hub.subscribe(2, session(), 102).unwrap();
        hub.publish(&frames(102..=103));
        assert_eq!(drain_ids(&mut ahead), [103]);
    }

    #[test]
    fn of_a_frame_that_was_delivered_in_part_the_rest_is_to_be_delivered() {
        let hub = hub();
        let mut reader = hub.subscribe(1, session(), 102).unwrap();
        hub.publish(&[Frame { first: 101, last: 105, body: () }]);
        assert!(matches!(reader.take_next(), Next::Frame(Frame { last: 105, .. }, 102)));
        assert_eq!(reader.cursor(), 105);
    }

    #[test]
    fn the_number_of_streams_is_bounded_and_freed_when_they_go() {
        let hub = hub();
        let first = hub.subscribe(1, session(), 100).unwrap();
        let _second = hub.subscribe(1, session(), 100).unwrap();
        assert_eq!(hub.subscribe(1, session(), 100).err(), Some(SubscribeError::PerUser));
        let _third = hub.subscribe(2, session(), 100).unwrap();
        assert_eq!(hub.subscribe(3, session(), 100).err(), Some(SubscribeError::Total));
        drop(first);
        hub.subscribe(1, session(), 100).unwrap();
        assert_eq!(hub.len(), 2);
    }

    #[test]
    fn an_ended_session_gets_nothing_more_and_its_neighbour_everything() {
        let hub = hub();
        let revoked = session();
        let mut gone = hub.subscribe(1, revoked, 100).unwrap();
        let mut stays = hub.subscribe(1, session(), 100).unwrap();
        hub.publish(&frames(101..=101));
        hub.end_sessions(&[revoked]);
        assert!(matches!(gone.take_next(), Next::Ended(Ended::Session)));
        assert_eq!(drain_ids(&mut stays), [101]);
    }

    #[test]
    fn draining_delivers_what_is_in_the_mailbox_and_takes_nobody_new() {
        let hub = hub();
        let mut last = hub.subscribe(1, session(), 100).unwrap();
        hub.publish(&frames(101..=102));
        hub.drain();
        assert_eq!(drain_ids(&mut last), [101, 102]);
        assert!(matches!(last.take_next(), Next::Ended(Ended::Draining)));
        assert_eq!(hub.subscribe(2, session(), 100).err(), Some(SubscribeError::Draining));
    }
}
