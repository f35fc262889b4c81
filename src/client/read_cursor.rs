//! How far the room has been read, and whether it is being read now. Successive stream readers share both.

use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;

use crate::base::lock::lock;
use crate::model::ids::Cursor;
use crate::proto::Start;

/// How far the room has been read. Each reader continues where the last one stopped. Clones share one cursor.
#[derive(Clone, Debug, Default)]
pub struct ReadCursor(Arc<Mutex<Option<Cursor>>>);

impl ReadCursor {
    /// Where the next stream starts: after what was read, or, if nothing was, with the `last` messages.
    pub(super) fn start(&self, last: u32) -> Start {
        match *lock(&self.0) {
            Some(cursor) => Start::After(cursor.to_wire()),
            None if last == 0 => Start::Now(true),
            None => Start::Last(last),
        }
    }

    /// Everything up to `cursor` has been read. The cursor never goes back, because two readers may overlap.
    pub(super) fn advance(&self, cursor: Cursor) {
        let mut read = lock(&self.0);
        *read = Some(read.map_or(cursor, |before| before.max(cursor)));
    }

    /// Starts over, as if nothing had been read.
    pub(super) fn forget(&self) {
        *lock(&self.0) = None;
    }
}

/// Whether the room is being read now.
#[derive(Debug)]
pub struct StreamState {
    /// The generation of the latest reader, and whether that reader has caught up.
    latest: Mutex<(u64, bool)>,
    wake: Sender<()>,
}

impl StreamState {
    /// No reader yet. Each time a reader catches up, a token goes into `wake` if there is room.
    pub fn new(wake: Sender<()>) -> StreamState {
        StreamState { latest: Mutex::default(), wake }
    }

    /// Whether new messages arrive as they are said, as far as this client knows.
    pub fn is_live(&self) -> bool {
        lock(&self.latest).1
    }

    /// Notes whether the reader of `generation` is live; ignored if a later reader has started.
    pub(super) fn set(&self, generation: u64, live: bool) {
        let mut latest = lock(&self.latest);
        if generation < latest.0 {
            return;
        }
        *latest = (generation, live);
        if live {
            // A full channel already holds a token.
            let _ = self.wake.try_send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;
    use crate::model::ids::testing::cursor as at;

    #[test]
    fn the_first_reader_starts_with_the_last_messages_and_later_ones_continue() {
        let cursor = ReadCursor::default();
        assert_eq!(cursor.start(20), Start::Last(20));
        assert_eq!(cursor.start(0), Start::Now(true));
        // An empty room has been read as well.
        cursor.advance(Cursor::START);
        assert_eq!(cursor.start(20), Start::After(0));
        let same = cursor.clone();
        same.advance(at(7));
        cursor.advance(at(5));
        assert_eq!(cursor.start(20), Start::After(7));
        same.forget();
        assert_eq!(cursor.start(20), Start::Last(20));
    }

    #[test]
    fn only_the_latest_reader_sets_the_state_and_wakes_the_sender() {
        let (wake, woken) = bounded(1);
        let state = StreamState::new(wake);
        state.set(1, true);
        assert!(state.is_live() && woken.try_recv().is_ok());
        state.set(2, false);
        state.set(1, true);
        assert!(!state.is_live() && woken.try_recv().is_err());
        state.set(2, true);
        state.set(2, true);
        state.set(1, false);
        assert!(state.is_live() && woken.try_recv().is_ok());
    }
}
