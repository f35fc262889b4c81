//! The subscribers of a hub, and up to where they have their frames.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::frame::Deliver;
use super::subscriber::Subscriber;
use crate::base::lock::lock;
use crate::model::ids::{Cursor, UserId};

/// What the hub shares with its subscriptions.
pub(super) struct Registry<O: Deliver> {
    state: Mutex<RegistryState<O>>,
    /// Up to here every subscriber has its frames. Behind [`RegistryState::last`] only while a batch goes out.
    published: Watermark,
}

pub(super) struct RegistryState<O: Deliver> {
    pub(super) subscribers: HashMap<u64, Arc<Subscriber<O>>>,
    pub(super) per_user: HashMap<UserId, usize>,
    pub(super) next: u64,
    /// The end of the last batch whose publication has begun.
    pub(super) last: Cursor,
    /// Set once the hub drains: streams end after this cursor.
    pub(super) drain_through: Option<Cursor>,
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

impl<O: Deliver> Registry<O> {
    /// No subscribers; the next event comes after `last`.
    pub(super) fn new(last: Cursor) -> Registry<O> {
        let state =
            RegistryState { subscribers: HashMap::new(), per_user: HashMap::new(), next: 1, last, drain_through: None };
        Registry { state: Mutex::new(state), published: Watermark::new(last) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, RegistryState<O>> {
        lock(&self.state)
    }

    /// Up to which cursor every subscriber has its frames.
    pub(super) fn published(&self) -> Cursor {
        self.published.get()
    }

    /// Every subscriber has its frames up to this cursor.
    pub(super) fn raise_published_to(&self, cursor: Cursor) {
        self.published.raise_to(cursor);
    }

    /// Removes a subscriber.
    pub(super) fn leave(&self, id: u64, user_id: UserId) {
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
}
