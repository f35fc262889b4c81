//! Fan-out: subscribers and their mailboxes.
//!
//! One thread, the publisher, feeds the hub with committed events in commit order. An idle stream lends its outlet to the
//! hub, and the publisher writes to it directly: waking a thread costs more than the write. Every other stream finds the
//! frames in its mailbox. Publishing never blocks and never waits. A mailbox that reaches its bound takes nothing more
//! ("behind") until its reader has caught up from the store and rejoins. So no frame is lost, memory is bounded, and no
//! stream waits for a slow one.
//!
//! Lock order: publishing, then the hub's state, then one inbox.

mod frame;
mod subscriber;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

pub use self::frame::{Audience, Deliver, Frame, Offered};
use self::subscriber::{Queued, Subscriber};
pub use self::subscription::{Next, Subscription};
use crate::base::lock::lock;
use crate::model::ids::{Cursor, SessionId, UserId};

/// Bounds of the hub.
#[derive(Clone, Copy, Debug)]
pub struct HubLimits {
    /// How many bytes of frames a mailbox refers to at most; a single frame always fits.
    pub mailbox_bytes: usize,
    /// How many bytes may wait in all mailboxes together, each frame counted once: a frame beyond it goes past the mailboxes.
    pub waiting_bytes: usize,
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

/// Why a subscription is refused.
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
    state: Mutex<State<O>>,
    /// Held while one batch of frames goes out.
    publishing: Mutex<()>,
    /// Up to here every subscriber has its frames. Behind [`State::last`] only while a batch goes out.
    published: Watermark,
    /// Bytes that wait in mailboxes: each frame once, and a slot for each mailbox that holds it.
    waiting: Arc<AtomicUsize>,
}

struct State<O: Deliver> {
    subscribers: HashMap<u64, Arc<Subscriber<O>>>,
    per_user: HashMap<UserId, usize>,
    next: u64,
    /// The end of the last batch whose publication has begun.
    last: Cursor,
    /// Set once the hub drains: streams end after this cursor.
    drain_through: Option<Cursor>,
}

/// A cursor that only rises, read by every reader without a lock.
struct Watermark(AtomicI64);

impl Watermark {
    fn new(cursor: Cursor) -> Watermark {
        Watermark(AtomicI64::new(cursor.to_db()))
    }

    fn get(&self) -> Cursor {
        // Only cursors are stored, so this never fails.
        Cursor::from_db(self.0.load(Ordering::Acquire)).unwrap_or(Cursor::START)
    }

    fn raise_to(&self, cursor: Cursor) {
        self.0.fetch_max(cursor.to_db(), Ordering::AcqRel);
    }
}

impl<O: Deliver> Hub<O> {
    /// A hub whose next event comes after `last`.
    pub fn new(limits: HubLimits, last: Cursor) -> Hub<O> {
        let state = State { subscribers: HashMap::new(), per_user: HashMap::new(), next: 1, last, drain_through: None };
        Hub {
            limits,
            state: Mutex::new(state),
            publishing: Mutex::new(()),
            published: Watermark::new(last),
            waiting: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<O>> {
        lock(&self.state)
    }

    /// Up to which cursor every subscriber has its frames.
    fn published(&self) -> Cursor {
        self.published.get()
    }

    /// Delivers frames, in the order of their ids, to their audience. Never waits for a stream.
    pub fn publish(&self, frames: &[Frame<O::Body>]) {
        let Some(last) = frames.last().map(|frame| Cursor::behind(frame.last)) else { return };
        let _publishing = lock(&self.publishing);
        // A later subscriber starts after these frames; one that rejoins now reads them from the store. The state is not
        // locked while a thousand streams are written.
        let subscribers: Vec<Arc<Subscriber<O>>> = {
            let mut state = self.state();
            state.last = state.last.max(last);
            state.subscribers.values().cloned().collect()
        };
        let queued = Queued::batch(frames, &self.waiting);
        for subscriber in &subscribers {
            subscriber.deliver(&queued, &self.limits);
        }
        // A reader that sees this and then an empty mailbox has passed it (`Subscription::take_next`).
        self.published.raise_to(last);
        // Readers that drain wait for this cursor. A drain that begins later wakes them by itself.
        let is_draining = self.state().drain_through.is_some();
        if is_draining {
            subscribers.iter().for_each(|subscriber| subscriber.wake());
        }
    }

    /// Opens a mailbox for everything after a cursor, which may be ahead of what was published.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(
        self: &Arc<Self>,
        user_id: UserId,
        session: SessionId,
        after: Cursor,
    ) -> Result<Subscription<O>, SubscribeError> {
        let mut state = self.state();
        if state.drain_through.is_some() {
            return Err(SubscribeError::Draining);
        }
        if state.subscribers.len() >= self.limits.streams {
            return Err(SubscribeError::Total);
        }
        let of_user = state.per_user.entry(user_id).or_default();
        if *of_user >= self.limits.streams_per_user {
            return Err(SubscribeError::PerUser);
        }
        *of_user += 1;
        let id = state.next;
        state.next += 1;
        // What it missed comes from the store; until then its mailbox takes nothing.
        let behind = after < state.last;
        let (shared, frames) = Subscriber::open(user_id, session, behind);
        state.subscribers.insert(id, Arc::clone(&shared));
        Ok(Subscription::new(Arc::clone(self), id, state.last, after, frames, shared))
    }

    fn leave(&self, id: u64, user_id: UserId) {
        let mut state = self.state();
        if state.subscribers.remove(&id).is_some()
            && let Some(count) = state.per_user.get_mut(&user_id)
        {
            *count -= 1;
            if *count == 0 {
                state.per_user.remove(&user_id);
            }
        }
    }

    /// Ends the streams of sessions, at once.
    pub fn end_sessions(&self, ended: &[SessionId]) {
        let ended: HashSet<SessionId> = ended.iter().copied().collect();
        for subscriber in self.state().subscribers.values().filter(|s| ended.contains(&s.session())) {
            subscriber.end_session();
        }
    }

    /// Takes no more subscribers. Ends every stream once it has passed `through`, which is in the store but may not have
    /// been published yet, and everything that was published.
    pub fn drain(&self, through: Cursor) {
        let mut state = self.state();
        state.drain_through = Some(through.max(state.last));
        state.subscribers.values().for_each(|subscriber| subscriber.drain());
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.state().subscribers.len()
    }

    /// Whether there is no stream.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
