//! A reader's end of a mailbox.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::frame::{Deliver, Frame};
use super::registry::Registry;
use super::subscriber::{Lent, Mailbox, Subscriber};
use crate::model::ids::Cursor;

/// A reader's end of a mailbox. Dropping it leaves the hub.
pub struct Subscription<O: Deliver> {
    registry: Arc<Registry<O>>,
    id: u64,
    opened_at: Cursor,
    cursor: Cursor,
    frames: Mailbox<O::Body>,
    shared: Arc<Subscriber<O>>,
}

/// Why a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its session ended.
    Session,
    /// The server stops.
    Draining,
}

/// What a reader should do next.
#[derive(Clone, Debug)]
pub enum Next<B> {
    /// Deliver what the frame holds after this cursor.
    Frame(Frame<B>, Cursor),
    /// Nothing: [`Subscription::rest`].
    Idle,
    /// Frames went past the mailbox: read on from the store after [`Subscription::cursor`], then
    /// [`Subscription::rejoin`].
    Behind,
    /// End the stream.
    Ended(Ended),
}

impl<O: Deliver> Subscription<O> {
    pub(super) fn new(
        registry: Arc<Registry<O>>,
        id: u64,
        opened_at: Cursor,
        cursor: Cursor,
        frames: Mailbox<O::Body>,
        shared: Arc<Subscriber<O>>,
    ) -> Subscription<O> {
        Subscription { registry, id, opened_at, cursor, frames, shared }
    }

    /// A number that no other subscription of this run has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Up to where everything that this reader may see was delivered, or was there before.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether everything that had been published when the subscription was opened has been delivered.
    pub fn has_caught_up(&self) -> bool {
        self.cursor >= self.opened_at
    }

    /// Makes the calling thread the one that is woken. To be called before the first [`Subscription::take_next`].
    pub fn attach(&self) {
        // Under the lock: a flag is either set after this and wakes the thread, or seen by its first look.
        let _state = self.registry.state();
        self.shared.attach_this_thread();
    }

    /// What to do next. Never blocks. Frames come in the order of their ids, each once.
    pub fn take_next(&mut self) -> Next<O::Body> {
        if self.is_revoked() {
            return Next::Ended(Ended::Session);
        }
        // Also where more was published since: else a stream that is slower than its senders would not end.
        if self.has_drained() {
            return Next::Ended(Ended::Draining);
        }
        // Read before the mailbox: a frame that was delivered before these reads is seen after them.
        let published = self.registry.published();
        let behind = self.shared.inbox().behind;
        while let Ok(queued) = self.frames.try_recv() {
            self.shared.took(&queued);
            // After a catch-up from the store, the mailbox may hold frames that the store gave already.
            if queued.frame.last.is_after(self.cursor) {
                let after = std::mem::replace(&mut self.cursor, Cursor::behind(queued.frame.last));
                return Next::Frame(queued.frame.clone(), after);
            }
        }
        if behind {
            return Next::Behind;
        }
        // The mailbox is empty, so what was published until then was delivered, or was not for this reader.
        self.cursor = self.cursor.max(published);
        if self.has_drained() { Next::Ended(Ended::Draining) } else { Next::Idle }
    }

    /// Whether the hub drains, and everything up to the end of the drain was delivered.
    fn has_drained(&self) -> bool {
        self.shared.is_draining() && self.registry.state().drain_through.is_some_and(|through| self.cursor >= through)
    }

    /// Parks until there is something to do, or for `limit`; may return early. Meanwhile the publisher writes through the
    /// outlet, and the cursor moves. Returns the outlet, unless the publisher found that the client is gone.
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

    /// Refused while there is something to do: that comes first.
    pub(super) fn lend(&self, outlet: O) -> Result<(), O> {
        let mut inbox = self.shared.inbox();
        if inbox.behind || !self.frames.is_empty() {
            return Err(outlet);
        }
        inbox.lent = Some(Lent { outlet, cursor: self.cursor });
        Ok(())
    }

    pub(super) fn take_back(&mut self) -> Option<O> {
        let Lent { outlet, cursor } = self.shared.inbox().lent.take()?;
        self.cursor = cursor;
        Some(outlet)
    }

    /// Whether the stream must end without delivering anything more.
    pub fn is_revoked(&self) -> bool {
        self.shared.is_revoked()
    }

    /// Notes that everything up to `cursor` was delivered from the store, or is no longer there.
    pub fn skip_to(&mut self, cursor: Cursor) {
        self.cursor = self.cursor.max(cursor);
    }

    /// Takes up the mailbox again, if everything whose publication has begun has been delivered. Otherwise returns false:
    /// there is more to read from the store.
    pub fn rejoin(&mut self) -> bool {
        let state = self.registry.state();
        if self.cursor < state.last {
            return false;
        }
        self.shared.inbox().behind = false;
        true
    }
}

impl<O: Deliver> Drop for Subscription<O> {
    fn drop(&mut self) {
        self.registry.leave(self.id, self.shared.user_id());
        // Under the inbox's lock: the publisher, which may still hold the subscriber, puts in nothing after this.
        let mut inbox = self.shared.inbox();
        inbox.behind = true;
        self.frames.try_iter().for_each(|queued| self.shared.took(&queued));
    }
}
