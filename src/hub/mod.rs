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
mod limits;
mod registry;
mod subscriber;
mod subscription;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

pub use self::frame::{Audience, Deliver, Frame, Offered};
pub use self::limits::HubLimits;
use self::registry::Registry;
use self::subscriber::{Queued, Subscriber};
pub use self::subscription::{Ended, Next, Subscription};
use crate::base::lock::lock;
use crate::model::ids::{Cursor, SessionId, UserId};

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
    registry: Arc<Registry<O>>,
    /// Held while one batch of frames goes out.
    publishing: Mutex<()>,
    /// Bytes that wait in mailboxes: each frame once, and a slot for each mailbox that holds it.
    waiting: Arc<AtomicUsize>,
}

impl<O: Deliver> Hub<O> {
    /// A hub whose next event comes after `last`.
    pub fn new(limits: HubLimits, last: Cursor) -> Hub<O> {
        Hub { limits, registry: Arc::new(Registry::new(last)), publishing: Mutex::new(()), waiting: Arc::default() }
    }

    /// Delivers frames, in the order of their ids, to their audience. Never waits for a stream.
    pub fn publish(&self, frames: &[Frame<O::Body>]) {
        let Some(last) = frames.last().map(|frame| Cursor::behind(frame.last)) else { return };
        let _publishing = lock(&self.publishing);
        // A later subscriber starts after these frames; one that rejoins now reads them from the store. The state is not
        // locked while a thousand streams are written.
        let subscribers: Vec<Arc<Subscriber<O>>> = {
            let mut state = self.registry.state();
            state.last = state.last.max(last);
            state.subscribers.values().cloned().collect()
        };
        let queued = Queued::batch(frames, &self.waiting);
        for subscriber in &subscribers {
            subscriber.deliver(&queued, &self.limits);
        }
        // A reader that sees this and then an empty mailbox has passed it (`Subscription::take_next`).
        self.registry.raise_published_to(last);
        // Readers that drain wait for this cursor. A drain that begins later wakes them by itself.
        let is_draining = self.registry.state().drain_through.is_some();
        if is_draining {
            subscribers.iter().for_each(|subscriber| subscriber.wake());
        }
    }

    /// Opens a mailbox for everything after a cursor, which may be ahead of what was published.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub fn subscribe(
        &self,
        user_id: UserId,
        session: SessionId,
        after: Cursor,
    ) -> Result<Subscription<O>, SubscribeError> {
        let mut state = self.registry.state();
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
        Ok(Subscription::new(Arc::clone(&self.registry), id, state.last, after, frames, shared))
    }

    /// Ends the streams of sessions, at once.
    pub fn end_sessions(&self, ended: &[SessionId]) {
        let ended: HashSet<SessionId> = ended.iter().copied().collect();
        for subscriber in self.registry.state().subscribers.values().filter(|s| ended.contains(&s.session())) {
            subscriber.end_session();
        }
    }

    /// Takes no more subscribers. Ends every stream once it has passed `through`, which is in the store but may not have
    /// been published yet, and everything that was published until now.
    pub fn drain(&self, through: Cursor) {
        let mut state = self.registry.state();
        state.drain_through = Some(through.max(state.last));
        state.subscribers.values().for_each(|subscriber| subscriber.drain());
    }

    /// How many streams there are.
    pub fn len(&self) -> usize {
        self.registry.state().subscribers.len()
    }

    /// Whether there is no stream.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
