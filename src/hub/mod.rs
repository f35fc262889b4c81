//! Subscribers and their mailboxes.
//!
//! The hub is fed with the store's committed messages, in order, by one thread, the publisher. To a stream that has nothing
//! else to do it writes at once, through the outlet that the stream's thread has lent it: to wake a thread costs more than the
//! write. Everybody else finds the messages in his mailbox. It never blocks and never waits: a mailbox that is full is left
//! alone from then on ("behind"), and its reader catches up from the store and joins again. So nothing is dropped, memory is
//! bounded, and nobody waits for a slow stream.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::base::lock::lock;
use crate::model::ids::{Cursor, EventId, SessionId, UserId};

/// Messages on their way to the streams, which all share them.
#[derive(Clone, Debug)]
pub struct Frame<B> {
    /// The id of the first one.
    pub first: EventId,
    /// The id of the last one.
    pub last: EventId,
    /// The messages. Cloning it must be cheap.
    pub body: B,
}

/// Where a stream is written to.
pub trait Deliver: Send {
    /// The messages of a frame.
    type Body: Clone;

    /// Writes what a frame has after a cursor, if that can be begun at once. Must not block.
    fn offer(&mut self, frame: &Frame<Self::Body>, after: Cursor) -> Offered;
}

/// What became of a frame that was offered to a [`Deliver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is being written.
    Taken,
    /// Nothing of it was written: it is the turn of the stream's thread.
    Busy,
    /// The client has gone.
    Gone,
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
pub struct Hub<O: Deliver> {
    limits: HubLimits,
    inner: Mutex<Inner<O>>,
    /// Held by the one that publishes.
    publishing: Mutex<()>,
}

struct Inner<O: Deliver> {
    subscribers: HashMap<u64, Arc<Subscriber<O>>>,
    per_user: HashMap<UserId, usize>,
    next: u64,
    last_id: Cursor,
    draining: bool,
}

/// What the hub and a reader share.
struct Subscriber<O: Deliver> {
    user_id: UserId,
    session: SessionId,
    reader: OnceLock<Thread>,
    session_ended: AtomicBool,
    draining: AtomicBool,
    inbox: Mutex<Inbox<O>>,
}

/// How a reader gets his messages at the moment. Locked after the hub, if both are.
struct Inbox<O: Deliver> {
    mailbox: Sender<Frame<O::Body>>,
    /// The mailbox was full: nothing is put into it until the reader joins again.
    behind: bool,
    /// What a reader who has nothing to do has lent to the publisher.
    lent: Option<Lent<O>>,
}

struct Lent<O> {
    outlet: O,
    /// Behind the last message that went through it.
    cursor: Cursor,
}

impl<O: Deliver> Subscriber<O> {
    fn lock(&self) -> MutexGuard<'_, Inbox<O>> {
        lock(&self.inbox)
    }

    fn wake(&self) {
        if let Some(reader) = self.reader.get() {
            reader.unpark();
        }
    }

    /// The mailbox holds `room` frames at most.
    fn deliver(&self, frames: &[Frame<O::Body>], room: usize) {
        let mut inbox = self.lock();
        if inbox.behind {
            return;
        }
        // One who is busy looks into his mailbox before he rests.
        let rests = inbox.lent.is_some();
        let left = match self.write_at_once(&mut inbox, frames) {
            [] => return,
            left => left,
        };
        for frame in left {
            if inbox.mailbox.len() >= room {
                inbox.behind = true;
                break;
            }
            // A reader that has gone takes itself off the list.
            let _ = inbox.mailbox.send(frame.clone());
        }
        drop(inbox);
        if rests {
            self.wake();
        }
    }

    /// Writes frames through the outlet as long as it takes them, and returns the rest.
    fn write_at_once<'f>(&self, inbox: &mut Inbox<O>, frames: &'f [Frame<O::Body>]) -> &'f [Frame<O::Body>] {
        // What lies in the mailbox comes first.
        if !inbox.mailbox.is_empty() {
            return frames;
        }
        let Some(Lent { outlet, cursor }) = &mut inbox.lent else { return frames };
        for (n, frame) in frames.iter().enumerate() {
            // Whoever ended the session has woken the reader.
            if self.session_ended.load(Ordering::Acquire) {
                return &[];
            }
            if !frame.last.is_after(*cursor) {
                continue;
            }
            // A panic in there costs this stream, and not all of them their publisher.
            let offered = catch_unwind(AssertUnwindSafe(|| outlet.offer(frame, *cursor))).unwrap_or_else(|_| {
                log::error!("a stream is ended: writing to it panicked");
                Offered::Gone
            });
            match offered {
                Offered::Taken => *cursor = Cursor::behind(frame.last),
                Offered::Busy => return frames.get(n..).unwrap_or_default(),
                Offered::Gone => {
                    // Its thread, woken, finds that there is none.
                    inbox.lent = None;
                    return frames.get(n..).unwrap_or_default();
                }
            }
        }
        &[]
    }
}

impl<O: Deliver> Hub<O> {
    /// A hub whose next message will come after `last_id`.
    pub fn new(limits: HubLimits, last_id: Cursor) -> Hub<O> {
        let inner = Inner { subscribers: HashMap::new(), per_user: HashMap::new(), next: 1, last_id, draining: false };
        Hub { limits, inner: Mutex::new(inner), publishing: Mutex::new(()) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<O>> {
        lock(&self.inner)
    }

    /// Delivers frames, in the order of their ids, to everybody. Never waits for a stream.
    pub fn publish(&self, frames: &[Frame<O::Body>]) {
        let Some(last) = frames.last() else { return };
        let _publishing = lock(&self.publishing);
        // Who comes later begins after these; who joins again meanwhile has them from the store. Nobody waits for the hub
        // while a thousand streams are written to.
        let subscribers: Vec<Arc<Subscriber<O>>> = {
            let mut inner = self.lock();
            inner.last_id = inner.last_id.max(Cursor::behind(last.last));
            inner.subscribers.values().cloned().collect()
        };
        subscribers.iter().for_each(|subscriber| subscriber.deliver(frames, self.limits.mailbox_frames));
    }

    /// Opens a mailbox for everything after a cursor, which may not have been published yet.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(
        self: &Arc<Self>,
        user_id: UserId,
        session: SessionId,
        after: Cursor,
    ) -> Result<Subscription<O>, SubscribeError> {
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
        // Its bound is kept where it is filled: a bounded one takes all its memory at once, for every stream that is idle.
        let (mailbox, frames) = unbounded();
        // What it missed comes from the store; until then nothing goes into its mailbox.
        let behind = after < inner.last_id;
        let shared = Arc::new(Subscriber {
            user_id,
            session,
            reader: OnceLock::new(),
            session_ended: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            inbox: Mutex::new(Inbox { mailbox, behind, lent: None }),
        });
        inner.subscribers.insert(id, Arc::clone(&shared));
        Ok(Subscription { hub: Arc::clone(self), id, opened_at: inner.last_id, cursor: after, frames, shared })
    }

    /// Ends the streams of sessions, at once.
    pub fn end_sessions(&self, ended: &[SessionId]) {
        let ended: HashSet<SessionId> = ended.iter().copied().collect();
        for subscriber in self.lock().subscribers.values().filter(|s| ended.contains(&s.session)) {
            subscriber.session_ended.store(true, Ordering::Release);
            subscriber.wake();
        }
    }

    /// Takes no more subscribers, and ends all streams behind `last_id`, the last message in the store, which may not have been
    /// published yet, and after everything that was published.
    pub fn drain(&self, last_id: Cursor) {
        let mut inner = self.lock();
        inner.draining = true;
        inner.last_id = inner.last_id.max(last_id);
        for subscriber in inner.subscribers.values() {
            subscriber.draining.store(true, Ordering::Release);
            subscriber.wake();
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
pub struct Subscription<O: Deliver> {
    hub: Arc<Hub<O>>,
    id: u64,
    opened_at: Cursor,
    cursor: Cursor,
    frames: Receiver<Frame<O::Body>>,
    shared: Arc<Subscriber<O>>,
}

/// What a reader should do next.
#[derive(Clone, Debug)]
pub enum Next<B> {
    /// Deliver this: what is in it after this cursor.
    Frame(Frame<B>, Cursor),
    /// Nothing: [`Subscription::rest`].
    Idle,
    /// Messages went past the mailbox, or will not come by it before the end: read on from the store after
    /// [`Subscription::cursor`], then [`Subscription::rejoin`].
    Behind,
    /// End.
    Ended(Ended),
}

impl<O: Deliver> Subscription<O> {
    /// A number that no other subscription of this run has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Behind the last message that was delivered, or that was there before.
    pub fn cursor(&self) -> Cursor {
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
        let _ = self.shared.reader.set(thread::current());
    }

    /// What to do next; never blocks. Frames come in the order of their ids, each once.
    pub fn take_next(&mut self) -> Next<O::Body> {
        if self.is_revoked() {
            return Next::Ended(Ended::Session);
        }
        // Read before the mailbox: what was put there before is seen after it.
        let behind = self.shared.lock().behind;
        let draining = self.shared.draining.load(Ordering::Acquire);
        while let Ok(frame) = self.frames.try_recv() {
            // After catching up from the store, the mailbox may hold what the store gave already.
            if frame.last.is_after(self.cursor) {
                let after = std::mem::replace(&mut self.cursor, Cursor::behind(frame.last));
                return Next::Frame(frame, after);
            }
        }
        match (behind, draining) {
            (true, _) => Next::Behind,
            (false, false) => Next::Idle,
            // The publisher may be on its way with the last ones: the store has them.
            (false, true) if self.cursor < self.hub.lock().last_id => Next::Behind,
            (false, true) => Next::Ended(Ended::Draining),
        }
    }

    /// Parks until there is something to do, or for `limit`, and may return early. Meanwhile the publisher writes through the
    /// outlet, and the cursor moves. The outlet comes back, unless the publisher found that the client has gone.
    pub fn rest(&mut self, outlet: O, limit: Option<Duration>) -> Option<O> {
        if let Err(outlet) = self.lend(outlet) {
            return Some(outlet);
        }
        match limit {
            Some(limit) => thread::park_timeout(limit),
            None => thread::park(),
        }
        self.take_back()
    }

    /// Not while there is something to do: that comes first.
    fn lend(&self, outlet: O) -> Result<(), O> {
        let mut inbox = self.shared.lock();
        if inbox.behind || !self.frames.is_empty() {
            return Err(outlet);
        }
        inbox.lent = Some(Lent { outlet, cursor: self.cursor });
        Ok(())
    }

    fn take_back(&mut self) -> Option<O> {
        let Lent { outlet, cursor } = self.shared.lock().lent.take()?;
        self.cursor = cursor;
        Some(outlet)
    }

    /// Whether the stream must end without delivering anything more.
    pub fn is_revoked(&self) -> bool {
        self.shared.session_ended.load(Ordering::Acquire)
    }

    /// Notes that everything up to a cursor was delivered from the store, or is not there any more.
    pub fn skip_to(&mut self, cursor: Cursor) {
        self.cursor = self.cursor.max(cursor);
    }

    /// Takes the mailbox up again, if everything that was published has been delivered. Returns whether it has; if not,
    /// there is more to read from the store.
    pub fn rejoin(&mut self) -> bool {
        let inner = self.hub.lock();
        if self.cursor < inner.last_id {
            return false;
        }
        self.shared.lock().behind = false;
        true
    }
}

impl<O: Deliver> Drop for Subscription<O> {
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
    use std::sync::atomic::AtomicU8;

    use proptest::prelude::*;

    use super::*;
    use crate::model::ids::testing::{cursor, event};

    /// Notes what is written, and answers as it is told.
    #[derive(Clone, Debug, Default)]
    struct Paper {
        written: Arc<Mutex<Vec<i64>>>,
        answer: Arc<AtomicU8>,
    }

    impl Paper {
        fn written(&self) -> Vec<i64> {
            self.written.lock().unwrap().clone()
        }

        fn answers(&self, answer: Offered) {
            self.answer.store(answer as u8, Ordering::SeqCst);
        }
    }

    /// The ids that a frame without gaps has after a cursor.
    fn ids_after(frame: &Frame<()>, after: Cursor) -> std::ops::RangeInclusive<i64> {
        frame.first.to_db().max(after.to_db() + 1)..=frame.last.to_db()
    }

    fn subscribe(
        hub: &Arc<Hub<Paper>>,
        user: i64,
        session: SessionId,
        after: i64,
    ) -> Result<Subscription<Paper>, SubscribeError> {
        hub.subscribe(UserId::from_number(user), session, cursor(after))
    }

    fn frame(first: i64, last: i64) -> Frame<()> {
        Frame { first: event(first), last: event(last), body: () }
    }

    impl Deliver for Paper {
        type Body = ();

        fn offer(&mut self, frame: &Frame<()>, after: Cursor) -> Offered {
            let answer = self.answer.load(Ordering::SeqCst);
            if answer == Offered::Taken as u8 {
                self.written.lock().unwrap().extend(ids_after(frame, after));
                return Offered::Taken;
            }
            if answer == Offered::Busy as u8 { Offered::Busy } else { Offered::Gone }
        }
    }

    const LIMITS: HubLimits = HubLimits { mailbox_frames: 4, streams: 3, streams_per_user: 2 };

    fn hub() -> Arc<Hub<Paper>> {
        Arc::new(Hub::new(LIMITS, cursor(100)))
    }

    fn session() -> SessionId {
        SessionId::random().unwrap()
    }

    fn frames(ids: std::ops::RangeInclusive<i64>) -> Vec<Frame<()>> {
        ids.map(|id| frame(id, id)).collect()
    }

    fn drain_ids(subscription: &mut Subscription<Paper>) -> Vec<i64> {
        std::iter::from_fn(|| match subscription.take_next() {
            Next::Frame(frame, _) => Some(frame.last.to_db()),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn everybody_gets_what_comes_after_he_subscribed_in_order() {
        let hub = hub();
        let mut first = subscribe(&hub, 1, session(), 100).unwrap();
        hub.publish(&frames(101..=102));
        let mut second = subscribe(&hub, 2, session(), 102).unwrap();
        hub.publish(&frames(103..=103));
        assert_eq!(drain_ids(&mut first), [101, 102, 103]);
        assert_eq!(drain_ids(&mut second), [103]);
        assert!(matches!(first.take_next(), Next::Idle));
    }

    #[test]
    fn a_full_mailbox_falls_behind_catches_up_and_joins_again_without_gap_or_double() {
        let hub = hub();
        let mut slow = subscribe(&hub, 1, session(), 100).unwrap();
        hub.publish(&frames(101..=110));
        assert_eq!(drain_ids(&mut slow), [101, 102, 103, 104], "what the mailbox held");
        assert!(matches!(slow.take_next(), Next::Behind));
        hub.publish(&frames(111..=111));
        // The store gives a first page; more is published meanwhile.
        slow.skip_to(cursor(110));
        assert!(!slow.rejoin(), "111 was published and is not delivered");
        // The store gives 112 before it is published.
        slow.skip_to(cursor(112));
        assert!(slow.rejoin());
        hub.publish(&frames(112..=113));
        assert_eq!(drain_ids(&mut slow), [113]);
    }

    #[test]
    fn who_begins_in_the_past_reads_from_the_store_until_he_has_caught_up() {
        let hub = hub();
        let mut past = subscribe(&hub, 1, session(), 90).unwrap();
        assert!(!past.has_caught_up());
        hub.publish(&frames(101..=101));
        assert!(matches!(past.take_next(), Next::Behind));
        past.skip_to(cursor(100));
        assert!(past.has_caught_up(), "101 came later");
        assert!(!past.rejoin());
        past.skip_to(cursor(101));
        assert!(past.rejoin());
        assert!(matches!(past.take_next(), Next::Idle));
        // What is known from elsewhere, and not published yet, does not come again.
        let mut ahead = subscribe(&hub, 2, session(), 102).unwrap();
        hub.publish(&frames(102..=103));
        assert_eq!(drain_ids(&mut ahead), [103]);
    }

    #[test]
    fn of_a_frame_that_was_delivered_in_part_the_rest_is_to_be_delivered() {
        let hub = hub();
        let mut reader = subscribe(&hub, 1, session(), 102).unwrap();
        hub.publish(&[frame(101, 105)]);
        assert!(matches!(reader.take_next(), Next::Frame(f, after) if f.last == event(105) && after == cursor(102)));
        assert_eq!(reader.cursor(), cursor(105));
    }

    #[test]
    fn the_number_of_streams_is_bounded_and_freed_when_they_go() {
        let hub = hub();
        let first = subscribe(&hub, 1, session(), 100).unwrap();
        let _second = subscribe(&hub, 1, session(), 100).unwrap();
        assert_eq!(subscribe(&hub, 1, session(), 100).err(), Some(SubscribeError::PerUser));
        let _third = subscribe(&hub, 2, session(), 100).unwrap();
        assert_eq!(subscribe(&hub, 3, session(), 100).err(), Some(SubscribeError::Total));
        drop(first);
        subscribe(&hub, 1, session(), 100).unwrap();
        assert_eq!(hub.len(), 2);
    }

    #[test]
    fn an_ended_session_gets_nothing_more_and_its_neighbour_everything() {
        let hub = hub();
        let revoked = session();
        let mut gone = subscribe(&hub, 1, revoked, 100).unwrap();
        let mut stays = subscribe(&hub, 1, session(), 100).unwrap();
        hub.publish(&frames(101..=101));
        hub.end_sessions(&[revoked]);
        assert!(matches!(gone.take_next(), Next::Ended(Ended::Session)));
        assert_eq!(drain_ids(&mut stays), [101]);
    }

    #[test]
    fn draining_delivers_what_is_in_the_mailbox_and_takes_nobody_new() {
        let hub = hub();
        let mut last = subscribe(&hub, 1, session(), 100).unwrap();
        hub.publish(&frames(101..=102));
        hub.drain(cursor(0));
        assert_eq!(drain_ids(&mut last), [101, 102]);
        assert!(matches!(last.take_next(), Next::Ended(Ended::Draining)));
        assert_eq!(subscribe(&hub, 2, session(), 100).err(), Some(SubscribeError::Draining));
    }

    #[test]
    fn draining_waits_for_what_the_store_has_and_nobody_has_published_yet() {
        let hub = hub();
        let mut last = subscribe(&hub, 1, session(), 100).unwrap();
        hub.publish(&frames(101..=101));
        hub.drain(cursor(103));
        assert_eq!(drain_ids(&mut last), [101]);
        assert!(matches!(last.take_next(), Next::Behind));
        assert!(!last.rejoin());
        // The publisher comes first with one of them, and the store with both.
        hub.publish(&frames(102..=102));
        assert!(!last.rejoin());
        last.skip_to(cursor(103));
        assert!(last.rejoin());
        hub.publish(&frames(103..=103));
        assert!(matches!(last.take_next(), Next::Ended(Ended::Draining)), "nothing twice");
    }

    #[test]
    fn to_a_reader_at_rest_whose_session_has_ended_nothing_is_written() {
        let hub = hub();
        let paper = Paper::default();
        let ended = session();
        let mut reader = subscribe(&hub, 1, ended, 100).unwrap();
        reader.lend(paper.clone()).unwrap();
        hub.end_sessions(&[ended]);
        hub.publish(&frames(101..=101));
        assert_eq!(paper.written(), [0i64; 0]);
        assert!(reader.take_back().is_some() && matches!(reader.take_next(), Next::Ended(Ended::Session)));
    }

    #[test]
    fn a_panic_while_writing_ends_that_stream_and_no_other() {
        let hub = hub();
        let (torn, paper) = (Paper::default(), Paper::default());
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _poisons = torn.written.lock().unwrap();
            panic!("on purpose");
        }));
        let mut first = subscribe(&hub, 1, session(), 100).unwrap();
        let mut second = subscribe(&hub, 2, session(), 100).unwrap();
        first.lend(torn).unwrap();
        second.lend(paper.clone()).unwrap();
        hub.publish(&frames(101..=102));
        assert!(first.take_back().is_none(), "its outlet is gone");
        assert_eq!(paper.written(), [101, 102]);
        assert!(second.take_back().is_some());
    }

    #[test]
    fn readers_that_come_and_rest_and_fall_behind_meanwhile_get_everything_once_and_in_order() {
        const LAST: i64 = 3_000;
        let hub = Arc::new(Hub::new(HubLimits { mailbox_frames: 2, streams: 9, streams_per_user: 9 }, Cursor::START));
        // What the store would have: all that is about to be published.
        let stored = Arc::new(std::sync::atomic::AtomicI64::new(0));
        let read = |busy: u8| {
            let mut reader = subscribe(&hub, 1, session(), 0).unwrap();
            reader.attach();
            let paper = Paper::default();
            let mut outlet = Some(paper.clone());
            for n in (0..4).cycle() {
                // Now and then the publisher finds that a write is not over yet.
                paper.answers(if n < busy { Offered::Busy } else { Offered::Taken });
                match reader.take_next() {
                    Next::Frame(frame, after) => paper.written.lock().unwrap().extend(ids_after(&frame, after)),
                    Next::Idle => outlet = reader.rest(outlet.take().unwrap(), Some(Duration::from_secs(30))),
                    Next::Behind if reader.rejoin() => {}
                    Next::Behind => {
                        let last = stored.load(Ordering::SeqCst);
                        paper.written.lock().unwrap().extend(reader.cursor().to_db() + 1..=last);
                        reader.skip_to(cursor(last));
                    }
                    Next::Ended(_) => break,
                }
            }
            paper.written()
        };
        thread::scope(|scope| {
            let readers: Vec<_> = (0..6).map(|n| scope.spawn(move || read(n % 4))).collect();
            scope.spawn(|| {
                for id in 1..=LAST {
                    // By the half everybody has come.
                    while id == LAST / 2 && hub.len() < 6 {
                        thread::yield_now();
                    }
                    stored.store(id, Ordering::SeqCst);
                    hub.publish(&[frame(id, id)]);
                }
                hub.drain(cursor(LAST));
            });
            for reader in readers {
                assert_eq!(reader.join().unwrap(), (1..=LAST).collect::<Vec<_>>());
            }
        });
    }

    #[test]
    fn to_a_reader_at_rest_the_publisher_writes_itself() {
        let hub = hub();
        let paper = Paper::default();
        let mut reader = subscribe(&hub, 1, session(), 101).unwrap();
        reader.lend(paper.clone()).unwrap();
        hub.publish(&[frame(101, 103)]);
        hub.publish(&frames(104..=104));
        assert_eq!(paper.written(), [102, 103, 104], "101 it had");
        assert!(reader.take_back().is_some());
        assert_eq!(reader.cursor(), cursor(104));
        assert!(matches!(reader.take_next(), Next::Idle));
        hub.publish(&frames(105..=105));
        assert_eq!(paper.written().len(), 3, "the outlet is with its reader");
        assert_eq!(drain_ids(&mut reader), [105]);
    }

    #[test]
    fn what_cannot_be_written_at_once_is_in_the_mailbox_and_nothing_overtakes_it() {
        let hub = hub();
        let paper = Paper::default();
        let mut reader = subscribe(&hub, 1, session(), 100).unwrap();
        reader.lend(paper.clone()).unwrap();
        paper.answers(Offered::Busy);
        hub.publish(&frames(101..=101));
        paper.answers(Offered::Taken);
        hub.publish(&frames(102..=102));
        assert_eq!(paper.written(), [0i64; 0]);
        assert!(reader.take_back().is_some());
        assert!(reader.lend(paper).is_err(), "there is something to do");
        assert_eq!(drain_ids(&mut reader), [101, 102]);
    }

    #[test]
    fn a_reader_at_rest_is_woken_by_what_he_has_to_do_himself() {
        let hub = hub();
        let ended = session();
        let paper = Paper::default();
        let rests = |reader: &mut Subscription<Paper>| reader.rest(paper.clone(), Some(Duration::from_secs(30)));
        let mut reader = subscribe(&hub, 1, ended, 100).unwrap();
        reader.attach();
        thread::scope(|scope| {
            scope.spawn(|| hub.end_sessions(&[ended]));
            while matches!(reader.take_next(), Next::Idle) {
                assert!(rests(&mut reader).is_some());
            }
        });
        assert!(matches!(reader.take_next(), Next::Ended(Ended::Session)));
        let mut reader = subscribe(&hub, 1, session(), 100).unwrap();
        reader.attach();
        paper.answers(Offered::Gone);
        thread::scope(|scope| {
            scope.spawn(|| {
                while nobody_rests(&hub) {
                    thread::yield_now();
                }
                hub.publish(&frames(101..=101));
            });
            assert!(rests(&mut reader).is_none(), "his client has gone");
        });
    }

    /// Whether nobody has lent his outlet.
    fn nobody_rests(hub: &Hub<Paper>) -> bool {
        hub.lock().subscribers.values().all(|subscriber| subscriber.lock().lent.is_none())
    }

    #[derive(Clone, Debug)]
    enum Turn {
        Publish(i64),
        Rest,
        Work,
        Answer(Offered),
    }

    fn turns() -> impl Strategy<Value = Vec<Turn>> {
        let turn = prop_oneof![
            (1..4i64).prop_map(Turn::Publish),
            Just(Turn::Rest),
            Just(Turn::Work),
            prop_oneof![Just(Offered::Taken), Just(Offered::Busy)].prop_map(Turn::Answer),
        ];
        prop::collection::vec(turn, 0..60)
    }

    proptest! {
        #[test]
        fn whoever_writes_everything_comes_once_and_in_order(turns in turns()) {
            let hub = hub();
            let mut reader = subscribe(&hub, 1, session(), 100).unwrap();
            // What the reader writes himself, and what the publisher writes for him, goes the same way.
            let paper = Paper::default();
            let mut outlet = Some(paper.clone());
            let mut last = 100;
            let work = |reader: &mut Subscription<Paper>, last: i64| {
                loop {
                    match reader.take_next() {
                        Next::Frame(frame, after) => {
                            paper.written.lock().unwrap().extend(ids_after(&frame, after));
                        }
                        Next::Behind => {
                            paper.written.lock().unwrap().extend(reader.cursor().to_db() + 1..=last);
                            reader.skip_to(cursor(last));
                            assert!(reader.rejoin());
                        }
                        _ => break,
                    }
                }
            };
            for turn in turns {
                match turn {
                    Turn::Publish(count) => {
                        hub.publish(&[frame(last + 1, last + count)]);
                        last += count;
                    }
                    Turn::Rest => outlet = outlet.take().and_then(|outlet| reader.lend(outlet).err()),
                    Turn::Work => {
                        outlet = reader.take_back().or(outlet);
                        work(&mut reader, last);
                    }
                    Turn::Answer(answer) => paper.answers(answer),
                }
            }
            let _ = reader.take_back();
            work(&mut reader, last);
            prop_assert_eq!(paper.written(), (101..=last).collect::<Vec<_>>());
        }
    }
}
